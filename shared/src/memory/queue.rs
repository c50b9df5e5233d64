//! A queue in memory, with its dead letters.

use std::sync::Mutex;

use jiff::Timestamp;

use super::lock;
use crate::{
    domain::{notification::Notification, ways_out::PushTask},
    ports::{FailedDeliveries, NotificationQueue, PortError, PortResult, PushQueue, SetAside},
};

/// What a queue was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// To deliver.
    Notification(Box<Notification>),
    /// To push.
    Push(PushTask),
    /// To wait: receipt and seconds.
    Postponed(String, u32),
    /// To the dead-letter queue: body and why.
    SetAside(String, SetAside),
}

/// A queue that remembers what it was told.
#[derive(Debug, Default)]
pub struct Queue {
    told: Mutex<Vec<Sent>>,
    refuses: Mutex<Vec<usize>>,
}

impl Queue {
    /// What it was told, in order.
    #[must_use]
    pub fn told(&self) -> Vec<Sent> {
        lock(&self.told).clone()
    }

    /// Makes the next call fail for these entries (by their place in the call, from 0).
    pub fn refuse_next(&self, entries: impl IntoIterator<Item = usize>) {
        *lock(&self.refuses) = entries.into_iter().collect();
    }

    fn tell(&self, entry: usize, refused: &[usize], sent: Sent) -> PortResult<()> {
        if refused.contains(&entry) {
            return Err(PortError { step: "queue", cause: "Refused".into(), retryable: true });
        }
        lock(&self.told).push(sent);
        Ok(())
    }
}

impl NotificationQueue for Queue {
    async fn send(&self, notifications: &[Notification], _: Timestamp) -> Vec<PortResult<()>> {
        let refused = std::mem::take(&mut *lock(&self.refuses));
        let tell = |(entry, asn): (usize, &Notification)| {
            self.tell(entry, &refused, Sent::Notification(Box::new(asn.clone())))
        };
        notifications.iter().enumerate().map(tell).collect()
    }
}

impl PushQueue for Queue {
    async fn send_pushes(&self, tasks: &[PushTask]) -> Vec<PortResult<()>> {
        let refused = std::mem::take(&mut *lock(&self.refuses));
        tasks.iter().enumerate().map(|(entry, task)| self.tell(entry, &refused, Sent::Push(task.clone()))).collect()
    }
}

impl FailedDeliveries for Queue {
    async fn postpone(&self, receipt: &str, seconds: u32) -> PortResult<()> {
        let refused = std::mem::take(&mut *lock(&self.refuses));
        self.tell(0, &refused, Sent::Postponed(receipt.to_owned(), seconds))
    }

    async fn set_aside(&self, body: &str, why: &SetAside) -> PortResult<()> {
        let refused = std::mem::take(&mut *lock(&self.refuses));
        self.tell(0, &refused, Sent::SetAside(body.to_owned(), why.clone()))
    }
}
