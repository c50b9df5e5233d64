//! How an authority reads what it is told: at once or in a digest, and how long it may be left unread.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{contact::next_hour_in_england, notification::Notification};

/// How often an authority is told of accesses that can wait (R84).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cadence {
    /// Of each one, at once.
    #[default]
    EveryAccess,
    /// Of all of a day, together.
    Digest,
}

/// An authority's own rules (R84, R85). What it leaves out is as the default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Reading {
    /// Each access at once, or a digest.
    pub cadence: Cadence,
    /// At which hour by the clock in London the digest goes out, 0 to 23.
    pub digest_hour: i8,
    /// After how many minutes an unread notification is escalated, 5 to 10,080 (a week).
    pub unread_minutes: u32,
    /// The same for one that cannot wait (R83).
    pub urgent_unread_minutes: u32,
}

impl Default for Reading {
    /// Every access at once; escalated after a day, or after four hours where it cannot wait.
    fn default() -> Self {
        Self { cadence: Cadence::EveryAccess, digest_hour: 8, unread_minutes: 24 * 60, urgent_unread_minutes: 4 * 60 }
    }
}

/// Minutes for which a notification may be left unread.
const UNREAD_MINUTES: std::ops::RangeInclusive<u32> = 5..=10_080;

impl Reading {
    /// Checks what an authority wants.
    ///
    /// # Errors
    /// The field that is wrong, and what it may be.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let minutes = "5 to 10080 minutes";
        if !(0..24).contains(&self.digest_hour) {
            Err(("digestHour", "an hour by the clock in London, 0 to 23"))
        } else if !UNREAD_MINUTES.contains(&self.unread_minutes) {
            Err(("unreadMinutes", minutes))
        } else if !UNREAD_MINUTES.contains(&self.urgent_unread_minutes) {
            Err(("urgentUnreadMinutes", minutes))
        } else {
            Ok(())
        }
    }

    /// When the next digest goes out; none for an authority that is told of every access.
    #[must_use]
    pub fn next_digest(&self, now: Timestamp) -> Option<Timestamp> {
        (self.cadence == Cadence::Digest).then(|| next_hour_in_england(now, self.digest_hour))
    }

    /// For how long a notification may be left unread (R85).
    #[must_use]
    pub fn patience(&self, notification: &Notification) -> SignedDuration {
        let urgent = notification.access().is_some_and(|told| !told.signals.is_empty());
        let minutes = if urgent { self.urgent_unread_minutes } else { self.unread_minutes };
        SignedDuration::from_mins(i64::from(minutes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("valid")
    }

    #[test]
    fn r84_a_digest_goes_out_once_a_day_at_the_hour_in_london() {
        let daily = Reading { cadence: Cadence::Digest, digest_hour: 8, ..Reading::default() };
        for (now, next) in [
            ("2026-11-24T07:59:59Z", "2026-11-24T08:00:00Z"),
            ("2026-11-24T08:00:00Z", "2026-11-25T08:00:00Z"),
            ("2026-07-01T06:30:00Z", "2026-07-01T07:00:00Z"),
            // The night in which the clocks go back.
            ("2026-10-24T12:00:00Z", "2026-10-25T08:00:00Z"),
        ] {
            assert_eq!(daily.next_digest(at(now)), Some(at(next)), "{now}");
        }
        assert_eq!(Reading::default().next_digest(at("2026-11-24T07:00:00Z")), None, "every access is the default");
    }

    #[test]
    fn r85_what_an_authority_may_choose() {
        let parse = |json: &str| serde_json::from_str::<Reading>(json).map_err(|_| "unreadable");
        let check = |json: &str| parse(json).map(|reading| reading.check().err().map(|(field, _)| field));
        assert_eq!(parse("{}"), Ok(Reading::default()));
        assert_eq!(check(r#"{"cadence":"digest","digestHour":0,"unreadMinutes":5}"#), Ok(None));
        assert_eq!(check(r#"{"digestHour":24}"#), Ok(Some("digestHour")));
        assert_eq!(check(r#"{"unreadMinutes":4}"#), Ok(Some("unreadMinutes")));
        assert_eq!(check(r#"{"urgentUnreadMinutes":10081}"#), Ok(Some("urgentUnreadMinutes")));
        for bad in [r#"{"cadence":"never"}"#, r#"{"digesthour":3}"#, r#"{"unreadMinutes":-1}"#] {
            assert_eq!(check(bad), Err("unreadable"), "{bad}");
        }
    }
}
