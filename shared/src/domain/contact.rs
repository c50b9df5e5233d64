//! Which number to ring now: office hours and the bank holidays of England.

use jiff::{
    Timestamp,
    civil::{Date, Weekday, date},
    tz::TimeZone,
};
use serde::{Deserialize, Serialize};

/// A local authority's telephone numbers, as its latest upload gave them (R33).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Contact {
    /// The emergency duty team: answers when the office does not. Mandatory.
    pub emergency_duty_team_phone: String,
    /// The office. Optional: without it the emergency duty team is the number at all times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub office_hours_phone: Option<String>,
}

/// Which of an authority's two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// The office, on working days.
    OfficeHours,
    /// The emergency duty team.
    EmergencyDutyTeam,
}

/// First hour of the office day, Europe/London (R10).
const OPENS: i8 = 9;
/// First hour after the office day, Europe/London (R10).
const CLOSES: i8 = 17;

impl Contact {
    /// The line that is answered at this moment (R10).
    #[must_use]
    pub fn line_now(&self, now: Timestamp) -> Line {
        if self.office_hours_phone.is_some() && offices_open(now) { Line::OfficeHours } else { Line::EmergencyDutyTeam }
    }

    /// The number that is answered at this moment (R10).
    #[must_use]
    pub fn number_now(&self, now: Timestamp) -> &str {
        match (self.line_now(now), &self.office_hours_phone) {
            (Line::OfficeHours, Some(phone)) => phone,
            _ => &self.emergency_duty_team_phone,
        }
    }
}

/// The date in England at a moment.
#[must_use]
pub fn date_in_england(now: Timestamp) -> Date {
    now.to_zoned(london()).date()
}

/// The first moment of a day in England.
#[must_use]
pub fn day_begins_in_england(day: Date) -> Option<Timestamp> {
    day.to_zoned(london()).map(|at| at.timestamp()).ok()
}

/// How many seconds the clock in London is ahead of UTC at a moment.
#[must_use]
pub fn seconds_ahead_in_england(now: Timestamp) -> i32 {
    london().to_offset(now).seconds()
}

/// The hour by the clock in London, 0 to 23.
#[must_use]
pub fn hour_in_england(now: Timestamp) -> i8 {
    now.to_zoned(london()).hour()
}

/// The first moment after `now` at which the clock in London shows this full hour (0 to 23).
#[must_use]
pub fn next_hour_in_england(now: Timestamp, hour: i8) -> Timestamp {
    let local = now.to_zoned(london());
    let on = |day: Date| day.at(hour.clamp(0, 23), 0, 0, 0).to_zoned(london()).map(|at| at.timestamp()).ok();
    let today = on(local.date()).filter(|at| *at > now);
    let tomorrow = || on(local.date().saturating_add(jiff::Span::new().days(1)));
    today.or_else(tomorrow).unwrap_or(now)
}

/// R10: 09:00 to 17:00 by the clock in London, Monday to Friday, bank holidays excepted.
#[must_use]
pub fn offices_open(now: Timestamp) -> bool {
    let local = now.to_zoned(london());
    (OPENS..CLOSES).contains(&local.hour())
        && !matches!(local.weekday(), Weekday::Saturday | Weekday::Sunday)
        && !is_bank_holiday(local.date())
}

fn london() -> TimeZone {
    static LONDON: std::sync::OnceLock<TimeZone> = std::sync::OnceLock::new();
    // The zone is bundled with the program, so the fall-back (an hour's error in summer) cannot be reached.
    LONDON.get_or_init(|| TimeZone::get("Europe/London").unwrap_or(TimeZone::UTC)).clone()
}

/// Whether a date is a bank holiday in England (GOV.UK "UK bank holidays"; Banking and Financial Dealings Act 1971).
#[must_use]
pub fn is_bank_holiday(day: Date) -> bool {
    if let Some((_, is_holiday)) = BY_PROCLAMATION.iter().find(|(d, _)| *d == day) {
        return *is_holiday;
    }
    let easter = easter_sunday(day.year());
    let (month, d, weekday) = (day.month(), day.day(), day.weekday());
    let monday = weekday == Weekday::Monday;
    let new_year = substitute(date(day.year(), 1, 1), 0);
    let christmas = substitute(date(day.year(), 12, 25), 1);
    let boxing = substitute(date(day.year(), 12, 26), 1);
    day == new_year
        || day == easter.saturating_sub(jiff::Span::new().days(2))
        || day == easter.saturating_add(jiff::Span::new().days(1))
        || (monday && month == 5 && (d <= 7 || d > 24))
        || (monday && month == 8 && d > 24)
        || day == christmas
        || day == boxing
}

/// Holidays that were moved or added for one year; the flag says whether the date is one.
const BY_PROCLAMATION: [(Date, bool); 8] = [
    (date(2020, 5, 4), false), // moved to VE Day
    (date(2020, 5, 8), true),
    (date(2022, 5, 30), false), // moved to the Platinum Jubilee
    (date(2022, 6, 2), true),
    (date(2022, 6, 3), true),
    (date(2022, 9, 19), true), // state funeral
    (date(2023, 5, 8), true),  // coronation
    (date(2023, 5, 29), true),
];

/// A holiday on a weekend moves to the next weekday; Christmas and Boxing Day (`pair` 1) keep clear of each other.
fn substitute(day: Date, pair: i8) -> Date {
    let days = match (day.weekday(), pair) {
        (Weekday::Saturday, _) | (Weekday::Sunday, 1) => 2,
        (Weekday::Sunday, _) => 1,
        // Boxing Day after a Sunday Christmas is itself a Monday: both are holidays.
        _ => 0,
    };
    day.saturating_add(jiff::Span::new().days(days))
}

/// Easter Sunday of the Gregorian calendar, by the anonymous algorithm (Meeus, Astronomical Algorithms, chapter 8).
fn easter_sunday(year: i16) -> Date {
    let y = i32::from(year);
    let (a, b, c) = (y % 19, y / 100, y % 100);
    let g = (8 * b + 13) / 25;
    let h = (19 * a + b - b / 4 - g + 15) % 30;
    let l = (32 + 2 * (b % 4) + 2 * (c / 4) - h - c % 4) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let month = (h + l - 7 * m + 114) / 31;
    let day = (h + l - 7 * m + 114) % 31 + 1;
    let narrow = |n: i32| i8::try_from(n).unwrap_or(1);
    date(year, narrow(month), narrow(day))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// England and Wales, as published on GOV.UK.
    const PUBLISHED: &[(i16, &[(i8, i8)])] = &[
        (2020, &[(1, 1), (4, 10), (4, 13), (5, 8), (5, 25), (8, 31), (12, 25), (12, 28)]),
        (2021, &[(1, 1), (4, 2), (4, 5), (5, 3), (5, 31), (8, 30), (12, 27), (12, 28)]),
        (2022, &[(1, 3), (4, 15), (4, 18), (5, 2), (6, 2), (6, 3), (8, 29), (9, 19), (12, 26), (12, 27)]),
        (2023, &[(1, 2), (4, 7), (4, 10), (5, 1), (5, 8), (5, 29), (8, 28), (12, 25), (12, 26)]),
        (2024, &[(1, 1), (3, 29), (4, 1), (5, 6), (5, 27), (8, 26), (12, 25), (12, 26)]),
        (2025, &[(1, 1), (4, 18), (4, 21), (5, 5), (5, 26), (8, 25), (12, 25), (12, 26)]),
        (2026, &[(1, 1), (4, 3), (4, 6), (5, 4), (5, 25), (8, 31), (12, 25), (12, 28)]),
        (2027, &[(1, 1), (3, 26), (3, 29), (5, 3), (5, 31), (8, 30), (12, 27), (12, 28)]),
        (2028, &[(1, 3), (4, 14), (4, 17), (5, 1), (5, 29), (8, 28), (12, 25), (12, 26)]),
    ];

    #[test]
    fn r10_bank_holidays_are_the_published_ones() {
        for (year, published) in PUBLISHED {
            let found: Vec<_> = date(*year, 1, 1)
                .series(jiff::Span::new().days(1))
                .take_while(|d| d.year() == *year)
                .filter(|d| is_bank_holiday(*d) && !matches!(d.weekday(), Weekday::Saturday | Weekday::Sunday))
                .map(|d| (d.month(), d.day()))
                .collect();
            assert_eq!(&found, published, "{year}");
        }
    }

    #[test]
    fn r10_which_number_to_ring() {
        let both = Contact {
            emergency_duty_team_phone: "020 7946 0001".into(),
            office_hours_phone: Some("020 7946 0002".into()),
        };
        for (moment, line, why) in [
            ("2026-11-23T09:00:00Z", Line::OfficeHours, "a Monday morning in winter"),
            ("2026-11-23T08:59:59Z", Line::EmergencyDutyTeam, "a second before the office opens"),
            ("2026-11-23T16:59:59Z", Line::OfficeHours, "a second before it closes"),
            ("2026-11-23T17:00:00Z", Line::EmergencyDutyTeam, "closing time"),
            ("2026-07-06T08:00:00Z", Line::OfficeHours, "nine in summer time"),
            ("2026-07-06T16:00:00Z", Line::EmergencyDutyTeam, "five in summer time"),
            ("2026-11-22T12:00:00Z", Line::EmergencyDutyTeam, "Sunday"),
            ("2026-12-28T12:00:00Z", Line::EmergencyDutyTeam, "Boxing Day's substitute"),
            ("2026-12-29T12:00:00Z", Line::OfficeHours, "the day after"),
        ] {
            let now: Timestamp = moment.parse().expect("a timestamp");
            assert_eq!(both.line_now(now), line, "{why}");
        }
        let emergency_only = Contact { office_hours_phone: None, ..both };
        let monday: Timestamp = "2026-11-23T12:00:00Z".parse().expect("a timestamp");
        assert_eq!(emergency_only.number_now(monday), "020 7946 0001");
    }
}
