//! Each message by itself, and each day's look as a whole.

use std::{panic::AssertUnwindSafe, time::Instant};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsMessage};
use cpis::{
    aws::{DeadLetters, Dynamo},
    domain::{nhs_number::ChildKeySecret, notification::Notification},
    lambda::{
        config::SystemClock,
        sqs::received,
        telemetry::{Event, Level},
    },
    usecase::{
        daily_notices::daily_notices,
        number_changes::{Failure, Outcome, number_changed},
    },
};
use futures_util::{FutureExt, future::join_all};
use jiff::Timestamp;
use lambda_runtime::Error;
use serde::Deserialize;

const SERVICE: &str = "notices";

/// Why the function is called.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Cause {
    /// NHS numbers changed.
    Queue {
        #[serde(rename = "Records")]
        records: Vec<SqsMessage>,
    },
    /// A day has passed.
    Schedule {
        /// Always `Scheduled Event`; told apart by being there.
        #[serde(rename = "detail-type")]
        _detail_type: String,
        /// When it was due: the same however often Lambda tries, so that each try finds the same.
        time: Timestamp,
    },
}

pub(crate) struct Notices {
    pub(crate) store: Dynamo,
    pub(crate) queue: DeadLetters,
    pub(crate) secret: ChildKeySecret,
    pub(crate) backoff_seconds: u32,
}

impl Notices {
    pub(crate) async fn handle(&self, cause: Cause) -> Result<SqsBatchResponse, Error> {
        match cause {
            Cause::Queue { records } => Ok(self.numbers(records).await),
            Cause::Schedule { time, .. } => self.day(time).await.map(|()| SqsBatchResponse::default()),
        }
    }

    /// Answers with the messages that the queue must hand out again.
    async fn numbers(&self, records: Vec<SqsMessage>) -> SqsBatchResponse {
        let work: Vec<_> = records.iter().map(|message| self.number(message)).collect();
        let mut response = SqsBatchResponse::default();
        for (message, done) in records.iter().zip(join_all(work).await) {
            if !done {
                response.add_failure(message.message_id.clone().unwrap_or_default());
            }
        }
        response
    }

    /// Whether the queue may forget the message.
    async fn number(&self, message: &SqsMessage) -> bool {
        let received = received(message);
        let event = Event::begin(SERVICE).with("messageId", message.message_id.clone());
        let event = event.with("attempts", received.attempts);
        let work =
            number_changed(&self.store, &self.queue, &self.secret, &SystemClock, &received, self.backoff_seconds);
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(outcome) => log(event, &outcome),
            Err(_) => {
                event.level(Level::Error).emit("notices.number-panicked");
                false
            }
        }
    }

    /// What could not be done is told and tried again with the whole: found again, it is the same.
    async fn day(&self, time: Timestamp) -> Result<(), Error> {
        let began = Instant::now();
        let found = match daily_notices(&self.store, time).await {
            Ok(found) => found,
            Err(error) => {
                Event::begin(SERVICE).failed(&error).level(Level::Error).emit("notices.day-failed");
                return Err(error.into());
            }
        };
        told(&found.overdue, "UploadsOverdue", "notices.upload-overdue");
        told(&found.match_rate_low, "MatchRatesLow", "notices.match-rate-low");
        told(&found.moved, "PlansMoved", "notices.plan-moved");
        for (authority, error) in &found.failed {
            let event = Event::begin(SERVICE).with("authority", authority.as_ref().map(|code| code.to_string()));
            event.failed(error).level(Level::Error).emit("notices.look-failed");
        }
        let event = Event::begin(SERVICE).since(began).with("authorities", found.authorities);
        event.metric("NoticeLooksFailed", "Count", found.failed.len()).emit("notices.day-done");
        found.failed.into_iter().next().map_or(Ok(()), |(_, error)| Err(error.into()))
    }
}

/// A line for each notice, and how many there are. What was told before is among them.
fn told(notices: &[Notification], metric: &str, code: &str) {
    for notice in notices {
        let event = Event::begin(SERVICE).with("authority", notice.authority.as_str());
        event.with("notificationId", notice.id.to_string()).emit(code);
    }
    Event::begin(SERVICE).metric(metric, "Count", notices.len()).emit("notices.counted");
}

fn log(event: Event, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Owed(authorities) => event.metric("NumbersChanged", "Count", 1).with("authorities", *authorities),
        Outcome::SetAside(failure) => {
            with_failure(event, failure)
                .level(Level::Error)
                .metric("NumberChangesSetAside", "Count", 1)
                .emit("notices.number-set-aside");
            return true;
        }
        Outcome::Retry(failure) => {
            with_failure(event, failure).emit("notices.number-retry");
            return false;
        }
    }
    .emit("notices.number-changed");
    true
}

fn with_failure(event: Event, failure: &Failure) -> Event {
    let event = event.level(Level::Warn).with("reason", failure.code());
    match failure {
        Failure::Port(error) => event.failed(error),
        _ => event,
    }
}
