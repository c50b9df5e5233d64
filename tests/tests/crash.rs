//! Functions are killed (kill -9) at every call that they make, before it takes effect and after, and then the caller tries
//! again, as clients, Lambda and SQS do. Whatever the moment, the end is that of a run that nothing disturbed.

#[path = "crash/dead_letters.rs"]
mod dead_letters;
#[path = "crash/operator.rs"]
mod operator;
#[path = "crash/watch.rs"]
mod watch;
#[path = "crash/wire.rs"]
mod wire;

use cpis_tests::{
    events,
    proxy::{Fault, Plan, When},
    runtime_api::{Function, Outcome},
    world::{AUTHORITIES, World, csv, look_up, nhs_number, row, upload},
};
use futures_util::{StreamExt, future::join_all, stream};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// How often a caller tries again before it is a failure of the system.
const PATIENCE: usize = 8;
/// Crashes tried at once.
const AT_ONCE: usize = 4;
const REQUEST: &str = "0d1f7c1e-51c4-4d38-9f0b-27f9d7a4a001";

/// What is broken off and tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    /// A second file: new plans, ends, withdrawals, bad rows, another telephone number.
    Upload,
    /// A look-up of a child whom two authorities know.
    LookUp(&'static str),
    /// The stream brings accesses to the relay.
    Relay,
    /// The relay's sweep finds them.
    Sweep,
    /// The queue brings notifications, some hopeless, to delivery.
    Delivery,
    /// The stream brings accesses to the audit log.
    Ledger,
    /// The log's sweep finds them.
    LedgerSweep,
    /// A day's look, at which uploads are overdue.
    Day,
    /// The queue brings changes of NHS numbers, one hopeless.
    Numbers,
    /// A minute has passed: digests are due, and notifications lie unread.
    Watch,
}

impl Scenario {
    fn function(self) -> &'static str {
        match self {
            Self::Upload => "plan-upload",
            Self::LookUp(_) => "flag-lookup",
            Self::Relay | Self::Sweep => "asn-relay",
            Self::Delivery => "asn-delivery",
            Self::Ledger | Self::LedgerSweep => "audit-ledger",
            Self::Day | Self::Numbers => "notices",
            Self::Watch => "asn-watch",
        }
    }

    /// A world in which it can begin, made from one in which everything before has happened.
    async fn begin(self, before: &World) -> World {
        let world = World::new().await;
        match self {
            Self::Upload | Self::LookUp(_) => world.copy(&["plans", "uploads"], before),
            Self::Relay | Self::Sweep => world.copy(&["plans", "uploads", "accesses", "outbox"], before),
            Self::Ledger => world.copy(&["accesses"], before),
            // Made long ago: a sweep leaves to the stream what it may bring yet.
            Self::LedgerSweep => {
                for mut access in before.dynamo.scan("accesses") {
                    access["at"] = json!({"S": "2026-01-01T12:00:00.000Z"});
                    world.dynamo.put("accesses", &access);
                }
            }
            Self::Day => world.copy(&["plans", "uploads"], before),
            Self::Numbers => {
                world.copy(&["plans"], before);
                for body in number_changes() {
                    world.sqs.send("number-changes", &body.to_string(), Map::new());
                }
            }
            Self::Watch => watch::fill(&world),
            Self::Delivery => {
                let hopeless = json!("not a notification").to_string();
                world.sqs.send("asn", &hopeless, Map::new());
                before.sqs.messages("asn").iter().for_each(|m| world.sqs.send("asn", &m.body, m.attributes.clone()));
                let lost = before.sqs.messages("asn")[0].body.replace(AUTHORITIES[0], "E06000099");
                world.sqs.send("asn", &lost, Map::new());
            }
        }
        world
    }

    /// One try. `None`: it must be tried again.
    async fn attempt(self, world: &World, function: &Function) -> Option<Vec<u8>> {
        match self {
            Self::Upload => answered(function, &second_upload()).await,
            Self::LookUp(resource) => answered(function, &look_up(resource, &nhs_number(0), REQUEST).event()).await,
            Self::Relay => batch_done(function, &events::stream_event(&world.owed_records())).await,
            Self::Ledger => batch_done(function, &events::stream_event(&world.access_records())).await,
            // The schedule calls again for as long as anything is owed.
            Self::Sweep => {
                let done = batch_done(function, &events::schedule_event()).await;
                done.filter(|_| world.dynamo.scan("outbox").is_empty())
            }
            Self::LedgerSweep => {
                let done = batch_done(function, &json!({"task": "sweep"})).await;
                done.filter(|_| world.dynamo.scan("accesses").iter().all(|access| access.get("ledger").is_none()))
            }
            Self::Delivery => deliver(world, function, "asn").await,
            Self::Day => day_done(function).await,
            Self::Numbers => deliver(world, function, "number-changes").await,
            Self::Watch => {
                let done = batch_done(function, &events::schedule_event()).await;
                done.filter(|_| !watch::is_due(world))
            }
        }
    }

    /// Tries, each time with a new process after the old one died, until it is done; what came back last.
    async fn finish(self, world: &World, mut function: Function) -> Vec<u8> {
        for _ in 0..PATIENCE {
            if let Some(answer) = self.attempt(world, &function).await {
                return if matches!(self, Self::Watch) { watch::told(&function.stop().await) } else { answer };
            }
            if function.peak_memory().is_err() {
                function = world.start(self.function()).await;
            }
        }
        panic!("{self:?} is not done after {PATIENCE} tries: {}", function.stop().await)
    }

    /// All that must be the same in the end, without what depends on the time.
    fn end(self, world: &World, answer: &[u8]) -> Value {
        let rows = |table: &str| -> Value {
            let mut rows: Vec<Value> =
                world.dynamo.scan(table).into_iter().filter_map(|item| self.lasting(item)).map(timeless).collect();
            rows.sort_by_key(Value::to_string);
            rows.into()
        };
        let tables: Map<String, Value> = ["plans", "accesses", "outbox", "uploads", "mailbox", "audit"]
            .map(|table| (table.to_owned(), rows(table)))
            .into_iter()
            .collect();
        let bodies = |queue: &str| -> BTreeSet<String> {
            world.sqs.messages(queue).iter().map(|m| timeless(parse(m.body.as_bytes())).to_string()).collect()
        };
        let answer = match self {
            Self::Upload | Self::LookUp(_) | Self::Watch => timeless(parse(answer)),
            _ => Value::Null,
        };
        let dead = [bodies("asn-dlq"), bodies("number-changes-dlq")];
        json!({"tables": tables, "queue": bodies("asn"), "dead": dead, "answer": answer})
    }

    /// The item without what may differ after a crash: names and parts of stored answers, how often numbers are still to be
    /// spread, and the hashes of entries of the audit log that tell of this very run, and so of its moment.
    fn lasting(self, mut item: Value) -> Option<Value> {
        if item.get("bytes").is_some() {
            return None;
        }
        let fields = item.as_object_mut()?;
        fields.remove("answer");
        fields.remove("spreadsDue");
        if matches!(self, Self::Upload) {
            fields.remove("hash");
        }
        Some(item)
    }
}

/// The body of a request's answer; `None` where a client would try again.
async fn answered(function: &Function, event: &Value) -> Option<Vec<u8>> {
    let reply = function.invoke_json(event).await;
    let Outcome::Answer(_) = reply.outcome else { return None };
    let answer = reply.json();
    match answer["statusCode"].as_u64() {
        Some(200) => Some(answer["body"].as_str().expect("a body").as_bytes().to_vec()),
        Some(503) => None,
        _ => panic!("neither done nor to be tried again: {answer}"),
    }
}

async fn batch_done(function: &Function, event: &Value) -> Option<Vec<u8>> {
    let reply = function.invoke_json(event).await;
    let Outcome::Answer(_) = reply.outcome else { return None };
    let failures = reply.json()["batchItemFailures"].as_array().map_or(0, Vec::len);
    (failures == 0).then(Vec::new)
}

/// A day's look, long after all uploads; Lambda tries it again with the same event.
async fn day_done(function: &Function) -> Option<Vec<u8>> {
    let mut event = events::schedule_event();
    event["time"] = "2030-01-01T06:10:00Z".into();
    let reply = function.invoke_json(&event).await;
    matches!(reply.outcome, Outcome::Answer(_)).then(Vec::new)
}

/// Of two children whom two authorities know, one after an adoption; of nobody; and no change at all.
fn number_changes() -> [Value; 4] {
    let change = |child| json!({"nhsNumber": nhs_number(child), "change": "superseded", "newNumber": nhs_number(60), "adopted": false});
    let mut adopted = change(1);
    adopted["adopted"] = true.into();
    [change(0), adopted, change(50), json!("not a change")]
}

/// One round of the event source mapping: receives, hands over, deletes what succeeded. Done when the queue is empty.
async fn deliver(world: &World, function: &Function, queue: &str) -> Option<Vec<u8>> {
    loop {
        let batch = world.sqs.receive(queue);
        if batch.is_empty() {
            break;
        }
        let reply = function.invoke_json(&events::sqs_event(queue, &batch)).await;
        let answer = reply.answer().map(|_| reply.json());
        let failed = events::failed_ids(answer.as_ref(), &batch);
        let done = batch.iter().filter(|m| !failed.contains(&m.id)).map(|m| m.receipt.as_str());
        world.sqs.delete(queue, done);
        if answer.is_none() {
            break;
        }
    }
    world.sqs.advance(3600);
    world.sqs.messages(queue).is_empty().then(Vec::new)
}

fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)))
}

/// The value with every moment in it replaced.
fn timeless(value: Value) -> Value {
    match value {
        Value::String(text) => {
            let moment = |part: &str| part.parse::<jiff::Timestamp>().is_ok();
            let parts = text.split('#').map(|part| if moment(part) { "a moment" } else { part });
            parts.collect::<Vec<_>>().join("#").into()
        }
        Value::Array(values) => values.into_iter().map(timeless).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, timeless(value))).collect(),
        other => other,
    }
}

/// Where two values differ, as `path: expected, found`.
fn differences(path: &str, expected: &Value, found: &Value) -> Vec<String> {
    match (expected, found) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let pairs = a.iter().zip(b).enumerate();
            pairs.flat_map(|(at, (a, b))| differences(&format!("{path}/{at}"), a, b)).collect()
        }
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            let none = &Value::Null;
            let pair = |name: &String| (a.get(name).unwrap_or(none), b.get(name).unwrap_or(none));
            names
                .into_iter()
                .flat_map(|name| differences(&format!("{path}/{name}"), pair(name).0, pair(name).1))
                .collect()
        }
        _ if expected == found => vec![],
        _ => vec![format!("{path}: {expected}, {found}")],
    }
}

fn first_upload(authority: &str) -> Value {
    let rows: Vec<String> = (0..12).map(|i| row(i, "CPP", ",")).collect();
    upload(authority, 1, "01632 960001", &csv(&rows)).event()
}

fn second_upload() -> Value {
    let mut rows: Vec<String> = (12..30).map(|i| row(i, "LAC", ",")).collect();
    rows.extend((2..5).map(|i| row(i, "CPP", "2025-11-01,")));
    rows.extend((5..7).map(|i| row(i, "CPP", ",2025-11-01")));
    rows.extend((40..42).map(|i| row(i, "CPP", "2025-11-01,")));
    rows.push(row(8, "XYZ", ","));
    rows.push(row(12, "LAC", ","));
    upload(AUTHORITIES[0], 2, "01632 960002", &csv(&rows)).event()
}

/// Everything up to notifications in the queue, undisturbed: two authorities' first files, look-ups of some children.
async fn before() -> World {
    let world = World::new().await;
    let upload = world.start("plan-upload").await;
    for authority in AUTHORITIES {
        answered(&upload, &first_upload(authority)).await.expect("the first upload");
    }
    let look = world.start("flag-lookup").await;
    for child in 0..3 {
        let request = format!("0d1f7c1e-51c4-4d38-9f0b-27f9d7a4b{child:03}");
        answered(&look, &look_up("CareTeam", &nhs_number(child), &request).event()).await.expect("a look-up");
    }
    // As if they had been made long ago, so that the sweep takes them too.
    world.owe_since("2026-01-01T12:00:00.000Z");
    let owed = world.dynamo.scan("outbox");
    let relay = world.start("asn-relay").await;
    batch_done(&relay, &events::stream_event(&world.owed_records())).await.expect("the relay");
    assert_eq!(world.sqs.messages("asn").len(), 6, "three look-ups, two authorities");
    owed.iter().for_each(|entry| world.dynamo.put("outbox", entry));
    world
}

/// Breaks the scenario at every call, in every way, and compares.
async fn survives(scenario: Scenario) {
    let before = &before().await;
    let clean = scenario.begin(before).await;
    let answer = scenario.finish(&clean, clean.start(scenario.function()).await).await;
    let calls = clean.proxy.calls();
    assert!(!calls.is_empty(), "{scenario:?} makes no calls");
    let expected = &scenario.end(&clean, &answer);
    let missed = &AtomicUsize::new(0);
    let crashes = (1..=calls.len())
        .flat_map(|call| [(call, When::Before, true), (call, When::After, true), (call, When::After, false)]);
    stream::iter(crashes)
        .for_each_concurrent(AT_ONCE, |(call, when, kill)| async move {
            let world = scenario.begin(before).await;
            let function = world.start(scenario.function()).await;
            let fault = if kill { Fault::Kill(function.killer()) } else { Fault::Drop };
            world.proxy.arm(Plan { call, when, fault });
            let answer = scenario.finish(&world, function).await;
            let made = world.proxy.calls();
            let moment = format!("{scenario:?}, call {call} ({:?}), {when:?}, killed: {kill}", made.get(call - 1));
            match (world.proxy.fired(), made.get(call - 1)) {
                // What one message has read in time of the directory another one need not ask for.
                (0, None) => drop(missed.fetch_add(1, Relaxed)),
                (fired, _) => assert_eq!(fired, 1, "{moment}"),
            }
            let end = scenario.end(&world, &answer);
            assert!(end == *expected, "{moment}: {:#?}", differences("", expected, &end));
            if matches!(scenario, Scenario::Upload) {
                let again = answered(&world.start("plan-upload").await, &second_upload()).await.expect("a replay");
                assert_eq!(again, answer, "the acknowledgement of a replay, {moment}");
            }
        })
        .await;
    let missed = missed.load(Relaxed);
    assert!(missed * 10 <= calls.len() * 3, "{scenario:?}: {missed} crashes of {} never came", calls.len() * 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_survives_kill_9_at_every_call() {
    survives(Scenario::Upload).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_up_survives_kill_9_at_every_call() {
    for resource in ["CareTeam", "Flag", "AuditEvent"] {
        survives(Scenario::LookUp(resource)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_relay_survives_kill_9_at_every_call() {
    survives(Scenario::Relay).await;
    survives(Scenario::Sweep).await;
}

/// R45, R49
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_survives_kill_9_at_every_call() {
    survives(Scenario::Ledger).await;
    survives(Scenario::LedgerSweep).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivery_survives_kill_9_at_every_call() {
    survives(Scenario::Delivery).await;
}

/// R84, R85
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watch_survives_kill_9_at_every_call_and_tells_of_all_that_it_escalated() {
    survives(Scenario::Watch).await;
}

/// R88, R94
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notices_survive_kill_9_at_every_call() {
    survives(Scenario::Day).await;
    survives(Scenario::Numbers).await;
}

/// Eight processes get the same request at the same time; what all of them answered.
async fn at_once(scenario: Scenario, world: &World) -> Vec<Vec<u8>> {
    let functions = join_all((0..8).map(|_| world.start(scenario.function()))).await;
    join_all(functions.into_iter().map(|function| scenario.finish(world, function))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_made_eight_times_at_once_has_one_effect_and_one_answer() {
    let before = before().await;
    for scenario in [Scenario::Upload, Scenario::LookUp("CareTeam"), Scenario::LookUp("Flag")] {
        let clean = scenario.begin(&before).await;
        let answer = scenario.finish(&clean, clean.start(scenario.function()).await).await;
        let world = scenario.begin(&before).await;
        let answers = at_once(scenario, &world).await;
        // A look-up's answer says when it was made; an acknowledgement is the first one, byte for byte.
        let same = |a: &[u8], b: &[u8]| match scenario {
            Scenario::LookUp(_) => timeless(parse(a)) == timeless(parse(b)),
            _ => a == b,
        };
        assert!(answers.iter().all(|other| same(&answers[0], other)), "{scenario:?}: answers differ");
        let (end, expected) = (scenario.end(&world, &answers[0]), scenario.end(&clean, &answer));
        assert!(end == expected, "{scenario:?}: {:#?}", differences("", &expected, &end));
    }
}
