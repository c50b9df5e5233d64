//! The bare AWS calls that a function must make, and nothing else: what its work is measured against.
//!
//! The event says which: `{"do": "look-up" | "put" | "send" | "deliver" | "move" | "fail", …}`; anything else is echoed.

mod letters;

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use futures_util::{StreamExt, TryStreamExt, stream};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};
use std::{collections::HashMap, time::Instant};

type Item = HashMap<String, AttributeValue>;

struct Clients {
    dynamo: aws_sdk_dynamodb::Client,
    sqs: aws_sdk_sqs::Client,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = cpis::aws::config::load(cpis::aws::config::Patience::Long);
    let clients = Clients { dynamo: aws_sdk_dynamodb::Client::new(&config), sqs: aws_sdk_sqs::Client::new(&config) };
    let clients = &clients;
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| async move { clients.act(event.payload).await })).await
}

impl Clients {
    async fn act(&self, event: Value) -> Result<Value, Error> {
        match event["do"].as_str() {
            Some("look-up") => self.look_up(&event).await,
            Some("put") => self.put_many(&event).await,
            Some("send") => self.send(&event).await,
            Some("deliver") => self.deliver(&event).await,
            Some("move") => letters::move_letters(&self.sqs, &event).await,
            Some("fail") => Err("told to".into()),
            _ => Ok(event),
        }
    }

    /// `child` is queried for its plans, then `access` is put together with `owed`; the answer says how long both took.
    async fn look_up(&self, event: &Value) -> Result<Value, Error> {
        let began = Instant::now();
        let plans = self
            .dynamo
            .query()
            .table_name("plans")
            .consistent_read(true)
            .key_condition_expression("child = :child")
            .expression_attribute_values(":child", AttributeValue::S(text(&event["child"])))
            .send()
            .await?;
        let access = Put::builder().table_name("accesses").set_item(Some(item(&event["access"])));
        let access = access.condition_expression("attribute_not_exists(id)").build()?;
        let owed = Put::builder().table_name("outbox").set_item(Some(item(&event["owed"]))).build()?;
        let puts = [access, owed].map(|put| TransactWriteItem::builder().put(put).build());
        self.dynamo.transact_write_items().set_transact_items(Some(puts.to_vec())).send().await?;
        Ok(json!({"held": plans.count(), "seconds": began.elapsed().as_secs_f64()}))
    }

    /// `count` copies of `item` go to `table`, each with its own value of the attribute `unique`: in no order, as hashes are.
    async fn put_many(&self, event: &Value) -> Result<Value, Error> {
        let (table, unique) = (text(&event["table"]), text(&event["unique"]));
        let like = item(&event["item"]);
        let prefix = text(&event["prefix"]);
        let count = event["count"].as_u64().unwrap_or(0);
        let concurrency = usize::try_from(event["concurrency"].as_u64().unwrap_or(1))?;
        stream::iter(0..count)
            .map(|number| {
                let mut item = like.clone();
                let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                item.insert(unique.clone(), AttributeValue::S(format!("{prefix}{scattered:016x}{number:016x}")));
                self.put(&table, item, &unique)
            })
            .buffer_unordered(concurrency)
            .try_collect::<()>()
            .await?;
        Ok(json!({"put": count}))
    }

    /// `bodies` are sent ten at a time.
    async fn send(&self, event: &Value) -> Result<Value, Error> {
        let url = std::env::var("ASN_QUEUE_URL")?;
        let bodies = event["bodies"].as_array().ok_or("no bodies")?;
        stream::iter(bodies.chunks(10))
            .map(|bodies| self.send_batch(&url, bodies))
            .buffer_unordered(10)
            .try_collect::<()>()
            .await?;
        Ok(json!({"sent": bodies.len()}))
    }

    async fn send_batch(&self, url: &str, bodies: &[Value]) -> Result<(), Error> {
        let entries = bodies
            .iter()
            .enumerate()
            .map(|(n, body)| SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(text(body)).build())
            .collect::<Result<Vec<_>, _>>()?;
        self.sqs.send_message_batch().queue_url(url).set_entries(Some(entries)).send().await?;
        Ok(())
    }

    /// `items` go to the mailbox, all at once.
    async fn deliver(&self, event: &Value) -> Result<Value, Error> {
        let items = event["items"].as_array().ok_or("no items")?;
        stream::iter(items)
            .map(|entry| self.put("mailbox", item(entry), "id"))
            .buffer_unordered(10)
            .try_collect::<()>()
            .await?;
        Ok(json!({"batchItemFailures": []}))
    }

    async fn put(&self, table: &str, item: Item, unique: &str) -> Result<(), Error> {
        let put = self
            .dynamo
            .put_item()
            .table_name(table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(#unique)")
            .expression_attribute_names("#unique", unique);
        put.send().await?;
        Ok(())
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn item(json: &Value) -> Item {
    json.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), attribute(value))).collect()
}

/// An attribute from DynamoDB's own JSON, such as `{"S": "E06000001"}`.
fn attribute(json: &Value) -> AttributeValue {
    let Some((kind, value)) = json.as_object().and_then(|o| o.iter().next()) else {
        return AttributeValue::Null(true);
    };
    match kind.as_str() {
        "S" => AttributeValue::S(text(value)),
        "N" => AttributeValue::N(text(value)),
        "BOOL" => AttributeValue::Bool(value.as_bool().unwrap_or_default()),
        "L" => AttributeValue::L(value.as_array().into_iter().flatten().map(attribute).collect()),
        "M" => AttributeValue::M(item(value)),
        "SS" => AttributeValue::Ss(value.as_array().into_iter().flatten().map(text).collect()),
        _ => AttributeValue::Null(true),
    }
}
