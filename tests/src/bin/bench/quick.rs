//! DynamoDB as a look-up meets it: its few calls over items in memory, answered within microseconds and without a database
//! beneath. What a caller waits for here is its own work and the network's, as with the real service, whose work burns no
//! cycle of the caller's machine. Whatever else is asked is refused.

use crate::junction::read_message;
use flate2::Crc;
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Tables with the names of their keys (`template.yaml`).
const KEYS: [(&str, [&str; 2]); 4] = [
    ("plans", ["child", "plan"]),
    ("accesses", ["child", "id"]),
    ("outbox", ["mark", "at_child_id"]),
    ("limits", ["subject", "span"]),
];

/// Items of a table by both keys.
type Items = HashMap<String, BTreeMap<String, Value>>;
/// Error type of a call that is refused.
type Refusal = &'static str;

/// The running service; it stops when dropped.
pub(crate) struct Quick {
    /// Where it listens.
    pub(crate) url: String,
    store: Arc<Mutex<Store>>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Store(HashMap<String, Items>);

impl Quick {
    /// Starts on a free port of 127.0.0.1 with these items of the table `plans`.
    pub(crate) async fn with_plans(plans: &[Value]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap_or_else(|e| panic!("bind: {e}"));
        let url = listener.local_addr().map_or_else(|e| panic!("address: {e}"), |a| format!("http://{a}"));
        let store: Arc<Mutex<Store>> = Arc::default();
        for plan in plans {
            lock(&store).put("plans", plan, false).unwrap_or_else(|why| panic!("{why}: {plan}"));
        }
        let served = Arc::clone(&store);
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let store = Arc::clone(&served);
                // A connection that breaks is its client's business.
                tokio::spawn(async move { serve(client, &store).await.ok() });
            }
        });
        Self { url, store, server }
    }

    /// All items of a table.
    pub(crate) fn items(&self, table: &str) -> Vec<Value> {
        lock(&self.store)
            .0
            .get(table)
            .into_iter()
            .flat_map(HashMap::values)
            .flat_map(BTreeMap::values)
            .cloned()
            .collect()
    }
}

impl Drop for Quick {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(mut client: TcpStream, store: &Mutex<Store>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut message = Vec::new();
    while read_message(&mut client, &mut message).await? {
        let answer = lock(store).answer(&message);
        let (status, body) = match answer {
            Ok(answer) => ("200 OK", answer.to_string()),
            Err(kind) => ("400 Bad Request", json!({"__type": format!("com.amazonaws#{kind}")}).to_string()),
        };
        let mut sum = Crc::new();
        sum.update(body.as_bytes());
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\nx-amz-crc32: {}\r\ncontent-length: {}\r\n\r\n",
            sum.sum(),
            body.len()
        );
        client.write_all([head, body].concat().as_bytes()).await?;
    }
    Ok(())
}

impl Store {
    /// Answers a whole HTTP request.
    fn answer(&mut self, message: &[u8]) -> Result<Value, Refusal> {
        let text = std::str::from_utf8(message).map_err(|_| "SerializationException")?;
        let (head, body) = text.split_once("\r\n\r\n").ok_or("SerializationException")?;
        let operation = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("x-amz-target").then(|| value.trim().trim_start_matches("DynamoDB_20120810."))
        });
        let request: Value = serde_json::from_str(body).map_err(|_| "SerializationException")?;
        let table = request["TableName"].as_str().unwrap_or_default();
        match operation.unwrap_or_default() {
            "Query" => self.query(table, &request),
            "GetItem" => self.get(table, &request["Key"]),
            "PutItem" => self.put_if(&request, false).map(|()| json!({})),
            "TransactWriteItems" => self.transact(&request),
            _ => Err("UnknownOperationException"),
        }
    }

    /// All items of one partition.
    fn query(&self, table: &str, request: &Value) -> Result<Value, Refusal> {
        let values = request["ExpressionAttributeValues"].as_object().ok_or("ValidationException")?;
        let Some((place, wanted)) = values.iter().next().filter(|_| values.len() == 1) else {
            return Err("ValidationException");
        };
        let [partition, _] = keys(table)?;
        if request["KeyConditionExpression"] != format!("{partition} = {place}") {
            return Err("ValidationException");
        }
        let wanted = wanted["S"].as_str().ok_or("ValidationException")?;
        let items = self.0.get(table).and_then(|items| items.get(wanted));
        let items: Vec<&Value> = items.into_iter().flat_map(BTreeMap::values).collect();
        Ok(json!({"Count": items.len(), "ScannedCount": items.len(), "Items": items}))
    }

    fn get(&self, table: &str, key: &Value) -> Result<Value, Refusal> {
        let [partition, sort] = place(table, key)?;
        let item = self.0.get(table).and_then(|items| items.get(&partition)?.get(&sort));
        Ok(item.map_or_else(|| json!({}), |item| json!({"Item": item})))
    }

    /// Puts, all or none.
    fn transact(&mut self, request: &Value) -> Result<Value, Refusal> {
        let puts = request["TransactItems"].as_array().ok_or("ValidationException")?;
        for dry_run in [true, false] {
            puts.iter().try_for_each(|action| self.put_if(&action["Put"], dry_run))?;
        }
        Ok(json!({}))
    }

    /// Puts an item; under a condition, which can only be that there is none yet.
    fn put_if(&mut self, put: &Value, dry_run: bool) -> Result<(), Refusal> {
        let table = put["TableName"].as_str().unwrap_or_default();
        let [partition, sort] = place(table, &put["Item"])?;
        let is_there =
            || self.0.get(table).is_some_and(|items| items.get(&partition).is_some_and(|p| p.contains_key(&sort)));
        match put.get("ConditionExpression").and_then(Value::as_str) {
            Some(text) if !text.starts_with("attribute_not_exists(") => return Err("ValidationException"),
            Some(_) if is_there() => return Err("ConditionalCheckFailedException"),
            _ => {}
        }
        self.put(table, &put["Item"], dry_run)
    }

    fn put(&mut self, table: &str, item: &Value, dry_run: bool) -> Result<(), Refusal> {
        let [partition, sort] = place(table, item)?;
        if !dry_run {
            self.0.entry(table.to_owned()).or_default().entry(partition).or_default().insert(sort, item.clone());
        }
        Ok(())
    }
}

fn keys(table: &str) -> Result<[&'static str; 2], Refusal> {
    KEYS.iter().find(|(name, _)| *name == table).map(|(_, keys)| *keys).ok_or("ResourceNotFoundException")
}

/// The two keys of an item.
fn place(table: &str, item: &Value) -> Result<[String; 2], Refusal> {
    let none = Map::new();
    let item = item.as_object().unwrap_or(&none);
    let [partition, sort] = keys(table)?.map(|name| item.get(name)?.as_object()?.values().next()?.as_str());
    match (partition, sort) {
        (Some(partition), Some(sort)) => Ok([partition.to_owned(), sort.to_owned()]),
        _ => Err("ValidationException"),
    }
}
