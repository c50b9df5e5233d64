//! What happens in a test of an alarm, and the world in which it does.

use crate::model::{Template, brief, text};
use cpis::domain::ways_out::{WaysOut, Webhook};
use cpis_tests::{
    cloudwatch::Metrics,
    dynamo::attribute,
    events,
    runtime_api::{Outcome, Reply},
    world::{AUTHORITIES, World, authority, csv, look_up, nhs_number, row, upload},
};
use serde_json::{Map, Value, json};

/// The stack's name.
const STACK: &str = "cpis";
/// A moment long ago, as tables have it.
pub(crate) const LONG_AGO: &str = "2026-01-01T12:00:00.000Z";

/// What happened, in figures.
pub(crate) struct Story {
    /// In words.
    pub(crate) what: &'static str,
    /// The figures.
    pub(crate) metrics: Metrics,
    /// For how long.
    pub(crate) minutes: u64,
    /// What is set otherwise in the alarm, by a parameter of the stack.
    pub(crate) changes: Value,
}

impl Story {
    pub(crate) fn new(what: &'static str, minutes: u64) -> Self {
        Self { what, metrics: Metrics::default(), minutes, changes: json!({}) }
    }
}

/// Ways in which things are bad, each of which must fire the alarm by itself, and ways in which they are well.
#[derive(Default)]
pub(crate) struct Scene {
    pub(crate) bad: Vec<Story>,
    pub(crate) good: Vec<Story>,
}

/// A value of the template with its references resolved: a parameter to its default, anything else to its logical name.
pub(crate) fn resolved(template: &Template, value: &Value) -> Value {
    match value {
        Value::Object(one) if one.len() == 1 && (one.contains_key("Ref") || one.contains_key("Fn::GetAtt")) => {
            let name = brief(value);
            let default = &template.0["Parameters"][&name]["Default"];
            match name.split_once('.') {
                Some((id, "QueueName")) => id.into(),
                _ if name == "AWS::StackName" => STACK.into(),
                _ if !default.is_null() => default.clone(),
                _ => name.into(),
            }
        }
        Value::Object(fields) => fields.iter().map(|(name, v)| (name.clone(), resolved(template, v))).collect(),
        Value::Array(items) => items.iter().map(|item| resolved(template, item)).collect(),
        other => other.clone(),
    }
}

/// The name under which a function's code is packaged.
pub(crate) fn package<'a>(template: &'a Template, id: &str) -> &'a str {
    template.functions().into_iter().find(|f| f.id == id).unwrap_or_else(|| panic!("no function {id}")).name
}

/// What Lambda counts of an invocation as `Errors`: that the function answered with an error or ended, and nothing else; a batch with items
/// to be had again is answered (AWS Lambda Developer Guide, "Types of metrics for Lambda functions").
pub(crate) fn errors(reply: &Reply) -> f64 {
    match reply.outcome {
        Outcome::Answer(_) => 0.0,
        Outcome::Error(_) | Outcome::Died => 1.0,
    }
}

/// Starts a function, hands it one event, ends it, and reads what it wrote, as of a minute.
pub(crate) async fn run(
    world: &World,
    function: &str,
    environment: &[(&str, &str)],
    event: &Value,
    story: &mut Story,
    minute: u64,
) -> Reply {
    let running = world.start_with(function, environment).await;
    let reply = running.invoke_json(event).await;
    story.metrics.read(minute, &running.stop().await);
    reply
}

/// As [`run`], and the function must answer.
pub(crate) async fn answer(world: &World, function: &str, event: &Value, story: &mut Story, minute: u64) -> Value {
    let reply = run(world, function, &[], event, story, minute).await;
    assert!(reply.answer().is_some(), "{function}: {reply:?}");
    reply.json()
}

/// A world in which an authority, told beside its mailbox by webhook if it has an address, has plans of 12 children, and some of them were
/// looked up: what is owed for it is in the outbox.
pub(crate) async fn seen(children: usize, webhook: Option<&str>) -> World {
    let world = World::new().await;
    world.sqs.catch_up();
    world.proxy.keep_secret(
        json!({"master": "a master secret of the tests, 32 bytes", "mesh": {"password": "p", "sharedKey": "k"}})
            .to_string(),
    );
    if let Some(url) = webhook {
        let ways = WaysOut { webhook: Some(Webhook::at(url)), ..WaysOut::default() };
        let mut entry = authority(AUTHORITIES[0], "open");
        entry["waysOut"] = attribute(&serde_json::to_value(ways).expect("JSON"));
        world.dynamo.put("directory", &entry);
    }
    let mut aside = Story::new("before", 0);
    let rows: Vec<_> = (0..12).map(|child| row(child, "CPP", ",")).collect();
    let file = upload(AUTHORITIES[0], 1, "01632 960001", &csv(&rows)).event();
    let _ = answer(&world, "plan-upload", &file, &mut aside, 0).await;
    looks(&world, 0..children).await;
    assert_eq!(world.dynamo.scan("outbox").len(), children, "each look-up owes a notification");
    world
}

/// The nurse looks these children up, all within a moment.
pub(crate) async fn looks(world: &World, children: std::ops::Range<usize>) {
    let look = world.start("flag-lookup").await;
    for child in children {
        let request = format!("0d1f7c1e-51c4-4d38-9f0b-27f9d7a4c{child:03}");
        let reply = look.invoke_json(&look_up("CareTeam", &nhs_number(child), &request).event()).await;
        assert_eq!(reply.json()["statusCode"], 200, "{}", reply.json());
    }
}

/// What was owed is relayed into the queue `asn`.
pub(crate) async fn relayed(world: &World, story: &mut Story) {
    let owed = events::stream_event(&world.owed_records());
    let _ = answer(world, "asn-relay", &owed, story, 0).await;
    assert!(!world.sqs.messages("asn").is_empty());
}

/// A batch of a queue goes through its function; what the function is done with is deleted.
pub(crate) async fn batch(world: &World, queue: &str, function: &str, environment: &[(&str, &str)], story: &mut Story) {
    let messages = world.sqs.receive(queue);
    let reply = run(world, function, environment, &events::sqs_event(queue, &messages), story, 0).await;
    let answer = reply.answer().map(|_| reply.json());
    let failed = events::failed_ids(answer.as_ref(), &messages);
    world.sqs.delete(queue, messages.iter().filter(|m| !failed.contains(&m.id)).map(|m| m.receipt.as_str()));
}

/// What the stream of a table would bring, where something was looked up and has been delivered.
pub(crate) async fn records(table: &str) -> (World, Vec<Value>) {
    let world = seen(1, None).await;
    let of = |world: &World| -> Vec<Value> {
        match table {
            "outbox" => world.owed_records(),
            "accesses" => world.access_records(),
            _ => {
                let items = world.dynamo.scan(table);
                items.iter().enumerate().map(|(n, item)| events::insert_record(n, &json!({}), item)).collect()
            }
        }
    };
    if of(&world).is_empty() {
        let mut aside = Story::new("before", 0);
        relayed(&world, &mut aside).await;
        batch(&world, "asn", "asn-delivery", &[], &mut aside).await;
    }
    let found = of(&world);
    assert!(!found.is_empty(), "nothing is in {table}");
    (world, found)
}

/// Sends a text that is nothing that a queue should hold.
pub(crate) fn send_nonsense(world: &World, queue: &str) {
    world.sqs.send(queue, &json!("not a notification").to_string(), Map::new());
}

/// The name of a table of the template in the tests: `plans` is `PlansTable`.
pub(crate) fn table_name(attribute: &Value) -> String {
    let id = text(&attribute["Fn::GetAtt"][0]);
    id.strip_suffix("Table").unwrap_or_else(|| panic!("{attribute} is of no table")).to_lowercase()
}
