//! Letters that are deleted while others are worked on.

use std::sync::Arc;

use aws_sdk_sqs::{Client, types::DeleteMessageBatchRequestEntry};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    letter::Dead,
    sweep::{BATCH, CONCURRENCY},
};
use crate::failure::{Failure, Result, on_aws};

/// What became of letters that were to be deleted.
#[derive(Default)]
pub(super) struct Deleted {
    /// How many went.
    pub(super) gone: usize,
    /// Those that the queue did not delete.
    pub(super) refused: Vec<Dead>,
    /// Those of which nobody knows.
    pub(super) unknown: Vec<Dead>,
    /// Why nobody does.
    pub(super) failure: Option<Failure>,
}

/// Calls that delete letters.
pub(super) struct Deleting {
    sqs: Client,
    queue: String,
    /// Calls of which nobody has asked what became.
    calls: JoinSet<(Vec<Dead>, Result<Vec<usize>>)>,
    /// So many of them at once.
    slots: Arc<Semaphore>,
}

impl Deleting {
    /// From this queue. Nothing is deleted yet.
    pub(super) fn new(sqs: &Client, queue: &str) -> Self {
        let slots = Arc::new(Semaphore::new(CONCURRENCY));
        Self { sqs: sqs.clone(), queue: queue.to_owned(), calls: JoinSet::new(), slots }
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Begins to delete letters.
    pub(super) fn begin(&mut self, letters: Vec<Dead>) {
        let mut letters = letters.into_iter();
        loop {
            let batch: Vec<_> = letters.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                return;
            }
            let (sqs, queue, slots) = (self.sqs.clone(), self.queue.clone(), Arc::clone(&self.slots));
            self.calls.spawn(async move {
                let _slot = slots.acquire().await;
                let deleted = delete(&sqs, &queue, &batch).await;
                (batch, deleted)
            });
        }
    }

    /// Deletes letters there and then.
    #[cfg(feature = "testing")]
    pub(super) async fn at_once(&self, letters: &[Dead]) -> Result<()> {
        for batch in letters.chunks(BATCH) {
            delete(&self.sqs, &self.queue, batch).await?;
        }
        Ok(())
    }

    /// What became of some, once no more than so many calls are left whose outcome is not known. A call that fails does not keep others
    /// from going on: each letter that is deleted is one less to do again.
    pub(super) async fn settle(&mut self, most: usize) -> Deleted {
        let mut deleted = Deleted::default();
        while let Some(ended) =
            if self.calls.len() > most { self.calls.join_next().await } else { self.calls.try_join_next() }
        {
            match ended {
                Ok((batch, Ok(refused))) => {
                    deleted.gone += batch.len() - refused.len();
                    let refused = batch.into_iter().enumerate().filter(|(place, _)| refused.contains(place));
                    deleted.refused.extend(refused.map(|(_, dead)| dead));
                }
                Ok((batch, Err(failure))) => {
                    deleted.unknown.extend(batch);
                    deleted.failure = deleted.failure.or(Some(failure));
                }
                // They come back by themselves.
                Err(broken) => {
                    deleted.failure = Some(Failure::error(format!("deleting dead letters broke off: {broken}")))
                }
            }
        }
        deleted
    }
}

/// Deletes letters in one call, ten at the most, and answers with the places of those of which the queue does not say that they went.
pub(super) async fn delete(sqs: &Client, queue: &str, letters: &[Dead]) -> Result<Vec<usize>> {
    let entries = letters.iter().zip(0..).filter_map(|(dead, n)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
        entry.receipt_handle(dead.message.receipt_handle()?).build().ok()
    });
    let call = sqs.delete_message_batch().queue_url(queue).set_entries(Some(entries.collect()));
    let answer = call.send().await.map_err(on_aws("delete from the dead-letter queue what is taken care of"))?;
    let gone = |place: &usize| answer.successful.iter().any(|gone| gone.id.parse() == Ok(*place));
    Ok((0..letters.len()).filter(|place| !gone(place)).collect())
}
