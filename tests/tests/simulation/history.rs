//! What people asked for and were told: what the invariants are judged by.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::invariants::Invariant;

/// Something that must never be and was.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    pub(crate) of: Invariant,
    what: String,
}

impl Violation {
    pub(crate) fn new(of: Invariant, what: String) -> Self {
        Self { of, what }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.of, self.what)
    }
}

/// All that happened in a run, as those outside see it.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) uploads: Vec<Upload>,
    /// By `TraceID`.
    pub(crate) visits: BTreeMap<String, Visit>,
    /// What an authority acknowledged, by authority and id: the moment that it was told first.
    pub(crate) acknowledged: BTreeMap<(String, String), String>,
    /// What must never be and was.
    pub(crate) violations: Vec<Violation>,
}

/// What a file says of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// There is a plan.
    Start,
    /// It was uploaded in error.
    Withdrawal,
}

/// A file of an authority, known by its place in the list.
pub(crate) struct Upload {
    pub(crate) authority: &'static str,
    pub(crate) sequence: u64,
    pub(crate) phone: String,
    pub(crate) changes: BTreeMap<usize, Change>,
    /// When it was first sent, in milliseconds.
    pub(crate) sent: Option<u64>,
    /// When it was first acknowledged, and how.
    pub(crate) acknowledged: Option<(u64, String)>,
}

/// A look-up and all its retries.
pub(crate) struct Visit {
    pub(crate) child: usize,
    pub(crate) silent: bool,
    /// Authorities whose plans were shown.
    pub(crate) shown: BTreeSet<&'static str>,
}

/// What must be shown of a child, by the uploads that were acknowledged and those that might be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Shown,
    NotShown,
    Either,
}

impl History {
    pub(crate) fn violated(&mut self, of: Invariant, what: String) {
        self.violations.push(Violation::new(of, what));
    }

    /// What a look-up that began and ended at these moments must show of a child's plan from an authority.
    pub(crate) fn expected(&self, authority: &str, child: usize, began: u64, ended: u64) -> Expected {
        let of_child = || {
            let ours = self.uploads.iter().filter(|u| u.authority == authority);
            ours.filter_map(|upload| Some((upload, *upload.changes.get(&child)?)))
        };
        let acknowledged = of_child().filter(|(u, _)| u.acknowledged.as_ref().is_some_and(|(at, _)| *at < began));
        let newest = acknowledged.max_by_key(|(u, _)| u.sequence);
        let base = newest.as_ref().map_or(0, |(u, _)| u.sequence);
        let mut possible: BTreeSet<bool> = of_child()
            .filter(|(u, _)| u.sequence > base && u.sent.is_some_and(|at| at <= ended))
            .map(|(_, c)| c == Change::Start)
            .collect();
        possible.insert(newest.is_some_and(|(_, change)| change == Change::Start));
        match (possible.contains(&true), possible.contains(&false)) {
            (true, false) => Expected::Shown,
            (false, true) => Expected::NotShown,
            _ => Expected::Either,
        }
    }
}
