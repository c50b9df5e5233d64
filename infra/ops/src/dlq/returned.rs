//! Whether what was sent back for delivery comes back as a dead letter.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    ops::ControlFlow,
    time::Duration,
};

use aws_sdk_sqs::Client;
use tokio::time::Instant;

use super::{
    letter::Dead,
    sweep::{Length, Sweep},
};
use crate::{failure::Result, interrupt::Interrupt};

/// Bits by which a letter is remembered.
const MARKS: u64 = 7;
/// The least size of the memory, in bits: a million bytes.
const LEAST_BITS: u64 = 1 << 23;
/// Bits for each letter of a long queue: one of thirty million is taken for another, and stays where it is.
const BITS_EACH: u64 = 80;
/// How often to look.
const LOOK: Duration = Duration::from_secs(1);
/// For how long not to look again where a queue grew by letters of others.
const TRUST: Duration = Duration::from_secs(30);

/// What is known of letters that come back. Needs the same memory however many were sent.
pub(super) struct Returned<'a> {
    sqs: &'a Client,
    queue: &'a str,
    /// Letters that were marked, each by a few bits; another may have the same by chance.
    bits: Vec<u64>,
    /// How many that come back are too many.
    patience: Option<u64>,
    /// How long the queue was at the beginning.
    length: u64,
    sent: u64,
    deleted: u64,
    back: u64,
    looked: Instant,
}

impl<'a> Returned<'a> {
    pub(super) fn new(sqs: &'a Client, queue: &'a str, length: u64, patience: Option<u64>) -> Self {
        let bits = if patience.is_some() { LEAST_BITS.max(length * BITS_EACH) } else { 64 };
        let bits = vec![0; usize::try_from(bits / 64).unwrap_or(1)];
        Self { sqs, queue, bits, patience, length, sent: 0, deleted: 0, back: 0, looked: Instant::now() }
    }

    /// Notes that a letter is to be sent.
    pub(super) fn mark(&mut self, dead: &Dead) {
        if self.patience.is_some() {
            for (word, bit) in self.marks(dead) {
                self.bits[word] |= bit;
            }
        }
    }

    /// Notes that so many letters were sent.
    pub(super) fn sent(&mut self, letters: usize) {
        self.sent += letters as u64;
    }

    /// Notes that so many letters were deleted.
    pub(super) fn deleted(&mut self, letters: usize) {
        self.deleted += letters as u64;
    }

    /// Whether a letter is one that was marked in this run, and notes it.
    pub(super) fn is_back(&mut self, dead: &Dead) -> bool {
        let is_back = self.is_marked(dead);
        self.back += u64::from(is_back);
        is_back
    }

    fn is_marked(&self, dead: &Dead) -> bool {
        self.patience.is_some() && self.marks(dead).all(|(word, bit)| self.bits[word] & bit != 0)
    }

    /// The places of a letter's bits.
    fn marks(&self, dead: &Dead) -> impl Iterator<Item = (usize, u64)> + use<> {
        let key = dead.key();
        let hash = |part: u8| {
            let mut hasher = DefaultHasher::new();
            (part, key).hash(&mut hasher);
            hasher.finish()
        };
        let (one, two) = (hash(1), hash(2));
        let size = self.bits.len() as u64 * 64;
        (0..MARKS).map(move |n| {
            let place = one.wrapping_add(n.wrapping_mul(two | 1)) % size;
            (usize::try_from(place / 64).unwrap_or(0), 1 << (place % 64))
        })
    }

    /// Whether so much came back that there is no point in going on: that is, a tenth of what was sent, and no less than asked for.
    ///
    /// Letters are told one by one where they are received again. They may stand behind all others, so the queue's length is
    /// looked at too: it ought to shrink by what is deleted. Others' letters make it grow as well, though, so that it is no more
    /// than a reason to look who came.
    pub(super) async fn keeps_failing(&mut self, interrupt: &Interrupt) -> Result<bool> {
        let Some(patience) = self.patience.filter(|patience| self.sent >= *patience) else { return Ok(false) };
        let sent = self.sent;
        let too_many = |back: u64| back >= patience && back * 10 >= sent;
        if too_many(self.back) {
            return Ok(true);
        }
        if self.looked.elapsed() < LOOK {
            return Ok(false);
        }
        self.looked = Instant::now();
        let expected = self.length.saturating_sub(self.deleted);
        let more = Length::of(self.sqs, self.queue).await?.total().saturating_sub(expected);
        if !too_many(more) {
            return Ok(false);
        }
        let behind = self.behind(interrupt, |back| too_many(self.back + back)).await?;
        if too_many(self.back + behind) {
            self.back += behind;
            return Ok(true);
        }
        self.looked = Instant::now() + TRUST;
        Ok(false)
    }

    /// How many came back.
    pub(super) fn back(&self) -> u64 {
        self.back
    }

    /// How many letters that were marked stand in the queue, as far as it takes to know enough. Leaves all where they are.
    async fn behind(&self, interrupt: &Interrupt, is_enough: impl Fn(u64) -> bool) -> Result<u64> {
        let mut ours = 0;
        let read = |letters: Vec<Dead>| {
            ours += letters.iter().filter(|dead| self.is_marked(dead)).count() as u64;
            Ok(if is_enough(ours) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        Sweep::of(self.sqs, self.queue, interrupt).await?.through(read).await?;
        Ok(ours)
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::{config::BehaviorVersion, types::Message};
    use uuid::Uuid;

    use super::*;
    use crate::dlq::letter::{Id, Letter};

    fn dead(n: u128) -> Dead {
        let [reason, authority, kind] = ["redriven", "E06000001", "access"].map(str::to_owned);
        let letter =
            Letter { id: Id::Notification(Uuid::from_u128(n)), reason, authority, kind, since: None, at: None };
        Dead { letter, message: Message::builder().body("{}").build() }
    }

    #[test]
    fn letters_are_remembered_and_none_is_taken_for_another() {
        let config = aws_sdk_sqs::Config::builder().behavior_version(BehaviorVersion::latest()).build();
        let sqs = Client::from_conf(config);
        let mut returned = Returned::new(&sqs, "queue", 1_000, Some(10));
        for n in 0..20_000 {
            assert!(!returned.is_back(&dead(n)), "{n}");
            returned.mark(&dead(n));
        }
        assert!((0..20_000).all(|n| returned.is_back(&dead(n))));
        let mut never = Returned::new(&sqs, "queue", 1_000, None);
        never.mark(&dead(1));
        assert!(!never.is_back(&dead(1)), "nothing comes back of what is not sent");
    }
}
