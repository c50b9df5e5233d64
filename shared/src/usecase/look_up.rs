//! Looking a child up: read the plans, record the access, and only then disclose (R21).

use uuid::Uuid;

use crate::{
    domain::{
        access::{Access, History, Interaction, access_id, owed_for, reused_id},
        caller::{HealthCaller, ViewRefusal},
        contact::date_in_england,
        nhs_number::{ChildKey, ChildKeySecret, NhsNumber},
        plan::Plan,
    },
    ports::{AccessHistory, AccessLog, Clock, PageRequest, PlanReader, PortError},
};

/// What is asked, and by whom.
#[derive(Debug)]
pub struct LookUp<'a> {
    /// Who asks.
    pub caller: &'a HealthCaller,
    /// About whom.
    pub number: &'a NhsNumber,
    /// The header `IsUnscheduledAccessEvent`, where it was sent (R19).
    pub is_unscheduled: Option<bool>,
    /// `X-Request-ID`: the same id again is the same access (R22).
    pub request_id: Uuid,
    /// `TraceID`.
    pub trace_id: Uuid,
}

/// Why a look-up has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// The caller may not look children up in this way.
    #[error(transparent)]
    Refused(#[from] ViewRefusal),
    /// A step failed; nothing was disclosed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// What may be disclosed, now that it is recorded.
#[derive(Debug)]
pub struct Seen<T> {
    /// The plans shown, or the accesses listed.
    pub shown: Vec<T>,
    /// The record of the access.
    pub access: Access,
    /// Whether this request had been recorded before (R22).
    pub repeated: bool,
}

/// The child's visible plans (R6, R7, R8, R9), by `CareTeam` or `Flag`: two round trips, read and record.
///
/// # Errors
/// See [`LookUpError`].
pub async fn plans<S: PlanReader + AccessLog>(
    store: &S,
    secret: &ChildKeySecret,
    clock: &impl Clock,
    ask: &LookUp<'_>,
    interaction: Interaction,
) -> Result<Seen<Plan>, LookUpError> {
    let unscheduled = ask.caller.raises_notification(ask.is_unscheduled)?;
    let child = secret.key_of(ask.number);
    let plans = visible(store.plans_of(&child).await?, clock);
    let access = access(ask, clock, child, interaction, unscheduled, &plans);
    let (access, repeated) = record(store, access).await?;
    Ok(Seen { shown: plans, access, repeated })
}

/// The child's recent accesses (R23), shown only where a plan is: an unknown child has no history to see.
///
/// # Errors
/// See [`LookUpError`].
pub async fn history<S: PlanReader + AccessLog + AccessHistory>(
    store: &S,
    secret: &ChildKeySecret,
    clock: &impl Clock,
    ask: &LookUp<'_>,
) -> Result<Seen<Access>, LookUpError> {
    let unscheduled = ask.caller.raises_notification(ask.is_unscheduled)?;
    let child = secret.key_of(ask.number);
    // R22: a retry must not find its own first try in the history.
    let own = own_id(ask, Interaction::AuditEvent, &child);
    let (plans, accesses) = futures_util::try_join!(store.plans_of(&child), recent(store, &child, own))?;
    let plans = visible(plans, clock);
    let access = access(ask, clock, child, Interaction::AuditEvent, unscheduled, &plans);
    let (access, repeated) = record(store, access).await?;
    Ok(Seen { shown: if plans.is_empty() { Vec::new() } else { accesses }, access, repeated })
}

fn visible(plans: Vec<Plan>, clock: &impl Clock) -> Vec<Plan> {
    let today = date_in_england(clock.now());
    plans.into_iter().filter(|plan| plan.visible_on(today).is_ok()).collect()
}

fn own_id(ask: &LookUp<'_>, interaction: Interaction, child: &ChildKey) -> Uuid {
    access_id(ask.request_id, &ask.caller.requester, &ask.caller.organisation, interaction, child)
}

fn access(
    ask: &LookUp<'_>,
    clock: &impl Clock,
    child: ChildKey,
    interaction: Interaction,
    unscheduled: bool,
    plans: &[Plan],
) -> Access {
    let HealthCaller { requester, organisation, .. } = ask.caller;
    // R24: a silent access owes nothing, and neither does one that found nothing.
    let owed = if unscheduled { owed_for(plans) } else { Vec::new() };
    Access {
        id: own_id(ask, interaction, &child),
        child,
        at: clock.now(),
        requester: requester.clone(),
        organisation: organisation.clone(),
        interaction,
        unscheduled,
        disclosed: plans.iter().map(|plan| plan.id().key()).collect(),
        nhs_number: (!owed.is_empty()).then(|| ask.number.clone()),
        owed,
        trace_id: ask.trace_id,
    }
}

/// R21, R22: one write. A retry needs no second one, unless its answer would now disclose more.
async fn record<S: AccessLog>(store: &S, mut access: Access) -> Result<(Access, bool), PortError> {
    let Some(mut earlier) = store.record(&access).await? else { return Ok((access, false)) };
    if let Some(id) = reused_id(access.id, access.at.duration_since(earlier.at)) {
        access.id = id;
        match store.record(&access).await? {
            Some(retried) => earlier = retried,
            None => return Ok((access, false)),
        }
    }
    if let Some(rest) = earlier.uncovered(&access) {
        store.record(&rest).await?;
    }
    Ok((earlier, true))
}

async fn recent<S: AccessHistory>(store: &S, child: &ChildKey, own: Uuid) -> Result<Vec<Access>, PortError> {
    let mut history = History::default();
    let mut page = PageRequest { limit: 100, after: None };
    loop {
        let found = store.accesses_of(child, &page).await?;
        found.items.into_iter().filter(|access| access.id != own).for_each(|access| history.push(access));
        page.after = found.next;
        if history.is_full() || page.after.is_none() {
            return Ok(history.into_listed());
        }
    }
}
