//! The NHS number and the key that stands for it in tables.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;

/// A valid NHS number: ten digits whose last is the modulus 11 check digit of the first nine (R1).
///
/// `Debug` hides the digits, so that no log line or panic message can carry them (R31).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NhsNumber(String);

/// Why a text is not an NHS number. None of the messages repeats the text (R31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NhsNumberError {
    /// Not ten digits once spaces and hyphens between groups are taken out.
    #[error("an NHS number has 10 digits")]
    Length,
    /// Ten digits, but the last is not the check digit of the others.
    #[error("the check digit does not fit: at least one digit is wrong")]
    CheckDigit,
    /// A pre-1996 number, which has letters in it (R2).
    #[error("an old-style NHS number, which has letters in it")]
    OldStyle,
}

impl NhsNumber {
    /// Reads ten digits, written together or grouped `999 000 0000` or `999-000-0000` (R1).
    ///
    /// # Errors
    /// See [`NhsNumberError`].
    pub fn parse(text: &str) -> Result<Self, NhsNumberError> {
        let packed: String = text.trim().chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        if is_old_style(&packed) {
            return Err(NhsNumberError::OldStyle);
        }
        if packed.len() != 10 || !packed.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NhsNumberError::Length);
        }
        match check_digit(&packed[..9]) {
            Some(digit) if packed.as_bytes()[9] == b'0' + digit => Ok(Self(packed)),
            _ => Err(NhsNumberError::CheckDigit),
        }
    }

    /// The ten digits. For answers, stored records and messages only; never for logs or keys (R31).
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }
}

/// The modulus 11 check digit of nine digits, weights 10 to 2; `None` where it would be 10,
/// because such numbers are not issued (R1). Anything but nine ASCII digits gives `None`.
#[must_use]
pub fn check_digit(nine: &str) -> Option<u8> {
    if nine.len() != 9 || !nine.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let sum: u32 = nine.bytes().zip((2..=10).rev()).map(|(b, weight)| u32::from(b - b'0') * weight).sum();
    match 11 - sum % 11 {
        11 => Some(0),
        10 => None,
        digit => u8::try_from(digit).ok(),
    }
}

/// R2: numbers issued before 1996 are 8 to 17 letters, digits and slashes, with at least a letter and a digit.
fn is_old_style(packed: &str) -> bool {
    (6..=17).contains(&packed.len())
        && packed.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'/')
        && packed.bytes().any(|b| b.is_ascii_alphabetic())
        && packed.bytes().any(|b| b.is_ascii_digit())
}

impl fmt::Debug for NhsNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NhsNumber(**********)")
    }
}

impl Serialize for NhsNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NhsNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The key of a child in every table: HMAC-SHA256 of the NHS number under a secret, in 43 base64url
/// characters (R3). Without the secret nobody can tell whose it is, nor try all ten-digit numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChildKey(String);

impl ChildKey {
    /// Reads what [`ChildKey::as_str`] gave; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hash: [u8; 32] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        Some(Self(URL_SAFE_NO_PAD.encode(hash)))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The secret under which [`ChildKey`]s are made. `Debug` hides it.
#[derive(Clone)]
pub struct ChildKeySecret(Hmac<Sha256>);

impl ChildKeySecret {
    /// Takes at least 32 bytes (256 bits, RFC 2104 section 3: no shorter than the hash).
    ///
    /// # Errors
    /// A text that says the secret is too short.
    pub fn new(secret: &[u8]) -> Result<Self, &'static str> {
        if secret.len() < 32 {
            return Err("the child key secret must have at least 32 bytes");
        }
        Hmac::new_from_slice(secret).map(Self).map_err(|_| "the child key secret cannot be used")
    }

    /// The key of the child with this number (R3).
    #[must_use]
    pub fn key_of(&self, number: &NhsNumber) -> ChildKey {
        let mut mac = self.0.clone();
        mac.update(number.0.as_bytes());
        ChildKey(URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    /// A key for something else, named by its purpose: 32 bytes that tell nothing of the secret, nor of any child's key.
    #[must_use]
    pub fn derived(&self, purpose: &str) -> [u8; 32] {
        let mut mac = self.0.clone();
        // No number has a letter in it, so that no child's key can be made in this way.
        mac.update(b"key for ");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for ChildKeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChildKeySecret(**********)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r1_numbers_as_people_write_them() {
        for text in ["9990000018", "999 000 0018", "999-000-0018", " 9990000018 "] {
            assert_eq!(NhsNumber::parse(text).map(|n| n.digits().to_owned()), Ok("9990000018".to_owned()), "{text}");
        }
    }

    #[test]
    fn r1_r2_what_is_refused_and_why() {
        for (text, error) in [
            ("", NhsNumberError::Length),
            ("999000001", NhsNumberError::Length),
            ("99900000180", NhsNumberError::Length),
            ("９９９００００１８０", NhsNumberError::Length),
            ("9990000019", NhsNumberError::CheckDigit),
            ("ABCD 12345", NhsNumberError::OldStyle),
            ("LAKE/123/4", NhsNumberError::OldStyle),
            ("999000001X", NhsNumberError::OldStyle),
        ] {
            assert_eq!(NhsNumber::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn r1_one_check_digit_of_ten_fits_or_none(nine in 999_000_000_u32..=999_999_999) {
            let nine = nine.to_string();
            let fits: Vec<_> = (0..10).filter(|d| NhsNumber::parse(&format!("{nine}{d}")).is_ok()).collect();
            prop_assert_eq!(fits, check_digit(&nine).into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn r1_any_single_wrong_digit_is_found(nine in 999_000_000_u32..=999_999_999, at in 0_usize..10, by in 1_u8..10) {
            prop_assume!(check_digit(&nine.to_string()).is_some());
            let mut digits = format!("{nine}{}", check_digit(&nine.to_string()).unwrap_or_default()).into_bytes();
            digits[at] = b'0' + (digits[at] - b'0' + by) % 10;
            prop_assert_eq!(NhsNumber::parse(&String::from_utf8_lossy(&digits)), Err(NhsNumberError::CheckDigit));
        }

        #[test]
        fn r1_no_text_makes_it_panic(text in ".*") {
            let _ = NhsNumber::parse(&text);
        }
    }

    #[test]
    fn r3_keys_depend_on_number_and_secret() {
        let number = |n: &str| NhsNumber::parse(n).expect("valid");
        let secret = |b: u8| ChildKeySecret::new(&[b; 32]).expect("long enough");
        assert_eq!(secret(1).key_of(&number("9990000018")), secret(1).key_of(&number("999 000 0018")));
        assert_ne!(secret(1).key_of(&number("9990000018")), secret(2).key_of(&number("9990000018")));
        assert_ne!(secret(1).key_of(&number("9990000018")), secret(1).key_of(&number("9990000026")));
        assert_eq!(secret(1).key_of(&number("9990000018")).as_str().len(), 43);
        let key = secret(1).key_of(&number("9990000018"));
        assert_eq!(ChildKey::parse(key.as_str()), Some(key.clone()));
        for other in ["", "9990000018", &key.as_str()[1..], &format!("{}A", key.as_str()), &"?".repeat(43)] {
            assert_eq!(ChildKey::parse(other), None, "{other}");
        }
        assert_ne!(secret(1).derived("this"), secret(1).derived("that"));
        assert_ne!(secret(1).derived("this"), secret(2).derived("this"));
        assert!(ChildKeySecret::new(&[1; 31]).is_err());
    }

    #[test]
    fn r31_debug_hides_number_and_secret() {
        let number = NhsNumber::parse("9990000018").expect("valid");
        assert!(!format!("{number:?}").contains("999"));
        assert!(!format!("{:?}", ChildKeySecret::new(&[b's'; 32])).contains("sss"));
    }
}
