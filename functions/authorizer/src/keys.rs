//! The issuer's public keys, fetched from its JWKS (RFC 7517) and remembered.

mod key;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use cpis::lambda::{
    config::ConfigError,
    telemetry::{Event, Level},
};
use jiff::{SignedDuration, Timestamp};
use reqwest::{Client, StatusCode, Url, redirect::Policy};
use serde_json::Value;

pub(crate) use key::Key;

/// Keys are fetched anew after this time, so that a withdrawn one goes.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// How long keys serve whose issuer cannot be reached (R61): through a night and the day after it. A key that was stolen could
/// serve as long, so it is no longer.
const KEPT: SignedDuration = SignedDuration::from_hours(24);
/// An unknown key id asks the issuer at most this often: a flood of made-up ids must not become a flood of requests. A token signed
/// with a key that was published less than this ago may have to be sent again.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);
/// After a fetch that failed it is asked again this soon: until then every unknown key is refused.
const RETRY: SignedDuration = SignedDuration::from_secs(3);
/// How long the issuer may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The largest key set, in bytes; a key of 4,096 bits takes 800.
const MAX_SET: usize = 256 * 1024;

#[derive(Debug, Default)]
struct Known {
    keys: Vec<Key>,
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

    /// The key of an id. Where the issuer cannot be reached, keys known before still serve for a day, and unknown ones are
    /// refused (R61).
    pub(crate) async fn find(&self, id: &str, now: Timestamp) -> Option<Key> {
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
    fn remembered(&self, id: &str, now: Timestamp) -> (Option<Key>, bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let age = known.fetched.map(|t| now.duration_since(t));
        let key = age.filter(|age| *age < KEPT).and_then(|_| find(&known.keys, id));
        let fresh = key.is_some() && age.is_some_and(|age| age < FRESH);
        let ask = !fresh && known.wait_until.is_none_or(|t| now >= t);
        if ask {
            known.wait_until = Some(now + RETRY);
        }
        (key, ask)
    }

    async fn fetch(&self) -> Result<Vec<Key>, &'static str> {
        let mut response = self.client.get(self.url.clone()).send().await.map_err(|_| "NotReached")?;
        if response.status() != StatusCode::OK {
            return Err("BadStatus");
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| "BrokenOff")? {
            if body.len() + chunk.len() > MAX_SET {
                return Err("TooLarge");
            }
            body.extend_from_slice(&chunk);
        }
        read_set(&body)
    }
}

/// The keys of a set that can be used; one that cannot hurts only itself (R61). A set without any is taken for a fault of the
/// issuer's, not for its wish that nobody sign in.
fn read_set(body: &[u8]) -> Result<Vec<Key>, &'static str> {
    let set: Value = serde_json::from_slice(body).map_err(|_| "Unreadable")?;
    let listed = set.get("keys").and_then(Value::as_array).ok_or("Unreadable")?;
    let keys: Vec<Key> = listed.iter().filter_map(Key::read).collect();
    if keys.is_empty() { Err("NoUsableKey") } else { Ok(keys) }
}

/// The one key of this id. Of two with the same id neither is it: which one is meant could only be guessed.
fn find(keys: &[Key], id: &str) -> Option<Key> {
    let mut found = keys.iter().filter(|key| key.id() == id);
    found.next().filter(|_| found.next().is_none()).cloned()
}

/// The key of an id in a key set, without an issuer.
#[cfg(test)]
pub(crate) fn in_set(set: &Value, id: &str) -> Option<Key> {
    find(&read_set(set.to_string().as_bytes()).ok()?, id)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::Algorithm;
    use serde_json::json;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// 32 bytes.
    const X: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const START: i64 = 1_800_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(START + second).expect("in range")
    }

    fn key(id: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": X})
    }

    fn jwks(ids: &[&str]) -> String {
        json!({"keys": ids.iter().map(|id| key(id)).collect::<Vec<_>>()}).to_string()
    }

    /// An issuer that answers one request with each of these (`None`: it breaks off), and then is gone.
    async fn issuer(answers: Vec<Option<String>>) -> Keys {
        issuer_of(answers, "200 OK").await
    }

    async fn issuer_of(answers: Vec<Option<String>>, status: &'static str) -> Keys {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/jwks.json", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a request");
                let _ = stream.read(&mut [0; 4096]).await;
                if let Some(body) = answer {
                    let length = body.len();
                    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
                    // Whoever has read enough hangs up.
                    let _ = stream.write_all((head + &body).as_bytes()).await;
                }
            }
        });
        Keys::at(&url).expect("a URL")
    }

    #[tokio::test]
    async fn r61_keys_change_without_a_gap() {
        let sets = [jwks(&["old"]), jwks(&["old", "new"]), jwks(&["new"])];
        let keys = issuer(sets.map(Some).to_vec()).await;
        for (second, id, found, why) in [
            (0, "old", true, "first fetch"),
            (1, "new", false, "not published yet, and the issuer was only just asked"),
            (11, "new", true, "published since: asked again"),
            (12, "old", true, "both hold"),
            (610, "old", true, "both hold, for as long as they were seen so"),
            (611, "old", false, "withdrawn: asked anew"),
            (612, "new", true, "the new one alone"),
        ] {
            assert_eq!(keys.find(id, at(second)).await.is_some(), found, "{why}");
        }
    }

    #[tokio::test]
    async fn r61_known_keys_outlive_their_issuer_for_a_day_and_no_longer() {
        const DAY: i64 = 24 * 3600;
        let keys = issuer(vec![Some(jwks(&["known"])), None]).await;
        for (second, id, found, why) in [
            (0, "known", true, "first fetch"),
            (700, "known", true, "stale, the issuer breaks off, the known key serves"),
            (701, "other", false, "unknown"),
            (710, "known", true, "the issuer is gone, the known key serves"),
            (720, "other", false, "the issuer is gone, and unknown stays unknown"),
            (DAY - 1, "known", true, "the last second of its day"),
            (DAY, "known", false, "too old to be trusted"),
        ] {
            assert_eq!(keys.find(id, at(second)).await.is_some(), found, "{why}");
        }
    }

    #[tokio::test]
    async fn r61_after_a_failed_fetch_the_issuer_is_asked_again_soon() {
        let keys = issuer(vec![None, Some(jwks(&["old"]))]).await;
        assert!(keys.find("old", at(0)).await.is_none());
        assert!(keys.find("old", at(1)).await.is_none());
        assert!(keys.find("old", at(3)).await.is_some());
    }

    #[tokio::test]
    async fn r61_an_answer_that_is_no_key_set_takes_no_key_away() {
        let huge = jwks(&["old", &"x".repeat(MAX_SET)]);
        for answer in
            ["{}", "[]", "", "<html>", r#"{"keys":[]}"#, r#"{"keys":{}}"#, r#"{"keys":[{"kty":"oct"}]}"#, &huge]
        {
            let keys = issuer(vec![Some(jwks(&["old"])), Some(answer.to_owned())]).await;
            assert!(keys.find("old", at(0)).await.is_some());
            assert!(keys.find("old", at(700)).await.is_some(), "{:.40}", answer);
        }
        for status in ["404 Not Found", "500 Oops", "302 Found", "204 No Content"] {
            let keys = issuer_of(vec![Some(jwks(&["old"]))], status).await;
            assert!(keys.find("old", at(0)).await.is_none(), "{status}");
        }
    }

    #[test]
    fn r61_a_key_that_cannot_be_used_hurts_only_itself() {
        let point = |name: &str, value: Value| {
            let mut key = json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": X, "y": X});
            key[name] = value;
            key
        };
        let rsa = |bits: usize| json!({"kty": "RSA", "kid": "k", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode(vec![0xff; bits / 8])});
        for (key, usable) in [
            (key("k"), true),
            (point("use", json!("sig")), true),
            (point("key_ops", json!(["verify"])), true),
            (point("alg", json!("ES256")), true),
            (rsa(2_048), true),
            (rsa(8_192), true),
            (json!(null), false),
            (json!("k"), false),
            (json!({"kid": "k"}), false),
            (json!({"kty": "XYZ", "kid": "k", "x": X}), false),
            (json!({"kty": "oct", "kid": "k", "k": X}), false),
            (json!({"kty": "oct", "kid": "k", "k": X, "alg": "HS256"}), false),
            (json!({"kty": "OKP", "crv": "X25519", "kid": "k", "x": X}), false),
            (json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "AAAA"}), false),
            (json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": X, "alg": "HS256"}), false),
            (point("use", json!("enc")), false),
            (point("use", json!(1)), false),
            (point("key_ops", json!(["encrypt"])), false),
            (point("key_ops", json!([])), false),
            (point("alg", json!("ES384")), false),
            (point("alg", json!("RS256")), false),
            (point("alg", json!("none")), false),
            (point("crv", json!("P-384")), false),
            (point("crv", json!("secp256k1")), false),
            (point("x", json!("AAAA")), false),
            (point("x", json!("not base64!")), false),
            (point("d", json!(X)), false),
            (point("kid", json!("")), false),
            (point("kid", json!(7)), false),
            (rsa(1_024), false),
            (rsa(2_040), false),
            (rsa(8_200), false),
        ] {
            let set = json!({"keys": [super::tests::key("before"), key, super::tests::key("after")]});
            assert_eq!(in_set(&set, "k").is_some(), usable, "{key}");
            assert!(in_set(&set, "before").is_some() && in_set(&set, "after").is_some(), "{key}");
        }
        let twice = json!({"keys": [key("k"), key("k"), key("other")]});
        assert!(in_set(&twice, "k").is_none() && in_set(&twice, "other").is_some());
    }

    #[test]
    fn fuzz_key_sets() {
        let point = json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": X, "y": X, "use": "sig", "alg": "ES256"});
        let seeds = [jwks(&["a", "b"]), json!({"keys": [point, {"kty": "oct", "k": X}, 7]}).to_string()];
        cpis::fuzz::run("key-set", "read", &seeds.each_ref().map(|seed| seed.as_bytes()), |input| {
            match read_set(input) {
                Ok(keys) => {
                    assert!(!keys.is_empty() && keys.iter().all(|key| !key.id().is_empty()));
                    // No key verifies what nobody signed.
                    let all = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256, Algorithm::HS256];
                    assert!(keys.iter().all(|key| all.iter().all(|a| key.verifies(*a, b"text", "AAAA") != Some(true))));
                    "read".into()
                }
                Err(cause) => cause.into(),
            }
        });
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
