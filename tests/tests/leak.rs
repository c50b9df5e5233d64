//! Nothing that identifies a child, nobody's name and no secret is written: run after the journeys and `late`, which made every function
//! write what it writes, on a stack that logs at TRACE.
//!
//! Searched is all that the functions and the emulator wrote, without exception: the emulator keeps no access log, so even a
//! number in the URL of a GET search must not be there.

use std::{collections::BTreeSet, fs, path::Path};

use cpis_tests::{
    binaries::target,
    canary::{Child, Leak, Search, VIEWER},
    stack::Stack,
};
use serde_json::{Value, json};
use uuid::Uuid;

/// What the journeys make the functions say. Without these the search would be of nothing.
const EVENTS: [&str; 39] = [
    "asn.delivered",
    "asn.retry",
    "asn.set-aside",
    "asn.digest-delivered",
    "aws.called",
    "audit.bad-search",
    "audit.refused",
    "audit.searched",
    "lookup.bad-search",
    "lookup.disclosed",
    "lookup.metadata",
    "lookup.nothing-held",
    "lookup.refused",
    "mailbox.acknowledged",
    "mailbox.actioned",
    "mailbox.ageing",
    "mailbox.listed",
    "mailbox.no-notification",
    "mailbox.reading-set",
    "receipt.no-access",
    "receipt.shown",
    "notices.day-done",
    "notices.number-changed",
    "notices.plan-moved",
    "notices.upload-overdue",
    "reconcile.plans-listed",
    "reconcile.upload-read",
    "reconcile.uploads-listed",
    "relay.sent",
    "relay.swept",
    "request.bad-header",
    "request.bad-page",
    "status.answered",
    "token.accepted",
    "token.refused",
    "upload.answered-again",
    "upload.malformed",
    "upload.processed",
    "work.begun",
];
/// Tables, and whether something must still be in them when the journeys are over.
const TABLES: [(&str, bool); 8] = [
    ("PlansTable", true),
    ("AccessesTable", true),
    ("OutboxTable", false),
    ("UploadsTable", true),
    ("MailboxTable", true),
    ("DirectoryTable", true),
    ("LimitsTable", true),
    ("AuditTable", true),
];

#[tokio::test]
#[ignore = "needs a running stack, after the journeys: make test"]
async fn logs_keys_and_queues_hold_nothing_confidential() {
    let stack = Stack::open();
    let secrets = secrets(&stack).await;
    let search = Search::new(&secrets);
    let logs = stack.logs();
    let (lines, mut leaks) = search.directory(&logs).expect("the logs");
    let missing: Vec<_> = EVENTS.into_iter().filter(|event| !events(&logs).contains(*event)).collect();
    assert!(missing.is_empty(), "the logs lack {missing:?}: run the journeys on this stack first");
    leaks.extend(in_keys(&stack, &search).await);
    leaks.extend(in_queues(&stack, &search).await);
    assert_eq!(leaks, [], "{} leaks", leaks.len());
    eprintln!("{lines} lines searched");
    // The same search of the same lines finds what is put among them.
    let secret = secrets.first().expect("a secret");
    planted(&search, &logs.join("functions"), &[("secret", secret.clone())]);
}

/// The secrets that functions know, and that each of them logs at TRACE.
async fn secrets(stack: &Stack) -> Vec<String> {
    let mut secrets = BTreeSet::new();
    for name in stack.output("FunctionNames").split(',') {
        let variables = stack.function(name).await["Environment"]["Variables"].clone();
        assert_eq!(variables["LOG_LEVEL"], "TRACE", "{name}: start the stack with --log-level TRACE");
        secrets.extend(variables["CHILD_KEY_SECRET"].as_str().map(str::to_owned));
    }
    assert_eq!(secrets.len(), 1, "all functions have the same secret");
    secrets.into_iter().collect()
}

/// Every event code that the functions logged.
fn events(logs: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(logs.join("functions")).expect("the functions' logs") {
        let text = fs::read_to_string(entry.expect("a file").path()).expect("a log in UTF-8");
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            // The second is a diagnostic's, which there are at TRACE only.
            let code = line["event"].as_str().or_else(|| line["fields"]["event"].as_str());
            found.extend(code.map(str::to_owned));
        }
    }
    found
}

/// Every attribute of every item that is in the key of its table or of an index.
async fn in_keys(stack: &Stack, search: &Search) -> Vec<Leak> {
    let mut leaks = Vec::new();
    for (table, filled) in TABLES {
        let name = stack.output(table);
        let described = stack.aws("DynamoDB_20120810.DescribeTable", json!({"TableName": name})).await;
        let attributes = described["Table"]["AttributeDefinitions"].as_array().cloned().unwrap_or_default();
        let attributes: Vec<_> =
            attributes.iter().filter_map(|a| a["AttributeName"].as_str().map(str::to_owned)).collect();
        assert!(attributes.len() >= 2, "{table}: {described}");
        let items = stack.scan(table, &attributes).await;
        assert!(!filled || !items.is_empty(), "{table} is empty: run the journeys on this stack first");
        let lines: Vec<_> = items.iter().map(Value::to_string).collect();
        leaks.extend(search.text(table, &lines.join("\n")));
    }
    leaks
}

/// Every queue's name and attributes, and the attributes of the messages in it: a notification's body is confidential, no attribute is.
async fn in_queues(stack: &Stack, search: &Search) -> Vec<Leak> {
    let listed = stack.aws("AmazonSQS.ListQueues", json!({})).await;
    let queues = listed["QueueUrls"].as_array().cloned().unwrap_or_default();
    assert!(queues.len() >= 3, "{listed}");
    let mut leaks = Vec::new();
    for queue in queues {
        let of = stack.aws("AmazonSQS.GetQueueAttributes", json!({"QueueUrl": queue, "AttributeNames": ["All"]})).await;
        assert!(of["Attributes"]["QueueArn"].is_string(), "{of}");
        let all = json!({"QueueUrl": queue, "MessageAttributeNames": ["All"], "MessageSystemAttributeNames": ["All"],
            "MaxNumberOfMessages": 10, "VisibilityTimeout": 0});
        let mut received = stack.aws("AmazonSQS.ReceiveMessage", all).await;
        for message in received["Messages"].as_array_mut().into_iter().flatten() {
            message["Body"].take();
        }
        leaks.extend(search.text("queue", &format!("{queue}\n{of}\n{received}")));
    }
    leaks
}

/// Plants each of these in a copy of a directory of logs, one at a time, and sees that it alone is found.
fn planted(search: &Search, logs: &Path, secrets: &[(&str, String)]) {
    let copy = target().join(format!("tmp-leak-{}", Uuid::new_v4()));
    fs::create_dir_all(&copy).expect("a directory");
    for entry in fs::read_dir(logs).expect("logs") {
        let entry = entry.expect("a file");
        fs::copy(entry.path(), copy.join(entry.file_name())).expect("a copy");
    }
    for (what, line) in lines_with_a_leak().into_iter().chain(secrets.iter().cloned()) {
        let line = json!({"event": "lookup.disclosed", "detail": line}).to_string();
        fs::write(copy.join("planted.log"), line).expect("written");
        let (_, leaks) = search.directory(&copy).expect("the copy");
        assert_eq!(leaks.iter().map(|leak| leak.what.as_str()).collect::<BTreeSet<_>>(), [what].into(), "{leaks:?}");
        assert!(leaks.iter().all(|leak| leak.place.contains("planted.log:1")), "{leaks:?}");
    }
    fs::remove_dir_all(copy).expect("removed");
}

fn lines_with_a_leak() -> Vec<(&'static str, String)> {
    let child = Child::bulk().next().expect("a child");
    let number = child.number();
    let grouped = |separator: &str| [&number[..3], &number[3..6], &number[6..]].join(separator);
    vec![
        ("NHS number", format!("child {number} was seen")),
        ("NHS number", format!("/CareTeam?patient:identifier=https%3A%2F%2Ffhir.nhs.uk%2FId%2Fnhs-number%7C{number}")),
        ("NHS number", grouped(" ")),
        ("NHS number", grouped("-")),
        ("NHS number", grouped("%20")),
        ("family name", child.family_name().to_uppercase()),
        ("given name", child.given_names()),
        ("viewer's name", VIEWER.to_owned()),
        ("birth date", child.birth_date()),
        ("birth date", child.birth_date_with_slashes()),
        ("token", "Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ".to_owned()),
    ]
}

#[test]
fn the_search_finds_what_is_planted_and_takes_nothing_else_for_it() {
    let empty = target().join(format!("tmp-leak-{}", Uuid::new_v4()));
    fs::create_dir_all(&empty).expect("a directory");
    let search = Search::new(&["a secret with \"quotes\"".to_owned()]);
    planted(&search, &empty, &[("secret", "a secret with \"quotes\"".to_owned())]);
    fs::remove_dir_all(empty).expect("removed");
    let number = Child::bulk().next().expect("a child").number();
    for harmless in [
        "9990000019".to_owned(),
        "1795358815490 2026-11-22T14:46:55.490712331Z".to_owned(),
        format!("{number}7 7{number} a{number} {number}f 0.{number}"),
        "Root=1-6b03005f-ad0460ccca102e81cfc8e81d;Parent=df45597854e81ddf;Sampled=1".to_owned(),
        "in immediate danger ring 999.".to_owned(),
    ] {
        assert_eq!(search.text("here", &harmless), [], "{harmless}");
    }
}
