//! Each message by itself: one that fails, or panics, hurts no other.

use std::panic::AssertUnwindSafe;

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use cpis::{
    aws::{DeadLetters, Dynamo, PushTasks},
    lambda::{
        cached::CachedDirectory,
        config::SystemClock,
        sqs::received,
        telemetry::{Event, Level},
    },
    usecase::deliver::{Failure, Outcome, handle},
};
use futures_util::{FutureExt, StreamExt, stream::FuturesOrdered};

const SERVICE: &str = "asn-delivery";

pub(crate) type Batch = SqsEvent;

pub(crate) struct Delivery {
    pub(crate) directory: CachedDirectory<Dynamo, SystemClock>,
    pub(crate) mailbox: Dynamo,
    pub(crate) queue: DeadLetters,
    pub(crate) pushes: PushTasks,
    pub(crate) backoff_seconds: u32,
}

impl Delivery {
    /// Answers with the messages that the queue must hand out again.
    pub(crate) async fn handle(&self, batch: Batch) -> SqsBatchResponse {
        // Not `join_all`, which looks at all of them again whenever one goes on.
        let deliveries: FuturesOrdered<_> = batch.records.iter().map(|message| self.deliver(message)).collect();
        let done: Vec<_> = deliveries.collect().await;
        let mut response = SqsBatchResponse::default();
        for (message, done) in batch.records.iter().zip(done) {
            if !done {
                response.add_failure(message.message_id.clone().unwrap_or_default());
            }
        }
        response
    }

    /// Whether the queue may forget the message.
    async fn deliver(&self, message: &SqsMessage) -> bool {
        let event = begin(message);
        let received = received(message);
        let delivery = handle(
            &self.directory,
            &self.mailbox,
            &self.queue,
            &self.pushes,
            &SystemClock,
            &received,
            self.backoff_seconds,
        );
        let event = event.with("attempts", received.attempts);
        match AssertUnwindSafe(delivery).catch_unwind().await {
            Ok(outcome) => log(event, &outcome),
            Err(_) => {
                event.level(Level::Error).emit("asn.panicked");
                false
            }
        }
    }
}

fn begin(message: &SqsMessage) -> Event {
    let attribute = |name: &str| message.message_attributes.get(name).and_then(|a| a.string_value.clone());
    Event::begin(SERVICE)
        .with("messageId", message.message_id.clone())
        .with("authority", attribute("authority"))
        .with("traceId", attribute("traceId"))
}

fn log(event: Event, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Delivered => event.metric("Delivered", "Count", 1).emit("asn.delivered"),
        Outcome::PushesOwed(error) => {
            event.failed(error).metric("Delivered", "Count", 1).emit("asn.delivered-pushes-owed");
        }
        Outcome::AlreadyDelivered => event.emit("asn.already-delivered"),
        Outcome::SetAside(failure) => {
            with_failure(event, failure)
                .level(Level::Error)
                .metric("DeliverySetAside", "Count", 1)
                .emit("asn.set-aside");
        }
        Outcome::Retry(failure) => {
            with_failure(event, failure).metric("DeliveryRetried", "Count", 1).emit("asn.retry");
            return false;
        }
    }
    true
}

fn with_failure(event: Event, failure: &Failure) -> Event {
    let event = event.level(Level::Warn).with("reason", failure.code());
    match failure {
        Failure::Port(error) => event.failed(error),
        _ => event,
    }
}
