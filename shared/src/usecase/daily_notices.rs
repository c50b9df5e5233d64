//! Once a day: which authorities' uploads are overdue or match too little, and which plans moved between authorities.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use crate::{
    domain::{
        authority::{Authority, AuthorityCode, Status},
        contact::date_in_england,
        daily::{Uploads, moved},
        nhs_number::ChildKey,
        notification::Notification,
        plan::PlanType,
    },
    ports::{
        AuthorityList, LookLog, NoticeOutbox, PageRequest, PlanReader, PlanRegister, PortError, PortResult,
        UploadReader,
    },
};

/// How many uploads are read at a time. Files come in about the order of their sequence: reading ends with the first page of which
/// none was completed on the day that counts or later.
const UPLOADS: usize = 100;
/// How many plans are read at a time.
const PLANS: usize = 1_000;
/// Authorities or children looked at at once.
const CONCURRENCY: usize = 8;
/// Of the plans held so many are kept in mind, 16 bytes each and up to twice that in the table: 64 MB at the most, for ten times the
/// plans of England. Beyond that the pass fails, and says so.
const MOST_PLANS: usize = 2_000_000;

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Authorities looked at.
    pub authorities: usize,
    /// Authorities whose upload is overdue.
    pub overdue: Vec<Notification>,
    /// Authorities of whose records too few were matched the day before.
    pub match_rate_low: Vec<Notification>,
    /// Plans that moved.
    pub moved: Vec<Notification>,
    /// What could not be done: by which authority it failed, where by one. It hurts nothing else.
    pub failed: Vec<(Option<AuthorityCode>, PortError)>,
}

/// Finds, as of `now`, what authorities must be told, and owes it. Found again, whenever that is, it is the same (R87).
///
/// # Errors
/// Where the directory cannot be listed.
pub async fn daily_notices<S>(store: &S, now: Timestamp) -> PortResult<Found>
where
    S: AuthorityList + UploadReader + PlanRegister + PlanReader + NoticeOutbox + LookLog,
{
    let mut found = Found::default();
    let mut open = Vec::new();
    for authority in store.authorities().await? {
        match authority {
            // A closed one cannot upload, and is told nothing.
            Ok(Authority { code, status: Status::Open, .. }) => open.push(code),
            Ok(_) => {}
            Err(error) => found.failed.push((None, error)),
        }
    }
    found.authorities = open.len();
    of_uploads(store, &open, now, &mut found).await;
    of_plans(store, &open, now, &mut found).await;
    // R95
    if found.failed.is_empty()
        && let Err(error) = store.note_look(now).await
    {
        found.failed.push((None, error));
    }
    Ok(found)
}

/// R91, R92
async fn of_uploads<S: UploadReader + NoticeOutbox>(
    store: &S,
    authorities: &[AuthorityCode],
    now: Timestamp,
    found: &mut Found,
) {
    let looks: Vec<_> =
        authorities.iter().map(|code| async move { (code, uploads_of(store, code, now).await) }).collect();
    let mut looks = stream::iter(looks).buffer_unordered(CONCURRENCY);
    while let Some((code, result)) = looks.next().await {
        match result {
            Ok((overdue, low)) => {
                found.overdue.extend(overdue);
                found.match_rate_low.extend(low);
            }
            Err(error) => found.failed.push((Some(code.clone()), error)),
        }
    }
}

/// What is owed to an authority for its uploads, once it is.
async fn uploads_of<S: UploadReader + NoticeOutbox>(
    store: &S,
    authority: &AuthorityCode,
    now: Timestamp,
) -> PortResult<(Option<Notification>, Option<Notification>)> {
    let mut uploads = Uploads::before(now);
    let mut page = PageRequest { limit: UPLOADS, after: None };
    loop {
        let read = store.uploads(authority, &page).await?;
        let older = read.items.iter().filter(|upload| uploads.count(upload)).count();
        let unfinished = read.items.iter().filter(|upload| upload.completed_at().is_none()).count();
        let all_older = older > 0 && older + unfinished == read.items.len();
        page.after = read.next;
        if all_older || page.after.is_none() {
            break;
        }
    }
    let owed = (uploads.overdue(authority, now), uploads.match_rate_low(authority, now));
    let both: Vec<_> = [&owed.0, &owed.1].into_iter().flatten().cloned().collect();
    store.owe(&both).await?;
    Ok(owed)
}

/// R93: one pass over all plans, by authority, that keeps of each a number and whose it is; then the few children for whom two have
/// plans of a kind are read by their keys, consistently.
async fn of_plans<S: PlanRegister + PlanReader + NoticeOutbox>(
    store: &S,
    authorities: &[AuthorityCode],
    now: Timestamp,
    found: &mut Found,
) {
    let mut seen = Seen::default();
    for (number, code) in (0_u32..).zip(authorities) {
        if let Err(error) = pass(store, (number, code), now, &mut seen).await {
            found.failed.push((Some(code.clone()), error));
        }
    }
    let looks: Vec<_> = seen.shared.iter().map(|child| moved_of(store, child, now)).collect();
    let mut looks = stream::iter(looks).buffer_unordered(CONCURRENCY);
    while let Some(result) = looks.next().await {
        match result {
            Ok(notices) => found.moved.extend(notices),
            Err(error) => found.failed.push((None, error)),
        }
    }
}

/// The plans of one pass.
#[derive(Debug, Default)]
struct Seen {
    /// Who holds a plan, by a number made of child and kind. Two children may have one number: what is found by it is looked at again.
    holders: HashMap<u64, u32>,
    /// Children for whom two authorities may hold plans of a kind.
    shared: HashSet<ChildKey>,
}

impl Seen {
    fn note(&mut self, child: ChildKey, kind: PlanType, holder: u32) -> PortResult<()> {
        let mut hasher = DefaultHasher::new();
        (child.as_str(), kind).hash(&mut hasher);
        if self.holders.len() >= MOST_PLANS {
            return Err(PortError { step: "plans.pass", cause: "TooManyPlans".into(), retryable: false });
        }
        let first = *self.holders.entry(hasher.finish()).or_insert(holder);
        if first != holder {
            self.shared.insert(child);
        }
        Ok(())
    }
}

async fn pass<S: PlanRegister>(
    store: &S,
    (number, authority): (u32, &AuthorityCode),
    now: Timestamp,
    seen: &mut Seen,
) -> PortResult<()> {
    let today = date_in_england(now);
    let mut page = PageRequest { limit: PLANS, after: None };
    loop {
        let held = store.plans_held(authority, &page).await?;
        for (child, plan) in held.items.into_iter().filter(|(_, plan)| plan.active_on(today)) {
            seen.note(child, plan.plan_type, number)?;
        }
        page.after = held.next;
        if page.after.is_none() {
            return Ok(());
        }
    }
}

/// What is owed because of a child's plans, once it is.
async fn moved_of<S: PlanReader + NoticeOutbox>(
    store: &S,
    child: &ChildKey,
    now: Timestamp,
) -> PortResult<Vec<Notification>> {
    let notices = moved(child, &store.plans_of(child).await?, now);
    store.owe(&notices).await?;
    Ok(notices)
}
