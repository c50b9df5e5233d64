//! Finds what authorities must be told besides accesses, and owes it: once a day what their uploads and plans show, and at any time
//! that an NHS number changed.

mod handler;

use cpis::{
    aws::{DeadLetters, Dynamo, Tables, config as aws},
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
        plans: config::required("PLANS_TABLE")?,
        uploads: config::required("UPLOADS_TABLE")?,
        directory: config::required("DIRECTORY_TABLE")?,
        outbox: config::required("OUTBOX_TABLE")?,
        ..Tables::default()
    };
    let secret = config::child_key_secret()?;
    let (queue_url, dead_letter_url) =
        (config::required("NUMBER_CHANGES_QUEUE_URL")?, config::required("NUMBER_CHANGES_DLQ_URL")?);
    let backoff_seconds = config::required_number("DELIVERY_BACKOFF_SECONDS")?;
    let aws = aws::load(aws::Patience::Long);
    let notices = handler::Notices {
        store: Dynamo::new(&aws, tables),
        queue: DeadLetters::new(&aws, queue_url, dead_letter_url),
        secret,
        backoff_seconds,
    };
    let notices = for_life(notices);
    run(move |event: LambdaEvent<handler::Cause>| async move { notices.handle(event.payload).await }).await
}
