//! Hostile requests, each by its name, through the shipping binaries: each is answered with the refusal that openapi.yaml documents,
//! none with a 5xx; nothing of it comes back or is logged; and the same process answers a good request right after.

mod audits;
mod lists;
mod searches;
mod tokens;
mod uploads;

use std::collections::BTreeSet;

use cpis_tests::{
    canary::Search,
    events::Request,
    runtime_api::{Function, Outcome},
    world::World,
};
use serde_json::{Value, json};

const ID: &str = "6a1ad5b2-0a64-4c41-9b0c-0d5fcf8e6d11";
/// A child's number. No refusal may repeat it.
const NUMBER: &str = "9990000018";
/// A child's name. No refusal may repeat it.
const NAME: &str = "Quillfeather";

/// How a request is to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// An OperationOutcome of this status and code.
    Outcome(u64, &'static str),
    /// 400, with the acknowledgement CPF01 of a file that cannot be read.
    Malformed,
    /// 200, with the acknowledgement CPF04: every record was rejected, each with what is wrong with it.
    Rejected,
}

const BAD_SEARCH: Expected = Expected::Outcome(400, "INVALID_SEARCH_DATA");
const BAD_HEADER: Expected = Expected::Outcome(400, "PRECONDITION_FAILED");
const BAD_REQUEST: Expected = Expected::Outcome(400, "BAD_REQUEST");
const FORBIDDEN: Expected = Expected::Outcome(403, "ACCESS_DENIED");
const NOT_FOUND: Expected = Expected::Outcome(404, "RESOURCE_NOT_FOUND");
const TOO_LARGE: Expected = Expected::Outcome(413, "PAYLOAD_TOO_LARGE");
const OTHER_TYPE: Expected = Expected::Outcome(415, "UNSUPPORTED_MEDIA_TYPE");

/// A hostile request.
#[derive(Clone)]
struct Case {
    name: String,
    event: Value,
    expected: Expected,
}

fn case(name: impl Into<String>, request: &Request, expected: Expected) -> Case {
    Case { name: name.into(), event: request.event(), expected }
}

/// What is wrong with the answer, if anything.
fn fault(case: &Case, outcome: &Outcome, secrets: &Search) -> Option<String> {
    let Outcome::Answer(answer) = outcome else { return Some(format!("no answer: {outcome:.300?}")) };
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let text = answer["body"].as_str().unwrap_or_default();
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let found = match (answer["statusCode"].as_u64(), &body["resourceType"], &body["code"]) {
        (Some(status), Value::String(kind), _) if kind == "OperationOutcome" => {
            (status, body["issue"][0]["details"]["coding"][0]["code"].as_str().unwrap_or_default())
        }
        (Some(status), _, Value::String(code)) => (status, code.as_str()),
        (status, ..) => return Some(format!("{status:?} {text:.300}")),
    };
    let (due, explained) = match case.expected {
        Expected::Outcome(status, code) => ((status, code), &body["issue"][0]["diagnostics"]),
        Expected::Malformed => ((400, "CPF01"), &body["problem"]),
        Expected::Rejected => ((200, "CPF04"), &body["rejected"][0]["problems"][0]["mend"]),
    };
    if found != due || explained.as_str().is_none_or(str::is_empty) {
        return Some(format!("{found:?} for {due:?}: {text:.300}"));
    }
    // Who uploads is told what a rejected record held.
    let leaks = if case.expected == Expected::Rejected { vec![] } else { secrets.text("answer", &answer.to_string()) };
    (!leaks.is_empty()).then(|| format!("{leaks:?}"))
}

/// Sends all of them to one process, one after another.
async fn refused(function: Function, cases: &[Case], good: &Request) {
    let secrets = Search::new(&[NAME.to_owned(), NUMBER.to_owned()]);
    let mut wrong = Vec::new();
    for case in cases {
        let reply = function.invoke(case.event.to_string()).await;
        wrong.extend(fault(case, &reply.outcome, &secrets).map(|fault| format!("{}: {fault}", case.name)));
    }
    let answer = function.invoke_json(&good.event()).await.json();
    assert_eq!(answer["statusCode"], 200, "a good request afterwards: {answer}");
    let log = function.stop().await;
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(secrets.text("log", &log), [], "the log");
    let names: BTreeSet<_> = cases.iter().map(|case| &case.name).collect();
    assert_eq!(names.len(), cases.len(), "two requests have one name");
}

/// Headers that are given twice or cannot be headers, which no endpoint takes.
fn headers_of(request: &Request) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, header, values) in [
        ("two TraceIDs", "TraceID", &[ID, "7a1ad5b2-0a64-4c41-9b0c-0d5fcf8e6d11"][..]),
        ("one TraceID twice", "TraceID", &[ID, ID]),
        ("TraceID in two cases", "traceid", &[ID, ID]),
        ("two X-Request-IDs", "X-Request-ID", &[ID, ID]),
        ("two X-Correlation-IDs", "X-Correlation-ID", &["a", "b"]),
        ("two IsUnscheduledAccessEvents", "IsUnscheduledAccessEvent", &["true", "false"]),
        ("one IsUnscheduledAccessEvent twice", "IsUnscheduledAccessEvent", &["false", "false"]),
        ("two PatientConsents", "PatientConsent", &["true", "true"]),
        ("two Content-Types", "Content-Type", &["text/csv", "application/json"]),
        ("two Content-Encodings", "Content-Encoding", &["identity", "gzip"]),
        ("a header that is split", "X-Forwarded-For", &["1.2.3.4\r\nTraceID: x"]),
        ("a header with a line end", "Accept", &["text/csv\n"]),
        ("a header with NUL", "User-Agent", &["a\0b"]),
        ("a header with DEL", "Referer", &["a\u{7f}"]),
    ] {
        let request = values.iter().fold(request.clone(), |request, value| request.header(header, value));
        let name = format!("{} {}: {name}", request.method(), request.path());
        cases.push(case(name, &request, BAD_HEADER));
    }
    cases
}

/// What may be wrong with a request of any function: its headers, whom it is from, and where it goes.
fn of_any(request: &Request) -> Vec<Case> {
    let mut cases = headers_of(request);
    let mut add = |name: &str, pointer: &str, value: Value, expected| {
        let mut event = request.event();
        if let Some(place) = event.pointer_mut(pointer) {
            *place = value;
        }
        cases.push(Case { name: name.into(), event, expected });
    };
    let caller = "/requestContext/authorizer";
    add("nobody", caller, json!(null), FORBIDDEN);
    add("nobody in particular", caller, json!({"principalId": "test"}), FORBIDDEN);
    add("a caller of null", caller, json!({"caller": null}), FORBIDDEN);
    add("a caller that is no JSON", caller, json!({"caller": "{"}), FORBIDDEN);
    add("a caller that is no text", caller, json!({"caller": {"authority": "E06000001"}}), FORBIDDEN);
    add("a caller of an unknown shape", caller, json!({"caller": "{\"administrator\":true}"}), FORBIDDEN);
    add("an unknown method", "/httpMethod", json!("BREW"), NOT_FOUND);
    add("a method that is none", "/httpMethod", json!("GE T"), NOT_FOUND);
    add("an empty method", "/httpMethod", json!(""), NOT_FOUND);
    add("a method with a number", "/httpMethod", json!(NUMBER), NOT_FOUND);
    add("no path", "/path", json!(""), NOT_FOUND);
    add("the root", "/path", json!("/"), NOT_FOUND);
    add("a path with a number", "/path", json!(format!("/cpis/{NUMBER}")), NOT_FOUND);
    add("a path upwards", "/path", json!("/cpis/../../etc/passwd"), NOT_FOUND);
    add("a path with NUL", "/path", json!("/cpis/\0"), NOT_FOUND);
    add("a path of 100,000 letters", "/path", json!(format!("/{}", "a".repeat(100_000))), NOT_FOUND);
    add("a path of 10,000 parts", "/path", json!("/a".repeat(10_000)), NOT_FOUND);
    cases
}

/// What a header may hold without harm to anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_only_look_hostile_are_answered() {
    let world = World::new().await;
    let function = world.start("flag-lookup").await;
    for (name, header, value) in [
        ("letters beyond ASCII", "User-Agent", "J\u{f6}rg's browser \u{1f600}"),
        ("a host that is none", "Host", "a b:x"),
        ("a scheme that is none", "X-Forwarded-Proto", "ht tp"),
        ("a long cookie", "Cookie", &"a=b; ".repeat(1_500)),
        ("a header without a value", "Accept", ""),
        ("a header of two lines' words", "Via", "1.1 a, 1.1 b"),
    ] {
        let reply = function.invoke_json(&searches::good().header(header, value).event()).await;
        assert_eq!(reply.json()["statusCode"], 200, "{name}");
    }
    let mut event = searches::good().event();
    for part in ["multiValueHeaders", "queryStringParameters", "pathParameters", "stageVariables"] {
        event[part] = Value::Null;
    }
    assert_eq!(function.invoke_json(&event).await.json()["statusCode"], 200, "parts that are null");
}
