//! One run through the dead letters: which are meant, one window after another, and what becomes of them.

use std::time::Duration;

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
    report::{Ending, Report},
    returned::Returned,
    tally::Tally,
    trail::Trail,
};
use crate::{
    clock,
    failure::{Failure, Result, on_aws},
    interrupt::Interrupt,
    sweep::{BATCH, CONCURRENCY, Sweep, WINDOW},
};

/// How often to look whether letters come back.
const LOOK: Duration = Duration::from_secs(1);

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

/// What is done to letters before they are deleted.
pub(super) trait Work {
    /// Does it; answers for each letter whether it may be deleted now. Where it fails, none may.
    async fn take(&mut self, letters: &[Dead]) -> Result<Vec<bool>>;

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
        let mut window = self.sweep.next(self.window()).await?;
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
            let (done, round) = join(self.act(meant), receiver.receive(room)).await;
            let next = self.sweep.take(round);
            done?;
            progress.add(received);
            window = match next? {
                _ if room == 0 => return Ok(Ending::Done),
                Some(messages) => messages,
                None => self.sweep.next(self.window()).await?,
            };
            if self.returned.keeps_failing(&self.interrupt).await? {
                self.sweep.hold(&window)?;
                return Ok(Ending::Stopped);
            }
            pace = self.pace(pace, count).await;
        }
        Ok(Ending::Done)
    }

    /// How many letters to ask for: at a given rate no more than go out in a second.
    fn window(&self) -> usize {
        let rate = self.work.rate().and_then(|rate| usize::try_from(rate).ok()).unwrap_or(WINDOW);
        if self.selection.filter.is_empty() { rate.min(self.room) } else { rate }.clamp(1, WINDOW)
    }

    /// Waits until so many letters more may go.
    async fn pace(&self, since: Instant, letters: usize) -> Instant {
        let Some(rate) = self.work.rate() else { return since };
        let due = since.max(Instant::now() - LOOK) + Duration::from_secs_f64(letters as f64 / f64::from(rate));
        self.interrupt.wait_until(due).await;
        due
    }

    /// Picks those that are meant. The others are held, and counted.
    fn judge(&mut self, messages: Vec<Message>) -> Result<Vec<Dead>> {
        let (mut meant, mut others) = (Vec::new(), Vec::new());
        for message in messages {
            let letter = Letter::read(&message);
            if self.returned.is_back(&letter, &message) {
                self.report.came_back += 1;
                others.push(message);
            } else if self.room > 0 && self.selection.filter.admits(&letter, self.now) {
                self.room -= 1;
                self.returned.mark(&letter, &message);
                meant.push(Dead { message, letter });
            } else {
                self.report.left += 1;
                others.push(message);
            }
        }
        self.sweep.hold(&others)?;
        Ok(meant)
    }

    /// Does to these letters what is to be done, tells the audit log, and only then deletes them (R71, R72).
    async fn act(&mut self, meant: Vec<Dead>) -> Result<()> {
        // Whatever fails below, what is not deleted comes back into sight at the end.
        if self.selection.dry_run {
            self.sweep.hold(meant.iter().map(|dead| &dead.message))?;
            return meant.iter().try_for_each(|dead| self.count(dead));
        }
        let done = self.done(&meant).await;
        if done.is_err() {
            self.sweep.hold(meant.iter().map(|dead| &dead.message))?;
        }
        done
    }

    async fn done(&mut self, meant: &[Dead]) -> Result<()> {
        if meant.is_empty() {
            return Ok(());
        }
        #[cfg(feature = "testing")]
        if simulation::has(Bug::ReplayDeletesFirst) {
            delete(self.sqs, self.queue, meant.iter().map(|dead| &dead.message)).await?;
        }
        let taken = self.work.take(meant).await?;
        #[cfg(feature = "testing")]
        let taken = if simulation::has(Bug::ReplayBelievesWholeBatches) { vec![true; meant.len()] } else { taken };
        let outcomes = || meant.iter().zip(taken.iter().copied());
        if let Some(trail) = &mut self.trail {
            trail.letters(outcomes().map(|(dead, taken)| (&dead.letter, taken))).await?;
        }
        let of = |wanted: bool| outcomes().filter(move |(_, taken)| *taken == wanted).map(|(dead, _)| dead);
        let not_deleted = delete(self.sqs, self.queue, of(true).map(|dead| &dead.message)).await?;
        for dead in of(true) {
            self.count(dead)?;
        }
        self.returned.sent(of(true).count());
        self.returned.deleted(of(true).count() - not_deleted);
        self.report.not_deleted += not_deleted;
        self.report.not_taken += of(false).count();
        self.sweep.hold(of(false).map(|dead| &dead.message))
    }

    fn count(&mut self, dead: &Dead) -> Result<()> {
        self.tally.add(&dead.letter);
        self.report.name(dead.letter.id);
        if self.selection.each { (self.show)(&dead.letter) } else { Ok(()) }
    }
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
