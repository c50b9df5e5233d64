//! DynamoDB in memory (dynoxide) on 127.0.0.1, with the project's tables.

use std::sync::LazyLock;

use dynoxide::{
    Database,
    actions::{delete_item::DeleteItemRequest, get_item::GetItemRequest, put_item::PutItemRequest, scan::ScanRequest},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// Names of the tables, each with the environment variable that tells a function about it.
pub const TABLES: [(&str, &str); 8] = [
    ("PLANS_TABLE", "plans"),
    ("ACCESSES_TABLE", "accesses"),
    ("OUTBOX_TABLE", "outbox"),
    ("UPLOADS_TABLE", "uploads"),
    ("MAILBOX_TABLE", "mailbox"),
    ("DIRECTORY_TABLE", "directory"),
    ("LIMITS_TABLE", "limits"),
    ("AUDIT_TABLE", "audit"),
];

/// A JSON value in DynamoDB's own JSON: `"a"` as `{"S": "a"}`; an object's item is within its `M`.
#[must_use]
pub fn attribute(value: &Value) -> Value {
    match value {
        Value::Null => json!({"NULL": true}),
        Value::Bool(yes) => json!({"BOOL": yes}),
        Value::Number(number) => json!({"N": number.to_string()}),
        Value::String(text) => json!({"S": text}),
        Value::Array(list) => json!({"L": list.iter().map(attribute).collect::<Vec<_>>()}),
        Value::Object(fields) => {
            let fields: serde_json::Map<_, _> = fields.iter().map(|(name, v)| (name.clone(), attribute(v))).collect();
            json!({"M": fields})
        }
    }
}

/// A running DynamoDB; it stops when dropped.
pub struct Dynamo {
    /// Where it listens.
    pub url: String,
    /// The database behind it, for direct use.
    pub db: Database,
    server: Option<JoinHandle<()>>,
}

impl Dynamo {
    /// Starts on a free port of 127.0.0.1 with the tables, empty.
    ///
    /// # Panics
    /// No port can be bound, or a table is refused.
    pub async fn start() -> Self {
        Self::with(table_definitions()).await
    }

    /// As [`Dynamo::start`], but no table has a stream: dynoxide takes longer for each write the more records its stream holds.
    ///
    /// # Panics
    /// As [`Dynamo::start`].
    pub async fn start_without_streams() -> Self {
        Self::with(without_streams()).await
    }

    /// The tables of [`Dynamo::start_without_streams`] without a server: [`Dynamo::call`] is the way in.
    ///
    /// # Panics
    /// A table is refused.
    #[must_use]
    pub fn without_server() -> Self {
        Self { url: String::new(), db: database(without_streams()), server: None }
    }

    /// Answers a call as the service would: the status, and a body of JSON.
    #[must_use]
    pub fn call(&self, operation: &str, body: &str) -> (u16, String) {
        fn done<Q: DeserializeOwned, A: serde::Serialize>(
            body: &str,
            act: impl FnOnce(Q) -> dynoxide::Result<A>,
        ) -> dynoxide::Result<String> {
            let request = serde_json::from_str(body).unwrap_or_else(|e| panic!("request: {e}: {body}"));
            act(request).map(|answer| untyped(&answer).to_string())
        }
        let db = &self.db;
        let answer = match operation {
            "BatchWriteItem" => done(body, |request| db.batch_write_item(request)),
            "BatchExecuteStatement" => done(body, |request| db.batch_execute_statement(request)),
            "BatchGetItem" => done(body, |request| db.batch_get_item(request)),
            "GetItem" => done(body, |request| db.get_item(request)),
            "PutItem" => done(body, |request| db.put_item(request)),
            "Query" => done(body, |request| db.query(request)),
            "TransactWriteItems" => done(body, |request| db.transact_write_items(request)),
            "UpdateItem" => done(body, |request| db.update_item(request)),
            other => panic!("no operation {other}"),
        };
        answer.map_or_else(|error| (error.status_code(), error.to_json()), |answer| (200, answer))
    }

    async fn with(tables: Vec<Value>) -> Self {
        let db = database(tables);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap_or_else(|e| panic!("bind: {e}"));
        let url = listener.local_addr().map_or_else(|e| panic!("address: {e}"), |a| format!("http://{a}"));
        let server = tokio::spawn(dynoxide::server::serve_on(listener, db.clone()));
        Self { url, db, server: Some(server) }
    }

    /// Puts one item, in DynamoDB's own JSON (`{"la": {"S": "E06000001"}, …}`).
    ///
    /// # Panics
    /// The item is refused.
    pub fn put(&self, table: &str, item: &Value) {
        let request: PutItemRequest = typed(json!({"TableName": table, "Item": item}));
        self.db.put_item(request).unwrap_or_else(|e| panic!("put: {e}"));
    }

    /// Reads one item.
    ///
    /// # Panics
    /// The key is refused.
    #[must_use]
    pub fn get(&self, table: &str, key: &Value) -> Option<Value> {
        let request: GetItemRequest = typed(json!({"TableName": table, "Key": key, "ConsistentRead": true}));
        let answer = self.db.get_item(request).unwrap_or_else(|e| panic!("get: {e}"));
        answer.item.map(|item| untyped(&item))
    }

    /// Takes one item out.
    ///
    /// # Panics
    /// The key is refused.
    pub fn delete(&self, table: &str, key: &Value) {
        let request: DeleteItemRequest = typed(json!({"TableName": table, "Key": key}));
        self.db.delete_item(request).unwrap_or_else(|e| panic!("delete: {e}"));
    }

    /// Every item of a table, in an order that depends on the items alone.
    ///
    /// # Panics
    /// The table does not exist.
    #[must_use]
    pub fn scan(&self, table: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut from = Value::Null;
        loop {
            let mut request = json!({"TableName": table, "ConsistentRead": true});
            if !from.is_null() {
                request["ExclusiveStartKey"] = from;
            }
            let page = self.db.scan(typed::<ScanRequest>(request)).unwrap_or_else(|e| panic!("scan: {e}"));
            items.extend(page.items.iter().flatten().map(untyped));
            match page.last_evaluated_key {
                Some(key) => from = untyped(&key),
                None => break,
            }
        }
        items.sort_by_cached_key(Value::to_string);
        items
    }

    /// All records of a table's stream so far, as Lambda would pass them to a function.
    ///
    /// # Panics
    /// The table has no stream.
    #[must_use]
    pub fn stream_records(&self, table: &str) -> Vec<Value> {
        let streams = self.db.list_streams(typed(json!({"TableName": table}))).map(|s| untyped(&s));
        let arn = streams.unwrap_or_else(|e| panic!("streams: {e}"))["Streams"][0]["StreamArn"].clone();
        let stream = self.db.describe_stream(typed(json!({"StreamArn": arn}))).map(|s| untyped(&s));
        let shard =
            stream.unwrap_or_else(|e| panic!("stream: {e}"))["StreamDescription"]["Shards"][0]["ShardId"].clone();
        let iterator = json!({"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"});
        let iterator = self.db.get_shard_iterator(typed(iterator)).map(|s| untyped(&s));
        let mut iterator = iterator.unwrap_or_else(|e| panic!("iterator: {e}"))["ShardIterator"].clone();
        let mut records = Vec::new();
        loop {
            let page = self.db.get_records(typed(json!({"ShardIterator": iterator}))).map(|s| untyped(&s));
            let page = page.unwrap_or_else(|e| panic!("records: {e}"));
            let Some(found) = page["Records"].as_array().filter(|found| !found.is_empty()) else { return records };
            records.extend(found.iter().cloned().map(|mut record| {
                record["eventSourceARN"] = arn.clone();
                record
            }));
            iterator = page["NextShardIterator"].clone();
        }
    }
}

impl Drop for Dynamo {
    fn drop(&mut self) {
        self.server.iter().for_each(JoinHandle::abort);
    }
}

/// The environment that tells a function about tables and queues.
#[must_use]
pub fn function_environment(endpoint: &str, sqs: &crate::sqs::Sqs) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> =
        TABLES.iter().map(|(variable, table)| ((*variable).to_owned(), (*table).to_owned())).collect();
    let mut set = |name: &str, value: String| env.push((name.to_owned(), value));
    set("AWS_ENDPOINT_URL", endpoint.to_owned());
    set("ASN_QUEUE_URL", sqs.queue_url("asn"));
    set("ASN_DLQ_URL", sqs.queue_url("asn-dlq"));
    set("PUSH_QUEUE_URL", sqs.queue_url("push"));
    set("PUSH_DLQ_URL", sqs.queue_url("push-dlq"));
    set("NUMBER_CHANGES_QUEUE_URL", sqs.queue_url("number-changes"));
    set("NUMBER_CHANGES_DLQ_URL", sqs.queue_url("number-changes-dlq"));
    set("PUSH_SECRET_ARN", "push-secret".to_owned());
    set("PUSH_LOCAL_RECEIVERS", "true".to_owned());
    set("CHILD_KEY_SECRET", "a secret of the tests, 32 bytes or more".to_owned());
    set("AUDIT_KEY", "arn:aws:kms:eu-west-2:000000000000:key/audit".to_owned());
    set("AUDIT_BUCKET", "audit".to_owned());
    set("DELIVERY_BACKOFF_SECONDS", "30".to_owned());
    env
}

fn without_streams() -> Vec<Value> {
    let mut tables = table_definitions();
    tables.iter_mut().filter_map(Value::as_object_mut).for_each(|table| drop(table.remove("StreamSpecification")));
    tables
}

fn database(tables: Vec<Value>) -> Database {
    let db = Database::memory().unwrap_or_else(|e| panic!("database: {e}"));
    for table in tables {
        db.create_table(typed(table)).unwrap_or_else(|e| panic!("create table: {e}"));
    }
    db
}

fn typed<T: DeserializeOwned>(request: Value) -> T {
    serde_json::from_value(request).unwrap_or_else(|e| panic!("request: {e}"))
}

fn untyped<T: serde::Serialize>(answer: &T) -> Value {
    serde_json::to_value(answer).unwrap_or_else(|e| panic!("answer: {e}"))
}

/// The tables of `template.yaml`, as `CreateTable` wants them.
fn table_definitions() -> Vec<Value> {
    static DEFINITIONS: LazyLock<Vec<Value>> = LazyLock::new(|| {
        let template = serde_yaml_ng::from_str(include_str!("../../template.yaml"));
        let template = template.unwrap_or_else(|e| panic!("template.yaml: {e}"));
        TABLES.iter().map(|(_, table)| table_definition(&template, table)).collect()
    });
    DEFINITIONS.clone()
}

/// `plans` is the resource `PlansTable`.
fn table_definition(template: &serde_yaml_ng::Value, name: &str) -> Value {
    let id = format!("{}{}Table", name[..1].to_uppercase(), &name[1..]);
    let properties = &template["Resources"][id.as_str()]["Properties"];
    let mut table = json!({"TableName": name, "BillingMode": "PAY_PER_REQUEST"});
    for part in
        ["AttributeDefinitions", "KeySchema", "LocalSecondaryIndexes", "GlobalSecondaryIndexes", "StreamSpecification"]
    {
        if let Some(value) = properties.get(part) {
            table[part] = untyped(value);
        }
    }
    if let Some(stream) = table.get_mut("StreamSpecification") {
        stream["StreamEnabled"] = true.into();
    }
    table
}
