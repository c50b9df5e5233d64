//! The network and AWS: what the SDKs send is answered from tables and queues in memory, or goes wrong on the way.

use std::{future::pending, sync::Arc, time::Duration};

use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use cpis_tests::events::insert_record;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{faults::Fault, world::World};

/// The SDKs' configuration, as the functions have it, over the simulated wire.
pub(crate) fn config(world: &Arc<World>) -> aws_config::SdkConfig {
    let credentials = Credentials::new("simulated", "simulated", None, None, "simulated");
    let connector = SharedHttpConnector::new(Wire(Arc::clone(world)));
    let client = http_client_fn(move |_, _| connector.clone());
    // A region of its own: the SDK shares what it knows of failures among all clients of a region.
    let region = format!("simulated-{}-{}", world.seed, world.run);
    cpis::aws::config::simulated(client, SharedCredentialsProvider::new(credentials), &region)
}

struct Wire(Arc<World>);

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").unwrap_or_default().to_owned();
        let body = request.body().bytes().unwrap_or_default().to_vec();
        let world = Arc::clone(&self.0);
        HttpConnectorFuture::new(async move {
            let body = String::from_utf8(body).expect("JSON");
            answer(&world, &target, body).await
        })
    }
}

type Answer = Result<HttpResponse, ConnectorError>;

async fn answer(world: &World, target: &str, mut body: String) -> Answer {
    let call = Call::of(target, &body);
    let fault = world.fault_of(&call.name);
    let (there, back) = world.journey(fault == Some(Fault::Delay));
    sleep(there).await;
    world.note(|| format!("    {}{}", call.name, fault.map(|f| format!(": {f:?}")).unwrap_or_default()));
    match fault {
        Some(Fault::Throttle) => return call.throttled(),
        Some(Fault::ErrorBefore | Fault::Outage) => return call.failed(),
        Some(Fault::TimeoutBefore) => pending().await,
        Some(Fault::Unreachable) => return Err(ConnectorError::io("no route".into())),
        Some(Fault::Conflict) => return conflict(&body),
        Some(Fault::ShortPage) => body = shortened(&body),
        _ => {}
    }
    let (status, answer) = match fault {
        Some(Fault::PartialBatch | Fault::WronglyRefused) => {
            call.partly(world, &body, fault == Some(Fault::PartialBatch))
        }
        Some(Fault::MixedUpAnswer) => call.mixed_up(world, &body),
        _ => call.carry_out(world, &body),
    };
    sleep(back).await;
    match fault {
        Some(Fault::ErrorAfter) => call.failed(),
        Some(Fault::TimeoutAfter) => pending().await,
        Some(Fault::Malformed) => response(200, answer[..answer.len() / 2].to_owned() + "\u{0}"),
        _ => response(status, answer),
    }
}

fn response(status: u16, body: String) -> Answer {
    Ok(HttpResponse::new(status.try_into().expect("a status"), body.into()))
}

fn conflict(body: &str) -> Answer {
    let request: Value = serde_json::from_str(body).expect("JSON");
    let actions = request["TransactItems"].as_array().map_or(0, Vec::len);
    let mut reasons = vec![json!({"Code": "None"}); actions];
    reasons[0] = json!({"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"});
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    response(400, json!({"__type": kind, "Message": "cancelled", "CancellationReasons": reasons}).to_string())
}

fn shortened(body: &str) -> String {
    let mut request: Value = serde_json::from_str(body).expect("JSON");
    request["Limit"] = 1.into();
    request.to_string()
}

/// One call.
struct Call {
    is_sqs: bool,
    operation: String,
    /// `service.operation table`, or the queue's name in place of the table's.
    name: String,
}

impl Call {
    fn of(target: &str, body: &str) -> Self {
        let (service, operation) = target.split_once('.').unwrap_or_default();
        let is_sqs = service == "AmazonSQS";
        let request: Value = serde_json::from_str(body).expect("JSON");
        let what = if is_sqs {
            request["QueueUrl"].as_str().and_then(|url| url.rsplit('/').next()).unwrap_or_default()
        } else {
            table(operation, &request)
        };
        let name = format!("{}.{operation} {what}", if is_sqs { "SQS" } else { "DynamoDB" });
        Self { is_sqs, operation: operation.to_owned(), name }
    }

    fn throttled(&self) -> Answer {
        let kind = if self.is_sqs {
            "com.amazonaws.sqs#RequestThrottled"
        } else {
            "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"
        };
        response(400, json!({"__type": kind, "message": "slow down"}).to_string())
    }

    fn failed(&self) -> Answer {
        let kind = if self.is_sqs {
            "com.amazonaws.sqs#InternalError"
        } else {
            "com.amazonaws.dynamodb.v20120810#InternalServerError"
        };
        response(500, json!({"__type": kind, "message": "try again"}).to_string())
    }

    /// Does what the call asks for.
    fn carry_out(&self, world: &World, body: &str) -> (u16, String) {
        let request: Value = serde_json::from_str(body).expect("JSON");
        if self.is_sqs {
            return match world.queues().act(&self.operation, &request) {
                Ok(answer) => (200, answer.to_string()),
                Err((code, why)) => {
                    (400, json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": why}).to_string())
                }
            };
        }
        let answer = world.tables.call(&self.operation, body);
        if answer.0 == 200 {
            world.stream(owed(&self.operation, &request));
        }
        answer
    }

    /// Does a batch, and answers with a list that does not fit it.
    fn mixed_up(&self, world: &World, body: &str) -> (u16, String) {
        let (status, answer) = self.carry_out(world, body);
        let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
        match answer["Messages"].as_array_mut() {
            // A message that was received comes twice.
            Some(messages) => messages.extend_from_within(..messages.len().min(1)),
            None => {
                if let Some(successful) = answer["Successful"].as_array_mut() {
                    mix_up(world, successful, "Id");
                }
            }
        }
        (status, answer.to_string())
    }

    /// Does part of a batch and says so; or, where `honest` is not, does all and says that it was part.
    fn partly(&self, world: &World, body: &str, honest: bool) -> (u16, String) {
        let mut request: Value = serde_json::from_str(body).expect("JSON");
        let list = if self.is_sqs { &mut request["Entries"] } else { &mut request["RequestItems"]["outbox"] };
        let entries = list.as_array().cloned().unwrap_or_default();
        let refused: Vec<bool> = entries.iter().map(|_| world.heads()).collect();
        let done = |refused: &bool| !honest || !refused;
        let kept: Vec<Value> = entries.iter().zip(&refused).filter(|(_, r)| done(r)).map(|(e, _)| e.clone()).collect();
        let mut answer = json!({"Successful": [], "Failed": []});
        if !kept.is_empty() {
            *list = kept.into();
            let (status, text) = self.carry_out(world, &request.to_string());
            if status != 200 {
                return (status, text);
            }
            answer = serde_json::from_str(&text).expect("JSON");
        }
        if !self.is_sqs {
            let left: Vec<_> = entries.iter().zip(&refused).filter(|(_, r)| **r).map(|(entry, _)| entry).collect();
            let left = if left.is_empty() { json!({}) } else { json!({"outbox": left}) };
            return (200, json!({"UnprocessedItems": left}).to_string());
        }
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for (entry, refused) in entries.iter().zip(&refused) {
            if *refused {
                failed.push(json!({"Id": entry["Id"], "Code": "InternalError", "SenderFault": false}));
            } else {
                let all = answer["Successful"].as_array().into_iter().flatten();
                successful.extend(all.filter(|a| a["Id"] == entry["Id"]).cloned());
            }
        }
        (200, json!({"Successful": successful, "Failed": failed}).to_string())
    }
}

/// Takes the answer for one entry of a batch away, says it of nobody's entry, or says another's twice in its place.
fn mix_up(world: &World, answers: &mut Vec<Value>, id: &str) {
    if answers.is_empty() {
        return;
    }
    let last = answers.len() as u64 - 1;
    let place = || usize::try_from(world.between(0, last)).expect("an index");
    let (one, other) = (place(), place());
    match world.between(0, 2) {
        0 => drop(answers.remove(one)),
        1 => answers[one][id] = "4711".into(),
        _ => answers[one] = answers[other].clone(),
    }
}

/// The table that a call is about; of a transaction its first.
fn table<'a>(operation: &str, request: &'a Value) -> &'a str {
    let found = match operation {
        "TransactWriteItems" => {
            let first = &request["TransactItems"][0];
            let tables = ["Put", "Update", "Delete"].map(|kind| first[kind]["TableName"].as_str());
            // Whichever way round: it is the access that is recorded.
            let all = request["TransactItems"].to_string();
            if all.contains("\"accesses\"") { Some("accesses") } else { tables.into_iter().flatten().next() }
        }
        "BatchGetItem" | "BatchWriteItem" => {
            request["RequestItems"].as_object().and_then(|t| t.keys().next()).map(String::as_str)
        }
        _ => request["TableName"].as_str(),
    };
    found.unwrap_or_default()
}

/// What the stream of the outbox brings of a write.
fn owed(operation: &str, request: &Value) -> Vec<Value> {
    let puts: Vec<&Value> = match operation {
        "TransactWriteItems" => request["TransactItems"].as_array().into_iter().flatten().map(|a| &a["Put"]).collect(),
        "PutItem" => vec![request],
        _ => vec![],
    };
    let items = puts.into_iter().filter(|put| put["TableName"] == "outbox").map(|put| put["Item"].clone());
    items.collect()
}

/// A record of the outbox's stream.
pub(crate) fn record(number: usize, item: &Value) -> Value {
    insert_record(number, &cpis_tests::world::outbox_key(item), item)
}

/// How long a call is on its way.
pub(crate) fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}
