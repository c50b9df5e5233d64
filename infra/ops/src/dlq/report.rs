//! What a run did, for people and programs.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    letter::{Id, Letter},
    sweep::Unseen,
    tally::{Tally, table},
    trail::{Deed, RESTORE},
};
use crate::{
    failure::{Failure, Outcome, Result},
    output,
};

/// So many letters are named without being asked for.
const NAMED: usize = 100;

/// What is said of a look through the queue that a signal ended.
pub(super) const CUT_SHORT: &str =
    "interrupted before all letters were looked at; all of them are where they were: run this again";

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Ending {
    /// Everything that was meant was seen.
    Done,
    /// What was sent kept coming back.
    Stopped,
    /// By a signal.
    Interrupted,
    /// By an error.
    Failed,
}

impl Ending {
    /// The stable code.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
        }
    }
}

/// What a run did.
#[derive(Debug)]
pub(super) struct Report {
    dry_run: bool,
    pub(super) ending: Ending,
    /// Letters of which was done what was to be done; in a dry run, those of which it would be.
    pub(super) moved: Tally,
    /// The first of them.
    named: Vec<Id>,
    /// Letters that the filter or the limit left out, or that were meant next when the run ended before its time.
    pub(super) left: usize,
    /// Letters that failed again while the run lasted, or stood twice in the queue; they were left.
    pub(super) came_back: usize,
    /// Letters with which it did not work; they were left.
    pub(super) not_taken: usize,
    /// Letters that were taken care of and could not be deleted: another run does it again, to no effect.
    pub(super) not_deleted: usize,
    /// About how many were not looked at, since as many as were to be had been found.
    pub(super) ahead: u64,
    /// About how many could not be looked at.
    pub(super) unseen: Unseen,
}

impl Report {
    pub(super) fn new(dry_run: bool, now: Timestamp) -> Self {
        Self {
            dry_run,
            ending: Ending::Done,
            moved: Tally::new(now),
            named: Vec::new(),
            left: 0,
            came_back: 0,
            not_taken: 0,
            not_deleted: 0,
            ahead: 0,
            unseen: Unseen::default(),
        }
    }

    /// Counts letters of which was done what was to be done, all of them, and shows them as far as that works.
    pub(super) fn done<'l>(
        &mut self,
        letters: impl IntoIterator<Item = &'l Letter>,
        mut show: impl FnMut(&Letter) -> Result<()>,
    ) -> Result<()> {
        let mut shown = Ok(());
        for letter in letters {
            self.moved.add(letter);
            if self.named.len() < NAMED {
                self.named.push(letter.id);
            }
            shown = shown.and_then(|()| show(letter));
        }
        shown
    }

    /// The counts, for the audit log.
    pub(super) fn counts(&self) -> [(&'static str, u64); 5] {
        let counts =
            [self.moved.total(), self.left, self.came_back, self.not_taken, self.not_deleted].map(|n| n as u64);
        let names = ["moved", "left", "cameBack", "notTaken", "notDeleted"];
        std::array::from_fn(|n| (names[n], counts[n]))
    }

    /// What was done before an error.
    pub(super) fn so_far(&self) -> String {
        format!("{} done before that; run the command again", self.moved.total())
    }

    /// Tells it, and how that is.
    pub(super) fn print(&self, deed: Deed, json: bool, each: bool) -> Result<Outcome> {
        let printed = match json {
            true if each => output::line(&self.json(deed).to_string()).map_err(Failure::from),
            true => output::json(&self.json(deed)).map_err(Failure::from),
            false => self.print_text(deed, each),
        };
        let notes = self.notes(deed);
        notes.iter().for_each(output::note);
        if self.ending == Ending::Done && notes.is_empty() {
            return printed.map(|()| Outcome::Done);
        }
        // Whoever reads no further is told by the status at least.
        match printed {
            Err(failure) if !failure.is_reader_gone() => Err(failure),
            _ => Ok(Outcome::NeedsAttention),
        }
    }

    fn json(&self, deed: Deed) -> Value {
        let mut report = json!({
            "dryRun": self.dry_run,
            "ending": self.ending.code(),
            "ids": self.named,
            "left": self.left,
            "cameBack": self.came_back,
            "notTaken": self.not_taken,
            "notDeleted": self.not_deleted,
            "notLookedAt": self.ahead,
            "unseen": self.unseen,
        });
        report[deed.done] = json!(self.moved.found());
        report
    }

    fn print_text(&self, deed: Deed, each: bool) -> Result<()> {
        let total = self.moved.total();
        if total > 0 {
            output::line(&table(self.moved.found().groups(), Timestamp::now()))?;
        }
        if self.dry_run && !each {
            for id in &self.named {
                output::line(&id.to_string())?;
            }
            if total > self.named.len() {
                output::line(&format!("and {} more; --each names all", total - self.named.len()))?;
            }
        }
        let verb = if self.dry_run { deed.would } else { deed.done };
        let ahead = if self.ahead > 0 { format!(", about {} not looked at", self.ahead) } else { String::new() };
        Ok(output::line(&format!("{verb} {total}, left {}{ahead}", self.left))?)
    }

    /// What somebody should look at.
    fn notes(&self, deed: Deed) -> Vec<String> {
        let counted = [
            (
                self.came_back,
                "failed again while this ran, or stood twice in the queue, and stay dead letters: see `cpis dlq list`",
            ),
            (
                self.not_taken,
                if deed == RESTORE {
                    "were not taken, and are in the archive as before: run this again"
                } else {
                    "were not taken, or stand behind one of their authority that was not, and stay dead letters: run this again"
                },
            ),
            (self.not_deleted, "were taken care of but not deleted: run this again, each still counts once"),
        ];
        let counted = counted.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
        let ending = match self.ending {
            Ending::Stopped => Some("stopped: what is replayed keeps failing; mend the reason first (`cpis dlq list`)"),
            Ending::Interrupted => Some("interrupted; what is not done yet is where it was: run this again"),
            Ending::Done | Ending::Failed => None,
        };
        counted.chain(self.unseen.notes()).chain(ending.map(str::to_owned)).collect()
    }
}
