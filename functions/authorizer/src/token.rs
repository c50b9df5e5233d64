//! Tokens: signed JWTs of the one issuer, for the one audience (R28). RFC 7519, RFC 8725.

use cpis::domain::caller::Caller;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header, jwk::Jwk};
use serde::Deserialize;

/// Signed with a key pair; nothing symmetric, and never `none` (RFC 8725 section 3.1).
const ALLOWED: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];
/// The longest token looked at, in bytes: API Gateway's headers have 10,240 in all.
const MAX_TOKEN: usize = 8_192;
/// How far clocks may differ.
const LEEWAY: SignedDuration = SignedDuration::from_secs(30);
/// The longest time that a token may be valid for: a shift.
const MAX_LIFE: SignedDuration = SignedDuration::from_hours(13);

/// Why a token is refused. The caller learns only that it is; the log names the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.code())]
pub(crate) enum Refusal {
    NoToken,
    Oversize,
    Unreadable,
    Algorithm,
    EmbeddedKey,
    NoKeyId,
    UnknownKey,
    KeyMismatch,
    Signature,
    Issuer,
    Audience,
    Times,
    NoMethod,
    Caller,
}

impl Refusal {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::NoToken => "no-token",
            Self::Oversize => "oversize",
            Self::Unreadable => "unreadable",
            Self::Algorithm => "algorithm",
            Self::EmbeddedKey => "embedded-key",
            Self::NoKeyId => "no-key-id",
            Self::UnknownKey => "unknown-key",
            Self::KeyMismatch => "key-mismatch",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Times => "times",
            Self::NoMethod => "no-method",
            Self::Caller => "caller",
        }
    }
}

/// What every token must say.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) issuer: String,
    pub(crate) audience: String,
}

/// What a token says, once it is verified.
#[derive(Debug, Deserialize)]
pub(crate) struct Claims {
    pub(crate) sub: String,
    jti: String,
    iss: String,
    aud: String,
    exp: i64,
    iat: i64,
    #[serde(default)]
    nbf: Option<i64>,
    pub(crate) cpis: Caller,
}

impl Claims {
    /// The token's own id, where it is plainly one.
    pub(crate) fn id(&self) -> Option<String> {
        let plain = self.jti.len() == 36 && self.jti.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        plain.then(|| self.jti.clone())
    }

    pub(crate) const fn subject_kind(&self) -> &'static str {
        match self.cpis {
            Caller::Health(_) => "health",
            Caller::Authority(_) => "authority",
        }
    }
}

/// A token of which only the header was read.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    token: &'a str,
    header: Header,
    key_id: String,
}

impl<'a> Unverified<'a> {
    /// Reads `Bearer <token>`.
    pub(crate) fn from_header(header: &'a str) -> Result<Self, Refusal> {
        let (scheme, token) = header.split_once(' ').ok_or(Refusal::NoToken)?;
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
            return Err(Refusal::NoToken);
        }
        if token.len() > MAX_TOKEN {
            return Err(Refusal::Oversize);
        }
        let header = decode_header(token).map_err(|_| Refusal::Unreadable)?;
        if !ALLOWED.contains(&header.alg) {
            return Err(Refusal::Algorithm);
        }
        // A key that comes with the token proves nothing (RFC 8725 section 3.10).
        if header.jwk.is_some() || header.jku.is_some() || header.x5u.is_some() || header.x5c.is_some() {
            return Err(Refusal::EmbeddedKey);
        }
        let key_id = header.kid.clone().filter(|kid| !kid.is_empty()).ok_or(Refusal::NoKeyId)?;
        Ok(Self { token, header, key_id })
    }

    pub(crate) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Verifies the signature, then everything the token says, at a moment.
    pub(crate) fn verify(&self, key: &Jwk, expected: &Expected, now: Timestamp) -> Result<Claims, Refusal> {
        let algorithm = self.header.alg;
        // The key's own algorithm decides, not the token's (RFC 8725 section 3.1).
        let meant = key.common.key_algorithm.map(|a| a.to_string());
        if meant.is_some_and(|meant| meant != format!("{algorithm:?}")) {
            return Err(Refusal::KeyMismatch);
        }
        let decoding_key = DecodingKey::from_jwk(key).map_err(|_| Refusal::KeyMismatch)?;
        let mut signature_only = Validation::new(algorithm);
        signature_only.required_spec_claims.clear();
        signature_only.validate_exp = false;
        signature_only.validate_aud = false;
        let claims = decode::<Claims>(self.token, &decoding_key, &signature_only).map_err(|e| match e.kind() {
            jsonwebtoken::errors::ErrorKind::Json(_) => Refusal::Caller,
            _ => Refusal::Signature,
        })?;
        check(claims.claims, expected, now)
    }
}

fn check(claims: Claims, expected: &Expected, now: Timestamp) -> Result<Claims, Refusal> {
    if claims.iss != expected.issuer {
        return Err(Refusal::Issuer);
    }
    if claims.aud != expected.audience {
        return Err(Refusal::Audience);
    }
    let at = |seconds| Timestamp::from_second(seconds).map_err(|_| Refusal::Times);
    let (issued, expires) = (at(claims.iat)?, at(claims.exp)?);
    let begins = claims.nbf.map_or(Ok(issued), at)?;
    let running = expires.duration_since(now) > -LEEWAY
        && now.duration_since(issued) >= -LEEWAY
        && now.duration_since(begins) >= -LEEWAY;
    if !running || expires.duration_since(issued) > MAX_LIFE {
        return Err(Refusal::Times);
    }
    Ok(claims)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
    };
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::{EncodingKey, encode};
    use serde_json::{Value, json};

    use super::*;

    const NOW: i64 = 1_800_000_000;

    /// A P-256 key pair, made for the test that asks for it.
    struct Pair {
        private: EncodingKey,
        public: Jwk,
    }

    fn pair() -> Pair {
        let pkcs8 =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).expect("a key");
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).expect("a key");
        let point = pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let public = json!({"kty": "EC", "crv": "P-256", "kid": "test", "alg": "ES256", "use": "sig", "x": x, "y": y});
        Pair {
            private: EncodingKey::from_ec_der(pkcs8.as_ref()),
            public: serde_json::from_value(public).expect("a key"),
        }
    }

    fn expected() -> Expected {
        Expected { issuer: "https://issuer.example".into(), audience: "cpis".into() }
    }

    fn claims() -> Value {
        json!({"iss": "https://issuer.example", "aud": "cpis", "sub": "client", "jti": "0b7e1c5e-6c1d-4b1e-9a55-3d8f0c2b7a10",
            "iat": NOW - 60, "exp": NOW + 240, "cpis": {"authority": "E06000001"}})
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[name] = value;
        claims
    }

    fn header() -> Header {
        Header { kid: Some("test".into()), ..Header::new(Algorithm::ES256) }
    }

    fn signed(header: &Header, claims: &Value, pair: &Pair) -> String {
        format!("Bearer {}", encode(header, claims, &pair.private).expect("a token"))
    }

    fn verdict(header: &str, key: &Jwk) -> Result<Claims, Refusal> {
        let now = Timestamp::from_second(NOW).expect("in range");
        Unverified::from_header(header)?.verify(key, &expected(), now)
    }

    #[test]
    fn r28_a_good_token() {
        let pair = pair();
        let claims = verdict(&signed(&header(), &claims(), &pair), &pair.public).expect("accepted");
        assert_eq!(claims.subject_kind(), "authority");
        assert!(claims.id().is_some());
    }

    #[test]
    fn r28_what_a_token_says_must_be_right() {
        let pair = pair();
        for (name, value, refusal) in [
            ("iss", json!("https://other.example"), Refusal::Issuer),
            ("aud", json!("other"), Refusal::Audience),
            ("aud", json!(["cpis", "other"]), Refusal::Caller),
            ("exp", json!(NOW - 30), Refusal::Times),
            ("exp", json!(NOW + 14 * 3600), Refusal::Times),
            ("exp", json!(i64::MAX), Refusal::Times),
            ("exp", json!("never"), Refusal::Caller),
            ("exp", Value::Null, Refusal::Caller),
            ("iat", json!(NOW + 31), Refusal::Times),
            ("nbf", json!(NOW + 31), Refusal::Times),
            ("cpis", json!({}), Refusal::Caller),
            ("cpis", json!({"authority": "W06000001"}), Refusal::Caller),
        ] {
            let found = verdict(&signed(&header(), &with(name, value.clone()), &pair), &pair.public).map(drop);
            assert_eq!(found, Err(refusal), "{name} {value}");
        }
    }

    #[test]
    fn r28_who_signed_it_and_how() {
        let (pair, other) = (pair(), pair());
        let good = signed(&header(), &claims(), &pair);
        let (signed_part, signature) = good.rsplit_once('.').expect("three parts");
        let tampered = format!("{}.{signature}", signed_part.replace(".eyJ", ".eyK"));
        let none = "Bearer eyJhbGciOiJub25lIiwia2lkIjoidGVzdCJ9.e30.";
        // The classic confusion: the public key used as a shared secret.
        let secret = serde_json::to_vec(&pair.public).expect("JSON");
        let symmetric = Header { kid: Some("test".into()), ..Header::new(Algorithm::HS256) };
        let symmetric = encode(&symmetric, &claims(), &EncodingKey::from_secret(&secret)).expect("a token");
        for (name, header, refusal) in [
            ("another key", signed(&header(), &claims(), &other), Refusal::Signature),
            ("tampered", tampered, Refusal::Signature),
            ("unsigned", format!("{signed_part}."), Refusal::Signature),
            ("none", none.to_owned(), Refusal::Unreadable),
            ("symmetric", format!("Bearer {symmetric}"), Refusal::Algorithm),
            ("no kid", signed(&Header::new(Algorithm::ES256), &claims(), &pair), Refusal::NoKeyId),
            (
                "own key",
                signed(&Header { jwk: Some(pair.public.clone()), ..header() }, &claims(), &pair),
                Refusal::EmbeddedKey,
            ),
            (
                "own url",
                signed(&Header { jku: Some("https://x.example".into()), ..header() }, &claims(), &pair),
                Refusal::EmbeddedKey,
            ),
            ("no scheme", good.replace("Bearer ", ""), Refusal::NoToken),
            ("other scheme", good.replace("Bearer", "Basic"), Refusal::NoToken),
            ("empty", "Bearer ".to_owned(), Refusal::NoToken),
            ("oversize", format!("Bearer {}", "a".repeat(MAX_TOKEN + 1)), Refusal::Oversize),
        ] {
            assert_eq!(verdict(&header, &pair.public).map(drop), Err(refusal), "{name}");
        }
    }

    #[test]
    fn r28_the_keys_algorithm_decides() {
        let pair = pair();
        let mut key = pair.public.clone();
        key.common.key_algorithm = Some(jsonwebtoken::jwk::KeyAlgorithm::ES384);
        let token = signed(&header(), &claims(), &pair);
        assert_eq!(verdict(&token, &key).map(drop), Err(Refusal::KeyMismatch));
    }
}
