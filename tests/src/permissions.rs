//! What a call needs permission for: the IAM action, and on what. Service Authorization Reference (AWS), "Actions, resources, and
//! condition keys" of Amazon DynamoDB, Amazon SQS, AWS KMS, AWS Secrets Manager, Amazon S3, AWS CloudFormation and Amazon CloudWatch.

use serde_json::Value;

/// An IAM action such as `dynamodb:Query`, and what it is called on: the name of a table, `table/index/name`, of a queue, of a
/// bucket with the first part of the object's name, of a key or of a secret.
pub type Permission = (String, String);

/// The permissions that one call needs. `target` is its `X-Amz-Target`; a call of S3 has none, but a method, a path and a query, one of
/// CloudFormation a form, and one of CloudWatch a path that names the operation.
///
/// A call that is not known here needs `unknown:…`, which no role has.
#[must_use]
pub fn needed(method: &str, (path, query): (&str, &str), target: &str, body: &[u8]) -> Vec<Permission> {
    let request: Value = serde_json::from_slice(body).unwrap_or_default();
    let (service, operation) = target.rsplit_once('.').unwrap_or_default();
    match service {
        "DynamoDB_20120810" => of_tables(operation, &request),
        "AmazonSQS" => {
            // One of a batch needs no other permission than one alone.
            let action = format!("sqs:{}", operation.trim_end_matches("Batch"));
            // A move is known by the queue that it comes from, and one that goes on by a handle alone.
            let queue = last_part(text(&request["QueueUrl"]));
            let source = text(&request["SourceArn"]).rsplit(':').next().unwrap_or_default();
            vec![(action, if queue.is_empty() { source.to_owned() } else { queue })]
        }
        "TrentService" => vec![(format!("kms:{operation}"), last_part(text(&request["KeyId"])))],
        "secretsmanager" => vec![(format!("secretsmanager:{operation}"), last_part(text(&request["SecretId"])))],
        "" if path.starts_with("/service/") => vec![(format!("cloudwatch:{}", last_part(path)), String::new())],
        "" if body.starts_with(b"Action=DescribeStacks&") => {
            vec![("cloudformation:DescribeStacks".to_owned(), String::new())]
        }
        "" if query.contains("list-type=") => {
            vec![("s3:ListBucket".to_owned(), path.trim_matches('/').to_owned())]
        }
        "" => {
            // `bucket/heads/2026/…` is named `bucket/heads`.
            let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
            let on = parts[..parts.len().min(2)].join("/");
            let verb = match method {
                "PUT" => "Put",
                "DELETE" => "Delete",
                _ => "Get",
            };
            vec![(format!("s3:{verb}Object"), on)]
        }
        _ => vec![(format!("unknown:{target}"), String::new())],
    }
}

fn of_tables(operation: &str, request: &Value) -> Vec<Permission> {
    let plain = |action: &str, table: &str| (format!("dynamodb:{action}"), table.to_owned());
    match operation {
        "BatchGetItem" | "BatchWriteItem" => {
            members(&request["RequestItems"]).map(|(table, _)| plain(operation, table)).collect()
        }
        "TransactWriteItems" | "TransactGetItems" => {
            let parts = list(&request["TransactItems"]).flat_map(members);
            parts.map(|(kind, part)| plain(in_transaction(kind), text(&part["TableName"]))).collect()
        }
        "ExecuteStatement" => vec![of_statement(request)],
        "BatchExecuteStatement" => list(&request["Statements"]).map(of_statement).collect(),
        "ExecuteTransaction" => list(&request["TransactStatements"]).map(of_statement).collect(),
        _ => {
            let table = text(&request["TableName"]);
            let on = request["IndexName"].as_str().map_or(table.to_owned(), |index| format!("{table}/index/{index}"));
            vec![plain(operation, &on)]
        }
    }
}

fn in_transaction(kind: &str) -> &'static str {
    match kind {
        "Put" => "PutItem",
        "Update" => "UpdateItem",
        "Delete" => "DeleteItem",
        "ConditionCheck" => "ConditionCheckItem",
        "Get" => "GetItem",
        _ => "unknown",
    }
}

/// `UPDATE "accesses" …` is `dynamodb:PartiQLUpdate` on `accesses`; `SELECT * FROM "t"."i" …` is on `t/index/i`.
fn of_statement(request: &Value) -> Permission {
    let statement = text(&request["Statement"]);
    let verb = statement.split_whitespace().next().unwrap_or_default().to_ascii_lowercase();
    let action = match verb.as_str() {
        "select" => "Select",
        "insert" => "Insert",
        "update" => "Update",
        "delete" => "Delete",
        _ => "unknown",
    };
    let named: Vec<_> = statement.split('"').skip(1).step_by(2).collect();
    let on = match named[..] {
        [table, index, ..] if statement.contains(&format!("\"{table}\".\"{index}\"")) => {
            format!("{table}/index/{index}")
        }
        [table, ..] => table.to_owned(),
        [] => String::new(),
    };
    (format!("dynamodb:PartiQL{action}"), on)
}

fn last_part(name: &str) -> String {
    name.rsplit('/').next().unwrap_or_default().to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}
