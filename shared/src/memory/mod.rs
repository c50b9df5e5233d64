//! The ports in memory, for tests of use cases: the same contract as the real adapters, kept by the same suite.

mod audit;
mod mailbox;
mod push;
mod queue;
mod register;
mod tallies;

pub use audit::{Archive, Ledger};
pub use queue::{Queue, Sent};
pub use register::Register;
pub use tallies::Tallies;

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use jiff::Timestamp;

use crate::ports::{Clock, Page, PageRequest, PortError, PortResult};

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub struct SetClock(AtomicI64);

impl SetClock {
    /// Stands at a moment.
    #[must_use]
    pub fn at(moment: Timestamp) -> Self {
        Self(AtomicI64::new(moment.as_millisecond()))
    }

    /// Moves on by seconds.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.0.load(Ordering::Relaxed)).unwrap_or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As the real adapters say it of what is not of the shape that this code writes.
fn unreadable(step: &'static str) -> PortError {
    PortError { step, cause: "ItemUnreadable".into(), retryable: false }
}

/// Which way a list runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
}

/// Cuts a page out of a list whose entries have positions that sort as the list does. The entry at which the page
/// before ended may be gone by now.
fn page<T>(entries: impl Iterator<Item = (String, T)>, order: Order, request: &PageRequest) -> PortResult<Page<T>> {
    const PREFIX: &str = "after:";
    let mut entries = entries.peekable();
    if let Some(cursor) = &request.after {
        let last = cursor.strip_prefix(PREFIX).ok_or_else(PortError::bad_cursor)?;
        let seen = |position: &str| if order == Order::Ascending { position <= last } else { position >= last };
        while entries.next_if(|(position, _)| seen(position)).is_some() {}
    }
    let mut items = Vec::new();
    let mut last = None;
    while items.len() < request.limit.max(1) {
        let Some((position, item)) = entries.next() else { return Ok(Page { items, next: None }) };
        items.push(item);
        last = Some(format!("{PREFIX}{position}"));
    }
    let next = if entries.peek().is_some() { last } else { None };
    Ok(Page { items, next })
}
