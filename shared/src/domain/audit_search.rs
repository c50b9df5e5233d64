//! A search of who looked at whom: what it asks for, who may ask, and what they may see of it (R51).

use jiff::Timestamp;

use super::{access::Access, nhs_number::ChildKey, time::sortable};

/// RBAC activity: privacy officer (R51).
pub const PRIVACY_OFFICER: &str = "R0001";
/// RBAC activity: Caldicott guardian (R51).
pub const CALDICOTT_GUARDIAN: &str = "R5105";

/// Whose accesses are searched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Those to a child.
    Child(ChildKey),
    /// Those by a person (SDS user id) or a device (ASID).
    Person(String),
    /// Those on behalf of an organisation (ODS code).
    Organisation(String),
}

impl Subject {
    /// What it is, such as `child`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Child(_) => "child",
            Self::Person(_) => "person",
            Self::Organisation(_) => "organisation",
        }
    }
}

/// Of which time: from a moment to before another, to the millisecond; any span, however long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    first: Timestamp,
    last: Timestamp,
}

impl Span {
    /// The earliest and the latest moment that [`sortable`] can write so that text order is time order.
    const EARLIEST: i64 = -62_135_596_800_000;
    const LATEST: i64 = 253_402_207_200_000;

    /// All time from `from` on, before `to`; `None` where that is no time at all.
    #[must_use]
    pub fn new(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<Self> {
        // Accesses are recorded to the millisecond.
        let up = |moment: Timestamp| moment.as_millisecond() + i64::from(moment.subsec_nanosecond() % 1_000_000 > 0);
        let first = from.map_or(Self::EARLIEST, up).max(Self::EARLIEST);
        let last = to.map_or(Self::LATEST, |to| up(to) - 1).min(Self::LATEST);
        let moment = |millisecond| Timestamp::from_millisecond(millisecond).ok();
        if first > last { None } else { Some(Self { first: moment(first)?, last: moment(last)? }) }
    }

    /// Whether a moment is of this time.
    #[must_use]
    pub fn holds(&self, moment: Timestamp) -> bool {
        self.first <= moment && moment <= self.last
    }

    /// The first and the last millisecond, as texts that sort as time does.
    #[must_use]
    pub fn bounds(&self) -> [String; 2] {
        [sortable(self.first), sortable(self.last)]
    }
}

/// Which accesses whoever asks may see at all (R51).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The organisation of whoever asks.
    pub own: String,
    /// Whether those of all other organisations, too.
    pub national: bool,
}

/// A search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSearch {
    /// Whose accesses.
    pub subject: Subject,
    /// Of which time.
    pub span: Span,
    /// Within what may be seen.
    pub reach: Reach,
}

impl AuditSearch {
    /// Whether this access was asked for, and may be seen.
    #[must_use]
    pub fn finds(&self, access: &Access) -> bool {
        let meant = match &self.subject {
            Subject::Child(child) => access.child == *child,
            Subject::Person(id) => access.requester.id() == id,
            Subject::Organisation(code) => access.organisation.code == *code,
        };
        meant && self.span.holds(access.at) && self.reach.shows(access)
    }
}

impl Reach {
    /// R51: accesses on behalf of one's own organisation; all for whom the directory gives national oversight.
    #[must_use]
    pub fn shows(&self, access: &Access) -> bool {
        self.national || access.organisation.code == self.own
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(nanosecond: i128) -> Timestamp {
        Timestamp::from_nanosecond(nanosecond).expect("in range")
    }

    #[test]
    fn a_span_is_any_time_but_no_time() {
        let all = Span::new(None, None).expect("all time");
        assert_eq!(all.bounds(), ["0001-01-01T00:00:00.000Z", "9999-12-30T22:00:00.000Z"]);
        assert!(all.holds(Timestamp::UNIX_EPOCH));
        let moment = Timestamp::UNIX_EPOCH;
        assert_eq!(Span::new(Some(moment), Some(moment)), None);
        for extreme in [Timestamp::MIN, Timestamp::MAX] {
            let _no_overflow = (Span::new(Some(extreme), None), Span::new(None, Some(extreme)));
        }
    }

    proptest! {
        #[test]
        fn a_span_holds_from_its_beginning_to_before_its_end(
            from in -3_000_000_i128..3_000_000, to in -3_000_000_i128..3_000_000, ms in -5_i128..5,
        ) {
            let recorded = at(ms * 1_000_000);
            let expected = at(from) <= recorded && recorded < at(to);
            match Span::new(Some(at(from)), Some(at(to))) {
                None => prop_assert!(!expected),
                Some(span) => {
                    prop_assert_eq!(span.holds(recorded), expected);
                    let [first, last] = span.bounds();
                    let text = sortable(recorded);
                    prop_assert_eq!(first <= text && text <= last, expected);
                }
            }
        }
    }
}
