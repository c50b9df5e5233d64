//! Dead letters moved by the bare calls: receive, send, delete, and let go of what is not meant.

use aws_sdk_sqs::{
    Client,
    types::{
        ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, SendMessageBatchRequestEntry,
    },
};
use futures_util::{StreamExt, TryStreamExt, future::try_join_all, stream};
use lambda_runtime::Error;
use serde_json::{Value, json};

/// For how long a message is held, in seconds.
const HOLD: i32 = 600;

/// `concurrency` workers each receive ten messages from the dead-letter queue, send on those of `reason`, or all where none
/// is given, and delete them, until there are no more. The others are let go of at the end.
pub(crate) async fn move_letters(sqs: &Client, event: &Value) -> Result<Value, Error> {
    let (from, to) = (std::env::var("ASN_DLQ_URL")?, std::env::var("ASN_QUEUE_URL")?);
    let concurrency = usize::try_from(event["concurrency"].as_u64().unwrap_or(1))?;
    let worker = || async {
        let (mut moved, mut held) = (0, Vec::new());
        loop {
            let call = sqs.receive_message().queue_url(&from).max_number_of_messages(10).visibility_timeout(HOLD);
            let messages = call.message_attribute_names("All").send().await?.messages.unwrap_or_default();
            if messages.is_empty() {
                return Ok::<_, Error>((moved, held));
            }
            let (meant, others): (Vec<_>, Vec<_>) = messages.into_iter().partition(|m| is_meant(m, &event["reason"]));
            held.extend(others.into_iter().filter_map(|m| m.receipt_handle));
            if !meant.is_empty() {
                send_and_delete(sqs, &from, &to, &meant).await?;
            }
            moved += meant.len();
        }
    };
    let done = try_join_all((0..concurrency).map(|_| worker())).await?;
    let held: Vec<_> = done.iter().flat_map(|(_, held)| held).collect();
    stream::iter(held.chunks(10))
        .map(|receipts| release(sqs, &from, receipts))
        .buffer_unordered(concurrency)
        .try_collect::<()>()
        .await?;
    Ok(json!({"moved": done.iter().map(|(moved, _)| moved).sum::<usize>(), "held": held.len()}))
}

fn is_meant(message: &Message, reason: &Value) -> bool {
    let found = message.message_attributes().and_then(|a| a.get("reason")?.string_value());
    reason.is_null() || found == reason.as_str()
}

async fn send_and_delete(sqs: &Client, from: &str, to: &str, messages: &[Message]) -> Result<(), Error> {
    let entry = |(n, m): (usize, &Message)| {
        let entry = SendMessageBatchRequestEntry::builder().id(n.to_string());
        entry.message_body(m.body().unwrap_or_default()).set_message_attributes(m.message_attributes().cloned()).build()
    };
    let entries = messages.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
    sqs.send_message_batch().queue_url(to).set_entries(Some(entries)).send().await?;
    let entry = |(n, m): (usize, &Message)| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
        entry.receipt_handle(m.receipt_handle().unwrap_or_default()).build()
    };
    let entries = messages.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
    sqs.delete_message_batch().queue_url(from).set_entries(Some(entries)).send().await?;
    Ok(())
}

async fn release(sqs: &Client, from: &str, receipts: &[&String]) -> Result<(), Error> {
    let entry = |(n, receipt): (usize, &&String)| {
        let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(n.to_string());
        entry.receipt_handle(*receipt).visibility_timeout(0).build()
    };
    let entries = receipts.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
    sqs.change_message_visibility_batch().queue_url(from).set_entries(Some(entries)).send().await?;
    Ok(())
}
