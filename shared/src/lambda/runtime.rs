//! The loop of a function: an event in, an answer out.

use std::future::Future;

use lambda_http::{Error, LambdaEvent, lambda_runtime, service_fn};
use serde::{Serialize, de::DeserializeOwned};

use super::telemetry;

/// What a function has for as long as it runs, such as its clients.
pub fn for_life<T>(state: T) -> &'static T {
    Box::leak(Box::new(state))
}

/// Runs a function. Each line that it writes for an event says which call that was.
///
/// # Errors
/// The runtime's own, on which the process ends.
pub async fn run<E, R, F>(handle: impl Fn(LambdaEvent<E>) -> F + Send + 'static) -> Result<(), Error>
where
    E: DeserializeOwned + Send + 'static,
    R: Serialize + Send + 'static,
    F: Future<Output = Result<R, Error>> + Send + 'static,
{
    let events = lambda_runtime::run(service_fn(move |event: LambdaEvent<E>| {
        telemetry::call_begins(&event.context);
        // Else the loop itself would be as large as all that a call may ever hold, and a cold start would touch all of it.
        Box::pin(handle(event))
    }));
    // A task of its own: whenever something wakes main itself, tokio writes to the kernel.
    tokio::spawn(events).await?
}
