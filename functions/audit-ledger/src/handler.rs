//! Decode, write, say what must be tried again.

use std::time::Instant;

use aws_lambda_events::{dynamodb::EventRecord, streams::DynamoDbEventResponse};
use cpis::{
    aws::{Dynamo, HeadBucket, HeadKey, from_stream_image},
    lambda::{
        config::SystemClock,
        stream::Received,
        telemetry::{Event, Level},
    },
    ports::{Clock, PortResult, Statements},
    usecase::ledger::{record, state_heads, sweep},
};
use jiff::Timestamp;
use lambda_runtime::Error;
use serde::Deserialize;

use crate::watcher::Watcher;

pub(crate) const SERVICE: &str = "audit-ledger";

/// Why the function is called.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Cause {
    /// Accesses were recorded.
    Stream {
        #[serde(rename = "Records")]
        records: Vec<EventRecord>,
    },
    /// It is time for this.
    Schedule { task: Task },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Task {
    /// A minute has passed.
    Sweep,
    /// An hour has passed.
    StateHeads,
}

/// What the function works with.
pub(crate) struct Ledger {
    pub(crate) store: Dynamo,
    pub(crate) key: HeadKey,
    pub(crate) bucket: HeadBucket,
}

impl Ledger {
    pub(crate) async fn handle(&self, cause: Cause) -> Result<DynamoDbEventResponse, Error> {
        match cause {
            Cause::Stream { records } => Ok(self.on_stream(records).await),
            Cause::Schedule { task: Task::Sweep } => self.on_sweep().await,
            Cause::Schedule { task: Task::StateHeads } => self.state_heads().await,
        }
    }

    /// A record that cannot be read hurts only itself, and is not lost: its access still has its mark, so the sweep finds
    /// it, and the metric says so until somebody has looked.
    async fn on_stream(&self, records: Vec<EventRecord>) -> DynamoDbEventResponse {
        let began = Instant::now();
        let received = Received::read(SERVICE, records, from_stream_image, |event| {
            event.metric("LedgerUnreadable", "Count", 1).emit("ledger.record-unreadable");
        });
        let (recorded, cleared) = record(&self.store, &received.items, &Watcher(&self.store), &self.store).await;
        log_recorded(began, &recorded);
        if let Err(error) = cleared {
            Event::begin(SERVICE).failed(&error).emit("ledger.mark-not-cleared");
        }
        received.retry(recorded.iter().map(Result::is_ok))
    }

    async fn on_sweep(&self) -> Result<DynamoDbEventResponse, Error> {
        let clock = SystemClock;
        let event = Event::begin(SERVICE);
        let swept = match sweep(&self.store, &Watcher(&self.store), &self.store, &clock).await {
            Ok(swept) => swept,
            Err(error) => {
                event.failed(&error).level(Level::Error).emit("ledger.sweep-failed");
                return Err(error.into());
            }
        };
        let oldest = swept.oldest.map_or(0, |at| clock.now().duration_since(at).as_secs());
        let event = event.metric("UnauditedOldestSeconds", "Seconds", oldest);
        let event = event.metric("StatementAgeSeconds", "Seconds", self.statement_age(clock.now()).await?);
        let event = event.metric("UnauditedSwept", "Count", swept.found).with("failed", swept.failed);
        match &swept.error {
            Some(error) => event.failed(error).level(Level::Error).emit("ledger.swept"),
            None => event.emit("ledger.swept"),
        }
        Ok(DynamoDbEventResponse::default())
    }

    /// For how long the log's end has not been stated; 0 where it never was, which the failures of stating it tell.
    async fn statement_age(&self, now: Timestamp) -> PortResult<i64> {
        let latest = self.store.latest_statement().await?;
        Ok(latest.map_or(0, |(signed, _)| now.duration_since(signed.statement.at).as_secs()))
    }

    async fn state_heads(&self) -> Result<DynamoDbEventResponse, Error> {
        let event = Event::begin(SERVICE);
        match state_heads(&self.store, &self.key, &self.bucket, &SystemClock).await {
            Ok(Some(signed)) => {
                let entries: u64 = signed.statement.heads.iter().map(|head| head.number).sum();
                let event = event.with("sequence", signed.statement.sequence).with("entries", entries);
                event.metric("HeadsSigned", "Count", 1).emit("ledger.heads-signed");
            }
            Ok(None) => event.metric("HeadsSigned", "Count", 1).emit("ledger.heads-signed-by-another"),
            Err(error) => {
                event.failed(&error).level(Level::Error).emit("ledger.heads-failed");
                return Err(error.into());
            }
        }
        Ok(DynamoDbEventResponse::default())
    }
}

fn log_recorded(began: Instant, recorded: &[PortResult<()>]) {
    let failed = recorded.iter().filter(|r| r.is_err()).count();
    let event = Event::begin(SERVICE).since(began);
    let event = event.metric("AuditEntries", "Count", recorded.len() - failed);
    match recorded.iter().find_map(|r| r.as_ref().err()) {
        Some(error) => event.failed(error).metric("LedgerFailed", "Count", failed).emit("ledger.failed"),
        None => event.emit("ledger.recorded"),
    }
}
