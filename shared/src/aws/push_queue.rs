//! The queue of push tasks.

use aws_config::SdkConfig;
use aws_sdk_sqs::{Client, types::SendMessageBatchRequestEntry};

use super::{failure::failed, queue::text};
use crate::{
    domain::ways_out::PushTask,
    ports::{PortError, PortResult, PushQueue},
};

/// Messages in one call (SQS: `SendMessageBatch` takes 10).
const BATCH: usize = 10;
const SEND: &str = "push-queue.send";

/// The queue of push tasks.
#[derive(Debug, Clone)]
pub struct PushTasks {
    client: Client,
    url: String,
}

impl PushTasks {
    /// The queue at a URL.
    #[must_use]
    pub fn new(config: &SdkConfig, url: String) -> Self {
        Self { client: Client::new(config), url }
    }

    async fn send_batch(&self, batch: &[PushTask]) -> Vec<PortResult<()>> {
        let all = |error: PortError| vec![Err(error); batch.len()];
        let entries: PortResult<Vec<_>> = batch.iter().enumerate().map(|(n, task)| entry(n, task)).collect();
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return all(error),
        };
        let sent = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries)).send().await;
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) => return all(failed(SEND)(error)),
        };
        // Only what the queue says it has, it has.
        let mut answers =
            vec![Err(PortError { step: SEND, cause: "BatchEntryFailed".into(), retryable: true }); batch.len()];
        for entry in sent.successful {
            if let Some(answer) = entry.id.parse().ok().and_then(|n: usize| answers.get_mut(n)) {
                *answer = Ok(());
            }
        }
        answers
    }
}

fn entry(number: usize, task: &PushTask) -> PortResult<SendMessageBatchRequestEntry> {
    let unbuilt = |cause: &str| PortError { step: SEND, cause: cause.into(), retryable: false };
    let body = serde_json::to_string(task).map_err(|_| unbuilt("NotJson"))?;
    let entry = SendMessageBatchRequestEntry::builder()
        .id(number.to_string())
        .message_body(body)
        .message_attributes("authority", text(task.authority.as_str())?)
        .message_attributes("kind", text("push")?)
        .message_attributes("traceId", text(&task.trace_id.to_string())?)
        .message_attributes("way", text(task.way.name())?);
    entry.build().map_err(|_| unbuilt("EntryNotBuilt"))
}

impl PushQueue for PushTasks {
    async fn send_pushes(&self, tasks: &[PushTask]) -> Vec<PortResult<()>> {
        let mut answers = Vec::with_capacity(tasks.len());
        for batch in tasks.chunks(BATCH) {
            answers.extend(self.send_batch(batch).await);
        }
        answers
    }
}
