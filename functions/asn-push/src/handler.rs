//! Decode, push or sweep, say what must be tried again.

use std::sync::{Mutex, PoisonError};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsMessage};
use cpis::{
    aws::{DeadLetters, Dynamo, PushTasks, Secrets},
    domain::ways_out::{MeshBox, Outgoing, Webhook},
    lambda::{
        cached::CachedDirectory,
        config::SystemClock,
        sqs::received,
        telemetry::{Event, Level},
    },
    out::{MeshOut, WebhookOut},
    ports::{Clock, Mesh, NotTaken, Tracked, Unreadable, Webhooks},
    usecase::push::{Outcome, Pusher, Rested, sweep},
};
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::Error;
use serde::Deserialize;

const SERVICE: &str = "asn-push";
/// How often MESH is told that our mailbox is in use. It wants to hear it once a day.
const HANDSHAKE: SignedDuration = SignedDuration::from_hours(6);

type OurSecrets = Secrets<SystemClock>;

/// Why the function is called.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Cause {
    /// Pushes are due.
    Queue {
        #[serde(rename = "Records")]
        records: Vec<SqsMessage>,
    },
    /// A minute has passed.
    Schedule {
        /// Always `Scheduled Event`; told apart by being there.
        #[serde(rename = "detail-type")]
        _detail_type: String,
    },
}

/// Both ways out.
pub(crate) struct Out {
    pub(crate) webhooks: WebhookOut<OurSecrets>,
    pub(crate) mesh: MeshOut<OurSecrets>,
}

impl Webhooks for Out {
    async fn send_webhook(&self, to: &Webhook, outgoing: &Outgoing<'_>, now: Timestamp) -> Result<(), NotTaken> {
        self.webhooks.send_webhook(to, outgoing, now).await
    }
}

impl Mesh for Out {
    async fn send_mesh(
        &self,
        to: &MeshBox,
        outgoing: &Outgoing<'_>,
        now: Timestamp,
    ) -> Result<Option<String>, NotTaken> {
        self.mesh.send_mesh(to, outgoing, now).await
    }

    async fn track_mesh(&self, receipt: &str, now: Timestamp) -> Result<Tracked, NotTaken> {
        self.mesh.track_mesh(receipt, now).await
    }
}

pub(crate) struct Push {
    pub(crate) directory: CachedDirectory<Dynamo, SystemClock>,
    pub(crate) store: Dynamo,
    pub(crate) out: Out,
    pub(crate) queue: DeadLetters,
    pub(crate) tasks: PushTasks,
    pub(crate) backoff_seconds: u32,
    pub(crate) claim_seconds: u32,
    /// When MESH was last told that our mailbox is in use.
    pub(crate) handshaken: Mutex<Option<Timestamp>>,
}

impl Push {
    pub(crate) async fn handle(&self, cause: Cause) -> Result<SqsBatchResponse, Error> {
        match cause {
            Cause::Queue { records } => Ok(self.push(&records).await),
            Cause::Schedule { .. } => {
                self.handshake().await;
                self.sweep().await
            }
        }
    }

    /// Answers with the messages that the queue must hand out again.
    async fn push(&self, records: &[SqsMessage]) -> SqsBatchResponse {
        let events: Vec<_> = records.iter().map(begin).collect();
        let messages: Vec<_> = records.iter().map(received).collect();
        let pusher = Pusher {
            directory: &self.directory,
            store: &self.store,
            out: &self.out,
            queue: &self.queue,
            clock: &SystemClock,
            backoff_seconds: self.backoff_seconds,
            claim_seconds: self.claim_seconds,
        };
        let outcomes = pusher.handle(&messages).await;
        let mut response = SqsBatchResponse::default();
        for ((record, event), outcome) in records.iter().zip(events).zip(outcomes) {
            log(event, &outcome);
            if !outcome.is_done() {
                response.add_failure(record.message_id.clone().unwrap_or_default());
            }
        }
        response
    }

    async fn sweep(&self) -> Result<SqsBatchResponse, Error> {
        let event = Event::begin(SERVICE);
        let swept = match sweep(&self.store, &self.tasks, &SystemClock).await {
            Ok(swept) => swept,
            Err(error) => {
                event.failed(&error).level(Level::Error).emit("push.sweep-failed");
                return Err(error.into());
            }
        };
        swept.unreadable.iter().for_each(log_unreadable);
        let oldest = swept.oldest.map_or(0, |at| SystemClock.now().duration_since(at).as_secs());
        let event =
            event.metric("PushesOwedOldestSeconds", "Seconds", oldest).metric("PushesSwept", "Count", swept.found);
        let event = event.with("unreadable", swept.unreadable.len());
        match &swept.error {
            Some(error) => event.failed(error).level(Level::Error).emit("push.swept"),
            None => event.emit("push.swept"),
        }
        Ok(SqsBatchResponse::default())
    }

    async fn handshake(&self) {
        let now = SystemClock.now();
        let due = {
            let last = self.handshaken.lock().unwrap_or_else(PoisonError::into_inner);
            last.is_none_or(|last| now.duration_since(last) >= HANDSHAKE)
        };
        if !self.out.mesh.is_configured() || !due {
            return;
        }
        let event = Event::begin(SERVICE);
        match self.out.mesh.handshake(now).await {
            Ok(()) => {
                *self.handshaken.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
                event.emit("mesh.handshake");
            }
            Err(why) => {
                let event = event.level(Level::Error).with("reason", why.code).with("status", why.status);
                event.metric("MeshUnreachable", "Count", 1).emit("mesh.handshake-failed");
            }
        }
    }
}

fn begin(record: &SqsMessage) -> Event {
    let attribute = |name: &str| record.message_attributes.get(name).and_then(|a| a.string_value.clone());
    Event::begin(SERVICE)
        .with("messageId", record.message_id.clone())
        .with("authority", attribute("authority"))
        .with("way", attribute("way"))
        .with("traceId", attribute("traceId"))
}

/// It stays owed: its age tells the operators, this line where it is.
fn log_unreadable(unreadable: &Unreadable) {
    let event = Event::begin(SERVICE).failed(&unreadable.error).level(Level::Error);
    let event = event.with("authority", unreadable.authority.as_str()).with("asnId", unreadable.id.as_str());
    event.metric("PushUnreadable", "Count", 1).emit("push.unreadable");
}

fn log(event: Event, outcome: &Outcome) {
    match outcome {
        Outcome::Sent => event.metric("Pushed", "Count", 1).emit("push.sent"),
        Outcome::Watched => event.emit("push.watched"),
        Outcome::Collected => event.metric("PushCollected", "Count", 1).emit("push.collected"),
        Outcome::AlreadySent => event.emit("push.already-sent"),
        Outcome::NotWanted => event.emit("push.not-wanted"),
        Outcome::Failed(why, rested) => {
            let event = event.level(Level::Warn).with("reason", why.code).with("status", why.status);
            let event = event.metric("PushFailed", "Count", 1);
            match rested {
                Rested::Now => event.metric("ReceiverRested", "Count", 1).emit("push.receiver-rests"),
                Rested::No => event.emit("push.failed"),
            }
        }
        Outcome::Waits(why) => event.with("reason", *why).metric("PushWaited", "Count", 1).emit("push.waits"),
        Outcome::SetAside(why) => {
            let event = event.level(Level::Error).with("reason", why.as_str());
            event.metric("PushSetAside", "Count", 1).emit("push.set-aside");
        }
        Outcome::Retry(error) => event.failed(error).emit("push.retry"),
    }
}
