//! What a look-up costs in calls, through the release binary: two round trips to DynamoDB, and an answer even where none comes back.

use cpis_tests::{
    binaries,
    dynamo::function_environment,
    events,
    issuer::Issuer,
    proxy::{Fault, Plan, When},
    runtime_api::{Function, Outcome},
    world::{self, AUTHORITIES, World, csv, look_up, nhs_number, row, upload},
};
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

/// What Lambda is said to allow: short, so that the test is.
const LIMIT: Duration = Duration::from_millis(1_500);
/// More calls than a look-up makes with all its retries.
const MANY: usize = 40;

/// A register that knows the child, and a `flag-lookup` that has just started.
async fn scene() -> (World, Function) {
    let world = World::new().await;
    let file = upload(AUTHORITIES[0], 1, "020 7946 0001", &csv(&[row(0, "CPP", ",")]));
    let uploader = world.start("plan-upload").await;
    assert_eq!(uploader.invoke_json(&file.event()).await.json()["statusCode"], 200);
    uploader.stop().await;
    let function = world.start("flag-lookup").await;
    world.proxy.reset();
    (world, function)
}

fn event(resource: &str) -> Value {
    look_up(resource, &nhs_number(0), &Uuid::new_v4().to_string()).event()
}

/// Who is stopped is read beside the plans, once for some seconds.
#[tokio::test]
async fn r21_a_look_up_is_two_round_trips_to_dynamodb() {
    for (resource, reads) in [
        ("CareTeam", &["GetItem", "GetItem", "Query"][..]),
        ("Flag", &["GetItem", "GetItem", "Query"]),
        ("AuditEvent", &["GetItem", "GetItem", "Query", "Query"]),
    ] {
        let (world, function) = scene().await;
        // They meet, or no answer comes: all reads are one round trip.
        world.proxy.gather(reads.len());
        let answer = function.invoke_json(&event(resource)).await.json();
        assert_eq!(answer["statusCode"], 200, "{resource}: {answer}");
        let mut calls = world.proxy.calls();
        let write = calls.pop();
        calls.sort();
        assert_eq!(
            (calls, write.as_deref()),
            (reads.iter().map(ToString::to_string).collect(), Some("TransactWriteItems"))
        );
    }
}

/// Lambda kills what takes too long, and the answer with it: the function answers before.
#[tokio::test]
async fn r21_where_dynamodb_is_silent_the_answer_is_503_in_time() {
    for resource in ["CareTeam", "AuditEvent"] {
        let (world, function) = scene().await;
        for call in 1..=MANY {
            world.proxy.arm(Plan { call, when: When::Before, fault: Fault::Silence });
        }
        let answer = function.invoke_within(event(resource).to_string(), LIMIT).await.json();
        assert_eq!(answer["statusCode"], 503, "{resource}: {answer}");
        assert_eq!(answer["multiValueHeaders"]["retry-after"][0], "2", "{answer}");
        assert!(world.dynamo.scan("accesses").is_empty());
        world.proxy.reset();
        let answer = function.invoke_json(&event(resource)).await.json();
        assert_eq!(answer["statusCode"], 200, "the process goes on: {answer}");
        let output = function.stop().await;
        assert!(output.contains("request.out-of-time"), "{output}");
    }
}

/// What was recorded stands, what was not told is told by the retry, and it is one access.
#[tokio::test]
async fn r21_r22_where_the_answer_to_the_record_never_comes_the_retry_is_the_same_access() {
    let (world, function) = scene().await;
    let event = event("CareTeam").to_string();
    // After three reads, every try to record.
    for call in 4..=MANY {
        world.proxy.arm(Plan { call, when: When::After, fault: Fault::Silence });
    }
    let answer = function.invoke_within(event.clone(), LIMIT).await.json();
    assert_eq!(answer["statusCode"], 503, "{answer}");
    world.proxy.reset();
    let answer = function.invoke(event).await.json();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    assert_eq!((world.dynamo.scan("accesses").len(), world.dynamo.scan("outbox").len()), (1, 1));
}

/// The gateway makes 503 of what the authorizer fails with; its line in the log names the request, as Lambda's killing would not.
#[tokio::test]
async fn where_the_directory_is_silent_the_authorizer_gives_up_in_time() {
    let (world, _) = scene().await;
    let issuer = Issuer::start().await;
    let env = [function_environment(&world.proxy.url, &world.sqs), issuer.environment()].concat();
    let authorizer = Function::start(&binaries::function("authorizer"), &env).await.expect("the authorizer starts");
    for call in 1..=MANY {
        world.proxy.arm(Plan { call, when: When::Before, fault: Fault::Silence });
    }
    let trace = Uuid::new_v4();
    let mut event = events::authorizer_event(&issuer.token(&world::nurse()), "GET", "/cpis/FHIR/R4/CareTeam");
    event["headers"]["TraceID"] = trace.to_string().into();
    let Outcome::Error(error) = authorizer.invoke_within(event.to_string(), LIMIT).await.outcome else {
        panic!("nobody is let in")
    };
    assert!(String::from_utf8_lossy(&error).contains("the directory cannot be read"));
    let output = authorizer.stop().await;
    let line = output.lines().find(|line| line.contains("token.unjudged")).unwrap_or_else(|| panic!("{output}"));
    let line: Value = serde_json::from_str(line).expect("a line of JSON");
    assert_eq!((&line["cause"], &line["traceId"]), (&"OutOfTime".into(), &trace.to_string().into()), "{line}");
    assert!(line["lambdaRequestId"].is_string() && line["xrayTraceId"].is_string(), "{line}");
}
