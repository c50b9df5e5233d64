//! What can be told of a dead letter without telling whom it is about.

use std::{collections::HashMap, fmt};

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use cpis::domain::{audit::kind, authority::AuthorityCode, notice::NumberChange};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use uuid::Uuid;

use crate::output;

/// Reason of what the queue itself set aside, after the last receive that its redrive policy allows.
const REDRIVEN: &str = "redriven";
/// Kind of a notification that an access raised, and that need not say so.
const ACCESS: &str = "access";
/// Kind of what Lambda says of records of a stream.
const STREAM_RECORDS: &str = "stream-records";
/// What stands where an authority or a kind cannot be told.
pub(super) const UNKNOWN: &str = "unknown";
/// The longest code of a reason or a kind.
const LONGEST_CODE: usize = 40;
/// Attributes that tell of the failure, and go when a letter is replayed.
const OF_THE_FAILURE: [&str; 3] = ["reason", "failedAt", "attempts"];

/// The parts of a notification by which a letter is told from others. The rest is about a child, and is not even read.
#[derive(Deserialize)]
struct Address {
    id: Uuid,
    authority: AuthorityCode,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    at: Option<Timestamp>,
}

/// The parts of a change of an NHS number that tell nothing of whom it is about.
#[derive(Deserialize)]
struct Change {
    id: Uuid,
    #[serde(rename = "change")]
    _change: NumberChange,
}

/// What Lambda says of records of a stream that a function could not handle: their place in it, and nothing of what they hold.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StreamRecords {
    request_context: RequestContext,
    timestamp: Timestamp,
    #[serde(rename = "DDBStreamBatchInfo")]
    _place: IgnoredAny,
}

#[derive(Deserialize)]
struct RequestContext {
    condition: String,
}

impl StreamRecords {
    /// Reads a message's body, if it is such a one.
    pub(super) fn read(body: &str) -> Option<Self> {
        serde_json::from_str(body).ok()
    }

    /// Why Lambda gave up, such as `retry-attempts-exhausted`.
    fn reason(&self) -> String {
        let condition = self.request_context.condition.chars();
        let spelt = condition.enumerate().fold(String::new(), |mut spelt, (n, c)| {
            if n > 0 && c.is_ascii_uppercase() {
                spelt.push('-');
            }
            spelt.push(c.to_ascii_lowercase());
            spelt
        });
        code(&spelt)
    }
}

/// By what a letter is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Id {
    /// The notification's own id (R26), which stands in logs and mailboxes too.
    Notification(Uuid),
    /// The sender's own id of a change of an NHS number.
    Change(Uuid),
    /// The queue's id of a message that is neither.
    Message(Uuid),
    /// A message whose queue gives ids of another form.
    None,
}

impl Id {
    /// The UUID.
    pub(super) fn uuid(self) -> Option<Uuid> {
        match self {
            Self::Notification(id) | Self::Change(id) | Self::Message(id) => Some(id),
            Self::None => None,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uuid() {
            Some(id) => id.fmt(f),
            None => f.write_str("-"),
        }
    }
}

impl Serialize for Id {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.uuid().serialize(serializer)
    }
}

/// A dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Letter {
    /// By what it is known.
    pub(super) id: Id,
    /// Why it could not be delivered, a stable code.
    pub(super) reason: String,
    /// For whom it is; `unknown` where that cannot be read.
    pub(super) authority: String,
    /// Kind of notice: `access` for a notification of an access; `unknown` where that cannot be read.
    pub(super) kind: String,
    /// When it was given up or, where nobody wrote that down, first sent.
    pub(super) since: Option<Timestamp>,
    /// When what it tells of happened: the order within an authority.
    #[serde(skip)]
    pub(super) at: Option<Timestamp>,
}

impl Letter {
    /// Reads a message of the dead-letter queue. What the queue itself set aside says nothing of the failure.
    pub(super) fn read(message: &Message) -> Self {
        let text = |name: &str| message.message_attributes()?.get(name)?.string_value();
        let body = message.body().unwrap_or_default();
        let address = serde_json::from_str::<Address>(body).ok();
        let change = if address.is_none() { serde_json::from_str::<Change>(body).ok() } else { None };
        let records = if address.is_none() && change.is_none() { StreamRecords::read(body) } else { None };
        let beside = || text("authority").and_then(|code| AuthorityCode::parse(code).ok());
        let authority = beside().or_else(|| address.as_ref().map(|a| a.authority.clone()));
        let own = match (&address, &change, &records) {
            (Some(address), ..) => Some(address.kind.as_deref().unwrap_or(ACCESS)),
            (_, Some(_), _) => Some(kind::NUMBER_CHANGES),
            (.., Some(_)) => Some(STREAM_RECORDS),
            _ => None,
        };
        let given = address.as_ref().map(|a| Id::Notification(a.id)).or(change.map(|c| Id::Change(c.id)));
        let of_queue = || message.message_id()?.parse().ok().map(Id::Message);
        let redriven = || records.as_ref().map_or_else(|| REDRIVEN.into(), StreamRecords::reason);
        let written = text("failedAt").and_then(|t| t.parse().ok()).or(records.as_ref().map(|r| r.timestamp));
        Self {
            id: given.or_else(of_queue).unwrap_or(Id::None),
            reason: text("reason").map_or_else(redriven, code),
            authority: authority.map_or_else(|| UNKNOWN.into(), |code| code.to_string()),
            kind: code(text("kind").or(own).unwrap_or(UNKNOWN)),
            since: written.or_else(|| sent(message)),
            at: address.as_ref().and_then(|a| a.at),
        }
    }

    /// The letter on a line of its own.
    pub(super) fn line(&self, now: Timestamp) -> String {
        let Self { id, reason, authority, kind, since, .. } = self;
        let age = since.map_or_else(|| "-".into(), |s| output::ago(s, now));
        format!("{id}  {reason}  {authority}  {kind}  {age}")
    }
}

/// A message of the dead-letter queue and what can be told of it.
pub(super) struct Dead {
    pub(super) message: Message,
    pub(super) letter: Letter,
}

impl Dead {
    /// Reads a message.
    pub(super) fn read(message: Message) -> Self {
        Self { letter: Letter::read(&message), message }
    }

    /// By what it is the same as another.
    pub(super) fn key(&self) -> Uuid {
        key(self.letter.id, self.message.body().unwrap_or_default())
    }

    /// By what letters stand in order: when what they tell of happened or, where they do not say, when they were given up.
    pub(super) fn order(&self) -> Option<Timestamp> {
        self.letter.at.or(self.letter.since)
    }
}

/// By what a letter is the same as another: the notification's id or, of what is none, what it says.
fn key(id: Id, body: &str) -> Uuid {
    match id {
        Id::Notification(id) => id,
        // The queue's own id is another each time it is sent, and a sender may give one to two changes.
        Id::Change(_) | Id::Message(_) | Id::None => Uuid::new_v5(&Uuid::NAMESPACE_OID, body.as_bytes()),
    }
}

/// A stable code as it is; whatever else a message from elsewhere says in its place is not shown (R31).
fn code(text: &str) -> String {
    let is_code = text.len() <= LONGEST_CODE && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    if is_code && !text.is_empty() { text.to_owned() } else { UNKNOWN.to_owned() }
}

/// When the message was sent to its first queue.
fn sent(message: &Message) -> Option<Timestamp> {
    let sent = message.attributes()?.get(&MessageSystemAttributeName::SentTimestamp)?;
    Timestamp::from_millisecond(sent.parse().ok()?).ok()
}

/// The attributes with which a letter is sent again.
pub(super) fn kept_attributes(message: &Message) -> HashMap<String, MessageAttributeValue> {
    let mut attributes = message.message_attributes().cloned().unwrap_or_default();
    attributes.retain(|name, _| !OF_THE_FAILURE.contains(&name.as_str()));
    attributes
}

#[cfg(test)]
mod tests {
    use cpis::domain::{
        nhs_number::NhsNumber,
        notification::{AccessTold, Content, Notification, Place, Viewer},
    };

    use super::*;

    const ID: &str = "6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f";

    fn body() -> String {
        let told = AccessTold {
            access_id: Uuid::nil(),
            nhs_number: NhsNumber::parse("9990000018").expect("valid"),
            local_ids: vec!["C-1".into()],
            viewer: Viewer { name: "Sam Sample".into(), job_role: None, safeguarding_lead: None },
            organisation: Place { code: Some("ZX001".into()), name: "Sample Hospital".into(), region: None },
            signals: std::collections::BTreeSet::new(),
        };
        let notification = Notification {
            id: ID.parse().expect("valid"),
            authority: AuthorityCode::parse("E06000001").expect("valid"),
            at: Timestamp::UNIX_EPOCH,
            trace_id: Uuid::nil(),
            content: Content::Access(told),
        };
        serde_json::to_string(&notification).expect("JSON")
    }

    fn message(body: &str, attributes: &[(&str, &str)]) -> Message {
        let mut builder = Message::builder().message_id(Uuid::nil().to_string()).body(body);
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
            kind: "access".into(),
            id: Id::Notification(ID.parse().expect("valid")),
            since: Some("2026-11-22T12:05:00Z".parse().expect("valid")),
            at: Some(Timestamp::UNIX_EPOCH),
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
            (found.reason.as_str(), found.authority.as_str(), found.kind.as_str()),
            ("redriven", "unknown", "unknown")
        );
        assert_eq!(found.id, Id::Message(Uuid::nil()), "known by the queue's id");
    }

    #[test]
    fn a_change_of_a_number_is_known_by_its_senders_id_and_is_the_same_as_another_by_all_it_says() {
        let told = |id: &str| format!(r#"{{"nhsNumber":"9990000018","change":"inactive","adopted":false{id}}}"#);
        let body = told(&format!(r#","id":"{ID}""#));
        let found = Letter::read(&message(&body, &[("reason", "step-failed")]));
        assert_eq!((found.id, found.kind.as_str()), (Id::Change(ID.parse().expect("valid")), "number-changes"));
        assert_eq!(found.id.to_string(), ID);
        let nameless = Letter::read(&message(&told(r#","id":null"#), &[]));
        assert_eq!(nameless.id, Id::Message(Uuid::nil()), "a sender need not give one");
        // Nothing made from the number alone may stand in a log: ten digits can all be tried.
        assert_ne!(key(found.id, &body), key(found.id, &body.replace("inactive", "superseded")), "each counts");
    }

    #[test]
    fn what_lambda_says_of_records_of_a_stream() {
        let body = r#"{"requestContext":{"requestId":"c0a0f2e6","functionArn":"arn:x","condition":"RetryAttemptsExhausted",
            "approximateInvokeCount":4},"responseContext":{"statusCode":200},"version":"1.0",
            "timestamp":"2026-11-22T12:05:00.000Z","DDBStreamBatchInfo":{"shardId":"s","batchSize":1}}"#;
        let found = Letter::read(&message(body, &[]));
        let told = [&found.reason, &found.kind, &found.authority].map(String::as_str);
        assert_eq!(told, ["retry-attempts-exhausted", "stream-records", "unknown"]);
        assert_eq!((found.id, found.since), (Id::Message(Uuid::nil()), "2026-11-22T12:05:00Z".parse().ok()));
        let other = body.replace("RetryAttemptsExhausted", "9990000018");
        assert_eq!(Letter::read(&message(&other, &[])).reason, "unknown");
    }

    #[test]
    fn what_is_no_code_is_not_shown() {
        for text in ["", "Robin Sample", "9990000018", "\u{1b}[2J", &"x".repeat(41)] {
            assert_eq!(code(text), "unknown", "{text}");
        }
        assert_eq!(code("authority-closed"), "authority-closed");
        let found = Letter::read(&message("{", &[("authority", "Robin Sample"), ("reason", "999"), ("kind", "Robin")]));
        assert_eq!([found.reason, found.authority, found.kind], ["unknown"; 3]);
    }

    #[test]
    fn letters_that_are_the_same() {
        let id: Uuid = ID.parse().expect("valid");
        assert_eq!(key(Id::Notification(id), "a"), id);
        assert_eq!(key(Id::Message(id), "a"), key(Id::None, "a"));
        assert_ne!(key(Id::None, "a"), key(Id::None, "b"));
    }

    #[test]
    fn a_replayed_letter_keeps_everything_but_what_tells_of_the_failure() {
        let kept = kept_attributes(&set_aside());
        let mut names: Vec<_> = kept.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authority", "traceId"]);
        assert!(kept_attributes(&message(&body(), &[])).is_empty());
    }
}
