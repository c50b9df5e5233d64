//! Table `accesses`, which is the outbox too.

use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{
        BatchStatementErrorCodeEnum, BatchStatementRequest, BatchStatementResponse, ReturnValuesOnConditionCheckFailure,
    },
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    dynamo::{Dynamo, after, from_item, limit, next, s, start, to_item},
    failure::{failed, unreadable},
    keys::{AT, BY_TIME, CHILD, ID, ORGANISATION_CODE, OUTBOX, OWED, PERSON},
};
use crate::{
    domain::{access::Access, nhs_number::ChildKey, time::sortable},
    ports::{AccessHistory, AccessLog, Outbox, Page, PageRequest, PortError, PortResult},
};

/// The most statements in one call (DynamoDB: `BatchExecuteStatement` takes 25).
const STATEMENTS: usize = 25;
/// Calls under way at once.
const CONCURRENCY: usize = 16;

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
        let keys = [(ORGANISATION_CODE, s(&access.organisation.code)), (PERSON, s(access.requester.id()))];
        let mut item = to_item(access, keys, STEP)?;
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
        let calls: Vec<_> = accesses.chunks(STATEMENTS).map(|chunk| self.settle_together(chunk)).collect();
        stream::iter(calls).buffer_unordered(CONCURRENCY).try_collect().await
    }
}

impl Dynamo {
    /// Clears up to 25 marks in one call. Each stands for itself, which a transaction's would not; an access that was
    /// never recorded is none to clear, and none is made up.
    async fn settle_together(&self, accesses: &[(ChildKey, Uuid)]) -> PortResult<()> {
        const STEP: &str = "accesses.batch-update";
        let clear = format!("UPDATE \"{}\" REMOVE {OUTBOX} WHERE {CHILD} = ? AND {ID} = ?", self.tables.accesses);
        let statement = |(child, id): &(ChildKey, Uuid)| {
            let statement = BatchStatementRequest::builder().statement(&clear);
            let statement = statement.parameters(s(child.as_str())).parameters(s(*id)).build();
            statement.map_err(|_| unreadable(STEP))
        };
        let statements: Vec<_> = accesses.iter().map(statement).collect::<PortResult<_>>()?;
        let call = self.client.batch_execute_statement().set_statements(Some(statements));
        let answers = call.send().await.map_err(failed(STEP))?.responses.unwrap_or_default();
        let refused = |answer: BatchStatementResponse| {
            answer
                .error
                .and_then(|e| e.code)
                .filter(|code| *code != BatchStatementErrorCodeEnum::ConditionalCheckFailed)
        };
        match answers.into_iter().find_map(refused) {
            Some(code) => Err(PortError { step: STEP, cause: code.as_str().to_owned(), retryable: true }),
            None => Ok(()),
        }
    }
}
