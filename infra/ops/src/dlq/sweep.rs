//! A way through a dead-letter queue: letters are held out of sight, and those that stay are let go at the end.

mod held;

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use aws_sdk_sqs::{
    Client,
    types::{MessageSystemAttributeName, QueueAttributeName},
};
use serde::{Serialize, Serializer};
use tokio::{
    select,
    sync::Semaphore,
    task::{JoinError, JoinSet},
    time::sleep,
};

use super::letter::Dead;
use crate::{
    failure::{Failure, Result, on_aws},
    interrupt::Interrupt,
    output,
};
use held::Held;

/// Messages in one call (SQS).
pub(super) const BATCH: usize = 10;
/// Calls of one kind under way at once.
pub(super) const CONCURRENCY: usize = 32;
/// The most letters that take each step together: enough that one entry of the audit log for all of them does not hold them up. A
/// multiple of this is what memory is needed for.
pub(super) const WINDOW: usize = 480;
/// The most that are asked for ahead: when a window has come, as many calls as can be are under way for the next.
pub(super) const AHEAD: usize = WINDOW + CONCURRENCY * BATCH;
/// After so many rounds without a message, the queue counts as seen through.
const ENOUGH: usize = 2;
/// For how long messages are held at least.
const LEAST_HOLD: Duration = Duration::from_secs(180);
/// For how long SQS lets a message be held at most.
const MOST_HOLD: Duration = Duration::from_secs(12 * 3600);
/// Messages a second that a look through a queue manages at least, so that none comes back before it has ended.
const LEAST_SPEED: u64 = 500;

/// For so long what is on its way is waited for after a signal. A long poll takes a second; what is never answered would take all of a
/// call's time-out.
const LAST_WAIT: Duration = Duration::from_secs(3);

/// With so many held it may be that SQS hands out no more.
const NEAR_MOST: u64 = 100_000;

/// How many messages are in a queue, as far as it knows itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Length {
    /// To be received.
    pub(super) visible: u64,
    /// Received by somebody, and neither deleted nor back yet; or not to be received yet.
    pub(super) hidden: u64,
}

impl Length {
    /// Asks a queue.
    pub(super) async fn of(sqs: &Client, queue: &str) -> Result<Self> {
        let call = sqs.get_queue_attributes().queue_url(queue).attribute_names(QueueAttributeName::All);
        let answer = call.send().await.map_err(on_aws("ask for the length of the queue"))?;
        let attributes = answer.attributes.unwrap_or_default();
        let count = |name| attributes.get(&name).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        let hidden = count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible);
        let delayed = count(QueueAttributeName::ApproximateNumberOfMessagesDelayed);
        Ok(Self { visible: count(QueueAttributeName::ApproximateNumberOfMessages), hidden: hidden + delayed })
    }

    /// All of them.
    pub(super) fn total(self) -> u64 {
        self.visible + self.hidden
    }
}

/// About how many messages could not be looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unseen {
    /// Held by somebody else: another command, one that was killed, or an answer that was lost.
    elsewhere: u64,
    /// Can be seen, and yet are not handed out: SQS lets about 120,000 of a queue be held at once, and says nothing where it is
    /// asked for more.
    beyond: u64,
    /// Whether some came back into sight in the middle, and may have been looked at twice.
    twice: bool,
}

impl Unseen {
    /// Of a queue that was so long, after so many were seen; how long it is now, where that is known, and how many of that are held here.
    fn of(began: Length, seen: u64, now: Option<Length>, held: u64) -> Self {
        let missed = began.total().saturating_sub(seen);
        // Where the queue does not say, all of them may be anywhere.
        let Some(now) = now else { return Self { elsewhere: missed, ..Self::default() } };
        let not_here = now.total().saturating_sub(held);
        // Of what came meanwhile nothing need be told, but where it may have been seen in the place of something older.
        let missed = if held >= NEAR_MOST { not_here } else { missed.min(not_here) };
        let beyond = missed.min(now.visible);
        Self { elsewhere: missed - beyond, beyond, twice: false }
    }

    /// All of them.
    pub(super) fn total(self) -> u64 {
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
        let twice = self.twice.then(|| {
            "this stood still for longer than messages are held, so that some may have been counted twice: run it again".into()
        });
        elsewhere.into_iter().chain(beyond).chain(twice).collect()
    }
}

impl Serialize for Unseen {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.total().serialize(serializer)
    }
}

/// What a look through a queue did not see.
#[derive(Debug)]
pub(super) struct Missed {
    /// About how many could not be looked at.
    pub(super) unseen: Unseen,
    /// Whether a signal ended it before it was through.
    pub(super) is_interrupted: bool,
}

/// A way through a queue. Should the command be killed half-way, what it held comes back by itself; at a signal it is let go.
pub(super) struct Sweep<'a> {
    sqs: &'a Client,
    queue: &'a str,
    interrupt: Interrupt,
    /// For how long letters are held.
    hold: Duration,
    held: Held<'a>,
    /// When it began.
    length: Length,
    seen: u64,
    /// Rounds in a row that brought nothing.
    idle: usize,
    /// Rounds in a row that brought only what came in since the beginning.
    trickle: usize,
    /// Calls whose letters nobody has taken yet. They go on while others are worked on.
    asked: JoinSet<Result<Vec<Dead>>>,
    /// So many of them at once.
    slots: Arc<Semaphore>,
}

impl<'a> Sweep<'a> {
    /// Makes ready. Letters are held for as long as the queue is likely to take, and then on.
    pub(super) async fn of(sqs: &'a Client, queue: &'a str, interrupt: &Interrupt) -> Result<Self> {
        let length = Length::of(sqs, queue).await?;
        let hold = (LEAST_HOLD + Duration::from_secs(length.visible / LEAST_SPEED)).min(MOST_HOLD);
        Ok(Self {
            sqs,
            queue,
            interrupt: interrupt.clone(),
            hold,
            held: Held::new(sqs, queue, hold),
            length,
            seen: 0,
            idle: 0,
            trickle: 0,
            asked: JoinSet::new(),
            slots: Arc::new(Semaphore::new(CONCURRENCY)),
        })
    }

    /// How long the queue was at the beginning.
    pub(super) fn length(&self) -> Length {
        self.length
    }

    /// About how many of those that could be seen then have not been looked at.
    pub(super) fn ahead(&self) -> u64 {
        self.length.visible.saturating_sub(self.seen)
    }

    /// Asks for the next letters, at most so many, as far as they are likely to be there; where none is likely, for some all the same.
    pub(super) fn ask(&mut self, most: usize) {
        let asked = self.asked.len() * BATCH;
        let unseen = usize::try_from(self.ahead()).unwrap_or(usize::MAX);
        let least = if self.asked.is_empty() { BATCH } else { 0 };
        let wanted = most.min(AHEAD).min(unseen.max(least)).saturating_sub(asked);
        for from in (0..wanted).step_by(BATCH) {
            let (sqs, queue, hold) = (self.sqs.clone(), self.queue.to_owned(), self.hold);
            let slots = Arc::clone(&self.slots);
            self.asked.spawn(async move {
                // At the end nothing more is received.
                let Ok(_slot) = slots.acquire().await else { return Ok(Vec::new()) };
                receive(&sqs, &queue, hold, BATCH.min(wanted - from)).await
            });
        }
    }

    /// The first of the letters that were asked for, about so many; none at the end of the queue, nothing where to ask again or a
    /// signal came first.
    ///
    /// # Errors
    /// A call failed; what others brought is held.
    pub(super) async fn received(&mut self, most: usize) -> Result<Option<Vec<Dead>>> {
        let mut round = Round::default();
        while round.letters.len() < most
            && let Some(answer) = self.answer().await
        {
            round.add(answer);
        }
        self.take(round)
    }

    /// What the next call brings that answers; nothing where none is under way, or a signal comes first.
    async fn answer(&mut self) -> Option<Answer> {
        select! {
            biased;
            answer = self.asked.join_next() => answer,
            () = self.interrupt.signalled() => None,
        }
    }

    /// The next letters, at most so many; none when there are no more of those that were there at the beginning, or at a
    /// signal.
    ///
    /// # Errors
    /// As [`Sweep::received`].
    pub(super) async fn next(&mut self, most: usize) -> Result<Vec<Dead>> {
        while self.trickle < ENOUGH && !self.interrupt.came() {
            self.ask(most);
            if let Some(letters) = self.received(most).await? {
                self.note_trickle(letters.len());
                return Ok(letters);
            }
        }
        Ok(Vec::new())
    }

    /// Notes how many letters a round brought: what comes in all the time would keep a look from ever ending.
    fn note_trickle(&mut self, letters: usize) {
        let is_trickle = self.seen >= self.length.visible && letters < BATCH;
        self.trickle = if is_trickle { self.trickle + 1 } else { 0 };
    }

    /// Goes through all letters, to a signal at the most, and leaves them where they are. `read` gets some at a time, and says whether to
    /// go on. Answers with what it did not see.
    ///
    /// # Errors
    /// As [`Sweep::received`], and what `read` says.
    pub(super) async fn through(
        mut self,
        mut read: impl FnMut(Vec<Dead>) -> Result<ControlFlow<()>>,
    ) -> Result<Missed> {
        let ended = loop {
            let letters = match self.look().await {
                Ok(letters) if letters.is_empty() => break Ok(()),
                Ok(letters) => letters,
                Err(failure) => break Err(failure),
            };
            let held = self.hold(&letters);
            self.renew().await;
            match held.and_then(|()| read(letters)) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => break Ok(()),
                Err(failure) => break Err(failure),
            }
        };
        let is_interrupted = self.interrupt.came() && self.idle < ENOUGH && self.trickle < ENOUGH;
        let unseen = self.finish().await;
        ended.map(|()| Missed { unseen, is_interrupted })
    }

    /// Those that come first of the next letters, while calls for others are under way; none when there are no more, or at a signal.
    async fn look(&mut self) -> Result<Vec<Dead>> {
        while self.trickle < ENOUGH && !self.interrupt.came() {
            self.ask(WINDOW);
            let mut round = Round::default();
            // That none came is known when all have answered: asked again before, one that hands out nothing would be asked for ever.
            while round.is_empty()
                && let Some(answer) = self.answer().await
            {
                round.add(answer);
            }
            while let Some(answer) = self.asked.try_join_next() {
                round.add(answer);
            }
            if let Some(letters) = self.take(round)? {
                self.note_trickle(letters.len());
                return Ok(letters);
            }
        }
        Ok(Vec::new())
    }

    fn take(&mut self, round: Round) -> Result<Option<Vec<Dead>>> {
        let Round { letters, failure } = round;
        self.seen += letters.len() as u64;
        if let Some(failure) = failure {
            self.held.add(&letters)?;
            return Err(failure);
        }
        if letters.is_empty() && self.interrupt.came() {
            // That none came says nothing of the queue.
            return Ok(None);
        }
        self.idle = if letters.is_empty() { self.idle + 1 } else { 0 };
        Ok((self.idle == 0 || self.idle >= ENOUGH).then_some(letters))
    }

    /// Keeps letters to be let go at the end.
    pub(super) fn hold<'l>(&mut self, letters: impl IntoIterator<Item = &'l Dead>) -> Result<()> {
        self.held.add(letters)
    }

    /// Holds on to what would soon come back into sight.
    pub(super) async fn renew(&mut self) {
        self.held.renew().await;
    }

    /// Lets go of what is held. Answers with what could not be looked at: what was there at the beginning and was not seen, as far
    /// as it is there still and not in these hands.
    pub(super) async fn finish(&mut self) -> Unseen {
        self.gather().await;
        let held = self.held.count();
        let is_through =
            (self.idle >= ENOUGH || self.trickle >= ENOUGH) && (self.seen < self.length.total() || held >= NEAR_MOST);
        let twice = self.held.lapsed();
        // Before anything is let go: then what can be seen is what SQS does not hand out.
        let now = if is_through { Length::of(self.sqs, self.queue).await.ok() } else { None };
        self.held.release().await;
        let unseen = if is_through { Unseen::of(self.length, self.seen, now, held) } else { Unseen::default() };
        Unseen { twice, ..unseen }
    }

    /// Holds what is on its way here: it would else be out of sight for as long as that is held.
    async fn gather(&mut self) {
        self.slots.close();
        let mut round = Round::default();
        let is_late = async {
            self.interrupt.signalled().await;
            sleep(LAST_WAIT).await;
        };
        let rest = async {
            while let Some(answer) = self.asked.join_next().await {
                round.add(answer);
            }
        };
        let is_whole = select! {
            biased;
            () = rest => true,
            () = is_late => false,
        };
        if !is_whole {
            let seconds = self.hold.as_secs();
            output::note(format_args!(
                "some messages may still be on their way here; they can be seen again within {seconds} s"
            ));
        }
        self.seen += round.letters.len() as u64;
        // What cannot be noted comes back by itself.
        let _ = self.held.add(&round.letters);
    }
}

/// What became of a call for letters.
type Answer = std::result::Result<Result<Vec<Dead>>, JoinError>;

/// What a round brought. An error does not lose what other calls brought at the same time.
#[derive(Default)]
struct Round {
    letters: Vec<Dead>,
    failure: Option<Failure>,
}

impl Round {
    fn is_empty(&self) -> bool {
        self.letters.is_empty() && self.failure.is_none()
    }

    fn add(&mut self, answer: Answer) {
        match answer {
            Ok(Ok(letters)) => self.letters.extend(letters),
            Ok(Err(failure)) => self.failure = Some(failure),
            Err(broken) => {
                self.failure = Some(Failure::error(format!("reading the dead-letter queue broke off: {broken}")))
            }
        }
    }
}

/// Receives letters, at most so many.
async fn receive(sqs: &Client, queue: &str, hold: Duration, most: usize) -> Result<Vec<Dead>> {
    let call = sqs.receive_message().queue_url(queue);
    let call = call.max_number_of_messages(i32::try_from(most).unwrap_or(1));
    let seconds = i32::try_from(hold.as_secs()).unwrap_or(i32::MAX);
    // A long poll asks every server of the queue; a short one may miss some.
    let call = call.visibility_timeout(seconds).wait_time_seconds(1);
    let call = call.message_attribute_names("All").message_system_attribute_names(MessageSystemAttributeName::All);
    let answer = call.send().await.map_err(on_aws("read the dead-letter queue"))?;
    Ok(answer.messages.unwrap_or_default().into_iter().map(Dead::read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_looked_at() {
        let length = |visible, hidden| Length { visible, hidden };
        let unseen = |elsewhere, beyond| Unseen { elsewhere, beyond, twice: false };
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
