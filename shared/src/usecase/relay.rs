//! From the outbox to the queue. Called with what the stream brings, and every minute for what it did not.

use jiff::{SignedDuration, Timestamp};

#[cfg(feature = "testing")]
use crate::simulation::{self, Bug};
use crate::{
    domain::access::Access,
    ports::{Clock, NotificationQueue, Outbox, PageRequest, PortError, PortResult},
};

/// An access still owed after this time is swept: the stream has had its chance.
pub const SWEEP_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// How many accesses the sweep takes at a time.
const SWEEP_PAGE: usize = 200;

/// What became of one access.
#[derive(Debug)]
pub enum Relayed {
    /// Its notifications are in the queue. Where the mark could not be cleared, the sweep will send them
    /// again, which changes nothing (R26).
    Sent {
        /// How many.
        notifications: usize,
    },
    /// Not every notification could be sent: try again.
    Failed(PortError),
}

/// Sends what is owed for these accesses, then clears their marks. Answers for each, in the same order.
pub async fn relay(
    outbox: &impl Outbox,
    queue: &impl NotificationQueue,
    accesses: &[Access],
) -> (Vec<Relayed>, PortResult<()>) {
    #[cfg(feature = "testing")]
    if simulation::has(Bug::SettlesBeforeSending) {
        let _ = outbox.settle(accesses).await;
    }
    let owed: Vec<_> = accesses.iter().map(Access::notifications).collect();
    let mut sent = queue.send(&owed.concat()).await.into_iter();
    let relayed: Vec<_> = owed
        .iter()
        .map(|notifications| {
            // Take this access's answers before judging them, or the next one's would be taken for its own.
            let answers: Vec<_> = sent.by_ref().take(notifications.len()).collect();
            let missing = notifications.len() - answers.len();
            match answers.into_iter().find_map(Result::err) {
                Some(error) => Relayed::Failed(error),
                None if missing > 0 => Relayed::Failed(unanswered()),
                None => Relayed::Sent { notifications: notifications.len() },
            }
        })
        .collect();
    let sent = accesses.iter().zip(&relayed).filter(|(_, r)| matches!(r, Relayed::Sent { .. }));
    let done: Vec<_> = sent.map(|(access, _)| access.clone()).collect();
    let settled = if done.is_empty() { Ok(()) } else { outbox.settle(&done).await };
    (relayed, settled)
}

fn unanswered() -> PortError {
    PortError { step: "asn-queue.send", cause: "the queue did not answer for every message".into(), retryable: true }
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// Accesses found owed.
    pub found: usize,
    /// Notifications sent for them.
    pub sent: usize,
    /// Accesses that could not be read, or whose notifications could not be sent; the next sweep tries them again.
    pub failed: usize,
    /// When the oldest of those found was recorded.
    pub oldest: Option<Timestamp>,
    /// The last error met.
    pub error: Option<PortError>,
}

/// Relays every access that is older than [`SWEEP_AFTER`] and still owed, however long the stream has been down.
///
/// # Errors
/// Where the outbox cannot be read. What was relayed before stays relayed.
pub async fn sweep(outbox: &impl Outbox, queue: &impl NotificationQueue, clock: &impl Clock) -> PortResult<Swept> {
    let before = clock.now() - SWEEP_AFTER;
    let mut page = PageRequest { limit: SWEEP_PAGE, after: None };
    let mut swept = Swept::default();
    loop {
        let owed = outbox.owed_before(before, &page).await?;
        swept.found += owed.items.len();
        let (mut accesses, mut unreadable) = (Vec::new(), Vec::new());
        for access in owed.items {
            match access {
                Ok(access) => accesses.push(access),
                Err(error) => unreadable.push(Relayed::Failed(error)),
            }
        }
        swept.oldest = swept.oldest.or(accesses.first().map(|a| a.at));
        let (relayed, settled) = relay(outbox, queue, &accesses).await;
        for outcome in relayed.into_iter().chain(unreadable) {
            match outcome {
                Relayed::Sent { notifications } => swept.sent += notifications,
                Relayed::Failed(error) => {
                    swept.failed += 1;
                    swept.error = Some(error);
                }
            }
        }
        swept.error = settled.err().or(swept.error);
        page.after = owed.next;
        if page.after.is_none() {
            return Ok(swept);
        }
    }
}
