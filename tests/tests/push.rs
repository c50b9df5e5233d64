//! Pushes through the real binaries: by webhook to receivers on this machine, dead ones among them, and by MESH to the NHS's own
//! test server.

#[path = "push/crash.rs"]
mod crash;
#[path = "push/mesh.rs"]
mod mesh;
#[path = "push/webhooks.rs"]
mod webhooks;

use cpis::domain::{
    authority::AuthorityCode,
    notification::{Notification, notification_id},
    ways_out::{PushTask, Way, WaysOut},
};
use cpis_tests::{
    events,
    runtime_api::Function,
    world::{World, authority, nhs_number},
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The secret that every world of these tests keeps.
const MASTER: &str = "a master secret of the tests, which signs what they send";

async fn world() -> World {
    let world = World::new().await;
    world.proxy.keep_secret(json!({"master": MASTER}).to_string());
    // A push is given up by its age.
    world.sqs.catch_up();
    world
}

/// The `index`-th authority of these tests.
fn code(index: usize) -> AuthorityCode {
    AuthorityCode::parse(&format!("E{:08}", 9_000_001 + index)).expect("valid")
}

/// Puts an authority into the directory with what it chose.
fn chooses(world: &World, code: &AuthorityCode, ways: &WaysOut) {
    let mut entry = authority(code.as_str(), "open");
    entry["waysOut"] = marshalled(&serde_json::to_value(ways).expect("JSON"));
    world.dynamo.put("directory", &entry);
}

/// JSON as DynamoDB writes it.
fn marshalled(value: &Value) -> Value {
    match value {
        Value::String(text) => json!({"S": text}),
        Value::Number(number) => json!({"N": number.to_string()}),
        Value::Array(values) => json!({"L": values.iter().map(marshalled).collect::<Vec<_>>()}),
        Value::Object(fields) => {
            json!({"M": fields.iter().map(|(name, value)| (name.clone(), marshalled(value))).collect::<Map<_, _>>()})
        }
        other => panic!("{other}"),
    }
}

/// The `n`-th notification of an authority.
fn notification(code: &AuthorityCode, n: u32) -> Notification {
    let access = Uuid::from_u128(u128::from(n));
    let notification = json!({
        "id": notification_id(access, code),
        "accessId": access,
        "authority": code,
        "at": "2026-11-22T12:00:00.000Z",
        "nhsNumber": nhs_number(n as usize),
        "localIds": [format!("case-{n}")],
        "viewer": {"name": "Jo Carter"},
        "organisation": {"code": "ZX001", "name": "Sample Hospital"},
        "traceId": Uuid::from_u128(1_000_000 + u128::from(n)),
    });
    serde_json::from_value(notification).expect("a notification")
}

/// Puts a notification into the queue of notifications.
fn owe(world: &World, notification: &Notification) {
    world.sqs.send("asn", &serde_json::to_string(notification).expect("JSON"), Map::new());
}

/// Rounds of an event source mapping until the queue hands out nothing more; how many there were.
async fn drain(world: &World, queue: &str, function: &Function) -> usize {
    let mut rounds = 0;
    loop {
        let batch = world.sqs.receive(queue);
        if batch.is_empty() {
            return rounds;
        }
        rounds += 1;
        let reply = function.invoke_json(&events::sqs_event(queue, &batch)).await;
        let answer = reply.answer().map(|_| reply.json());
        let failed = events::failed_ids(answer.as_ref(), &batch);
        world.sqs.delete(queue, batch.iter().filter(|m| !failed.contains(&m.id)).map(|m| m.receipt.as_str()));
    }
}

/// Escalates what has lain in the mailboxes, as if its time were over, and pushes what is owed then, as if two minutes had passed.
async fn escalate(world: &World, pusher: &Function) {
    let overdue = |names: [&str; 2]| {
        for mut item in world.dynamo.scan("mailbox").into_iter().filter(|item| item.get(names[1]).is_some()) {
            for name in names {
                item[name] = json!({"S": "2026-01-01T00:00:00.000Z"});
            }
            world.dynamo.put("mailbox", &item);
        }
    };
    let watch = world.start("asn-watch").await;
    overdue(["wake_at", "escalateAt"]);
    assert!(watch.invoke_json(&events::schedule_event()).await.answer().is_some(), "{}", watch.output());
    overdue(["push_at", "push_at"]);
    assert!(pusher.invoke_json(&events::schedule_event()).await.answer().is_some(), "{}", pusher.output());
    drain(world, "push", pusher).await;
}

/// What the second contact must be sent of a notification that was escalated (R85): all that the first was, and since when it is
/// escalated; and its own id of that message.
fn escalated(world: &World, notification: &Notification, way: Way) -> (String, Value) {
    let Notification { id, authority, trace_id, .. } = notification;
    let mut body = serde_json::to_value(notification).expect("JSON");
    body["escalatedAt"] = item_of(world, notification)["escalatedAt"]["S"].clone();
    assert!(body["escalatedAt"].is_string(), "it was escalated: {body}");
    let own = PushTask::new(authority.clone(), *id, way, *trace_id).id;
    assert_ne!(own, *id, "the two may share a system, which takes each id once");
    (own.to_string(), body)
}

/// A notification's item in the mailbox.
fn item_of(world: &World, notification: &Notification) -> Value {
    let key = json!({"la": {"S": notification.authority.as_str()}, "id": {"S": notification.id.to_string()}});
    world.dynamo.get("mailbox", &key).expect("delivered")
}

/// How far a notification has come on one way, as its mailbox item says.
fn push_state(world: &World, notification: &Notification, way: &str) -> Value {
    item_of(world, notification)["pushes"]["M"][way]["M"].clone()
}
