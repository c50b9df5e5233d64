//! Table `audit`: the chains of entries, each with its head; the ids that are in them; the signed statements.
//!
//! | `shard` | `number` | what |
//! |---|---|---|
//! | `00` … `0f` | 1 and on | an entry |
//! | `00` … `0f` | 0 | the chain's head: number and hash of its last entry |
//! | `id#` and an id | 0 | the id is in the log; where |
//! | `statement` | 1 and on | a signed statement, and whether it is in the archive |
//! | `statement` | 0 | sequence of the last statement |

use std::collections::{BTreeMap, HashSet};

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, CancellationReason, Put, TransactWriteItem, Update},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

use super::{
    dynamo::{Dynamo, Item, from_item, limit, n, s, to_item},
    failure::{failed, unreadable},
    keys::{NUMBER, SHARD},
};
use crate::{
    domain::audit::{Chained, Entry, Hash, Head, SHARDS, Shard, statement::Signed},
    ports::{AuditLog, AuditReader, PortError, PortResult, Statements},
};

const APPEND: &str = "audit.transact-write";
const GET: &str = "audit.get";
/// Entries in one transaction: two actions each and one for the head, of the 100 that DynamoDB takes.
const TOGETHER: usize = 40;
/// How often an append is tried against others. At least one gets through each time.
const MAX_RACES: usize = 40;

/// Attributes of a head.
const LAST: &str = "last";
const HASH: &str = "hash";
/// Of a statement: it is in the archive.
const ARCHIVED: &str = "archived";
const STATEMENT: &str = "statement";

/// What became of a transaction.
enum Appended {
    Done,
    /// Another appended at the same moment: read the head again.
    Raced,
    /// These are there already, by position.
    Known(HashSet<usize>),
}

impl AuditLog for Dynamo {
    async fn append(&self, entries: &[Entry]) -> PortResult<()> {
        let mut chains: BTreeMap<Shard, Vec<&Entry>> = BTreeMap::new();
        let mut ids = HashSet::new();
        entries.iter().filter(|e| ids.insert(e.id)).for_each(|e| chains.entry(e.shard()).or_default().push(e));
        let appends: Vec<_> = chains.into_iter().map(|(shard, entries)| self.append_to(shard, entries)).collect();
        stream::iter(appends).buffer_unordered(usize::from(SHARDS)).try_collect().await
    }
}

impl AuditReader for Dynamo {
    async fn entries(&self, shard: Shard, behind: u64, most: usize) -> PortResult<Vec<Chained>> {
        const STEP: &str = "audit.query";
        let query = self.client.query().table_name(&self.tables.audit).consistent_read(true).limit(limit(most));
        let query = query.key_condition_expression("#shard = :shard AND #number > :behind");
        let found = query
            .expression_attribute_names("#shard", SHARD)
            .expression_attribute_names("#number", NUMBER)
            .expression_attribute_values(":shard", s(shard))
            .expression_attribute_values(":behind", n(behind))
            .send()
            .await
            .map_err(failed(STEP))?;
        found.items.unwrap_or_default().into_iter().map(|item| from_item(item, STEP)).collect()
    }

    async fn heads(&self) -> PortResult<Vec<Head>> {
        stream::iter(Shard::all().map(|shard| self.head(shard))).buffered(usize::from(SHARDS)).try_collect().await
    }
}

impl Dynamo {
    async fn append_to(&self, shard: Shard, entries: Vec<&Entry>) -> PortResult<()> {
        for together in entries.chunks(TOGETHER) {
            self.append_together(shard, together.to_vec()).await?;
        }
        Ok(())
    }

    /// R45, R46: entries, their ids and the chain's new head in one transaction, or nothing. So a number is given once, an
    /// id is there once, and whoever comes second reads the head again.
    async fn append_together(&self, shard: Shard, mut entries: Vec<&Entry>) -> PortResult<()> {
        for _ in 0..MAX_RACES {
            let head = self.head(shard).await?;
            match self.transact(head, &entries).await? {
                Appended::Done => return Ok(()),
                Appended::Raced => {}
                Appended::Known(known) => {
                    let mut position = 0..;
                    entries.retain(|_| !position.next().is_some_and(|at| known.contains(&at)));
                    if entries.is_empty() {
                        return Ok(());
                    }
                }
            }
        }
        Err(PortError { step: APPEND, cause: "the chain keeps growing".into(), retryable: true })
    }

    async fn transact(&self, head: Head, entries: &[&Entry]) -> PortResult<Appended> {
        let mut end = head;
        let (mut ids, mut puts) = (Vec::new(), Vec::new());
        for entry in entries {
            let chained = end.chain((*entry).clone());
            let place = format!("{}/{}", chained.shard, chained.number);
            let id = [(SHARD, s(marker(entry.id))), (NUMBER, n(0)), ("place", s(place))];
            ids.push(self.put(id.map(|(name, value)| (name.to_owned(), value)).into())?);
            puts.push(self.put(to_item(&chained, [], APPEND)?)?);
        }
        let actions = ids.into_iter().chain(puts).chain([self.moved(head, end)?]).collect();
        match self.client.transact_write_items().set_transact_items(Some(actions)).send().await {
            Ok(_) => Ok(Appended::Done),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    judge(cancelled.cancellation_reasons(), entries.len())
                }
                Some(TransactWriteItemsError::TransactionInProgressException(_)) => Ok(Appended::Raced),
                _ => Err(failed(APPEND)(error)),
            },
        }
    }

    /// Puts an item where none is.
    fn put(&self, item: Item) -> PortResult<TransactWriteItem> {
        let put = Put::builder().table_name(&self.tables.audit).set_item(Some(item));
        let put = put.condition_expression("attribute_not_exists(#shard)").expression_attribute_names("#shard", SHARD);
        let put = put.build().map_err(|_| unreadable(APPEND))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Moves a head, if it is still where it was.
    fn moved(&self, from: Head, to: Head) -> PortResult<TransactWriteItem> {
        let update = Update::builder().table_name(&self.tables.audit).key(SHARD, s(to.shard)).key(NUMBER, n(0));
        let update = update
            .update_expression("SET #last = :last, #hash = :hash")
            .expression_attribute_names("#last", LAST)
            .expression_attribute_names("#hash", HASH)
            .expression_attribute_values(":last", n(to.number))
            .expression_attribute_values(":hash", s(to.hash.to_string()));
        let update = match from.number {
            0 => update.condition_expression("attribute_not_exists(#last)"),
            was => update.condition_expression("#last = :was").expression_attribute_values(":was", n(was)),
        };
        let update = update.build().map_err(|_| unreadable(APPEND))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    async fn head(&self, shard: Shard) -> PortResult<Head> {
        let Some(item) = self.audit_item(&shard.to_string(), 0).await? else { return Ok(Head::empty(shard)) };
        match (item.get(LAST), item.get(HASH)) {
            (Some(AttributeValue::N(last)), Some(AttributeValue::S(hash))) => {
                let number = last.parse().map_err(|_| unreadable(GET))?;
                Ok(Head { shard, number, hash: Hash::parse(hash).ok_or_else(|| unreadable(GET))? })
            }
            _ => Err(unreadable(GET)),
        }
    }

    async fn audit_item(&self, shard: &str, number: u64) -> PortResult<Option<Item>> {
        let get = self.client.get_item().table_name(&self.tables.audit).consistent_read(true);
        let found = get.key(SHARD, s(shard)).key(NUMBER, n(number)).send().await.map_err(failed(GET))?;
        Ok(found.item)
    }
}

fn marker(id: Uuid) -> String {
    format!("id#{id}")
}

/// Why a transaction was cancelled: the first reasons are the ids'.
fn judge(reasons: &[CancellationReason], entries: usize) -> PortResult<Appended> {
    let code = |reason: &CancellationReason| reason.code().unwrap_or("None").to_owned();
    let ids = reasons.iter().take(entries).enumerate();
    let known: HashSet<_> = ids.filter(|(_, r)| code(r) == "ConditionalCheckFailed").map(|(at, _)| at).collect();
    if !known.is_empty() {
        return Ok(Appended::Known(known));
    }
    let other = reasons.iter().map(code).find(|code| {
        !matches!(code.as_str(), "None" | "ConditionalCheckFailed" | "TransactionConflict" | "DuplicateItem")
    });
    match other {
        // Such as a throttle.
        Some(cause) => Err(PortError { step: APPEND, retryable: cause != "ValidationError", cause }),
        None => Ok(Appended::Raced),
    }
}

impl Statements for Dynamo {
    async fn latest_statement(&self) -> PortResult<Option<(Signed, bool)>> {
        let Some(head) = self.audit_item(STATEMENT, 0).await? else { return Ok(None) };
        let Some(AttributeValue::N(last)) = head.get(LAST) else { return Err(unreadable(GET)) };
        let last = last.parse().map_err(|_| unreadable(GET))?;
        let item = self.audit_item(STATEMENT, last).await?.ok_or_else(|| unreadable(GET))?;
        let archived = item.contains_key(ARCHIVED);
        Ok(Some((from_item(item, GET)?, archived)))
    }

    async fn add_statement(&self, signed: &Signed) -> PortResult<bool> {
        let sequence = signed.statement.sequence;
        let item = to_item(signed, [(SHARD, s(STATEMENT)), (NUMBER, n(sequence))], APPEND)?;
        let update = Update::builder().table_name(&self.tables.audit).key(SHARD, s(STATEMENT)).key(NUMBER, n(0));
        let update = update
            .update_expression("SET #last = :last")
            .expression_attribute_names("#last", LAST)
            .expression_attribute_values(":last", n(sequence));
        let update = match sequence {
            ..=1 => update.condition_expression("attribute_not_exists(#last)"),
            _ => update.condition_expression("#last = :was").expression_attribute_values(":was", n(sequence - 1)),
        };
        let update = update.build().map_err(|_| unreadable(APPEND))?;
        let actions = vec![self.put(item)?, TransactWriteItem::builder().update(update).build()];
        match self.client.transact_write_items().set_transact_items(Some(actions)).send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    judge(cancelled.cancellation_reasons(), 0).map(|_| false)
                }
                _ => Err(failed(APPEND)(error)),
            },
        }
    }

    async fn statement_archived(&self, sequence: u64) -> PortResult<()> {
        let update = self.client.update_item().table_name(&self.tables.audit);
        let update = update.key(SHARD, s(STATEMENT)).key(NUMBER, n(sequence));
        let update = update
            .update_expression("SET #archived = :yes")
            .condition_expression("attribute_exists(#shard)")
            .expression_attribute_names("#archived", ARCHIVED)
            .expression_attribute_names("#shard", SHARD)
            .expression_attribute_values(":yes", AttributeValue::Bool(true));
        update.send().await.map(drop).map_err(failed("audit.update"))
    }
}
