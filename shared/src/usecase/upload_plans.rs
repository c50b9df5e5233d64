//! Loading an upload file: every valid record, whatever the others are, and one acknowledgement for ever (R13).

use std::collections::HashMap;

use futures_util::{StreamExt, TryStreamExt, stream};

#[cfg(feature = "testing")]
use crate::simulation::{self, Bug};
use crate::{
    domain::{
        audit::{Actor, Entry, entry_id, kind},
        authority::{Authority, AuthorityCode, Status},
        contact::date_in_england,
        nhs_number::{ChildKey, ChildKeySecret},
        plan::Plan,
        record::{Detail, PlanRecord, Problem, RawRecord},
        upload::{Acknowledgement, Rejected, Resolution, RowProblem, UploadFile, UploadSummary, resolve},
    },
    ports::{
        AuditLog, Clock, ContactLog, ContactStanding, Directory, Guard, PageRequest, PlanRegister, PlanWrite,
        PlanWriter, PortError, PortResult, Standing, UploadLog,
    },
};

/// Writes under way at once.
const CONCURRENCY: usize = 64;
/// How often a write is tried whose plan keeps changing under it.
const MAX_RACES: usize = 8;

/// Why a file was not processed.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The directory has no such authority, or an operator has closed it.
    #[error("the authority is not open in the directory")]
    AuthorityNotOpen,
    /// The sequence was used before, for another file (R13).
    #[error("this sequence was used before, for a file with other content")]
    SequenceReused,
    /// A step failed. Sending the same file again carries on where this left off.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// The answer to an upload.
#[derive(Debug)]
pub struct Answer {
    /// JSON of the [`Acknowledgement`], byte for byte the same for the same file.
    pub bytes: Vec<u8>,
    /// What this run found; absent where an earlier answer was given again.
    pub acknowledgement: Option<Acknowledgement>,
}

/// Loads a file, which tells of changes only: a child it does not name stays as it is (R11). However often it is sent, whenever it breaks off, and in whatever order files come, the register
/// ends the same (R12) and the answer is the first one (R13).
///
/// # Errors
/// See [`UploadError`].
pub async fn upload_plans<S: PlanWriter + PlanRegister + UploadLog + ContactLog + Directory + AuditLog>(
    store: &S,
    secret: &ChildKeySecret,
    clock: &impl Clock,
    code: &AuthorityCode,
    file: UploadFile,
) -> Result<Answer, UploadError> {
    let authority = store.authority(code).await?.filter(|a| a.status == Status::Open);
    let authority = authority.ok_or(UploadError::AuthorityNotOpen)?;
    match store.begin(code, &summary(&file, clock)).await? {
        Standing::Begun => {}
        Standing::Unfinished { digest } if digest == file.digest => {}
        Standing::Completed { digest, answer } if digest == file.digest => {
            return Ok(Answer { bytes: answer, acknowledgement: None });
        }
        Standing::Unfinished { .. } | Standing::Completed { .. } => return Err(UploadError::SequenceReused),
    }
    let UploadFile { envelope, records, digest, .. } = file;
    let (total, sequence) = (records.len(), envelope.sequence);
    let contact = store.advance_contact(code, &envelope.contact, sequence).await?;
    let loader = Loader { store, secret, clock, authority: &authority, contact, sequence };
    #[cfg(feature = "testing")]
    if simulation::has(Bug::AcknowledgesBeforeLoading) {
        let early = Acknowledgement::of(code.clone(), sequence, clock.now(), total, Vec::new());
        let answer = serde_json::to_vec(&early).map_err(|_| unencodable())?;
        store.complete(code, &early, &answer).await?;
    }
    let rejected = loader.load(records).await?;
    loader.spread_contact().await?;
    let acknowledgement = Acknowledgement::of(code.clone(), sequence, clock.now(), total, rejected);
    // Before the answer is kept: an upload that breaks off here is audited when it is carried on.
    store.append(&[entry(&authority, &acknowledgement, &digest)]).await?;
    let answer = serde_json::to_vec(&acknowledgement).map_err(|_| unencodable())?;
    let bytes = store.complete(code, &acknowledgement, &answer).await?;
    Ok(Answer { bytes, acknowledgement: Some(acknowledgement) })
}

/// R45: the entry of an upload, known by authority, sequence and content.
fn entry(authority: &Authority, acknowledgement: &Acknowledgement, digest: &str) -> Entry {
    let code = authority.code.as_str();
    let sequence = acknowledgement.sequence.to_string();
    let id = entry_id(kind::UPLOAD, &[code, &sequence, digest]);
    Entry::new(id, acknowledgement.processed, kind::UPLOAD, Actor::authority(&authority.code, &authority.name), code)
        .with("sequence", sequence)
        .with("digest", digest)
        .with("records", acknowledgement.records)
        .with("loaded", acknowledgement.loaded)
        .with("rejected", acknowledgement.rejected_in_all())
}

fn unencodable() -> PortError {
    PortError { step: "acknowledgement.encode", cause: "not JSON".into(), retryable: false }
}

fn summary(file: &UploadFile, clock: &impl Clock) -> UploadSummary {
    UploadSummary {
        sequence: file.envelope.sequence,
        created: file.envelope.created,
        received: clock.now(),
        code: None,
        records: file.records.len() as u64,
        loaded: None,
        unmatched: None,
        completed: None,
        digest: file.digest.clone(),
    }
}

struct Loader<'a, S, C> {
    store: &'a S,
    secret: &'a ChildKeySecret,
    clock: &'a C,
    authority: &'a Authority,
    contact: ContactStanding,
    sequence: u64,
}

impl<S: PlanWriter + PlanRegister + ContactLog, C: Clock> Loader<'_, S, C> {
    /// Loads the valid records and returns the others, in the order of their rows.
    async fn load(&self, records: Vec<Result<RawRecord, RowProblem>>) -> PortResult<Vec<Rejected>> {
        let (valid, mut rejected) = self.check(records);
        let late: Vec<_> = stream::iter(valid)
            .map(|record| self.write(record))
            .buffer_unordered(CONCURRENCY)
            .try_filter_map(|rejected| std::future::ready(Ok(rejected)))
            .try_collect()
            .await?;
        rejected.extend(late);
        rejected.sort_by_key(|r| r.row);
        Ok(rejected)
    }

    fn check(&self, records: Vec<Result<RawRecord, RowProblem>>) -> (Vec<PlanRecord>, Vec<Rejected>) {
        let today = date_in_england(self.clock.now());
        let mut first_row = HashMap::with_capacity(records.len());
        let (mut valid, mut rejected) = (Vec::with_capacity(records.len()), Vec::new());
        for record in records {
            let (row, checked) = match record {
                Ok(raw) => (raw.row, PlanRecord::check(&raw, today)),
                Err(RowProblem { row, problem }) => (row, Err(vec![problem])),
            };
            let checked = checked.and_then(|record| {
                let first = *first_row.entry((record.nhs_number.clone(), record.plan_type)).or_insert(row);
                if first == row { Ok(record) } else { Err(vec![duplicate(first)]) }
            });
            match checked {
                Ok(record) => valid.push(record),
                Err(problems) => rejected.extend(Rejected::new(row, problems)),
            }
        }
        (valid, rejected)
    }

    /// Writes one record; what is returned is its rejection, if any (R12).
    async fn write(&self, record: PlanRecord) -> PortResult<Option<Rejected>> {
        let (row, starts, child) = (record.row, record.is_start(), self.secret.key_of(&record.nhs_number));
        let mut plan = self.plan(record);
        let guard = || if starts { Guard::NothingNewer } else { Guard::StartedAndNothingNewer };
        let rejected = |problem| Ok(Rejected::new(row, vec![problem]));
        let mut next = guard();
        for _ in 0..MAX_RACES {
            // What is kept aside until its start comes is not known yet.
            plan.known = matches!(next, Guard::NothingNewer | Guard::StartedAndNothingNewer);
            let written = self.store.write_plan(&child, &plan, next).await;
            #[cfg(feature = "testing")]
            if written.is_err() && simulation::has(Bug::LoadsWithoutWriting) {
                return Ok(None);
            }
            let held = match written? {
                PlanWrite::Written if plan.known => return Ok(None),
                PlanWrite::Written => return rejected(unknown_plan()),
                PlanWrite::Refused(held) => held,
            };
            next = match resolve(held.as_deref(), self.sequence, starts) {
                Resolution::Stale => return rejected(stale()),
                Resolution::UnknownPlan => return rejected(unknown_plan()),
                Resolution::Confirm(held) if self.confirm(&child, &held).await? => return rejected(stale()),
                Resolution::Keep => held.map_or(Guard::Absent, |held| Guard::StillAwaiting(held.sequence)),
                Resolution::Confirm(_) | Resolution::Again => guard(),
            };
        }
        Err(PortError { step: "plans.write", cause: "the plan keeps changing".into(), retryable: true })
    }

    async fn confirm(&self, child: &ChildKey, held: &Plan) -> PortResult<bool> {
        let written = self.store.write_plan(child, held, Guard::StillAwaiting(held.sequence)).await?;
        Ok(written == PlanWrite::Written)
    }

    fn plan(&self, record: PlanRecord) -> Plan {
        // R8: the names of a withdrawn plan are not kept.
        let withdrawn = record.deleted.is_some();
        Plan {
            authority: self.authority.code.clone(),
            authority_name: self.authority.name.clone(),
            plan_type: record.plan_type,
            local_id: record.local_id,
            family_name: if withdrawn { String::new() } else { record.family_name },
            given_names: if withdrawn { Vec::new() } else { record.given_names },
            nhs_number: record.nhs_number,
            birth_date: record.birth_date,
            start: record.start,
            end: record.end,
            deleted: record.deleted,
            contact: self.contact.contact.clone(),
            contact_sequence: self.contact.sequence,
            sequence: self.sequence,
            known: true,
            updated: self.clock.now(),
        }
    }
    /// R33: an authority's latest numbers stand on all its plans, those not in this file too. After a change it is
    /// done again by the next upload, because the index it goes by may lag behind the table.
    async fn spread_contact(&self) -> PortResult<()> {
        let code = &self.authority.code;
        let latest = self.store.contact(code).await?.unwrap_or_else(|| self.contact.clone());
        if latest.spreads_due == 0 && latest.contact == self.contact.contact {
            return Ok(());
        }
        let (latest, mut page) = (&latest, PageRequest { limit: 1_000, after: None });
        loop {
            let held = self.store.plans_held(code, &page).await?;
            stream::iter(held.items)
                .filter(|(_, plan)| std::future::ready(outdated(plan, latest)))
                .map(|(child, plan)| async move {
                    self.store.write_contact(&child, &plan.id(), &latest.contact, latest.sequence).await
                })
                .buffer_unordered(CONCURRENCY)
                .try_collect::<()>()
                .await?;
            page.after = held.next;
            if page.after.is_none() {
                return self.store.contact_spread(code, latest).await;
            }
        }
    }
}

fn outdated(plan: &Plan, latest: &ContactStanding) -> bool {
    plan.contact_sequence < latest.sequence && plan.contact != latest.contact
}

fn duplicate(first: usize) -> Problem {
    let expected = "one record for each child and plan type";
    let found = format!("the same child and plan type as record {first}");
    Problem::of_row(Detail::DuplicateInFile, &found, expected, "keep the record that is right and take the other out")
}

fn stale() -> Problem {
    let mend = "nothing, if the later upload is right; otherwise send the plan again under a new sequence";
    Problem::of_row(Detail::Stale, "an older state", "a state newer than the one held, from a later sequence", mend)
}

fn unknown_plan() -> Problem {
    let mend =
        "upload the plan's start (a record without end and delete date); this record then takes effect by itself";
    Problem::of_row(Detail::UnknownPlan, "an end or a deletion", "a plan that was uploaded before", mend)
}
