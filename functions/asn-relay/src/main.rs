//! Relays what the outbox owes to the queue of notifications: as the stream brings it, and by a sweep every minute.

mod handler;

use cpis::{
    aws::{AsnQueue, Dynamo, Tables, config as aws},
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
    let tables = Tables { outbox: config::required("OUTBOX_TABLE")?, ..Tables::default() };
    let url = config::required("ASN_QUEUE_URL")?;
    let aws = aws::load(aws::Patience::Long);
    let (outbox, queue) = (Dynamo::new(&aws, tables), AsnQueue::new(&aws, url));
    let (outbox, queue) = (for_life(outbox), for_life(queue));
    run(move |event: LambdaEvent<handler::Cause>| async move { handler::handle(outbox, queue, event.payload).await })
        .await
}
