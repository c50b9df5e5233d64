//! One run through the dead letters: which are meant, one window after another.

mod pace;
mod steps;

use std::time::Duration;

use aws_sdk_sqs::Client;
use clap::Args;
use cpis::ports::AuditLog;
use jiff::Timestamp;

use super::{
    deleting::Deleting,
    filter::Filter,
    letter::{Dead, Letter},
    progress::Progress,
    replay::size,
    report::{Ending, Report},
    returned::Returned,
    sweep::{AHEAD, Sweep, WINDOW},
    trail::{Fate, Trail},
};
use crate::{
    clock,
    failure::{Failure, Result},
    interrupt::Interrupt,
};
use pace::Pace;
use steps::Underway;

/// The most letters that are put in order before any is sent.
const AT_ONCE: usize = 1_600;
/// The most bytes of them.
const AT_ONCE_BYTES: usize = 16 << 20;
/// Within this time they are to be sent, at a given rate: a sixth of that for which a message is out of sight at least.
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

    /// Whether letters that it is done with are gone from the queue.
    fn deletes(&self) -> bool {
        false
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

/// A run.
pub(super) struct Run<'a, W, L> {
    selection: &'a Selection,
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
    underway: Underway,
    deleting: Deleting,
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
        let sweep = Sweep::of(sqs, queue, &interrupt).await?;
        let now = clock::now();
        Ok(Self {
            returned: Returned::new(sqs, queue, sweep.length().total(), work.patience()),
            room: selection.limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX),
            report: Report::new(selection.dry_run, now),
            underway: Underway::default(),
            deleting: Deleting::new(sqs, queue),
            selection,
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
        if !matches!(ended, Ok(Ending::Done)) {
            self.report.left += self.underway.leave();
        }
        let drained = self.drain().await;
        let ended = ended.and_then(|ending| drained.map(|()| ending));
        progress.end();
        if self.room == 0 {
            self.report.ahead = self.sweep.ahead();
        }
        self.report.unseen = self.sweep.finish().await;
        self.report.came_back = usize::try_from(self.returned.back()).unwrap_or(usize::MAX);
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
            Err(failure) if self.selection.dry_run => Err(failure),
            Err(failure) => Err(Failure::error(format!("{failure} ({})", self.report.so_far()))),
        }
    }

    async fn windows(&mut self, progress: &Progress) -> Result<Ending> {
        let mut pace = Pace::of(self.work.rate());
        if self.work.keeps_order()
            && self.sweep.length().visible <= self.most_at_once() as u64
            && let Some(ending) = self.in_order(progress, &mut pace).await?
        {
            return Ok(ending);
        }
        self.sweep.ask(self.ahead());
        while !self.interrupt.came() {
            let Some(window) = self.sweep.received(self.window()).await? else {
                if self.interrupt.came() {
                    break;
                }
                // What is not deleted is held, and SQS hands out no more than can be.
                self.drain().await?;
                self.sweep.ask(self.ahead());
                continue;
            };
            let received = window.len();
            let meant = self.judge(window)?;
            if received == 0 {
                return Ok(Ending::Done);
            }
            if self.interrupt.came() {
                self.report.left += meant.len();
                self.sweep.hold(&meant)?;
                return Ok(Ending::Interrupted);
            }
            self.sweep.renew().await;
            if self.room > 0 {
                // They are received while these are worked on.
                self.sweep.ask(self.ahead());
            }
            let count = meant.len();
            self.act(meant).await?;
            progress.add(received);
            if self.room == 0 {
                return Ok(Ending::Done);
            }
            if self.returned.keeps_failing(&self.interrupt).await? {
                return Ok(Ending::Stopped);
            }
            pace.wait(count, &self.interrupt).await;
        }
        Ok(Ending::Interrupted)
    }

    /// How many letters are received before the first is sent, so that they go in order: as many as memory has room for, and
    /// are sent before those that wait for it come back into sight.
    fn most_at_once(&self) -> usize {
        let in_time = self.work.rate().map_or(u64::MAX, |rate| u64::from(rate) * IN_TIME.as_secs());
        usize::try_from(in_time).unwrap_or(usize::MAX).min(AT_ONCE)
    }

    /// Receives a short queue as a whole, and does what is to be done from the oldest letter to the newest (R72). Answers with the
    /// run's end, or with nothing where there may be more.
    async fn in_order(&mut self, progress: &Progress, pace: &mut Pace) -> Result<Option<Ending>> {
        let mut letters = Vec::new();
        let gathered = self.gather(&mut letters).await;
        letters.sort_by_key(Dead::order);
        let extra = letters.split_off(self.room.min(letters.len()));
        self.report.left += extra.len();
        self.sweep.hold(&extra)?;
        self.room -= letters.len();
        let mut letters = letters.into_iter();
        let ended = match gathered {
            Ok(()) => {
                // What it took to receive them is no time in which more might have gone.
                *pace = Pace::of(self.work.rate());
                self.send_off(&mut letters, progress, pace).await
            }
            Err(failure) => Err(failure),
        };
        // What was not come to.
        self.report.left += letters.len();
        self.sweep.hold(letters.as_slice())?;
        ended
    }

    /// Receives all there is, as far as there is room for it.
    async fn gather(&mut self, letters: &mut Vec<Dead>) -> Result<()> {
        let (mut bytes, room) = (0, std::mem::replace(&mut self.room, usize::MAX));
        let gathered = loop {
            match self.sweep.next(WINDOW).await {
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
        pace: &mut Pace,
    ) -> Result<Option<Ending>> {
        loop {
            if self.interrupt.came() {
                return Ok(Some(Ending::Interrupted));
            }
            let window: Vec<_> = letters.by_ref().take(self.step()).collect();
            let count = window.len();
            if count == 0 {
                self.drain().await?;
                return Ok((self.room == 0).then_some(Ending::Done));
            }
            self.sweep.renew().await;
            self.act(window).await?;
            progress.add(count);
            if self.returned.keeps_failing(&self.interrupt).await? {
                return Ok(Some(Ending::Stopped));
            }
            pace.wait(count, &self.interrupt).await;
        }
    }

    /// How many letters to go on with at once.
    fn window(&self) -> usize {
        self.within_limit(self.step())
    }

    /// How many to ask for, so that they are there in time: at a given rate none that would wait.
    fn ahead(&self) -> usize {
        self.within_limit(if self.work.rate().is_some() { self.step() } else { AHEAD })
    }

    /// So many, where all that are received are meant no more than the limit lets.
    fn within_limit(&self, letters: usize) -> usize {
        if self.selection.filter.is_empty() { letters.min(self.room).max(1) } else { letters }
    }

    /// How many letters are worked on at once: at a given rate no more than go out in a second.
    fn step(&self) -> usize {
        let rate = self.work.rate().and_then(|rate| usize::try_from(rate).ok());
        rate.unwrap_or(WINDOW).clamp(1, WINDOW)
    }

    /// Picks those that are meant. The others are held, and counted.
    fn judge(&mut self, received: Vec<Dead>) -> Result<Vec<Dead>> {
        let (mut meant, mut others) = (Vec::new(), Vec::new());
        for dead in received {
            if self.returned.is_back(&dead) {
                others.push(dead);
            } else if self.room > 0 && self.selection.filter.admits(&dead.letter, self.now) {
                self.room -= 1;
                self.returned.mark(&dead);
                meant.push(dead);
            } else {
                self.report.left += 1;
                others.push(dead);
            }
        }
        self.sweep.hold(&others)?;
        Ok(meant)
    }
}
