//! The audit log in memory.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Mutex,
};

use uuid::Uuid;

use super::{Register, lock};
use crate::{
    domain::audit::{Chained, Entry, Head, Shard, statement::Signed},
    ports::{AuditLog, AuditReader, HeadArchive, HeadSigner, PortResult, Statements},
};

#[derive(Debug, Default)]
struct Chains {
    entries: Vec<Chained>,
    ids: HashSet<Uuid>,
    /// By sequence; and whether it is in the archive.
    statements: BTreeMap<u64, (Signed, bool)>,
}

impl Chains {
    fn head(&self, shard: Shard) -> Head {
        let last = self.entries.iter().rfind(|held| held.shard == shard);
        last.map_or(Head::empty(shard), |last| Head { shard, number: last.number, hash: last.hash })
    }
}

/// The audit log in memory.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Chains>);

impl Ledger {
    /// Everything in it, in the order of its appending.
    pub fn all(&self) -> Vec<Chained> {
        lock(&self.0).entries.clone()
    }
}

impl AuditLog for Ledger {
    async fn append(&self, entries: &[Entry]) -> PortResult<()> {
        let mut chains = lock(&self.0);
        for entry in entries {
            if chains.ids.insert(entry.id) {
                let chained = chains.head(entry.shard()).chain(entry.clone());
                chains.entries.push(chained);
            }
        }
        Ok(())
    }
}

impl AuditReader for Ledger {
    async fn entries(&self, shard: Shard, behind: u64, limit: usize) -> PortResult<Vec<Chained>> {
        let chains = lock(&self.0);
        let own = chains.entries.iter().filter(|held| held.shard == shard && held.number > behind);
        Ok(own.take(limit).cloned().collect())
    }

    async fn heads(&self) -> PortResult<Vec<Head>> {
        let chains = lock(&self.0);
        Ok(Shard::all().map(|shard| chains.head(shard)).collect())
    }
}

impl Register {
    /// Everything in its audit log, in the order of its appending.
    pub fn audited(&self) -> Vec<Chained> {
        self.1.all()
    }
}

impl AuditLog for Register {
    async fn append(&self, entries: &[Entry]) -> PortResult<()> {
        self.1.append(entries).await
    }
}

impl AuditReader for Register {
    async fn entries(&self, shard: Shard, behind: u64, limit: usize) -> PortResult<Vec<Chained>> {
        self.1.entries(shard, behind, limit).await
    }

    async fn heads(&self) -> PortResult<Vec<Head>> {
        self.1.heads().await
    }
}

impl Statements for Ledger {
    async fn latest_statement(&self) -> PortResult<Option<(Signed, bool)>> {
        Ok(lock(&self.0).statements.last_key_value().map(|(_, held)| held.clone()))
    }

    async fn add_statement(&self, statement: &Signed) -> PortResult<bool> {
        let mut chains = lock(&self.0);
        let next = chains.statements.last_key_value().map_or(1, |(last, _)| last + 1);
        let added = statement.statement.sequence == next;
        if added {
            chains.statements.insert(next, (statement.clone(), false));
        }
        Ok(added)
    }

    async fn statement_archived(&self, sequence: u64) -> PortResult<()> {
        if let Some((_, archived)) = lock(&self.0).statements.get_mut(&sequence) {
            *archived = true;
        }
        Ok(())
    }
}

impl Statements for Register {
    async fn latest_statement(&self) -> PortResult<Option<(Signed, bool)>> {
        self.1.latest_statement().await
    }

    async fn add_statement(&self, statement: &Signed) -> PortResult<bool> {
        self.1.add_statement(statement).await
    }

    async fn statement_archived(&self, sequence: u64) -> PortResult<()> {
        self.1.statement_archived(sequence).await
    }
}

/// An archive of statements in memory, and a signer whose signatures are the bytes themselves.
#[derive(Debug, Default)]
pub struct Archive(Mutex<BTreeMap<String, Vec<Vec<u8>>>>);

impl Archive {
    /// Every file, each with all that was kept under its name.
    pub fn files(&self) -> BTreeMap<String, Vec<Vec<u8>>> {
        lock(&self.0).clone()
    }
}

impl HeadArchive for Archive {
    async fn keep(&self, name: &str, file: &[u8]) -> PortResult<()> {
        lock(&self.0).entry(name.to_owned()).or_default().push(file.to_vec());
        Ok(())
    }
}

impl HeadSigner for Archive {
    async fn sign(&self, bytes: &[u8]) -> PortResult<(String, Vec<u8>)> {
        Ok(("key".into(), bytes.to_vec()))
    }
}
