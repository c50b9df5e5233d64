//! What each alarm of its own kind is there for.

use crate::scene::{LONG_AGO, Scene, Story, answer, batch, looks, relayed, run, seen, send_nonsense};
use cpis_tests::{
    events::{self, Request},
    issuer::Issuer,
    proxy::{Fault, Plan, When},
    receiver::{Broken, Receiver},
    world::{AUTHORITIES, World, authority_caller, look_up, nhs_number},
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
};

/// Minutes for which a sweep's figures are watched.
const WATCHED: u64 = 6;
/// A queue and a table that nobody made.
const NO_QUEUE: &str = "http://127.0.0.1/000000000000/gone";
const NO_TABLE: &str = "gone";
/// A name for the nurse's look-up.
const REQUEST: &str = "0d1f7c1e-51c4-4d38-9f0b-27f9d7a4c999";

fn scene(bad: Vec<Story>, good: Vec<Story>) -> Scene {
    Scene { bad, good }
}

/// The sweep that measures does not run.
fn silent() -> Story {
    Story::new("nothing measures it", WATCHED)
}

/// A message that is no notification; and a notification.
pub(crate) async fn delivery_set_aside() -> Scene {
    let world = seen(1, None).await;
    let mut bad = Story::new("a message was set aside", 5);
    send_nonsense(&world, "asn");
    batch(&world, "asn", "asn-delivery", &[], &mut bad).await;
    assert_eq!(world.sqs.messages("asn-dlq").len(), 1);
    let mut good = Story::new("a notification was delivered", 5);
    relayed(&world, &mut good).await;
    batch(&world, "asn", "asn-delivery", &[], &mut good).await;
    assert_eq!(world.dynamo.scan("mailbox").iter().filter(|item| item.get("state").is_some()).count(), 1);
    scene(vec![bad], vec![good])
}

/// Notifications of some children go through to a receiver that answers with a status.
async fn pushed(children: usize, status: u16, story: &mut Story) {
    let receiver = Receiver::start().await;
    receiver.answer("/asn", status);
    let world = seen(children, Some(&format!("{}/asn", receiver.url))).await;
    relayed(&world, story).await;
    batch(&world, "asn", "asn-delivery", &[], story).await;
    assert_eq!(world.sqs.messages("push").len(), children);
    // Of a batch, a receiver that is unwell gets one.
    for _ in 0..children {
        batch(&world, "push", "asn-push", &[], story).await;
        world.sqs.advance(3_600);
    }
    assert_eq!(receiver.received().len(), children);
}

/// A receiver says that it will never take it; or takes it.
pub(crate) async fn push_set_aside() -> Scene {
    let (mut bad, mut good) = (Story::new("a push was refused for good", 5), Story::new("a push was taken", 5));
    pushed(1, 410, &mut bad).await;
    pushed(1, 204, &mut good).await;
    scene(vec![bad], vec![good])
}

/// A receiver fails three times in a row; or twice.
pub(crate) async fn receiver_rests() -> Scene {
    let (mut bad, mut good) = (Story::new("it failed three times", 5), Story::new("it failed twice", 5));
    pushed(3, 500, &mut bad).await;
    pushed(2, 500, &mut good).await;
    scene(vec![bad], vec![good])
}

/// MESH breaks every connection off; or answers.
pub(crate) async fn mesh_unreachable() -> Scene {
    let world = seen(1, None).await;
    let (broken, mesh) = (Broken::start().await, Receiver::start().await);
    mesh.answer("/messageexchange/X26ABC1", 200);
    let (mut bad, mut good) = (Story::new("MESH breaks off", 5), Story::new("MESH answers", 5));
    for (url, story) in [(broken.url.trim_end_matches("/asn"), &mut bad), (mesh.url.as_str(), &mut good)] {
        let environment = [("MESH_URL", url), ("MESH_MAILBOX", "X26ABC1"), ("MESH_WORKFLOW_ID", "CPIS_NOTIFICATION")];
        let reply = run(&world, "asn-push", &environment, &events::schedule_event(), story, 0).await;
        assert!(reply.answer().is_some(), "{reply:?}");
    }
    assert!(!mesh.received().is_empty() && broken.connections() > 0);
    scene(vec![bad], vec![good])
}

/// A sweep every minute.
async fn swept(world: &World, function: &str, environment: &[(&str, &str)], story: &mut Story) {
    for minute in 0..WATCHED {
        run(world, function, environment, &events::schedule_event(), story, minute).await;
    }
}

/// What is owed to the queue of pushes cannot be sent there, or cannot be read; or nothing is owed.
pub(crate) async fn pushes_owed() -> Scene {
    let receiver = Receiver::start().await;
    let world = seen(1, Some(&format!("{}/asn", receiver.url))).await;
    let mut good = Story::new("nothing is owed", WATCHED);
    relayed(&world, &mut good).await;
    batch(&world, "asn", "asn-delivery", &[], &mut good).await;
    swept(&world, "asn-push", &[], &mut good).await;
    let owing = world.dynamo.scan("mailbox").into_iter().find(|item| item.get("pushes").is_some());
    let mut owing = owing.expect("delivered");
    owing["push"] = json!({"S": "due"});
    owing["push_at"] = json!({"S": LONG_AGO});
    world.dynamo.put("mailbox", &owing);
    let mut bad = Story::new("a push cannot be queued", WATCHED);
    swept(&world, "asn-push", &[("PUSH_QUEUE_URL", NO_QUEUE)], &mut bad).await;
    let mut unread = Story::new("one of them cannot be read", WATCHED);
    owing["pushes"] = json!({"S": "nonsense"});
    world.dynamo.put("mailbox", &owing);
    for minute in 0..WATCHED {
        // It is told, and not by silence: a sweep that fails tells nothing of all others either.
        let _ = answer(&world, "asn-push", &events::schedule_event(), &mut unread, minute).await;
    }
    scene(vec![bad, unread, silent()], vec![good])
}

/// One of two notifications in a mailbox cannot be read: the other one is listed all the same; or both are.
pub(crate) async fn mailbox_unreadable() -> Scene {
    let (mut bad, mut good) = (Story::new("one cannot be read", 5), Story::new("all can be read", 5));
    let world = seen(2, None).await;
    relayed(&world, &mut good).await;
    batch(&world, "asn", "asn-delivery", &[], &mut good).await;
    let list =
        Request::new("GET", "/cpis/authorities/E06000001/notifications").caller(&authority_caller(AUTHORITIES[0]));
    let listed = async |story: &mut Story| {
        let answer = answer(&world, "asn-mailbox", &list.event(), story, 0).await;
        assert_eq!(answer["statusCode"], 200, "{answer}");
        let body: Value = serde_json::from_str(answer["body"].as_str().expect("a body")).expect("JSON");
        body["items"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(listed(&mut good).await, 2);
    let mut item =
        world.dynamo.scan("mailbox").into_iter().find(|item| item.get("state").is_some()).expect("delivered");
    item["deliveredAt"] = json!({"N": "1"});
    world.dynamo.put("mailbox", &item);
    assert_eq!(listed(&mut bad).await, 1);
    scene(vec![bad], vec![good])
}

/// An unread notification in the mailbox whose time is over; its item, and the world.
async fn unread(story: &mut Story) -> (World, Value) {
    let world = seen(1, None).await;
    relayed(&world, story).await;
    batch(&world, "asn", "asn-delivery", &[], story).await;
    let mut item =
        world.dynamo.scan("mailbox").into_iter().find(|item| item.get("wake").is_some()).expect("it may wake");
    for name in ["escalateAt", "wake_at"] {
        item[name] = json!({"S": LONG_AGO});
    }
    (world, item)
}

/// A notification is left unread for too long; or not yet.
pub(crate) async fn notifications_escalated() -> Scene {
    let (mut bad, mut good) = (Story::new("nobody has read it", 5), Story::new("its time is not over", 5));
    let (world, item) = unread(&mut good).await;
    let _ = answer(&world, "asn-watch", &events::schedule_event(), &mut good, 1).await;
    world.dynamo.put("mailbox", &item);
    let _ = answer(&world, "asn-watch", &events::schedule_event(), &mut bad, 1).await;
    scene(vec![bad], vec![good])
}

/// What was due long ago is due again and again, as if the watch never came to it; or it is done with at the first.
pub(crate) async fn watch_late() -> Scene {
    let (mut bad, mut good) = (Story::new("it stays due", WATCHED), Story::new("a watch sees to it", WATCHED));
    let (world, item) = unread(&mut good).await;
    for minute in 0..WATCHED {
        world.dynamo.put("mailbox", &item);
        let _ = answer(&world, "asn-watch", &events::schedule_event(), &mut bad, minute).await;
    }
    world.dynamo.put("mailbox", &item);
    swept(&world, "asn-watch", &[], &mut good).await;
    scene(vec![bad, silent()], vec![good])
}

/// Two days ago was the last look, or the day's look fails; or there was one.
pub(crate) async fn notices_age() -> Scene {
    let world = seen(1, None).await;
    let look = |hours_ago| {
        let mut event = events::schedule_event();
        event["time"] = (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours_ago)).to_string().into();
        event
    };
    let (mut bad, mut good) =
        (Story::new("nobody looks for notices", WATCHED), Story::new("they are looked for", WATCHED));
    let _ = answer(&world, "notices", &look(48), &mut bad, 0).await;
    let failed = run(&world, "notices", &[("UPLOADS_TABLE", NO_TABLE)], &look(1), &mut bad, 0).await;
    assert!(failed.answer().is_none(), "what is not whole does not count: {failed:?}");
    swept(&world, "asn-relay", &[], &mut bad).await;
    let _ = answer(&world, "notices", &look(1), &mut good, 0).await;
    swept(&world, "asn-relay", &[], &mut good).await;
    scene(vec![bad, silent()], vec![good])
}

/// What is owed to the queue of notifications cannot be sent there, or cannot be read; or it can, at the first sweep.
pub(crate) async fn outbox_age() -> Scene {
    let world = seen(1, None).await;
    world.owe_since(LONG_AGO);
    let (mut bad, mut good) = (Story::new("it cannot be queued", WATCHED), Story::new("a sweep mends it", WATCHED));
    swept(&world, "asn-relay", &[("ASN_QUEUE_URL", NO_QUEUE)], &mut bad).await;
    assert!(world.sqs.messages("asn").is_empty());
    let unreadable = unreadable_entry(&world);
    swept(&world, "asn-relay", &[], &mut good).await;
    assert_eq!(world.sqs.messages("asn").len(), 1);
    world.dynamo.put("outbox", &unreadable);
    let mut unread_entry = Story::new("one of its entries cannot be read", WATCHED);
    swept(&world, "asn-relay", &[], &mut unread_entry).await;
    scene(vec![bad, unread_entry, silent()], vec![good])
}

/// The entry that is in the outbox, with nothing left of it but its key.
fn unreadable_entry(world: &World) -> Value {
    let entry = world.dynamo.scan("outbox").remove(0);
    json!({"mark": entry["mark"], "at_child_id": entry["at_child_id"]})
}

/// The ledger's sweep every minute.
async fn ledger_swept(world: &World, story: &mut Story, minute: u64) {
    let _ = answer(world, "audit-ledger", &json!({"task": "sweep"}), story, minute).await;
}

/// An access is not in the log, whatever the sweep does; or it is, after the first.
pub(crate) async fn unaudited_age() -> Scene {
    let world = seen(1, None).await;
    let mut access = world.dynamo.scan("accesses").remove(0);
    assert!(access.get("ledger").is_some(), "{access}");
    access["at"] = json!({"S": LONG_AGO});
    let (mut bad, mut good) = (Story::new("it stays out of the log", WATCHED), Story::new("a sweep mends it", WATCHED));
    for minute in 0..WATCHED {
        // As if the log had not taken it.
        world.dynamo.put("accesses", &access);
        ledger_swept(&world, &mut bad, minute).await;
    }
    for minute in 0..WATCHED {
        ledger_swept(&world, &mut good, minute).await;
    }
    scene(vec![bad, silent()], vec![good])
}

/// The log's end was stated long ago; or just now.
pub(crate) async fn statement_age() -> Scene {
    let world = seen(1, None).await;
    let (mut bad, mut good) =
        (Story::new("it was signed long ago", WATCHED), Story::new("it was just signed", WATCHED));
    let _ = answer(&world, "audit-ledger", &events::stream_event(&world.access_records()), &mut good, 0).await;
    let _ = answer(&world, "audit-ledger", &json!({"task": "state-heads"}), &mut good, 0).await;
    for minute in 0..WATCHED {
        ledger_swept(&world, &mut good, minute).await;
    }
    let statement = |item: &Value| item["shard"]["S"] == "statement" && item.get("at").is_some();
    let mut stated = world.dynamo.scan("audit").into_iter().find(statement).expect("a statement");
    stated["at"] = json!({"S": LONG_AGO});
    world.dynamo.put("audit", &stated);
    for minute in 0..WATCHED {
        ledger_swept(&world, &mut bad, minute).await;
    }
    scene(vec![bad, silent()], vec![good])
}

/// The issuer breaks every connection off; or answers.
pub(crate) async fn jwks_unreachable() -> Scene {
    let (world, issuer, broken) = (World::new().await, Issuer::start().await, Broken::start().await);
    let caller = authority_caller(AUTHORITIES[0]);
    let event = events::authorizer_event(&issuer.token(&caller), "GET", "/cpis/authorities/E06000001/notifications");
    let environment = issuer.environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let gone = [environment.as_slice(), &[("JWKS_URL", broken.url.as_str())]].concat();
    let (mut bad, mut good) = (Story::new("the issuer breaks off", 5), Story::new("the issuer answers", 5));
    run(&world, "authorizer", &gone, &event, &mut bad, 0).await;
    assert!(broken.connections() > 0);
    let reply = run(&world, "authorizer", &environment, &event, &mut good, 0).await;
    assert!(reply.answer().is_some(), "{reply:?}");
    scene(vec![bad], vec![good])
}

/// One person looks up 80 children within a moment; or three.
pub(crate) async fn audit_findings() -> Scene {
    let (mut bad, mut good) =
        (Story::new("a person reads 80 children at once", 5), Story::new("a person reads three", 5));
    for (children, story) in [(80, &mut bad), (3, &mut good)] {
        let world = World::new().await;
        looks(&world, 0..children).await;
        let seen = events::stream_event(&world.access_records());
        let _ = answer(&world, "audit-ledger", &seen, story, 0).await;
    }
    scene(vec![bad], vec![good])
}

/// The table of what was counted is not there; or is.
pub(crate) async fn accesses_uncounted() -> Scene {
    let world = seen(1, None).await;
    let accesses = events::stream_event(&world.access_records());
    let (mut bad, mut good) = (Story::new("look-ups cannot be counted", 5), Story::new("look-ups are counted", 5));
    run(&world, "audit-ledger", &[("LIMITS_TABLE", NO_TABLE)], &accesses, &mut bad, 0).await;
    let _ = answer(&world, "audit-ledger", &accesses, &mut good, 0).await;
    scene(vec![bad], vec![good])
}

/// As [`accesses_uncounted`], for the look-up itself, which answers all the same.
pub(crate) async fn budgets_unread() -> Scene {
    let world = World::new().await;
    let look = look_up("CareTeam", &nhs_number(0), REQUEST).event();
    let (mut bad, mut good) = (Story::new("budgets cannot be read", 5), Story::new("budgets are read", 5));
    for (environment, story) in [(&[("LIMITS_TABLE", NO_TABLE)][..], &mut bad), (&[], &mut good)] {
        let reply = run(&world, "flag-lookup", environment, &look, story, 0).await;
        assert_eq!(reply.json()["statusCode"], 200);
    }
    scene(vec![bad], vec![good])
}

/// What API Gateway counts as `5XXError`, for the API and its stage: the function's 5xx, and its own 502 where there was no answer (API Gateway
/// Developer Guide, "Amazon API Gateway dimensions and metrics").
pub(crate) async fn api_errors() -> Scene {
    let look = look_up("CareTeam", &nhs_number(0), REQUEST).event();
    let mut stories = [
        "DynamoDB throttles three look-ups",
        "it throttles two",
        "three look-ups die",
        "callers ask for what is not there",
    ]
    .map(|what| Story::new(what, 5));
    for (story, (faults, kill)) in stories.iter_mut().zip([(3, false), (2, false), (3, true), (0, false)]) {
        let world = World::new().await;
        for request in 0..3 {
            let running = world.start("flag-lookup").await;
            world.proxy.reset();
            if request < faults {
                // Every try of every call of the look-up.
                let fault = if kill { Fault::Kill(running.killer()) } else { Fault::Throttle };
                let calls = if kill { 1..=1 } else { 1..=20 };
                calls.for_each(|call| world.proxy.arm(Plan { call, when: When::Before, fault: fault.clone() }));
            }
            let event = if faults == 0 { Request::new("GET", "/nowhere").event() } else { look.clone() };
            let reply = running.invoke_json(&event).await;
            let status = reply.answer().map_or(502, |_| reply.json()["statusCode"].as_u64().expect("a status"));
            let value = f64::from(u8::from(status >= 500));
            story.metrics.note(0, "AWS/ApiGateway", "5XXError", &[("ApiName", "cpis"), ("Stage", "v1")], value);
        }
    }
    let [throttled, less, died, asked] = stories;
    scene(vec![throttled, died], vec![less, asked])
}

/// Passes everything on to a service, the first bytes of each connection late.
struct Slow {
    url: String,
    server: JoinHandle<()>,
}

impl Slow {
    async fn start(upstream: &str, late: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let upstream = upstream.clone();
                tokio::spawn(async move {
                    let mut first = vec![0; 1024];
                    let read = stream.read(&mut first).await.unwrap_or(0);
                    tokio::time::sleep(late).await;
                    let Ok(mut service) = TcpStream::connect(upstream).await else { return };
                    if service.write_all(&first[..read]).await.is_ok() {
                        let _ = copy_bidirectional(&mut stream, &mut service).await;
                    }
                });
            }
        });
        Self { url, server }
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// DynamoDB is slow for a quarter of an hour; or is not, by the longest time that may be set. `Duration` is the time from the event to the
/// answer, in milliseconds.
pub(crate) async fn lookup_latency() -> Scene {
    let world = World::new().await;
    let slow = Slow::start(&world.proxy.url, Duration::from_millis(600)).await;
    let look = look_up("CareTeam", &nhs_number(0), REQUEST).event();
    let (mut bad, mut good) = (Story::new("DynamoDB is slow", 15), Story::new("DynamoDB answers", 15));
    good.changes = json!({"Threshold": 5_000});
    for (environment, story) in [(&[("AWS_ENDPOINT_URL", slow.url.as_str())][..], &mut bad), (&[], &mut good)] {
        for minute in [0, 5, 10] {
            let reply = run(&world, "flag-lookup", environment, &look, story, minute).await;
            assert_eq!(reply.json()["statusCode"], 200);
            let milliseconds = reply.latency.as_secs_f64() * 1_000.0;
            story.metrics.note(
                minute,
                "AWS/Lambda",
                "Duration",
                &[("FunctionName", "FlagLookupFunction")],
                milliseconds,
            );
        }
    }
    scene(vec![bad], vec![good])
}

/// An account that may run one environment gets two invocations at once; or one after the other. `Throttles` of the whole account has no
/// dimension ("Types of metrics for Lambda functions": invocations for which there was no concurrency).
pub(crate) async fn throttles() -> Scene {
    let (world, concurrency) = (World::new().await, Semaphore::new(1));
    let look = world.start("flag-lookup").await;
    let event = look_up("CareTeam", &nhs_number(0), REQUEST).event();
    let call = async |story: &mut Story| {
        let environment = concurrency.try_acquire();
        story.metrics.note(0, "AWS/Lambda", "Throttles", &[], f64::from(u8::from(environment.is_err())));
        if environment.is_ok() {
            let _ = look.invoke_json(&event).await;
        }
    };
    let (mut bad, mut second) = (Story::new("two are called at once", 5), Story::new("", 5));
    let mut good = Story::new("two are called in turn", 5);
    tokio::join!(call(&mut bad), call(&mut second));
    bad.metrics.0.append(&mut second.metrics.0);
    call(&mut good).await;
    call(&mut good).await;
    scene(vec![bad], vec![good])
}
