//! What the adapters of all tables share.

use std::collections::HashMap;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeValue, BatchStatementErrorCodeEnum, BatchStatementRequest, BatchStatementResponse, DeleteRequest,
        WriteRequest,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Serialize, de::DeserializeOwned};

use super::failure::{failed, unreadable};
use crate::ports::{PortError, PortResult};

/// The most statements in one call (DynamoDB: `BatchExecuteStatement` takes 25).
const STATEMENTS: usize = 25;
/// The most writes in one call (DynamoDB: `BatchWriteItem` takes 25).
const WRITES: usize = 25;
/// Calls of one batch under way at once.
pub(super) const CONCURRENCY: usize = 16;

/// An item as the SDK has it.
pub(super) type Item = HashMap<String, AttributeValue>;

/// Names of the tables. A function knows only those that it is told of.
#[derive(Debug, Clone, Default)]
pub struct Tables {
    /// `PLANS_TABLE`
    pub plans: String,
    /// `ACCESSES_TABLE`
    pub accesses: String,
    /// `OUTBOX_TABLE`
    pub outbox: String,
    /// `UPLOADS_TABLE`
    pub uploads: String,
    /// `MAILBOX_TABLE`
    pub mailbox: String,
    /// `DIRECTORY_TABLE`
    pub directory: String,
    /// `LIMITS_TABLE`
    pub limits: String,
    /// `AUDIT_TABLE`
    pub audit: String,
}

/// The register in DynamoDB.
#[derive(Debug, Clone)]
pub struct Dynamo {
    pub(super) client: Client,
    pub(super) tables: Tables,
}

impl Dynamo {
    /// Over these tables.
    #[must_use]
    pub fn new(config: &SdkConfig, tables: Tables) -> Self {
        Self { client: Client::new(config), tables }
    }

    /// Has one statement done with the parameters of each item, many in a call. Each stands for itself, which a transaction's would
    /// not: one whose condition does not hold, such as that of an item that is not there, hinders no other and is no failure.
    pub(super) async fn execute_each<T, const N: usize>(
        &self,
        step: &'static str,
        statement: &str,
        items: &[T],
        parameters: impl Fn(&T) -> [AttributeValue; N],
    ) -> PortResult<()> {
        let request = |item: &T| {
            let request = BatchStatementRequest::builder().statement(statement);
            request.set_parameters(Some(parameters(item).into())).build().map_err(|_| unreadable(step))
        };
        let requests: Vec<_> = items.iter().map(request).collect::<PortResult<_>>()?;
        let calls: Vec<_> = requests.chunks(STATEMENTS).map(|chunk| self.execute(step, chunk.to_vec())).collect();
        stream::iter(calls).buffer_unordered(CONCURRENCY).try_collect().await
    }

    /// Deletes the items with these keys, many in a call, each for itself. That one is not there is no failure.
    pub(super) async fn delete_each(&self, step: &'static str, table: &str, keys: Vec<Item>) -> PortResult<()> {
        let request = |key: Item| {
            let delete = DeleteRequest::builder().set_key(Some(key)).build().map_err(|_| unreadable(step))?;
            Ok(WriteRequest::builder().delete_request(delete).build())
        };
        let requests: Vec<_> = keys.into_iter().map(request).collect::<PortResult<_>>()?;
        let calls: Vec<_> = requests.chunks(WRITES).map(|chunk| self.write(step, table, chunk.to_vec())).collect();
        stream::iter(calls).buffer_unordered(CONCURRENCY).try_collect().await
    }

    async fn write(&self, step: &'static str, table: &str, requests: Vec<WriteRequest>) -> PortResult<()> {
        let call = self.client.batch_write_item().request_items(table, requests).send().await;
        // What it leaves out was throttled, and nothing else is said of it.
        match call.map_err(failed(step))?.unprocessed_items {
            Some(left) if !left.is_empty() => Err(PortError { step, cause: "Unprocessed".into(), retryable: true }),
            _ => Ok(()),
        }
    }

    async fn execute(&self, step: &'static str, requests: Vec<BatchStatementRequest>) -> PortResult<()> {
        let asked = requests.len();
        let call = self.client.batch_execute_statement().set_statements(Some(requests));
        let answers = call.send().await.map_err(failed(step))?.responses.unwrap_or_default();
        all_done(step, asked, answers)
    }
}

/// Whether so many statements were done. One that the answer leaves out may not have been.
fn all_done(step: &'static str, asked: usize, answers: Vec<BatchStatementResponse>) -> PortResult<()> {
    let unanswered = answers.len() < asked;
    let mut codes = answers.into_iter().filter_map(|answer| answer.error.and_then(|error| error.code));
    match codes.find(|code| *code != BatchStatementErrorCodeEnum::ConditionalCheckFailed) {
        Some(code) => Err(PortError { step, cause: code.as_str().to_owned(), retryable: true }),
        None if unanswered => Err(PortError { step, cause: "NotAnswered".to_owned(), retryable: true }),
        None => Ok(()),
    }
}

pub(super) fn s(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

pub(super) fn n(number: impl ToString) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

/// A value as an item with further attributes.
pub(super) fn to_item<const N: usize>(
    value: &impl Serialize,
    more: [(&str, AttributeValue); N],
    step: &'static str,
) -> PortResult<Item> {
    let mut item: Item = serde_dynamo::to_item(value).map_err(|_| unreadable(step))?;
    item.extend(more.map(|(name, value)| (name.to_owned(), value)));
    Ok(item)
}

/// A value from an item; attributes it does not know are passed over.
pub(super) fn from_item<T: DeserializeOwned>(item: Item, step: &'static str) -> PortResult<T> {
    serde_dynamo::from_item(item).map_err(|_| unreadable(step))
}

/// Makes the `next` of a page from attributes of the last key; the partition key is not among them, because it
/// comes from the caller's token each time (R29, R32).
pub(super) fn next(last_key: Option<Item>, attributes: &[&str]) -> Option<String> {
    let last_key = last_key?;
    let text = |name: &&str| match last_key.get(*name) {
        Some(AttributeValue::S(text) | AttributeValue::N(text)) => text.clone(),
        _ => String::new(),
    };
    let values: Vec<_> = attributes.iter().map(text).collect();
    Some(URL_SAFE_NO_PAD.encode(values.join("|")))
}

/// Reads what [`next`] made: a text for each attribute.
pub(super) fn after<const N: usize>(cursor: Option<&String>) -> PortResult<Option<[String; N]>> {
    let Some(cursor) = cursor else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| PortError::bad_cursor())?;
    let text = String::from_utf8(bytes).map_err(|_| PortError::bad_cursor())?;
    let values: Vec<_> = text.split('|').map(str::to_owned).collect();
    values.try_into().map(Some).map_err(|_| PortError::bad_cursor())
}

/// Where a query starts: the partition key and the rest of the key.
pub(super) fn start<const N: usize>(key: Option<[(&str, AttributeValue); N]>) -> Option<Item> {
    key.map(|parts| parts.map(|(name, value)| (name.to_owned(), value)).into())
}

/// A page's limit as DynamoDB takes it.
pub(super) fn limit(entries: usize) -> i32 {
    i32::try_from(entries.clamp(1, 1_000)).unwrap_or(1_000)
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::BatchStatementError;

    use super::*;

    #[test]
    fn a_statement_that_is_not_answered_for_does_not_count_as_done() {
        let answer = |code: Option<BatchStatementErrorCodeEnum>| {
            let error = code.map(|code| BatchStatementError::builder().code(code).build());
            BatchStatementResponse::builder().set_error(error).build()
        };
        let refused = || answer(Some(BatchStatementErrorCodeEnum::ConditionalCheckFailed));
        let judged = |answers| all_done("a.step", 2, answers).map_err(|error| (error.cause, error.retryable));
        assert_eq!(judged(vec![answer(None), refused()]), Ok(()), "a condition that does not hold is no failure");
        for short in [vec![], vec![refused()]] {
            assert_eq!(judged(short), Err(("NotAnswered".to_owned(), true)));
        }
        let throttled = answer(Some(BatchStatementErrorCodeEnum::ThrottlingError));
        assert_eq!(judged(vec![throttled]), Err(("ThrottlingError".to_owned(), true)));
    }
}
