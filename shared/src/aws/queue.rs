//! The queue of notifications and its dead-letter queue.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_sqs::{
    Client,
    types::{
        MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
        SendMessageBatchRequestEntry,
    },
};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::failure::failed;
#[cfg(feature = "testing")]
use crate::simulation::{self, Bug};
use crate::{
    domain::{notification::Notification, time::sortable},
    ports::{FailedDeliveries, NotificationQueue, PortError, PortResult, QUEUED_AT, SetAside},
};

/// Messages in one call (SQS: `SendMessageBatch` takes 10, 256 KB in all; a notification has under 4 KB).
const BATCH: usize = 10;
/// Calls under way at once.
const CONCURRENCY: usize = 16;
/// Attributes that a message may have (SQS).
const MAX_ATTRIBUTES: usize = 10;
const SEND: &str = "asn-queue.send";

/// The queue of notifications.
#[derive(Debug, Clone)]
pub struct AsnQueue {
    client: Client,
    url: String,
}

impl AsnQueue {
    /// The queue at a URL.
    #[must_use]
    pub fn new(config: &SdkConfig, url: String) -> Self {
        Self { client: Client::new(config), url }
    }
}

/// Sends messages to a queue, ten in a call; answers for each, in the same order.
pub(super) async fn send_each<T>(
    client: &Client,
    url: &str,
    step: &'static str,
    messages: &[T],
    entry: impl Fn(usize, &T) -> PortResult<SendMessageBatchRequestEntry>,
) -> Vec<PortResult<()>> {
    let batch = |messages: &[T]| messages.iter().enumerate().map(|(n, message)| entry(n, message)).collect();
    let batches: Vec<(usize, PortResult<_>)> =
        messages.chunks(BATCH).map(|chunk| (chunk.len(), batch(chunk))).collect();
    let calls: Vec<_> =
        batches.into_iter().map(|(size, entries)| send_batch(client, url, step, size, entries)).collect();
    stream::iter(calls).buffered(CONCURRENCY).flat_map(stream::iter).collect().await
}

async fn send_batch(
    client: &Client,
    url: &str,
    step: &'static str,
    size: usize,
    entries: PortResult<Vec<SendMessageBatchRequestEntry>>,
) -> Vec<PortResult<()>> {
    let sent = async {
        let call = client.send_message_batch().queue_url(url).set_entries(Some(entries?));
        call.send().await.map_err(failed(step))
    };
    let sent = match sent.await {
        Ok(sent) => sent,
        Err(error) => return vec![Err(error); size],
    };
    #[cfg(feature = "testing")]
    if simulation::has(Bug::BelievesWholeBatches) {
        return vec![Ok(()); size];
    }
    // Only what the queue says it has, it has.
    let mut answers = vec![Err(PortError { step, cause: "BatchEntryFailed".into(), retryable: true }); size];
    for entry in sent.successful {
        if let Some(answer) = entry.id.parse().ok().and_then(|n: usize| answers.get_mut(n)) {
            *answer = Ok(());
        }
    }
    answers
}

fn entry(number: usize, asn: &Notification, now: Timestamp) -> PortResult<SendMessageBatchRequestEntry> {
    let unbuilt = |cause: &str| PortError { step: SEND, cause: cause.into(), retryable: false };
    let body = serde_json::to_string(asn).map_err(|_| unbuilt("NotJson"))?;
    let entry = SendMessageBatchRequestEntry::builder().id(number.to_string()).message_body(body);
    let entry = entry.message_attributes("authority", text(asn.authority.as_str())?);
    let entry = entry.message_attributes("kind", text(asn.content.kind())?);
    let entry = entry.message_attributes("traceId", text(&asn.trace_id.to_string())?);
    // R89: it goes with the message wherever that goes, so that a replay does not take its place.
    let entry = entry.message_attributes(QUEUED_AT, text(&sortable(now))?);
    entry.build().map_err(|_| unbuilt("EntryNotBuilt"))
}

pub(super) fn text(value: &str) -> PortResult<MessageAttributeValue> {
    let value = MessageAttributeValue::builder().data_type("String").string_value(value).build();
    value.map_err(|_| PortError { step: SEND, cause: "AttributeNotBuilt".into(), retryable: false })
}

impl NotificationQueue for AsnQueue {
    async fn send(&self, notifications: &[Notification], now: Timestamp) -> Vec<PortResult<()>> {
        send_each(&self.client, &self.url, SEND, notifications, |number, asn| entry(number, asn, now)).await
    }
}

/// The queue of notifications, as the deliverer of its messages sees it, and the dead-letter queue.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    client: Client,
    queue_url: String,
    dead_letter_url: String,
}

impl DeadLetters {
    /// The queue and the dead-letter queue at these URLs.
    #[must_use]
    pub fn new(config: &SdkConfig, queue_url: String, dead_letter_url: String) -> Self {
        Self { client: Client::new(config), queue_url, dead_letter_url }
    }
}

impl FailedDeliveries for DeadLetters {
    async fn postpone(&self, receipt: &str, seconds: u32) -> PortResult<()> {
        let change = self.client.change_message_visibility().queue_url(&self.queue_url).receipt_handle(receipt);
        let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
        change.visibility_timeout(seconds).send().await.map(drop).map_err(failed("asn-queue.postpone"))
    }

    async fn set_aside(&self, body: &str, why: &SetAside) -> PortResult<()> {
        let mut send = self.client.send_message().queue_url(&self.dead_letter_url).message_body(body);
        for (name, value) in attributes(body, why) {
            send = send.message_attributes(name, text(&value)?);
        }
        if let Some(trace) = &why.trace {
            let header = MessageSystemAttributeValue::builder().data_type("String").string_value(trace).build();
            if let Ok(header) = header {
                send = send.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, header);
            }
        }
        send.send().await.map(drop).map_err(failed("asn-dlq.send"))
    }
}

/// What is told of the failure and, as far as there is room, the message's own attributes.
fn attributes(body: &str, why: &SetAside) -> BTreeMap<String, String> {
    let mut attributes: BTreeMap<_, _> = [
        ("reason", Some(why.reason.clone())),
        ("authority", Some(why.authority.clone())),
        ("attempts", Some(why.attempts.to_string())),
        ("failedAt", Some(sortable(why.failed_at))),
        ("traceId", trace_id(body)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), value?)))
    .collect();
    for (name, value) in why.attributes.iter().filter(|(_, value)| !value.is_empty()) {
        if attributes.len() < MAX_ATTRIBUTES {
            attributes.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    attributes
}

/// The look-up's `TraceID`, where the message can be read.
fn trace_id(body: &str) -> Option<String> {
    /// Notifications and push tasks both say it.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Traced {
        trace_id: Uuid,
    }
    serde_json::from_str::<Traced>(body).ok().map(|traced| traced.trace_id.to_string())
}
