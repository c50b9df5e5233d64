//! Who may do what: one role a function, with just the actions its ports need.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::model::{Findings, Template, attribute_of, brief, granted, items, members, pairs, text};

/// What each function may do, beside writing its own log and its traces.
const ALLOWED: [(&str, &[(&str, &str)]); 13] = [
    (
        "plan-upload",
        &[
            ("PlansTable.Arn", "dynamodb:PutItem dynamodb:UpdateItem"),
            ("${PlansTable.Arn}/index/by-authority", "dynamodb:Query"),
            ("UploadsTable.Arn", "dynamodb:GetItem dynamodb:PutItem dynamodb:UpdateItem"),
            ("DirectoryTable.Arn", "dynamodb:GetItem"),
            ("AuditTable.Arn", "dynamodb:GetItem dynamodb:PutItem dynamodb:UpdateItem"),
            ("DataKey.Arn", "kms:Decrypt"),
        ],
    ),
    (
        "plan-reconcile",
        &[
            ("${PlansTable.Arn}/index/by-authority", "dynamodb:Query"),
            ("UploadsTable.Arn", "dynamodb:GetItem dynamodb:Query"),
            ("DataKey.Arn", "kms:Decrypt"),
        ],
    ),
    (
        "flag-lookup",
        &[
            ("PlansTable.Arn", "dynamodb:Query"),
            ("AccessesTable.Arn", "dynamodb:PutItem"),
            ("OutboxTable.Arn", "dynamodb:PutItem"),
            ("${AccessesTable.Arn}/index/by-time", "dynamodb:Query"),
            ("LimitsTable.Arn", "dynamodb:GetItem"),
            ("DataKey.Arn", "kms:Decrypt"),
        ],
    ),
    (
        "asn-relay",
        &[
            ("OutboxTable.Arn", "dynamodb:BatchWriteItem dynamodb:Query"),
            (
                "OutboxTable.StreamArn",
                "dynamodb:DescribeStream dynamodb:GetRecords dynamodb:GetShardIterator dynamodb:ListStreams",
            ),
            ("AsnQueue.Arn", "sqs:SendMessage"),
            ("RelayDeadLetterQueue.Arn", "sqs:SendMessage"),
            ("DataKey.Arn", "kms:Decrypt kms:GenerateDataKey"),
        ],
    ),
    (
        "asn-delivery",
        &[
            ("MailboxTable.Arn", "dynamodb:GetItem dynamodb:PutItem dynamodb:UpdateItem"),
            ("${MailboxTable.Arn}/index/by-time", "dynamodb:Query"),
            ("PushQueue.Arn", "sqs:SendMessage"),
            ("DirectoryTable.Arn", "dynamodb:GetItem"),
            ("AsnQueue.Arn", "sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes sqs:ChangeMessageVisibility"),
            ("AsnDeadLetterQueue.Arn", "sqs:SendMessage"),
            ("DataKey.Arn", "kms:Decrypt kms:GenerateDataKey"),
        ],
    ),
    (
        "asn-push",
        &[
            ("MailboxTable.Arn", "dynamodb:GetItem dynamodb:PutItem dynamodb:UpdateItem"),
            ("${MailboxTable.Arn}/index/pushes", "dynamodb:Query"),
            ("DirectoryTable.Arn", "dynamodb:GetItem"),
            ("PushSecret", "secretsmanager:GetSecretValue"),
            (
                "PushQueue.Arn",
                "sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes sqs:ChangeMessageVisibility sqs:SendMessage",
            ),
            ("PushDeadLetterQueue.Arn", "sqs:SendMessage"),
            ("DataKey.Arn", "kms:Decrypt kms:GenerateDataKey"),
        ],
    ),
    (
        "asn-mailbox",
        &[
            ("MailboxTable.Arn", "dynamodb:GetItem dynamodb:PutItem dynamodb:UpdateItem"),
            ("${MailboxTable.Arn}/index/by-time", "dynamodb:Query"),
            ("${MailboxTable.Arn}/index/by-state", "dynamodb:Query"),
            ("AccessesTable.Arn", "dynamodb:GetItem"),
            ("DirectoryTable.Arn", "dynamodb:GetItem"),
            ("AuditTable.Arn", "dynamodb:GetItem dynamodb:PutItem dynamodb:UpdateItem"),
            ("DataKey.Arn", "kms:Decrypt"),
        ],
    ),
    (
        "asn-watch",
        &[
            ("MailboxTable.Arn", "dynamodb:GetItem dynamodb:PutItem dynamodb:UpdateItem"),
            ("${MailboxTable.Arn}/index/wakes", "dynamodb:Query"),
            ("${MailboxTable.Arn}/index/by-time", "dynamodb:Query"),
            ("DirectoryTable.Arn", "dynamodb:GetItem"),
            ("DataKey.Arn", "kms:Decrypt"),
        ],
    ),
    (
        "notices",
        &[
            ("PlansTable.Arn", "dynamodb:Query"),
            ("${PlansTable.Arn}/index/by-authority", "dynamodb:Query"),
            ("UploadsTable.Arn", "dynamodb:Query"),
            ("DirectoryTable.Arn", "dynamodb:Query"),
            ("OutboxTable.Arn", "dynamodb:PutItem"),
            (
                "NumberChangesQueue.Arn",
                "sqs:ReceiveMessage sqs:DeleteMessage sqs:GetQueueAttributes sqs:ChangeMessageVisibility",
            ),
            ("NumberChangesDeadLetterQueue.Arn", "sqs:SendMessage"),
            ("DataKey.Arn", "kms:Decrypt kms:GenerateDataKey"),
        ],
    ),
    (
        "audit-ledger",
        &[
            ("AccessesTable.Arn", "dynamodb:PartiQLUpdate"),
            ("${AccessesTable.Arn}/index/unaudited", "dynamodb:Query"),
            ("${AccessesTable.Arn}/index/by-time", "dynamodb:Query"),
            ("LimitsTable.Arn", "dynamodb:GetItem dynamodb:UpdateItem"),
            (
                "AccessesTable.StreamArn",
                "dynamodb:DescribeStream dynamodb:GetRecords dynamodb:GetShardIterator dynamodb:ListStreams",
            ),
            ("AuditTable.Arn", "dynamodb:GetItem dynamodb:PutItem dynamodb:UpdateItem"),
            ("AuditKey.Arn", "kms:Sign"),
            ("${AuditBucket.Arn}/heads/*", "s3:PutObject"),
            ("LedgerDeadLetterQueue.Arn", "sqs:SendMessage"),
            ("DataKey.Arn", "kms:Decrypt kms:GenerateDataKey"),
        ],
    ),
    (
        "audit-search",
        &[
            ("${AccessesTable.Arn}/index/by-time", "dynamodb:Query"),
            ("${AccessesTable.Arn}/index/by-person", "dynamodb:Query"),
            ("${AccessesTable.Arn}/index/by-organisation", "dynamodb:Query"),
            ("AuditTable.Arn", "dynamodb:GetItem dynamodb:PutItem dynamodb:UpdateItem"),
            ("DataKey.Arn", "kms:Decrypt"),
        ],
    ),
    ("authorizer", &[("DirectoryTable.Arn", "dynamodb:GetItem dynamodb:Query"), ("DataKey.Arn", "kms:Decrypt")]),
    ("service-status", &[("DirectoryTable.Arn", "dynamodb:GetItem"), ("DataKey.Arn", "kms:Decrypt")]),
];

/// Wildcards that AWS demands: where, action, resource, why.
const WILDCARDS: [(&str, &str, &str, &str); 12] = [
    ("Role", "xray:PutTraceSegments", "*", "X-Ray has no resources to name"),
    ("Role", "xray:PutTelemetryRecords", "*", "X-Ray has no resources to name"),
    (
        "DataKey",
        "kms:*",
        "*",
        "a key policy without its account makes a key that nobody can manage; in it, * is the key",
    ),
    ("AuditKey", "kms:*", "*", "as for DataKey"),
    ("AuditLedgerRole", "s3:PutObject", "${AuditBucket.Arn}/heads/*", "an object's name is made as it is put"),
    ("DataKey", "kms:Encrypt", "*", "in a key policy, * is the key"),
    ("DataKey", "kms:Decrypt", "*", "in a key policy, * is the key"),
    ("DataKey", "kms:ReEncryptFrom", "*", "in a key policy, * is the key"),
    ("DataKey", "kms:ReEncryptTo", "*", "in a key policy, * is the key"),
    ("DataKey", "kms:GenerateDataKey", "*", "in a key policy, * is the key"),
    ("DataKey", "kms:GenerateDataKeyWithoutPlaintext", "*", "in a key policy, * is the key"),
    ("DataKey", "kms:DescribeKey", "*", "in a key policy, * is the key"),
];

/// Policies that AWS keeps: whose, which, why.
const MANAGED: [(&str, &str, &str); 1] = [(
    "ApiLogRole",
    "AmazonAPIGatewayPushToCloudWatchLogs",
    "the role is the whole account's; API Gateway asks for it",
)];

/// Each function has a role of its own that allows exactly what the table says, and that nothing else can assume.
pub(crate) fn roles(template: &Template, findings: &mut Findings) {
    let mut owners = BTreeMap::new();
    let allowed: BTreeMap<_, _> = ALLOWED.into_iter().collect();
    for function in template.functions() {
        let name = function.name;
        let role = attribute_of(&function.properties["Role"], "Arn").unwrap_or_default();
        findings.expect(
            template.0["Resources"][role]["Type"] == "AWS::IAM::Role",
            format!("{name} has no role of the template"),
        );
        findings
            .expect(function.properties["Policies"].is_null(), format!("{name} has policies that its role ignores"));
        if let Some(other) = owners.insert(role, name) {
            findings.expect(false, format!("{name} and {other} share {role}"));
        }
        let log = format!("{}.Arn", text(&function.properties["LoggingConfig"]["LogGroup"]["Ref"]));
        let own = [
            (log.as_str(), "logs:CreateLogStream logs:PutLogEvents"),
            ("*", "xray:PutTraceSegments xray:PutTelemetryRecords"),
        ];
        let listed = allowed.get(name).copied().unwrap_or_default();
        let wanted: BTreeSet<_> = listed
            .iter()
            .chain(&own)
            .flat_map(|(r, actions)| actions.split(' ').map(|a| ((*r).to_owned(), a.to_owned())))
            .collect();
        let found: BTreeSet<_> = granted(template, role).collect();
        let differ: Vec<_> = found.symmetric_difference(&wanted).collect();
        findings.expect(differ.is_empty(), format!("{name} may do other things than the table says: {differ:?}"));
        let trusted: Vec<_> = items(template.property(role, "AssumeRolePolicyDocument/Statement"))
            .into_iter()
            .map(|s| &s["Principal"])
            .collect();
        findings.expect(
            trusted == [&serde_json::json!({"Service": "lambda.amazonaws.com"})],
            format!("{role} trusts {trusted:?}"),
        );
    }
}

/// No policy of any kind has a wildcard in an action, a resource or a principal, save those listed with their reason.
pub(crate) fn wildcards(template: &Template, findings: &mut Findings) {
    for (id, resource) in members(&template.0["Resources"]) {
        let mut statements = vec![];
        collect_statements(&resource["Properties"], &mut statements);
        for statement in statements.into_iter().filter(|s| s["Effect"] == "Allow") {
            let inverted = members(statement).any(|(key, _)| key.starts_with("Not"));
            findings.expect(!inverted, format!("{id} allows all but something"));
            findings.expect(!statement["Principal"].to_string().contains('*'), format!("{id} allows anybody"));
            for (action, target) in pairs(statement).into_iter().filter(|(a, r)| a.contains('*') || r.contains('*')) {
                let listed = |(place, a, r, _): &(&str, &str, &str, &str)| {
                    (id == *place || id.ends_with("Role") && *place == "Role") && action == *a && target == *r
                };
                findings.expect(WILDCARDS.iter().any(listed), format!("{id} allows {action} on {target}"));
            }
            let service = !statement["Principal"]["Service"].is_null() && id == "DataKey";
            findings.expect(
                !service || !statement["Condition"].is_null(),
                format!("{id} lets a service in for any account"),
            );
        }
        for policy in items(&resource["Properties"]["ManagedPolicyArns"]).into_iter().map(brief) {
            let listed = MANAGED.iter().any(|(place, name, _)| *place == id && policy.ends_with(&format!("/{name}")));
            findings.expect(listed, format!("{id} has the policy {policy}"));
        }
    }
}

fn collect_statements<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("Statement").into_iter().flat_map(items));
            object.values().for_each(|inner| collect_statements(inner, found));
        }
        Value::Array(list) => list.iter().for_each(|inner| collect_statements(inner, found)),
        _ => {}
    }
}

/// A permission on an index names an index that there is.
pub(crate) fn indexes(template: &Template, findings: &mut Findings) {
    for (role, _) in template.of_type("AWS::IAM::Role") {
        for (resource, _) in granted(template, role).filter(|(resource, _)| resource.contains("/index/")) {
            let (table, index) = resource.split_once(".Arn}/index/").unwrap_or_default();
            let properties = &template.0["Resources"][table.trim_start_matches("${")]["Properties"];
            let lists = ["LocalSecondaryIndexes", "GlobalSecondaryIndexes"];
            let exists = lists.iter().any(|list| items(&properties[*list]).iter().any(|i| i["IndexName"] == index));
            findings.expect(exists, format!("{role} names an index that does not exist: {resource}"));
        }
    }
}
