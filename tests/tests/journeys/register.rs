//! How plans start, change, end and go, in whatever order their files come; and what an authority can list.

use cpis_tests::{
    canary::Child,
    stack::{Council, Stack},
};
use serde_json::{Value, json};

/// A record with further fields.
fn with(record: &Value, fields: &[(&str, &str)]) -> Value {
    let mut record = record.clone();
    fields.iter().for_each(|(name, value)| record[*name] = (*value).into());
    record
}

/// The detail for which the only record of a file was rejected; empty where it was loaded.
fn rejected(acknowledgement: &Value) -> &str {
    acknowledgement["rejected"][0]["problems"][0]["detail"].as_str().unwrap_or_default()
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn a_plan_ends_and_another_is_withdrawn() {
    let stack = Stack::open();
    let council = stack.council("E06000015");
    let nurse = stack.nurse(&["B0107"]);
    let (ended, withdrawn) = (Child::new(60), Child::new(61));
    for child in [&ended, &withdrawn] {
        council.hold(child, "CPP").await;
    }
    let end = with(&ended.record("CPP"), &[("end_date", "2026-06-30")]);
    let deletion = with(&withdrawn.record("CPP"), &[("delete_date", "2026-06-30")]);
    for record in [&end, &deletion] {
        assert_eq!(rejected(&council.push(council.next(), record).await), "");
    }
    let (_, seen) = stack.look_up("CareTeam", &ended, &nurse, 1).await;
    let plan = &seen.resources("CareTeam")[0];
    assert_eq!((&plan["status"], &plan["period"]["end"]), (&json!("inactive"), &json!("2026-06-30")), "{plan}");
    assert!(seen.sentences().contains("does NOT mean that the child is safe"), "{}", seen.sentences());
    stack.look_up("CareTeam", &withdrawn, &nurse, 0).await;
    stack.look_up("AuditEvent", &withdrawn, &nurse, 0).await;
    let held = held(&council, &withdrawn).await;
    assert_eq!((&held["familyName"], &held["visible"]), (&json!(""), &json!(false)), "a withdrawn plan keeps no names");
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn a_state_older_than_the_one_held_is_stale_and_an_end_waits_for_its_start() {
    let stack = Stack::open();
    let council = stack.council("E06000016");
    let (child, ahead) = (Child::new(62), Child::new(63));
    let older = council.next();
    council.hold(&child, "CPP").await;
    let earlier = with(&child.record("CPP"), &[("local_id", "CASE-OLD")]);
    assert_eq!(rejected(&council.push(older, &earlier).await), "stale");
    assert_ne!(held(&council, &child).await["localId"], "CASE-OLD");

    let start = council.next();
    let end = with(&ahead.record("LAC"), &[("end_date", "2026-06-30")]);
    assert_eq!(rejected(&council.push(council.next(), &end).await), "unknown-plan");
    let nurse = stack.nurse(&["B0107"]);
    stack.look_up("CareTeam", &ahead, &nurse, 0).await;
    council.push(start, &ahead.record("LAC")).await;
    let (_, seen) = stack.look_up("CareTeam", &ahead, &nurse, 1).await;
    assert_eq!(seen.resources("CareTeam")[0]["period"]["end"], "2026-06-30", "the end took effect by itself");
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn files_out_of_order_converge_to_the_same_register() {
    let stack = Stack::open();
    let council = stack.council("E06000017");
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let mut registers = Vec::new();
    for (n, order) in orders.iter().enumerate() {
        let child = Child::new(64 + n);
        let start = with(&child.record("CPP"), &[("local_id", "CASE-1")]);
        let change = with(&start, &[("local_id", "CASE-2"), ("start_date", "2026-02-14")]);
        let files = [
            (council.next(), start),
            (council.next(), change.clone()),
            (council.next(), with(&change, &[("end_date", "2026-06-30")])),
        ];
        for place in order {
            let (sequence, record) = &files[*place];
            council.push(*sequence, record).await;
        }
        let plan = held(&council, &child).await;
        let lasting = ["localId", "planType", "start", "end", "visible", "active", "contact"];
        assert_eq!(plan["sequence"], files[2].0, "{order:?}: {plan}");
        registers.push((order, lasting.map(|field| plan[field].clone())));
    }
    assert_eq!(registers[0].1[3], "2026-06-30");
    for (order, register) in &registers[1..] {
        assert_eq!(*register, registers[0].1, "{order:?}");
    }
}

async fn held(council: &Council<'_>, child: &Child) -> Value {
    let (plans, _) = council.list("plans", 1_000).await;
    let found: Vec<_> = plans.into_iter().filter(|plan| plan["nhsNumber"] == child.number()).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap_or_default()
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn uploads_plans_and_notifications_are_listed_by_pages() {
    let stack = Stack::open();
    let council = stack.council("E06000018");
    let nurse = stack.nurse(&["B0107"]);
    let (mut numbers, mut sequences, mut traces) = (Vec::new(), Vec::new(), Vec::new());
    for child in (70..75).map(Child::new) {
        let sequence = council.next();
        council.push(sequence, &child.record("CPP")).await;
        let (trace, _) = stack.look_up("CareTeam", &child, &nurse, 1).await;
        numbers.push(child.number());
        sequences.push(sequence);
        traces.push(trace.to_string());
    }
    for trace in &traces {
        council.told(trace.parse().expect("a UUID")).await;
    }
    sequences.reverse();
    for limit in [1, 2, 5, 1_000] {
        let (uploads, pages) = council.list("uploads", limit).await;
        assert!(pages >= uploads.len().div_ceil(limit), "{pages} pages of {limit}");
        let listed: Vec<_> = uploads.iter().filter_map(|upload| upload["sequence"].as_u64()).take(5).collect();
        assert_eq!(listed, sequences, "the highest first");
        assert!(uploads.iter().all(|upload| upload["code"] == "CPF02" && upload["loaded"] == 1), "{uploads:?}");
        for (path, field, wanted) in [
            ("plans", "nhsNumber", &numbers),
            ("notifications", "traceId", &traces),
            ("notifications?state=unread", "traceId", &traces),
        ] {
            let (items, _) = council.list(path, limit).await;
            let mut found: Vec<_> = items.iter().filter_map(|item| item[field].as_str()).collect();
            found.retain(|value| wanted.iter().any(|w| w == value));
            found.sort_unstable();
            let mut wanted: Vec<_> = wanted.iter().map(String::as_str).collect();
            wanted.sort_unstable();
            assert_eq!(found, wanted, "{path} by {limit}: each once");
        }
    }
    for bad in ["limit=0", "limit=1001", "limit=x", "cursor=!"] {
        for list in ["uploads", "plans", "notifications"] {
            council.get(&format!("{list}?{bad}")).send().await.refused(400, "BAD_REQUEST");
        }
    }
    council.get("uploads/1").send().await.refused(404, "RESOURCE_NOT_FOUND");
}
