//! From the outbox to the queue. Called with what the stream brings, and every minute for what it did not.

use jiff::{SignedDuration, Timestamp};

#[cfg(feature = "testing")]
use crate::simulation::{self, Bug};
use crate::{
    domain::notification::Owing,
    ports::{Clock, NotificationQueue, Outbox, OutboxEntry, PageRequest, PortError, PortResult},
};

/// What is still owed after this time is swept: the stream has had its chance.
pub const SWEEP_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// How many entries the sweep takes at a time.
const SWEEP_PAGE: usize = 200;

/// What became of one entry of the outbox.
#[derive(Debug)]
pub enum Relayed {
    /// Its notifications are in the queue. Where the mark could not be cleared, the sweep will send them
    /// again, which changes nothing (R26, R87).
    Sent {
        /// How many.
        notifications: usize,
    },
    /// Not every notification could be sent: try again.
    Failed(PortError),
}

/// Sends what these entries owe, then clears their marks. Answers for each, in the same order.
pub async fn relay(
    outbox: &impl Outbox,
    queue: &impl NotificationQueue,
    clock: &impl Clock,
    owing: &[Owing],
) -> (Vec<Relayed>, PortResult<()>) {
    #[cfg(feature = "testing")]
    if simulation::has(Bug::SettlesBeforeSending) {
        let _ = outbox.settle(owing).await;
    }
    let owed: Vec<_> = owing.iter().map(Owing::notifications).collect();
    let mut sent = queue.send(&owed.concat(), clock.now()).await.into_iter();
    let relayed: Vec<_> = owed
        .iter()
        .map(|notifications| {
            // Take this entry's answers before judging them, or the next one's would be taken for its own.
            let answers: Vec<_> = sent.by_ref().take(notifications.len()).collect();
            let missing = notifications.len() - answers.len();
            match answers.into_iter().find_map(Result::err) {
                Some(error) => Relayed::Failed(error),
                None if missing > 0 => Relayed::Failed(unanswered()),
                None => Relayed::Sent { notifications: notifications.len() },
            }
        })
        .collect();
    let sent = owing.iter().zip(&relayed).filter(|(_, r)| matches!(r, Relayed::Sent { .. }));
    let done: Vec<_> = sent.map(|(owing, _)| owing.clone()).collect();
    let settled = if done.is_empty() { Ok(()) } else { outbox.settle(&done).await };
    (relayed, settled)
}

fn unanswered() -> PortError {
    PortError { step: "asn-queue.send", cause: "the queue did not answer for every message".into(), retryable: true }
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// Entries found owed.
    pub found: usize,
    /// Notifications sent for them.
    pub sent: usize,
    /// Entries that could not be read, or whose notifications could not be sent; the next sweep tries them again.
    pub failed: usize,
    /// How many of them could not be read.
    pub unreadable: usize,
    /// Where the oldest of those stands in the outbox.
    pub unreadable_at: Option<String>,
    /// Since when the oldest of those found is owed, whether it can be read or not.
    pub oldest: Option<Timestamp>,
    /// The last error met.
    pub error: Option<PortError>,
}

impl Swept {
    /// Counts a page of entries; those that can be read.
    fn look_at(&mut self, entries: Vec<OutboxEntry>) -> Vec<Owing> {
        self.found += entries.len();
        let mut readable = Vec::with_capacity(entries.len());
        for OutboxEntry { position, owing } in entries {
            match owing {
                Ok(owing) => readable.push(owing),
                Err(error) => {
                    self.unreadable += 1;
                    self.unreadable_at.get_or_insert(position);
                    self.fail(error);
                }
            }
        }
        readable
    }

    fn fail(&mut self, error: PortError) {
        self.failed += 1;
        self.error = Some(error);
    }
}

/// Relays everything that is older than [`SWEEP_AFTER`] and still owed, however long the stream has been down.
///
/// # Errors
/// Where the outbox cannot be read. What was relayed before stays relayed.
pub async fn sweep(outbox: &impl Outbox, queue: &impl NotificationQueue, clock: &impl Clock) -> PortResult<Swept> {
    #[cfg(feature = "testing")]
    if simulation::has(Bug::DropsTheSweep) {
        return Ok(Swept::default());
    }
    let before = clock.now() - SWEEP_AFTER;
    let mut page = PageRequest { limit: SWEEP_PAGE, after: None };
    let mut swept = Swept::default();
    loop {
        let owed = outbox.owed_before(before, &page).await?;
        swept.oldest = swept.oldest.or(owed.items.first().map(|entry| Owing::since(&entry.position)));
        let readable = swept.look_at(owed.items);
        let (relayed, settled) = relay(outbox, queue, clock, &readable).await;
        for outcome in relayed {
            match outcome {
                Relayed::Sent { notifications } => swept.sent += notifications,
                Relayed::Failed(error) => swept.fail(error),
            }
        }
        swept.error = settled.err().or(swept.error);
        page.after = owed.next;
        if page.after.is_none() {
            return Ok(swept);
        }
    }
}
