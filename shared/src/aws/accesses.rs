//! Table `accesses`, which is the outbox too.

use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    dynamo::{Dynamo, after, from_item, limit, next, s, start, to_item},
    failure::{failed, unreadable},
    keys::{AT, BY_TIME, CHILD, ID, ORGANISATION_CODE, OUTBOX, OWED},
};
use crate::{
    domain::{access::Access, nhs_number::ChildKey, time::sortable},
    ports::{AccessHistory, AccessLog, Outbox, Page, PageRequest, PortResult},
};

/// The most writes in one DynamoDB transaction (`TransactWriteItems`: 100 actions).
const TRANSACTION: usize = 100;
/// Transactions, or single updates, under way at once.
const CONCURRENCY: usize = 16;
/// An access exists once recorded; an update must never make one up.
const RECORDED: &str = "attribute_exists(child)";
const CLEAR: &str = "REMOVE outbox";

/// The access in a stream record's new image.
///
/// # Errors
/// Where the image is not of the shape that [`AccessLog::record`] writes.
pub fn from_stream_image(image: serde_dynamo::Item) -> PortResult<Access> {
    serde_dynamo::from_item(image).map_err(|_| unreadable("accesses.stream"))
}

impl AccessLog for Dynamo {
    async fn record(&self, access: &Access) -> PortResult<Option<Access>> {
        const STEP: &str = "accesses.put";
        let mut item = to_item(access, [(ORGANISATION_CODE, s(&access.organisation.code))], STEP)?;
        if !access.owed.is_empty() {
            item.insert(OUTBOX.to_owned(), s(OWED));
        }
        let put = self.client.put_item().table_name(&self.tables.accesses).set_item(Some(item));
        let put = put.condition_expression("attribute_not_exists(child)");
        let put = put.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match put.send().await {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    let earlier = refused.item.clone().ok_or_else(|| unreadable(STEP))?;
                    from_item(earlier, STEP).map(Some)
                }
                _ => Err(failed(STEP)(error)),
            },
        }
    }
}

impl AccessHistory for Dynamo {
    async fn accesses_of(&self, child: &ChildKey, page: &PageRequest) -> PortResult<Page<Access>> {
        const STEP: &str = "accesses.by-time.query";
        let from = after(page.after.as_ref())?;
        let from = start(from.map(|[at, id]| [(CHILD, s(child.as_str())), (AT, s(at)), (ID, s(id))]));
        let query = self.client.query().table_name(&self.tables.accesses).index_name(BY_TIME).consistent_read(true);
        let query =
            query.key_condition_expression("child = :child").expression_attribute_values(":child", s(child.as_str()));
        let query = query.scan_index_forward(false).limit(limit(page.limit)).set_exclusive_start_key(from);
        let found = query.send().await.map_err(failed(STEP))?;
        let items = found.items.unwrap_or_default().into_iter().map(|item| from_item(item, STEP));
        Ok(Page { items: items.collect::<PortResult<_>>()?, next: next(found.last_evaluated_key, &[AT, ID]) })
    }
}

impl Outbox for Dynamo {
    async fn owed_before(&self, moment: Timestamp, page: &PageRequest) -> PortResult<Page<PortResult<Access>>> {
        const STEP: &str = "accesses.outbox.query";
        let from = after(page.after.as_ref())?;
        let from = start(from.map(|[at, child, id]| [(OUTBOX, s(OWED)), (AT, s(at)), (CHILD, s(child)), (ID, s(id))]));
        let query = self.client.query().table_name(&self.tables.accesses).index_name(OUTBOX).limit(limit(page.limit));
        let found = query
            .key_condition_expression("outbox = :owed AND #at < :moment")
            .expression_attribute_names("#at", AT)
            .expression_attribute_values(":owed", s(OWED))
            .expression_attribute_values(":moment", s(sortable(moment)))
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(failed(STEP))?;
        let items = found.items.unwrap_or_default().into_iter().map(|item| from_item(item, STEP));
        Ok(Page { items: items.collect(), next: next(found.last_evaluated_key, &[AT, CHILD, ID]) })
    }

    async fn settle(&self, accesses: &[(ChildKey, Uuid)]) -> PortResult<()> {
        let calls: Vec<_> = accesses.chunks(TRANSACTION).map(|chunk| self.settle_together(chunk)).collect();
        stream::iter(calls).buffer_unordered(CONCURRENCY).try_collect().await
    }
}

impl Dynamo {
    /// Clears up to 100 marks in one call; where the transaction cannot be had, one at a time.
    async fn settle_together(&self, accesses: &[(ChildKey, Uuid)]) -> PortResult<()> {
        if let [(child, id)] = accesses {
            return self.settle_one(child, *id).await;
        }
        let updates: Vec<_> = accesses.iter().map(|(child, id)| self.clear(child, *id)).collect::<PortResult<_>>()?;
        let together = self.client.transact_write_items().set_transact_items(Some(updates)).send().await;
        let Err(error) = together else { return Ok(()) };
        if !error.as_service_error().is_some_and(|e| e.is_transaction_canceled_exception()) {
            return Err(failed("accesses.transact-write")(error));
        }
        let calls: Vec<_> = accesses.iter().map(|(child, id)| self.settle_one(child, *id)).collect();
        stream::iter(calls).buffer_unordered(CONCURRENCY).try_collect().await
    }

    fn clear(&self, child: &ChildKey, id: Uuid) -> PortResult<TransactWriteItem> {
        let update = Update::builder()
            .table_name(&self.tables.accesses)
            .key(CHILD, s(child.as_str()))
            .key(ID, s(id))
            .update_expression(CLEAR)
            .condition_expression(RECORDED)
            .build();
        let update = update.map_err(|_| unreadable("accesses.transact-write"))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    async fn settle_one(&self, child: &ChildKey, id: Uuid) -> PortResult<()> {
        let update = self.client.update_item().table_name(&self.tables.accesses);
        let update = update.key(CHILD, s(child.as_str())).key(ID, s(id));
        let result = update.update_expression(CLEAR).condition_expression(RECORDED).send().await;
        match result {
            Err(error) if error.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(()),
            result => result.map(drop).map_err(failed("accesses.update")),
        }
    }
}
