//! Searches who looked at whom, for privacy officers and Caldicott guardians.

mod handler;

use cpis::{
    aws::{Dynamo, Tables, config as aws},
    lambda::{
        config::{self, ConfigError},
        http::serve,
        runtime::for_life,
        sealed::Sealer,
        telemetry,
    },
};
use lambda_http::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let tables = Tables {
        accesses: config::required("ACCESSES_TABLE")?,
        audit: config::required("AUDIT_TABLE")?,
        ..Tables::default()
    };
    let secret = config::child_key_secret()?;
    let sealer = Sealer::new(&secret, "cursors of audit searches");
    let sealer = sealer.map_err(|problem| ConfigError::wrong("CHILD_KEY_SECRET", problem))?;
    let service = handler::Service { store: Dynamo::new(&aws::load(aws::Patience::Long), tables), secret, sealer };
    let service = for_life(service);
    serve("audit-search", move |incoming| handler::handle(service, incoming)).await
}
