//! How fast fifty thousand notifications get from the outbox through the queue into the mailboxes of all authorities, each
//! exactly once.

use crate::{
    junction::Junction,
    report::{Bound, Report},
    samples::Samples,
    stage::{Stage, Tables},
    upload::PHONE,
    warm::body,
};
use cpis_tests::{
    dynamo::function_environment,
    events::{insert_record, sqs_event, stream_event},
    runtime_api::Function,
    world::{self, AUTHORITIES, outbox_key},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};
use uuid::Uuid;

const OWED: usize = 50_000;
/// So many are done by the functions, then by the bare calls, and so on by turns: each a sample.
const SLICE: usize = 1_000;
/// Records in an event of the stream, and messages in one of the queue (`template.yaml`).
const STREAM_BATCH: usize = 100;
const QUEUE_BATCH: usize = 10;
/// As many authorities as England has, told in turn.
const AUTHORITIES_TOLD: usize = 153;

pub(crate) async fn measure(stage: &Stage, report: &mut Report) {
    let access = an_access(stage).await;
    let ours = Place::new(stage, &access, ["asn-relay", "asn-delivery"]).await;
    let calls = Place::new(stage, &access, ["baseline-calls", "baseline-calls"]).await;
    let [mut whole, mut relay, mut delivery] = [const { Samples::new() }; 3];
    let [mut bare, mut sends, mut puts] = [const { Samples::new() }; 3];
    let mut ids = HashSet::new();
    for first in (0..OWED).step_by(SLICE) {
        let done = ours.relay_and_deliver(&access, first).await;
        let (send, put) = calls.send_and_put(&done).await;
        ids.extend(done.items.iter().map(id));
        // The first warms both up.
        if first > 0 {
            whole.push(rate(done.relay + done.delivery));
            relay.push(rate(done.relay));
            delivery.push(rate(done.delivery));
            bare.push(rate(send + put));
            sends.push(rate(send));
            puts.push(rate(put));
        }
    }
    ours.check_each_once(&ids);
    calls.check_each_once(&ids);
    assert_eq!(ours.tables.dynamo.scan("outbox").len(), 0, "nothing is owed any more");
    let name = format!("{OWED} notifications owed to {AUTHORITIES_TOLD} authorities, each delivered once");
    let baseline = ("bare SendMessageBatch + conditional puts", &bare);
    report.ratio(&name, Bound::AtLeast(0.7), &whole, baseline, "notifications/s");
    report.note("  (relay alone)", &relay, ("bare sends alone", &sends), "notifications/s");
    report.note("  (delivery alone)", &delivery, ("bare puts alone", &puts), "notifications/s");
}

/// An access with a notification owed, as `flag-lookup` records it.
async fn an_access(stage: &Stage) -> Value {
    let tables = Tables::new().await;
    let env = tables.environment();
    let uploader = stage.start("plan-upload", &env).await;
    let upload = world::upload(AUTHORITIES[0], 1, PHONE, &world::large_csv(1));
    assert_eq!(body(&uploader.invoke_json(&upload.event()).await)["loaded"], 1, "the plan is loaded");
    let request = world::look_up("CareTeam", &world::nhs_number(0), &Uuid::new_v4().to_string());
    let reply = stage.start("flag-lookup", &env).await.invoke_json(&request.event()).await;
    assert_eq!(body(&reply)["total"], 1, "the plan is found");
    tables.dynamo.scan("accesses").swap_remove(0)
}

/// The outbox's entry of an access of this number, of which one authority must be told.
fn owed(access: &Value, number: usize) -> Value {
    let mut entry = access.clone();
    entry["owed"]["L"][0]["M"]["authority"]["S"] = told(number).into();
    entry["child"]["S"] = format!("{:043x}", (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).into();
    entry["id"]["S"] = Uuid::new_v5(&Uuid::NAMESPACE_OID, &number.to_be_bytes()).to_string().into();
    let [at, child, id] = ["at", "child", "id"].map(|name| entry[name]["S"].as_str().unwrap_or_default());
    let position = format!("{at}#{child}#{id}");
    entry["mark"] = json!({"S": "owed"});
    entry["at_child_id"] = json!({"S": position});
    entry
}

fn told(number: usize) -> String {
    format!("E06{:06}", 1 + number % AUTHORITIES_TOLD)
}

/// Tables and queues at one address, with all that is owed in the outbox, and who takes the two steps.
struct Place {
    tables: Tables,
    _junction: Junction,
    first: Function,
    second: Function,
}

/// What a slice took, and what went through the queue and into the mailboxes.
struct Done {
    relay: Duration,
    delivery: Duration,
    bodies: Vec<String>,
    items: Vec<Value>,
}

impl Place {
    async fn new(stage: &Stage, access: &Value, steps: [&str; 2]) -> Self {
        let tables = Tables::new().await;
        let junction = Junction::start(&tables.dynamo.url, &tables.sqs.url).await;
        (0..AUTHORITIES_TOLD).for_each(|n| tables.dynamo.put("directory", &world::authority(&told(n), "open")));
        // Both sides have them: the stand-in takes longer for a write the more it holds.
        (0..OWED).for_each(|number| tables.dynamo.put("outbox", &owed(access, number)));
        let env = function_environment(&junction.url, &tables.sqs);
        let [first, second] = [stage.start(steps[0], &env).await, stage.start(steps[1], &env).await];
        Self { tables, _junction: junction, first, second }
    }

    /// A slice through relay, queue and delivery.
    async fn relay_and_deliver(&self, access: &Value, first: usize) -> Done {
        let sqs = &self.tables.sqs;
        let (mut relay, mut delivery, mut bodies) = (Duration::ZERO, Duration::ZERO, Vec::new());
        for from in (first..first + SLICE).step_by(STREAM_BATCH) {
            let record = |number| {
                let entry = owed(access, number);
                insert_record(number, &outbox_key(&entry), &entry)
            };
            let records: Vec<_> = (from..from + STREAM_BATCH).map(record).collect();
            relay += batch(&self.first, &stream_event(&records)).await;
        }
        loop {
            let messages = sqs.receive("asn");
            if messages.is_empty() {
                break;
            }
            delivery += batch(&self.second, &sqs_event("asn", &messages)).await;
            sqs.delete("asn", messages.iter().map(|message| message.receipt.as_str()));
            bodies.extend(messages.into_iter().map(|message| message.body));
        }
        let items = bodies.iter().map(|body| self.delivered(body)).collect();
        Done { relay, delivery, bodies, items }
    }

    /// What a message brought into its authority's mailbox.
    fn delivered(&self, body: &str) -> Value {
        let body: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("a message: {e}"));
        let key = json!({"la": {"S": body["authority"]}, "id": {"S": body["id"]}});
        self.tables.dynamo.get("mailbox", &key).unwrap_or_else(|| panic!("{key} is not in the mailbox"))
    }

    /// The same messages and items by the bare calls.
    async fn send_and_put(&self, done: &Done) -> (Duration, Duration) {
        let (mut sends, mut puts) = (Duration::ZERO, Duration::ZERO);
        for bodies in done.bodies.chunks(STREAM_BATCH) {
            sends += batch(&self.first, &json!({"do": "send", "bodies": bodies})).await;
        }
        for items in done.items.chunks(QUEUE_BATCH) {
            puts += batch(&self.second, &json!({"do": "deliver", "items": items})).await;
        }
        (sends, puts)
    }

    /// Checks that each went through the queue once, and is in the right mailbox once.
    fn check_each_once(&self, ids: &HashSet<String>) {
        assert_eq!(self.tables.sqs.sent("asn"), OWED, "each is sent once");
        let mailbox = self.tables.dynamo.scan("mailbox");
        assert_eq!(mailbox.len(), OWED, "as many are delivered as were owed");
        assert_eq!(mailbox.iter().map(id).collect::<HashSet<_>>(), *ids, "each of them once");
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        (0..OWED).for_each(|number| *counts.entry(told(number)).or_default() += 1);
        for item in &mailbox {
            let authority = item["la"]["S"].as_str().unwrap_or_default();
            counts.entry(authority.to_owned()).and_modify(|count| *count = count.wrapping_sub(1));
        }
        assert!(counts.values().all(|left| *left == 0), "each to whom it is owed: {counts:?}");
    }
}

fn id(item: &Value) -> String {
    item["id"]["S"].as_str().unwrap_or_default().to_owned()
}

fn rate(time: Duration) -> f64 {
    SLICE as f64 / time.as_secs_f64()
}

/// How long an event took that failed in no part.
async fn batch(function: &Function, event: &Value) -> Duration {
    let reply = function.invoke_json(event).await;
    let answer = reply.json();
    let failures = answer["batchItemFailures"].as_array().map_or(0, Vec::len);
    assert_eq!(failures, 0, "a batch failed in part: {answer}");
    reply.latency
}
