//! What functions share at the edge: configuration, telemetry, HTTP.

pub mod budgets;
pub mod cached;
mod callers;
pub mod config;
pub mod deadline;
pub mod event;
pub mod http;
pub mod runtime;
pub mod sealed;
pub mod sqs;
#[cfg(feature = "dynamodb")]
pub mod stream;
pub mod telemetry;
