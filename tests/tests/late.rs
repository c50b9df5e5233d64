//! A day's look at what authorities sent and hold, on the running stack. It concerns every authority, so it comes after the journeys, whose
//! mailboxes it would disturb, and before `leak`, which searches what it wrote: cargo runs the binaries by name.

use std::time::Duration;

use cpis::domain::contact::date_in_england;
use cpis_tests::{
    canary::Child,
    stack::{CREATED, Council, Stack, eventually},
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde_json::{Value, json};

/// From the look to the mailbox, by a stream and a queue, beside the notices of all other authorities.
const TOLD: Duration = Duration::from_secs(120);

/// The day's look, as of a moment.
async fn look(stack: &Stack, time: Timestamp) {
    let functions = stack.output("FunctionNames");
    let function = functions.split(',').find(|name| name.ends_with("-notices")).expect("the function");
    let time = time.to_string();
    let event = json!({"detail-type": "Scheduled Event", "source": "aws.events", "time": time, "detail": {}});
    stack.invoke(function, &event).await;
}

fn of(notifications: Vec<Value>, kind: &'static str) -> Vec<Value> {
    notifications.into_iter().filter(|n| n["kind"] == kind).collect()
}

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

    for days in [2, 3] {
        look(&stack, Timestamp::now() + SignedDuration::from_hours(24 * days)).await;
    }
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

/// Uploads a file of twenty records, the last ones of which name nobody; the day of it in England.
async fn upload_of_twenty(council: &Council<'_>, first: usize, unmatched: usize) -> Date {
    let record = |n: usize| {
        let mut record = Child::new(first + n).record("CPP");
        if n >= 20 - unmatched {
            let number = record["nhs_number"].as_str().expect("a number").to_owned();
            // Another check digit than its own.
            let digit = number[9..].parse::<u32>().expect("a digit");
            record["nhs_number"] = format!("{}{}", &number[..9], (digit + 1) % 10).into();
        }
        record
    };
    let file = json!({
        "sequence": council.next(), "created": CREATED, "count": 20,
        "authority": {"emergencyDutyTeamPhone": "020 7946 0201", "officeHoursPhone": "020 7946 0202"},
        "records": (0..20).map(record).collect::<Vec<_>>(),
    });
    let answer = council.post("uploads").json(&file).send().await;
    answer.expect(200);
    let answer = answer.json();
    assert_eq!((&answer["records"], &answer["loaded"]), (&json!(20), &json!(20 - unmatched)), "{answer}");
    date_in_england(answer["processed"].as_str().and_then(|at| at.parse().ok()).expect("a moment"))
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn r92_a_day_on_which_too_few_records_were_matched_is_told_once() {
    let stack = Stack::open();
    let (low, enough) = (stack.council("E06000043"), stack.council("E06000049"));
    let day = upload_of_twenty(&low, 200, 2).await;
    upload_of_twenty(&enough, 220, 1).await;
    // Soon after the day has ended in England, whether summer or winter: nobody's next upload is overdue yet.
    let next = day.tomorrow().expect("a day").at(0, 30, 0, 0).to_zoned(TimeZone::UTC).expect("a moment").timestamp();
    for _ in 0..2 {
        look(&stack, next).await;
    }
    let told = async || {
        let (mailbox, _) = low.list("notifications", 1_000).await;
        of(mailbox, "match-rate-low").into_iter().next()
    };
    eventually("a match rate that is too low", TOLD, told).await;
    // What a later look-up owes is behind any second ones.
    let nurse = stack.nurse(&["B0107"]);
    for (council, child) in [(&low, 200), (&enough, 220)] {
        let (later, _) = stack.look_up("CareTeam", &Child::new(child), &nurse, 1).await;
        council.told(later).await;
    }
    let (mailbox, _) = low.list("notifications", 1_000).await;
    let [told] = &of(mailbox, "match-rate-low")[..] else { panic!("it is told once") };
    let figures = ["day", "records", "matched", "requiredPercent"].map(|name| told[name].clone());
    assert_eq!(figures, [json!(day), json!(20), json!(18), json!(95)], "{told}");
    let (mailbox, _) = enough.list("notifications", 1_000).await;
    assert_eq!(of(mailbox, "match-rate-low"), Vec::<Value>::new(), "19 of 20 are enough");
}
