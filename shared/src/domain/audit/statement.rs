//! Statements: where every chain ended at a moment, to be signed and kept where nobody can change them (R47).
//!
//! What is signed, with ECDSA over P-256 and SHA-256, is this encoding; each field is its length in bytes (4 bytes,
//! big-endian) and then its bytes:
//!
//! 1. the text `cpis-audit-heads/1`
//! 2. sequence: 8 bytes, big-endian
//! 3. moment: milliseconds since 1970-01-01T00:00:00Z, 8 bytes, big-endian, two's complement
//! 4. hash of the statement before: 32 bytes, all zero for the first
//! 5. number of heads: 8 bytes, big-endian
//! 6. of each head, in order of the shards: shard (1 byte), number (8 bytes, big-endian), hash (32 bytes): three fields
//!
//! The hash of a statement is SHA-256 of these bytes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Hash, Head, encoding::Fields};

const VERSION: &[u8] = b"cpis-audit-heads/1";

/// Where every chain ended at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// 1 and on, without a gap.
    pub sequence: u64,
    /// When the heads were read.
    #[serde(serialize_with = "crate::domain::time::serialize")]
    pub at: Timestamp,
    /// One a chain, in order of the shards.
    pub heads: Vec<Head>,
    /// Hash of the statement before; [`Hash::NONE`] for the first.
    pub previous: Hash,
}

impl Statement {
    /// The bytes that are signed: less than 1,100.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Fields::default();
        bytes.field(VERSION);
        bytes.field(&self.sequence.to_be_bytes());
        bytes.field(&self.at.as_millisecond().to_be_bytes());
        bytes.field(&self.previous.0);
        bytes.field(&(self.heads.len() as u64).to_be_bytes());
        for head in &self.heads {
            bytes.field(&[head.shard.0]);
            bytes.field(&head.number.to_be_bytes());
            bytes.field(&head.hash.0);
        }
        bytes.into_bytes()
    }

    /// What the next statement names as the one before.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash(Sha256::digest(self.bytes()).into())
    }

    /// Whether this one may follow another, or be the first: the next sequence, every chain there, none shorter.
    #[must_use]
    pub fn follows(&self, before: Option<&Self>) -> bool {
        let shards = self.heads.iter().map(|head| head.shard).eq(super::Shard::all());
        let Some(before) = before else { return self.sequence == 1 && self.previous == Hash::NONE && shards };
        let mut pairs = self.heads.iter().zip(&before.heads);
        let grown = pairs.all(|(now, then)| now.number > then.number || now == then);
        self.sequence == before.sequence + 1
            && self.previous == before.hash()
            && self.at >= before.at
            && shards
            && grown
    }
}

/// A statement with its signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// What is said.
    #[serde(flatten)]
    pub statement: Statement,
    /// The ARN of the key.
    pub key: String,
    /// The signature, DER in base64.
    pub signature: String,
}

impl Signed {
    /// The name under which it is kept; text order is order of sequence.
    #[must_use]
    pub fn name(&self) -> String {
        name(self.statement.sequence)
    }
}

/// The name under which a statement is kept.
#[must_use]
pub fn name(sequence: u64) -> String {
    format!("heads/{sequence:010}.json")
}
