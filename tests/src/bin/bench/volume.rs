//! How fast ten thousand of a thing are done: rows of an upload, notifications.

use crate::{
    junction::Junction,
    report::{Bound, Report},
    samples::Samples,
    stage::{Stage, Tables},
    warm::body,
};
use cpis_tests::{
    dynamo::function_environment,
    events::{insert_record, sqs_event, stream_event},
    runtime_api::Function,
    world::{self, AUTHORITIES, outbox_key},
};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Duration};
use uuid::Uuid;

const MANY: usize = 10_000;
const WARM_UP: usize = 200;
/// Rounds of each; every round has new tables.
const ROUNDS: usize = 3;
/// Writes under way at once, as `plan-upload` has them.
const CONCURRENCY: usize = 64;
const PHONE: &str = "020 7946 0001";
/// Records in an event of the stream, and messages in one of the queue (`template.yaml`).
const STREAM_BATCH: usize = 100;
const QUEUE_BATCH: usize = 10;
/// As many authorities as England has, told in turn.
const AUTHORITIES_TOLD: u64 = 153;

pub(crate) async fn upload(stage: &Stage, report: &mut Report) {
    let file = world::large_csv(MANY);
    let (mut ours, mut bare) = (Samples::default(), Samples::default());
    let mut plan = Value::Null;
    for round in 0..=ROUNDS {
        let (rate, written) = upload_once(stage, &file).await;
        if round == 0 {
            plan = written;
            continue;
        }
        ours.push(rate);
        bare.push(put_once(stage, &plan).await);
    }
    let baseline = ("bare conditional puts", &bare);
    report.ratio("upload of 10,000 rows", Bound::AtLeast(0.85), &ours, baseline, "rows/s");
}

/// Rows a second, and one of the plans written.
async fn upload_once(stage: &Stage, file: &str) -> (f64, Value) {
    let tables = Tables::new().await;
    let function = stage.start("plan-upload", &tables.environment()).await;
    let warm_up = world::upload(AUTHORITIES[1], 1, PHONE, &world::large_csv(WARM_UP));
    assert_eq!(body(&function.invoke_json(&warm_up.event()).await)["loaded"], WARM_UP, "the warm-up is loaded");
    let event = world::upload(AUTHORITIES[0], 1, PHONE, file).event().to_string();
    let reply = function.invoke(event).await;
    assert_eq!(body(&reply)["loaded"], MANY, "every row is loaded");
    let plans = tables.dynamo.scan("plans");
    assert_eq!(plans.len(), MANY + WARM_UP, "every row is in the table");
    let of_file = plans.into_iter().find(|plan| plan["la"]["S"] == AUTHORITIES[0]);
    (rate(reply.latency), of_file.unwrap_or_default())
}

async fn put_once(stage: &Stage, plan: &Value) -> f64 {
    let tables = Tables::new().await;
    let function = stage.start("baseline-calls", &tables.environment()).await;
    let put = |prefix: &str, count: usize| {
        json!({
            "do": "put", "table": "plans", "unique": "child", "item": plan,
            "prefix": prefix, "count": count, "concurrency": CONCURRENCY,
        })
    };
    assert_eq!(function.invoke_json(&put("w", WARM_UP)).await.json()["put"], WARM_UP, "the warm-up is put");
    let reply = function.invoke_json(&put("c", MANY)).await;
    assert_eq!(reply.json()["put"], MANY, "every item is put");
    rate(reply.latency)
}

fn rate(time: Duration) -> f64 {
    MANY as f64 / time.as_secs_f64()
}

/// Tables and queues at one address.
struct Place {
    tables: Tables,
    junction: Junction,
}

impl Place {
    async fn new() -> Self {
        let tables = Tables::new().await;
        let junction = Junction::start(&tables.dynamo.url, &tables.sqs.url).await;
        Self { tables, junction }
    }

    async fn start(&self, stage: &Stage, name: &str) -> Function {
        stage.start(name, &function_environment(&self.junction.url, &self.tables.sqs)).await
    }
}

pub(crate) async fn notifications(stage: &Stage, report: &mut Report) {
    let access = an_access(stage).await;
    let [mut ours, mut bare, mut relay, mut deliver, mut sends, mut puts] = [const { Samples::new() }; 6];
    let mut done = Done::default();
    for round in 0..=ROUNDS {
        let latest = relay_and_deliver(stage, &access).await;
        if round > 0 {
            ours.push(rate(latest.relay + latest.delivery));
            relay.push(rate(latest.relay));
            deliver.push(rate(latest.delivery));
            let (send, put) = send_and_put(stage, &access, &done).await;
            bare.push(rate(send + put));
            sends.push(rate(send));
            puts.push(rate(put));
        } else {
            done = latest;
        }
    }
    let baseline = ("bare SendMessageBatch + conditional puts", &bare);
    report.ratio("relay and delivery of 10,000", Bound::AtLeast(0.7), &ours, baseline, "notifications/s");
    report.note("  (relay alone)", &relay, ("bare sends alone", &sends), "notifications/s");
    report.note("  (delivery alone)", &deliver, ("bare puts alone", &puts), "notifications/s");
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

/// The authority that is told of an access.
fn told(number: u64) -> String {
    format!("E06{:06}", 1 + number % AUTHORITIES_TOLD)
}

/// What a run took, and what went through the queue and into the mailbox.
#[derive(Default)]
struct Done {
    relay: Duration,
    delivery: Duration,
    bodies: Vec<String>,
    items: Vec<Value>,
}

/// Records ten thousand accesses that somebody must be told of. Both sides of the comparison have them: dynoxide takes
/// longer for a write the more it holds.
fn owe(tables: &Tables, access: &Value) -> Vec<Value> {
    for number in 0..AUTHORITIES_TOLD {
        tables.dynamo.put("directory", &world::authority(&told(number), "open"));
    }
    let accesses = (0..MANY as u64).map(|number| {
        let mut access = access.clone();
        access["owed"]["L"][0]["M"]["authority"]["S"] = told(number).into();
        access["child"]["S"] = format!("{:043x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into();
        access["id"]["S"] = Uuid::new_v4().to_string().into();
        tables.dynamo.put("accesses", &access);
        let [at, child, id] = ["at", "child", "id"].map(|name| access[name]["S"].as_str().unwrap_or_default());
        let position = format!("{at}#{child}#{id}");
        access["mark"] = json!({"S": "owed"});
        access["at_child_id"] = json!({"S": position});
        tables.dynamo.put("outbox", &access);
        access
    });
    let record = |(number, entry): (usize, Value)| insert_record(number, &outbox_key(&entry), &entry);
    accesses.enumerate().map(record).collect()
}

async fn relay_and_deliver(stage: &Stage, access: &Value) -> Done {
    let place = Place::new().await;
    let Tables { dynamo, sqs } = &place.tables;
    let records = owe(&place.tables, access);
    let (relay, delivery) = (place.start(stage, "asn-relay").await, place.start(stage, "asn-delivery").await);
    let mut done = Done::default();
    for records in records.chunks(STREAM_BATCH) {
        done.relay += batch(&relay, &stream_event(records)).await;
    }
    loop {
        let messages = sqs.receive("asn");
        if messages.is_empty() {
            break;
        }
        done.delivery += batch(&delivery, &sqs_event("asn", &messages)).await;
        sqs.delete("asn", messages.iter().map(|message| message.receipt.as_str()));
        done.bodies.extend(messages.into_iter().map(|message| message.body));
    }
    assert_eq!(dynamo.scan("outbox").len(), 0, "nothing is owed any more");
    done.items = delivered(&done.bodies, dynamo.scan("mailbox"));
    done
}

/// The mailbox's items in the order of the messages that brought them.
fn delivered(bodies: &[String], mailbox: Vec<Value>) -> Vec<Value> {
    let id = |item: &Value| item["id"]["S"].as_str().unwrap_or_default().to_owned();
    let mut items: HashMap<String, Value> = mailbox.into_iter().map(|item| (id(&item), item)).collect();
    let items: Vec<Value> = bodies
        .iter()
        .filter_map(|body| items.remove(serde_json::from_str::<Value>(body).ok()?["id"].as_str()?))
        .collect();
    assert_eq!(items.len(), MANY, "each notification is in the mailbox once");
    items
}

async fn send_and_put(stage: &Stage, access: &Value, done: &Done) -> (Duration, Duration) {
    let place = Place::new().await;
    owe(&place.tables, access);
    let (sender, deliverer) = (place.start(stage, "baseline-calls").await, place.start(stage, "baseline-calls").await);
    let (mut sends, mut puts) = (Duration::ZERO, Duration::ZERO);
    for bodies in done.bodies.chunks(STREAM_BATCH) {
        sends += batch(&sender, &json!({"do": "send", "bodies": bodies})).await;
    }
    for items in done.items.chunks(QUEUE_BATCH) {
        puts += batch(&deliverer, &json!({"do": "deliver", "items": items})).await;
    }
    assert_eq!(place.tables.sqs.sent("asn"), MANY, "every message is sent");
    assert_eq!(place.tables.dynamo.scan("mailbox").len(), MANY, "every item is put");
    (sends, puts)
}

/// How long an event took that failed in no part.
async fn batch(function: &Function, event: &Value) -> Duration {
    let reply = function.invoke_json(event).await;
    let answer = reply.json();
    let failures = answer["batchItemFailures"].as_array().map_or(0, Vec::len);
    assert_eq!(failures, 0, "a batch failed in part: {answer}");
    reply.latency
}
