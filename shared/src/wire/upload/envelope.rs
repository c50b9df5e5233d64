//! The envelope: from texts to values (R16).

use jiff::{Timestamp, civil::Date};

use super::Malformed;
use crate::domain::{
    contact::{Contact, day_begins_in_england},
    upload::Envelope,
};

/// The highest sequence: the largest whole number that every JSON reader keeps exactly.
const MAX_SEQUENCE: u64 = 1 << 53;

/// The highest number of records that is taken for one. What is said of it repeats it, so it must not be long enough to be an NHS
/// number that came in the wrong place (R31).
const MAX_COUNT: usize = 1_000_000;

/// The parts of an envelope as they came, absent where empty.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) sender: Option<String>,
    pub(super) sequence: Option<String>,
    pub(super) created: Option<String>,
    pub(super) count: Option<String>,
    pub(super) emergency_duty_team_phone: Option<String>,
    pub(super) office_hours_phone: Option<String>,
}

impl Parts {
    /// The sequence, where it can be read.
    pub(super) fn sequence(&self) -> Option<u64> {
        let sequence = whole(self.sequence.as_deref()?)?;
        (1..=MAX_SEQUENCE).contains(&sequence).then_some(sequence)
    }

    /// The envelope and the declared number of records; `count_name` is what the sender calls that number.
    pub(super) fn check(&self, count_name: &str) -> Result<(Envelope, usize), Malformed> {
        let sequence = self.sequence().ok_or_else(|| {
            refusal("sequence", self.sequence.as_ref(), "a whole number from 1 to 2^53, higher than the file before")
        })?;
        self.check_rest(sequence, count_name).map_err(|e| e.with_sequence(Some(sequence)))
    }

    fn check_rest(&self, sequence: u64, count_name: &str) -> Result<(Envelope, usize), Malformed> {
        let created = self.created.as_deref().and_then(|text| moment(text.trim())).ok_or_else(|| {
            let expected = "the time at which the file was made, with its zone, as 2026-01-31T08:30:00Z or \
                            2026-07-31T08:30:00+01:00 (in a query, + is written %2B), or its date, as 2026-01-31";
            refusal("created", self.created.as_ref(), expected)
        })?;
        let count = self.count.as_deref().and_then(whole).and_then(|n| usize::try_from(n).ok());
        let count = count.filter(|count| *count <= MAX_COUNT);
        let count =
            count.ok_or_else(|| refusal(count_name, self.count.as_ref(), "the number of records in the file"))?;
        let emergency = phone("emergencyDutyTeamPhone", self.emergency_duty_team_phone.as_ref())?;
        let emergency_duty_team_phone =
            emergency.ok_or_else(|| refusal("emergencyDutyTeamPhone", None, "the number that is answered at night"))?;
        let office_hours_phone = phone("officeHoursPhone", self.office_hours_phone.as_ref())?;
        let contact = Contact { emergency_duty_team_phone, office_hours_phone };
        let sender = self.sender.as_deref().map(|code| code.trim().to_owned());
        Ok((Envelope { sender, sequence, created, contact }, count))
    }
}

/// A time with its zone or, since the zone is needed only where hours are given, a date: the beginning of that day in England.
fn moment(text: &str) -> Option<Timestamp> {
    let date = || (text.len() == 10).then(|| text.parse::<Date>().ok()).flatten();
    text.parse().ok().or_else(|| date().and_then(day_begins_in_england))
}

fn whole(text: &str) -> Option<u64> {
    // `parse` alone would take a leading plus sign.
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// R33: 5 to 30 digits, spaces and `+ ( ) -`, at least 5 of them digits. Anything else could not be dialled.
fn phone(name: &str, text: Option<&String>) -> Result<Option<String>, Malformed> {
    let Some(text) = text else { return Ok(None) };
    let plausible = text.chars().all(|c| c.is_ascii_digit() || " +()-".contains(c))
        && (5..=30).contains(&text.len())
        && !text.starts_with(' ')
        && text.bytes().filter(u8::is_ascii_digit).count() >= 5;
    if plausible {
        return Ok(Some(text.trim_end().to_owned()));
    }
    let expected = "a telephone number of 5 to 30 digits, spaces and + ( ) -, such as 020 7946 0001 (in a query, + is written %2B)";
    Err(refusal(name, Some(text), expected))
}

fn refusal(name: &str, found: Option<&String>, expected: &str) -> Malformed {
    let found = if found.is_none() { "is missing from the envelope" } else { "in the envelope cannot be read" };
    Malformed::file(format!("{name} {found}: give {expected}"))
}
