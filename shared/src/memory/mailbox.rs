//! The mailboxes in memory.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Order::Ascending, Register, lock, page, register::Tables, unreadable};
use crate::{
    domain::{
        authority::AuthorityCode,
        notification::{Delivered, State, Taken, Weighed},
        reading::Reading,
        time::sortable,
        ways_out::{Push, Way},
    },
    ports::{
        Mailbox, MailboxMarks, MailboxReader, MailboxWatch, Page, PageRequest, PortResult, ReadingRules,
        ReadingRulesWriter, Unreadable,
    },
};

type Key = (String, Uuid);

fn key(held: &Delivered) -> Key {
    (held.notification.authority.to_string(), held.notification.id)
}

/// A page of an authority's notifications that are meant, by the time of what they tell of.
fn listed(
    tables: &Tables,
    authority: &AuthorityCode,
    is_meant: impl Fn(&Delivered) -> bool,
    request: &PageRequest,
) -> PortResult<Page<Result<Delivered, Unreadable>>> {
    let position = |d: &Delivered| format!("{}|{}", sortable(d.notification.at), d.notification.id);
    let own = tables.mailbox.values().filter(|d| d.notification.authority == *authority && is_meant(d));
    let sorted: BTreeMap<_, _> = own.map(|d| (position(d), tables.readable(d))).collect();
    page(sorted.into_iter(), Ascending, request)
}

impl Tables {
    /// A notification, unless it was spoilt.
    pub(super) fn readable(&self, held: &Delivered) -> Result<Delivered, Unreadable> {
        let (authority, id) = key(held);
        match self.spoilt.contains(&(authority.clone(), id)) {
            true => Err(Unreadable { authority, id: id.to_string(), error: unreadable("mailbox.query") }),
            false => Ok(held.clone()),
        }
    }
}

impl Register {
    /// Makes a notification in a mailbox one that cannot be read.
    pub fn spoil(&self, authority: &AuthorityCode, id: Uuid) {
        lock(&self.0).spoilt.insert((authority.to_string(), id));
    }
}

/// What the index of wakes has of a notification, by its place there.
fn positioned((at, held): (Timestamp, &Delivered)) -> (String, (AuthorityCode, Uuid)) {
    let (authority, id) = (held.notification.authority.clone(), held.notification.id);
    (format!("{}|{authority}|{id}", sortable(at)), (authority, id))
}

impl Mailbox for Register {
    async fn deliver(&self, delivered: &Delivered) -> PortResult<bool> {
        let mut tables = lock(&self.0);
        let key = key(delivered);
        if tables.mailbox.contains_key(&key) {
            return Ok(false);
        }
        if !delivered.pushes.is_empty() {
            tables.push.due.insert(key.clone(), delivered.delivered_at);
        }
        tables.mailbox.insert(key, delivered.clone());
        Ok(true)
    }
}

impl MailboxReader for Register {
    async fn notifications(
        &self,
        authority: &AuthorityCode,
        state: Option<State>,
        request: &PageRequest,
    ) -> PortResult<Page<Result<Delivered, Unreadable>>> {
        listed(&lock(&self.0), authority, |d| state.is_none_or(|state| d.state == state), request)
    }

    async fn notification(&self, authority: &AuthorityCode, id: Uuid) -> PortResult<Option<Delivered>> {
        let tables = lock(&self.0);
        let held = tables.mailbox.get(&(authority.to_string(), id));
        held.map(|held| tables.readable(held)).transpose().map_err(|unreadable| unreadable.error)
    }

    async fn notifications_since(
        &self,
        authority: &AuthorityCode,
        from: Timestamp,
        request: &PageRequest,
    ) -> PortResult<Page<Result<Delivered, Unreadable>>> {
        listed(&lock(&self.0), authority, |d| d.notification.at >= from, request)
    }
}

impl MailboxMarks for Register {
    async fn mark(
        &self,
        authority: &AuthorityCode,
        id: Uuid,
        state: State,
        taken: &Taken,
    ) -> PortResult<Option<Delivered>> {
        let mut tables = lock(&self.0);
        let Some(held) = tables.mailbox.get_mut(&(authority.to_string(), id)) else { return Ok(None) };
        if let Some(marked) = held.marked(state, taken) {
            *held = marked;
        }
        Ok(Some(held.clone()))
    }
}

impl MailboxWatch for Register {
    async fn wakes_before(&self, moment: Timestamp, request: &PageRequest) -> PortResult<Page<(AuthorityCode, Uuid)>> {
        let tables = lock(&self.0);
        let due = tables.mailbox.values().filter_map(|held| Some((held.wakes_at().filter(|at| *at < moment)?, held)));
        let sorted: BTreeMap<_, _> = due.map(positioned).collect();
        page(sorted.into_iter(), Ascending, request)
    }

    async fn escalate(&self, held: &Delivered, at: Timestamp, ways: &[Way]) -> PortResult<bool> {
        let mut tables = lock(&self.0);
        let key = key(held);
        let Some(held) = tables.mailbox.get_mut(&key) else { return Ok(false) };
        if held.state != State::Unread || held.escalated_at.is_some() {
            return Ok(held.escalated_at == Some(at));
        }
        (held.escalated_at, held.escalate_at, held.weigh_at) = (Some(at), None, None);
        held.pushes.extend(ways.iter().map(|way| (*way, Push::default())));
        if !ways.is_empty() {
            tables.push.due.insert(key, at);
        }
        Ok(true)
    }

    async fn weigh(&self, held: &Delivered, weighed: &Weighed) -> PortResult<()> {
        if let Some(held) = lock(&self.0).mailbox.get_mut(&key(held)).filter(|held| held.weigh_at.is_some()) {
            (held.weigh_at, held.escalate_at) = (None, Some(weighed.escalate_at));
            held.notification.signal(weighed.signals.iter().copied());
        }
        Ok(())
    }

    async fn escalated_since(
        &self,
        moment: Timestamp,
        request: &PageRequest,
    ) -> PortResult<Page<(AuthorityCode, Uuid)>> {
        let tables = lock(&self.0);
        let unread = tables.mailbox.values().filter(|held| held.state == State::Unread);
        let escalated = unread.filter_map(|held| Some((held.escalated_at.filter(|at| *at >= moment)?, held)));
        let sorted: BTreeMap<_, _> = escalated.map(positioned).collect();
        page(sorted.into_iter(), Ascending, request)
    }

    async fn put_digest(&self, digest: &Delivered, held: &[Delivered]) -> PortResult<bool> {
        let mut tables = lock(&self.0);
        let waits = |held: &Delivered| tables.mailbox.get(&key(held)).is_some_and(|held| held.digest_at.is_some());
        if tables.mailbox.contains_key(&key(digest)) || !held.iter().all(waits) {
            return Ok(false);
        }
        for one in held {
            if let Some(one) = tables.mailbox.get_mut(&key(one)) {
                (one.digest, one.digest_at) = (Some(digest.notification.id), None);
            }
        }
        if !digest.pushes.is_empty() {
            tables.push.due.insert(key(digest), digest.delivered_at);
        }
        tables.mailbox.insert(key(digest), digest.clone());
        Ok(true)
    }
}

impl ReadingRules for Register {
    async fn reading(&self, authority: &AuthorityCode) -> PortResult<Reading> {
        Ok(lock(&self.0).readings.get(authority.as_str()).cloned().unwrap_or_default())
    }
}

impl ReadingRulesWriter for Register {
    async fn set_reading(&self, authority: &AuthorityCode, reading: &Reading) -> PortResult<()> {
        lock(&self.0).readings.insert(authority.to_string(), reading.clone());
        Ok(())
    }
}
