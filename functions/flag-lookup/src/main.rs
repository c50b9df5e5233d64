//! Looks a child up: `CareTeam`, `AuditEvent` and `Flag` searches, and the capability statement.

// A read of plans and a read of budgets at once, each an SDK call, is a future too deep for the compiler's default.
#![recursion_limit = "256"]

mod handler;

use cpis::{
    aws::{Dynamo, Tables, config as aws},
    lambda::{
        budgets::PatientStops,
        config::{self, SystemClock},
        http::serve,
        runtime::for_life,
        telemetry,
    },
};
use lambda_http::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let tables = Tables {
        plans: config::required("PLANS_TABLE")?,
        accesses: config::required("ACCESSES_TABLE")?,
        limits: config::required("LIMITS_TABLE")?,
        outbox: config::required("OUTBOX_TABLE")?,
        ..Tables::default()
    };
    let secret = config::child_key_secret()?;
    let store = Dynamo::new(&aws::load(aws::Patience::Short), tables);
    let stops = PatientStops::new(store.clone(), SystemClock);
    let (store, stops, secret) = (for_life(store), for_life(stops), for_life(secret));
    serve("flag-lookup", move |incoming| handler::handle(store, stops, secret, incoming)).await
}
