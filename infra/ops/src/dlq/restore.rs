//! From an archive back into the dead-letter queue.

use std::{
    collections::HashSet,
    fs::File,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use aws_sdk_sqs::Client;
use cpis::ports::AuditLog;
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    archive::{Reader, dead},
    letter::{Dead, Letter},
    progress::Progress,
    replay::{build, fitting, size},
    report::{Ending, Report},
    run::Selection,
    sweep::{Missed, Sweep, WINDOW},
    trail::{Fate, Trail},
};
use crate::{
    failure::{Failure, Result, on_aws, on_file},
    interrupt::Interrupt,
    output,
};

/// A run that restores letters.
pub(super) struct Restore<'a, L> {
    pub(super) selection: &'a Selection,
    pub(super) sqs: &'a Client,
    pub(super) queue: &'a str,
    /// The archive, and what it is called.
    pub(super) from: (File, PathBuf),
    pub(super) trail: Option<Trail<L>>,
    pub(super) show: &'a mut dyn FnMut(&Letter) -> Result<()>,
}

impl<L: AuditLog> Restore<'_, L> {
    /// Reads the archive through before it sends anything; then sends what is meant and not in the queue yet (R72).
    pub(super) async fn through(mut self) -> Result<Report> {
        let interrupt = Interrupt::watch()?;
        let (file, path) = &self.from;
        let (file, path) = (file.try_clone().map_err(on_file(path))?, path.clone());
        let checked = Reader::of(&file, &path)?.check()?;
        if checked.is_torn {
            output::note(
                "the archive ends in the middle of a line: an archiving was killed, and left that letter in the queue",
            );
        }
        let mut report = Report::new(self.selection.dry_run, Timestamp::now());
        let Some(mut there) = self.there(&interrupt).await? else {
            // Nothing was begun, and so there is nothing to tell.
            report.ending = Ending::Interrupted;
            return Ok(report);
        };
        if let Some(trail) = &mut self.trail {
            trail.begin().await?;
        }
        let ended = self.letters((&file, &path, checked.number), &mut there, &interrupt, &mut report).await;
        report.ending = *ended.as_ref().unwrap_or(&Ending::Failed);
        let told = match &mut self.trail {
            Some(trail) => trail.end(report.ending.code(), &report.counts()).await,
            None => Ok(()),
        };
        match ended.and(told) {
            Ok(()) => Ok(report),
            Err(failure) if self.selection.dry_run => Err(failure),
            Err(failure) => Err(Failure::error(format!("{failure} ({})", report.so_far()))),
        }
    }

    /// What is in the queue already; nothing where a signal came before that is known.
    async fn there(&self, interrupt: &Interrupt) -> Result<Option<HashSet<Uuid>>> {
        let mut there = HashSet::new();
        let read = |letters: Vec<Dead>| {
            there.extend(letters.iter().map(Dead::key));
            Ok(ControlFlow::Continue(()))
        };
        let Missed { unseen, is_interrupted } = Sweep::of(self.sqs, self.queue, interrupt).await?.through(read).await?;
        match unseen.total() {
            _ if is_interrupted => Ok(None),
            0 => Ok(Some(there)),
            _ => Err(Failure::error(format!(
                "it cannot be told which letters of the archive are in the queue already: {}",
                unseen.notes().join("; ")
            ))),
        }
    }

    async fn letters(
        &mut self,
        (file, path, length): (&File, &Path, usize),
        there: &mut HashSet<Uuid>,
        interrupt: &Interrupt,
        report: &mut Report,
    ) -> Result<Ending> {
        let now = Timestamp::now();
        let mut reader = Reader::of(file, path)?;
        let mut room = self.selection.limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        let progress = Progress::of(length as u64);
        let mut window = Vec::new();
        loop {
            let next = if room == 0 { None } else { reader.next()? };
            let is_last = next.is_none();
            if let Some(archived) = next {
                let dead = dead(archived)?;
                let is_new = !there.contains(&dead.key());
                if is_new && self.selection.filter.admits(&dead.letter, now) {
                    there.insert(dead.key());
                    room -= 1;
                    window.push(dead);
                } else {
                    report.left += 1;
                    progress.add(1);
                }
            }
            if window.len() == WINDOW || is_last {
                self.send(&window, report).await?;
                progress.add(window.len());
                window.clear();
            }
            if is_last || interrupt.came() {
                progress.end();
                return Ok(if is_last { Ending::Done } else { Ending::Interrupted });
            }
        }
    }

    /// Sends letters with all that belongs to them, the reason of their failure too, and tells of them before and after (R71).
    async fn send(&mut self, letters: &[Dead], report: &mut Report) -> Result<()> {
        let dry_run = self.selection.dry_run;
        let mut fates = vec![if dry_run { Fate::Done } else { Fate::Left }; letters.len()];
        if let Some(trail) = &mut self.trail {
            trail.letters([], letters.iter().map(|dead| &dead.letter)).await?;
        }
        let sent = if dry_run { Ok(()) } else { self.send_all(letters, &mut fates).await };
        let done = letters.iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Done).map(|(dead, _)| &dead.letter);
        let done: Vec<_> = done.collect();
        report.not_taken += letters.len() - done.len();
        let shown = report.done(done, &mut self.show);
        let told = self.tell(letters, &fates).await;
        // What became of them is told once more where the log did not answer.
        let told = if told.is_err() { self.tell(letters, &fates).await } else { told };
        sent.and(told).and(shown)
    }

    /// Tells the audit log what became of letters.
    async fn tell(&mut self, letters: &[Dead], fates: &[Fate]) -> Result<()> {
        let Some(trail) = &mut self.trail else { return Ok(()) };
        trail.letters(letters.iter().zip(fates).map(|(dead, fate)| (&dead.letter, *fate)), []).await
    }

    async fn send_all(&self, letters: &[Dead], fates: &mut [Fate]) -> Result<()> {
        let mut from = 0;
        while from < letters.len() {
            let to = from + fitting(letters[from..].iter().map(|dead| size(&dead.message)));
            let entry = |place: usize| {
                let message = &letters[place].message;
                build(place, message, message.message_attributes().cloned().unwrap_or_default())
            };
            let entries = (from..to).map(entry).collect::<Result<_>>()?;
            let call = self.sqs.send_message_batch().queue_url(self.queue).set_entries(Some(entries));
            // Until there is an answer.
            fates[from..to].fill(Fate::Unknown);
            let answer = call.send().await.map_err(on_aws("send to the dead-letter queue"))?;
            let left = answer.failed.iter().map(|refused| (&refused.id, Fate::Left));
            let done = answer.successful.iter().map(|sent| (&sent.id, Fate::Done));
            for (id, fate) in left.chain(done) {
                if let Some(known) = id.parse().ok().and_then(|place: usize| fates.get_mut(place)) {
                    *known = fate;
                }
            }
            from = to;
        }
        Ok(())
    }
}
