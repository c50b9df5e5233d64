//! Writes accesses into the audit log, as the stream brings them and by a sweep every minute; counts
//! them against budgets; signs the log's ends every hour.

// Windows counted at once, each an SDK call, are a future too deep for the compiler's default.
#![recursion_limit = "256"]

mod handler;
mod watcher;

use cpis::{
    aws::{Dynamo, HeadBucket, HeadKey, Tables, config as aws},
    lambda::{
        config,
        runtime::{for_life, run},
        telemetry,
    },
};
use lambda_runtime::{Error, LambdaEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let tables = Tables {
        accesses: config::required("ACCESSES_TABLE")?,
        audit: config::required("AUDIT_TABLE")?,
        limits: config::required("LIMITS_TABLE")?,
        ..Tables::default()
    };
    let (key, bucket) = (config::required("AUDIT_KEY")?, config::required("AUDIT_BUCKET")?);
    let aws = aws::load(aws::Patience::Long);
    let ledger = handler::Ledger {
        store: Dynamo::new(&aws, tables),
        key: HeadKey::new(&aws, key),
        bucket: HeadBucket::new(&aws, bucket),
    };
    let ledger = for_life(ledger);
    run(move |event: LambdaEvent<handler::Cause>| async move { ledger.handle(event.payload).await }).await
}
