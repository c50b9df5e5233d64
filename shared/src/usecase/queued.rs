//! A message of a queue, and what becomes of one that failed (R27, R70).

use jiff::Timestamp;

use crate::ports::{Clock, FailedDeliveries, PortError, QUEUED_AT, SetAside};

/// After this many tries a message is set aside (R27). The queues' own redrive policies have the same number.
pub const MAX_ATTEMPTS: u32 = 5;
/// The longest that a queue lets a message wait, in seconds (SQS: visibility timeout, 12 hours).
const MAX_DELAY: u32 = 43_200;

/// A message as the queue hands it out.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    /// To postpone it by.
    pub receipt: &'a str,
    /// JSON of what it is about.
    pub body: &'a str,
    /// How often it was handed out, this time included.
    pub attempts: u32,
    /// When it was put into the queue.
    pub sent_at: Option<Timestamp>,
    /// X-Ray trace header.
    pub trace: Option<&'a str>,
    /// Its attributes that are text, by name: they go with it wherever it goes.
    pub attributes: Vec<(&'a str, &'a str)>,
}

impl Message<'_> {
    /// When it was first put into the queue, as its sender said: a replay sends it later (R89). Where it does not say, when it
    /// was put there now.
    pub(super) fn queued_at(&self) -> Option<Timestamp> {
        let said = self.attributes.iter().find(|(name, _)| *name == QUEUED_AT);
        said.and_then(|(_, at)| at.parse().ok()).or(self.sent_at)
    }

    /// The authority that stands beside the body; `unknown` where none does.
    pub(super) fn authority(&self) -> &str {
        self.attributes.iter().find(|(name, _)| *name == "authority").map_or("unknown", |(_, code)| *code)
    }

    /// What a dead letter says beside its body.
    pub(super) fn set_aside(&self, reason: &str, authority: String, failed_at: Timestamp) -> SetAside {
        SetAside {
            reason: reason.to_owned(),
            authority,
            attempts: self.attempts,
            failed_at,
            trace: self.trace.map(str::to_owned),
            attributes: self.attributes.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect(),
        }
    }
}

/// Why nothing came of a message, and what its dead letter would be.
pub(super) struct Failed<'a> {
    /// The reason's stable code.
    pub(super) reason: &'a str,
    /// Whether the message itself is at fault, so that no further try can help (R70).
    pub(super) hopeless: bool,
    /// Whom it was for.
    pub(super) authority: String,
    /// What is kept of it.
    pub(super) body: &'a str,
}

/// What the queue must do with a message that failed.
pub(super) enum Fate {
    /// Forget it: it is in the dead-letter queue.
    SetAside,
    /// Hand it out again.
    Again,
    /// Hand it out again: it should have been set aside, which failed.
    Kept(PortError),
}

/// Sets a message aside that is hopeless or was tried often enough, and lets any other wait: each time twice as long.
pub(super) async fn set_aside_or_postpone(
    queue: &impl FailedDeliveries,
    clock: &impl Clock,
    message: &Message<'_>,
    failed: Failed<'_>,
    backoff_seconds: u32,
) -> Fate {
    if failed.hopeless || message.attempts >= MAX_ATTEMPTS {
        let why = message.set_aside(failed.reason, failed.authority, clock.now());
        return queue.set_aside(failed.body, &why).await.map_or_else(Fate::Kept, |()| Fate::SetAside);
    }
    let seconds = backoff_seconds.saturating_mul(1 << (message.attempts.clamp(1, 16) - 1)).min(MAX_DELAY);
    // Should this fail, the message only waits for the queue's own visibility timeout instead.
    let _ = queue.postpone(message.receipt, seconds).await;
    Fate::Again
}
