//! Tokens: signed JWTs of the one issuer, for the one audience (R28). RFC 7519, RFC 8725.
//!
//! Header and claims are read here, not by the JWT library, which would take the last of two members, pass over `crit` and verify
//! with whatever key it is given. Of the library only the signatures are used.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cpis::{domain::caller::Caller, wire::strict};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::keys::Key;

/// Signed with a key pair; nothing symmetric, and never `none` (RFC 8725 section 3.1).
const ALLOWED: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];
/// A key that comes with the token, or says where it is, proves nothing (RFC 8725 section 3.10).
const KEYS_IN_HEADER: [&str; 6] = ["jwk", "jku", "x5c", "x5t", "x5t#S256", "x5u"];
/// Members that would change what the token means, none of which is supported: extensions that must be understood, unencoded
/// and packed content (RFC 7515 section 4.1.11, RFC 7797), encryption (RFC 7516), and a token within the token.
const UNSUPPORTED: [&str; 9] = ["apu", "apv", "b64", "crit", "cty", "enc", "epk", "p2s", "zip"];
/// Kinds of token, in lower case, that can be an access token (RFC 8725 section 3.11, RFC 9068).
const TYPES: [&str; 2] = ["jwt", "at+jwt"];
/// The longest token looked at, in bytes: API Gateway's headers have 10,240 in all.
const MAX_TOKEN: usize = 8_192;
/// The longest key id.
const MAX_KEY_ID: usize = 128;
/// The longest text in the claims that are read, in characters.
const MAX_TEXT: usize = 256;
/// The longest ODS code taken; those that there are have up to 12 characters.
const MAX_CODE: usize = 32;
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
    Header,
    NoKeyId,
    UnknownKey,
    KeyMismatch,
    Signature,
    Claims,
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
            Self::Header => "header",
            Self::NoKeyId => "no-key-id",
            Self::UnknownKey => "unknown-key",
            Self::KeyMismatch => "key-mismatch",
            Self::Signature => "signature",
            Self::Claims => "claims",
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
    /// What is signed: header and claims, as they came.
    signed: &'a str,
    claims: &'a str,
    signature: &'a str,
    algorithm: Algorithm,
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
        if !token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return Err(Refusal::Unreadable);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Refusal::Unreadable)?;
        let (head, claims) = signed.split_once('.').ok_or(Refusal::Unreadable)?;
        if claims.contains('.') {
            return Err(Refusal::Unreadable);
        }
        let (algorithm, key_id) = read_header(&object(head).ok_or(Refusal::Unreadable)?)?;
        Ok(Self { signed, claims, signature, algorithm, key_id })
    }

    pub(crate) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Verifies the signature, then everything the token says, at a moment.
    pub(crate) fn verify(&self, key: &Key, expected: &Expected, now: Timestamp) -> Result<Claims, Refusal> {
        match key.verifies(self.algorithm, self.signed.as_bytes(), self.signature) {
            None => return Err(Refusal::KeyMismatch),
            Some(false) => return Err(Refusal::Signature),
            Some(true) => {}
        }
        check(object(self.claims).ok_or(Refusal::Claims)?, expected, now)
    }
}

/// A part of a token: Base64url without padding, of a JSON object that names nothing twice (R60, R62).
fn object(part: &str) -> Option<Map<String, Value>> {
    match strict::value(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()? {
        Value::Object(members) => Some(members),
        _ => None,
    }
}

/// The algorithm and the key's id. Members that are not known are passed over (RFC 7515 section 4), but for those that would
/// change what the token means.
fn read_header(header: &Map<String, Value>) -> Result<(Algorithm, String), Refusal> {
    let has = |names: &[&str]| names.iter().any(|name| header.contains_key(*name));
    let text = |name| header.get(name).map(|value| value.as_str().unwrap_or_default());
    let named = text("alg").ok_or(Refusal::Algorithm)?;
    let algorithm = ALLOWED.iter().find(|(name, _)| *name == named).ok_or(Refusal::Algorithm)?.1;
    if has(&KEYS_IN_HEADER) {
        return Err(Refusal::EmbeddedKey);
    }
    if has(&UNSUPPORTED) || text("typ").is_some_and(|kind| !TYPES.contains(&kind.to_ascii_lowercase().as_str())) {
        return Err(Refusal::Header);
    }
    let key_id = text("kid").filter(|id| plain(id, MAX_KEY_ID)).ok_or(Refusal::NoKeyId)?;
    Ok((algorithm, key_id.to_owned()))
}

/// Printable ASCII, and not nothing.
fn plain(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn check(claims: Map<String, Value>, expected: &Expected, now: Timestamp) -> Result<Claims, Refusal> {
    // An absent `nbf` is none; `null` is not absent.
    if claims.get("nbf").is_some_and(Value::is_null) {
        return Err(Refusal::Claims);
    }
    let caller = claims.get("cpis").cloned().unwrap_or_default();
    let is_known = known_caller(&caller);
    let claims = serde_json::from_value::<Claims>(claims.into());
    let claims = claims.map_err(|_| if is_known { Refusal::Claims } else { Refusal::Caller })?;
    if !plain(&claims.sub, MAX_TEXT) || !plain(&claims.jti, MAX_TEXT) {
        return Err(Refusal::Claims);
    }
    if claims.iss != expected.issuer {
        return Err(Refusal::Issuer);
    }
    if claims.aud != expected.audience {
        return Err(Refusal::Audience);
    }
    check_times(&claims, now)?;
    if is_known { Ok(claims) } else { Err(Refusal::Caller) }
}

fn check_times(claims: &Claims, now: Timestamp) -> Result<(), Refusal> {
    let at = |seconds| Timestamp::from_second(seconds).map_err(|_| Refusal::Times);
    let (issued, expires) = (at(claims.iat)?, at(claims.exp)?);
    let begins = claims.nbf.map_or(Ok(issued), at)?;
    let running = expires.duration_since(now) > -LEEWAY
        && now.duration_since(issued) >= -LEEWAY
        && now.duration_since(begins) >= -LEEWAY;
    let life = expires.duration_since(issued);
    if running && life > SignedDuration::ZERO && life <= MAX_LIFE { Ok(()) } else { Err(Refusal::Times) }
}

/// Whether the claim is a caller and nothing besides (R62): what is read from it, written again, is what it was. Otherwise one that
/// is both an authority and a person would be taken for whichever is tried first.
fn known_caller(claim: &Value) -> bool {
    let Ok(caller) = serde_json::from_value::<Caller>(claim.clone()) else { return false };
    let organisation_is_plain = match &caller {
        Caller::Health(caller) => plain(&caller.organisation.code, MAX_CODE),
        Caller::Authority(_) => true,
    };
    organisation_is_plain && texts_are_plain(claim) && serde_json::to_value(caller).is_ok_and(|again| again == *claim)
}

/// No text of the claim is longer than a name can be, or would break a line where it is shown.
fn texts_are_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => text.chars().nth(MAX_TEXT).is_none() && !text.chars().any(char::is_control),
        Value::Array(values) => values.iter().all(texts_are_plain),
        Value::Object(members) => members.values().all(texts_are_plain),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
