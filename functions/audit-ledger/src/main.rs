//! Writes accesses into the audit log, as the stream brings them and by a sweep every minute; signs the log's ends every hour.

mod handler;

use cpis::{
    aws::{Dynamo, HeadBucket, HeadKey, Tables, config as aws},
    lambda::{config, telemetry},
};
use lambda_runtime::{Error, LambdaEvent, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let tables = Tables {
        accesses: config::required("ACCESSES_TABLE")?,
        audit: config::required("AUDIT_TABLE")?,
        ..Tables::default()
    };
    let (key, bucket) = (config::required("AUDIT_KEY")?, config::required("AUDIT_BUCKET")?);
    let aws = aws::load();
    let ledger = handler::Ledger {
        store: Dynamo::new(&aws, tables),
        key: HeadKey::new(&aws, key),
        bucket: HeadBucket::new(&aws, bucket),
    };
    let ledger = &ledger;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<handler::Cause>| async move {
        ledger.handle(event.payload).await
    }))
    .await
}
