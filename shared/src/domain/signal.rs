//! Signals: what about an access cannot wait for a digest (R83).

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date};
use serde::{Deserialize, Serialize};

use super::{
    contact::{date_in_england, hour_in_england},
    plan::{Plan, PlanType},
};

/// Why a notification cannot wait (R83).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Signal {
    /// The child is under one year old.
    Infant,
    /// The child is not born yet.
    Unborn,
    /// It was night: from 22:00 to 07:00 by the clock in London.
    Night,
    /// The organisation lies in another region than the authority.
    OutOfArea,
    /// It is at least the third organisation within seven days.
    ThirdSetting,
}

/// The first hour of the night by the clock in London, and the first one after it.
const NIGHT: (i8, i8) = (22, 7);
/// Within this time organisations are counted.
pub const SETTINGS_WINDOW: SignedDuration = SignedDuration::from_hours(7 * 24);
/// So many different ones are a signal.
const SETTINGS: usize = 3;

/// What the plans of one authority that were shown say (R83).
pub fn of_plans<'a>(plans: impl IntoIterator<Item = &'a Plan>, at: Timestamp) -> BTreeSet<Signal> {
    let today = date_in_england(at);
    let signal = |plan: &Plan| match plan.plan_type {
        // Its birth date is the mother's (R4).
        PlanType::Unborn => Some(Signal::Unborn),
        _ => is_infant_on(plan.birth_date, today).then_some(Signal::Infant),
    };
    plans.into_iter().filter_map(signal).collect()
}

fn is_infant_on(birth: Date, today: Date) -> bool {
    birth.saturating_add(1.year()) > today
}

/// What the moment of an access says (R83).
#[must_use]
pub fn of_moment(at: Timestamp) -> Option<Signal> {
    let hour = hour_in_england(at);
    (hour >= NIGHT.0 || hour < NIGHT.1).then_some(Signal::Night)
}

/// What the place says: where both regions are known and differ (R83).
#[must_use]
pub fn of_place(organisation: Option<&str>, authority: &str) -> Option<Signal> {
    organisation.is_some_and(|region| region != authority).then_some(Signal::OutOfArea)
}

/// What the organisations that saw the child within [`SETTINGS_WINDOW`] say, this one included (R83).
pub fn of_settings<'a>(codes: impl IntoIterator<Item = &'a str>) -> Option<Signal> {
    (codes.into_iter().collect::<BTreeSet<_>>().len() >= SETTINGS).then_some(Signal::ThirdSetting)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn r83_an_infant_is_under_one_year_old() {
        for (birth, today, infant) in [
            (date(2026, 11, 24), date(2026, 11, 24), true),
            (date(2025, 11, 25), date(2026, 11, 24), true),
            (date(2025, 11, 24), date(2026, 11, 24), false),
            (date(2024, 2, 29), date(2025, 2, 27), true),
            (date(2024, 2, 29), date(2025, 2, 28), false),
        ] {
            assert_eq!(is_infant_on(birth, today), infant, "{birth} on {today}");
        }
    }

    #[test]
    fn r83_the_night_is_told_by_the_clock_in_london() {
        for (at, night) in [
            ("2026-11-24T21:59:59Z", false),
            ("2026-11-24T22:00:00Z", true),
            ("2026-11-25T06:59:59Z", true),
            ("2026-11-25T07:00:00Z", false),
            // In summer London is an hour ahead.
            ("2026-07-01T21:00:00Z", true),
            ("2026-07-01T06:00:00Z", false),
        ] {
            let at: Timestamp = at.parse().expect("valid");
            assert_eq!(of_moment(at).is_some(), night, "{at}");
        }
    }

    #[test]
    fn r83_another_region_is_out_of_area_and_one_that_is_not_known_says_nothing() {
        assert_eq!(of_place(Some("London"), "North East"), Some(Signal::OutOfArea));
        assert_eq!(of_place(Some("London"), "London"), None);
        assert_eq!(of_place(None, "London"), None);
    }

    #[test]
    fn r83_the_third_different_organisation_is_a_signal() {
        assert_eq!(of_settings(["A", "B", "B", "A"]), None);
        assert_eq!(of_settings(["A", "B", "C"]), Some(Signal::ThirdSetting));
    }
}
