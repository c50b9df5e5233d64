//! Looks through a queue without consuming it: messages are held out of sight for a while and then let go.

use std::{
    collections::{HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use aws_sdk_sqs::{
    Client,
    types::{ChangeMessageVisibilityBatchRequestEntry, Message, MessageSystemAttributeName},
};

use crate::failure::{Result, on_aws};

/// After so many answers in a row without a message not seen before, the queue counts as seen through.
const ENOUGH: usize = 2;

/// A look through a queue. Should the command end half-way, what it held comes back by itself after `hold`.
pub(crate) struct Sweep<'a> {
    sqs: &'a Client,
    queue: &'a str,
    hold: Duration,
    held: VecDeque<(Instant, String)>,
    seen: HashSet<u64>,
    idle: usize,
}

impl<'a> Sweep<'a> {
    /// Holds each message for `hold`, in whole seconds.
    pub(crate) fn new(sqs: &'a Client, queue: &'a str, hold: Duration) -> Self {
        Self { sqs, queue, hold, held: VecDeque::new(), seen: HashSet::new(), idle: 0 }
    }

    /// The next messages, none of them returned before; empty when there are no more.
    pub(crate) async fn next(&mut self) -> Result<Vec<Message>> {
        while self.idle < ENOUGH {
            let call = self.sqs.receive_message().queue_url(self.queue).max_number_of_messages(10);
            let seconds = i32::try_from(self.hold.as_secs()).unwrap_or(i32::MAX);
            // A long poll asks every server of the queue; a short one may miss some.
            let call = call.visibility_timeout(seconds).wait_time_seconds(1);
            let call =
                call.message_attribute_names("All").message_system_attribute_names(MessageSystemAttributeName::All);
            let received =
                call.send().await.map_err(on_aws("read the dead-letter queue"))?.messages.unwrap_or_default();
            let (new, again) = received.into_iter().partition::<Vec<_>, _>(|m| self.seen.insert(key(m.message_id())));
            again.iter().for_each(|m| self.hold(m));
            if new.is_empty() {
                self.idle += 1;
            } else {
                self.idle = 0;
                return Ok(new);
            }
        }
        Ok(Vec::new())
    }

    /// Keeps a message to be let go at the end.
    pub(crate) fn hold(&mut self, message: &Message) {
        let now = Instant::now();
        // What has come back into sight by itself need not be remembered: memory stays small however long the queue.
        while self.held.front().is_some_and(|(since, _)| now.duration_since(*since) >= self.hold) {
            self.held.pop_front();
        }
        self.held.extend(message.receipt_handle.clone().map(|receipt| (now, receipt)));
    }

    /// Lets go of what is held. What that fails for comes back by itself.
    pub(crate) async fn release(&mut self) {
        for batch in self.held.make_contiguous().chunks(10) {
            let entries = batch.iter().zip(0..).filter_map(|((_, receipt), n)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string());
                entry.receipt_handle(receipt).visibility_timeout(0).build().ok()
            });
            let call = self.sqs.change_message_visibility_batch().queue_url(self.queue);
            if call.set_entries(Some(entries.collect())).send().await.is_err() {
                let seconds = self.hold.as_secs();
                eprintln!("note: some messages could not be let go; they can be seen again within {seconds} s");
                break;
            }
        }
        self.held.clear();
    }
}

/// A short stand-in for a text, to remember many by.
pub(crate) fn key(text: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
