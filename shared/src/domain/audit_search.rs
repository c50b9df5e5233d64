//! A search of who looked at whom: what it asks for, who may ask, and what they may see of it (R51, R52).

use jiff::{SignedDuration, Timestamp, civil::Date};

use super::{
    access::Access,
    caller::{HealthCaller, Requester},
    nhs_number::ChildKey,
    policy::{self, Presentation, Refusal},
    setting::Oversight,
    standing::HealthStanding,
    time::sortable,
};

/// RBAC activity: privacy officer (R51).
pub const PRIVACY_OFFICER: &str = "R0001";
/// RBAC activity: Caldicott guardian (R51).
pub const CALDICOTT_GUARDIAN: &str = "R5105";

/// How long after an access a search finds it for certain: it takes its time before it is written, and DynamoDB's global
/// indexes show it a little later. Far more than both ever take.
pub const SETTLED_AFTER: SignedDuration = SignedDuration::from_secs(60);

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

/// Why a search is refused (R51).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SearchRefusal {
    /// The organisation may not use the service.
    #[error(transparent)]
    Organisation(#[from] Refusal),
    /// Not an officer.
    #[error(
        "only a person who holds R0001 (privacy officer) or R5105 (Caldicott guardian) may search who looked at whom"
    )]
    NotAnOfficer,
    /// Somebody else's.
    #[error(
        "an organisation's officers may search the accesses of their own organisation only, unless the directory gives it \
         national oversight"
    )]
    OtherOrganisation,
}

impl SearchRefusal {
    /// Its stable code, for logs and the audit trail.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Organisation(why) => why.code(),
            Self::NotAnOfficer => "not-an-officer",
            Self::OtherOrganisation => "other-organisation",
        }
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
        meant && self.span.holds(access.at) && self.view(access).is_some()
    }

    /// R52: how an access is shown; `None` where it is not. What nobody may learn of a visit to another organisation's sensitive
    /// care is not to be learnt by asking for that organisation or one of its staff either, so that such an access shows in
    /// searches for its child alone, under the generic label.
    #[must_use]
    pub fn view(&self, access: &Access) -> Option<Presentation> {
        match (access.presentation, &self.subject) {
            _ if !self.reach.shows(access) => None,
            _ if access.organisation.code == self.reach.own => Some(Presentation::Full),
            (Presentation::Full, _) => Some(Presentation::Full),
            (Presentation::Generic, Subject::Child(_)) => Some(Presentation::Generic),
            (Presentation::Generic, _) => None,
        }
    }

    /// Up to which moment a search made now finds every access: its end, or some time ago where that has not come yet.
    #[must_use]
    pub fn complete_until(&self, now: Timestamp) -> Timestamp {
        self.span.last.min(now - SETTLED_AFTER)
    }
}

impl Reach {
    /// R51: what a caller may see, whose organisation stands so in the directory, on this day in England; of a search for this
    /// subject, where it is known.
    ///
    /// # Errors
    /// [`SearchRefusal`], which says why nothing.
    pub fn of(
        caller: &HealthCaller,
        standing: &HealthStanding,
        today: Date,
        subject: Option<&Subject>,
    ) -> Result<Self, SearchRefusal> {
        let setting = policy::member(standing, today)?;
        let holds = |code: &String| [PRIVACY_OFFICER, CALDICOTT_GUARDIAN].contains(&code.as_str());
        if !matches!(caller.requester, Requester::Person(_)) || !caller.activities.iter().any(holds) {
            return Err(SearchRefusal::NotAnOfficer);
        }
        let own = caller.organisation.code.clone();
        let national = setting.oversight == Some(Oversight::National);
        match subject {
            Some(Subject::Organisation(code)) if !national && *code != own => Err(SearchRefusal::OtherOrganisation),
            _ => Ok(Self { own, national }),
        }
    }

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
