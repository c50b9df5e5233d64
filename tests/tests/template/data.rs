//! Tables, the stream of accesses, keys, logs, parameters, outputs and what each function is given.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::model::{Findings, Template, attribute_of, brief, items, members, number, retained, text};

/// Table, key, indexes. An attribute is a string unless it says `:N`.
const TABLES: [(&str, &str, &[&str]); 8] = [
    (
        "AccessesTable",
        "child id",
        &[
            "local by-time: child at",
            "by-organisation: organisationCode at",
            "by-person: person at",
            "unaudited: ledger at",
        ],
    ),
    ("AuditTable", "shard number:N", &[]),
    ("DirectoryTable", "kind code", &[]),
    ("LimitsTable", "subject span", &[]),
    (
        "MailboxTable",
        "la id",
        &[
            "local by-state: la state_at",
            "local by-time: la at",
            "pushes: push push_at (in part)",
            "wakes: wake wake_at (in part)",
        ],
    ),
    ("OutboxTable", "mark at_child_id", &[]),
    ("PlansTable", "child plan", &["by-authority: la child"]),
    ("UploadsTable", "la sequence:N", &[]),
];

/// Environment variables and what they refer to.
type Variables = &'static [(&'static str, &'static str)];

/// Function, time limit in seconds, environment.
const FUNCTIONS: [(&str, i64, Variables); 13] = [
    (
        "asn-delivery",
        20,
        &[
            ("ASN_DLQ_URL", "AsnDeadLetterQueue"),
            ("ASN_QUEUE_URL", "AsnQueue"),
            ("DELIVERY_BACKOFF_SECONDS", "DeliveryBackoffSeconds"),
            ("DIRECTORY_TABLE", "DirectoryTable"),
            ("MAILBOX_TABLE", "MailboxTable"),
            ("PUSH_QUEUE_URL", "PushQueue"),
        ],
    ),
    (
        "asn-mailbox",
        10,
        &[
            ("ACCESSES_TABLE", "AccessesTable"),
            ("AUDIT_TABLE", "AuditTable"),
            ("DIRECTORY_TABLE", "DirectoryTable"),
            ("MAILBOX_TABLE", "MailboxTable"),
        ],
    ),
    (
        "asn-push",
        30,
        &[
            ("DELIVERY_BACKOFF_SECONDS", "DeliveryBackoffSeconds"),
            ("DIRECTORY_TABLE", "DirectoryTable"),
            ("MAILBOX_TABLE", "MailboxTable"),
            ("MESH_MAILBOX", "MeshMailbox"),
            ("MESH_URL", "MeshUrl"),
            ("MESH_WORKFLOW_ID", "MeshWorkflowId"),
            ("PUSH_DLQ_URL", "PushDeadLetterQueue"),
            ("PUSH_LOCAL_RECEIVERS", "LocalReceivers"),
            ("PUSH_QUEUE_URL", "PushQueue"),
            ("PUSH_SECRET_ARN", "PushSecret"),
        ],
    ),
    ("asn-relay", 30, &[("ASN_QUEUE_URL", "AsnQueue"), ("OUTBOX_TABLE", "OutboxTable")]),
    ("asn-watch", 30, &[("DIRECTORY_TABLE", "DirectoryTable"), ("MAILBOX_TABLE", "MailboxTable")]),
    (
        "audit-ledger",
        30,
        &[
            ("ACCESSES_TABLE", "AccessesTable"),
            ("AUDIT_BUCKET", "AuditBucket"),
            ("AUDIT_KEY", "AuditKey.Arn"),
            ("AUDIT_TABLE", "AuditTable"),
            ("LIMITS_TABLE", "LimitsTable"),
        ],
    ),
    (
        "audit-search",
        20,
        &[
            ("ACCESSES_TABLE", "AccessesTable"),
            ("AUDIT_TABLE", "AuditTable"),
            ("CHILD_KEY_SECRET", "{{resolve:secretsmanager:${ChildKeySecret}}}"),
        ],
    ),
    (
        "authorizer",
        5,
        &[
            ("DIRECTORY_TABLE", "DirectoryTable"),
            ("JWKS_URL", "JwksUrl"),
            ("TOKEN_AUDIENCE", "TokenAudience"),
            ("TOKEN_ISSUER", "TokenIssuer"),
        ],
    ),
    (
        "flag-lookup",
        5,
        &[
            ("ACCESSES_TABLE", "AccessesTable"),
            ("CHILD_KEY_SECRET", "{{resolve:secretsmanager:${ChildKeySecret}}}"),
            ("LIMITS_TABLE", "LimitsTable"),
            ("OUTBOX_TABLE", "OutboxTable"),
            ("PLANS_TABLE", "PlansTable"),
        ],
    ),
    (
        "notices",
        120,
        &[
            ("CHILD_KEY_SECRET", "{{resolve:secretsmanager:${ChildKeySecret}}}"),
            ("DELIVERY_BACKOFF_SECONDS", "DeliveryBackoffSeconds"),
            ("DIRECTORY_TABLE", "DirectoryTable"),
            ("NUMBER_CHANGES_DLQ_URL", "NumberChangesDeadLetterQueue"),
            ("NUMBER_CHANGES_QUEUE_URL", "NumberChangesQueue"),
            ("OUTBOX_TABLE", "OutboxTable"),
            ("PLANS_TABLE", "PlansTable"),
            ("UPLOADS_TABLE", "UploadsTable"),
        ],
    ),
    ("plan-reconcile", 10, &[("PLANS_TABLE", "PlansTable"), ("UPLOADS_TABLE", "UploadsTable")]),
    (
        "plan-upload",
        29,
        &[
            ("AUDIT_TABLE", "AuditTable"),
            ("CHILD_KEY_SECRET", "{{resolve:secretsmanager:${ChildKeySecret}}}"),
            ("DIRECTORY_TABLE", "DirectoryTable"),
            ("PLANS_TABLE", "PlansTable"),
            ("UPLOADS_TABLE", "UploadsTable"),
        ],
    ),
    ("service-status", 5, &[("DIRECTORY_TABLE", "DirectoryTable")]),
];

const OUTPUTS: [&str; 17] = [
    "ApiUrl",
    "PlansTable",
    "AccessesTable",
    "UploadsTable",
    "MailboxTable",
    "DirectoryTable",
    "LimitsTable",
    "AuditTable",
    "AuditBucket",
    "AuditKey",
    "AsnQueueUrl",
    "AsnDlqUrl",
    "PushQueueUrl",
    "PushDlqUrl",
    "PushSecretArn",
    "NumberChangesQueueUrl",
    "NumberChangesDlqUrl",
];

/// Tables have their keys and indexes, and nothing in them can be read, lost or dropped by accident.
pub(crate) fn tables(template: &Template, findings: &mut Findings) {
    let shapes: Vec<_> =
        template.of_type("AWS::DynamoDB::Table").into_iter().map(|(id, table)| shape(id, table)).collect();
    let wanted = TABLES
        .map(|(id, key, indexes)| (id.to_owned(), key.to_owned(), indexes.iter().map(|i| (*i).to_owned()).collect()));
    findings.same("tables", shapes, wanted.to_vec());
    for (id, table) in template.of_type("AWS::DynamoDB::Table") {
        let property = |pointer| template.property(id, pointer);
        retained(template, id, findings);
        findings.expect(property("BillingMode") == "PAY_PER_REQUEST", format!("{id} is not on demand"));
        findings
            .expect(property("DeletionProtectionEnabled") == true, format!("{id} is not protected against deletion"));
        let restorable = property("PointInTimeRecoverySpecification/PointInTimeRecoveryEnabled") == true;
        findings.expect(restorable, format!("{id} has no point-in-time recovery"));
        let encryption =
            json!({"SSEEnabled": true, "SSEType": "KMS", "KMSMasterKeyId": {"Fn::GetAtt": ["DataKey", "Arn"]}});
        findings.same(&format!("{id} encryption"), property("SSESpecification"), &encryption);
        let defined: BTreeSet<_> =
            items(property("AttributeDefinitions")).iter().map(|a| text(&a["AttributeName"])).collect();
        let used: BTreeSet<_> = key_schemas(&table["Properties"])
            .flat_map(|s| items(s).into_iter().map(|k| text(&k["AttributeName"])))
            .collect();
        findings.same(&format!("{id} attributes"), defined, used);
    }
}

fn indexes(properties: &Value) -> impl Iterator<Item = (&str, &Value)> {
    [("local ", "LocalSecondaryIndexes"), ("", "GlobalSecondaryIndexes")]
        .into_iter()
        .flat_map(move |(kind, list)| items(&properties[list]).into_iter().map(move |index| (kind, index)))
}

fn key_schemas(properties: &Value) -> impl Iterator<Item = &Value> {
    std::iter::once(&properties["KeySchema"]).chain(indexes(properties).map(|(_, index)| &index["KeySchema"]))
}

fn shape(id: &str, table: &Value) -> (String, String, Vec<String>) {
    let properties = &table["Properties"];
    let attribute = |name: &Value| {
        let number = items(&properties["AttributeDefinitions"])
            .iter()
            .any(|a| a["AttributeName"] == *name && a["AttributeType"] == "N");
        format!("{}{}", text(name), if number { ":N" } else { "" })
    };
    let keys =
        |schema: &Value| items(schema).iter().map(|k| attribute(&k["AttributeName"])).collect::<Vec<_>>().join(" ");
    let index = |(kind, index): (&str, &Value)| {
        let whole = if index["Projection"]["ProjectionType"] == "ALL" { "" } else { " (in part)" };
        format!("{kind}{}: {}{whole}", text(&index["IndexName"]), keys(&index["KeySchema"]))
    };
    let mut found: Vec<_> = indexes(properties).map(index).collect();
    found.sort_by_key(|name| (!name.starts_with("local"), name.clone()));
    (id.to_owned(), keys(&properties["KeySchema"]), found)
}

/// The key rotates and the secret does not; both are retained.
pub(crate) fn keys(template: &Template, findings: &mut Findings) {
    for id in ["DataKey", "ChildKeySecret", "PushSecret", "AuditKey", "AuditBucket"] {
        retained(template, id, findings);
    }
    findings.expect(template.property("DataKey", "EnableKeyRotation") == true, "DataKey does not rotate");
    findings.expect(
        template.property("ChildKeySecret", "KmsKeyId") == &json!({"Fn::GetAtt": ["DataKey", "Arn"]}),
        "ChildKeySecret has another key",
    );
    findings.expect(
        template.property("ChildKeySecret", "SecretString").is_null(),
        "ChildKeySecret is written in the template",
    );
    let length = template.property("ChildKeySecret", "GenerateSecretString/PasswordLength").as_i64();
    findings.expect(length >= Some(43), "ChildKeySecret has fewer than 256 bits");
    let rotation = template.of_type("AWS::SecretsManager::RotationSchedule");
    findings.expect(rotation.is_empty(), "rotating ChildKeySecret orphans every record");
}

/// Who reads which stream, and where the records go that it cannot handle.
const READERS: [(&str, &str, &str); 2] =
    [("asn-relay", "OutboxTable", "RelayDeadLetterQueue"), ("audit-ledger", "AccessesTable", "LedgerDeadLetterQueue")];

/// Function, rate, what it is told.
const SCHEDULES: [(&str, &str, &str); 6] = [
    ("asn-push", "rate(1 minute)", ""),
    ("asn-relay", "rate(1 minute)", ""),
    ("asn-watch", "rate(1 minute)", ""),
    ("audit-ledger", "rate(1 hour)", r#"{"task":"state-heads"}"#),
    ("audit-ledger", "rate(1 minute)", r#"{"task":"sweep"}"#),
    ("notices", "cron(10 6-9 * * ? *)", ""),
];

/// What is put into the outbox reaches asn-relay, and every access audit-ledger; what they cannot handle is set down and
/// swept up.
pub(crate) fn stream(template: &Template, findings: &mut Findings) {
    let mut sources = template.events("DynamoDB");
    sources.sort_by_key(|(function, _)| *function);
    let readers: Vec<_> = sources.iter().map(|(function, _)| *function).collect();
    findings.same("readers of streams", readers, READERS.map(|(function, ..)| function).to_vec());
    for ((_, source), (_, table, aside)) in sources.into_iter().zip(READERS) {
        findings.same(
            &format!("stream of {table}"),
            text(template.property(table, "StreamSpecification/StreamViewType")),
            "NEW_IMAGE",
        );
        findings.same("stream", brief(&source["Stream"]), format!("{table}.StreamArn"));
        findings.same("stream starts at", text(&source["StartingPosition"]), "TRIM_HORIZON");
        let patterns: Vec<Value> = items(&source["FilterCriteria"]["Filters"])
            .iter()
            .map(|f| text(&f["Pattern"]).parse().unwrap_or_default())
            .collect();
        findings.same("stream filter", patterns, vec![json!({"eventName": ["INSERT"]})]);
        findings.expect(
            source["FunctionResponseTypes"] == json!(["ReportBatchItemFailures"]),
            "one bad record fails its whole batch",
        );
        findings.expect(source["BisectBatchOnFunctionError"] == true, "a failed batch is not halved");
        findings.expect(
            (0..=100).contains(&source["MaximumRetryAttempts"].as_i64().unwrap_or(-1)),
            "a bad record blocks its shard",
        );
        findings.expect(
            (60..=3600).contains(&source["MaximumRecordAgeInSeconds"].as_i64().unwrap_or(-1)),
            "an old record blocks its shard",
        );
        let found = attribute_of(&source["DestinationConfig"]["OnFailure"]["Destination"], "Arn");
        findings.expect(found == Some(aside), "a failed record leaves no trace");
    }
    let schedules: Vec<_> = template.events("Schedule");
    findings.expect(schedules.iter().all(|(_, e)| e["Enabled"] != false), "a schedule is switched off");
    let mut found: Vec<_> = schedules.iter().map(|(f, e)| (*f, text(&e["Schedule"]), text(&e["Input"]))).collect();
    found.sort_unstable();
    findings.same("schedules", found, SCHEDULES.to_vec());
}

/// R47: the key signs and does nothing else; what is in the bucket is locked, versioned, private, and reached over TLS.
pub(crate) fn seal(template: &Template, findings: &mut Findings) {
    let key = |pointer| text(template.property("AuditKey", pointer));
    findings.same("audit key", (key("KeySpec"), key("KeyUsage")), ("ECC_NIST_P256", "SIGN_VERIFY"));
    let bucket = |pointer| template.property("AuditBucket", pointer);
    findings.expect(*bucket("ObjectLockEnabled") == true, "the audit bucket cannot lock");
    let rule = bucket("ObjectLockConfiguration/Rule/DefaultRetention");
    findings.same(
        "lock",
        (text(&rule["Mode"]), brief(&rule["Years"])),
        ("COMPLIANCE", "AuditRetentionYears".to_owned()),
    );
    findings.same("lock is", text(bucket("ObjectLockConfiguration/ObjectLockEnabled")), "Enabled");
    findings.same("versions", text(bucket("VersioningConfiguration/Status")), "Enabled");
    findings.expect(
        !bucket("BucketEncryption/ServerSideEncryptionConfiguration/0").is_null(),
        "the audit bucket is not encrypted",
    );
    let block = bucket("PublicAccessBlockConfiguration");
    let blocked = ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"];
    findings.expect(blocked.iter().all(|name| block[*name] == true), "the audit bucket may become public");
    for (id, _) in template.of_type("AWS::S3::Bucket") {
        let secure = template.of_type("AWS::S3::BucketPolicy").into_iter().any(|(_, policy)| {
            brief(&policy["Properties"]["Bucket"]) == id
                && items(&policy["Properties"]["PolicyDocument"]["Statement"])
                    .iter()
                    .any(|s| s["Effect"] == "Deny" && s["Condition"] == json!({"Bool": {"aws:SecureTransport": false}}))
        });
        findings.expect(secure, format!("{id} can be reached without TLS"));
    }
}

/// Functions are packaged, limited, traced and given just what their code asks for.
pub(crate) fn functions(template: &Template, findings: &mut Findings) {
    let mut found = template.functions();
    found.sort_by_key(|f| f.name);
    findings.same(
        "functions",
        found.iter().map(|f| f.name).collect(),
        FUNCTIONS.iter().map(|f| f.0).collect::<Vec<_>>(),
    );
    for (function, (name, limit, environment)) in found.iter().zip(FUNCTIONS) {
        findings.same("package", text(&function.properties["CodeUri"]), &format!("target/lambda/{name}/"));
        findings.same("name", brief(&function.properties["FunctionName"]), format!("${{AWS::StackName}}-{name}"));
        findings.same(&format!("{name} time limit"), function.properties["Timeout"].as_i64(), Some(limit));
        findings.expect(
            function.properties["MemorySize"].as_i64() >= Some(256),
            format!("{name} has too little CPU for TLS"),
        );
        let given: Vec<_> =
            members(&function.properties["Environment"]["Variables"]).map(|(k, v)| (k.to_owned(), brief(v))).collect();
        let wanted: Vec<_> = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        findings.same(&format!("{name} environment"), given, wanted);
        let secret = environment.iter().any(|(key, _)| *key == "CHILD_KEY_SECRET");
        let encrypted = attribute_of(&function.properties["KmsKeyArn"], "Arn") == Some("DataKey");
        findings.expect(
            encrypted || !secret,
            format!("{name} has a secret in an environment that our key does not encrypt"),
        );
    }
    let globals = &template.0["Globals"]["Function"];
    findings.same("tracing", text(&globals["Tracing"]), "Active");
    findings.same("runtime", (text(&globals["Runtime"]), text(&globals["Handler"])), ("provided.al2023", "bootstrap"));
    let common: Vec<_> = members(&globals["Environment"]["Variables"]).map(|(k, v)| (k, brief(v))).collect();
    let wanted = [
        ("AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH", "true"),
        ("LOG_LEVEL", "LogLevel"),
        ("MALLOC_MMAP_THRESHOLD_", "4194304"),
        ("MALLOC_TRIM_THRESHOLD_", "33554432"),
    ]
    .map(|(k, v)| (k, v.to_owned()));
    findings.same("environment of all", common, wanted.to_vec());
}

/// Every function logs JSON to a log group of its own; every log group is encrypted and forgets in time.
pub(crate) fn logs(template: &Template, findings: &mut Findings) {
    for function in template.functions() {
        let config = &function.properties["LoggingConfig"];
        findings.same(&format!("{} log format", function.name), text(&config["LogFormat"]), "JSON");
        let name = brief(template.property(text(&config["LogGroup"]["Ref"]), "LogGroupName"));
        findings.same("log group", name, format!("/aws/lambda/{}", brief(&function.properties["FunctionName"])));
        // Lambda's own filter reads a level in each line; metrics have none, and would be dropped.
        findings.same(&format!("{} filter", function.name), text(&config["ApplicationLogLevel"]), "TRACE");
    }
    for (id, _) in template.of_type("AWS::Logs::LogGroup") {
        findings.expect(
            brief(template.property(id, "RetentionInDays")) == "LogRetentionDays",
            format!("{id} has no retention"),
        );
        findings.expect(
            brief(template.property(id, "KmsKeyId")) == "DataKey.Arn",
            format!("{id} is not encrypted with our key"),
        );
    }
}

/// Whoever deploys is told what each parameter is, and cannot give it a value that makes no sense.
pub(crate) fn parameters(template: &Template, findings: &mut Findings) {
    for (id, parameter) in members(&template.0["Parameters"]) {
        let has = |key: &str| !parameter[key].is_null();
        findings.expect(text(&parameter["Description"]).len() > 20, format!("{id} is not described"));
        let bounded = match text(&parameter["Type"]) {
            "Number" => has("AllowedValues") || has("MinValue") && has("MaxValue"),
            _ => has("AllowedValues") || has("AllowedPattern") && has("ConstraintDescription"),
        };
        findings.expect(bounded, format!("{id} may be anything"));
    }
    let groups = &template.0["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"];
    let mut shown: Vec<_> = items(groups).iter().flat_map(|g| items(&g["Parameters"]).into_iter().map(text)).collect();
    shown.sort_unstable();
    findings.same("parameters in groups", shown, members(&template.0["Parameters"]).map(|(id, _)| id).collect());
    let default = |id: &str| brief(&template.0["Parameters"][id]["Default"]);
    let wanted = [("StageName", "v1"), ("Architecture", "arm64"), ("DeliveryBackoffSeconds", "60")];
    for (id, value) in wanted {
        findings.same(id, default(id), value.to_owned());
    }
    let slowest = number(template, &json!({"Ref": "DeliveryBackoffSeconds"})).map(|base| base * 8);
    findings.expect(slowest <= Some(43_200), "the fourth wait is longer than the 12 hours that SQS can hide a message");
}

/// What clients and the operator's CLI read.
pub(crate) fn outputs(template: &Template, findings: &mut Findings) {
    for name in OUTPUTS {
        findings.expect(!template.0["Outputs"][name]["Value"].is_null(), format!("no output {name}"));
    }
    // The search for leaks reads the names of all functions from here.
    let named = &template.0["Outputs"]["FunctionNames"]["Value"]["Fn::Join"][1];
    let named: BTreeSet<_> = items(named).into_iter().map(brief).collect();
    findings.same("FunctionNames", named, template.functions().iter().map(|f| f.id.to_owned()).collect());
}
