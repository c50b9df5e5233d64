//! Looks through a queue without consuming it: messages are held out of sight for a while and then let go.

mod held;

use std::{borrow::Borrow, time::Duration};

use aws_sdk_sqs::{
    Client,
    types::{Message, MessageSystemAttributeName, QueueAttributeName},
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use serde::{Serialize, Serializer};

use crate::failure::{Failure, Result, on_aws};
use held::Held;

/// Messages in one call (SQS).
pub(crate) const BATCH: usize = 10;
/// Calls of one kind under way at once.
pub(crate) const CONCURRENCY: usize = 32;
/// The most messages that are received at once: what memory is needed for.
pub(crate) const WINDOW: usize = CONCURRENCY * BATCH;
/// After so many rounds without a message, the queue counts as seen through.
const ENOUGH: usize = 2;
/// For how long messages are held at least.
const LEAST_HOLD: Duration = Duration::from_secs(60);
/// For how long SQS lets a message be held at most.
const MOST_HOLD: Duration = Duration::from_secs(12 * 3600);
/// Messages a second that a look through a queue manages at least, so that none comes back before it has ended.
const LEAST_SPEED: u64 = 500;

/// With so many held it may be that SQS hands out no more.
const NEAR_MOST: u64 = 100_000;

/// How many messages are in a queue, as far as it knows itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Length {
    /// To be received.
    pub(crate) visible: u64,
    /// Received by somebody, and neither deleted nor back yet; or not to be received yet.
    pub(crate) hidden: u64,
}

impl Length {
    /// Asks a queue.
    pub(crate) async fn of(sqs: &Client, queue: &str) -> Result<Self> {
        let call = sqs.get_queue_attributes().queue_url(queue).attribute_names(QueueAttributeName::All);
        let answer = call.send().await.map_err(on_aws("ask for the length of the queue"))?;
        let attributes = answer.attributes.unwrap_or_default();
        let count = |name| attributes.get(&name).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        let hidden = count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible);
        let delayed = count(QueueAttributeName::ApproximateNumberOfMessagesDelayed);
        Ok(Self { visible: count(QueueAttributeName::ApproximateNumberOfMessages), hidden: hidden + delayed })
    }

    /// All of them.
    pub(crate) fn total(self) -> u64 {
        self.visible + self.hidden
    }
}

/// About how many messages could not be looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unseen {
    /// Held by somebody else: another command, one that was killed, or an answer that was lost.
    pub(crate) elsewhere: u64,
    /// Can be seen, and yet are not handed out: SQS lets about 120,000 of a queue be held at once, and says nothing where it is
    /// asked for more.
    pub(crate) beyond: u64,
}

impl Unseen {
    /// Of a queue that was so long, after so many were seen; how long it is now, where that is known, and how many of that are held here.
    fn of(began: Length, seen: u64, now: Option<Length>, held: u64) -> Self {
        let missed = began.total().saturating_sub(seen);
        // Where the queue does not say, all of them may be anywhere.
        let Some(now) = now else { return Self { elsewhere: missed, beyond: 0 } };
        let not_here = now.total().saturating_sub(held);
        // Of what came meanwhile nothing need be told, but where it may have been seen in the place of something older.
        let missed = if held >= NEAR_MOST { not_here } else { missed.min(not_here) };
        let beyond = missed.min(now.visible);
        Self { elsewhere: missed - beyond, beyond }
    }

    /// All of them.
    pub(crate) fn total(self) -> u64 {
        self.elsewhere + self.beyond
    }

    /// Them in words, and what to do.
    pub(crate) fn notes(self) -> Vec<String> {
        let elsewhere = (self.elsewhere > 0).then(|| {
            format!(
                "about {} more could not be looked at: another command holds them, or one that was killed did; \
                 they come back by themselves within minutes, so run this again",
                self.elsewhere
            )
        });
        let beyond = (self.beyond > 0).then(|| {
            format!(
                "about {} more were not looked at: what a filter passes over must be held, and SQS lets about 120,000 be held at \
                 once. `cpis dlq archive --all` takes any number, and `cpis dlq restore` has the same filters",
                self.beyond
            )
        });
        elsewhere.into_iter().chain(beyond).collect()
    }
}

impl Serialize for Unseen {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.total().serialize(serializer)
    }
}

/// A look through a queue. Should the command end half-way, what it held comes back by itself.
pub(crate) struct Sweep<'a> {
    receiver: Receiver<'a>,
    held: Held<'a>,
    /// When it began.
    length: Length,
    seen: u64,
    idle: usize,
    /// Calls whose messages nobody has asked for yet.
    ahead: FuturesUnordered<BoxFuture<'a, Result<Vec<Message>>>>,
}

/// Receives messages. Apart from the rest, so that it can do so while others are worked on.
#[derive(Clone, Copy)]
pub(crate) struct Receiver<'a> {
    sqs: &'a Client,
    queue: &'a str,
    hold: Duration,
}

/// What a round brought: messages, or what they were read as. An error does not lose what other calls brought at the same time.
pub(crate) struct Round<T> {
    messages: Vec<T>,
    failure: Option<Failure>,
}

impl<'a> Sweep<'a> {
    /// Makes ready. Messages are held for as long as the queue is likely to take, and then on.
    pub(crate) async fn of(sqs: &'a Client, queue: &'a str) -> Result<Self> {
        let length = Length::of(sqs, queue).await?;
        let hold = (LEAST_HOLD + Duration::from_secs(length.visible / LEAST_SPEED)).min(MOST_HOLD);
        let receiver = Receiver { sqs, queue, hold };
        Ok(Self {
            receiver,
            held: Held::new(sqs, queue, hold),
            length,
            seen: 0,
            idle: 0,
            ahead: FuturesUnordered::new(),
        })
    }

    /// How long the queue was at the beginning.
    pub(crate) fn length(&self) -> Length {
        self.length
    }

    /// What receives for this sweep.
    pub(crate) fn receiver(&self) -> Receiver<'a> {
        self.receiver
    }

    /// How many messages it is worth asking for, of those that there is room for.
    pub(crate) fn worth(&self, room: usize) -> usize {
        let expected = usize::try_from(self.length.visible.saturating_sub(self.seen)).unwrap_or(usize::MAX);
        room.min(WINDOW).min(expected.max(BATCH))
    }

    /// The next messages, at most so many, each read as it comes; none when there are no more.
    pub(crate) async fn next<T: Borrow<Message>>(
        &mut self,
        room: usize,
        read: impl Fn(Message) -> T,
    ) -> Result<Vec<T>> {
        loop {
            let round = self.receiver.receive(self.worth(room), &read).await;
            if let Some(messages) = self.take(round)? {
                return Ok(messages);
            }
        }
    }

    /// The next messages, while calls for those behind them are under way; none when there are no more. For who looks at all of them.
    pub(crate) async fn look(&mut self) -> Result<Vec<Message>> {
        loop {
            while self.is_worth_another() {
                self.ahead.push(self.receiver.once(BATCH).boxed());
            }
            let mut round = Round::new();
            if let Some(answer) = self.ahead.next().await {
                round.add(answer, |message| message);
            }
            while let Some(answer) = self.ahead.next().now_or_never().flatten() {
                round.add(answer, |message| message);
            }
            // A round without messages is one when all that were asked have answered.
            let is_whole = self.ahead.is_empty() || !round.messages.is_empty() || round.failure.is_some();
            if is_whole && let Some(messages) = self.take(round)? {
                return Ok(messages);
            }
        }
    }

    /// Whether messages are likely to be there that no call is under way for; where none is, one is asked all the same.
    fn is_worth_another(&self) -> bool {
        let asked = self.seen + (self.ahead.len() * BATCH) as u64;
        self.ahead.is_empty() || (self.ahead.len() < CONCURRENCY && asked < self.length.visible)
    }

    /// Notes what a round brought: messages, none at the end of the queue, nothing where to ask again.
    ///
    /// # Errors
    /// A call failed; what others brought is held.
    pub(crate) fn take<T: Borrow<Message>>(&mut self, round: Round<T>) -> Result<Option<Vec<T>>> {
        let Round { messages, failure } = round;
        self.seen += messages.len() as u64;
        if let Some(failure) = failure {
            self.held.add(messages.iter().map(Borrow::borrow))?;
            return Err(failure);
        }
        self.idle = if messages.is_empty() { self.idle + 1 } else { 0 };
        Ok((self.idle == 0 || self.idle >= ENOUGH).then_some(messages))
    }

    /// Keeps messages to be let go at the end.
    pub(crate) fn hold<'m>(&mut self, messages: impl IntoIterator<Item = &'m Message>) -> Result<()> {
        self.held.add(messages)
    }

    /// Holds on to what would soon come back into sight.
    pub(crate) async fn renew(&mut self) {
        self.held.renew().await;
    }

    /// Lets go of what is held. Answers with what could not be looked at: what was there at the beginning and was not seen, as far
    /// as it is there still and not in these hands.
    pub(crate) async fn finish(&mut self) -> Unseen {
        // What is on its way here would else be out of sight for as long as it is held.
        while let Some(answer) = self.ahead.next().await {
            let messages = answer.unwrap_or_default();
            self.seen += messages.len() as u64;
            // What cannot be noted comes back by itself.
            let _ = self.held.add(&messages);
        }
        let held = self.held.count();
        let is_through = self.idle >= ENOUGH && (self.seen < self.length.total() || held >= NEAR_MOST);
        // Before anything is let go: then what can be seen is what SQS does not hand out.
        let now = if is_through { Length::of(self.receiver.sqs, self.receiver.queue).await.ok() } else { None };
        self.held.release().await;
        if is_through { Unseen::of(self.length, self.seen, now, held) } else { Unseen::default() }
    }
}

impl<T> Round<T> {
    fn new() -> Self {
        Self { messages: Vec::new(), failure: None }
    }

    fn add(&mut self, answer: Result<Vec<Message>>, read: impl Fn(Message) -> T) {
        match answer {
            Ok(messages) => self.messages.extend(messages.into_iter().map(read)),
            Err(failure) => self.failure = Some(failure),
        }
    }
}

impl Receiver<'_> {
    /// One round, of as many calls at once as are needed for so many messages. Each is read while others are on their way.
    pub(crate) async fn receive<T>(&self, most: usize, read: impl Fn(Message) -> T) -> Round<T> {
        let calls = (0..most).step_by(BATCH).map(|from| self.once(BATCH.min(most - from)));
        let mut calls: FuturesUnordered<_> = calls.collect();
        let mut round = Round::new();
        while let Some(answer) = calls.next().await {
            round.add(answer, &read);
        }
        round
    }

    async fn once(self, most: usize) -> Result<Vec<Message>> {
        let call = self.sqs.receive_message().queue_url(self.queue);
        let call = call.max_number_of_messages(i32::try_from(most).unwrap_or(1));
        let seconds = i32::try_from(self.hold.as_secs()).unwrap_or(i32::MAX);
        // A long poll asks every server of the queue; a short one may miss some.
        let call = call.visibility_timeout(seconds).wait_time_seconds(1);
        let call = call.message_attribute_names("All").message_system_attribute_names(MessageSystemAttributeName::All);
        Ok(call.send().await.map_err(on_aws("read the dead-letter queue"))?.messages.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_looked_at() {
        let length = |visible, hidden| Length { visible, hidden };
        let unseen = |elsewhere, beyond| Unseen { elsewhere, beyond };
        for (began, seen, now, held, expected) in [
            (length(50, 0), 50, Some(length(0, 50)), 50, unseen(0, 0)),
            // Ten were held by somebody else, and are; or have come back and are gone since.
            (length(40, 10), 40, Some(length(0, 50)), 40, unseen(10, 0)),
            (length(40, 10), 40, Some(length(0, 40)), 40, unseen(0, 0)),
            // Thirty of those seen are deleted.
            (length(40, 10), 40, Some(length(0, 20)), 10, unseen(10, 0)),
            // What came meanwhile is no news …
            (length(50, 0), 50, Some(length(7, 50)), 50, unseen(0, 0)),
            (length(200_000, 0), 120_000, Some(length(80_000, 120_000)), 120_000, unseen(0, 80_000)),
            (length(200_000, 5), 120_000, Some(length(79_995, 120_005)), 120_000, unseen(5, 79_995)),
            // … but where it was seen instead of something older.
            (length(100_000, 0), 120_000, Some(length(20_000, 120_000)), 120_000, unseen(0, 20_000)),
            (length(50, 0), 30, None, 30, unseen(20, 0)),
        ] {
            assert_eq!(Unseen::of(began, seen, now, held), expected, "{began:?}, {seen}, {now:?}, {held}");
        }
    }
}
