//! Decode, relay, say what must be tried again.

use std::time::Instant;

use aws_lambda_events::{dynamodb::EventRecord, streams::DynamoDbEventResponse};
use cpis::{
    aws::{AsnQueue, Dynamo, is_of_something_owed, owing_from_stream_image},
    domain::notification::Owing,
    lambda::{
        config::SystemClock,
        stream::Received,
        telemetry::{Event, Level},
    },
    ports::{Clock, LookLog, PortResult},
    usecase::relay::{Relayed, relay, sweep},
};
use lambda_runtime::Error;
use serde::Deserialize;

const SERVICE: &str = "asn-relay";

/// Why the function is called.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Cause {
    /// Something is owed.
    Stream {
        #[serde(rename = "Records")]
        records: Vec<EventRecord>,
    },
    /// A minute has passed.
    Schedule {
        /// Always `Scheduled Event`; told apart by being there.
        #[serde(rename = "detail-type")]
        _detail_type: String,
    },
}

pub(crate) async fn handle(outbox: &Dynamo, queue: &AsnQueue, cause: Cause) -> Result<DynamoDbEventResponse, Error> {
    match cause {
        Cause::Stream { records } => Ok(from_stream(outbox, queue, records).await),
        Cause::Schedule { .. } => from_sweep(outbox, queue).await,
    }
}

/// A record that cannot be read hurts only itself, and is not lost: what it brought is still in the outbox, where each sweep
/// finds it. The metric counts it once; what makes somebody look is its age, which the sweep tells as that of any other entry.
async fn from_stream(outbox: &Dynamo, queue: &AsnQueue, records: Vec<EventRecord>) -> DynamoDbEventResponse {
    let began = Instant::now();
    let records: Vec<_> = records.into_iter().filter(|record| is_of_something_owed(&record.change.new_image)).collect();
    let received = Received::read(SERVICE, records, owing_from_stream_image, |event| {
        event.metric("RelayUnreadable", "Count", 1).emit("relay.record-unreadable");
    });
    let (relayed, settled) = relay(outbox, queue, &SystemClock, &received.items).await;
    log_settled(settled);
    let done: Vec<_> = received.items.iter().zip(&relayed).map(|(owing, r)| log_relayed(began, owing, r)).collect();
    received.retry(done)
}

fn log_relayed(began: Instant, owing: &Owing, outcome: &Relayed) -> bool {
    let event = Event::begin(SERVICE).since(began);
    let event = match owing {
        Owing::Access(access) => {
            event.with("accessId", access.id.to_string()).with("traceId", access.trace_id.to_string())
        }
        Owing::Notice(notice) => event
            .with("notificationId", notice.id.to_string())
            .with("kind", notice.content.kind())
            .with("authority", notice.authority.as_str()),
    };
    match outcome {
        Relayed::Sent { notifications } => {
            event.metric("NotificationsSent", "Count", *notifications).emit("relay.sent");
            true
        }
        Relayed::Failed(error) => {
            event.failed(error).metric("RelayFailed", "Count", 1).emit("relay.failed");
            false
        }
    }
}

fn log_settled(settled: PortResult<()>) {
    if let Err(error) = settled {
        Event::begin(SERVICE).failed(&error).emit("relay.mark-not-cleared");
    }
}

async fn from_sweep(outbox: &Dynamo, queue: &AsnQueue) -> Result<DynamoDbEventResponse, Error> {
    let clock = SystemClock;
    let event = Event::begin(SERVICE);
    let swept = match sweep(outbox, queue, &clock).await {
        Ok(swept) => swept,
        Err(error) => {
            event.failed(&error).level(Level::Error).emit("relay.sweep-failed");
            return Err(error.into());
        }
    };
    let oldest = swept.oldest.map_or(0, |at| clock.now().duration_since(at).as_secs());
    let event = event.metric("OutboxOldestSeconds", "Seconds", oldest).metric("OutboxSwept", "Count", swept.found);
    let event = event.metric("NotificationsSent", "Count", swept.sent).with("failed", swept.failed);
    let event = event.with("unreadable", swept.unreadable).with("unreadableAt", swept.unreadable_at);
    let event = with_last_look(event, outbox).await;
    match &swept.error {
        Some(error) => event.failed(error).level(Level::Error).emit("relay.swept"),
        None => event.emit("relay.swept"),
    }
    Ok(DynamoDbEventResponse::default())
}

/// How long ago notices were last looked for: whoever looks for them cannot say that it does not. Not to know is to be silent, which
/// sounds the same alarm.
async fn with_last_look(event: Event, outbox: &Dynamo) -> Event {
    match outbox.last_look().await {
        Ok(looked) => {
            let age = looked.map_or(0, |at| SystemClock.now().duration_since(at).as_secs().max(0));
            event.metric("NoticesAgeSeconds", "Seconds", age)
        }
        Err(error) => {
            Event::begin(SERVICE).failed(&error).level(Level::Error).emit("relay.look-unread");
            event
        }
    }
}
