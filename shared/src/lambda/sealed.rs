//! Cursors that tell nothing and serve only the list that gave them.
//!
//! Where a list passes over entries that its reader may not see, a page may end at one of those. Its place in the index
//! would then be told by a plain cursor; and a cursor that somebody made up could begin anywhere. So it is encrypted and
//! authenticated (AES-256-GCM, NIST SP 800-38D, a random nonce each), together with what was searched for and by whom.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{domain::nhs_number::ChildKeySecret, ports::PortError};

/// Seals and opens cursors.
#[derive(Debug)]
pub struct Sealer(RandomizedNonceKey);

impl Sealer {
    /// With a key of its own, made from the secret for the sake of one list.
    ///
    /// # Errors
    /// The cipher cannot be used.
    pub fn new(secret: &ChildKeySecret, list: &str) -> Result<Self, &'static str> {
        RandomizedNonceKey::new(&AES_256_GCM, &secret.derived(list)).map(Self).map_err(|_| "AES-256-GCM cannot be used")
    }

    /// A cursor, sealed for a search.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn seal(&self, cursor: &str, search: &str) -> Result<String, PortError> {
        let mut sealed = cursor.as_bytes().to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(search), &mut sealed).map_err(|_| PortError {
            step: "page.seal",
            cause: "NotSealed".into(),
            retryable: true,
        })?;
        Ok(URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), &sealed].concat()))
    }

    /// The cursor that was sealed for this search.
    ///
    /// # Errors
    /// [`PortError::bad_cursor`] where it was not.
    pub fn open(&self, sealed: &str, search: &str) -> Result<String, PortError> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| PortError::bad_cursor())?;
        let (nonce, rest) = bytes.split_first_chunk::<NONCE_LEN>().ok_or_else(PortError::bad_cursor)?;
        let mut rest = rest.to_vec();
        let opened = self.0.open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(search), &mut rest);
        let opened = opened.map_err(|_| PortError::bad_cursor())?;
        String::from_utf8(opened.to_vec()).map_err(|_| PortError::bad_cursor())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&ChildKeySecret::new(&[byte; 32]).expect("long enough"), "a list").expect("a sealer")
    }

    #[test]
    fn r32_a_cursor_serves_only_the_search_that_gave_it() {
        let sealed = sealer(1).seal("where it was", "child by ZX001").expect("sealed");
        assert_eq!(sealer(1).open(&sealed, "child by ZX001"), Ok("where it was".into()));
        for (sealer, sealed, search) in [
            (sealer(2), sealed.clone(), "child by ZX001"),
            (sealer(1), sealed.clone(), "child by ZX002"),
            (sealer(1), sealed[1..].to_owned(), "child by ZX001"),
            (sealer(1), String::new(), "child by ZX001"),
            (sealer(1), "not a cursor".into(), "child by ZX001"),
        ] {
            assert_eq!(sealer.open(&sealed, search), Err(PortError::bad_cursor()), "{sealed} {search}");
        }
        let secret = ChildKeySecret::new(&[1; 32]).expect("long enough");
        let other = Sealer::new(&secret, "another list").expect("a sealer");
        assert_eq!(other.open(&sealed, "child by ZX001"), Err(PortError::bad_cursor()));
    }

    #[test]
    fn r31_a_cursor_tells_nothing_and_none_can_be_changed() {
        let sealed = sealer(1).seal("a place in the index", "s").expect("sealed");
        assert_ne!(sealed, sealer(1).seal("a place in the index", "s").expect("sealed"), "alike places look unlike");
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).expect("Base64");
        assert!(!bytes.windows(5).any(|window| window == b"place"));
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            let opened = sealer(1).open(&URL_SAFE_NO_PAD.encode(changed), "s");
            assert_eq!(opened, Err(PortError::bad_cursor()), "byte {place}");
        }
    }
}
