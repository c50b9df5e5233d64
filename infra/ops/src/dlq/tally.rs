//! Counts of dead letters.

use std::{collections::BTreeMap, ops::ControlFlow};

use aws_sdk_sqs::Client;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    filter::Filter,
    letter::{Dead, Letter},
    progress::Progress,
    report::{CUT_SHORT, Ending},
    sweep::{Missed, Sweep, Unseen},
};
use crate::{failure::Result, interrupt::Interrupt, output};

/// What is in a dead-letter queue.
#[derive(Debug, Default, Serialize)]
pub(crate) struct DeadLetters {
    total: usize,
    groups: Vec<Group>,
    ages: Ages,
    /// About how many could not be looked at.
    unseen: Unseen,
    /// How a look through the queue ended, where it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    ending: Option<Ending>,
}

/// Letters with a reason, an authority and a kind in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    pub(crate) reason: String,
    pub(crate) authority: String,
    pub(crate) kind: String,
    pub(crate) count: usize,
    /// When the first of them was given up.
    pub(crate) oldest: Option<Timestamp>,
    /// When the last of them was given up.
    pub(crate) newest: Option<Timestamp>,
}

/// How many letters were given up how long ago. After 14 days the queue deletes them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ages {
    under_an_hour: usize,
    under_a_day: usize,
    under_a_week: usize,
    older: usize,
}

impl DeadLetters {
    /// Reads the whole queue and leaves everything in it.
    pub(crate) async fn read(sqs: &Client, queue: &str) -> Result<Self> {
        Self::look(sqs, queue, &Filter::default(), |_| Ok(())).await
    }

    /// Reads the whole queue, shows each letter that is meant, and leaves everything in it.
    pub(super) async fn look(
        sqs: &Client,
        queue: &str,
        filter: &Filter,
        mut show: impl FnMut(&Letter) -> Result<()>,
    ) -> Result<Self> {
        let sweep = Sweep::of(sqs, queue, &Interrupt::watch()?).await?;
        let progress = Progress::of(sweep.length().visible);
        let now = Timestamp::now();
        let mut tally = Tally::new(now);
        let read = |letters: Vec<Dead>| {
            progress.add(letters.len());
            let mut meant = letters.iter().map(|dead| &dead.letter).filter(|letter| filter.admits(letter, now));
            let shown = meant.try_for_each(|letter| {
                tally.add(letter);
                show(letter)
            });
            shown.map(ControlFlow::Continue)
        };
        let missed = sweep.through(read).await;
        progress.end();
        let Missed { unseen, is_interrupted } = missed?;
        let ending = if is_interrupted { Ending::Interrupted } else { Ending::Done };
        Ok(Self { unseen, ending: Some(ending), ..tally.found() })
    }

    /// When the oldest was given up.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.groups.iter().filter_map(|g| g.oldest).min()
    }

    /// How many there are.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Them by reason, authority and kind.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Whether every letter was looked at.
    pub(crate) fn is_whole(&self) -> bool {
        !self.is_interrupted() && self.unseen.notes().is_empty()
    }

    fn is_interrupted(&self) -> bool {
        self.ending == Some(Ending::Interrupted)
    }

    /// Why not every letter was, and what to do.
    pub(crate) fn notes(&self) -> Vec<String> {
        let interrupted = self.is_interrupted().then(|| CUT_SHORT.to_owned());
        self.unseen.notes().into_iter().chain(interrupted).collect()
    }

    /// How old they are, in words.
    pub(super) fn ages(&self) -> String {
        let Ages { under_an_hour, under_a_day, under_a_week, older } = self.ages;
        format!(
            "{under_an_hour} under an hour old, {under_a_day} under a day, {under_a_week} under a week, {older} older"
        )
    }
}

/// Counts letters; it needs no more room the more there are.
#[derive(Debug)]
pub(super) struct Tally {
    now: Timestamp,
    groups: BTreeMap<(String, String, String), Group>,
    ages: Ages,
}

impl Tally {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { now, groups: BTreeMap::new(), ages: Ages::default() }
    }

    pub(super) fn add(&mut self, letter: &Letter) {
        let Letter { reason, authority, kind, since, .. } = letter.clone();
        let group =
            self.groups.entry((reason, authority, kind)).or_insert_with_key(|(reason, authority, kind)| Group {
                reason: reason.clone(),
                authority: authority.clone(),
                kind: kind.clone(),
                count: 0,
                oldest: since,
                newest: since,
            });
        group.count += 1;
        if let Some(since) = since {
            group.oldest = Some(group.oldest.map_or(since, |oldest| oldest.min(since)));
            group.newest = Some(group.newest.map_or(since, |newest| newest.max(since)));
            self.ages.add(since, self.now);
        }
    }

    /// How many they are.
    pub(super) fn total(&self) -> usize {
        self.groups.values().map(|group| group.count).sum()
    }

    /// Them by group.
    pub(super) fn found(&self) -> DeadLetters {
        let groups = self.groups.values().cloned().collect();
        DeadLetters { total: self.total(), groups, ages: self.ages, ..DeadLetters::default() }
    }
}

impl Ages {
    fn add(&mut self, since: Timestamp, now: Timestamp) {
        let slot = match now.duration_since(since).as_hours() {
            ..1 => &mut self.under_an_hour,
            1..24 => &mut self.under_a_day,
            24..168 => &mut self.under_a_week,
            _ => &mut self.older,
        };
        *slot += 1;
    }
}

/// Groups as a table.
pub(crate) fn table(groups: &[Group], now: Timestamp) -> String {
    let age = |since: Option<Timestamp>| since.map_or_else(|| "-".into(), |s| output::ago(s, now));
    let row = |g: &Group| {
        let [reason, authority, kind] = [&g.reason, &g.authority, &g.kind].map(Clone::clone);
        [g.count.to_string(), reason, authority, kind, age(g.oldest), age(g.newest)]
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    output::table(["COUNT", "REASON", "AUTHORITY", "KIND", "OLDEST", "NEWEST"], &rows)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::dlq::letter::Id;

    #[test]
    fn letters_are_counted_by_reason_authority_kind_and_age() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().expect("valid");
        let letter = |reason: &str, authority: &str, hours: i64| Letter {
            id: Id::None,
            reason: reason.into(),
            authority: authority.into(),
            kind: "access".into(),
            since: Some(now - SignedDuration::from_hours(hours)),
            at: None,
        };
        let mut tally = Tally::new(now);
        for letter in [
            letter("step-failed", "E06000001", 0),
            letter("step-failed", "E06000001", 30),
            letter("authority-closed", "E06000001", 23),
            letter("authority-closed", "E06000002", 24),
            letter("authority-closed", "E06000002", 168),
            Letter { kind: "push".into(), ..letter("authority-closed", "E06000002", 1) },
            Letter { since: None, kind: "unknown".into(), ..letter("redriven", "unknown", 0) },
        ] {
            tally.add(&letter);
        }
        let found = tally.found();
        assert_eq!((found.total, found.oldest()), (7, Some(now - SignedDuration::from_hours(168))));
        assert_eq!(found.ages, Ages { under_an_hour: 1, under_a_day: 2, under_a_week: 2, older: 1 });
        let said = table(&found.groups, now);
        let expected = "\
COUNT  REASON            AUTHORITY  KIND     OLDEST  NEWEST
    1  authority-closed  E06000001  access   23 h    23 h
    2  authority-closed  E06000002  access   7 days  24 h
    1  authority-closed  E06000002  push     60 min  60 min
    1  redriven          unknown    unknown  -       -
    2  step-failed       E06000001  access   30 h    0 s";
        assert_eq!(said, expected);
    }
}
