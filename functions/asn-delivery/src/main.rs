//! Delivers notifications from the queue to the authorities' mailboxes.

mod handler;

use cpis::{
    aws::{DeadLetters, Dynamo, PushTasks, Tables, config as aws},
    lambda::{
        cached::CachedDirectory,
        config::{self, SystemClock},
        runtime::{for_life, run},
        telemetry,
    },
};
use lambda_runtime::{Error, LambdaEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let tables = Tables {
        mailbox: config::required("MAILBOX_TABLE")?,
        directory: config::required("DIRECTORY_TABLE")?,
        ..Tables::default()
    };
    let (queue_url, dead_letter_url) = (config::required("ASN_QUEUE_URL")?, config::required("ASN_DLQ_URL")?);
    let push_url = config::required("PUSH_QUEUE_URL")?;
    let backoff_seconds = config::required_number("DELIVERY_BACKOFF_SECONDS")?;
    let aws = aws::load(aws::Patience::Long);
    let mailbox = Dynamo::new(&aws, tables);
    let delivery = handler::Delivery {
        directory: CachedDirectory::new(mailbox.clone(), SystemClock),
        mailbox,
        queue: DeadLetters::new(&aws, queue_url, dead_letter_url),
        pushes: PushTasks::new(&aws, push_url),
        backoff_seconds,
    };
    let delivery = for_life(delivery);
    run(move |event: LambdaEvent<handler::Batch>| async move { Ok(delivery.handle(event.payload).await) }).await
}
