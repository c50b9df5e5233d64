//! Local authorities.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use super::ways_out::WaysOut;

/// A local authority's GSS code, `E` and eight digits, as the Office for National Statistics publishes it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct AuthorityCode(String);

/// The text is not a GSS code of an English authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a GSS code is the letter E and eight digits, such as E06000001")]
pub struct AuthorityCodeError;

impl AuthorityCode {
    /// Reads a code such as `E06000001`.
    ///
    /// # Errors
    /// [`AuthorityCodeError`] for anything but `E` and eight digits.
    pub fn parse(text: &str) -> Result<Self, AuthorityCodeError> {
        let digits = text.strip_prefix('E').ok_or(AuthorityCodeError)?;
        if digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(AuthorityCodeError)
        }
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AuthorityCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AuthorityCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// Whether a directory entry may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// In use.
    Open,
    /// Shut by an operator: uploads are refused, and notifications wait (and then go to the dead-letter queue).
    Closed,
}

/// A local authority as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its GSS code.
    pub code: AuthorityCode,
    /// Its name, such as `Hartlepool`.
    pub name: String,
    /// Its region, one of the nine of England.
    pub region: String,
    /// Whether it is in use.
    pub status: Status,
    /// How it is told beside its mailbox (R73).
    #[serde(default, rename = "waysOut", skip_serializing_if = "WaysOut::is_empty")]
    pub ways_out: WaysOut,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        assert_eq!(AuthorityCode::parse("E06000001").map(|c| c.to_string()), Ok("E06000001".to_owned()));
        for bad in ["", "E0600000", "E060000011", "W06000001", "e06000001", "E0600000A", "E06000001\n", "E０6000001"] {
            assert_eq!(AuthorityCode::parse(bad), Err(AuthorityCodeError), "{bad:?}");
        }
    }
}
