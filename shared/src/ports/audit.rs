//! What the audit log needs of the world.

use std::future::Future;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Page, PageRequest, PortResult};
use crate::domain::{
    access::Access,
    audit::{Chained, Entry, Head, Shard, statement::Signed},
    nhs_number::ChildKey,
};

/// The audit log, to write to (R45).
pub trait AuditLog: Sync {
    /// Appends entries, each to the end of its chain. One whose id is there already is left as it is. Where it fails, some
    /// may have been appended: repeating the call appends the rest.
    fn append(&self, entries: &[Entry]) -> impl Future<Output = PortResult<()>> + Send;
}

/// The audit log, to read.
pub trait AuditReader: Sync {
    /// A chain's entries behind a number, in order and read consistently; up to `limit` (1 to 1,000), and none only at the end.
    fn entries(&self, shard: Shard, behind: u64, limit: usize)
    -> impl Future<Output = PortResult<Vec<Chained>>> + Send;

    /// Where each chain ends, in order of the chains, each read consistently.
    fn heads(&self) -> impl Future<Output = PortResult<Vec<Head>>> + Send;
}

/// The accesses that are not in the audit log yet (R49).
pub trait Unaudited: Sync {
    /// Those recorded before a moment, oldest first. One that cannot be read is an error in its own place: it must
    /// not hold up the others.
    fn unaudited_before(
        &self,
        moment: Timestamp,
        page: &PageRequest,
    ) -> impl Future<Output = PortResult<Page<PortResult<Access>>>> + Send;

    /// Notes that these accesses are in the log. Repeating it changes nothing.
    fn audited(&self, accesses: &[(ChildKey, Uuid)]) -> impl Future<Output = PortResult<()>> + Send;
}

/// Looks at accesses as they enter the log: counts them, and notices what is unusual.
pub trait AccessWatch: Sync {
    /// Is told of each access at least once, whenever it comes, before its mark is cleared. Where it fails, it is told again.
    fn watch(&self, accesses: &[Access]) -> impl Future<Output = PortResult<()>> + Send;
}

/// The statements of where the chains end (R47).
pub trait Statements: Sync {
    /// The latest, and whether it is known to be in the archive.
    fn latest_statement(&self) -> impl Future<Output = PortResult<Option<(Signed, bool)>>> + Send;

    /// Keeps a statement, unless there is one of its sequence: then `false`.
    fn add_statement(&self, statement: &Signed) -> impl Future<Output = PortResult<bool>> + Send;

    /// Notes that a statement is in the archive.
    fn statement_archived(&self, sequence: u64) -> impl Future<Output = PortResult<()>> + Send;
}

/// Signs statements, with a key that never leaves where it is.
pub trait HeadSigner: Sync {
    /// Signs up to 4,096 bytes: the name of the key, and the signature in DER (ECDSA, P-256, SHA-256).
    fn sign(&self, bytes: &[u8]) -> impl Future<Output = PortResult<(String, Vec<u8>)>> + Send;
}

/// Keeps statements where nobody can change or delete them before their time.
pub trait HeadArchive: Sync {
    /// Keeps a file under a name. Keeping the same again changes nothing that counts.
    fn keep(&self, name: &str, file: &[u8]) -> impl Future<Output = PortResult<()>> + Send;
}
