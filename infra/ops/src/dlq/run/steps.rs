//! What is done to the letters that are meant: each step of some while others are at theirs.

use std::mem::take;

use cpis::ports::AuditLog;
#[cfg(feature = "testing")]
use cpis::simulation::{self, Bug};
use futures_util::future::join;

use super::{Run, Taken, Work};
use crate::{
    dlq::{
        deleting::Deleted,
        letter::Dead,
        sweep::CONCURRENCY,
        trail::{Fate, Trail},
    },
    failure::Result,
};

/// Letters at each step of their way. In one call of [`Run::advance`] all go one step further.
#[derive(Default)]
pub(super) struct Underway {
    /// The audit log was told that they are meant; nothing is done to them yet.
    meant: Vec<Dead>,
    /// Something was done to them, of which neither the audit log nor the queue knows yet.
    worked: Vec<(Dead, Fate)>,
    /// The audit log knows that they are done with: they can be deleted.
    told: Vec<Dead>,
    /// Whether the audit log was told of some once more. Once for all: each failure ends the run.
    is_retold: bool,
}

impl Underway {
    fn is_empty(&self) -> bool {
        self.meant.is_empty() && self.worked.is_empty() && self.told.is_empty()
    }

    /// Does nothing to those to which nothing is done yet, and answers with how many they are.
    pub(super) fn leave(&mut self) -> usize {
        let left = take(&mut self.meant);
        let count = left.len();
        self.worked.extend(left.into_iter().map(|dead| (dead, Fate::Left)));
        count
    }

    /// The audit log could not be told what became of some, and that others are meant. It is told once more, in the next step, of all of
    /// them, the others as left. Answers with those of whom that was in vain.
    fn untold(&mut self, mut worked: Vec<(Dead, Fate)>, next: Vec<Dead>) -> Vec<Dead> {
        worked.extend(next.into_iter().map(|dead| (dead, Fate::Left)));
        if self.is_retold {
            return worked.into_iter().map(|(dead, _)| dead).collect();
        }
        self.is_retold = true;
        worked.append(&mut self.worked);
        self.worked = worked;
        Vec::new()
    }
}

impl<W: Work, L: AuditLog> Run<'_, W, L> {
    /// Sets these letters on their way.
    pub(super) async fn act(&mut self, meant: Vec<Dead>) -> Result<()> {
        // Whatever fails below, what is not deleted comes back into sight at the end.
        if self.selection.dry_run {
            self.sweep.hold(&meant)?;
            return self.report.done(meant.iter().map(|dead| &dead.letter), &mut self.show);
        }
        if meant.is_empty() && self.underway.is_empty() {
            return Ok(());
        }
        #[cfg(feature = "testing")]
        if simulation::has(Bug::ReplayDeletesFirst) {
            self.deleting.at_once(&meant).await?;
        }
        self.advance(meant).await?;
        // At a given rate nothing else follows soon.
        if self.work.rate().is_some() { self.drain().await } else { Ok(()) }
    }

    /// Brings everything that is under way to its end. Where that fails for some it goes on for the others.
    pub(super) async fn drain(&mut self) -> Result<()> {
        let mut drained = Ok(());
        while !self.underway.is_empty() || !self.deleting.is_empty() {
            drained = drained.and(self.advance(Vec::new()).await);
        }
        drained
    }

    /// All at once: tells the audit log which letters are meant next and what became of the last ones, does what is to be done to those
    /// that it was told of before, and deletes those of which it knows that they are done with (R71, R72).
    async fn advance(&mut self, next: Vec<Dead>) -> Result<()> {
        let [meant, told] = [&mut self.underway.meant, &mut self.underway.told].map(take);
        let worked = take(&mut self.underway.worked);
        self.deleting.begin(told);
        let (said, taken) = join(tell(self.trail.as_mut(), &worked, &next), work(&mut self.work, &meant)).await;
        // They need not be waited for while there is something else to do.
        let is_last = meant.is_empty() && worked.is_empty() && next.is_empty();
        let deleted = self.deleting.settle(if is_last { 0 } else { CONCURRENCY }).await;
        let deleted = self.note_deleted(deleted);
        let failure = self.note_taken(meant, taken);
        self.note_told(worked, next, said).and(failure).and(deleted)
    }

    /// Notes what became of letters that were to be deleted.
    fn note_deleted(&mut self, deleted: Deleted) -> Result<()> {
        self.returned.deleted(deleted.gone);
        self.report.not_deleted += deleted.refused.len() + deleted.unknown.len();
        let held = self.sweep.hold(deleted.refused.iter().chain(&deleted.unknown));
        deleted.failure.map_or(held, Err)
    }

    /// Notes what became of letters that were worked on. An error: the work does not go on.
    fn note_taken(&mut self, meant: Vec<Dead>, taken: Taken) -> Result<()> {
        let done = taken.fates.iter().filter(|fate| **fate == Fate::Done).count();
        self.returned.sent(done);
        self.report.not_taken += taken.fates.len() - done;
        self.underway.worked = meant.into_iter().zip(taken.fates).collect();
        taken.failure.map_or(Ok(()), Err)
    }

    /// Notes that the audit log knows of letters that were worked on and of the next. Where it does not, they come back in the end.
    fn note_told(&mut self, worked: Vec<(Dead, Fate)>, next: Vec<Dead>, said: Result<()>) -> Result<()> {
        if said.is_err() {
            self.report.left += next.len();
            let in_vain = self.underway.untold(worked, next);
            return self.sweep.hold(&in_vain).and(said);
        }
        let (done, undone): (Vec<_>, Vec<_>) = worked.into_iter().partition(|(_, fate)| *fate == Fate::Done);
        let [done, undone] =
            [done, undone].map(|letters| letters.into_iter().map(|(dead, _)| dead).collect::<Vec<_>>());
        let held = self.sweep.hold(&undone);
        // What was done is said to be, whatever becomes of deleting it.
        let shown = self.report.done(done.iter().map(|dead| &dead.letter), &mut self.show);
        self.underway.meant = next;
        self.underway.told = if self.work.deletes() { Vec::new() } else { done };
        held.and(shown)
    }
}

/// Tells the audit log what became of letters, and which are meant next.
async fn tell<L: AuditLog>(trail: Option<&mut Trail<L>>, worked: &[(Dead, Fate)], next: &[Dead]) -> Result<()> {
    let Some(trail) = trail else { return Ok(()) };
    let worked = worked.iter().map(|(dead, fate)| (&dead.letter, *fate));
    trail.letters(worked, next.iter().map(|dead| &dead.letter)).await
}

/// Does to letters what is to be done.
async fn work(work: &mut impl Work, letters: &[Dead]) -> Taken {
    if letters.is_empty() {
        return Taken { fates: Vec::new(), failure: None };
    }
    let taken = work.take(letters).await;
    #[cfg(feature = "testing")]
    let taken = believed(taken);
    taken
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

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::Message;

    use super::*;

    #[test]
    fn r71_what_the_audit_log_could_not_be_told_it_is_told_once_more() {
        let dead = |id: &str| Dead::read(Message::builder().receipt_handle(id).build());
        let receipts = |letters: &[Dead]| {
            letters.iter().filter_map(|d| d.message.receipt_handle().map(str::to_owned)).collect::<Vec<_>>()
        };
        let mut underway = Underway { worked: vec![(dead("later"), Fate::Done)], ..Underway::default() };
        assert!(underway.untold(vec![(dead("sent"), Fate::Done)], vec![dead("next")]).is_empty());
        let (letters, fates): (Vec<_>, Vec<_>) = take(&mut underway.worked).into_iter().unzip();
        assert_eq!(
            (receipts(&letters), &fates[..]),
            (["sent", "next", "later"].map(str::to_owned).to_vec(), &[Fate::Done, Fate::Left, Fate::Done][..])
        );
        let in_vain = underway.untold(letters.into_iter().zip(fates).collect(), Vec::new());
        assert_eq!((receipts(&in_vain).len(), underway.is_empty()), (3, true), "it does not go on for ever");
    }
}
