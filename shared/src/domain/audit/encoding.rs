//! The bytes that are hashed, version 1. Whoever checks the log without this code needs what is said here, and no more.
//!
//! Each field is written as its length in bytes (4 bytes, big-endian) and then its bytes, so that no two different
//! entries have the same encoding. In this order:
//!
//! 1. the text `cpis-audit/1`
//! 2. shard: 1 byte
//! 3. number: 8 bytes, big-endian
//! 4. hash of the entry before: 32 bytes, all zero for the first
//! 5. id: the 16 bytes of the UUID
//! 6. moment: milliseconds since 1970-01-01T00:00:00Z, 8 bytes, big-endian, two's complement
//! 7. kind
//! 8. actor's kind, id and name: three fields
//! 9. organisation
//! 10. subject; no bytes where there is none
//! 11. number of details: 8 bytes, big-endian
//! 12. name and value of each detail, in the order of the names' bytes: two fields each
//!
//! Texts are UTF-8. The hash is SHA-256 of all of it (FIPS 180-4).

use sha2::{Digest, Sha256};

use super::{Entry, Hash, Shard};

const VERSION: &[u8] = b"cpis-audit/1";

/// R46: the hash of an entry in its place.
pub(super) fn hash(shard: Shard, number: u64, entry: &Entry, previous: &Hash) -> Hash {
    let mut bytes = Fields::default();
    bytes.field(VERSION);
    bytes.field(&[shard.0]);
    bytes.field(&number.to_be_bytes());
    bytes.field(&previous.0);
    bytes.field(entry.id.as_bytes());
    bytes.field(&entry.at.as_millisecond().to_be_bytes());
    bytes.field(entry.kind.as_bytes());
    bytes.field(entry.actor.kind.code().as_bytes());
    bytes.field(entry.actor.id.as_bytes());
    bytes.field(entry.actor.name.as_bytes());
    bytes.field(entry.organisation.as_bytes());
    bytes.field(entry.subject.as_ref().map_or(&[], |subject| subject.as_str().as_bytes()));
    bytes.field(&(entry.details.len() as u64).to_be_bytes());
    for (name, value) in &entry.details {
        bytes.field(name.as_bytes());
        bytes.field(value.as_bytes());
    }
    Hash(Sha256::digest(bytes.into_bytes()).into())
}

/// Fields, each with its length before it.
pub(super) struct Fields(Vec<u8>);

impl Default for Fields {
    fn default() -> Self {
        Self(Vec::with_capacity(1024))
    }
}

impl Fields {
    pub(super) fn field(&mut self, value: &[u8]) {
        // No field comes near 4 GiB: an item of DynamoDB holds 400 KB.
        let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(value);
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}
