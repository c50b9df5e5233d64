//! Why a notification cannot wait, from the look-up to the mailbox, through the real binaries (R83): what the plan, the hour and the
//! place say stands in the authority's own answer, and decides how long it may be left unread (R85).

use cpis_tests::{
    events::{self, Request},
    runtime_api::Function,
    world::{AUTHORITIES, World, authority, authority_caller, csv, look_up, nhs_number, upload},
};
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};
use serde_json::{Value, json};
use uuid::Uuid;

/// After how many minutes the authorities want what can wait escalated, and what cannot.
const MINUTES: (i64, i64) = (60, 30);
/// A moment at which it is day in London.
const DAY: &str = "2026-01-15T12:00:00.000Z";
/// Half past ten in the evening there, by summer time.
const NIGHT: &str = "2026-07-15T21:30:00.000Z";

/// One look-up: of whose plan, of which kind, whether the child is under one, when, and what must be said of it.
struct Case {
    authority: &'static str,
    kind: &'static str,
    infant: bool,
    at: &'static str,
    signals: &'static [&'static str],
}

const CASES: [Case; 6] = {
    let [here, elsewhere] = AUTHORITIES;
    let plain = Case { authority: here, kind: "CPP", infant: false, at: DAY, signals: &[] };
    [
        Case { infant: true, signals: &["infant"], ..plain },
        // Under the mother's number and birth date.
        Case { kind: "UCP", signals: &["unborn"], ..plain },
        Case { at: NIGHT, signals: &["night"], ..plain },
        Case { authority: elsewhere, signals: &["out-of-area"], ..plain },
        Case { authority: elsewhere, infant: true, at: NIGHT, signals: &["infant", "night", "out-of-area"], ..plain },
        plain,
    ]
};

/// The functions that a notification passes.
struct Functions {
    look_up: Function,
    relay: Function,
    delivery: Function,
    mailbox: Function,
}

/// A world in which every case's plan is held, the second authority lies in another region than the hospital, and both have chosen
/// how long a notification may be left unread.
async fn begin() -> (World, Functions) {
    let world = World::new().await;
    let mut elsewhere = authority(AUTHORITIES[1], "open");
    elsewhere["region"] = json!({"S": "Another Region"});
    world.dynamo.put("directory", &elsewhere);
    let uploader = world.start("plan-upload").await;
    let mailbox = world.start("asn-mailbox").await;
    for code in AUTHORITIES {
        let own = CASES.iter().enumerate().filter(|(_, case)| case.authority == code);
        let rows: Vec<_> = own.map(|(child, case)| row(child, case)).collect();
        let answer = uploader.invoke_json(&upload(code, 1, "020 7946 0001", &csv(&rows)).event()).await.json();
        let body: Value = serde_json::from_str(answer["body"].as_str().expect("a body")).expect("JSON");
        assert_eq!(body["loaded"], rows.len(), "{body}");
        let reading = json!({"unreadMinutes": MINUTES.0, "urgentUnreadMinutes": MINUTES.1}).to_string();
        let reading =
            Request::new("PUT", &format!("/cpis/authorities/{code}/reading")).body("application/json", reading);
        assert_eq!(
            mailbox.invoke_json(&reading.caller(&authority_caller(code)).event()).await.json()["statusCode"],
            200
        );
    }
    let [look_up, relay, delivery] =
        [world.start("flag-lookup").await, world.start("asn-relay").await, world.start("asn-delivery").await];
    (world, Functions { look_up, relay, delivery, mailbox })
}

fn row(child: usize, case: &Case) -> String {
    let born = if case.infant { (Zoned::now().date() - 200.days()).to_string() } else { "2015-03-01".to_owned() };
    let start = Zoned::now().date() - 100.days();
    format!("{},case-{child},Testperson,Alex Sam,{born},{},{start},,", nhs_number(child), case.kind)
}

/// A nurse looks the child up, and what is owed goes through relay and queue into the mailbox, as if the moment were the case's.
async fn passes(world: &World, functions: &Functions, child: usize, case: &Case) {
    let look = look_up("CareTeam", &nhs_number(child), &Uuid::new_v4().to_string()).event();
    let answer = functions.look_up.invoke_json(&look).await.json();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    assert_eq!(world.dynamo.scan("outbox").len(), 1);
    world.owe_since(case.at);
    assert!(functions.relay.invoke_json(&events::stream_event(&world.owed_records())).await.answer().is_some());
    assert_eq!(world.dynamo.scan("outbox").len(), 0);
    let batch = world.sqs.receive("asn");
    let reply = functions.delivery.invoke_json(&events::sqs_event("asn", &batch)).await;
    let answer = reply.answer().map(|_| reply.json());
    assert_eq!((batch.len(), events::failed_ids(answer.as_ref(), &batch).len()), (1, 0), "{reply:?}");
    world.sqs.delete("asn", batch.iter().map(|m| m.receipt.as_str()));
}

/// What an authority's mailbox says of a child.
async fn told(functions: &Functions, code: &str, child: usize) -> Value {
    let list = Request::new("GET", &format!("/cpis/authorities/{code}/notifications")).caller(&authority_caller(code));
    let answer = functions.mailbox.invoke_json(&list.event()).await.json();
    assert_eq!(answer["statusCode"], 200, "{answer}");
    let body: Value = serde_json::from_str(answer["body"].as_str().expect("a body")).expect("JSON");
    let items = body["items"].as_array().expect("items").iter();
    let mut own = items.filter(|item| item["nhsNumber"] == nhs_number(child));
    let found = own.next().unwrap_or_else(|| panic!("{code} is not told of child {child}: {body}"));
    assert!(own.next().is_none(), "{code} is told once of child {child}");
    found.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r83_r85_what_cannot_wait_is_told_with_its_signals_and_escalated_sooner() {
    let (world, functions) = begin().await;
    for (child, case) in CASES.iter().enumerate() {
        passes(&world, &functions, child, case).await;
        let told = told(&functions, case.authority, child).await;
        assert_eq!(told["signals"], json!(case.signals), "child {child}: {told}");
        let minutes = if case.signals.is_empty() { MINUTES.0 } else { MINUTES.1 };
        let at = |name: &str| told[name].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        let escalation = at("deliveredAt").map(|delivered| delivered + SignedDuration::from_mins(minutes));
        assert!(escalation.is_some() && at("escalateAt") == escalation, "after {minutes} minutes: {told}");
    }
}
