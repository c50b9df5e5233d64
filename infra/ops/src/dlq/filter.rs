//! Which dead letters a command means.

use clap::Args;
use cpis::domain::authority::AuthorityCode;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::letter::{Letter, UNKNOWN};

/// Which letters are meant.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Filter {
    /// Those given up for this reason; repeat for several
    #[arg(long = "reason", value_name = "CODE")]
    reasons: Vec<String>,
    /// Those for this authority; repeat for several
    #[arg(long = "authority", value_name = "CODE", value_parser = authority)]
    authorities: Vec<String>,
    /// Those of this kind, such as `access`; repeat for several
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// The one of this notification, by its id in logs and mailboxes (or by the queue's, of what is none); repeat for several
    #[arg(long = "id", value_name = "UUID")]
    ids: Vec<Uuid>,
    /// Those given up longer ago than this: 90s, 15m, 4h, 3d
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<SignedDuration>,
    /// Those given up since then: 90s, 15m, 4h, 3d
    #[arg(long, value_name = "AGE", value_parser = age)]
    newer_than: Option<SignedDuration>,
}

/// A GSS code, or `unknown` for letters that cannot be read.
fn authority(text: &str) -> Result<String, String> {
    if text == UNKNOWN {
        return Ok(text.into());
    }
    AuthorityCode::parse(text).map(|c| c.to_string()).map_err(|e| format!("{e}; or `{UNKNOWN}`"))
}

/// A number and a unit: seconds, minutes, hours or days.
fn age(text: &str) -> Result<SignedDuration, String> {
    let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 0,
    };
    // Years are more than any queue keeps.
    let number = number.parse::<u32>().ok().filter(|n| seconds > 0 && *n < 100_000);
    let age = number.map(|n| SignedDuration::from_secs(i64::from(n) * seconds));
    age.ok_or_else(|| "a whole number and s, m, h or d, such as 15m".into())
}

impl Filter {
    /// Whether a letter is meant. A kind of filter that is not given admits all. R71
    pub(super) fn admits(&self, letter: &Letter, now: Timestamp) -> bool {
        fn one_of<T: PartialEq>(wanted: &[T], found: Option<&T>) -> bool {
            wanted.is_empty() || found.is_some_and(|f| wanted.contains(f))
        }
        // A letter of no known age is neither old nor new.
        let age = letter.since.map(|since| now.duration_since(since));
        one_of(&self.reasons, Some(&letter.reason))
            && one_of(&self.authorities, Some(&letter.authority))
            && one_of(&self.kinds, Some(&letter.kind))
            && one_of(&self.ids, letter.id.uuid().as_ref())
            && self.older_than.is_none_or(|limit| age.is_some_and(|age| age > limit))
            && self.newer_than.is_none_or(|limit| age.is_some_and(|age| age <= limit))
    }

    /// Whether every letter is meant.
    pub(super) fn is_empty(&self) -> bool {
        self.describe() == ALL
    }

    /// The filter in words, for the audit log.
    pub(super) fn describe(&self) -> String {
        let list = |name: &str, values: &[String]| (!values.is_empty()).then(|| format!("{name}={}", values.join(",")));
        let age = |name: &str, age: Option<SignedDuration>| age.map(|age| format!("{name}={}s", age.as_secs()));
        let ids: Vec<_> = self.ids.iter().map(ToString::to_string).collect();
        let parts = [
            list("reason", &self.reasons),
            list("authority", &self.authorities),
            list("kind", &self.kinds),
            list("id", &ids),
            age("older-than", self.older_than),
            age("newer-than", self.newer_than),
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() { ALL.into() } else { parts.join(" ") }
    }
}

/// A filter that leaves out nothing, in words.
const ALL: &str = "all";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlq::letter::Id;

    const ID: &str = "6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f";
    const OTHER: &str = "00000000-0000-0000-0000-000000000000";

    fn filter(options: &[&str]) -> Filter {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            filter: Filter,
        }
        <Line as clap::Parser>::parse_from(["test"].iter().chain(options)).filter
    }

    #[test]
    fn r71_filters_of_one_kind_are_alternatives_and_of_several_must_all_fit() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().expect("valid");
        let letter = Letter {
            id: Id::Notification(ID.parse().expect("valid")),
            reason: "authority-closed".into(),
            authority: "E06000001".into(),
            kind: "access".into(),
            since: Some(now - SignedDuration::from_hours(2)),
            at: None,
        };
        let unreadable =
            Letter { id: Id::None, authority: "unknown".into(), kind: "unknown".into(), since: None, ..letter.clone() };
        for (options, admits) in [
            (&[][..], [true, true]),
            (&["--reason", "authority-closed"], [true, true]),
            (&["--reason", "redriven", "--reason", "authority-closed"], [true, true]),
            (&["--reason", "redriven"], [false, false]),
            (&["--authority", "E06000002", "--authority", "E06000001"], [true, false]),
            (&["--authority", "unknown"], [false, true]),
            (&["--kind", "access"], [true, false]),
            (&["--kind", "push", "--kind", "unknown"], [false, true]),
            (&["--id", ID], [true, false]),
            (&["--id", OTHER], [false, false]),
            (&["--older-than", "119m"], [true, false]),
            (&["--older-than", "2h"], [false, false]),
            (&["--newer-than", "2h"], [true, false]),
            (&["--newer-than", "7199s"], [false, false]),
            (&["--newer-than", "1d", "--older-than", "1h"], [true, false]),
            (&["--reason", "redriven", "--authority", "E06000001", "--id", ID], [false, false]),
            (&["--reason", "authority-closed", "--authority", "E06000002"], [false, false]),
            (&["--reason", "authority-closed", "--authority", "E06000001", "--kind", "access"], [true, false]),
        ] {
            let filter = filter(options);
            assert_eq!([&letter, &unreadable].map(|l| filter.admits(l, now)), admits, "{options:?}");
            assert_eq!(filter.is_empty(), options.is_empty(), "{options:?}");
        }
    }

    #[test]
    fn a_filter_says_what_it_means() {
        assert_eq!(filter(&[]).describe(), "all");
        let options = ["--reason", "a", "--reason", "b", "--kind", "access", "--id", ID, "--older-than", "2d"];
        assert_eq!(filter(&options).describe(), format!("reason=a,b kind=access id={ID} older-than=172800s"));
    }

    #[test]
    fn ages() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("4h", 14_400), ("3d", 259_200), ("0s", 0)] {
            assert_eq!(age(text).map(|a| a.as_secs()), Ok(seconds), "{text}");
        }
        for text in ["", "5", "h", "-1h", "1w", "1.5h", "4 h", "99999999999d", "1é"] {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
