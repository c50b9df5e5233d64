//! Discard: delete for good.

use aws_sdk_sqs::Client;
use futures_util::{StreamExt, stream};

use super::{
    deleting::delete,
    letter::Dead,
    run::{Taken, Work},
    sweep::{BATCH, CONCURRENCY},
    trail::Fate,
};

/// Deletes letters, and does nothing else to them.
pub(super) struct Discard<'a> {
    sqs: &'a Client,
    /// The dead-letter queue.
    queue: &'a str,
}

impl<'a> Discard<'a> {
    /// From this queue.
    pub(super) fn new(sqs: &'a Client, queue: &'a str) -> Self {
        Self { sqs, queue }
    }
}

impl Work for Discard<'_> {
    // R71: the log is told as discarded only what is gone.
    async fn take(&mut self, letters: &[Dead]) -> Taken {
        let calls = letters
            .chunks(BATCH)
            .zip((0..).step_by(BATCH))
            .map(async |(batch, from)| (from, batch.len(), delete(self.sqs, self.queue, batch).await));
        let calls: Vec<_> = calls.collect();
        let mut calls = stream::iter(calls).buffer_unordered(CONCURRENCY);
        let mut taken = Taken { fates: vec![Fate::Unknown; letters.len()], failure: None };
        while let Some((from, length, deleted)) = calls.next().await {
            match deleted {
                Ok(kept) => {
                    taken.fates[from..from + length].fill(Fate::Done);
                    kept.into_iter().for_each(|place| taken.fates[from + place] = Fate::Left);
                }
                Err(failure) => taken.failure = taken.failure.or(Some(failure)),
            }
        }
        taken
    }

    fn deletes(&self) -> bool {
        true
    }
}
