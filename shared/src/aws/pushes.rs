//! Table `mailbox`: what is to be pushed, how far it has come, and how each receiver stands.

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{ReturnValue, ReturnValuesOnConditionCheckFailure},
};
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    dynamo::{Dynamo, Item, after, from_item, limit, n, next, s, start, to_item},
    failure::{failed, unreadable},
    keys::{DUE, ID, LA, PUSH, PUSH_AT, PUSHES},
    mailbox::read,
};
use crate::{
    domain::{
        authority::AuthorityCode,
        circuit::Circuit,
        notification::Delivered,
        time::sortable,
        ways_out::{Push, PushState, PushTask, Pushes, Way},
    },
    ports::{Circuits, Claim, Page, PageRequest, PortResult, PushEntry, PushLog, PushOutbox, PushesDue},
};

/// What the index of pushes holds of a notification.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Due {
    la: AuthorityCode,
    id: Uuid,
    #[serde(rename = "push_at")]
    since: Timestamp,
    trace_id: Uuid,
    pushes: Pushes,
}

impl From<Due> for PushesDue {
    fn from(due: Due) -> Self {
        let Due { la: authority, id, since, trace_id, pushes } = due;
        let task = |way| PushTask::new(authority.clone(), id, way, trace_id);
        Self { id, since, tasks: pushes.into_keys().map(task).collect(), authority }
    }
}

/// An entry, with its age even where nothing else of it can be read. One that tells no age counts as owed since ever, for somebody
/// must look at it.
fn entry(item: Item, step: &'static str) -> PushEntry {
    let since = item.get(PUSH_AT).and_then(|since| since.as_s().ok()?.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH);
    PushEntry { since, due: read::<Due>(item, step).map(PushesDue::from) }
}

impl PushOutbox for Dynamo {
    async fn pushes_due_before(&self, moment: Timestamp, page: &PageRequest) -> PortResult<Page<PushEntry>> {
        const STEP: &str = "mailbox.pushes.query";
        let from = after(page.after.as_ref())?;
        let from = start(from.map(|[at, la, id]| [(PUSH, s(DUE)), (PUSH_AT, s(at)), (LA, s(la)), (ID, s(id))]));
        let query = self.client.query().table_name(&self.tables.mailbox).index_name(PUSHES).limit(limit(page.limit));
        let query = query
            .key_condition_expression("push = :due AND push_at < :moment")
            .expression_attribute_values(":due", s(DUE))
            .expression_attribute_values(":moment", s(sortable(moment)));
        let found = query.set_exclusive_start_key(from).send().await.map_err(failed(STEP))?;
        let items = found.items.unwrap_or_default().into_iter().map(|item| entry(item, STEP)).collect();
        Ok(Page { items, next: next(found.last_evaluated_key, &[PUSH_AT, LA, ID]) })
    }

    async fn pushes_queued(&self, authority: &AuthorityCode, id: Uuid, since: Timestamp) -> PortResult<()> {
        let update = self.update_mailbox(authority, s(id)).update_expression("REMOVE push, push_at");
        // An escalation may have owed more ways since what was queued was read.
        let update = update.condition_expression("push_at = :since");
        let result = update.expression_attribute_values(":since", s(sortable(since))).send().await;
        match result {
            Err(error) if !is_refused(error.as_service_error()) => Err(failed("mailbox.pushes-queued")(error)),
            _ => Ok(()),
        }
    }
}

impl PushLog for Dynamo {
    async fn claim(&self, task: &PushTask, now: Timestamp, until: Timestamp) -> PortResult<Claim> {
        const STEP: &str = "mailbox.claim-push";
        let claim = claim_of(task.way);
        let update = self
            .update_mailbox(&task.authority, s(task.notification))
            .update_expression("SET #claim = :until")
            .condition_expression(
                "attribute_exists(pushes.#way) AND NOT pushes.#way.#state IN (:sent, :collected) \
                 AND (attribute_not_exists(#claim) OR #claim <= :now)",
            )
            .expression_attribute_names("#way", task.way.name())
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#claim", &claim)
            .expression_attribute_values(":until", s(sortable(until)))
            .expression_attribute_values(":now", s(sortable(now)))
            .expression_attribute_values(":sent", state(PushState::Sent)?)
            .expression_attribute_values(":collected", state(PushState::Collected)?)
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match update.send().await {
            Ok(done) => {
                let item = done.attributes.ok_or_else(|| unreadable(STEP))?;
                Ok(Claim::Granted(Box::new(from_item(item, STEP)?)))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    refusal(task.way, refused.item.clone(), now)
                }
                _ => Err(failed(STEP)(error)),
            },
        }
    }

    async fn record_push(&self, task: &PushTask, push: &Push) -> PortResult<()> {
        const STEP: &str = "mailbox.record-push";
        let value = serde_dynamo::to_attribute_value(push).map_err(|_| unreadable(STEP))?;
        let over_sent = push.state == PushState::Collected || push.ends_sent();
        // What was sent gives way to what became of it, and to nothing else.
        let held = if over_sent { state(PushState::Collected)? } else { state(PushState::Sent)? };
        let update = self
            .update_mailbox(&task.authority, s(task.notification))
            .update_expression("SET pushes.#way = :push REMOVE #claim")
            .condition_expression("attribute_exists(pushes.#way) AND NOT pushes.#way.#state IN (:held, :collected)")
            .expression_attribute_names("#way", task.way.name())
            .expression_attribute_names("#state", "state")
            .expression_attribute_names("#claim", claim_of(task.way))
            .expression_attribute_values(":push", value)
            .expression_attribute_values(":held", held)
            .expression_attribute_values(":collected", state(PushState::Collected)?);
        match update.send().await {
            Err(error) if !is_refused(error.as_service_error()) => Err(failed(STEP)(error)),
            _ => Ok(()),
        }
    }
}

impl Circuits for Dynamo {
    async fn circuit(&self, authority: &AuthorityCode, way: Way) -> PortResult<Circuit> {
        const STEP: &str = "mailbox.get-circuit";
        let get = self.client.get_item().table_name(&self.tables.mailbox).consistent_read(true);
        let get = get.key(LA, s(authority.as_str())).key(ID, s(circuit_of(way)));
        let found = get.send().await.map_err(failed(STEP))?;
        found.item.map_or_else(|| Ok(Circuit::default()), |item| from_item(item, STEP))
    }

    async fn move_circuit(
        &self,
        authority: &AuthorityCode,
        way: Way,
        seen: &Circuit,
        next: &Circuit,
    ) -> PortResult<bool> {
        const STEP: &str = "mailbox.put-circuit";
        let item = to_item(next, [(LA, s(authority.as_str())), (ID, s(circuit_of(way)))], STEP)?;
        let put = self.client.put_item().table_name(&self.tables.mailbox).set_item(Some(item));
        let put = match seen.revision {
            0 => put.condition_expression("attribute_not_exists(la)"),
            seen => put.condition_expression("revision = :seen").expression_attribute_values(":seen", n(seen)),
        };
        match put.send().await {
            Ok(_) => Ok(true),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(false),
            Err(error) => Err(failed(STEP)(error)),
        }
    }
}

/// The attribute that says until when a push is somebody's.
fn claim_of(way: Way) -> String {
    format!("claim_{way}")
}

/// The id under which a receiver's circuit stands in its authority's part of the table.
fn circuit_of(way: Way) -> String {
    format!("circuit#{way}")
}

fn state(state: PushState) -> PortResult<aws_sdk_dynamodb::types::AttributeValue> {
    serde_dynamo::to_attribute_value(state).map_err(|_| unreadable("mailbox.push-state"))
}

fn is_refused(error: Option<&UpdateItemError>) -> bool {
    error.is_some_and(UpdateItemError::is_conditional_check_failed_exception)
}

/// Why a claim was refused, from the item as it stands.
fn refusal(way: Way, item: Option<Item>, now: Timestamp) -> PortResult<Claim> {
    const STEP: &str = "mailbox.claim-push";
    let Some(item) = item else { return Ok(Claim::Unknown) };
    let until = item.get(&claim_of(way)).and_then(|v| v.as_s().ok()?.parse().ok());
    let held: Delivered = from_item(item, STEP)?;
    Ok(match held.pushes.get(&way) {
        None => Claim::Unknown,
        Some(push) if push.state.is_sent() => Claim::Sent(push.clone()),
        Some(_) => Claim::Taken(until.unwrap_or(now)),
    })
}
