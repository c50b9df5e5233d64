//! Looks a child up: `CareTeam`, `AuditEvent` and `Flag` searches, and the capability statement.

mod handler;

use cpis::{
    aws::{Dynamo, Tables, config as aws},
    lambda::{config, http::serve, telemetry},
};
use lambda_http::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let tables = Tables {
        plans: config::required("PLANS_TABLE")?,
        accesses: config::required("ACCESSES_TABLE")?,
        outbox: config::required("OUTBOX_TABLE")?,
        ..Tables::default()
    };
    let secret = config::child_key_secret()?;
    let store = Dynamo::new(&aws::load(), tables);
    let (store, secret) = (&store, &secret);
    serve("flag-lookup", move |incoming| handler::handle(store, secret, incoming)).await
}
