//! From a change of an NHS number to the notices that are owed for it.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::queued::{Failed, Fate, Message, set_aside_or_postpone};
use crate::{
    domain::{
        nhs_number::ChildKeySecret,
        number_change::{NumberChangeTold, without_new_number},
    },
    ports::{Clock, FailedDeliveries, NoticeOutbox, PlanReader, PortError, PortResult},
};

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// So many authorities are owed a notice; it may be none.
    Owed(usize),
    /// It was put into the dead-letter queue, with its reason: the queue may forget it.
    SetAside(Failure),
    /// It must be handed out again: the queue may not forget it.
    Retry(Failure),
}

/// Why nothing came of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The body tells of no change of a number: trying again cannot help.
    #[error("the message is not a change of a number")]
    Unreadable,
    /// It panicked: it would again.
    #[error("handling the message panicked")]
    Panicked,
    /// A step failed.
    #[error(transparent)]
    Port(#[from] PortError),
}

impl Failure {
    /// The reason's stable code, by which operators filter dead letters.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Panicked => "panicked",
            Self::Port(_) => "step-failed",
        }
    }

    /// Whether the message itself is at fault, so that no further try can help (R70).
    const fn is_hopeless(&self) -> bool {
        matches!(self, Self::Unreadable | Self::Panicked)
    }
}

/// Owes a notice to each authority that a change concerns, or sees to it that the message is tried again or set aside (R88).
pub async fn number_changed(
    store: &(impl PlanReader + NoticeOutbox),
    queue: &impl FailedDeliveries,
    secret: &ChildKeySecret,
    clock: &impl Clock,
    message: &Message<'_>,
    backoff_seconds: u32,
) -> Outcome {
    let change = serde_json::from_str::<NumberChangeTold>(message.body).map_err(|_| Failure::Unreadable);
    let work = async {
        match &change {
            // When it was told, not when it is handled: handled again, it owes the very same entries.
            Ok(change) => Ok(owe(store, secret, message.sent_at.unwrap_or_else(|| clock.now()), change).await?),
            Err(failure) => Err(failure.clone()),
        }
    };
    let failure = match AssertUnwindSafe(work).catch_unwind().await.unwrap_or(Err(Failure::Panicked)) {
        Ok(authorities) => return Outcome::Owed(authorities),
        Err(failure) => failure,
    };
    // What could be read goes on without the new number that an adoption forbids, and what could not without any (R88).
    let body = change.ok().and_then(|change| serde_json::to_string(&change).ok());
    let body = body.unwrap_or_else(|| without_new_number(message.body));
    let failed = Failed {
        reason: failure.code(),
        hopeless: failure.is_hopeless(),
        authority: "unknown".to_owned(),
        body: &body,
    };
    match set_aside_or_postpone(queue, clock, message, failed, backoff_seconds).await {
        Fate::SetAside => Outcome::SetAside(failure),
        Fate::Again => Outcome::Retry(failure),
        Fate::Kept(error) => Outcome::Retry(error.into()),
    }
}

/// How many authorities are owed a notice.
async fn owe(
    store: &(impl PlanReader + NoticeOutbox),
    secret: &ChildKeySecret,
    at: jiff::Timestamp,
    change: &NumberChangeTold,
) -> PortResult<usize> {
    let plans = store.plans_of(&secret.key_of(change.number())).await?;
    let notices = change.notices(&plans, secret, at);
    store.owe(&notices).await?;
    Ok(notices.len())
}
