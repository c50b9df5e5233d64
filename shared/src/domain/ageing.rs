//! How long notifications lie, and how fast they are taken (R90).

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    authority::AuthorityCode,
    notification::{Content, Delivered, State},
};

/// The report looks back so far.
pub const SPAN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// An authority's mailbox in figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ageing {
    /// Whose.
    pub authority: AuthorityCode,
    /// When it was looked at.
    pub as_of: Timestamp,
    /// What happened from here on is counted.
    pub since: Timestamp,
    /// How many notifications there are of that time.
    pub notifications: usize,
    /// How many of them nobody has acknowledged.
    pub unread: usize,
    /// How many are acknowledged, and no more.
    pub acknowledged: usize,
    /// How many are actioned.
    pub actioned: usize,
    /// How many were escalated (R85).
    pub escalated: usize,
    /// For how many seconds the oldest unread one has lain, however old it is; none where all are read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_unread_seconds: Option<i64>,
    /// From what happened to the mailbox. A digest is not measured: it is made where it is delivered, and would count as no time,
    /// though each access in it stands here with its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_deliver: Option<Quantiles>,
    /// From the mailbox to the acknowledgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_acknowledge: Option<Quantiles>,
}

/// Half, and nineteen of twenty, took no longer than this; in seconds, by the nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Half.
    pub p50: i64,
    /// Nineteen of twenty.
    pub p95: i64,
}

impl Quantiles {
    /// None of nothing.
    fn of(mut seconds: Vec<i64>) -> Option<Self> {
        seconds.sort_unstable();
        // The nearest rank: the smallest value that at least so many of a hundred do not exceed.
        let rank = |percent: usize| seconds.get((seconds.len() * percent).div_ceil(100).checked_sub(1)?).copied();
        Some(Self { p50: rank(50)?, p95: rank(95)? })
    }
}

impl Ageing {
    /// The report over an authority's notifications of the last [`SPAN`], and when the oldest unread one of all time
    /// reached the mailbox.
    #[must_use]
    pub fn of(authority: &AuthorityCode, now: Timestamp, recent: &[Delivered], oldest: Option<Timestamp>) -> Self {
        let count = |state| recent.iter().filter(|held| held.state == state).count();
        let seconds = |times: &mut dyn Iterator<Item = SignedDuration>| times.map(|t| t.as_secs()).collect();
        let sent = recent.iter().filter(|held| !matches!(held.notification.content, Content::Digest(_)));
        Self {
            authority: authority.clone(),
            as_of: now,
            since: now - SPAN,
            notifications: recent.len(),
            unread: count(State::Unread),
            acknowledged: count(State::Acknowledged),
            actioned: count(State::Actioned),
            escalated: recent.iter().filter(|held| held.escalated_at.is_some()).count(),
            oldest_unread_seconds: oldest.map(|at| now.duration_since(at).as_secs().max(0)),
            to_deliver: Quantiles::of(seconds(&mut sent.map(Delivered::time_to_deliver))),
            to_acknowledge: Quantiles::of(seconds(&mut recent.iter().filter_map(Delivered::time_to_acknowledge))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r90_quantiles_are_by_the_nearest_rank() {
        assert_eq!(Quantiles::of(vec![]), None);
        assert_eq!(Quantiles::of(vec![7]), Some(Quantiles { p50: 7, p95: 7 }));
        assert_eq!(Quantiles::of((1..=20).rev().collect()), Some(Quantiles { p50: 10, p95: 19 }));
        assert_eq!(Quantiles::of((1..=100).collect()), Some(Quantiles { p50: 50, p95: 95 }));
    }

    proptest! {
        #[test]
        fn r90_at_least_so_many_took_no_longer(seconds in proptest::collection::vec(0_i64..100_000, 1..200)) {
            let found = Quantiles::of(seconds.clone()).expect("some");
            for (percent, quantile) in [(50, found.p50), (95, found.p95)] {
                let within = seconds.iter().filter(|s| **s <= quantile).count();
                let below = seconds.iter().filter(|s| **s < quantile).count();
                prop_assert!(within * 100 >= percent * seconds.len() && below * 100 < percent * seconds.len());
            }
        }
    }
}
