//! What can be told of a dead letter without telling whom it is about, and which ones a filter means.

use std::collections::HashMap;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use clap::Args;
use cpis::domain::authority::AuthorityCode;
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

/// Reason of what the queue itself set aside, after the last receive that its redrive policy allows.
const REDRIVEN: &str = "redriven";
/// Attributes that tell of the failure, and go when a letter is replayed.
const OF_THE_FAILURE: [&str; 3] = ["reason", "failedAt", "attempts"];

/// The parts of a notification by which a letter is told from others. The rest is about a child, and is not even read.
#[derive(Deserialize)]
struct Address {
    id: Uuid,
    authority: AuthorityCode,
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    /// Why it could not be delivered, a stable code.
    pub(super) reason: String,
    /// For whom it is; `unknown` where that cannot be read.
    pub(super) authority: String,
    /// Business id of the notification, where it is one.
    pub(super) notification: Option<Uuid>,
    /// When it was given up or, where nobody wrote that down, first sent.
    pub(super) since: Option<Timestamp>,
}

impl Letter {
    /// Reads a message of the dead-letter queue. What the queue itself set aside says nothing of the failure.
    pub(super) fn read(message: &Message) -> Self {
        let text = |name: &str| message.message_attributes()?.get(name)?.string_value();
        let notification = message.body().and_then(|b| serde_json::from_str::<Address>(b).ok());
        let of_body = || notification.as_ref().map(|n| n.authority.to_string());
        let sent = || message.attributes()?.get(&MessageSystemAttributeName::SentTimestamp)?.parse().ok();
        Self {
            reason: text("reason").unwrap_or(REDRIVEN).to_owned(),
            authority: text("authority").map(str::to_owned).or_else(of_body).unwrap_or_else(|| "unknown".into()),
            notification: notification.as_ref().map(|n| n.id),
            since: text("failedAt")
                .and_then(|t| t.parse().ok())
                .or_else(|| sent().and_then(|ms: i64| Timestamp::from_millisecond(ms).ok())),
        }
    }
}

/// The attributes with which a letter is sent again.
pub(super) fn kept_attributes(message: &Message) -> HashMap<String, MessageAttributeValue> {
    let mut attributes = message.message_attributes().cloned().unwrap_or_default();
    attributes.retain(|name, _| !OF_THE_FAILURE.contains(&name.as_str()));
    attributes
}

/// Which letters are meant.
#[derive(Debug, Default, Args)]
pub(super) struct Filter {
    /// Those given up for this reason; repeat for several
    #[arg(long = "reason", value_name = "CODE")]
    reasons: Vec<String>,
    /// Those for this authority; repeat for several
    #[arg(long = "authority", value_name = "CODE", value_parser = authority)]
    authorities: Vec<String>,
    /// The one of this notification, by its id in logs and mailboxes; repeat for several
    #[arg(long = "id", value_name = "UUID")]
    ids: Vec<Uuid>,
}

/// A GSS code, or `unknown` for letters that cannot be read.
fn authority(text: &str) -> Result<String, String> {
    if text == "unknown" {
        return Ok(text.into());
    }
    AuthorityCode::parse(text).map(|c| c.to_string()).map_err(|e| format!("{e}; or `unknown`"))
}

impl Filter {
    /// Whether a letter is meant. A kind of filter that is not given admits all.
    pub(super) fn admits(&self, letter: &Letter) -> bool {
        fn one_of<T: PartialEq>(wanted: &[T], found: Option<&T>) -> bool {
            wanted.is_empty() || found.is_some_and(|f| wanted.contains(f))
        }
        one_of(&self.reasons, Some(&letter.reason))
            && one_of(&self.authorities, Some(&letter.authority))
            && one_of(&self.ids, letter.notification.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use cpis::domain::{
        nhs_number::NhsNumber,
        notification::{Notification, Place, Viewer},
    };

    use super::*;

    const ID: &str = "6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f";

    fn body() -> String {
        let notification = Notification {
            id: ID.parse().expect("valid"),
            access_id: Uuid::nil(),
            authority: AuthorityCode::parse("E06000001").expect("valid"),
            at: Timestamp::UNIX_EPOCH,
            nhs_number: NhsNumber::parse("9990000018").expect("valid"),
            local_ids: vec!["C-1".into()],
            viewer: Viewer { name: "Sam Sample".into(), job_role: None, safeguarding_lead: None },
            organisation: Place { code: Some("ZX001".into()), name: "Sample Hospital".into() },
            trace_id: Uuid::nil(),
        };
        serde_json::to_string(&notification).expect("JSON")
    }

    fn message(body: &str, attributes: &[(&str, &str)]) -> Message {
        let mut builder = Message::builder().body(body);
        for (name, value) in attributes {
            let value = MessageAttributeValue::builder().data_type("String").string_value(*value).build();
            builder = builder.message_attributes(*name, value.expect("complete"));
        }
        builder.attributes(MessageSystemAttributeName::SentTimestamp, "1795348800000").build()
    }

    fn set_aside() -> Message {
        message(
            &body(),
            &[
                ("reason", "authority-closed"),
                ("authority", "E06000001"),
                ("failedAt", "2026-11-22T12:05:00Z"),
                ("attempts", "5"),
                ("traceId", "f47ac10b-58cc-4372-a567-0e02b2c3d479"),
            ],
        )
    }

    #[test]
    fn letters_that_a_function_set_aside() {
        let expected = Letter {
            reason: "authority-closed".into(),
            authority: "E06000001".into(),
            notification: Some(ID.parse().expect("valid")),
            since: Some("2026-11-22T12:05:00Z".parse().expect("valid")),
        };
        assert_eq!(Letter::read(&set_aside()), expected);
    }

    #[test]
    fn letters_that_the_queue_set_aside_are_told_by_body_and_time_sent() {
        let found = Letter::read(&message(&body(), &[]));
        assert_eq!((found.reason.as_str(), found.authority.as_str()), ("redriven", "E06000001"));
        assert_eq!(found.since.map(Timestamp::as_millisecond), Some(1_795_348_800_000));
        let found = Letter::read(&message("{", &[]));
        assert_eq!(
            (found.reason.as_str(), found.authority.as_str(), found.notification),
            ("redriven", "unknown", None)
        );
    }

    #[test]
    fn a_replayed_letter_keeps_everything_but_what_tells_of_the_failure() {
        let kept = kept_attributes(&set_aside());
        let mut names: Vec<_> = kept.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authority", "traceId"]);
        assert!(kept_attributes(&message(&body(), &[])).is_empty());
    }

    #[test]
    fn filters() {
        let letter = Letter::read(&set_aside());
        let unreadable = Letter { notification: None, authority: "unknown".into(), ..letter.clone() };
        let list = |of: &[&str]| of.iter().map(|t| (*t).to_owned()).collect();
        let filter = |reasons: &[&str], authorities: &[&str], ids: &[&str]| Filter {
            reasons: list(reasons),
            authorities: list(authorities),
            ids: ids.iter().map(|t| t.parse().expect("valid")).collect(),
        };
        let other = "00000000-0000-0000-0000-000000000000";
        for (filter, admits) in [
            (filter(&[], &[], &[]), [true, true]),
            (filter(&["authority-closed"], &[], &[]), [true, true]),
            (filter(&["redriven", "authority-closed"], &[], &[]), [true, true]),
            (filter(&["redriven"], &[], &[]), [false, false]),
            (filter(&[], &["E06000002", "E06000001"], &[]), [true, false]),
            (filter(&[], &["unknown"], &[]), [false, true]),
            (filter(&[], &[], &[ID]), [true, false]),
            (filter(&[], &[], &[other]), [false, false]),
            (filter(&["redriven"], &["E06000001"], &[ID]), [false, false]),
            (filter(&["authority-closed"], &["E06000002"], &[ID]), [false, false]),
        ] {
            assert_eq!([&letter, &unreadable].map(|l| filter.admits(l)), admits, "{filter:?}");
        }
    }
}
