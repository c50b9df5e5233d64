//! Records of a table's stream, as use cases take them.

use aws_lambda_events::{
    dynamodb::{EventRecord, StreamRecord},
    streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse},
};

use super::telemetry::{Event, Level};
use crate::ports::PortResult;

/// What the records brought that could be read, each with its record's number in the stream.
#[derive(Debug)]
pub struct Received<T> {
    /// What was read, in the stream's order.
    pub items: Vec<T>,
    sequences: Vec<Option<String>>,
}

impl<T> Received<T> {
    /// Reads the records' new images. One that cannot be read hurts only itself: `unread` adds to its line what else must be said,
    /// and writes it. Trying it again cannot help, so it is not among those to [`retry`](Self::retry).
    pub fn read(
        service: &str,
        records: Vec<EventRecord>,
        read: impl Fn(serde_dynamo::Item) -> PortResult<T>,
        unread: impl Fn(Event),
    ) -> Self {
        let (mut items, mut sequences) = (Vec::with_capacity(records.len()), Vec::with_capacity(records.len()));
        for record in records {
            let StreamRecord { new_image, sequence_number, .. } = record.change;
            match read(new_image) {
                Ok(item) => {
                    items.push(item);
                    sequences.push(sequence_number);
                }
                Err(error) => unread(Event::begin(service).failed(&error).level(Level::Error)),
            }
        }
        Self { items, sequences }
    }

    /// The answer that has the stream hand out again what is not done; `done` says it of each item, in the same order. What it does
    /// not speak of is handed out again.
    #[must_use]
    pub fn retry(self, done: impl IntoIterator<Item = bool>) -> DynamoDbEventResponse {
        let mut response = DynamoDbEventResponse::default();
        let done = done.into_iter().chain(std::iter::repeat(false));
        for (sequence, _) in self.sequences.into_iter().zip(done).filter(|(_, done)| !done) {
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier = sequence;
            response.batch_item_failures.push(failure);
        }
        response
    }
}
