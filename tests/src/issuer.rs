//! An issuer of tokens on 127.0.0.1: a key pair made for the run, its key set over HTTP, and tokens signed with it.

use crate::runtime_api::serve_on;
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use axum::{Router, routing::get};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::{net::TcpListener, task::JoinHandle};
use uuid::Uuid;

/// What its tokens say of who made them, and for whom.
const ISSUER: &str = "https://issuer.cpis.invalid";
const AUDIENCE: &str = "https://api.cpis.invalid";
/// Name of its key.
const KEY_ID: &str = "one";
/// How long a token runs, in seconds.
const LIFE: u64 = 3_600;

/// A running issuer; it stops when dropped.
pub struct Issuer {
    url: String,
    key: EncodingKey,
    server: JoinHandle<()>,
}

impl Issuer {
    /// Starts on a free port.
    ///
    /// # Panics
    /// No port can be bound, or no key made.
    pub async fn start() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let pkcs8 = pkcs8.unwrap_or_else(|e| panic!("key: {e}"));
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref());
        let pair = pair.unwrap_or_else(|e| panic!("key: {e}"));
        // An uncompressed point: 4, then 32 bytes each of x and y (SEC 1, section 2.3.3).
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let key = json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID, "x": part(x), "y": part(y)});
        let set = json!({"keys": [key]}).to_string();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap_or_else(|e| panic!("bind: {e}"));
        let url = listener.local_addr().map_or_else(|e| panic!("address: {e}"), |a| format!("http://{a}/jwks.json"));
        let routes = Router::new().route("/jwks.json", get(move || std::future::ready(set.clone())));
        Self { url, key: EncodingKey::from_ec_der(pkcs8.as_ref()), server: tokio::spawn(serve_on(listener, routes)) }
    }

    /// What the authorizer must be told.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        [("JWKS_URL", self.url.as_str()), ("TOKEN_ISSUER", ISSUER), ("TOKEN_AUDIENCE", AUDIENCE)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }

    /// A good token of a caller.
    #[must_use]
    pub fn token(&self, caller: &Value) -> String {
        self.aged(caller, 0)
    }

    /// A token that was good until an hour before now.
    #[must_use]
    pub fn expired(&self, caller: &Value) -> String {
        self.aged(caller, 2 * LIFE)
    }

    fn aged(&self, caller: &Value, seconds: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()) - seconds;
        // The builders of callers have it inside; in a token it stands beside.
        let mut caller = caller.clone();
        caller.as_object_mut().map(|members| members.remove("sub"));
        let claims = json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "somebody", "jti": Uuid::new_v4(), "iat": now, "exp": now + LIFE, "cpis": caller});
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, &claims, &self.key).unwrap_or_else(|e| panic!("token: {e}"))
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.server.abort();
    }
}
