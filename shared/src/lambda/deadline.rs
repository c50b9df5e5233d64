//! Time enough to answer. Lambda kills what outlasts its limit, and with it the line in the log and the answer that would have said
//! what to do; so a function gives up a little earlier, and says so (R21).

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use lambda_http::Context;

/// So much is left for the answer.
const SPARE: Duration = Duration::from_millis(300);

/// How long the work for an event may take; nothing where its context names no moment that is still to come.
#[must_use]
pub fn time_left(context: &Context) -> Option<Duration> {
    let left = context.deadline().duration_since(SystemTime::now()).ok()?;
    Some(left.saturating_sub(SPARE))
}

/// What comes of the work, if it does in time; what is not done by then is dropped where it waits.
pub async fn within<F: Future>(left: Option<Duration>, work: F) -> Option<F::Output> {
    match left {
        Some(left) => tokio::time::timeout(left, work).await.ok(),
        None => Some(work.await),
    }
}
