//! Somebody who keeps coming back to the same few children, though no care explains it (R59).
//!
//! What tells such a person from a ward round or a caseload is not how often a child is looked up, but what else there is.
//! A nurse on a ward looks at the same patients for days, yet so do the nurses of the other shifts. A health visitor sees the
//! same families for months, alone, yet at the hours of work and with other families before and after. Hence two patterns:
//!
//! - **odd hours**: look-ups of a handful of children that lie apart from all others, at a time of day at which this person
//!   does nothing else, more than once;
//! - **unaccompanied**: in unscheduled care, where no patient belongs to one member of staff, the same child on several days
//!   and nobody else of the organisation looks at it around any of them.
//!
//! What cannot be told: somebody who looks, in working hours, at children of their own caseload. Only people can judge that.

use std::collections::BTreeSet;

use super::{HOUR, Mark};

/// A pause as long as this ends a session: nobody's shift has such a one.
pub const SESSION_GAP: u32 = 4 * HOUR;
/// Visits of a child lie at least this far apart: what lies closer is one shift, or one stay.
const VISIT_GAP: u32 = 12 * HOUR;
/// How many children are a handful.
const HANDFUL: usize = 5;
/// What lies within this time of day before or after is at the same time of day.
const SAME_TIME: u32 = 90 * 60;
/// Of a person's other look-ups fewer than one in so many lie at an odd hour.
const ODD: usize = 50;
/// With fewer other look-ups than this, a person's hours are hardly known.
const KNOWN: usize = 25;
/// Without known hours, these are odd: 22:00 to 06:00.
const NIGHT: (u32, u32) = (22 * HOUR, 6 * HOUR);
/// Looked up within this time of each other, children are looked up together.
const TOGETHER: u32 = 30 * 60;
const DAY: u32 = 24 * HOUR;

/// A session, apart from all others, of a few children at an odd hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Apart {
    from: u32,
    to: u32,
    looks: usize,
    /// Whether the person's hours are known.
    known: bool,
}

/// Sessions apart at odd hours, each with the same child in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circle(Vec<Apart>);

impl Circle {
    /// First and last moment of each session, in seconds since 1970.
    pub fn sessions(&self) -> impl Iterator<Item = (u32, u32)> {
        self.0.iter().map(|apart| (apart.from, apart.to))
    }

    /// R59: in three sessions, or in two with six look-ups and more, or in one with twelve.
    #[must_use]
    pub fn is_finding(&self) -> bool {
        let known = self.0.iter().all(|apart| apart.known);
        let looks: usize = self.0.iter().map(|apart| apart.looks).sum();
        match self.0.len() {
            0 => false,
            1 => known && looks >= 12,
            2 => known && looks >= 6,
            _ => true,
        }
    }

    /// Only those of its sessions that hold.
    #[must_use]
    pub fn only(mut self, holds: impl Fn((u32, u32)) -> bool) -> Self {
        self.0.retain(|apart| holds((apart.from, apart.to)));
        self
    }
}

/// The circle around a child, in a person's sorted marks; `offset` is how many seconds the clock in London is ahead of UTC.
/// `None` where there is nothing to look at.
#[must_use]
pub fn circle(marks: &[Mark], child: u64, offset: i32) -> Option<Circle> {
    let sessions = marks.chunk_by(|a, b| b.at - a.at < SESSION_GAP);
    let own: Vec<_> = sessions.filter(|s| s.iter().any(|m| m.child == child)).collect();
    if own.len() < 2 && own.iter().all(|s| s.len() < 12) {
        return None;
    }
    let circle = Circle(own.into_iter().filter_map(|session| apart(session, marks, offset)).collect());
    circle.is_finding().then_some(circle)
}

/// What a session is, if it is one of a handful of children, all at odd hours.
fn apart(session: &[Mark], marks: &[Mark], offset: i32) -> Option<Apart> {
    let children: BTreeSet<_> = session.iter().map(|mark| mark.child).collect();
    if children.len() > HANDFUL {
        return None;
    }
    let (from, to) = (session.first()?.at, session.last()?.at);
    let others = marks.iter().filter(|m| !children.contains(&m.child));
    let others: Vec<_> = others.map(|m| time_of_day(m.at, offset)).collect();
    let apart = Apart { from, to, looks: session.len(), known: others.len() >= KNOWN };
    session.iter().all(|mark| is_odd(time_of_day(mark.at, offset), &others)).then_some(apart)
}

fn time_of_day(at: u32, offset: i32) -> u32 {
    at.saturating_add_signed(offset) % DAY
}

fn is_odd(time: u32, others: &[u32]) -> bool {
    if others.len() < KNOWN {
        return time >= NIGHT.0 || time < NIGHT.1;
    }
    let near = |other: &&u32| {
        let apart = time.abs_diff(**other);
        apart.min(DAY - apart) <= SAME_TIME
    };
    others.iter().filter(near).count() * ODD < others.len()
}

/// A child to whom somebody in unscheduled care came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Returns {
    /// First and last moment of each visit, in seconds since 1970.
    pub visits: Vec<(u32, u32)>,
    /// So many visits are a finding.
    pub needed: usize,
}

impl Returns {
    /// R59: whether these visits are enough to be one.
    #[must_use]
    pub fn is_finding(&self) -> bool {
        self.visits.len() >= self.needed
    }

    /// Only those of its visits that hold.
    #[must_use]
    pub fn only(mut self, holds: impl Fn((u32, u32)) -> bool) -> Self {
        self.visits.retain(|visit| holds(*visit));
        self
    }
}

/// The visits of a child in a person's sorted marks: four are a finding, or three where another child came each time too.
/// Nothing where patients come back to the same person (a midwife's, say, or in all scheduled care).
#[must_use]
pub fn returns(marks: &[Mark], child: u64) -> Option<Returns> {
    let own = marks.iter().filter(|m| m.child == child && m.traits.unscheduled && !m.traits.caseload);
    let own: Vec<_> = own.map(|m| m.at).collect();
    let visits = own.chunk_by(|a, b| b - a < VISIT_GAP);
    let visits: Vec<_> = visits.filter_map(|v| Some((*v.first()?, *v.last()?))).collect();
    if visits.len() < 3 {
        return None;
    }
    let beside: Vec<_> = visits.iter().map(|visit| beside(marks, child, *visit)).collect();
    let thrice = |other: &&u64| beside.iter().filter(|children| children.contains(*other)).count() >= 3;
    let related = beside.iter().flatten().any(|other| thrice(&other));
    let returns = Returns { visits, needed: if related { 3 } else { 4 } };
    returns.is_finding().then_some(returns)
}

/// Whom else the person looked up at a visit; nobody where that were more than a handful, as on a ward round.
fn beside(marks: &[Mark], child: u64, (from, to): (u32, u32)) -> BTreeSet<u64> {
    let together = marks.iter().filter(|m| m.at + TOGETHER >= from && m.at <= to + TOGETHER && m.child != child);
    let children: BTreeSet<_> = together.map(|m| m.child).collect();
    if children.len() < HANDFUL { children } else { BTreeSet::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::watch::Traits;

    fn mark(day: u32, hour: u32, minute: u32, child: u64) -> Mark {
        let traits = Traits { unscheduled: true, ..Traits::default() };
        Mark { at: (day + 20_000) * DAY + hour * HOUR + minute * 60, id: 0, child, traits }
    }

    /// Three weeks of a day's work with other children.
    fn work() -> Vec<Mark> {
        (0..20)
            .flat_map(|day| (9..17).map(move |hour| mark(day, hour, 0, u64::from(1_000 + day * 24 + hour))))
            .collect()
    }

    fn with(more: &[Mark]) -> Vec<Mark> {
        let mut marks = [&work(), more].concat();
        marks.sort_unstable();
        marks
    }

    #[test]
    fn r59_a_few_children_at_odd_hours_are_a_circle() {
        let night = |day| (1..=3).map(move |child| mark(day, 2, u32::try_from(child).unwrap_or(0), child));
        let nights: Vec<_> = [5, 8].into_iter().flat_map(night).collect();
        assert_eq!(circle(&with(&nights[..3]), 1, 0), None, "one night is none yet");
        let found = circle(&with(&nights), 1, 0).expect("found");
        assert_eq!(found.sessions().count(), 2);
        assert!(!found.only(|(from, _)| from > mark(6, 0, 0, 0).at).is_finding());
    }

    #[test]
    fn r59_two_nights_need_more_look_ups_than_three() {
        let one_child = |nights: &[u32]| nights.iter().map(|day| mark(*day, 2, 0, 1)).collect::<Vec<_>>();
        assert_eq!(circle(&with(&one_child(&[5, 8])), 1, 0), None);
        assert!(circle(&with(&one_child(&[5, 8, 9])), 1, 0).is_some());
        let long: Vec<_> = (0..12).map(|n| mark(5, 1 + n / 4, n % 4 * 15, u64::from(n % 2) + 1)).collect();
        assert!(circle(&with(&long), 1, 0).is_some(), "one night, but how");
        assert_eq!(circle(&with(&long[..11]), 1, 0), None);
    }

    #[test]
    fn r59_what_lies_within_the_days_work_or_is_usual_is_no_circle() {
        let at_work: Vec<_> = (3..8).map(|day| mark(day, 12, 30, 1)).collect();
        assert_eq!(circle(&with(&at_work), 1, 0), None, "others were seen before and after");
        let evenings: Vec<_> = (0..14).map(|day| mark(day, 22, 0, 2_000 + u64::from(day))).collect();
        let on_call = [evenings, (3..8).map(|day| mark(day, 22, 30, 1)).collect()].concat();
        assert_eq!(circle(&with(&on_call), 1, 0), None, "this person is on call at that hour");
        let many: Vec<_> = (3..8).flat_map(|day| (0..9).map(move |child| mark(day, 2, 0, child))).collect();
        assert_eq!(circle(&with(&many), 1, 0), None, "nine are no handful");
    }

    #[test]
    fn r59_without_known_hours_only_nights_and_only_three_count() {
        let night: Vec<_> = (3..6).map(|day| mark(day, 2, 0, 1)).collect();
        assert!(circle(&night, 1, 0).is_some());
        assert_eq!(circle(&night[..2], 1, 0), None);
        let noon: Vec<_> = (3..6).map(|day| mark(day, 12, 0, 1)).collect();
        assert_eq!(circle(&noon, 1, 0), None);
        assert!(circle(&noon, 1, 10 * 3_600).is_some(), "hours are those of the clock on the wall");
    }

    #[test]
    fn r59_the_same_child_on_four_days_or_with_another_on_three() {
        let days = |n: u32, child: u64| (0..n).map(|day| mark(day, 12, 30, child)).collect::<Vec<_>>();
        assert_eq!(returns(&with(&days(3, 1)), 1), None);
        assert_eq!(returns(&with(&days(4, 1)), 1).expect("found").visits.len(), 4);
        let two = [days(3, 1), days(3, 2)].concat();
        let found = returns(&with(&two), 1).expect("found");
        assert_eq!((found.visits.len(), found.needed), (3, 3));
        assert!(!found.only(|(from, _)| from > mark(1, 0, 0, 0).at).is_finding());
        let mut caseload = days(6, 1);
        caseload.iter_mut().for_each(|m| m.traits.caseload = true);
        assert_eq!(returns(&with(&caseload), 1), None, "patients of one's own come back");
        let stay: Vec<_> = (0..23).map(|n| mark(0, n, 0, 1)).collect();
        assert_eq!(returns(&stay, 1), None, "one stay is one visit");
    }
}
