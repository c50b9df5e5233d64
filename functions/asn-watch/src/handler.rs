//! Watch, and say what was done.

use cpis::{
    aws::Dynamo,
    lambda::{
        cached::CachedDirectory,
        config::SystemClock,
        telemetry::{Event, Level},
    },
    ports::{Clock, PortError},
    usecase::watch_mailboxes::{Done, watch},
};
use lambda_runtime::Error;
use serde::Deserialize;

const SERVICE: &str = "asn-watch";

/// A minute has passed.
#[derive(Deserialize)]
pub(crate) struct Minute {
    /// Always `Scheduled Event`.
    #[serde(rename = "detail-type")]
    _detail_type: String,
}

/// Ends in an error where anything is left to do: the alarm of the function's errors sounds, and the next minute tries again.
pub(crate) async fn handle(store: &Dynamo) -> Result<(), Error> {
    let clock = SystemClock;
    let directory = CachedDirectory::new(store.clone(), clock);
    let watched = watch(store, &directory, &clock, say).await;
    watched.failed.iter().for_each(|error| told(error, "watch.step-failed"));
    let late = watched.oldest.map_or(0, |due| clock.now().duration_since(due).as_secs().max(0));
    let event = Event::begin(SERVICE).metric("WatchLateSeconds", "Seconds", late);
    let event = event.metric("NotificationsEscalated", "Count", watched.escalated_lately);
    let event = event.with("escalated", watched.escalated.len());
    event.metric("DigestsDelivered", "Count", watched.digests.len()).emit("watch.done");
    watched.failed.into_iter().next().map_or(Ok(()), |error| Err(error.into()))
}

/// As soon as it is done: a process that dies has said so.
fn say(done: Done<'_>) {
    match done {
        Done::Escalated(held) => {
            let event =
                Event::begin(SERVICE).level(Level::Warn).with("authority", held.notification.authority.as_str());
            let event = event.with("asnId", held.notification.id.to_string());
            let event = event.with("kind", held.notification.content.kind());
            event
                .with("unreadSeconds", SystemClock.now().duration_since(held.delivered_at).as_secs())
                .emit("asn.escalated");
        }
        Done::Digest(digest) => {
            let event = Event::begin(SERVICE).with("authority", digest.notification.authority.as_str());
            event.with("asnId", digest.notification.id.to_string()).emit("asn.digest-delivered");
        }
    }
}

fn told(error: &PortError, code: &'static str) {
    Event::begin(SERVICE).failed(error).level(Level::Error).emit(code);
}
