//! What the audit log is told of a change of the directory: before it is made, and how it ended (R45). A change that was begun and
//! of which no end is told may or may not have been made; nothing is changed untold.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use cpis::{
    domain::{
        audit::{self, Actor, kind},
        entry::Entry,
    },
    ports::AuditLog,
};
use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    failure::{Failure, Result},
    output,
};

/// Changes of which each has an entry of its own; more are told together, by their codes and the digest of what is written.
const EACH: usize = 25;

/// An entry of the directory as it is held, if it is, and as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) held: Option<Entry>,
    pub(super) wanted: Entry,
}

/// The trail of one run of a command.
pub(super) struct Trail<L> {
    log: L,
    run: Uuid,
    actor: Actor,
    why: Option<String>,
    told: u32,
}

impl<L: AuditLog> Trail<L> {
    pub(super) fn new(log: L, actor: Actor, why: Option<&str>) -> Self {
        Self { log, run: Uuid::new_v4(), actor, why: why.map(str::to_owned), told: 0 }
    }

    /// Tells of these changes, makes them, and tells how that ended.
    pub(super) async fn of<T>(&mut self, changes: &[Change], made: impl Future<Output = Result<T>>) -> Result<T> {
        self.begin(changes).await?;
        let made = made.await;
        let end = self.entry("", "ended").with("how", if made.is_ok() { "done" } else { "failed" });
        // What was done stays done, so that only the failure of the change itself is its failure.
        let told = self.log.append(&[end]).await;
        if let (Ok(_), Err(error)) = (&made, told) {
            output::note(format_args!("it is done, but the audit log could not be told so: {error}"));
        }
        made
    }

    async fn begin(&mut self, changes: &[Change]) -> Result<()> {
        let entries = match changes.len() {
            0 => return Ok(()),
            1..=EACH => changes.iter().map(|change| self.each(change)).collect(),
            _ => vec![self.together(changes)],
        };
        let told = self.log.append(&entries).await;
        told.map_err(|e| Failure::error(format!("cannot write to the audit log, and nothing is changed untold: {e}")))
    }

    fn entry(&mut self, organisation: &str, step: &str) -> audit::Entry {
        self.told += 1;
        let id = Uuid::new_v5(&self.run, &self.told.to_be_bytes());
        let entry = audit::Entry::new(id, Timestamp::now(), kind::DIRECTORY_CHANGE, self.actor.clone(), organisation);
        let entry = entry.with("run", self.run).with("step", step);
        self.why.iter().fold(entry, |entry, why| entry.with("why", why))
    }

    fn each(&mut self, change: &Change) -> audit::Entry {
        let (kind, code) = change.wanted.key();
        // A pilot is of several organisations, and of none.
        let organisation = if kind == "pilot" { "" } else { code };
        let [before, after] = differences(change);
        let what = if change.held.is_some() { "changed" } else { "added" };
        let entry = self.entry(organisation, "begun").with("entry", format!("{kind} {code}")).with("change", what);
        entry.with("before", before).with("after", after)
    }

    fn together(&mut self, changes: &[Change]) -> audit::Entry {
        let codes: Vec<_> = changes.iter().map(|c| c.wanted.key().1).collect();
        let written: Vec<_> = changes.iter().map(|c| &c.wanted).collect();
        let written = serde_json::to_vec(&written).unwrap_or_default();
        let hash: String = digest(&SHA256, &written).as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let added = changes.iter().filter(|c| c.held.is_none()).count();
        self.entry("", "begun")
            .with("added", added)
            .with("changed", changes.len() - added)
            .with("entries", codes.join(","))
            .with("sha256", hash)
    }
}

/// The fields in which the entries differ, before and after, each as a JSON object; of a new entry all.
fn differences(change: &Change) -> [String; 2] {
    let fields = |entry: Option<&Entry>| match entry.map(serde_json::to_value) {
        Some(Ok(Value::Object(fields))) => fields,
        _ => Map::new(),
    };
    let (before, after) = (fields(change.held.as_ref()), fields(Some(&change.wanted)));
    let names: BTreeSet<_> =
        before.keys().chain(after.keys()).filter(|name| before.get(*name) != after.get(*name)).collect();
    let of = |fields: &Map<String, Value>| {
        let found: Map<_, _> =
            names.iter().filter_map(|name| Some(((*name).clone(), fields.get(*name)?.clone()))).collect();
        if found.is_empty() { String::new() } else { Value::Object(found).to_string() }
    };
    [of(&before), of(&after)]
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use cpis::{
        domain::authority::Status,
        ports::{PortError, PortResult},
    };

    use super::*;

    /// Keeps what it is told; refuses from the entry of this number on.
    #[derive(Default)]
    struct Log {
        entries: Mutex<Vec<audit::Entry>>,
        refuses: Option<usize>,
    }

    impl AuditLog for &Log {
        async fn append(&self, entries: &[audit::Entry]) -> PortResult<()> {
            let mut held = self.entries.lock().expect("not poisoned");
            if self.refuses.is_some_and(|limit| held.len() >= limit) {
                return Err(PortError { step: "audit.append", cause: "Timeout".into(), retryable: true });
            }
            held.extend_from_slice(entries);
            Ok(())
        }
    }

    impl Log {
        fn details(&self, name: &str) -> Vec<String> {
            let held = self.entries.lock().expect("not poisoned");
            held.iter().map(|entry| entry.details.get(name).cloned().unwrap_or_default()).collect()
        }
    }

    fn closing() -> Change {
        let held = crate::samples::samples().expect("valid").remove(0);
        Change { wanted: held.clone().with_status(Some(Status::Closed)), held: Some(held) }
    }

    async fn run(log: &Log, changes: &[Change], fails: bool) -> Result<()> {
        let mut trail = Trail::new(log, Actor::operator("alex"), Some("merged"));
        let made = async { if fails { Err(Failure::error("it failed")) } else { Ok(()) } };
        trail.of(changes, made).await
    }

    #[tokio::test]
    async fn r45_a_change_is_told_before_it_is_made_and_how_it_ended() {
        for (fails, how) in [(false, "done"), (true, "failed")] {
            let log = Log::default();
            assert_eq!(run(&log, &[closing()], fails).await.is_err(), fails);
            assert_eq!(log.details("step"), ["begun", "ended"]);
            assert_eq!(log.details("how"), ["", how]);
            assert_eq!(log.details("before")[0], r#"{"status":"open"}"#);
            assert_eq!(log.details("after")[0], r#"{"status":"closed"}"#);
            assert_eq!(log.details("why"), ["merged", "merged"]);
            let held = log.entries.lock().expect("not poisoned");
            assert!(held.iter().all(|e| e.kind == "directory-change" && e.actor == Actor::operator("alex")));
            assert_eq!(
                (held[0].organisation.as_str(), held[0].details["run"] == held[1].details["run"]),
                ("ZX001", true)
            );
            assert_ne!(held[0].id, held[1].id);
        }
    }

    #[tokio::test]
    async fn r45_nothing_is_changed_untold() {
        let log = Log { refuses: Some(0), ..Log::default() };
        let mut trail = Trail::new(&log, Actor::operator("alex"), None);
        let made = std::cell::Cell::new(false);
        let make = async {
            made.set(true);
            Ok(())
        };
        let ended = trail.of(&[closing()], make).await;
        assert!(ended.is_err() && !made.get());
        let log = Log { refuses: Some(1), ..Log::default() };
        assert!(run(&log, &[closing()], false).await.is_ok(), "what is done is done");
    }

    #[tokio::test]
    async fn r45_many_changes_are_told_together_by_code_and_digest() {
        let many: Vec<_> = (0..=EACH).map(|_| Change { held: None, ..closing() }).collect();
        let log = Log::default();
        run(&log, &many[..EACH], false).await.expect("done");
        assert_eq!(log.details("step").len(), EACH + 1);
        let log = Log::default();
        run(&log, &many, false).await.expect("done");
        assert_eq!((log.details("step").len(), log.details("added")[0].as_str()), (2, "26"));
        assert_eq!((log.details("entries")[0].split(',').count(), log.details("sha256")[0].len()), (26, 64));
    }
}
