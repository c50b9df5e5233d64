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
/// After a fetch that failed it is asked again this soon: until then every unknown key is refused.
const RETRY: SignedDuration = SignedDuration::from_secs(3);
/// How long the issuer may take.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
struct Known {
    keys: Vec<Jwk>,
    fetched: Option<Timestamp>,
    /// Until when the issuer is not asked again.
    wait_until: Option<Timestamp>,
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
                known.wait_until = Some(now + PATIENCE);
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
        let fresh = key.is_some() && known.fetched.is_some_and(|t| now.duration_since(t) < FRESH);
        let ask = !fresh && known.wait_until.is_none_or(|t| now >= t);
        if ask {
            known.wait_until = Some(now + RETRY);
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

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    fn jwks(ids: &[&str]) -> String {
        let key = |id: &&str| serde_json::json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": "AAAA"});
        serde_json::json!({"keys": ids.iter().map(key).collect::<Vec<_>>()}).to_string()
    }

    /// An issuer that answers one request with each of these (`None`: it breaks off), and then is gone.
    async fn issuer(answers: Vec<Option<String>>) -> Keys {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/jwks.json", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a request");
                let _ = stream.read(&mut [0; 4096]).await;
                if let Some(body) = answer {
                    let head =
                        format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                    stream.write_all((head + &body).as_bytes()).await.expect("sent");
                }
            }
        });
        Keys::at(&url).expect("a URL")
    }

    #[tokio::test]
    async fn r28_new_keys_are_found_and_an_unreachable_issuer_takes_none_away() {
        let keys = issuer(vec![Some(jwks(&["old"])), Some(jwks(&["old", "new"])), None]).await;
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).expect("in range");
        for (second, id, found, why) in [
            (0, "old", true, "first fetch"),
            (1, "new", false, "unknown, and the issuer was only just asked"),
            (31, "new", true, "rotation: asked again"),
            (700, "old", true, "stale, the issuer breaks off, the known key serves"),
            (701, "other", false, "unknown"),
            (710, "new", true, "the issuer is gone, the known key serves"),
        ] {
            assert_eq!(keys.find(id, at(second)).await.is_some(), found, "{why}");
        }
    }

    #[tokio::test]
    async fn r28_after_a_failed_fetch_the_issuer_is_asked_again_soon() {
        let keys = issuer(vec![None, Some(jwks(&["old"]))]).await;
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).expect("in range");
        assert!(keys.find("old", at(0)).await.is_none());
        assert!(keys.find("old", at(1)).await.is_none());
        assert!(keys.find("old", at(3)).await.is_some());
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        for (url, good) in [
            ("https://issuer.example/jwks.json", true),
            ("http://127.0.0.1:4566/jwks.json", true),
            ("http://issuer.example/jwks.json", false),
            ("jwks.json", false),
        ] {
            assert_eq!(Keys::at(url).is_ok(), good, "{url}");
        }
    }
}
