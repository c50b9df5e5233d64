//! What pushing needs, in memory.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use uuid::Uuid;

use super::{Order::Ascending, Register, lock, page};
use crate::{
    domain::{
        authority::AuthorityCode,
        circuit::Circuit,
        notification::Delivered,
        time::sortable,
        ways_out::{Push, PushState, PushTask, Way},
    },
    ports::{Circuits, Claim, Page, PageRequest, PortResult, PushEntry, PushLog, PushOutbox, PushesDue},
};

/// What is kept beside the mailbox.
#[derive(Debug, Default)]
pub(super) struct PushTables {
    /// Notifications whose tasks are owed to the queue, since when.
    pub(super) due: BTreeMap<(String, Uuid), Timestamp>,
    claims: HashMap<(String, Uuid, Way), Timestamp>,
    circuits: HashMap<(String, Way), Circuit>,
}

impl PushOutbox for Register {
    async fn pushes_due_before(&self, moment: Timestamp, request: &PageRequest) -> PortResult<Page<PushEntry>> {
        let tables = lock(&self.0);
        let due = tables.push.due.iter().filter(|(_, since)| **since < moment);
        let sorted: BTreeMap<_, _> = due
            .filter_map(|((la, id), since)| {
                let held = tables.readable(tables.mailbox.get(&(la.clone(), *id))?);
                let due = held.map(|Delivered { notification, pushes, .. }| {
                    let tasks = PushTask::all(&notification, &pushes).collect();
                    PushesDue { authority: notification.authority.clone(), id: *id, since: *since, tasks }
                });
                Some((format!("{}|{la}|{id}", sortable(*since)), PushEntry { since: *since, due }))
            })
            .collect();
        page(sorted.into_iter(), Ascending, request)
    }

    async fn pushes_queued(&self, authority: &AuthorityCode, id: Uuid, since: Timestamp) -> PortResult<()> {
        lock(&self.0).push.due.retain(|key, at| *key != (authority.to_string(), id) || *at != since);
        Ok(())
    }
}

impl PushLog for Register {
    async fn claim(&self, task: &PushTask, now: Timestamp, until: Timestamp) -> PortResult<Claim> {
        let mut tables = lock(&self.0);
        let Some(held) = tables.mailbox.get(&(task.authority.to_string(), task.notification)).cloned() else {
            return Ok(Claim::Unknown);
        };
        let Some(push) = held.pushes.get(&task.way) else { return Ok(Claim::Unknown) };
        if push.state.is_sent() {
            return Ok(Claim::Sent(push.clone()));
        }
        let key = (task.authority.to_string(), task.notification, task.way);
        match tables.push.claims.get(&key) {
            Some(taken) if *taken > now => Ok(Claim::Taken(*taken)),
            _ => {
                tables.push.claims.insert(key, until);
                Ok(Claim::Granted(Box::new(held)))
            }
        }
    }

    async fn record_push(&self, task: &PushTask, push: &Push) -> PortResult<()> {
        let mut tables = lock(&self.0);
        let held = tables.mailbox.get_mut(&(task.authority.to_string(), task.notification));
        let held = held.and_then(|held| held.pushes.get_mut(&task.way));
        if let Some(held) = held.filter(|held| gives_way(held.state, push)) {
            *held = push.clone();
            tables.push.claims.remove(&(task.authority.to_string(), task.notification, task.way));
        }
        Ok(())
    }
}

/// Whether what is held may be replaced.
fn gives_way(held: PushState, push: &Push) -> bool {
    match held {
        PushState::Collected => false,
        PushState::Sent => push.state == PushState::Collected || push.ends_sent(),
        _ => true,
    }
}

impl Circuits for Register {
    async fn circuit(&self, authority: &AuthorityCode, way: Way) -> PortResult<Circuit> {
        Ok(lock(&self.0).push.circuits.get(&(authority.to_string(), way)).cloned().unwrap_or_default())
    }

    async fn move_circuit(
        &self,
        authority: &AuthorityCode,
        way: Way,
        seen: &Circuit,
        next: &Circuit,
    ) -> PortResult<bool> {
        let mut tables = lock(&self.0);
        let held = tables.push.circuits.entry((authority.to_string(), way)).or_default();
        let unchanged = held.revision == seen.revision;
        if unchanged {
            *held = next.clone();
        }
        Ok(unchanged)
    }
}
