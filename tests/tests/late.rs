//! A day's look at what authorities sent and hold, on the running stack. It concerns every authority, so it comes after the journeys, whose
//! mailboxes it would disturb, and before `leak`, which searches what it wrote: cargo runs the binaries by name.

use std::time::Duration;

use cpis_tests::{
    canary::Child,
    stack::{Stack, eventually},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// From the look to the mailbox, by a stream and a queue, beside the notices of all other authorities.
const TOLD: Duration = Duration::from_secs(120);

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn r91_r93_an_overdue_upload_and_a_moved_plan_are_told_once() {
    let stack = Stack::open();
    let (council, other) = (stack.council("E06000041"), stack.council("E06000042"));
    let child = Child::new(170);
    council.hold(&child, "CPP").await;
    let mut moved = child.record("CPP");
    moved["start_date"] = "2026-03-31".into();
    let sequence = council.next();
    council.push(sequence, &child.record("CPP")).await;
    assert_eq!(other.push(other.next(), &moved).await["loaded"], 1);

    let functions = stack.output("FunctionNames");
    let function = functions.split(',').find(|name| name.ends_with("-notices")).expect("the function");
    for days in [2, 3] {
        let time = (Timestamp::now() + SignedDuration::from_hours(24 * days)).to_string();
        let event = json!({"detail-type": "Scheduled Event", "source": "aws.events", "time": time, "detail": {}});
        stack.invoke(function, &event).await;
    }
    let of = |notifications: Vec<Value>, kind: &'static str| {
        notifications.into_iter().filter(|n| n["kind"] == kind).collect::<Vec<_>>()
    };
    let told = || async {
        let (mailbox, _) = council.list("notifications", 1_000).await;
        let told = (of(mailbox.clone(), "upload-overdue"), of(mailbox, "plan-moved"));
        (!told.0.is_empty() && !told.1.is_empty()).then_some(())
    };
    eventually("an overdue upload and a moved plan", TOLD, told).await;
    let (later, _) = stack.look_up("CareTeam", &child, &stack.nurse(&["B0107"]), 2).await;
    council.told(later).await;
    let (mailbox, _) = council.list("notifications", 1_000).await;
    let overdue = of(mailbox.clone(), "upload-overdue");
    let own: Vec<_> = overdue.iter().filter(|n| n["latestSequence"] == sequence).collect();
    assert_eq!(own.len(), 1, "{overdue:?}");
    let moved: Vec<_> = of(mailbox, "plan-moved").into_iter().filter(|n| n["nhsNumber"] == child.number()).collect();
    let [moved] = &moved[..] else { panic!("{moved:?}") };
    assert_eq!((&moved["otherAuthority"], &moved["otherStart"]), (&json!(other.code), &json!("2026-03-31")));
    let (mailbox, _) = other.list("notifications", 1_000).await;
    let moved = of(mailbox, "plan-moved");
    assert!(moved.iter().all(|n| n["nhsNumber"] != child.number()), "whose plan is the later is not told");
}
