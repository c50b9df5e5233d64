//! Table `accesses`. One that owes notifications is written together with its copy in table `outbox`.

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{
        put_item::PutItemError,
        transact_write_items::{TransactWriteItemsError, builders::TransactWriteItemsInputBuilder},
    },
    types::{
        CancellationReason, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem,
        error::TransactionCanceledException,
    },
};
use uuid::Uuid;

use super::{
    dynamo::{Dynamo, Item, after, from_item, limit, next, s, start, to_item},
    failure::{failed, unreadable},
    keys::{AT, BY_TIME, CHILD, DUE, ID, LEDGER, ORGANISATION_CODE, PERSON},
    outbox,
};
#[cfg(feature = "testing")]
use crate::simulation::{self, Bug};
use crate::{
    domain::{access::Access, nhs_number::ChildKey},
    ports::{AccessHistory, AccessLog, AccessReader, Page, PageRequest, PortError, PortResult},
};

/// How often a transaction is tried that others on the same access hinder.
const MAX_RACES: usize = 4;
/// An access is written once.
const ABSENT: &str = "attribute_not_exists(child)";

impl AccessLog for Dynamo {
    async fn record(&self, access: &Access) -> PortResult<Option<Access>> {
        const STEP: &str = "accesses.put";
        let keys = [
            (ORGANISATION_CODE, s(&access.organisation.code)),
            (PERSON, s(access.requester.id())),
            // R49: the one write also says that the audit log lacks this access.
            (LEDGER, s(DUE)),
        ];
        let item = to_item(access, keys, STEP)?;
        let refused = if access.owed.is_empty() {
            self.put_access(item, STEP).await?
        } else {
            self.put_owing(access, item).await?
        };
        refused.map(|earlier| from_item(earlier, STEP)).transpose()
    }
}

impl Dynamo {
    /// Puts an access that owes nothing; the one that was there before, if any.
    async fn put_access(&self, item: Item, step: &'static str) -> PortResult<Option<Item>> {
        let put = self.client.put_item().table_name(&self.tables.accesses).set_item(Some(item));
        let put = put.condition_expression(ABSENT).return_values_on_condition_check_failure(AllOld);
        match put.send().await {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refused)) => {
                    refused.item.clone().map(Some).ok_or_else(|| unreadable(step))
                }
                _ => Err(failed(step)(error)),
            },
        }
    }

    /// Puts an access and its copy in the outbox, both or neither; the access that was there before, if any.
    async fn put_owing(&self, access: &Access, item: Item) -> PortResult<Option<Item>> {
        const STEP: &str = "accesses.transact";
        #[cfg(feature = "testing")]
        if simulation::has(Bug::WritesTheOutboxApart) {
            return self.put_owing_apart(access, item, STEP).await;
        }
        let unbuilt = |_| unreadable(STEP);
        let owed = Put::builder().table_name(&self.tables.outbox).set_item(Some(outbox::item(access, STEP)?));
        let put = Put::builder().table_name(&self.tables.accesses).set_item(Some(item)).condition_expression(ABSENT);
        let put = put.return_values_on_condition_check_failure(AllOld).build().map_err(unbuilt)?;
        let writes = [put, owed.build().map_err(unbuilt)?].map(|put| TransactWriteItem::builder().put(put).build());
        let transaction = TransactWriteItemsInputBuilder::default().set_transact_items(Some(writes.to_vec()));
        for _ in 0..MAX_RACES {
            let error = match transaction.clone().send_with(&self.client).await {
                Ok(_) => return Ok(None),
                Err(error) => error,
            };
            match cancelled(&error) {
                Some(Cancelled::Refused(earlier)) => return Ok(Some(earlier.clone())),
                Some(Cancelled::Hindered) => {}
                None => return Err(failed(STEP)(error)),
            }
        }
        Err(PortError { step: STEP, cause: "TransactionConflict".into(), retryable: true })
    }
}

#[cfg(feature = "testing")]
impl Dynamo {
    /// The bug of two writes where one is needed.
    async fn put_owing_apart(&self, access: &Access, item: Item, step: &'static str) -> PortResult<Option<Item>> {
        let earlier = self.put_access(item, step).await?;
        if earlier.is_none() {
            let owed = self.client.put_item().table_name(&self.tables.outbox);
            owed.set_item(Some(outbox::item(access, step)?)).send().await.map_err(failed(step))?;
        }
        Ok(earlier)
    }
}

/// Why a transaction was not carried out.
enum Cancelled<'a> {
    /// The access is there already.
    Refused(&'a Item),
    /// Another one was under way on the same access: a retry that came too soon.
    Hindered,
}

/// `None` where it is not the transaction but the call that failed.
fn cancelled<R>(error: &SdkError<TransactWriteItemsError, R>) -> Option<Cancelled<'_>> {
    let Some(TransactWriteItemsError::TransactionCanceledException(TransactionCanceledException {
        cancellation_reasons: Some(reasons),
        ..
    })) = error.as_service_error()
    else {
        return None;
    };
    let refused = |reason: &&CancellationReason| reason.code() == Some("ConditionalCheckFailed");
    if let Some(earlier) = reasons.iter().find(refused).and_then(|reason| reason.item()) {
        return Some(Cancelled::Refused(earlier));
    }
    reasons.iter().any(|reason| reason.code() == Some("TransactionConflict")).then_some(Cancelled::Hindered)
}

impl AccessReader for Dynamo {
    async fn access(&self, child: &ChildKey, id: Uuid) -> PortResult<Option<Access>> {
        const STEP: &str = "accesses.get";
        let get = self.client.get_item().table_name(&self.tables.accesses).consistent_read(true);
        let found = get.key(CHILD, s(child.as_str())).key(ID, s(id)).send().await.map_err(failed(STEP))?;
        found.item.map(|item| from_item(item, STEP)).transpose()
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
