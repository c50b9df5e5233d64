//! The queue of push tasks.

use aws_config::SdkConfig;
use aws_sdk_sqs::{Client, types::SendMessageBatchRequestEntry};

use super::queue::{send_each, text};
use crate::{
    domain::ways_out::PushTask,
    ports::{PortError, PortResult, PushQueue},
};

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
        send_each(&self.client, &self.url, SEND, tasks, entry).await
    }
}
