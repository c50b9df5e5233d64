//! Table `mailbox`: what is left lying there, and what becomes of it.

use aws_sdk_dynamodb::{
    operation::{
        query::builders::QueryFluentBuilder, transact_write_items::TransactWriteItemsError,
        update_item::UpdateItemError,
    },
    types::{
        AttributeValue, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem, Update,
        error::TransactionCanceledException,
    },
};
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    dynamo::{Dynamo, Item, after, from_item, limit, next, s, start},
    failure::{failed, unreadable},
    keys::{DUE, ESCALATED, ID, LA, PUSH, PUSH_AT, WAKE, WAKE_AT, WAKES},
    mailbox::item,
};
use crate::{
    domain::{
        authority::AuthorityCode,
        notification::{Delivered, State, Weighed},
        time::sortable,
        ways_out::{Push, Pushes, Way},
    },
    ports::{MailboxWatch, Page, PageRequest, PortError, PortResult},
};

/// What the index of wakes holds of a notification.
#[derive(Deserialize)]
struct Wake {
    la: AuthorityCode,
    id: Uuid,
}

impl MailboxWatch for Dynamo {
    async fn wakes_before(&self, moment: Timestamp, page: &PageRequest) -> PortResult<Page<(AuthorityCode, Uuid)>> {
        let until = |query: QueryFluentBuilder| query.key_condition_expression("wake = :wake AND wake_at < :moment");
        self.woken(DUE, moment, until, page).await
    }

    async fn escalated_since(&self, moment: Timestamp, page: &PageRequest) -> PortResult<Page<(AuthorityCode, Uuid)>> {
        let from = |query: QueryFluentBuilder| query.key_condition_expression("wake = :wake AND wake_at >= :moment");
        self.woken(ESCALATED, moment, from, page).await
    }

    async fn escalate(&self, held: &Delivered, at: Timestamp, ways: &[Way]) -> PortResult<bool> {
        const STEP: &str = "mailbox.escalate";
        let pending = || serde_dynamo::to_attribute_value(Push::default()).map_err(|_| unreadable(STEP));
        // It stays in the index, so that how many lie there escalated can be told from what is, not from what was said of it.
        let mut set = format!("SET escalatedAt = :at, {WAKE} = :escalated, {WAKE_AT} = :since");
        let mut condition = "#state = :unread AND attribute_not_exists(escalatedAt)".to_owned();
        let mut update = self.update_mailbox(&held.notification.authority, s(held.notification.id));
        if !ways.is_empty() {
            set.push_str(&format!(", {PUSH} = :due, {PUSH_AT} = :since"));
            update = update.expression_attribute_values(":due", s(DUE));
            if held.pushes.is_empty() {
                let pushes: Pushes = ways.iter().map(|way| (*way, Push::default())).collect();
                let pushes = serde_dynamo::to_attribute_value(pushes).map_err(|_| unreadable(STEP))?;
                set.push_str(", pushes = :pushes");
                condition.push_str(" AND attribute_not_exists(pushes)");
                update = update.expression_attribute_values(":pushes", pushes);
            } else {
                for (n, way) in ways.iter().enumerate() {
                    set.push_str(&format!(", pushes.#way{n} = :pending"));
                    update = update.expression_attribute_names(format!("#way{n}"), way.name());
                }
                update = update.expression_attribute_values(":pending", pending()?);
            }
        }
        let update = update
            .update_expression(format!("{set} REMOVE escalateAt, weighAt"))
            .condition_expression(condition)
            .return_values_on_condition_check_failure(AllOld)
            .expression_attribute_values(":escalated", s(ESCALATED))
            .expression_attribute_values(":since", s(sortable(at)))
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":unread", s(State::Unread.name()))
            .expression_attribute_values(":at", s(at.to_string()));
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(refused.item.as_ref().is_some_and(|item| escalated_at(item) == Some(at)))
                }
                _ => Err(failed(STEP)(error)),
            },
        }
    }

    async fn weigh(&self, held: &Delivered, weighed: &Weighed) -> PortResult<()> {
        const STEP: &str = "mailbox.weigh";
        let Weighed { signals, escalate_at } = weighed;
        let signals = serde_dynamo::to_attribute_value(signals).map_err(|_| unreadable(STEP))?;
        let update = self
            .update_mailbox(&held.notification.authority, s(held.notification.id))
            .update_expression(format!("SET signals = :signals, escalateAt = :at, {WAKE_AT} = :sorted REMOVE weighAt"))
            .condition_expression("attribute_exists(weighAt)")
            .expression_attribute_values(":signals", signals)
            .expression_attribute_values(":at", s(escalate_at.to_string()))
            .expression_attribute_values(":sorted", s(sortable(*escalate_at)));
        match update.send().await {
            Ok(_) => Ok(()),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(()),
            Err(error) => Err(failed(STEP)(error)),
        }
    }

    async fn put_digest(&self, digest: &Delivered, held: &[Delivered]) -> PortResult<bool> {
        const STEP: &str = "mailbox.transact";
        let unbuilt = |_| unreadable(STEP);
        let put = Put::builder().table_name(&self.tables.mailbox).set_item(Some(item(digest, STEP)?));
        let put = put.condition_expression("attribute_not_exists(la)").build().map_err(unbuilt)?;
        let mut writes = vec![TransactWriteItem::builder().put(put).build()];
        for one in held {
            let update = self.goes_into(one, s(digest.notification.id)).map_err(unbuilt)?;
            writes.push(TransactWriteItem::builder().update(update).build());
        }
        match self.client.transact_write_items().set_transact_items(Some(writes)).send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => match hindrance(cancelled) {
                    None => Ok(false),
                    Some(cause) => Err(PortError { step: STEP, cause: cause.to_owned(), retryable: true }),
                },
                _ => Err(failed(STEP)(error)),
            },
        }
    }
}

/// When an item was escalated.
fn escalated_at(item: &Item) -> Option<Timestamp> {
    item.get("escalatedAt")?.as_s().ok()?.parse().ok()
}

/// Why a digest could not be delivered, where it was not that one of its members was read meanwhile or that another process is at
/// it: what still waits then is seen again by the next call.
fn hindrance(cancelled: &TransactionCanceledException) -> Option<&str> {
    let raced = ["None", "ConditionalCheckFailed", "TransactionConflict"];
    let codes: Vec<_> = cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code()).collect();
    let other = codes.iter().find(|code| !raced.contains(*code)).copied();
    other.or(codes.iter().all(|code| *code == "None").then_some("TransactionCanceledException"))
}

impl Dynamo {
    /// A part of the index of wakes.
    async fn woken(
        &self,
        wake: &str,
        moment: Timestamp,
        part: impl Fn(QueryFluentBuilder) -> QueryFluentBuilder,
        page: &PageRequest,
    ) -> PortResult<Page<(AuthorityCode, Uuid)>> {
        const STEP: &str = "mailbox.wakes.query";
        let from = after(page.after.as_ref())?;
        let from = start(from.map(|[at, la, id]| [(WAKE, s(wake)), (WAKE_AT, s(at)), (LA, s(la)), (ID, s(id))]));
        let query = self.client.query().table_name(&self.tables.mailbox).index_name(WAKES).limit(limit(page.limit));
        let query = part(query)
            .expression_attribute_values(":wake", s(wake))
            .expression_attribute_values(":moment", s(sortable(moment)));
        let found = query.set_exclusive_start_key(from).send().await.map_err(failed(STEP))?;
        let items = found.items.unwrap_or_default().into_iter();
        let items = items.map(|item| from_item::<Wake>(item, STEP).map(|Wake { la, id }| (la, id)));
        let next = next(found.last_evaluated_key, &[WAKE_AT, LA, ID]);
        Ok(Page { items: items.collect::<PortResult<_>>()?, next })
    }

    /// Notes that one goes out in a digest, if it still waits for one.
    fn goes_into(
        &self,
        held: &Delivered,
        digest: AttributeValue,
    ) -> Result<Update, aws_sdk_dynamodb::error::BuildError> {
        Update::builder()
            .table_name(&self.tables.mailbox)
            .key(LA, s(held.notification.authority.as_str()))
            .key(ID, s(held.notification.id))
            .update_expression(format!("SET #digest = :digest REMOVE digestAt, {WAKE}, {WAKE_AT}"))
            .condition_expression("attribute_exists(digestAt)")
            .expression_attribute_names("#digest", "digest")
            .expression_attribute_values(":digest", digest)
            .build()
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::CancellationReason;

    use super::*;

    #[test]
    fn r84_a_transaction_that_was_throttled_is_no_race() {
        let cancelled = |codes: &[&str]| {
            let reasons = codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect();
            TransactionCanceledException::builder().set_cancellation_reasons(Some(reasons)).build()
        };
        for race in [&["None", "ConditionalCheckFailed"][..], &["TransactionConflict", "None"]] {
            assert_eq!(hindrance(&cancelled(race)), None, "{race:?}");
        }
        for (codes, cause) in [
            (&["None", "ThrottlingError"][..], "ThrottlingError"),
            (&["ConditionalCheckFailed", "ProvisionedThroughputExceeded"], "ProvisionedThroughputExceeded"),
            (&["ValidationError"], "ValidationError"),
            (&["None"], "TransactionCanceledException"),
            (&[], "TransactionCanceledException"),
        ] {
            assert_eq!(hindrance(&cancelled(codes)), Some(cause), "{codes:?}");
        }
    }
}
