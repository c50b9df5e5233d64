//! A scraper with a stolen token is stopped and found, and an operator lets its owner go on.

use std::time::Duration;

use cpis_tests::{
    stack::{Answer, Stack, eventually},
    world::nhs_number,
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use uuid::Uuid;

/// A stop acts, and ends, within some seconds: the stream's, and those for which a process remembers.
const ACTS: Duration = Duration::from_secs(60);

async fn ask(stack: &Stack, number: usize, token: &str) -> (Uuid, Answer) {
    let trace = Uuid::new_v4();
    let call = stack.search("CareTeam", &nhs_number(number)).token(token).header("TraceID", trace);
    (trace, call.header("IsUnscheduledAccessEvent", "false").send().await)
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn a_scraper_is_stopped_and_found() {
    let stack = Stack::open();
    // In a surgery, where nobody waits at the door, 120 guesses in a row are enough.
    let token = stack.staff("ZX003", "R0260", &["B0170"]);
    let (first, answer) = ask(&stack, 40_000, &token).await;
    answer.expect(200);
    let calls: Vec<_> = (40_001..40_130).map(|number| ask(&stack, number, &token)).collect();
    stream::iter(calls).buffer_unordered(8).for_each(|_| async {}).await;

    let stopped = eventually("the scraper's stop", ACTS, async || {
        let (trace, answer) = ask(&stack, 40_000, &token).await;
        (answer.status == 429).then_some((trace, answer))
    });
    let (trace, answer) = stopped.await;
    answer.refused(429, "TOO_MANY_REQUESTS");
    let wait: u32 = answer.header("Retry-After").and_then(|text| text.parse().ok()).expect("seconds");
    assert!((1..=3_600).contains(&wait), "{wait}");
    let trail = stack.traced("AccessesTable", trace).await;
    assert_eq!((trail.len(), &trail[0]["refused"]["S"]), (1, &json!("over-budget")), "{trail:?}");

    let user = stack.traced("AccessesTable", first).await[0]["requester"]["M"]["person"]["M"]["user"]["S"].clone();
    let user = user.as_str().expect("a user").to_owned();
    let who = json!(format!("person:{user}"));
    let held = stack.cpis(&["limits", "show", "--json"]);
    assert_eq!(held.status, 3, "somebody should look");
    assert!(held.json().as_array().is_some_and(|all| all.iter().any(|one| one["who"] == who)), "{:?}", held.json());
    let log = stack.done(&["audit", "export"]).stdout;
    let entries = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let codes: Vec<_> = entries
        .filter(|e| e["kind"] == "finding" && e["details"]["who"] == who)
        .map(|e| e["details"]["code"].clone())
        .collect();
    assert!(["misses", "stopped"].iter().all(|code| codes.contains(&json!(code))), "{codes:?}");

    let _ = stack.done(&["limits", "clear", "--person", &user, "--because", "its owner has a new card", "--by", "sam"]);
    let answered = eventually("the end of the stop", ACTS, async || {
        let (_, answer) = ask(&stack, 40_000, &token).await;
        (answer.status == 200).then_some(())
    });
    answered.await;
}
