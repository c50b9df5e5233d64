//! The issuer's public keys, fetched from its JWKS (RFC 7517) and remembered.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use cpis::lambda::{
    config::ConfigError,
    telemetry::{Event, Level},
};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::jwk::{Jwk, JwkSet};
use reqwest::{Client, Url, redirect::Policy};

/// Keys are fetched anew after this time, so that a withdrawn one goes.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// An unknown key id asks the issuer at most this often: a flood of made-up ids must not become a flood of requests.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);
/// How long the issuer may take.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct Known {
    keys: Vec<Jwk>,
    fetched: Option<Timestamp>,
    asked: Option<Timestamp>,
}

/// The issuer's keys.
#[derive(Debug)]
pub(crate) struct Keys {
    client: Client,
    url: Url,
    known: Mutex<Known>,
}

impl Keys {
    /// Over HTTPS; plain HTTP only on this machine.
    pub(crate) fn at(url: &str) -> Result<Self, ConfigError> {
        const NAME: &str = "JWKS_URL";
        let url = Url::parse(url).map_err(|_| ConfigError::wrong(NAME, "is not a URL"))?;
        let local = matches!(url.host_str(), Some("127.0.0.1" | "localhost"));
        if url.scheme() != "https" && !local {
            return Err(ConfigError::wrong(NAME, "is not https"));
        }
        let client = Client::builder().timeout(TIMEOUT).redirect(Policy::none()).build();
        let client = client.map_err(|_| ConfigError::wrong(NAME, "cannot be reached: no TLS"))?;
        Ok(Self { client, url, known: Mutex::default() })
    }

    /// The key of an id. Where the issuer cannot be reached, keys known before still serve, and unknown ones are refused.
    pub(crate) async fn find(&self, id: &str, now: Timestamp) -> Option<Jwk> {
        let (key, ask) = self.remembered(id, now);
        if !ask {
            return key;
        }
        match self.fetch().await {
            Ok(keys) => {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                known.keys = keys;
                known.fetched = Some(now);
                find(&known.keys, id)
            }
            Err(cause) => {
                let event = Event::begin("authorizer").level(Level::Error).with("cause", cause);
                event.metric("JwksUnreachable", "Count", 1).emit("jwks.unreachable");
                key
            }
        }
    }

    /// The key as remembered, and whether the issuer should be asked now.
    fn remembered(&self, id: &str, now: Timestamp) -> (Option<Jwk>, bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = find(&known.keys, id);
        let within = |since: Option<Timestamp>, limit| since.is_some_and(|t| now.duration_since(t) < limit);
        let fresh = key.is_some() && within(known.fetched, FRESH);
        let ask = !fresh && !within(known.asked, PATIENCE);
        if ask {
            known.asked = Some(now);
        }
        (key, ask)
    }

    async fn fetch(&self) -> Result<Vec<Jwk>, &'static str> {
        let response = self.client.get(self.url.clone()).send().await.map_err(|_| "NotReached")?;
        let response = response.error_for_status().map_err(|_| "BadStatus")?;
        let set: JwkSet = response.json().await.map_err(|_| "Unreadable")?;
        Ok(set.keys)
    }
}

fn find(keys: &[Jwk], id: &str) -> Option<Jwk> {
    keys.iter().find(|key| key.common.key_id.as_deref() == Some(id)).cloned()
}
