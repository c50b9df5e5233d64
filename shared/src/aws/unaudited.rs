//! The mark on accesses that the audit log lacks, and the sparse index of those that have it (R49).

use aws_sdk_dynamodb::types::{BatchStatementErrorCodeEnum, BatchStatementRequest, BatchStatementResponse};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    dynamo::{Dynamo, after, from_item, limit, next, s, start},
    failure::{failed, unreadable},
    keys::{AT, CHILD, DUE, ID, LEDGER, UNAUDITED},
};
use crate::{
    domain::{access::Access, nhs_number::ChildKey, time::sortable},
    ports::{Page, PageRequest, PortError, PortResult, Unaudited},
};

/// The most statements in one call (DynamoDB: `BatchExecuteStatement` takes 25).
const STATEMENTS: usize = 25;
/// Calls under way at once.
const CONCURRENCY: usize = 16;

impl Unaudited for Dynamo {
    async fn unaudited_before(&self, moment: Timestamp, page: &PageRequest) -> PortResult<Page<PortResult<Access>>> {
        const STEP: &str = "accesses.unaudited.query";
        let from = after(page.after.as_ref())?;
        let from = start(from.map(|[at, child, id]| [(LEDGER, s(DUE)), (AT, s(at)), (CHILD, s(child)), (ID, s(id))]));
        let query = self.client.query().table_name(&self.tables.accesses).index_name(UNAUDITED);
        let found = query
            .limit(limit(page.limit))
            .key_condition_expression("ledger = :due AND #at < :moment")
            .expression_attribute_names("#at", AT)
            .expression_attribute_values(":due", s(DUE))
            .expression_attribute_values(":moment", s(sortable(moment)))
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(failed(STEP))?;
        let items = found.items.unwrap_or_default().into_iter().map(|item| from_item(item, STEP));
        Ok(Page { items: items.collect(), next: next(found.last_evaluated_key, &[AT, CHILD, ID]) })
    }

    async fn audited(&self, accesses: &[(ChildKey, Uuid)]) -> PortResult<()> {
        let calls: Vec<_> = accesses.chunks(STATEMENTS).map(|chunk| self.audited_together(chunk)).collect();
        stream::iter(calls).buffer_unordered(CONCURRENCY).try_collect().await
    }
}

impl Dynamo {
    /// Clears up to 25 marks in one call. Each stands for itself, which a transaction's would not; an access that was
    /// never recorded is none to clear, and none is made up.
    async fn audited_together(&self, accesses: &[(ChildKey, Uuid)]) -> PortResult<()> {
        const STEP: &str = "accesses.batch-update";
        let clear = format!("UPDATE \"{}\" REMOVE {LEDGER} WHERE {CHILD} = ? AND {ID} = ?", self.tables.accesses);
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
