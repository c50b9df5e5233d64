//! Who is told of a look-up, and how often.

use cpis_tests::{canary::Child, stack::Stack};
use serde_json::{Value, json};
use uuid::Uuid;

const NONE: [Value; 0] = [];

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn a_silent_look_up_tells_nobody() {
    let stack = Stack::open();
    let council = stack.council("E06000006");
    let child = Child::new(20);
    council.hold(&child, "LAC").await;
    let visitor = stack.nurse(&["B0170"]);
    let trace = Uuid::new_v4();
    let search = stack.search("CareTeam", &child.number()).token(&visitor).header("TraceID", trace);
    let silent = search.header("IsUnscheduledAccessEvent", "false").send().await;
    silent.expect(200);
    assert_eq!(silent.json()["total"], 1, "{silent:?}");
    owes_nothing(&stack, trace).await;

    let (later, _) = stack.look_up("CareTeam", &child, &visitor, 1).await;
    council.told(later).await;
    assert_eq!(stack.traced("MailboxTable", trace).await, NONE, "a later notification came, the silent one's never");
    // The history does not show it either.
    stack.look_up("AuditEvent", &child, &visitor, 1).await;
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn where_nothing_is_held_nobody_is_told_and_nobody_is_called_safe() {
    let stack = Stack::open();
    let council = stack.council("E06000007");
    let (unknown, known) = (Child::new(21), Child::new(22));
    let nurse = stack.nurse(&["B0107"]);
    let mut traces = Vec::new();
    for resource in ["CareTeam", "Flag", "AuditEvent"] {
        let (trace, answer) = stack.look_up(resource, &unknown, &nurse, 0).await;
        assert!(answer.sentences().contains("does NOT mean that the child is safe"), "{resource}: {answer:?}");
        owes_nothing(&stack, trace).await;
        traces.push(trace);
    }
    council.hold(&known, "CPP").await;
    let (later, _) = stack.look_up("CareTeam", &known, &nurse, 1).await;
    council.told(later).await;
    for trace in traces {
        assert_eq!(stack.traced("MailboxTable", trace).await, NONE);
    }
}

/// The look-up is recorded, once, as owing no notification.
async fn owes_nothing(stack: &Stack, trace: Uuid) {
    let accesses = stack.traced("AccessesTable", trace).await;
    let [access] = accesses.as_slice() else { panic!("{} accesses", accesses.len()) };
    assert_eq!(access["owed"]["L"], json!([]), "{access}");
    assert_eq!(stack.traced("OutboxTable", trace).await, NONE);
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn two_authorities_are_told_once_each_however_often_the_request_is_sent() {
    let stack = Stack::open();
    let (home, placing) = (stack.council("E06000008"), stack.council("E06000009"));
    let child = Child::new(23);
    home.hold(&child, "CPP").await;
    placing.hold(&child, "LAC").await;
    let nurse = stack.nurse(&["B0107"]);
    let (trace, request) = (Uuid::new_v4(), Uuid::new_v4());
    for _ in 0..3 {
        let search = stack.search("CareTeam", &child.number()).token(&nurse);
        let answer = search.header("TraceID", trace).header("X-Request-ID", request).send().await;
        answer.expect(200);
        assert_eq!(answer.json()["total"], 2, "{answer:?}");
    }
    let told = [home.told(trace).await, placing.told(trace).await];
    assert_ne!(told[0]["id"], told[1]["id"]);
    assert_eq!(told[0]["accessId"], told[1]["accessId"]);
    // Those of a later look-up are behind any second ones of the first.
    let (later, _) = stack.look_up("CareTeam", &child, &nurse, 2).await;
    for council in [&home, &placing] {
        council.told(later).await;
        assert_eq!(council.mailed(trace).await.len(), 1, "{}", council.code);
    }
    assert_eq!(stack.traced("AccessesTable", trace).await.len(), 1);
    // One person's look-ups of a day are listed once.
    stack.look_up("AuditEvent", &child, &nurse, 1).await;
}
