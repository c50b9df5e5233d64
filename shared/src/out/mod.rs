//! Ways out over HTTPS: to webhooks of the authorities' choosing, and to MESH.
//!
//! What is at the other end may be dead, slow or hostile. So every request is bounded in time, none follows a redirect or a
//! proxy, of an answer only its head is read, and nothing of it goes into a log.

mod mesh;
mod resolve;
mod webhook;

pub use mesh::{MeshConfig, MeshOut};
pub use webhook::WebhookOut;

use std::{error::Error as _, time::Duration};

use reqwest::{Client, ClientBuilder, StatusCode, header::HeaderMap, redirect::Policy};

use crate::ports::{Again, NotTaken};
use resolve::AddressRefused;

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For the connection to be made, the name's look-up and TLS included.
    pub connect: Duration,
    /// In all, up to the end of the answer's head.
    pub whole: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), whole: Duration::from_secs(8) }
    }
}

/// What every client here has in common. No connection is kept: a function is frozen between two batches, and what it finds
/// when it thaws is a connection that the other end has long closed.
fn client(limits: Limits) -> ClientBuilder {
    Client::builder()
        .connect_timeout(limits.connect)
        .timeout(limits.whole)
        .redirect(Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .referer(false)
        .user_agent(concat!("cpis/", env!("CARGO_PKG_VERSION")))
}

/// Why no answer came.
fn unanswered(error: &reqwest::Error) -> NotTaken {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.is::<AddressRefused>() {
            return NotTaken { code: "address-refused", status: None, again: Again::Later(None) };
        }
        cause = inner.source();
    }
    let code = match error {
        e if e.is_timeout() => "timed-out",
        e if e.is_connect() => "not-reached",
        _ => "answer-unreadable",
    };
    NotTaken { code, status: None, again: Again::Later(None) }
}

/// What an answer's status means; `Ok` for any 2xx.
fn judge(status: StatusCode, headers: &HeaderMap) -> Result<(), NotTaken> {
    let refused = |code, again| Err(NotTaken { code, status: Some(status.as_u16()), again });
    match status.as_u16() {
        200..=299 => Ok(()),
        300..=399 => refused("redirected", Again::Later(None)),
        // It has read the notification, or will have no more of them, and a second try would be answered alike.
        400 | 410 | 413 | 415 | 422 => refused("refused-by-receiver", Again::Never),
        408 | 425 | 429 | 503 => refused("busy", Again::Later(retry_after(headers))),
        400..=499 => refused("not-accepted", Again::Later(None)),
        _ => refused("server-error", Again::Later(None)),
    }
}

/// `Retry-After` in seconds; as a date it is passed over.
fn retry_after(headers: &HeaderMap) -> Option<u32> {
    headers.get("retry-after")?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
