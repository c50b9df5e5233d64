//! Looks through a queue without consuming it: messages are held out of sight for a while and then let go.

mod held;

use std::time::Duration;

use aws_sdk_sqs::{
    Client,
    types::{Message, MessageSystemAttributeName, QueueAttributeName},
};
use futures_util::future::join_all;

use crate::failure::{Failure, Result, on_aws};
use held::Held;

/// Messages in one call (SQS).
pub(crate) const BATCH: usize = 10;
/// Calls under way at once.
pub(crate) const CONCURRENCY: usize = 16;
/// The most messages in hand at once: what memory is needed for.
pub(crate) const WINDOW: usize = CONCURRENCY * BATCH;
/// After so many rounds without a message, the queue counts as seen through.
const ENOUGH: usize = 2;
/// For how long messages are held at least.
const LEAST_HOLD: Duration = Duration::from_secs(60);
/// For how long SQS lets a message be held at most.
const MOST_HOLD: Duration = Duration::from_secs(12 * 3600);
/// Messages a second that a look through a queue manages at least, so that none comes back before it has ended.
const LEAST_SPEED: u64 = 500;

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

/// A look through a queue. Should the command end half-way, what it held comes back by itself.
pub(crate) struct Sweep<'a> {
    receiver: Receiver<'a>,
    held: Held<'a>,
    /// When it began.
    length: Length,
    seen: u64,
    idle: usize,
}

/// Receives messages. Apart from the rest, so that it can do so while others are worked on.
#[derive(Clone, Copy)]
pub(crate) struct Receiver<'a> {
    sqs: &'a Client,
    queue: &'a str,
    hold: Duration,
}

/// What a round brought. An error does not lose what other calls brought at the same time.
#[derive(Default)]
pub(crate) struct Round {
    messages: Vec<Message>,
    failure: Option<Failure>,
}

impl<'a> Sweep<'a> {
    /// Makes ready. Messages are held for as long as the queue is likely to take, and then on.
    pub(crate) async fn of(sqs: &'a Client, queue: &'a str) -> Result<Self> {
        let length = Length::of(sqs, queue).await?;
        let hold = (LEAST_HOLD + Duration::from_secs(length.visible / LEAST_SPEED)).min(MOST_HOLD);
        let receiver = Receiver { sqs, queue, hold };
        Ok(Self { receiver, held: Held::new(sqs, queue, hold), length, seen: 0, idle: 0 })
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

    /// The next messages, at most so many; none when there are no more.
    pub(crate) async fn next(&mut self, room: usize) -> Result<Vec<Message>> {
        loop {
            let round = self.receiver.receive(self.worth(room)).await;
            if let Some(messages) = self.take(round)? {
                return Ok(messages);
            }
        }
    }

    /// Notes what a round brought: messages, none at the end of the queue, nothing where to ask again.
    ///
    /// # Errors
    /// A call failed; what others brought is held.
    pub(crate) fn take(&mut self, round: Round) -> Result<Option<Vec<Message>>> {
        let Round { messages, failure } = round;
        self.seen += messages.len() as u64;
        if let Some(failure) = failure {
            self.held.add(&messages)?;
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

    /// Lets go of what is held. Answers with how many messages could not be looked at, as far as the queue knows: somebody
    /// else holds them, or a command that was killed, or an answer that was lost.
    pub(crate) async fn finish(&mut self) -> u64 {
        self.held.release().await;
        let unseen = self.length.total().saturating_sub(self.seen);
        if self.idle < ENOUGH || unseen == 0 {
            return 0;
        }
        // Where the queue does not say, it is not known.
        let now = Length::of(self.receiver.sqs, self.receiver.queue).await.unwrap_or_default();
        unseen.min(now.hidden)
    }
}

impl Receiver<'_> {
    /// One round, of as many calls at once as are needed for so many messages.
    pub(crate) async fn receive(&self, most: usize) -> Round {
        let calls = (0..most).step_by(BATCH).map(|from| self.once(BATCH.min(most - from)));
        let mut round = Round::default();
        for answer in join_all(calls).await {
            match answer {
                Ok(messages) => round.messages.extend(messages),
                Err(failure) => round.failure = Some(failure),
            }
        }
        round
    }

    async fn once(&self, most: usize) -> Result<Vec<Message>> {
        let call = self.sqs.receive_message().queue_url(self.queue);
        let call = call.max_number_of_messages(i32::try_from(most).unwrap_or(1));
        let seconds = i32::try_from(self.hold.as_secs()).unwrap_or(i32::MAX);
        // A long poll asks every server of the queue; a short one may miss some.
        let call = call.visibility_timeout(seconds).wait_time_seconds(1);
        let call = call.message_attribute_names("All").message_system_attribute_names(MessageSystemAttributeName::All);
        Ok(call.send().await.map_err(on_aws("read the dead-letter queue"))?.messages.unwrap_or_default())
    }
}

/// For how long, in words, until what somebody else holds is back at the latest.
pub(crate) fn unseen_note(unseen: u64) -> Option<String> {
    (unseen > 0).then(|| {
        format!(
            "about {unseen} more could not be looked at: another command holds them, or one that was killed did; \
             they come back by themselves within minutes, so run this again"
        )
    })
}
