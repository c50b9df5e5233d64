//! What the roles in `template.yaml` must allow, by what their functions were seen to call.

use std::collections::{BTreeMap, BTreeSet};

use cpis_tests::permissions::Permission;

use super::model::{self, Template, attribute_of, brief, granted, members, text};

/// Resource, as `template.yaml` names it, and IAM action.
type Allowed = BTreeSet<(String, String)>;

const KEY: &str = "DataKey.Arn";

/// What was observed of all functions.
pub(crate) struct Observed {
    pub(crate) calls: BTreeMap<String, BTreeSet<Permission>>,
    /// The environment that they had: variables that name tables, queues and the like.
    pub(crate) environment: Vec<(String, String)>,
}

/// What a role must allow its function: what it was seen to call, and what follows from the template.
fn needed(template: &Template, function: &model::Function<'_>, seen: &Observed) -> Result<Allowed, String> {
    let mut needed = Allowed::new();
    let calls = seen.calls.get(function.name).ok_or("is run by nothing here")?;
    for (action, on) in calls {
        let resource = resource(function, &seen.environment, action, on)
            .ok_or_else(|| format!("calls {action} on {on}, which its environment does not name"))?;
        needed.insert((resource, action.clone()));
    }
    needed.extend(of_events(function));
    needed.extend(of_the_key(&needed));
    let log = format!("{}.Arn", text(&function.properties["LoggingConfig"]["LogGroup"]["Ref"]));
    needed.extend(["logs:CreateLogStream", "logs:PutLogEvents"].map(|action| (log.clone(), action.to_owned())));
    if template.0["Globals"]["Function"]["Tracing"] == "Active" {
        needed.extend(["xray:PutTraceSegments", "xray:PutTelemetryRecords"].map(|a| ("*".to_owned(), a.to_owned())));
    }
    Ok(needed)
}

/// How the template names what a function called: the environment's variable of that kind has the same name in the tests.
fn resource(
    function: &model::Function<'_>,
    environment: &[(String, String)],
    action: &str,
    on: &str,
) -> Option<String> {
    let kinds: &[&str] = match action.split(':').next()? {
        "dynamodb" => &["_TABLE"],
        "sqs" => &["_QUEUE_URL", "_DLQ_URL"],
        "kms" => &["_KEY"],
        "secretsmanager" => &["_SECRET_ARN"],
        "s3" => &["_BUCKET"],
        _ => return None,
    };
    let (name, part) = on.split_once('/').map_or((on, None), |(name, part)| (name, Some(part)));
    let named = |(variable, local): &&(String, String)| {
        kinds.iter().any(|kind| variable.ends_with(kind)) && local.rsplit('/').next() == Some(name)
    };
    let (variable, _) = environment.iter().find(named)?;
    let given = &function.properties["Environment"]["Variables"][variable];
    let id = (!given.is_null()).then(|| brief(given))?;
    Some(match (action.split(':').next()?, part) {
        ("secretsmanager" | "kms", _) => id,
        ("s3", Some(part)) => format!("${{{id}.Arn}}/{part}/*"),
        ("s3", None) => format!("${{{id}.Arn}}/*"),
        (_, Some(index)) => format!("${{{id}.Arn}}/{index}"),
        (_, None) => format!("{id}.Arn"),
    })
}

/// What Lambda does in the function's name for its event sources ("Using Lambda with DynamoDB", "… with Amazon SQS").
fn of_events(function: &model::Function<'_>) -> Allowed {
    let mut needed = Allowed::new();
    for (_, event) in members(&function.properties["Events"]) {
        let source = &event["Properties"];
        match text(&event["Type"]) {
            "DynamoDB" => needed.extend(
                ["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"]
                    .map(|action| (brief(&source["Stream"]), format!("dynamodb:{action}"))),
            ),
            "SQS" => needed.extend(
                ["ReceiveMessage", "DeleteMessage", "GetQueueAttributes"]
                    .map(|action| (brief(&source["Queue"]), format!("sqs:{action}"))),
            ),
            _ => {}
        }
        if let Some(queue) = attribute_of(&source["DestinationConfig"]["OnFailure"]["Destination"], "Arn") {
            needed.insert((format!("{queue}.Arn"), "sqs:SendMessage".to_owned()));
        }
    }
    needed
}

/// Whoever reads or writes what our key encrypts needs it to decrypt; whoever sends to a queue makes data keys, too ("Encryption
/// at rest" of DynamoDB, SQS and Secrets Manager).
fn of_the_key(needed: &Allowed) -> Allowed {
    let any = |prefix: &str| needed.iter().any(|(_, action)| action.starts_with(prefix));
    let decrypt = (any("dynamodb:") || any("sqs:") || any("secretsmanager:")).then_some("kms:Decrypt");
    let generate = any("sqs:SendMessage").then_some("kms:GenerateDataKey");
    decrypt.into_iter().chain(generate).map(|action| (KEY.to_owned(), action.to_owned())).collect()
}

/// Where the roles of the template differ from what their functions need.
pub(crate) fn differences(template: &Template, seen: &Observed) -> Vec<String> {
    let mut found = vec![];
    for function in template.functions() {
        let name = function.name;
        let role = attribute_of(&function.properties["Role"], "Arn").unwrap_or_default();
        let allowed: Allowed = granted(template, role).collect();
        match needed(template, &function, seen) {
            Err(why) => found.push(format!("{name} {why}")),
            Ok(needed) => {
                found.extend(needed.difference(&allowed).map(|(r, a)| format!("{name} needs {a} on {r}")));
                found.extend(allowed.difference(&needed).map(|(r, a)| format!("{name} never needed {a} on {r}")));
            }
        }
    }
    found
}
