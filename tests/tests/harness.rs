//! The harness itself, proved with the baseline functions.

use cpis_tests::{
    binaries,
    dynamo::{Dynamo, function_environment},
    events,
    proxy::{Fault, Plan, Proxy, When},
    runtime_api::{Function, Outcome},
    sqs::Sqs,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn calls() -> PathBuf {
    binaries::function("baseline-calls")
}

struct World {
    dynamo: Dynamo,
    sqs: Sqs,
    proxy: Proxy,
}

impl World {
    async fn new() -> Self {
        let (dynamo, sqs) = (Dynamo::start().await, Sqs::start().await);
        let proxy = Proxy::start(&dynamo.url, &sqs.url).await;
        Self { dynamo, sqs, proxy }
    }

    async fn function(&self) -> Function {
        let env = function_environment(&self.proxy.url, &self.sqs);
        Function::start(&calls(), &env).await.expect("the baseline starts")
    }
}

fn put(prefix: &str, count: usize) -> Value {
    let item = json!({"la": {"S": "E06000001"}, "at": {"S": "2026-01-01T00:00:00Z"}});
    json!({"do": "put", "table": "mailbox", "unique": "id", "item": item, "prefix": prefix, "count": count})
}

#[tokio::test]
async fn a_function_gets_events_and_its_answers_come_back() {
    let function = Function::start(&calls(), &[]).await.expect("starts");
    for number in 0..3 {
        assert_eq!(function.invoke_json(&json!({"number": number})).await.json(), json!({"number": number}));
    }
    let Outcome::Error(error) = function.invoke_json(&json!({"do": "fail"})).await.outcome else {
        panic!("an error was due")
    };
    assert!(String::from_utf8_lossy(&error).contains("told to"));
    assert!(function.peak_memory().expect("alive") > 1 << 20);
    assert!(function.cold_start().as_nanos() > 0);
}

#[tokio::test]
async fn a_binary_that_never_asks_for_an_event_is_an_error_with_its_output() {
    let missing = Function::start(Path::new("/nonexistent"), &[]).await;
    assert!(missing.is_err());
    let ends = Function::start(Path::new("/bin/ls"), &[]).await.err().expect("ls is no function").to_string();
    assert!(ends.contains("Cargo.toml"), "{ends}");
}

#[tokio::test]
async fn a_killed_function_answers_nothing_and_is_gone() {
    let function = Function::start(&calls(), &[]).await.expect("starts");
    function.killer().kill().await;
    assert!(matches!(function.invoke_json(&json!({})).await.outcome, Outcome::Died));
    assert!(function.peak_memory().is_err());
}

#[tokio::test]
async fn the_proxy_kills_before_or_after_the_call_takes_effect() {
    for (when, kept) in [(When::Before, 2), (When::After, 3)] {
        let world = World::new().await;
        let function = world.function().await;
        world.proxy.arm(Plan { call: 3, when, fault: Fault::Kill(function.killer()) });
        let reply = function.invoke_json(&put("a", 5)).await;
        assert!(matches!(reply.outcome, Outcome::Died), "{when:?}");
        assert_eq!(world.dynamo.scan("mailbox").len(), kept, "{when:?}");
        assert_eq!((world.proxy.fired(), world.proxy.calls().len()), (1, 3));
    }
}

#[tokio::test]
async fn the_sdk_retries_what_the_proxy_injects() {
    for fault in [Fault::Throttle, Fault::ServerError, Fault::Drop] {
        let world = World::new().await;
        let function = world.function().await;
        world.proxy.arm(Plan { call: 2, when: When::Before, fault: fault.clone() });
        assert_eq!(function.invoke_json(&put("a", 3)).await.json(), json!({"put": 3}), "{fault:?}");
        assert_eq!(world.proxy.counts()["PutItem"], 4, "{fault:?}");
        assert_eq!(world.dynamo.scan("mailbox").len(), 3, "{fault:?}");
    }
}

#[tokio::test]
async fn a_lost_answer_leaves_the_effect() {
    let world = World::new().await;
    let function = world.function().await;
    world.proxy.arm(Plan { call: 1, when: When::After, fault: Fault::Drop });
    let reply = function.invoke_json(&put("a", 1)).await;
    assert!(matches!(reply.outcome, Outcome::Error(_)), "the retry finds its own write and the condition fails");
    assert_eq!(world.dynamo.scan("mailbox").len(), 1);
}

#[tokio::test]
async fn the_queue_hides_redelivers_and_redrives() {
    let world = World::new().await;
    let function = world.function().await;
    let bodies: Vec<String> = (0..25).map(|n| format!("message {n}")).collect();
    assert_eq!(function.invoke_json(&json!({"do": "send", "bodies": bodies})).await.json(), json!({"sent": 25}));
    assert_eq!(world.proxy.counts()["SendMessageBatch"], 3);
    assert_eq!(world.sqs.messages("asn").len(), 25);

    let first = world.sqs.receive("asn");
    assert_eq!(first.len(), 10);
    world.sqs.delete("asn", first[1..].iter().map(|m| m.receipt.as_str()));
    while !world.sqs.receive("asn").is_empty() {}
    assert_eq!(world.sqs.messages("asn").len(), 16, "received but not deleted stays");
    for _ in 0..6 {
        world.sqs.advance(181);
        while !world.sqs.receive("asn").is_empty() {}
    }
    assert_eq!((world.sqs.messages("asn").len(), world.sqs.messages("asn-dlq").len()), (0, 16));
    let event = events::sqs_event("asn-dlq", &world.sqs.receive("asn-dlq"));
    assert_eq!(event["Records"].as_array().map(Vec::len), Some(10));
}

#[tokio::test]
async fn a_stream_event_holds_only_what_was_put_there_first() {
    let dynamo = Dynamo::start().await;
    let owed = json!({"mark": {"S": "owed"}, "at_child_id": {"S": "2026-01-01T00:00:00Z#c#1"}});
    dynamo.put("outbox", &owed);
    let mut changed = owed.clone();
    changed["interaction"] = json!({"S": "Flag"});
    dynamo.put("outbox", &changed);
    let records = dynamo.stream_records("outbox");
    assert_eq!(records.len(), 2);
    let event = events::stream_event(&records);
    assert_eq!(event["Records"].as_array().map(Vec::len), Some(1));
    assert_eq!(event["Records"][0]["dynamodb"]["NewImage"], owed);
}
