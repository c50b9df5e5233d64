//! Counting children in an hour.

use std::collections::HashMap;

use super::Mark;

/// Seconds in an hour.
pub const HOUR: u32 = 3_600;
/// Seconds in a minute.
const MINUTE: u32 = 60;

/// The most that was counted within a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Peak {
    /// How many.
    pub count: usize,
    /// Places of the first and the last of the marks counted.
    pub first: usize,
    /// See `first`.
    pub last: usize,
}

/// The most different children within an hour, and within a minute, that ends at a mark not before `from`. The marks are
/// sorted.
#[must_use]
pub fn most_children(marks: &[Mark], from: u32) -> (Peak, Peak) {
    (slide(marks, from, HOUR, false), slide(marks, from, MINUTE, false))
}

/// As [`most_children`], within an hour, but only of look-ups in a row that found nothing.
#[must_use]
pub fn most_misses(marks: &[Mark], from: u32) -> Peak {
    slide(marks, from, HOUR, true)
}

fn slide(marks: &[Mark], from: u32, length: u32, misses: bool) -> Peak {
    let mut seen: HashMap<u64, usize> = HashMap::new();
    let (mut first, mut peak) = (0, Peak::default());
    for (last, mark) in marks.iter().enumerate() {
        if misses && mark.traits.hit {
            seen.clear();
            first = last + 1;
            continue;
        }
        while marks[first].at + length <= mark.at {
            let child = marks[first].child;
            if let Some(times) = seen.get_mut(&child) {
                *times -= 1;
                if *times == 0 {
                    seen.remove(&child);
                }
            }
            first += 1;
        }
        *seen.entry(mark.child).or_default() += 1;
        if mark.at >= from && seen.len() > peak.count {
            peak = Peak { count: seen.len(), first, last };
        }
    }
    peak
}

/// When the different children of these marks are again fewer than `hard`, should none be added: each counts for an hour
/// after it was last looked up. In seconds since 1970.
#[must_use]
pub fn frees_at(marks: &[Mark], hard: usize) -> u32 {
    let last: HashMap<u64, u32> = marks.iter().map(|mark| (mark.child, mark.at)).collect();
    let mut last: Vec<_> = last.into_values().collect();
    last.sort_unstable();
    let gone = (last.len() + 1).saturating_sub(hard).max(1);
    last.get(gone - 1).or(last.last()).map_or(0, |at| at + HOUR)
}

/// With how many days before the same hour is compared.
pub const SURGE_DAYS: u32 = 7;
/// On so many of them the organisation must have been seen at this hour: a new one is not judged yet.
const SURGE_KNOWN: usize = 3;
/// Fewer children than this, beyond what is usual, are no surge.
const SURGE_FLOOR: usize = 40;
/// So many times the most of the days before are one. At Christmas three times as many come.
const SURGE_TIMES: usize = 4;

/// Fewer children than this in an hour are no surge, so that the days before need not be read.
pub const SURGE_LEAST: usize = SURGE_FLOOR;

/// From how many children in an hour an organisation's look-ups are a surge. Of each of the [`SURGE_DAYS`] days before it takes
/// the marks of the same hour and those of the hour half a day off, which tell an organisation that is closed at this hour
/// from one that is new: of a new one too little is known, and the answer is `None`.
#[must_use]
pub fn surge_limit(days: &[[Vec<Mark>; 2]]) -> Option<usize> {
    let known = days.iter().filter(|hours| hours.iter().any(|marks| !marks.is_empty())).count();
    let most = days.iter().map(|[same, _]| slide(same, 0, HOUR, false).count).max()?;
    (known >= SURGE_KNOWN).then_some(SURGE_FLOOR + SURGE_TIMES * most)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::watch::Traits;

    fn mark(at: u32, child: u64, hit: bool) -> Mark {
        Mark { at, id: u64::from(at), child, traits: Traits { hit, ..Traits::default() } }
    }

    #[test]
    fn r55_children_count_once_and_for_an_hour() {
        let marks = [mark(0, 1, false), mark(10, 1, false), mark(20, 2, false), mark(3_600, 3, false)];
        assert_eq!(most_children(&marks, 0).0.count, 3, "the second look-up of the first child still counts");
        assert_eq!(most_children(&marks[..1], 1).0.count, 0, "only what ends at or after the moment");
        let later = [mark(0, 1, false), mark(3_600, 2, false)];
        assert_eq!(most_children(&later, 0).0.count, 1);
    }

    #[test]
    fn r55_a_minute_has_its_own_count() {
        let marks: Vec<_> = (0..40).map(|n| mark(n * 10, u64::from(n), false)).collect();
        let (hour, minute) = most_children(&marks, 0);
        assert_eq!((hour.count, minute.count), (40, 6));
    }

    #[test]
    fn r55_a_plan_found_ends_a_run_of_misses() {
        let mut marks: Vec<_> = (0..30).map(|n| mark(n, u64::from(n), n == 10)).collect();
        assert_eq!(most_misses(&marks, 0).count, 19);
        marks.iter_mut().for_each(|m| m.child = 7);
        assert_eq!(most_misses(&marks, 0).count, 1, "the same child again is no further miss");
    }

    #[test]
    fn r55_a_stop_ends_when_enough_children_are_an_hour_old() {
        let marks: Vec<_> = (0..10).map(|n| mark(n * 60, u64::from(n), false)).collect();
        assert_eq!(frees_at(&marks, 10), HOUR, "one must go");
        assert_eq!(frees_at(&marks, 8), HOUR + 120, "three must go");
        let again: Vec<_> = marks.iter().copied().chain([mark(999, 0, false)]).collect();
        assert_eq!(frees_at(&again, 10), HOUR + 60, "the first was looked up again, so the second goes first");
    }

    #[test]
    fn r55_a_surge_is_measured_by_the_days_before() {
        let day = |n: u32| (0..n).map(|c| mark(c, u64::from(c), false)).collect::<Vec<_>>();
        let limit =
            |days: &[(u32, u32)]| surge_limit(&days.iter().map(|(a, b)| [day(*a), day(*b)]).collect::<Vec<_>>());
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&[(3, 3), (0, 0), (5, 5), (0, 0)]), None, "seen on two days only");
        assert_eq!(limit(&[(3, 0), (9, 0), (5, 0), (0, 0)]), Some(76));
        assert_eq!(limit(&[(0, 1), (0, 2), (0, 1)]), Some(SURGE_LEAST), "closed at this hour");
    }

    /// What the counts mean, said plainly and slowly.
    fn plainly(marks: &[Mark], from: u32, length: u32) -> usize {
        let within = |end: &Mark| {
            let inside = marks.iter().filter(|m| m.at <= end.at && m.at + length > end.at);
            inside.map(|m| m.child).collect::<BTreeSet<_>>().len()
        };
        marks.iter().filter(|end| end.at >= from).map(within).max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn r55_the_most_is_the_most(
            mut looks in proptest::collection::vec((0_u32..9_000, 0_u64..30), 0..60), from in 0_u32..9_000, hard in 1_usize..9,
        ) {
            looks.sort_unstable();
            let marks: Vec<_> = looks.iter().map(|(at, child)| mark(*at, *child, false)).collect();
            let (hour, minute) = most_children(&marks, from);
            prop_assert_eq!((hour.count, minute.count), (plainly(&marks, from, HOUR), plainly(&marks, from, MINUTE)));
            prop_assert_eq!(most_misses(&marks, from), hour, "without a plan found all are misses");
            if hour.count >= hard {
                let counted = &marks[hour.first..=hour.last];
                let free = frees_at(counted, hard);
                let left = |now: u32| {
                    counted.iter().filter(|m| m.at + HOUR > now).map(|m| m.child).collect::<BTreeSet<_>>().len()
                };
                prop_assert!(left(free) < hard && left(free - 1) >= hard);
            }
        }
    }
}
