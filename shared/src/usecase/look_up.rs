//! Looking a child up: read the plans, record the access, and only then disclose (R21).

use uuid::Uuid;

#[cfg(feature = "testing")]
use crate::simulation::{self, Bug};
use crate::{
    domain::{
        access::{Access, History, Interaction, access_id, owed_for, refusal_id, reused_id},
        caller::HealthCaller,
        contact::date_in_england,
        nhs_number::{ChildKey, ChildKeySecret, NhsNumber},
        plan::Plan,
        policy::{self, Presentation, Question, Refusal, Ruling},
        standing::HealthStanding,
        watch::{Subject, refused_for},
    },
    ports::{AccessHistory, AccessLog, Clock, PageRequest, PlanReader, PortError, PortResult, Stops},
};

/// How many accesses are read in one call: about as many as DynamoDB answers at once (1 MB).
const HISTORY_PAGE: usize = 1_000;

/// What is asked, and by whom.
#[derive(Debug)]
pub struct LookUp<'a> {
    /// Who asks.
    pub caller: &'a HealthCaller,
    /// How its organisation stands in the directory.
    pub standing: &'a HealthStanding,
    /// About whom.
    pub number: &'a NhsNumber,
    /// The header `IsUnscheduledAccessEvent`, where it was sent (R19).
    pub is_unscheduled: Option<bool>,
    /// Whether the header `PatientConsent` says that the patient consented (R40).
    pub consent: bool,
    /// `X-Request-ID`: the same id again is the same access (R22).
    pub request_id: Uuid,
    /// `TraceID`.
    pub trace_id: Uuid,
}

/// Why a look-up has no answer.
#[derive(Debug, thiserror::Error)]
pub enum LookUpError {
    /// The policy does not allow it; the refusal is recorded (R43).
    #[error("{why}")]
    Refused {
        /// Why.
        why: Refusal,
        /// Id of the record of the refusal.
        access: Uuid,
    },
    /// The caller looked too many children up (R55); the refusal is recorded.
    #[error(
        "too many children were looked up in the last hour; wait {seconds} s, or call the authority's emergency duty team"
    )]
    OverBudget {
        /// Seconds until another look-up is answered.
        seconds: u32,
        /// Id of the record of the refusal.
        access: Uuid,
    },
    /// A step failed; nothing was disclosed.
    #[error(transparent)]
    Port(#[from] PortError),
}

/// What may be disclosed, now that it is recorded.
#[derive(Debug)]
pub struct Seen<T> {
    /// The plans shown, or the accesses listed.
    pub shown: Vec<T>,
    /// How many there are in all; more than are shown where the history is longer (R44).
    pub total: usize,
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
    stops: &impl Stops,
    secret: &ChildKeySecret,
    clock: &impl Clock,
    ask: &LookUp<'_>,
    interaction: Interaction,
) -> Result<Seen<Plan>, LookUpError> {
    let child = secret.key_of(ask.number);
    let ruling = admit(store, clock, ask, &child, interaction).await?;
    let (plans, stopped) = futures_util::join!(store.plans_of(&child), stopped_for(stops, clock, ask));
    refuse_if(stopped, store, clock, ask, &child, (interaction, &ruling)).await?;
    let plans = visible(plans?, clock);
    let access = access(ask, clock, child, interaction, ruling, &plans);
    #[cfg(feature = "testing")]
    let unrecorded = Recorded::new(access.clone());
    let recorded = record(store, access).await;
    #[cfg(feature = "testing")]
    let recorded = if simulation::has(Bug::AnswersUnrecorded) { recorded.or(Ok(unrecorded)) } else { recorded };
    let recorded = recorded?;
    Ok(Seen { total: plans.len(), shown: plans, access: recorded.access, repeated: recorded.repeated })
}

/// The child's recent accesses (R23, R44), shown only where a plan is: an unknown child has no history to see. Two round
/// trips too, unless the child was looked up more than a page holds.
///
/// # Errors
/// See [`LookUpError`].
pub async fn history<S: PlanReader + AccessLog + AccessHistory>(
    store: &S,
    stops: &impl Stops,
    secret: &ChildKeySecret,
    clock: &impl Clock,
    ask: &LookUp<'_>,
) -> Result<Seen<Access>, LookUpError> {
    let child = secret.key_of(ask.number);
    let ruling = admit(store, clock, ask, &child, Interaction::AuditEvent).await?;
    let read = async { futures_util::try_join!(store.plans_of(&child), accesses_of(store, &child)) };
    let (read, stopped) = futures_util::join!(read, stopped_for(stops, clock, ask));
    refuse_if(stopped, store, clock, ask, &child, (Interaction::AuditEvent, &ruling)).await?;
    let (plans, accesses) = read?;
    let plans = visible(plans, clock);
    let access = access(ask, clock, child, Interaction::AuditEvent, ruling, &plans);
    #[cfg(feature = "testing")]
    let unrecorded = Recorded::new(access.clone());
    let recorded = record(store, access).await;
    #[cfg(feature = "testing")]
    let recorded = if simulation::has(Bug::ShowsUnrecordedHistory) { recorded.or(Ok(unrecorded)) } else { recorded };
    let recorded = recorded?;
    let mut history = History::default();
    if !plans.is_empty() {
        // R22: a retry must not find its own first try in the history.
        accesses.into_iter().filter(|access| !recorded.is(access.id)).for_each(|access| history.push(access));
    }
    let total = history.total();
    Ok(Seen { shown: history.into_listed(), total, access: recorded.access, repeated: recorded.repeated })
}

/// R38: asks the policy. R43: a refusal is recorded before it is answered, in one write and without a read.
async fn admit<S: AccessLog>(
    store: &S,
    clock: &impl Clock,
    ask: &LookUp<'_>,
    child: &ChildKey,
    interaction: Interaction,
) -> Result<Ruling, LookUpError> {
    let LookUp { caller, standing, is_unscheduled, consent, .. } = *ask;
    let today = date_in_england(clock.now());
    let why = match policy::rule(&Question { caller, standing, is_unscheduled, consent, today }) {
        Ok(ruling) => return Ok(ruling),
        Err(why) => why,
    };
    let setting = standing.setting.as_ref();
    let generic = setting.is_some_and(crate::domain::setting::Setting::is_sensitive);
    let ruling = Ruling {
        unscheduled: is_unscheduled.unwrap_or(true),
        presentation: if generic { Presentation::Generic } else { Presentation::Full },
        care: setting.map(|s| s.care.clone()).unwrap_or_default(),
    };
    let attempt = access(ask, clock, child.clone(), interaction, ruling, &[]);
    let refused = Access { id: refusal_id(attempt.id, why), refused: Some(why.code().to_owned()), ..attempt };
    let access = record(store, refused).await?.access.id;
    Err(LookUpError::Refused { why, access })
}

/// Code of a refusal for want of a budget, as [`Access::refused`] has it.
pub const OVER_BUDGET: &str = "over-budget";

/// R55: for how many seconds the caller is stopped, if it is. R56: what cannot be read stops nobody.
async fn stopped_for(stops: &impl Stops, clock: &impl Clock, ask: &LookUp<'_>) -> Option<u32> {
    let HealthCaller { requester, organisation, .. } = ask.caller;
    let subjects = [Subject::of(requester), Subject::organisation(&organisation.code)];
    let held: PortResult<Vec<_>> = stops.stops_of(&subjects).await;
    let now = clock.now();
    let today = date_in_england(now);
    let care = ask.standing.setting.iter().flat_map(|setting| &setting.care);
    let unscheduled = care.into_iter().any(|kind| kind.class_on(today).is_unscheduled());
    refused_for(&held.unwrap_or_default(), unscheduled, now)
}

/// R55, R43: the refusal is recorded before it is answered.
async fn refuse_if<S: AccessLog>(
    stopped: Option<u32>,
    store: &S,
    clock: &impl Clock,
    ask: &LookUp<'_>,
    child: &ChildKey,
    (interaction, ruling): (Interaction, &Ruling),
) -> Result<(), LookUpError> {
    let Some(seconds) = stopped else { return Ok(()) };
    let attempt = access(ask, clock, child.clone(), interaction, ruling.clone(), &[]);
    let id = Uuid::new_v5(&attempt.id, OVER_BUDGET.as_bytes());
    let refused = Access { id, refused: Some(OVER_BUDGET.to_owned()), ..attempt };
    let access = record(store, refused).await?.access.id;
    Err(LookUpError::OverBudget { seconds, access })
}

fn visible(plans: Vec<Plan>, clock: &impl Clock) -> Vec<Plan> {
    let today = date_in_england(clock.now());
    plans.into_iter().filter(|plan| plan.visible_on(today).is_ok()).collect()
}

fn access(
    ask: &LookUp<'_>,
    clock: &impl Clock,
    child: ChildKey,
    interaction: Interaction,
    ruling: Ruling,
    plans: &[Plan],
) -> Access {
    let HealthCaller { requester, organisation, .. } = ask.caller;
    // R24: a silent access owes nothing, and neither does one that found nothing.
    let owed = if ruling.unscheduled { owed_for(plans, clock.now()) } else { Vec::new() };
    #[cfg(feature = "testing")]
    let owed = if simulation::has(Bug::TellsOfSilentOnes) { owed_for(plans, clock.now()) } else { owed };
    #[cfg(feature = "testing")]
    let owed = if simulation::has(Bug::TellsOneAuthority) { owed.into_iter().take(1).collect() } else { owed };
    Access {
        id: access_id(ask.request_id, requester, organisation, interaction, &child),
        child,
        at: clock.now(),
        requester: requester.clone(),
        organisation: organisation.clone(),
        interaction,
        unscheduled: ruling.unscheduled,
        disclosed: plans.iter().map(|plan| plan.id().key()).collect(),
        nhs_number: (!owed.is_empty()).then(|| ask.number.clone()),
        owed,
        trace_id: ask.trace_id,
        care: ruling.care,
        region: ask.standing.setting.as_ref().map(|setting| setting.region.clone()),
        presentation: ruling.presentation,
        refused: None,
    }
}

/// An access that stands recorded.
struct Recorded {
    access: Access,
    /// Ids of the records of what retries disclosed beyond it.
    rest: Vec<Uuid>,
    repeated: bool,
}

impl Recorded {
    fn new(access: Access) -> Self {
        Self { access, rest: Vec::new(), repeated: false }
    }

    /// Whether an id is this access's.
    fn is(&self, id: Uuid) -> bool {
        id == self.access.id || self.rest.contains(&id)
    }
}

/// R21, R22: one write. A retry needs no second one, unless its answer would now disclose more.
async fn record<S: AccessLog>(store: &S, mut access: Access) -> Result<Recorded, PortError> {
    #[cfg(feature = "testing")]
    if simulation::has(Bug::TakesRetriesForNew) {
        access.id = Uuid::new_v5(&access.id, access.at.to_string().as_bytes());
    }
    let Some(mut earlier) = store.record(&access).await? else { return Ok(Recorded::new(access)) };
    if let Some(id) = reused_id(access.id, access.at.duration_since(earlier.at)) {
        access.id = id;
        match store.record(&access).await? {
            Some(retried) => earlier = retried,
            None => return Ok(Recorded::new(access)),
        }
    }
    let mut recorded = Recorded { access: earlier, rest: Vec::new(), repeated: true };
    #[cfg(feature = "testing")]
    if simulation::has(Bug::ForgetsTheRest) {
        return Ok(recorded);
    }
    // Each record found covers some of what is left; the first that was not there is the last.
    let mut rest = recorded.access.uncovered(&access);
    while let Some(left) = rest {
        recorded.rest.push(left.id);
        rest = store.record(&left).await?.and_then(|held| held.uncovered(&left));
    }
    Ok(recorded)
}

/// Every access of the child: the total needs them all. Few children have more than a page of them.
async fn accesses_of<S: AccessHistory>(store: &S, child: &ChildKey) -> Result<Vec<Access>, PortError> {
    let mut accesses = Vec::new();
    let mut page = PageRequest { limit: HISTORY_PAGE, after: None };
    loop {
        let found = store.accesses_of(child, &page).await?;
        accesses.extend(found.items);
        page.after = found.next;
        if page.after.is_none() {
            return Ok(accesses);
        }
    }
}
