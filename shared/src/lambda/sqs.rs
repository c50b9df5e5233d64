//! Messages of a queue, as use cases take them.

use aws_lambda_events::sqs::SqsMessage;
use jiff::Timestamp;

use crate::usecase::queued::Message;

/// Reads what the queue says of a message beside its body (SQS Developer Guide, `ReceiveMessage`: `ApproximateReceiveCount`,
/// `SentTimestamp` in milliseconds, `AWSTraceHeader`).
#[must_use]
pub fn received(record: &SqsMessage) -> Message<'_> {
    let attribute = |name: &str| record.attributes.get(name);
    Message {
        receipt: record.receipt_handle.as_deref().unwrap_or_default(),
        body: record.body.as_deref().unwrap_or_default(),
        attempts: attribute("ApproximateReceiveCount").and_then(|n| n.parse().ok()).unwrap_or(1),
        sent_at: attribute("SentTimestamp").and_then(|ms| Timestamp::from_millisecond(ms.parse().ok()?).ok()),
        trace: attribute("AWSTraceHeader").map(String::as_str),
        attributes: record
            .message_attributes
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.string_value.as_deref()?)))
            .collect(),
    }
}
