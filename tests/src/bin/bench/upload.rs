//! How fast ten thousand rows of an upload are loaded.

use crate::{
    report::{Bound, Report},
    samples::Samples,
    stage::{Stage, Tables},
    warm::body,
};
use cpis_tests::world::{self, AUTHORITIES};
use serde_json::{Value, json};
use std::time::Duration;

const MANY: usize = 10_000;
const WARM_UP: usize = 200;
/// Rounds of each; every round has new tables.
const ROUNDS: usize = 7;
/// Writes under way at once, as `plan-upload` has them.
const CONCURRENCY: usize = 64;
pub(crate) const PHONE: &str = "020 7946 0001";

pub(crate) async fn measure(stage: &Stage, report: &mut Report) {
    let file = world::large_csv(MANY);
    let (mut ours, mut bare) = (Samples::default(), Samples::default());
    let mut plan = Value::Null;
    for round in 0..=ROUNDS {
        let (rate, written) = upload_once(stage, &file).await;
        if round == 0 {
            plan = written;
            continue;
        }
        ours.push(rate);
        bare.push(put_once(stage, &plan).await);
    }
    let baseline = ("bare conditional puts", &bare);
    report.ratio("upload of 10,000 rows", Bound::AtLeast(0.85), &ours, baseline, "rows/s");
}

/// Rows a second, and one of the plans written.
async fn upload_once(stage: &Stage, file: &str) -> (f64, Value) {
    let tables = Tables::new().await;
    let function = stage.start("plan-upload", &tables.environment()).await;
    let warm_up = world::upload(AUTHORITIES[1], 1, PHONE, &world::large_csv(WARM_UP));
    assert_eq!(body(&function.invoke_json(&warm_up.event()).await)["loaded"], WARM_UP, "the warm-up is loaded");
    let event = world::upload(AUTHORITIES[0], 1, PHONE, file).event().to_string();
    let reply = function.invoke(event).await;
    assert_eq!(body(&reply)["loaded"], MANY, "every row is loaded");
    let plans = tables.dynamo.scan("plans");
    assert_eq!(plans.len(), MANY + WARM_UP, "every row is in the table");
    let of_file = plans.into_iter().find(|plan| plan["la"]["S"] == AUTHORITIES[0]);
    (rate(reply.latency), of_file.unwrap_or_default())
}

async fn put_once(stage: &Stage, plan: &Value) -> f64 {
    let tables = Tables::new().await;
    let function = stage.start("baseline-calls", &tables.environment()).await;
    let put = |prefix: &str, count: usize| {
        json!({
            "do": "put", "table": "plans", "unique": "child", "item": plan,
            "prefix": prefix, "count": count, "concurrency": CONCURRENCY,
        })
    };
    assert_eq!(function.invoke_json(&put("w", WARM_UP)).await.json()["put"], WARM_UP, "the warm-up is put");
    let reply = function.invoke_json(&put("c", MANY)).await;
    assert_eq!(reply.json()["put"], MANY, "every item is put");
    rate(reply.latency)
}

fn rate(time: Duration) -> f64 {
    MANY as f64 / time.as_secs_f64()
}
