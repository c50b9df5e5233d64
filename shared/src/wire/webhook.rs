//! A webhook's signature, in the form of the Standard Webhooks specification (standardwebhooks.com), version 1.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

use crate::domain::authority::AuthorityCode;

/// The most signatures on one webhook: two keys under two master secrets.
const MOST_KEYS: usize = 4;

/// A key that signs one authority's webhooks. It can be made again from the master secret at any time, so that none needs to be
/// kept anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookKey([u8; 32]);

impl std::fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookKey")
    }
}

impl WebhookKey {
    /// The key of this number for an authority: HMAC-SHA256 of both under the master secret.
    #[must_use]
    pub fn derive(master: &str, authority: &AuthorityCode, number: u32) -> Self {
        Self(hmac(
            master.as_bytes(),
            &[b"cpis webhook key 1:", authority.as_str().as_bytes(), b":", &number.to_be_bytes()],
        ))
    }

    /// The key as the authority's system wants it: `whsec_` and Base64.
    #[must_use]
    pub fn text(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0))
    }

    /// One signature: `v1,` and the Base64 of HMAC-SHA256 over `id.seconds.body`.
    #[must_use]
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let seconds = seconds.to_string();
        let signature = hmac(&self.0, &[id.as_bytes(), b".", seconds.as_bytes(), b".", body]);
        format!("v1,{}", STANDARD.encode(signature))
    }
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // A key of any length is taken: this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// The three headers of a webhook: its id, the moment it is sent in seconds since 1970, and a signature by each key (R74).
#[must_use]
pub fn headers(id: &str, now: Timestamp, body: &[u8], keys: &[WebhookKey]) -> [(&'static str, String); 3] {
    let seconds = now.as_second();
    let signatures: Vec<_> = keys.iter().take(MOST_KEYS).map(|key| key.sign(id, seconds, body)).collect();
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", signatures.join(" ")),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn code(text: &str) -> AuthorityCode {
        AuthorityCode::parse(text).expect("valid")
    }

    /// The specification's own example, so that any of its libraries can verify what we send.
    #[test]
    fn r74_the_signature_is_that_of_standard_webhooks() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("Base64");
        let signature =
            hmac(&secret, &[b"msg_p5jXN8AQM9LWM0D4loKWxJek", b".", b"1614265330", b".", br#"{"test": 2432232314}"#]);
        assert_eq!(STANDARD.encode(signature), "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn r74_while_a_key_is_changed_both_sign() {
        let keys = [2, 1].map(|n| WebhookKey::derive("master", &code("E06000001"), n));
        let now = Timestamp::from_second(1_790_000_000).expect("in range");
        let [id, at, signature] = headers("the-id", now, b"body", &keys);
        assert_eq!((id.1.as_str(), at.1.as_str()), ("the-id", "1790000000"));
        let each = keys.map(|key| key.sign("the-id", 1_790_000_000, b"body"));
        assert_eq!(signature.1, each.join(" "));
        assert_ne!(each[0], each[1]);
    }

    #[test]
    fn r31_a_key_does_not_show_itself() {
        let key = WebhookKey::derive("master", &code("E06000001"), 1);
        assert_eq!(format!("{key:?}"), "WebhookKey");
        assert!(key.text().starts_with("whsec_") && key.text().len() == 50, "{}", key.text().len());
    }

    proptest! {
        #[test]
        fn r74_whatever_is_changed_the_signature_is_another(
            master in "[!-~]{32,64}", id in "[0-9a-f-]{36}", at in 0_i64..4_000_000_000,
            body in proptest::collection::vec(any::<u8>(), 1..200), bit in any::<usize>(), number in 1_u32..9,
        ) {
            let key = WebhookKey::derive(&master, &code("E06000001"), number);
            let signature = key.sign(&id, at, &body);
            prop_assert_eq!(&signature, &WebhookKey::derive(&master, &code("E06000001"), number).sign(&id, at, &body));
            let mut other = body.clone();
            let bit = bit % (other.len() * 8);
            other[bit / 8] ^= 1 << (bit % 8);
            let others = [
                key.sign(&id, at, &other), key.sign(&id, at + 1, &body), key.sign(&format!("{id}0"), at, &body),
                WebhookKey::derive(&master, &code("E06000002"), number).sign(&id, at, &body),
                WebhookKey::derive(&master, &code("E06000001"), number + 1).sign(&id, at, &body),
                WebhookKey::derive(&format!("{master}x"), &code("E06000001"), number).sign(&id, at, &body),
            ];
            prop_assert!(others.iter().all(|other| *other != signature));
        }
    }
}
