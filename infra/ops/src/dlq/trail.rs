//! What is told to the audit log: that a command begins, what became of each letter, and how it ended (R71).

use cpis::{
    domain::audit::{Actor, Entry, kind},
    ports::AuditLog,
};
use uuid::Uuid;

use super::letter::{Id, Letter};
use crate::{
    clock,
    failure::{Failure, Result},
};

/// What a command does to dead letters: names for people and for the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deed {
    /// Kind of its entries in the audit log.
    pub(super) kind: &'static str,
    /// What was done to a letter, also the outcome's name in the log.
    pub(super) done: &'static str,
    /// What would be.
    pub(super) would: &'static str,
    /// What the command is, in "… needs a reason".
    pub(super) name: &'static str,
}

/// Sends letters back for delivery.
pub(super) const REPLAY: Deed = Deed { kind: kind::REPLAY, done: "replayed", would: "would replay", name: "a replay" };
/// Deletes letters.
pub(super) const DISCARD: Deed =
    Deed { kind: kind::DEAD_LETTER_DISCARD, done: "discarded", would: "would discard", name: "discarding" };
/// Moves letters to a file.
pub(super) const ARCHIVE: Deed =
    Deed { kind: kind::DEAD_LETTER_ARCHIVE, done: "archived", would: "would archive", name: "archiving" };
/// Moves letters from a file.
pub(super) const RESTORE: Deed =
    Deed { kind: kind::DEAD_LETTER_RESTORE, done: "restored", would: "would restore", name: "restoring" };
/// Shows a letter.
pub(super) const REVEAL: Deed =
    Deed { kind: kind::DEAD_LETTER_REVEAL, done: "revealed", would: "would reveal", name: "--reveal" };

/// What became of a letter that was worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was taken care of, and may be deleted.
    Done,
    /// Nothing was done to it.
    Left,
    /// Nobody knows: no answer came. It stays a dead letter, and counts once if it is done again.
    Unknown,
}

/// The trail of one run of a command.
pub(super) struct Trail<L> {
    log: L,
    deed: Deed,
    run: Uuid,
    actor: Actor,
    why: String,
    filter: String,
    /// The archive that letters go to or come from.
    place: Option<String>,
    /// Entries so far, those that may not have arrived among them.
    told: u32,
}

impl<L: AuditLog> Trail<L> {
    /// A trail of a run that begins now. Nothing is told yet.
    pub(super) fn new(log: L, deed: Deed, actor: Actor, why: &str, filter: String) -> Self {
        Self { log, deed, run: Uuid::new_v4(), actor, why: why.to_owned(), filter, place: None, told: 0 }
    }

    /// The same trail, of a run of this name.
    #[cfg(feature = "testing")]
    pub(super) fn named(self, run: Uuid) -> Self {
        Self { run, ..self }
    }

    /// The same trail, of letters that go to an archive or come from it.
    pub(super) fn with_place(self, place: String) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Tells that the run begins. R71
    pub(super) async fn begin(&mut self) -> Result<()> {
        let entry = self.entry("begun").with("filter", &self.filter);
        let entry = self.place.iter().fold(entry, |entry, place| entry.with("place", place));
        self.tell(entry).await
    }

    /// Tells what became of letters and, in the same entry, to which of the next something is about to be done: so none is sent or
    /// copied of which the log does not know should the command die of it. R71
    pub(super) async fn letters<'l>(
        &mut self,
        done: impl IntoIterator<Item = (&'l Letter, Fate)>,
        meant: impl IntoIterator<Item = &'l Letter>,
    ) -> Result<()> {
        let [mut taken, mut left, mut unknown] = [const { Vec::new() }; 3];
        for (letter, fate) in done {
            let list = match fate {
                Fate::Done => &mut taken,
                Fate::Left => &mut left,
                Fate::Unknown => &mut unknown,
            };
            list.push(named(letter.id));
        }
        let meant: Vec<_> = meant.into_iter().map(|letter| named(letter.id)).collect();
        let step = if taken.is_empty() && left.is_empty() && unknown.is_empty() { "meant" } else { "letters" };
        let lists = [(self.deed.done, taken), ("left", left), ("unknown", unknown), ("meant", meant)];
        let lists: Vec<_> = lists.into_iter().filter(|(_, ids)| !ids.is_empty()).collect();
        if lists.is_empty() {
            return Ok(());
        }
        let entry = self.entry(step);
        self.tell(lists.into_iter().fold(entry, |entry, (name, ids)| entry.with(name, ids.join(",")))).await
    }

    /// Tells how the run ended: `done`, `stopped`, `interrupted` or `failed`.
    pub(super) async fn end(&mut self, how: &str, counts: &[(&str, u64)]) -> Result<()> {
        let entry = counts.iter().fold(self.entry("ended").with("how", how), |e, (name, n)| e.with(name, n));
        self.tell(entry).await
    }

    fn entry(&self, step: &str) -> Entry {
        let id = Uuid::new_v5(&self.run, &self.told.to_be_bytes());
        Entry::new(id, clock::now(), self.deed.kind, self.actor.clone(), "")
            .with("run", self.run)
            .with("step", step)
            .with("why", &self.why)
    }

    async fn tell(&mut self, entry: Entry) -> Result<()> {
        // Whatever becomes of it: it may be in the log though its answer was lost, and then another of its id would not be.
        self.told += 1;
        let told = self.log.append(&[entry]).await;
        told.map_err(|e| {
            Failure::error(format!("cannot write to the audit log, and nothing is deleted or shown untold: {e}"))
        })
    }
}

/// The id as it stands in the log: of a notification, a change of a number, or a message of the queue that is neither.
fn named(id: Id) -> String {
    match id {
        Id::Notification(id) => id.to_string(),
        Id::Change(id) => format!("change:{id}"),
        Id::Message(id) => format!("message:{id}"),
        Id::None => "unnamed".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use aws_sdk_sqs::types::Message;
    use cpis::ports::{PortError, PortResult};

    use super::*;

    /// A log that takes an id once, and whose second answer is lost.
    #[derive(Default)]
    struct Log(Mutex<(Vec<Entry>, usize)>);

    impl AuditLog for &Log {
        async fn append(&self, entries: &[Entry]) -> PortResult<()> {
            let mut log = self.0.lock().expect("sound");
            let (kept, calls) = &mut *log;
            for entry in entries {
                if !kept.iter().any(|known| known.id == entry.id) {
                    kept.push(entry.clone());
                }
            }
            *calls += 1;
            if *calls == 2 {
                return Err(PortError { step: "append", cause: "no answer".into(), retryable: true });
            }
            Ok(())
        }
    }

    #[tokio::test]
    async fn r71_an_entry_whose_answer_was_lost_hides_none_behind_it() {
        let log = Log::default();
        let mut trail = Trail::new(&log, REPLAY, Actor::operator("sam"), "a test", "all".into());
        let letter = Letter::read(&Message::builder().message_id(Uuid::nil().to_string()).build());
        assert!(trail.begin().await.is_ok());
        assert!(trail.letters([], [&letter]).await.is_err());
        assert!(trail.end("failed", &[]).await.is_ok());
        let steps: Vec<_> = log.0.lock().expect("sound").0.iter().map(|e| e.details["step"].clone()).collect();
        assert_eq!(steps, ["begun", "meant", "ended"]);
    }
}
