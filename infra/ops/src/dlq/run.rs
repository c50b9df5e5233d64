//! One run through the dead letters: which are meant, one window after another, and what becomes of them.

use std::{borrow::Borrow, time::Duration};

use aws_sdk_sqs::{
    Client,
    types::{DeleteMessageBatchRequestEntry, Message},
};
use clap::Args;
use cpis::ports::AuditLog;
#[cfg(feature = "testing")]
use cpis::simulation::{self, Bug};
use futures_util::{StreamExt, future::join, stream};
use jiff::Timestamp;
use tokio::time::Instant;

use super::{
    filter::Filter,
    letter::Letter,
    progress::Progress,
    replay::size,
    report::{Ending, Report},
    returned::Returned,
    tally::Tally,
    trail::{Fate, Trail},
};
use crate::{
    clock,
    failure::{Failure, Result, on_aws},
    interrupt::Interrupt,
    sweep::{BATCH, CONCURRENCY, Sweep, WINDOW},
};

/// How often to look whether letters come back.
const LOOK: Duration = Duration::from_secs(1);

/// The most letters that are put in order before any is sent.
const AT_ONCE: usize = 5 * WINDOW;
/// The most bytes of them.
const AT_ONCE_BYTES: usize = 16 << 20;
/// Within this time they are to be sent, at a given rate: half of that for which a message is out of sight at least.
const IN_TIME: Duration = Duration::from_secs(30);

/// Which letters, and how many.
#[derive(Debug, Clone, Args)]
pub(super) struct Selection {
    #[command(flatten)]
    pub(super) filter: Filter,
    /// So many at the most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: Option<u64>,
    /// Tell what would be done, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Name each letter on a line: id, reason, authority, kind, age
    #[arg(long)]
    pub(super) each: bool,
}

/// A message of the dead-letter queue and what can be told of it.
pub(super) struct Dead {
    pub(super) message: Message,
    pub(super) letter: Letter,
}

impl Borrow<Message> for Dead {
    fn borrow(&self) -> &Message {
        &self.message
    }
}

impl Dead {
    fn read(message: Message) -> Self {
        Self { letter: Letter::read(&message), message }
    }

    /// By what letters stand in order: when what they tell of happened or, where they do not say, when they were given up.
    pub(super) fn order(&self) -> Option<Timestamp> {
        self.letter.at.or(self.letter.since)
    }
}

/// What became of letters.
pub(super) struct Taken {
    /// Of each, in their order.
    pub(super) fates: Vec<Fate>,
    /// Why the work does not go on. What was done before stays done.
    pub(super) failure: Option<Failure>,
}

impl Taken {
    /// All of so many letters went, or nobody knows of any.
    pub(super) fn all_or_unknown(letters: usize, done: Result<()>) -> Self {
        let fate = if done.is_ok() { Fate::Done } else { Fate::Unknown };
        Self { fates: vec![fate; letters], failure: done.err() }
    }
}

/// What is done to letters before they are deleted.
pub(super) trait Work {
    /// Does it.
    async fn take(&mut self, letters: &[Dead]) -> Taken;

    /// Whether it does anything that outlasts a command that dies of it, and so is told to the audit log before.
    fn leaves_traces(&self) -> bool {
        true
    }

    /// Whether an authority's letters are to be taken in the order of what they tell.
    fn keeps_order(&self) -> bool {
        false
    }

    /// The most letters a second.
    fn rate(&self) -> Option<u32> {
        None
    }

    /// After how many that came back it stops; `None`: nothing comes back.
    fn patience(&self) -> Option<u64> {
        None
    }
}

/// Letters to which something was done, and of which neither the audit log nor the queue knows yet.
struct Behind {
    letters: Vec<Dead>,
    taken: Taken,
}

impl Behind {
    /// Each with what became of it.
    fn outcomes(&self) -> impl Iterator<Item = (&Dead, Fate)> {
        self.letters.iter().zip(self.taken.fates.iter().copied())
    }

    /// Those that can be deleted.
    fn done(&self) -> impl Iterator<Item = &Dead> {
        self.outcomes().filter(|(_, fate)| *fate == Fate::Done).map(|(dead, _)| dead)
    }

    /// The others.
    fn undone(&self) -> impl Iterator<Item = &Dead> {
        self.outcomes().filter(|(_, fate)| *fate != Fate::Done).map(|(dead, _)| dead)
    }
}

/// A run.
pub(super) struct Run<'a, W, L> {
    selection: &'a Selection,
    sqs: &'a Client,
    queue: &'a str,
    sweep: Sweep<'a>,
    work: W,
    /// Nothing is told of a dry run: it does nothing.
    trail: Option<Trail<L>>,
    interrupt: Interrupt,
    returned: Returned<'a>,
    show: &'a mut dyn FnMut(&Letter) -> Result<()>,
    now: Timestamp,
    /// Room left under the limit.
    room: usize,
    /// To which something was done last.
    behind: Option<Behind>,
    tally: Tally,
    report: Report,
}

impl<'a, W: Work, L: AuditLog> Run<'a, W, L> {
    /// Makes ready to go through a dead-letter queue.
    pub(super) async fn new(
        selection: &'a Selection,
        (sqs, queue): (&'a Client, &'a str),
        work: W,
        trail: Option<Trail<L>>,
        show: &'a mut dyn FnMut(&Letter) -> Result<()>,
    ) -> Result<Self> {
        let interrupt = Interrupt::watch()?;
        let sweep = Sweep::of(sqs, queue).await?;
        let now = clock::now();
        Ok(Self {
            returned: Returned::new(sqs, queue, sweep.length().total(), work.patience()),
            room: selection.limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX),
            report: Report::new(selection.dry_run),
            behind: None,
            tally: Tally::new(now),
            selection,
            sqs,
            queue,
            sweep,
            work,
            trail,
            interrupt,
            show,
            now,
        })
    }

    /// Goes through the queue to its end, the limit, a signal, or until what is done keeps failing.
    pub(super) async fn through(mut self) -> Result<Report> {
        if let Some(trail) = &mut self.trail {
            trail.begin().await?;
        }
        let progress = Progress::of(self.sweep.length().visible);
        let ended = self.windows(&progress).await;
        let settled = self.settle().await;
        let ended = ended.and_then(|ending| settled.map(|()| ending));
        progress.end();
        self.report.unseen = self.sweep.finish().await;
        self.report.moved = self.tally.finish();
        let ending = match &ended {
            Ok(ending) => *ending,
            Err(_) => Ending::Failed,
        };
        self.report.ending = ending;
        let told = match &mut self.trail {
            Some(trail) => trail.end(ending.code(), &self.report.counts()).await,
            None => Ok(()),
        };
        match ended.and(told) {
            Ok(()) => Ok(self.report),
            Err(failure) => Err(Failure::error(format!("{failure} ({})", self.report.so_far()))),
        }
    }

    async fn windows(&mut self, progress: &Progress) -> Result<Ending> {
        let mut pace = Instant::now();
        if self.work.keeps_order()
            && self.sweep.length().visible <= self.most_at_once() as u64
            && let Some(ending) = self.in_order(progress, &mut pace).await?
        {
            return Ok(ending);
        }
        let mut window = self.sweep.next(self.window(), Dead::read).await?;
        while !window.is_empty() {
            let received = window.len();
            let meant = self.judge(window)?;
            if self.interrupt.came() {
                self.sweep.hold(meant.iter().map(|dead| &dead.message))?;
                return Ok(Ending::Interrupted);
            }
            self.sweep.renew().await;
            // The next are fetched while these are worked on.
            let receiver = self.sweep.receiver();
            let room = if self.room == 0 { 0 } else { self.sweep.worth(self.window()) };
            let count = meant.len();
            let (done, round) = join(self.act(meant), receiver.receive(room, Dead::read)).await;
            let next = self.sweep.take(round);
            if let Err(failure) = done {
                let unworked = next.ok().flatten().unwrap_or_default();
                self.sweep.hold(unworked.iter().map(|dead| &dead.message))?;
                return Err(failure);
            }
            progress.add(received);
            window = match next? {
                _ if room == 0 => return Ok(Ending::Done),
                Some(messages) => messages,
                None => {
                    // What is not deleted is held, and SQS hands out no more than can be.
                    self.settle().await?;
                    self.sweep.next(self.window(), Dead::read).await?
                }
            };
            if self.returned.keeps_failing(&self.interrupt).await? {
                self.sweep.hold(window.iter().map(|dead| &dead.message))?;
                return Ok(Ending::Stopped);
            }
            pace = self.pace(pace, count).await;
        }
        Ok(Ending::Done)
    }

    /// How many letters are received before the first is sent, so that they go in order: as many as memory has room for, and
    /// are sent before those that wait for it come back into sight.
    fn most_at_once(&self) -> usize {
        let in_time = self.work.rate().map_or(u64::MAX, |rate| u64::from(rate) * IN_TIME.as_secs());
        usize::try_from(in_time).unwrap_or(usize::MAX).min(AT_ONCE)
    }

    /// Receives a short queue as a whole, and does what is to be done from the oldest letter to the newest (R72). Answers with the
    /// run's end, or with nothing where there may be more.
    async fn in_order(&mut self, progress: &Progress, pace: &mut Instant) -> Result<Option<Ending>> {
        let mut letters = Vec::new();
        let gathered = self.gather(&mut letters).await;
        letters.sort_by_key(Dead::order);
        let extra = letters.split_off(self.room.min(letters.len()));
        self.report.left += extra.len();
        self.sweep.hold(extra.iter().map(|dead| &dead.message))?;
        self.room -= letters.len();
        let mut letters = letters.into_iter();
        let ended = match gathered {
            Ok(()) => self.send_off(&mut letters, progress, pace).await,
            Err(failure) => Err(failure),
        };
        // What was not come to.
        let rest: Vec<_> = letters.map(|dead| dead.message).collect();
        self.sweep.hold(&rest)?;
        ended
    }

    /// Receives all there is, as far as there is room for it.
    async fn gather(&mut self, letters: &mut Vec<Dead>) -> Result<()> {
        let (mut bytes, room) = (0, std::mem::replace(&mut self.room, usize::MAX));
        let gathered = loop {
            match self.sweep.next(WINDOW, Dead::read).await {
                Ok(messages) if messages.is_empty() => break Ok(()),
                Ok(messages) => match self.judge(messages) {
                    Ok(meant) => letters.extend(meant.into_iter().inspect(|dead| bytes += size(&dead.message))),
                    Err(failure) => break Err(failure),
                },
                Err(failure) => break Err(failure),
            }
            if letters.len() >= self.most_at_once() || bytes > AT_ONCE_BYTES || self.interrupt.came() {
                break Ok(());
            }
        };
        self.room = room;
        gathered
    }

    async fn send_off(
        &mut self,
        letters: &mut impl Iterator<Item = Dead>,
        progress: &Progress,
        pace: &mut Instant,
    ) -> Result<Option<Ending>> {
        loop {
            if self.interrupt.came() {
                return Ok(Some(Ending::Interrupted));
            }
            let window: Vec<_> = letters.by_ref().take(self.step()).collect();
            let count = window.len();
            if count == 0 {
                self.settle().await?;
                return Ok((self.room == 0).then_some(Ending::Done));
            }
            self.sweep.renew().await;
            self.act(window).await?;
            progress.add(count);
            if self.returned.keeps_failing(&self.interrupt).await? {
                return Ok(Some(Ending::Stopped));
            }
            *pace = self.pace(*pace, count).await;
        }
    }

    /// How many letters to ask for.
    fn window(&self) -> usize {
        if self.selection.filter.is_empty() { self.step().min(self.room).max(1) } else { self.step() }
    }

    /// How many letters are worked on at once: at a given rate no more than go out in a second.
    fn step(&self) -> usize {
        let rate = self.work.rate().and_then(|rate| usize::try_from(rate).ok());
        rate.unwrap_or(WINDOW).clamp(1, WINDOW)
    }

    /// Waits until so many letters more may go.
    async fn pace(&self, since: Instant, letters: usize) -> Instant {
        let Some(rate) = self.work.rate() else { return since };
        let due = since.max(Instant::now() - LOOK) + Duration::from_secs_f64(letters as f64 / f64::from(rate));
        self.interrupt.wait_until(due).await;
        due
    }

    /// Picks those that are meant. The others are held, and counted.
    fn judge(&mut self, received: Vec<Dead>) -> Result<Vec<Dead>> {
        let (mut meant, mut others) = (Vec::new(), Vec::new());
        for dead in received {
            if self.returned.is_back(&dead.letter, &dead.message) {
                self.report.came_back += 1;
                others.push(dead);
            } else if self.room > 0 && self.selection.filter.admits(&dead.letter, self.now) {
                self.room -= 1;
                self.returned.mark(&dead.letter, &dead.message);
                meant.push(dead);
            } else {
                self.report.left += 1;
                others.push(dead);
            }
        }
        self.sweep.hold(others.iter().map(|dead| &dead.message))?;
        Ok(meant)
    }

    /// Does to these letters what is to be done, once the audit log was told that they are meant and what became of those before
    /// them; meanwhile deletes those before them (R71, R72).
    async fn act(&mut self, meant: Vec<Dead>) -> Result<()> {
        // Whatever fails below, what is not deleted comes back into sight at the end.
        if self.selection.dry_run {
            self.sweep.hold(meant.iter().map(|dead| &dead.message))?;
            return meant.iter().try_for_each(|dead| self.count(dead));
        }
        if meant.is_empty() {
            return Ok(());
        }
        #[cfg(feature = "testing")]
        if simulation::has(Bug::ReplayDeletesFirst) {
            delete(self.sqs, self.queue, meant.iter().map(|dead| &dead.message)).await?;
        }
        let before = self.behind.take();
        self.tell(before.as_ref(), &meant).await?;
        let deleting = delete(self.sqs, self.queue, before.iter().flat_map(Behind::done).map(|dead| &dead.message));
        let (deleted, taken) = join(deleting, self.work.take(&meant)).await;
        #[cfg(feature = "testing")]
        let taken = believed(taken);
        self.returned.sent(taken.fates.iter().filter(|fate| **fate == Fate::Done).count());
        let is_last = taken.failure.is_some() || self.work.rate().is_some();
        self.behind = Some(Behind { letters: meant, taken });
        before.map_or(Ok(()), |before| self.note(before, deleted))?;
        // Nothing else follows, or not at once.
        if is_last { self.settle().await } else { Ok(()) }
    }

    /// Tells the audit log what became of the last letters, and deletes those that are done with. An error: nothing of them is
    /// deleted, or the work does not go on.
    async fn settle(&mut self) -> Result<()> {
        let Some(mut behind) = self.behind.take() else { return Ok(()) };
        self.tell(Some(&behind), &[]).await?;
        let deleted = delete(self.sqs, self.queue, behind.done().map(|dead| &dead.message)).await;
        let failure = behind.taken.failure.take();
        self.note(behind, deleted)?;
        failure.map_or(Ok(()), Err)
    }

    /// Tells the audit log. Where that fails, all of these come back.
    async fn tell(&mut self, before: Option<&Behind>, meant: &[Dead]) -> Result<()> {
        let Some(trail) = &mut self.trail else { return Ok(()) };
        let done = before.into_iter().flat_map(Behind::outcomes).map(|(dead, fate)| (&dead.letter, fate));
        let next = if self.work.leaves_traces() { meant } else { &[] };
        let Err(failure) = trail.letters(done, next.iter().map(|dead| &dead.letter)).await else { return Ok(()) };
        let all = before.into_iter().flat_map(|before| &before.letters).chain(meant);
        self.sweep.hold(all.map(|dead| &dead.message)).and(Err(failure))
    }

    /// Notes what became of letters of which the audit log was told, and how many of those that were done with could not be deleted.
    fn note(&mut self, behind: Behind, deleted: Result<usize>) -> Result<()> {
        // What was sent is said to be, whatever became of deleting it.
        for dead in behind.done() {
            self.count(dead)?;
        }
        self.report.not_taken += behind.undone().count();
        let not_deleted = match deleted {
            Ok(not_deleted) => not_deleted,
            Err(failure) => return self.sweep.hold(behind.letters.iter().map(|dead| &dead.message)).and(Err(failure)),
        };
        self.returned.deleted(behind.done().count() - not_deleted);
        self.report.not_deleted += not_deleted;
        self.sweep.hold(behind.undone().map(|dead| &dead.message))
    }

    fn count(&mut self, dead: &Dead) -> Result<()> {
        self.tally.add(&dead.letter);
        self.report.name(dead.letter.id);
        if self.selection.each { (self.show)(&dead.letter) } else { Ok(()) }
    }
}

/// As [`Bug::ReplayBelievesWholeBatches`] has it.
#[cfg(feature = "testing")]
fn believed(taken: Taken) -> Taken {
    let fates = if simulation::has(Bug::ReplayBelievesWholeBatches) {
        vec![Fate::Done; taken.fates.len()]
    } else {
        taken.fates
    };
    Taken { fates, ..taken }
}

/// Deletes messages, and answers with how many could not be.
pub(super) async fn delete<'m>(
    sqs: &Client,
    queue: &str,
    messages: impl Iterator<Item = &'m Message>,
) -> Result<usize> {
    let entries = messages.zip(0..).filter_map(|(m, n)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
        entry.receipt_handle(m.receipt_handle()?).build().ok()
    });
    let entries: Vec<_> = entries.collect();
    let calls: Vec<_> = entries
        .chunks(BATCH)
        .map(|batch| sqs.delete_message_batch().queue_url(queue).set_entries(Some(batch.to_vec())).send())
        .collect();
    let mut answers = stream::iter(calls).buffer_unordered(CONCURRENCY);
    let mut failed = 0;
    let mut first = None;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(answer) => failed += answer.failed.len(),
            // The others go on: each that is deleted is one less to do again.
            Err(error) => first = first.or(Some(error)),
        }
    }
    match first {
        None => Ok(failed),
        Some(error) => Err(on_aws("delete from the dead-letter queue what is taken care of")(error)),
    }
}
