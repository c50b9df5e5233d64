//! From the queue to an authority's mailbox.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use jiff::Timestamp;

use super::queued::{Failed, Fate, Message, set_aside_or_postpone};
#[cfg(feature = "testing")]
use crate::simulation::{self, Bug};
use crate::{
    domain::{
        authority::Status,
        notification::{Delivered, Notification},
        reading::Reading,
        signal::{self, SETTINGS_WINDOW},
        ways_out::PushTask,
    },
    ports::{
        Clock, Directory, FailedDeliveries, Mailbox, MailboxReader, PageRequest, PortError, PortResult, PushOutbox,
        PushQueue, ReadingRules,
    },
};

/// How many notifications of a mailbox are read at a time.
const MAILBOX_PAGE: usize = 1_000;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the mailbox, and its pushes, if any, are in their queue.
    Delivered,
    /// It is in the mailbox; its pushes are owed, and the sweep will queue them (R73).
    PushesOwed(PortError),
    /// It had been before.
    AlreadyDelivered,
    /// It was put into the dead-letter queue, with its reason: the queue may forget it.
    SetAside(Failure),
    /// It must be handed out again: the queue may not forget it.
    Retry(Failure),
}

/// Why a message could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The body is no notification: trying again cannot help.
    #[error("the message is not a notification")]
    Unreadable,
    /// The directory has no such authority.
    #[error("the authority is not in the directory")]
    AuthorityUnknown,
    /// An operator has closed it.
    #[error("the authority is closed in the directory")]
    AuthorityClosed,
    /// Delivering it panicked: it would again.
    #[error("delivering the message panicked")]
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
            Self::AuthorityUnknown => "authority-unknown",
            Self::AuthorityClosed => "authority-closed",
            Self::Panicked => "panicked",
            Self::Port(_) => "step-failed",
        }
    }

    /// Whether the message itself is at fault, so that no further try can help (R70).
    const fn is_hopeless(&self) -> bool {
        matches!(self, Self::Unreadable | Self::Panicked)
    }
}

/// Delivers a message, or sees to it that it is tried again or set aside with its reason (R27).
pub async fn handle(
    directory: &(impl Directory + ReadingRules),
    mailbox: &(impl Mailbox + MailboxReader + PushOutbox),
    queue: &impl FailedDeliveries,
    pushes: &impl PushQueue,
    clock: &impl Clock,
    message: &Message<'_>,
    backoff_seconds: u32,
) -> Outcome {
    let notification = serde_json::from_str::<Notification>(message.body).map_err(|_| Failure::Unreadable);
    let delivery = async {
        match &notification {
            Ok(notification) => deliver(directory, mailbox, pushes, clock, notification, message.queued_at()).await,
            Err(failure) => Err(failure.clone()),
        }
    };
    let result = AssertUnwindSafe(delivery).catch_unwind().await.unwrap_or(Err(Failure::Panicked));
    let failure = match result {
        Ok(outcome) => return outcome,
        Err(failure) => failure,
    };
    let failed = Failed {
        reason: failure.code(),
        hopeless: failure.is_hopeless(),
        authority: notification.map_or_else(|_| message.authority().to_owned(), |n| n.authority.to_string()),
        body: message.body,
    };
    match set_aside_or_postpone(queue, clock, message, failed, backoff_seconds).await {
        Fate::SetAside => Outcome::SetAside(failure),
        #[cfg(feature = "testing")]
        Fate::Again if simulation::has(Bug::IgnoresFailedMessages) => Outcome::SetAside(failure),
        Fate::Again => Outcome::Retry(failure),
        #[cfg(feature = "testing")]
        Fate::Kept(_) if simulation::has(Bug::LosesWhatItSetsAside) => Outcome::SetAside(failure),
        Fate::Kept(error) => Outcome::Retry(error.into()),
    }
}

/// Puts a notification into its authority's mailbox, unless it was there before (R26). What goes out besides comes after,
/// and whatever becomes of that, the notification is delivered (R73).
async fn deliver(
    directory: &(impl Directory + ReadingRules),
    mailbox: &(impl Mailbox + MailboxReader + PushOutbox),
    pushes: &impl PushQueue,
    clock: &impl Clock,
    notification: &Notification,
    queued_at: Option<Timestamp>,
) -> Result<Outcome, Failure> {
    let authority = directory.authority(&notification.authority).await?.ok_or(Failure::AuthorityUnknown)?;
    if authority.status == Status::Closed {
        return Err(Failure::AuthorityClosed);
    }
    let reading = directory.reading(&notification.authority).await?;
    let mut notification = notification.clone();
    #[cfg(feature = "testing")]
    if simulation::has(Bug::KeysOnTheMessage) {
        // The queue says of each message when it was sent, however often it hands it out.
        let sent = queued_at.map_or(0, Timestamp::as_millisecond);
        notification.id = uuid::Uuid::new_v5(&notification.id, &sent.to_be_bytes());
    }
    signal_here(mailbox, &mut notification, &authority.region, &reading).await?;
    let delivered = Delivered::new(notification, clock.now(), &authority.ways_out, &reading);
    let delivered = Delivered { queued_at, ..delivered };
    if !mailbox.deliver(&delivered).await? {
        return Ok(Outcome::AlreadyDelivered);
    }
    let tasks: Vec<_> = PushTask::all(&delivered.notification, &delivered.pushes).collect();
    if tasks.is_empty() {
        return Ok(Outcome::Delivered);
    }
    let queued = queue_pushes(mailbox, pushes, &tasks, delivered.delivered_at).await;
    Ok(queued.map_or_else(Outcome::PushesOwed, |()| Outcome::Delivered))
}

/// Adds what only the authority's side can tell about whether an access can wait (R83). The other organisations are asked for only
/// where their number decides: where the notification would wait for a digest.
async fn signal_here(
    mailbox: &impl MailboxReader,
    notification: &mut Notification,
    region: &str,
    reading: &Reading,
) -> PortResult<()> {
    let Some(told) = notification.access() else { return Ok(()) };
    let place = signal::of_place(told.organisation.region.as_deref(), region);
    notification.signal(place);
    if !notification.may_wait() || reading.next_digest(notification.at).is_none() {
        return Ok(());
    }
    let settings = settings_before(mailbox, notification).await?;
    notification.signal(signal::of_settings(settings.iter().map(String::as_str)));
    Ok(())
}

/// Codes of the organisations that saw the child within the window, as the authority's own mailbox has it, and of this one.
async fn settings_before(mailbox: &impl MailboxReader, notification: &Notification) -> PortResult<Vec<String>> {
    let Some(told) = notification.access() else { return Ok(Vec::new()) };
    let mut codes: Vec<_> = told.organisation.code.iter().cloned().collect();
    let mut page = PageRequest { limit: MAILBOX_PAGE, after: None };
    loop {
        let from = notification.at - SETTINGS_WINDOW;
        let found = mailbox.notifications_since(&notification.authority, from, &page).await?;
        // One that cannot be read tells of no organisation: it must not keep this one out of the mailbox.
        let same = found.items.iter().flatten().filter_map(|held| held.notification.access());
        let same = same.filter(|other| other.nhs_number == told.nhs_number);
        codes.extend(same.filter_map(|other| other.organisation.code.clone()));
        page.after = found.next;
        if page.after.is_none() {
            return Ok(codes);
        }
    }
}

/// Queues the push tasks that a notification owes since a moment, then notes that they are. Where either fails they stay owed: sent
/// twice they change nothing.
pub(super) async fn queue_pushes(
    mailbox: &impl PushOutbox,
    queue: &impl PushQueue,
    tasks: &[PushTask],
    since: Timestamp,
) -> PortResult<()> {
    let answers = queue.send_pushes(tasks).await;
    let unanswered = answers.len() != tasks.len();
    answers.into_iter().collect::<PortResult<Vec<()>>>()?;
    if unanswered {
        return Err(PortError { step: "push-queue.send", cause: "NotAnswered".into(), retryable: true });
    }
    match tasks.first() {
        Some(task) => mailbox.pushes_queued(&task.authority, task.notification, since).await,
        None => Ok(()),
    }
}
