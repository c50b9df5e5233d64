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
    ways_out::WaysOut,
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

/// How far a notification has come on one way, as its mailbox item says.
fn push_state(world: &World, notification: &Notification, way: &str) -> Value {
    let key = json!({"la": {"S": notification.authority.as_str()}, "id": {"S": notification.id.to_string()}});
    let item = world.dynamo.get("mailbox", &key).expect("delivered");
    item["pushes"]["M"][way]["M"].clone()
}
