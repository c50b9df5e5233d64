//! The audit log in memory.

use std::{collections::HashSet, sync::Mutex};

use uuid::Uuid;

use super::{Order::Ascending, Register, lock, page};
use crate::{
    domain::audit::{Chained, Entry, Head, Shard},
    ports::{AuditLog, AuditReader, Page, PageRequest, PortResult},
};

#[derive(Debug, Default)]
struct Chains {
    entries: Vec<Chained>,
    ids: HashSet<Uuid>,
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
    async fn entries(&self, shard: Shard, request: &PageRequest) -> PortResult<Page<Chained>> {
        let chains = lock(&self.0);
        let own = chains.entries.iter().filter(|held| held.shard == shard);
        page(own.map(|held| (format!("{:020}", held.number), held.clone())), Ascending, request)
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
    async fn entries(&self, shard: Shard, request: &PageRequest) -> PortResult<Page<Chained>> {
        self.1.entries(shard, request).await
    }

    async fn heads(&self) -> PortResult<Vec<Head>> {
        self.1.heads().await
    }
}
