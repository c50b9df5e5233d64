//! A child's plan, and when it may be seen.

use jiff::{
    Span, Timestamp,
    civil::{Date, date},
};
use serde::{Deserialize, Serialize};

use super::{authority::AuthorityCode, contact::Contact, nhs_number::NhsNumber};

/// The kind of plan (R4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PlanType {
    /// Child protection plan.
    #[serde(rename = "CPP")]
    ChildProtection,
    /// Looked-after child.
    #[serde(rename = "LAC")]
    LookedAfter,
    /// Unborn child protection plan, held under the mother's NHS number.
    #[serde(rename = "UCP")]
    Unborn,
}

impl PlanType {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::ChildProtection, Self::LookedAfter, Self::Unborn];

    /// The code in files and keys (R4).
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::ChildProtection => "CPP",
            Self::LookedAfter => "LAC",
            Self::Unborn => "UCP",
        }
    }

    /// The kind that a file's code names, whatever its case.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.code().eq_ignore_ascii_case(code))
    }

    /// SNOMED CT concept and its term, value set England-ChildProtectionPlan (R4).
    #[must_use]
    pub const fn snomed(self) -> (&'static str, &'static str) {
        match self {
            Self::ChildProtection => ("342191000000101", "Subject to child protection plan"),
            Self::LookedAfter => ("764841000000100", "Looked after child"),
            Self::Unborn => ("818901000000100", "Unborn child subject to child protection plan"),
        }
    }
}

/// Which plan of a child: its kind and its authority, as in `CPP#E06000001` (R9).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlanId {
    /// The kind.
    pub plan_type: PlanType,
    /// The authority that uploaded it.
    pub authority: AuthorityCode,
}

impl PlanId {
    /// The sort key `type#authority`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}#{}", self.plan_type.code(), self.authority)
    }
}

/// A plan as the register holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The child's number; for an unborn plan the mother's.
    pub nhs_number: NhsNumber,
    /// The authority that uploaded it.
    pub authority: AuthorityCode,
    /// That authority's name.
    pub authority_name: String,
    /// Kind of plan.
    pub plan_type: PlanType,
    /// The authority's own case id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_id: Option<String>,
    /// Family name; emptied when the plan is withdrawn.
    pub family_name: String,
    /// Given names, at least one; emptied when the plan is withdrawn.
    pub given_names: Vec<String>,
    /// Birth date; for an unborn plan the mother's.
    pub birth_date: Date,
    /// First day of the plan.
    pub start: Date,
    /// Last day of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Date>,
    /// The day on which it was withdrawn as uploaded in error (R8).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Date>,
    /// The authority's telephone numbers (R33).
    pub contact: Contact,
    /// Sequence of the upload that last gave the numbers (R33).
    pub contact_sequence: u64,
    /// Sequence of the upload that this state comes from (R12).
    pub sequence: u64,
    /// Whether a start has been received. An end or a deletion that came first waits, unseen, for its start (R12).
    pub known: bool,
    /// When it was written.
    pub updated: Timestamp,
}

/// Why a plan is not, or no longer, shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// Withdrawn by its authority (R8).
    Withdrawn,
    /// An end or deletion whose start never came (R12).
    NeverStarted,
    /// Ended more than 12 months ago (R6).
    LongEnded,
    /// The child has turned 18 (R7).
    GrownUp,
}

impl Plan {
    /// Which plan of the child this is.
    #[must_use]
    pub fn id(&self) -> PlanId {
        PlanId { plan_type: self.plan_type, authority: self.authority.clone() }
    }

    /// Whether the plan may be shown on a day in England, and if not why (R6, R7, R8).
    ///
    /// # Errors
    /// The reason for which it is hidden.
    pub fn visible_on(&self, today: Date) -> Result<(), Hidden> {
        if !self.known {
            Err(Hidden::NeverStarted)
        } else if self.deleted.is_some() {
            Err(Hidden::Withdrawn)
        } else if self.plan_type != PlanType::Unborn && is_18_on(self.birth_date, today) {
            Err(Hidden::GrownUp)
        } else if self.end.is_some_and(|end| today > a_year_after(end)) {
            Err(Hidden::LongEnded)
        } else {
            Ok(())
        }
    }

    /// Whether the plan is running on a day: visible and not ended before it.
    #[must_use]
    pub fn active_on(&self, today: Date) -> bool {
        self.visible_on(today).is_ok() && self.end.is_none_or(|end| today <= end)
    }
}

/// R6: the last day on which an ended plan is shown, 12 months after its end.
#[must_use]
pub fn a_year_after(end: Date) -> Date {
    end.saturating_add(Span::new().months(12))
}

/// R7: eighteen at the start of the eighteenth birthday. Who was born on 29 February turns 18 on 1 March
/// (2026 is no leap year): the later of the two readings, so that nobody loses protection a day early.
#[must_use]
pub fn is_18_on(birth: Date, today: Date) -> bool {
    let eighteen = birth.year().saturating_add(18);
    let birthday = match (birth.month(), birth.day()) {
        (2, 29) if !date(eighteen, 1, 1).in_leap_year() => date(eighteen, 3, 1),
        (month, day) => date(eighteen, month, day),
    };
    today >= birthday
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan() -> Plan {
        Plan {
            nhs_number: NhsNumber::parse("9990000018").expect("valid"),
            authority: AuthorityCode::parse("E06000001").expect("valid"),
            authority_name: "Hartlepool".into(),
            plan_type: PlanType::ChildProtection,
            local_id: None,
            family_name: "Sample".into(),
            given_names: vec!["Robin".into()],
            birth_date: date(2015, 6, 1),
            start: date(2024, 1, 1),
            end: None,
            deleted: None,
            contact: Contact { emergency_duty_team_phone: "020 7946 0001".into(), office_hours_phone: None },
            contact_sequence: 1,
            sequence: 1,
            known: true,
            updated: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn r4_codes_are_read_in_any_case_and_no_other() {
        for kind in PlanType::ALL {
            assert_eq!(PlanType::from_code(&kind.code().to_lowercase()), Some(kind));
        }
        assert_eq!(PlanType::from_code("CP"), None);
    }

    #[test]
    fn r6_r7_r8_r12_what_is_shown() {
        let today = date(2026, 11, 22);
        for (name, plan, shown) in [
            ("running", plan(), Ok(())),
            ("ended today", Plan { end: Some(today), ..plan() }, Ok(())),
            ("ended 12 months ago", Plan { end: Some(date(2025, 11, 22)), ..plan() }, Ok(())),
            ("a day longer ago", Plan { end: Some(date(2025, 11, 21)), ..plan() }, Err(Hidden::LongEnded)),
            ("withdrawn", Plan { deleted: Some(today), ..plan() }, Err(Hidden::Withdrawn)),
            ("never started", Plan { known: false, ..plan() }, Err(Hidden::NeverStarted)),
            ("18 tomorrow", Plan { birth_date: date(2008, 11, 23), ..plan() }, Ok(())),
            ("18 today", Plan { birth_date: date(2008, 11, 22), ..plan() }, Err(Hidden::GrownUp)),
            (
                "an unborn child's mother may be grown up",
                Plan { plan_type: PlanType::Unborn, birth_date: date(1990, 1, 1), ..plan() },
                Ok(()),
            ),
        ] {
            assert_eq!(plan.visible_on(today), shown, "{name}");
        }
    }

    #[test]
    fn r6_ended_plans_are_not_active_but_visible() {
        let ended = Plan { end: Some(date(2026, 11, 21)), ..plan() };
        assert!(!ended.active_on(date(2026, 11, 22)));
        assert!(ended.active_on(date(2026, 11, 21)));
    }

    #[test]
    fn r7_leap_day_children_turn_18_on_the_first_of_march() {
        assert!(!is_18_on(date(2008, 2, 29), date(2026, 2, 28)));
        assert!(is_18_on(date(2008, 2, 29), date(2026, 3, 1)));
    }

    fn any_date() -> impl Strategy<Value = Date> {
        (0_i32..40_000).prop_map(|d| date(1970, 1, 1).saturating_add(Span::new().days(d)))
    }

    proptest! {
        #[test]
        fn r6_r7_what_is_hidden_stays_hidden(birth in any_date(), end in proptest::option::of(any_date()), day in any_date(), later in 0_i32..9_999) {
            let plan = Plan { birth_date: birth, end, ..plan() };
            let after = day.saturating_add(Span::new().days(later));
            prop_assert!(plan.visible_on(day).is_err() <= plan.visible_on(after).is_err());
        }

        #[test]
        fn r7_birthdays_are_between_6574_and_6576_days(birth in any_date()) {
            let mut days = birth.series(Span::new().days(1)).skip(6_573);
            let first = days.position(|d| is_18_on(birth, d)).map(|n| n + 6_573);
            prop_assert!(matches!(first, Some(6_574..=6_576)), "{:?}", first);
        }
    }
}
