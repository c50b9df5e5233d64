//! Events as AWS sends them to a function.

use crate::{sqs::Message, world};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

/// Builds one API Gateway REST proxy event.
#[derive(Debug, Clone)]
pub struct Request {
    method: &'static str,
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    caller: Option<Value>,
    standing: Option<Value>,
}

impl Request {
    /// A request of this method to this path, without the stage.
    #[must_use]
    pub fn new(method: &'static str, path: &str) -> Self {
        Self { method, path: path.to_owned(), query: vec![], headers: vec![], body: None, caller: None, standing: None }
    }

    /// Its method.
    #[must_use]
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// Its path, without the stage.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body and its content type. `application/gzip` travels as Base64, as the API's binary media type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("Content-Type", content_type)
    }

    /// Sets what the authorizer passed on as `caller`, and as `standing` that of somebody who takes part: an open authority, or
    /// an organisation with an emergency department and a general practice.
    #[must_use]
    pub fn caller(mut self, caller: &Value) -> Self {
        self.caller = Some(caller.clone());
        let open = if caller["authority"].is_string() {
            json!({"authority": "open"})
        } else {
            json!({"health": {"setting": world::setting(&caller["organisation"])}})
        };
        self.standing(&open)
    }

    /// Sets what the authorizer passed on as `standing`.
    #[must_use]
    pub fn standing(mut self, standing: &Value) -> Self {
        self.standing = Some(standing.clone());
        self
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> Value {
        let one = |pairs: &[(String, String)]| -> Map<String, Value> {
            pairs.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect()
        };
        let many = |pairs: &[(String, String)]| -> Map<String, Value> {
            let mut map = Map::new();
            for (name, value) in pairs {
                let values = map.entry(name.clone()).or_insert_with(|| json!([]));
                values.as_array_mut().into_iter().for_each(|values| values.push(value.clone().into()));
            }
            map
        };
        let binary = self
            .headers
            .iter()
            .any(|(name, value)| name.eq_ignore_ascii_case("content-type") && value == "application/gzip");
        let body = self
            .body
            .as_ref()
            .map(|body| if binary { STANDARD.encode(body) } else { String::from_utf8_lossy(body).into_owned() });
        let mut authorizer = json!({});
        for (name, value) in [("caller", &self.caller), ("standing", &self.standing)] {
            if let Some(value) = value {
                authorizer["principalId"] = "test".into();
                authorizer[name] = value.to_string().into();
            }
        }
        json!({
            "resource": "/{proxy+}",
            "path": self.path,
            "httpMethod": self.method,
            "headers": one(&self.headers),
            "multiValueHeaders": many(&self.headers),
            "queryStringParameters": one(&self.query),
            "multiValueQueryStringParameters": many(&self.query),
            "pathParameters": path_parameters(&self.path),
            "stageVariables": null,
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "local",
                "stage": "v1",
                "protocol": "HTTP/1.1",
                "requestId": "c6af9ac6-7b61-11e6-9a41-93e8deadbeef",
                "requestTime": "01/Jan/2026:12:00:00 +0000",
                "requestTimeEpoch": 1_767_268_800_000_u64,
                "httpMethod": self.method,
                "path": format!("/v1{}", self.path),
                "resourcePath": "/{proxy+}",
                "identity": {"sourceIp": "127.0.0.1", "userAgent": "tests"},
                "authorizer": authorizer,
            },
            "body": body,
            "isBase64Encoded": binary,
        })
    }
}

/// What API Gateway asks the authorizer: may the holder of this token call this method of the stage `v1`?
#[must_use]
pub fn authorizer_event(token: &str, method: &str, path: &str) -> Value {
    let authorization = format!("Bearer {token}");
    json!({
        "type": "REQUEST",
        "methodArn": method_arn(method, path),
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": {"Authorization": authorization},
        "multiValueHeaders": {"Authorization": [authorization]},
        "queryStringParameters": {},
        "multiValueQueryStringParameters": {},
        "pathParameters": path_parameters(path),
        "stageVariables": {},
        "requestContext": {"accountId": "000000000000", "apiId": "local", "stage": "v1", "httpMethod": method, "path": format!("/v1{path}")},
    })
}

/// What a policy calls a method of the stage `v1`.
#[must_use]
pub fn method_arn(method: &str, path: &str) -> String {
    format!("arn:aws:execute-api:eu-west-2:000000000000:local/v1/{method}{path}")
}

/// The parameters that the API's routes name: `gss`, `sequence` or `id`.
fn path_parameters(path: &str) -> Value {
    let parts: Vec<&str> = path.split('/').collect();
    let mut parameters = json!({});
    if let ["", "cpis", "authorities", gss, rest @ ..] = parts.as_slice() {
        parameters["gss"] = (*gss).into();
        match rest {
            ["uploads", sequence] => parameters["sequence"] = (*sequence).into(),
            ["notifications", id, ..] => parameters["id"] = (*id).into(),
            _ => {}
        }
    }
    parameters
}

/// The event of a batch of messages from the queue of this name.
#[must_use]
pub fn sqs_event(queue: &str, messages: &[Message]) -> Value {
    json!({"Records": messages.iter().map(|m| m.record(queue)).collect::<Vec<_>>()})
}

/// The event of stream records, such as [`crate::dynamo::Dynamo::stream_records`] returns, that pass the relay's filter:
/// an INSERT with something owed.
#[must_use]
pub fn stream_event(records: &[Value]) -> Value {
    let owed: Vec<&Value> = records.iter().filter(|r| r["eventName"] == "INSERT").collect();
    json!({"Records": owed})
}

/// The stream record of an item's first write.
#[must_use]
pub fn insert_record(number: usize, keys: &Value, item: &Value) -> Value {
    json!({
        "eventID": format!("{number:032x}"),
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-2",
        "dynamodb": {
            "ApproximateCreationDateTime": 1_767_268_800.0,
            "Keys": keys,
            "NewImage": item,
            "SequenceNumber": format!("{:021}", number + 1),
            "SizeBytes": item.to_string().len(),
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": "arn:aws:dynamodb:eu-west-2:000000000000:table/outbox/stream/2026-01-01T00:00:00.000",
    })
}

/// The event of the schedule that starts a sweep.
#[must_use]
pub fn schedule_event() -> Value {
    json!({
        "version": "0",
        "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa",
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": "000000000000",
        "time": "2026-01-01T12:00:00Z",
        "region": "eu-west-2",
        "resources": ["arn:aws:events:eu-west-2:000000000000:rule/sweep"],
        "detail": {},
    })
}

/// The message ids that a batch answer asks to have again; all of them, if there was no answer.
#[must_use]
pub fn failed_ids(answer: Option<&Value>, all: &[Message]) -> Vec<String> {
    match answer {
        None => all.iter().map(|m| m.id.clone()).collect(),
        Some(answer) => answer["batchItemFailures"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|f| f["itemIdentifier"].as_str().map(str::to_owned))
            .collect(),
    }
}

/// The stream's records of the same child looked at in three nights, made from one of an access: who does so is found, once it is known
/// who else looked.
#[must_use]
pub fn nights(record: &Value) -> Vec<Value> {
    let night = |n: u32| {
        let mut record = record.clone();
        let image = &mut record["dynamodb"]["NewImage"];
        image["at"]["S"] = format!("2026-11-0{n}T02:00:00.000Z").into();
        image["id"]["S"] = format!("0d1f7c1e-51c4-4d38-9f0b-27f9d7a4d00{n}").into();
        record
    };
    (1..=3).map(night).collect()
}
