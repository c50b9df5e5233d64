//! The ports over DynamoDB and SQS: the only place in the shared crate that names an AWS SDK type.

#[cfg(feature = "dynamodb")]
mod access_search;
#[cfg(feature = "dynamodb")]
mod accesses;
#[cfg(feature = "archive")]
mod archive;
#[cfg(feature = "dynamodb")]
mod audit;
pub mod config;
#[cfg(feature = "dynamodb")]
mod directory;
#[cfg(feature = "dynamodb")]
mod dynamo;
mod failure;
#[cfg(feature = "dynamodb")]
pub mod keys;
#[cfg(feature = "dynamodb")]
mod limits;
#[cfg(feature = "dynamodb")]
mod mailbox;
#[cfg(feature = "dynamodb")]
mod outbox;
#[cfg(feature = "dynamodb")]
mod plans;
#[cfg(feature = "sqs")]
mod push_queue;
#[cfg(feature = "dynamodb")]
mod pushes;
#[cfg(feature = "sqs")]
mod queue;
#[cfg(feature = "push")]
mod secrets;
#[cfg(feature = "dynamodb")]
mod unaudited;
#[cfg(feature = "dynamodb")]
mod uploads;
#[cfg(feature = "dynamodb")]
mod wakes;

#[cfg(feature = "archive")]
pub use archive::{HeadBucket, HeadKey};
#[cfg(feature = "dynamodb")]
pub use dynamo::{Dynamo, Tables};
#[cfg(feature = "dynamodb")]
pub use outbox::{from_stream_image, is_of_something_owed, owing_from_stream_image};
#[cfg(feature = "sqs")]
pub use push_queue::PushTasks;
#[cfg(feature = "sqs")]
pub use queue::{AsnQueue, DeadLetters};
#[cfg(feature = "push")]
pub use secrets::Secrets;
