//! One dead letter, without what tells of the child unless that is asked for and recorded.

use std::ops::ControlFlow;

use aws_sdk_sqs::{
    Client,
    types::{Message, MessageSystemAttributeName},
};
use clap::Args;
use cpis::{domain::ways_out::PushTask, ports::AuditLog};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    letter::{Dead, Id, Letter, StreamRecords},
    report::CUT_SHORT,
    sweep::Sweep,
    trail::{Fate, REVEAL, Trail},
};
use crate::{
    failure::{Outcome, Result},
    interrupt::Interrupt,
    operator::Operator,
    output,
};

/// Fields of a notification that tell nothing of the child.
const OPEN_FIELDS: [&str; 7] = ["id", "accessId", "authority", "at", "kind", "traceId", "organisation"];
/// Those of a push's besides: whose notification goes which way.
const OPEN_FIELDS_OF_A_PUSH: [&str; 2] = ["notification", "way"];
/// Those of a change of an NHS number. Whether there was an adoption is not among them.
const OPEN_FIELDS_OF_A_CHANGE: [&str; 2] = ["id", "change"];
/// Those of what Lambda says of records of a stream: none of what they hold.
const OPEN_FIELDS_OF_RECORDS: [&str; 5] =
    ["requestContext", "responseContext", "version", "timestamp", "DDBStreamBatchInfo"];
/// Attributes that do not.
const OPEN_ATTRIBUTES: [&str; 6] = ["reason", "authority", "attempts", "failedAt", "kind", "traceId"];
/// What stands for what is not shown.
const REDACTED: &str = "[redacted]";

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Id of the notification, as in logs and mailboxes; or the queue's, of what is none
    #[arg(value_name = "UUID")]
    id: Uuid,
    /// Show all of it, which is about a child; written to the audit log first
    #[arg(long, requires = "because")]
    reveal: bool,
    #[command(flatten)]
    operator: Operator,
}

impl ShowArgs {
    pub(super) async fn run<L: AuditLog>(
        self,
        sqs: &Client,
        queue: &str,
        log: impl AsyncFnOnce() -> Result<L>,
        json: bool,
    ) -> Result<Outcome> {
        let Some(Dead { letter, message }) = self.find(sqs, queue).await? else {
            return Ok(Outcome::NeedsAttention);
        };
        if self.reveal {
            let (actor, why) = (self.operator.actor()?, self.operator.because(REVEAL.name)?);
            let mut trail = Trail::new(log().await?, REVEAL, actor, why, format!("id={}", self.id));
            // R71: nothing is shown that is not recorded.
            trail.letters([(&letter, Fate::Done)], []).await?;
        }
        let shown = shown(&letter, &message, self.reveal);
        if json {
            output::json(&shown)?;
        } else {
            text(&shown, &letter)?;
        }
        Ok(Outcome::Done)
    }

    /// Looks for the letter, and leaves it and all others where they are.
    async fn find(&self, sqs: &Client, queue: &str) -> Result<Option<Dead>> {
        let mut found = None;
        let read = |letters: Vec<Dead>| {
            found = letters.into_iter().find(|dead| dead.letter.id.uuid() == Some(self.id));
            Ok(if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        let missed = Sweep::of(sqs, queue, &Interrupt::watch()?).await?.through(read).await?;
        match (&found, missed.is_interrupted) {
            (Some(_), _) => {}
            (None, true) => output::note(CUT_SHORT),
            (None, false) => output::note("no dead letter has this id"),
        }
        if found.is_none() {
            missed.unseen.notes().iter().for_each(output::note);
        }
        Ok(found)
    }
}

/// The letter as JSON, with as much as may be shown.
fn shown(letter: &Letter, message: &Message, reveal: bool) -> Value {
    let system = |name| message.attributes().and_then(|a| a.get(&name)).cloned();
    let attributes = message.message_attributes().into_iter().flatten().map(|(name, value)| {
        let is_open = reveal || OPEN_ATTRIBUTES.contains(&name.as_str());
        (name.clone(), if is_open { value.string_value().unwrap_or("(binary)") } else { REDACTED }.into())
    });
    let attributes: Map<String, Value> = attributes.collect();
    json!({
        "letter": letter,
        "receives": system(MessageSystemAttributeName::ApproximateReceiveCount),
        "messageId": message.message_id(),
        "trace": system(MessageSystemAttributeName::AwsTraceHeader),
        "attributes": attributes,
        "body": body(letter, message.body().unwrap_or_default(), reveal),
    })
}

fn body(letter: &Letter, text: &str, reveal: bool) -> Value {
    let parsed = serde_json::from_str::<Map<String, Value>>(text).ok();
    match (parsed, letter.id) {
        (Some(fields), _) if reveal => fields.into(),
        (None, _) if reveal => text.into(),
        (Some(mut fields), id) if is_known(id, text) => {
            let is_open = |name: &str| match id {
                Id::Change(_) => OPEN_FIELDS_OF_A_CHANGE.contains(&name),
                Id::Notification(_) => {
                    OPEN_FIELDS.contains(&name) || is_push(text) && OPEN_FIELDS_OF_A_PUSH.contains(&name)
                }
                Id::Message(_) | Id::None => OPEN_FIELDS_OF_RECORDS.contains(&name),
            };
            for (_, value) in fields.iter_mut().filter(|(name, _)| !is_open(name)) {
                *value = REDACTED.into();
            }
            fields.into()
        }
        // Of anything else nobody knows which parts are open.
        _ => format!("[redacted: {} bytes]", text.len()).into(),
    }
}

/// Whether it is known which parts are open.
fn is_known(id: Id, body: &str) -> bool {
    matches!(id, Id::Notification(_) | Id::Change(_)) || StreamRecords::read(body).is_some()
}

fn is_push(body: &str) -> bool {
    serde_json::from_str::<PushTask>(body).is_ok()
}

fn text(shown: &Value, letter: &Letter) -> Result<()> {
    let age = letter.since.map_or_else(|| "-".into(), |since| output::ago(since, Timestamp::now()));
    output::line(&format!("{}: {}, for {}, given up {age} ago", letter.id, letter.reason, letter.authority))?;
    for (name, value) in shown["attributes"].as_object().into_iter().flatten() {
        output::line(&format!("  {name}: {}", value.as_str().unwrap_or_default().escape_debug()))?;
    }
    Ok(output::json(&shown["body"])?)
}

#[cfg(test)]
mod tests {
    use aws_sdk_sqs::types::MessageAttributeValue;

    use super::*;

    /// What may not be seen.
    const CLOSED: [&str; 5] = ["9990000018", "C-17", "Sam Sample", "R0260", "secret"];

    fn message(body: &str) -> Message {
        let text = |t: &str| MessageAttributeValue::builder().data_type("String").string_value(t).build();
        Message::builder()
            .message_id(Uuid::max().to_string())
            .body(body)
            .message_attributes("reason", text("step-failed").expect("complete"))
            .message_attributes("other", text("secret").expect("complete"))
            .build()
    }

    fn notification() -> Value {
        json!({
            "id": Uuid::nil(), "accessId": Uuid::nil(), "authority": "E06000001", "at": "2026-11-22T12:00:00Z",
            "nhsNumber": "9990000018", "localIds": ["C-17"], "organisation": {"code": "ZX001", "name": "Sample Hospital"},
            "viewer": {"name": "Sam Sample", "jobRole": {"code": "R0260"}}, "traceId": Uuid::nil(), "later": "secret",
        })
    }

    #[test]
    fn r31_nothing_of_a_child_is_shown_unless_asked_for() {
        for body in [notification().to_string(), "9990000018 Sam Sample".into(), r#"{"nhsNumber":"9990000018"}"#.into()]
        {
            let message = message(&body);
            let letter = Letter::read(&message);
            let redacted = shown(&letter, &message, false).to_string();
            assert!(CLOSED.iter().all(|closed| !redacted.contains(closed)), "{redacted}");
            let revealed = shown(&letter, &message, true).to_string();
            assert!(revealed.contains("9990000018") && revealed.contains("secret"), "{revealed}");
        }
        // Of a change even that there was an adoption is closed, and a text that stands where a code belongs.
        let change = json!({"nhsNumber": "9990000018", "change": "superseded", "adopted": true, "id": Uuid::nil()});
        for (body, open) in [(&change, true), (&json!({"change": "9990000018", "id": Uuid::nil()}), false)] {
            let message = message(&body.to_string());
            let shown = shown(&Letter::read(&message), &message, false)["body"].to_string();
            assert!(!shown.contains("9990000018") && !shown.contains("true"), "{shown}");
            assert_eq!(shown.contains("superseded"), open, "{shown}");
        }
        let message = message(&notification().to_string());
        let shown = shown(&Letter::read(&message), &message, false);
        assert_eq!(shown["body"]["organisation"]["name"], "Sample Hospital");
        assert_eq!(
            (&shown["body"]["nhsNumber"], &shown["attributes"]["reason"]),
            (&json!(REDACTED), &json!("step-failed"))
        );
    }

    #[test]
    fn a_push_and_the_place_of_records_in_a_stream_tell_nothing_of_a_child() {
        let push = json!({"id": Uuid::nil(), "authority": "E06000001", "notification": Uuid::max(), "way": "webhook",
            "traceId": Uuid::nil()});
        let records = json!({"requestContext": {"condition": "RetryAttemptsExhausted"}, "version": "1.0",
            "timestamp": "2026-11-22T12:05:00Z", "DDBStreamBatchInfo": {"shardId": "shardId-1", "batchSize": 3}});
        for body in [push, records] {
            let message = message(&body.to_string());
            assert_eq!(shown(&Letter::read(&message), &message, false)["body"], body);
        }
        let mut notification = notification();
        notification["notification"] = "9990000018".into();
        let message = message(&notification.to_string());
        assert_eq!(shown(&Letter::read(&message), &message, false)["body"]["notification"], REDACTED);
    }
}
