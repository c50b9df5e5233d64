//! All tables in memory.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Mutex,
};

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Order::{Ascending, Descending},
    lock, page,
    push::PushTables,
    unreadable,
};
use crate::{
    domain::{
        access::Access,
        audit_search::AuditSearch,
        authority::{Authority, AuthorityCode},
        contact::Contact,
        nhs_number::ChildKey,
        notification::{Delivered, Notification, Owing},
        pilot::Pilot,
        plan::{Plan, PlanId},
        reading::Reading,
        setting::Setting,
        time::sortable,
        upload::{Acknowledgement, UploadSummary},
    },
    ports::{
        AccessHistory, AccessLog, AccessReader, AccessSearch, AuthorityList, ContactLog, ContactStanding, Directory,
        Guard, LookLog, NoticeOutbox, Outbox, OutboxEntry, Page, PageRequest, PlanReader, PlanRegister, PlanWrite,
        PlanWriter, PortError, PortResult, SettingDirectory, Standing, Unaudited, UploadLog, UploadReader,
    },
};

/// A file, and its answer once it has one.
type Upload = (UploadSummary, Option<Vec<u8>>);

#[derive(Debug, Default)]
pub(super) struct Tables {
    plans: BTreeMap<(String, String), (ChildKey, Plan)>,
    accesses: BTreeMap<(String, Uuid), (Access, bool)>,
    /// Keys of the accesses that are not in the audit log yet.
    unaudited: BTreeSet<(String, Uuid)>,
    /// Notices that are still owed, by their place in the outbox.
    notices: BTreeMap<String, Notification>,
    /// Places in the outbox of what cannot be read.
    unreadable: BTreeSet<String>,
    looked: Option<Timestamp>,
    uploads: BTreeMap<(String, u64), Upload>,
    contacts: HashMap<String, ContactStanding>,
    pub(super) mailbox: BTreeMap<(String, Uuid), Delivered>,
    /// Keys of what in the mailboxes cannot be read.
    pub(super) spoilt: BTreeSet<(String, Uuid)>,
    directory: HashMap<String, Authority>,
    pub(super) push: PushTables,
    pub(super) readings: HashMap<String, Reading>,
    settings: HashMap<String, Setting>,
    pilots: BTreeMap<String, Pilot>,
}

/// The register in memory.
#[derive(Debug, Default)]
pub struct Register(pub(super) Mutex<Tables>, pub(super) super::Ledger);

impl Register {
    /// An entry of the directory.
    pub fn put_authority(&self, authority: Authority) {
        lock(&self.0).directory.insert(authority.code.to_string(), authority);
    }

    /// An entry of the outbox that cannot be read, at a place there.
    pub fn put_unreadable_owing(&self, position: &str) {
        lock(&self.0).unreadable.insert(position.to_owned());
    }

    /// A health care setting's entry of the directory.
    pub fn put_setting(&self, setting: Setting) {
        lock(&self.0).settings.insert(setting.code.clone(), setting);
    }

    /// A pilot's entry of the directory.
    pub fn put_pilot(&self, pilot: Pilot) {
        lock(&self.0).pilots.insert(pilot.code.clone(), pilot);
    }
}

impl PlanReader for Register {
    async fn plans_of(&self, child: &ChildKey) -> PortResult<Vec<Plan>> {
        let tables = lock(&self.0);
        Ok(tables.plans.values().filter(|(key, _)| key == child).map(|(_, plan)| plan.clone()).collect())
    }
}

impl PlanWriter for Register {
    async fn write_plan(&self, child: &ChildKey, plan: &Plan, guard: Guard) -> PortResult<PlanWrite> {
        let mut tables = lock(&self.0);
        let key = (child.as_str().to_owned(), plan.id().key());
        let held = tables.plans.get(&key).map(|(_, plan)| plan);
        let allowed = match (guard, held) {
            (Guard::NothingNewer | Guard::Absent, None) => true,
            (Guard::NothingNewer, Some(held)) => held.sequence <= plan.sequence,
            (Guard::StartedAndNothingNewer, Some(held)) => held.known && held.sequence <= plan.sequence,
            (Guard::StillAwaiting(sequence), Some(held)) => !held.known && held.sequence == sequence,
            _ => false,
        };
        if !allowed {
            return Ok(PlanWrite::Refused(held.cloned().map(Box::new)));
        }
        tables.plans.insert(key, (child.clone(), plan.clone()));
        Ok(PlanWrite::Written)
    }

    async fn write_contact(&self, child: &ChildKey, plan: &PlanId, contact: &Contact, sequence: u64) -> PortResult<()> {
        let mut tables = lock(&self.0);
        let held = tables.plans.get_mut(&(child.as_str().to_owned(), plan.key()));
        if let Some((_, held)) = held.filter(|(_, held)| held.contact_sequence < sequence) {
            held.contact = contact.clone();
            held.contact_sequence = sequence;
        }
        Ok(())
    }
}

impl PlanRegister for Register {
    async fn plans_held(&self, authority: &AuthorityCode, request: &PageRequest) -> PortResult<Page<(ChildKey, Plan)>> {
        let tables = lock(&self.0);
        let own = tables.plans.iter().filter(|(_, (_, plan))| plan.authority == *authority);
        page(own.map(|((child, plan), held)| (format!("{child}|{plan}"), held.clone())), Ascending, request)
    }
}

impl UploadLog for Register {
    async fn begin(&self, authority: &AuthorityCode, upload: &UploadSummary) -> PortResult<Standing> {
        let mut tables = lock(&self.0);
        let key = (authority.to_string(), upload.sequence);
        match tables.uploads.get(&key) {
            Some((held, answer)) => Ok(standing(held, answer.as_ref())),
            None => {
                tables.uploads.insert(key, (upload.clone(), None));
                Ok(Standing::Begun)
            }
        }
    }

    async fn complete(
        &self,
        authority: &AuthorityCode,
        acknowledgement: &Acknowledgement,
        answer: &[u8],
    ) -> PortResult<Vec<u8>> {
        let mut tables = lock(&self.0);
        let sequence = u64::try_from(acknowledgement.sequence).unwrap_or_default();
        let Some((held, kept)) = tables.uploads.get_mut(&(authority.to_string(), sequence)) else {
            return Err(PortError { step: "uploads.update", cause: "never begun".into(), retryable: false });
        };
        if kept.is_none() {
            held.code = Some(acknowledgement.code);
            held.loaded = Some(acknowledgement.loaded as u64);
            held.unmatched = Some(acknowledgement.unmatched());
            held.completed = Some(acknowledgement.processed);
        }
        Ok(kept.get_or_insert_with(|| answer.to_vec()).clone())
    }
}

fn standing(held: &UploadSummary, answer: Option<&Vec<u8>>) -> Standing {
    let digest = held.digest.clone();
    match answer {
        Some(answer) => Standing::Completed { digest, answer: answer.clone() },
        None => Standing::Unfinished { digest },
    }
}

impl UploadReader for Register {
    async fn uploads(&self, authority: &AuthorityCode, request: &PageRequest) -> PortResult<Page<UploadSummary>> {
        let tables = lock(&self.0);
        let own = tables.uploads.iter().rev().filter(|((la, _), _)| la == authority.as_str());
        page(own.map(|((_, sequence), (held, _))| (format!("{sequence:020}"), held.clone())), Descending, request)
    }

    async fn upload(&self, authority: &AuthorityCode, sequence: u64) -> PortResult<Option<Standing>> {
        let tables = lock(&self.0);
        let found = tables.uploads.get(&(authority.to_string(), sequence));
        Ok(found.map(|(held, answer)| standing(held, answer.as_ref())))
    }
}

impl ContactLog for Register {
    async fn advance_contact(
        &self,
        authority: &AuthorityCode,
        contact: &Contact,
        sequence: u64,
    ) -> PortResult<ContactStanding> {
        let mut tables = lock(&self.0);
        let standing = ContactStanding::advanced(tables.contacts.get(authority.as_str()), contact, sequence);
        if let Ok(next) = &standing {
            tables.contacts.insert(authority.to_string(), next.clone());
        }
        Ok(standing.unwrap_or_else(|held| held))
    }

    async fn contact(&self, authority: &AuthorityCode) -> PortResult<Option<ContactStanding>> {
        Ok(lock(&self.0).contacts.get(authority.as_str()).cloned())
    }

    async fn contact_spread(&self, authority: &AuthorityCode, standing: &ContactStanding) -> PortResult<()> {
        let mut tables = lock(&self.0);
        if let Some(held) = tables.contacts.get_mut(authority.as_str()).filter(|held| *held == standing) {
            held.spreads_due = held.spreads_due.saturating_sub(1);
        }
        Ok(())
    }
}

impl AccessLog for Register {
    async fn record(&self, access: &Access) -> PortResult<Option<Access>> {
        let mut tables = lock(&self.0);
        let key = (access.child.as_str().to_owned(), access.id);
        if let Some((earlier, _)) = tables.accesses.get(&key) {
            return Ok(Some(earlier.clone()));
        }
        tables.unaudited.insert(key.clone());
        tables.accesses.insert(key, (access.clone(), !access.owed.is_empty()));
        Ok(None)
    }
}

impl AccessReader for Register {
    async fn access(&self, child: &ChildKey, id: Uuid) -> PortResult<Option<Access>> {
        Ok(lock(&self.0).accesses.get(&(child.as_str().to_owned(), id)).map(|(access, _)| access.clone()))
    }
}

impl AccessHistory for Register {
    async fn accesses_of(&self, child: &ChildKey, request: &PageRequest) -> PortResult<Page<Access>> {
        let tables = lock(&self.0);
        let own = tables.accesses.values().map(|(access, _)| access).filter(|access| access.child == *child);
        let sorted: BTreeMap<_, _> = own.map(|a| (format!("{}|{}", sortable(a.at), a.id), a.clone())).collect();
        page(sorted.into_iter().rev(), Descending, request)
    }
}

impl AccessSearch for Register {
    async fn search(&self, search: &AuditSearch, request: &PageRequest) -> PortResult<Page<Access>> {
        let tables = lock(&self.0);
        let asked = tables.accesses.values().map(|(access, _)| access).filter(|access| search.finds(access));
        let position = |a: &Access| format!("{}|{}|{}", sortable(a.at), a.child.as_str(), a.id);
        let sorted: BTreeMap<_, _> = asked.map(|a| (position(a), a.clone())).collect();
        page(sorted.into_iter().rev(), Descending, request)
    }
}

impl Outbox for Register {
    async fn owed_before(&self, moment: Timestamp, request: &PageRequest) -> PortResult<Page<OutboxEntry>> {
        let tables = lock(&self.0);
        let accesses = tables.accesses.values().filter(|(_, owed)| *owed);
        let accesses = accesses.map(|(access, _)| Owing::Access(Box::new(access.clone())));
        let notices = tables.notices.values().map(|notice| Owing::Notice(Box::new(notice.clone())));
        let readable = accesses.chain(notices).map(|owing| (owing.position(), Ok(owing)));
        let unreadable = tables.unreadable.iter().map(|position| (position.clone(), Err(unreadable("outbox.query"))));
        let before = sortable(moment);
        let owed = readable.chain(unreadable).filter(|(position, _)| *position < before);
        let entry = |(position, owing): (String, _)| (position.clone(), OutboxEntry { position, owing });
        let sorted: BTreeMap<_, _> = owed.map(entry).collect();
        page(sorted.into_iter(), Ascending, request)
    }

    async fn settle(&self, owing: &[Owing]) -> PortResult<()> {
        let mut tables = lock(&self.0);
        for owing in owing {
            match owing {
                Owing::Access(access) => {
                    let key = (access.child.as_str().to_owned(), access.id);
                    if let Some((_, owed)) = tables.accesses.get_mut(&key) {
                        *owed = false;
                    }
                }
                Owing::Notice(_) => drop(tables.notices.remove(&owing.position())),
            }
        }
        Ok(())
    }
}

impl NoticeOutbox for Register {
    async fn owe(&self, notices: &[Notification]) -> PortResult<()> {
        let entry = |notice: &Notification| (Owing::Notice(Box::new(notice.clone())).position(), notice.clone());
        lock(&self.0).notices.extend(notices.iter().map(entry));
        Ok(())
    }
}

impl LookLog for Register {
    async fn note_look(&self, at: Timestamp) -> PortResult<()> {
        lock(&self.0).looked = Some(at);
        Ok(())
    }

    async fn last_look(&self) -> PortResult<Option<Timestamp>> {
        Ok(lock(&self.0).looked)
    }
}

impl Unaudited for Register {
    async fn unaudited_before(&self, moment: Timestamp, request: &PageRequest) -> PortResult<Page<PortResult<Access>>> {
        let tables = lock(&self.0);
        let due = tables.unaudited.iter().filter_map(|key| tables.accesses.get(key)).map(|(access, _)| access);
        let position = |a: &Access| format!("{}|{}|{}", sortable(a.at), a.child.as_str(), a.id);
        let sorted: BTreeMap<_, _> =
            due.filter(|access| access.at < moment).map(|a| (position(a), Ok(a.clone()))).collect();
        page(sorted.into_iter(), Ascending, request)
    }

    async fn audited(&self, accesses: &[(ChildKey, Uuid)]) -> PortResult<()> {
        let mut tables = lock(&self.0);
        for (child, id) in accesses {
            tables.unaudited.remove(&(child.as_str().to_owned(), *id));
        }
        Ok(())
    }
}

impl Directory for Register {
    async fn authority(&self, code: &AuthorityCode) -> PortResult<Option<Authority>> {
        Ok(lock(&self.0).directory.get(code.as_str()).cloned())
    }
}

impl AuthorityList for Register {
    async fn authorities(&self) -> PortResult<Vec<PortResult<Authority>>> {
        Ok(lock(&self.0).directory.values().cloned().map(Ok).collect())
    }
}

impl SettingDirectory for Register {
    async fn setting(&self, code: &str) -> PortResult<Option<Setting>> {
        Ok(lock(&self.0).settings.get(code).cloned())
    }

    async fn pilots(&self) -> PortResult<Vec<Pilot>> {
        Ok(lock(&self.0).pilots.values().cloned().collect())
    }
}
