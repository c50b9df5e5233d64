//! One public key of the issuer (RFC 7517), and for which algorithms it may serve.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde_json::Value;

const RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
/// Bits of an RSA key: from what NIST SP 800-131A allows to what is still quickly verified.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;
/// Parts of a private or shared key. Whoever can read the key set could sign with such a key.
const PRIVATE: [&str; 4] = ["d", "k", "p", "q"];

/// A key that signatures are verified with.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    id: String,
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

impl Key {
    /// A key of a key set; `None` for one that is not for signatures, not public, weak, malformed, or of a kind not known here.
    pub(super) fn read(key: &Value) -> Option<Self> {
        if PRIVATE.iter().any(|part| key.get(part).is_some()) {
            return None;
        }
        let key: Jwk = serde_json::from_value(key.clone()).ok()?;
        let id = key.common.key_id.clone().filter(|id| !id.is_empty())?;
        let for_signatures = key.common.public_key_use.as_ref().is_none_or(|u| *u == PublicKeyUse::Signature)
            && key.common.key_operations.as_ref().is_none_or(|o| o.contains(&KeyOperations::Verify));
        let mut algorithms = possible(&key.algorithm)?;
        // The key's own algorithm decides, not the token's (RFC 8725 section 3.1).
        if let Some(meant) = key.common.key_algorithm {
            algorithms.retain(|algorithm| Algorithm::try_from(meant).is_ok_and(|meant| meant == *algorithm));
        }
        (for_signatures && !algorithms.is_empty()).then_some(())?;
        Some(Self { id, algorithms, decoding: DecodingKey::from_jwk(&key).ok()? })
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Whether a text is signed by the key, with this algorithm; `None` where the key is not for it.
    pub(crate) fn verifies(&self, algorithm: Algorithm, text: &[u8], signature: &str) -> Option<bool> {
        self.algorithms.contains(&algorithm).then_some(())?;
        Some(jsonwebtoken::crypto::verify(signature, text, &self.decoding, algorithm).unwrap_or(false))
    }
}

/// The algorithms that a key of this kind, curve and size can serve.
fn possible(parameters: &AlgorithmParameters) -> Option<Vec<Algorithm>> {
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    match parameters {
        AlgorithmParameters::RSA(key) => {
            let modulus = bytes(&key.n)?;
            let significant = modulus.iter().skip_while(|byte| **byte == 0).count();
            RSA_BITS.contains(&(significant * 8)).then(|| RSA.to_vec())
        }
        AlgorithmParameters::EllipticCurve(key) => {
            let (algorithm, size) = match key.curve {
                EllipticCurve::P256 => (Algorithm::ES256, 32),
                EllipticCurve::P384 => (Algorithm::ES384, 48),
                _ => return None,
            };
            (bytes(&key.x)?.len() == size && bytes(&key.y)?.len() == size).then(|| vec![algorithm])
        }
        AlgorithmParameters::OctetKeyPair(key) => {
            (key.curve == EllipticCurve::Ed25519 && bytes(&key.x)?.len() == 32).then(|| vec![Algorithm::EdDSA])
        }
        // Nothing symmetric: its "public key" would be the secret.
        _ => None,
    }
}
