//! The directory's table: its items, read and written.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, PutRequest, WriteRequest},
};
use cpis::domain::{authority::Status, entry::Entry};

use super::Kind;
use crate::failure::{Failure, Result, on_aws};

type Item = HashMap<String, AttributeValue>;

/// Attributes that a load leaves alone: the key, and what operators set.
const KEPT: [&str; 4] = ["kind", "code", "status", "waysOut"];
/// Attributes that an entry may lack.
const OPTIONAL: [&str; 2] = ["until", "oversight"];

/// The directory's table.
pub(super) struct Table {
    pub(super) client: Client,
    pub(super) name: String,
}

impl Table {
    /// Every entry, or those of one kind, by kind and code.
    pub(super) async fn entries(&self, kind: Option<Kind>) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|k| kind.is_none_or(|wanted| wanted == *k)) {
            let query = self.client.query().table_name(&self.name).consistent_read(true);
            let query = query.key_condition_expression("#kind = :kind").expression_attribute_names("#kind", "kind");
            let query = query.expression_attribute_values(":kind", AttributeValue::S(kind.key().into()));
            let mut pages = query.into_paginator().items().send();
            while let Some(item) = pages.next().await {
                let item = item.map_err(on_aws("read the directory"))?;
                entries.push(serde_dynamo::from_item(item).map_err(unreadable)?);
            }
        }
        Ok(entries)
    }

    /// Writes up to 25 entries, each as a whole; what DynamoDB leaves over is sent again after a growing wait.
    pub(super) async fn put(&self, batch: impl Iterator<Item = &Entry>) -> Result<()> {
        let mut left = Vec::new();
        for entry in batch {
            let put = PutRequest::builder().set_item(Some(item(entry)?)).build();
            let put = put.map_err(|e| Failure::error(format!("an entry cannot be written: {e}")))?;
            left.push(WriteRequest::builder().put_request(put).build());
        }
        for attempt in 0..8 {
            if attempt > 0 {
                tokio::time::sleep(std::time::Duration::from_millis(50 << attempt)).await;
            }
            let call = self.client.batch_write_item().request_items(&self.name, left);
            let answer = call.send().await.map_err(on_aws("write to the directory"))?;
            left = answer.unprocessed_items.unwrap_or_default().remove(&self.name).unwrap_or_default();
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(Failure::error("the directory's table is throttled; wait a little, then load again: what was loaded stays"))
    }

    /// Makes an entry as wanted but for what operators have set, which stays.
    pub(super) async fn update(&self, entry: &Entry) -> Result<()> {
        let (kind, code) = entry.key();
        let mut call = self.keyed(kind, code);
        let mut set = Vec::new();
        let attributes = item(entry)?;
        let gone: Vec<_> = OPTIONAL.into_iter().filter(|name| !attributes.contains_key(*name)).collect();
        let attributes = attributes.into_iter().filter(|(name, _)| !KEPT.contains(&name.as_str()));
        for (n, (name, value)) in attributes.enumerate() {
            set.push(format!("#a{n} = :a{n}"));
            call = call.expression_attribute_names(format!("#a{n}"), name);
            call = call.expression_attribute_values(format!(":a{n}"), value);
        }
        // By other names too: `until` is a word of DynamoDB's own.
        for (n, name) in gone.iter().enumerate() {
            call = call.expression_attribute_names(format!("#r{n}"), *name);
        }
        let removed: Vec<_> = (0..gone.len()).map(|n| format!("#r{n}")).collect();
        let remove = if gone.is_empty() { String::new() } else { format!(" REMOVE {}", removed.join(", ")) };
        let call = call.update_expression(format!("SET {}{remove}", set.join(", ")));
        call.send().await.map(drop).map_err(on_aws("write to the directory"))
    }

    /// The entry of a key.
    pub(super) async fn entry(&self, kind: Kind, code: &str) -> Result<Option<Entry>> {
        let get = self.client.get_item().table_name(&self.name).consistent_read(true);
        let get = get.key("kind", AttributeValue::S(kind.key().into())).key("code", AttributeValue::S(code.into()));
        let found = get.send().await.map_err(on_aws("read the directory"))?.item;
        found.map(|item| serde_dynamo::from_item(item).map_err(unreadable)).transpose()
    }

    /// Writes an entry in place of the one held, or of none, if that is still what is held.
    pub(super) async fn replace(&self, held: Option<&Entry>, entry: &Entry) -> Result<()> {
        let mut call = self.client.put_item().table_name(&self.name).set_item(Some(item(entry)?));
        match held {
            None => {
                let condition = "attribute_not_exists(#code)";
                call = call.condition_expression(condition).expression_attribute_names("#code", "code");
            }
            Some(held) => {
                let mut same = Vec::new();
                for (n, (name, value)) in item(held)?.into_iter().enumerate() {
                    same.push(format!("#a{n} = :a{n}"));
                    call = call.expression_attribute_names(format!("#a{n}"), name);
                    call = call.expression_attribute_values(format!(":a{n}"), value);
                }
                call = call.condition_expression(same.join(" AND "));
            }
        }
        call.send().await.map(drop).map_err(|e| match e.as_service_error() {
            Some(s) if s.is_conditional_check_failed_exception() => {
                Failure::error("somebody else changed the entry at the same time; look at it, and try again")
            }
            _ => on_aws("write to the directory")(e),
        })
    }

    pub(super) async fn set_status(&self, kind: Kind, code: &str, status: Status) -> Result<()> {
        let kind = kind.key();
        let value = serde_dynamo::to_attribute_value(status).map_err(|e| Failure::error(e.to_string()))?;
        let call = self.keyed(kind, code).update_expression("SET #status = :status");
        let call = call.expression_attribute_names("#status", "status").expression_attribute_values(":status", value);
        call.send().await.map(drop).map_err(|e| match e.as_service_error() {
            Some(s) if s.is_conditional_check_failed_exception() => no_entry(kind, code),
            _ => on_aws("write to the directory")(e),
        })
    }

    /// An update of an entry that exists.
    fn keyed(
        &self,
        kind: &str,
        code: &str,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        let call = self.client.update_item().table_name(&self.name);
        let call = call.key("kind", AttributeValue::S(kind.into())).key("code", AttributeValue::S(code.into()));
        call.condition_expression("attribute_exists(#code)").expression_attribute_names("#code", "code")
    }
}

fn item(entry: &Entry) -> Result<Item> {
    serde_dynamo::to_item(entry).map_err(|e| Failure::error(format!("an entry cannot be written: {e}")))
}

/// There is no such entry, and where to find those that there are.
pub(super) fn no_entry(kind: &str, code: &str) -> Failure {
    Failure::error(format!("the directory has no {kind} {code}; see `cpis directory list --kind {kind}`"))
}

fn unreadable(error: serde_dynamo::Error) -> Failure {
    Failure::error(format!("the directory holds an entry that cannot be read: {error}"))
}
