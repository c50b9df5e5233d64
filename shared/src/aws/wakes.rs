//! Table `mailbox`: what is left lying there, and what becomes of it.

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, Put, TransactWriteItem, Update},
};
use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::{
    dynamo::{Dynamo, after, from_item, limit, next, s, start},
    failure::{failed, unreadable},
    keys::{DUE, ID, LA, PUSH, PUSH_AT, WAKE, WAKE_AT, WAKES},
    mailbox::item,
};
use crate::{
    domain::{
        authority::AuthorityCode,
        notification::{Delivered, State},
        time::sortable,
        ways_out::{Push, Pushes, Way},
    },
    ports::{MailboxWatch, Page, PageRequest, PortResult},
};

/// What the index of wakes holds of a notification.
#[derive(Deserialize)]
struct Wake {
    la: AuthorityCode,
    id: Uuid,
}

impl MailboxWatch for Dynamo {
    async fn wakes_before(&self, moment: Timestamp, page: &PageRequest) -> PortResult<Page<(AuthorityCode, Uuid)>> {
        const STEP: &str = "mailbox.wakes.query";
        let from = after(page.after.as_ref())?;
        let from = start(from.map(|[at, la, id]| [(WAKE, s(DUE)), (WAKE_AT, s(at)), (LA, s(la)), (ID, s(id))]));
        let query = self.client.query().table_name(&self.tables.mailbox).index_name(WAKES).limit(limit(page.limit));
        let query = query
            .key_condition_expression("wake = :due AND wake_at < :moment")
            .expression_attribute_values(":due", s(DUE))
            .expression_attribute_values(":moment", s(sortable(moment)));
        let found = query.set_exclusive_start_key(from).send().await.map_err(failed(STEP))?;
        let items = found.items.unwrap_or_default().into_iter();
        let items = items.map(|item| from_item::<Wake>(item, STEP).map(|Wake { la, id }| (la, id)));
        let next = next(found.last_evaluated_key, &[WAKE_AT, LA, ID]);
        Ok(Page { items: items.collect::<PortResult<_>>()?, next })
    }

    async fn escalate(&self, held: &Delivered, at: Timestamp, ways: &[Way]) -> PortResult<bool> {
        const STEP: &str = "mailbox.escalate";
        let pending = || serde_dynamo::to_attribute_value(Push::default()).map_err(|_| unreadable(STEP));
        let mut set = "SET escalatedAt = :at".to_owned();
        let mut condition = "#state = :unread AND attribute_not_exists(escalatedAt)".to_owned();
        let mut update = self.update_mailbox(&held.notification.authority, s(held.notification.id));
        if !ways.is_empty() {
            set.push_str(&format!(", {PUSH} = :due, {PUSH_AT} = :push_at"));
            update = update.expression_attribute_values(":due", s(DUE));
            update = update.expression_attribute_values(":push_at", s(sortable(at)));
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
            .update_expression(format!("{set} REMOVE escalateAt, {WAKE}, {WAKE_AT}"))
            .condition_expression(condition)
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":unread", s(State::Unread.name()))
            .expression_attribute_values(":at", s(at.to_string()));
        match update.send().await {
            Ok(_) => Ok(true),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(false),
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
            // One was read meanwhile, or another process is at it: what still waits is seen again by the next call.
            Err(e)
                if matches!(e.as_service_error(), Some(TransactWriteItemsError::TransactionCanceledException(_))) =>
            {
                Ok(false)
            }
            Err(error) => Err(failed(STEP)(error)),
        }
    }
}

impl Dynamo {
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
