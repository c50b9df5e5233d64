//! A warm look-up: from event to answer.

use crate::{
    quick::Quick,
    report::{Bound, Figure, Report},
    samples::Samples,
    stage::{Stage, Tables},
};
use cpis_tests::{
    dynamo::function_environment,
    runtime_api::{Function, Reply},
    world::{self, AUTHORITIES},
};
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

const CHILDREN: usize = 200;
const WARM_UP: usize = 50;
const LOOK_UPS: usize = 1_200;
/// One look-up in so many is Python's too.
const PYTHON_EVERY: usize = 3;
const MEGABYTE: f64 = 1e6;

pub(crate) async fn measure(stage: &Stage, report: &mut Report) {
    let plans = plans(stage).await;
    let quick = Quick::with_plans(&plans).await;
    let tables = Tables::new().await;
    let env = function_environment(&quick.url, &tables.sqs);
    let ours = stage.start("flag-lookup", &env).await;
    let twin = stage.start_twin(&env).await;
    let bare = stage.start("baseline-calls", &env).await;
    let empty = stage.start("baseline-empty", &env).await;
    same_answer(&ours, &twin).await;
    let access = quick.items("accesses").swap_remove(0);

    let (mut own, mut calls, mut direct, mut python) =
        (Samples::default(), Samples::default(), Samples::default(), Samples::default());
    let mut before_counting = 0;
    for turn in 0..WARM_UP + LOOK_UPS {
        let plan = &plans[turn % plans.len()];
        // Whoever is second finds warm caches, so they take turns.
        let (mine, theirs) = if turn % 2 == 0 {
            let mine = look_up(&ours, plan).await;
            (mine, bare_calls(&bare, plan, &access).await)
        } else {
            let theirs = bare_calls(&bare, plan, &access).await;
            (look_up(&ours, plan).await, theirs)
        };
        let slow = if turn % PYTHON_EVERY == 0 { Some(look_up(&twin, plan).await) } else { None };
        empty.invoke_json(&json!({"turn": turn})).await;
        if turn < WARM_UP {
            before_counting += 2 + usize::from(slow.is_some());
            continue;
        }
        own.push_time(mine);
        calls.push_time(theirs.0);
        direct.push_time(theirs.1);
        slow.into_iter().for_each(|time| python.push_time(time));
    }
    let looked_up = 2 + own.count() + calls.count() + python.count() + before_counting;
    assert_eq!(
        ["accesses", "outbox"].map(|table| quick.items(table).len()),
        [looked_up; 2],
        "each is recorded and owed"
    );
    report.ratio("warm look-up", Bound::AtMost(1.25), &own, ("its two bare calls", &calls), "ms");
    report.ratio("warm look-up", Bound::AtMost(0.25), &own, ("Python twin", &python), "ms");
    report.note("  (the bare calls with the Runtime API)", &calls, ("without it", &direct), "ms");
    memory(report, &ours, &empty);
}

/// Plans as `plan-upload` writes them.
async fn plans(stage: &Stage) -> Vec<Value> {
    let tables = Tables::new().await;
    let uploader = stage.start("plan-upload", &tables.environment()).await;
    let upload = world::upload(AUTHORITIES[0], 1, "020 7946 0001", &world::large_csv(CHILDREN)).event();
    assert_eq!(body(&uploader.invoke_json(&upload).await)["loaded"], CHILDREN, "the plans are loaded");
    tables.dynamo.scan("plans")
}

fn memory(report: &mut Report, ours: &Function, empty: &Function) {
    let peak = |function: &Function| {
        let bytes = function.peak_memory().unwrap_or_else(|e| panic!("memory: {e}"));
        Samples::from(bytes as f64 / MEGABYTE)
    };
    let (ours, empty) = (peak(ours), peak(empty));
    let name = format!("peak memory after {} look-ups", WARM_UP + LOOK_UPS);
    report.add(&Figure {
        name: &name,
        bound: Bound::AtMost(25.0),
        value: ours.median(),
        unit: "MB",
        ours: &ours,
        baseline: ("empty function", &empty),
        samples_in: "MB",
    });
}

/// The twin is one: but for the moment, its answer to the same look-up is the same.
async fn same_answer(ours: &Function, twin: &Function) {
    let number = world::nhs_number(0);
    let event = |request| world::look_up("CareTeam", &number, request).event();
    let [mine, theirs] = [
        ours.invoke_json(&event("6e4b9a52-8a7e-4c7e-9b39-1f6f4a1c0001")).await,
        twin.invoke_json(&event("6e4b9a52-8a7e-4c7e-9b39-1f6f4a1c0002")).await,
    ]
    .map(|reply| {
        let mut bundle = body(&reply);
        bundle["timestamp"] = Value::Null;
        bundle
    });
    assert_eq!(mine["total"], 1, "{mine}");
    assert_eq!(mine, theirs, "the twin answers otherwise");
}

async fn look_up(function: &Function, plan: &Value) -> Duration {
    let number = plan["nhsNumber"]["S"].as_str().unwrap_or_default();
    let request = world::look_up("CareTeam", number, &Uuid::new_v4().to_string());
    let reply = function.invoke_json(&request.event()).await;
    assert_eq!(reply.json()["statusCode"], 200, "a look-up is answered");
    reply.latency
}

/// From event to answer, and of that the calls.
async fn bare_calls(function: &Function, plan: &Value, access: &Value) -> (Duration, Duration) {
    let mut access = access.clone();
    access["child"] = plan["child"].clone();
    access["id"]["S"] = Uuid::new_v4().to_string().into();
    let mut owed = access.clone();
    owed["mark"] = json!({"S": "owed"});
    owed["at_child_id"] = json!({"S": format!("{}#{}", access["child"]["S"], access["id"]["S"])});
    let event = json!({"do": "look-up", "child": plan["child"]["S"], "access": access, "owed": owed});
    let reply = function.invoke_json(&event).await;
    let answer = reply.json();
    assert_eq!(answer["held"], 1, "the bare calls find the plan");
    (reply.latency, Duration::from_secs_f64(answer["seconds"].as_f64().unwrap_or_default()))
}

/// The body of an HTTP answer, as JSON.
pub(crate) fn body(reply: &Reply) -> Value {
    let answer = reply.json();
    let text = answer["body"].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_else(|e| panic!("not a JSON body ({e}): {answer}"))
}
