//! A child is uploaded, looked up, and its authority told; what a look-up refuses.

use cpis::domain::contact::offices_open;
use cpis_tests::{
    canary::{Child, VIEWER},
    stack::{Answer, Stack, encode},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn a_child_seen_in_an_emergency_department() {
    let stack = Stack::open();
    let council = stack.council("E06000003");
    let child = Child::new(0);
    council.hold(&child, "CPP").await;
    let nurse = stack.nurse(&["B0107"]);

    let (trace, seen) = stack.look_up("CareTeam", &child, &nurse, 1).await;
    shows_whom_to_ring(&seen);
    let by_get = format!("/cpis/FHIR/R4/CareTeam?patient:identifier={}", identifier(&child));
    let by_get = stack.get(&by_get).token(&nurse).header("TraceID", Uuid::new_v4()).send().await;
    by_get.expect(200);
    assert_eq!(by_get.resources("CareTeam"), seen.resources("CareTeam"), "GET and POST answer alike");
    let (_, flags) = stack.look_up("Flag", &child, &nurse, 1).await;
    let kinds = ["Flag", "CarePlan", "CareTeam"].map(|kind| flags.resources(kind).len());
    assert_eq!((kinds, &flags.resources("Flag")[0]["status"]), ([1, 1, 1], &json!("active")), "{flags:?}");
    let (_, history) = stack.look_up("AuditEvent", &child, &nurse, 1).await;
    assert_eq!(history.resources("PractitionerRole")[0]["practitioner"]["display"], VIEWER, "{history:?}");
    let again = stack.nurse(&["B0107"]);
    stack.look_up("AuditEvent", &child, &again, 1).await;

    let notification = council.told(trace).await;
    let told = ["nhsNumber", "authority", "state", "traceId"].map(|field| &notification[field]);
    assert_eq!(told, [&json!(child.number()), &json!("E06000003"), &json!("unread"), &json!(trace)], "{notification}");
    assert_eq!(notification["viewer"]["name"], VIEWER);
    assert_eq!(notification["organisation"]["code"], "ZX001");
    acknowledged(&council, &notification).await;
}

fn identifier(child: &Child) -> String {
    encode(&format!("https://fhir.nhs.uk/Id/nhs-number|{}", child.number()))
}

/// The office by day, the emergency duty team by night, told twice: by rank and in words.
fn shows_whom_to_ring(seen: &Answer) {
    let at: Timestamp = seen.json()["timestamp"].as_str().and_then(|t| t.parse().ok()).expect("a time");
    let (line, number) = if offices_open(at) { ("work", "020 7946 0102") } else { ("mobile", "020 7946 0101") };
    let telecom = seen.resources("CareTeam")[0]["telecom"].as_array().cloned().unwrap_or_default();
    let first: Vec<_> = telecom.iter().filter(|t| t["rank"] == 1).collect();
    assert_eq!((telecom.len(), first.len()), (2, 1), "{telecom:?}");
    assert_eq!((&first[0]["use"], &first[0]["value"]), (&json!(line), &json!(number)), "{telecom:?}");
    assert!(seen.sentences().starts_with(&format!("Ring {number} now")), "{}", seen.sentences());
}

async fn acknowledged(council: &cpis_tests::stack::Council<'_>, notification: &Value) {
    let path = format!("notifications/{}/acknowledge", notification["id"].as_str().unwrap_or_default());
    let first = council.post(&path).send().await;
    first.expect(200);
    assert_eq!(first.json()["state"], "acknowledged");
    let second = council.post(&path).send().await;
    assert_eq!((second.status, second.body), (200, first.body), "the first acknowledgement stands");
    for (state, listed) in [("unread", false), ("acknowledged", true)] {
        let (items, _) = council.list(&format!("notifications?state={state}"), 1_000).await;
        assert_eq!(items.iter().any(|item| item["id"] == notification["id"]), listed, "{state}");
    }
    let unknown = council.post(&format!("notifications/{}/acknowledge", Uuid::new_v4())).send().await;
    unknown.refused(404, "RESOURCE_NOT_FOUND");
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn a_plan_pushed_by_itself_is_there_for_the_next_look_up() {
    let stack = Stack::open();
    let council = stack.council("E06000004");
    let child = Child::new(1);
    let midwife = stack.nurse(&["B0107"]);
    stack.look_up("CareTeam", &child, &midwife, 0).await;
    council.hold(&child, "UCP").await;
    let (trace, seen) = stack.look_up("CareTeam", &child, &midwife, 1).await;
    let plan = &seen.resources("CareTeam")[0];
    assert_eq!(plan["category"][0]["coding"][0]["code"], "818901000000100", "{plan}");
    council.told(trace).await;
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn what_a_look_up_refuses() {
    let stack = Stack::open();
    let (number, trace) = (Child::new(2).number(), Uuid::new_v4());
    let nurse = stack.nurse(&["B0107"]);
    let search = |token: &str, number: &str| stack.search("CareTeam", number).token(token);

    search(&nurse, &number).send().await.refused(400, "PRECONDITION_FAILED");
    let ask = || search(&nurse, &number).header("TraceID", trace);
    for (header, value) in [("X-Request-ID", "one"), ("IsUnscheduledAccessEvent", "maybe"), ("X-Request-ID", "")] {
        ask().header(header, value).send().await.refused(400, "PRECONDITION_FAILED");
    }
    search(&nurse, &number).header("TraceID", "one").send().await.refused(400, "PRECONDITION_FAILED");
    for bad in ["9990000019", "999000001", "", "ABCD12345"] {
        search(&nurse, bad).header("TraceID", trace).send().await.refused(400, "INVALID_SEARCH_DATA");
    }
    let silent = ask().header("IsUnscheduledAccessEvent", "false").send().await;
    silent.refused(403, "ACCESS_DENIED");
    for (path, code) in [("", "INVALID_SEARCH_DATA"), ("?_count=1", "INVALID_SEARCH_DATA")] {
        let answer = stack.get(&format!("/cpis/FHIR/R4/CareTeam{path}")).token(&nurse).header("TraceID", trace);
        answer.send().await.refused(400, code);
    }
    let auditor = stack.nurse(&["R0001"]);
    let refused = search(&auditor, &number).header("TraceID", trace).send().await;
    refused.refused(403, "ACCESS_DENIED");
    let form = stack.post("/cpis/FHIR/R4/CareTeam/_search").token(&nurse).body("application/json", "{}");
    form.header("TraceID", trace).send().await.refused(415, "UNSUPPORTED_MEDIA_TYPE");
    let mut trail = refusals(&stack, trace).await;
    trail.sort_unstable();
    assert_eq!(trail, ["no-activity", "silent-without-activity"], "wrong requests leave no trace, refused look-ups do");
}

/// The codes under which look-ups of this trace were refused; they disclosed nothing and owe nothing.
async fn refusals(stack: &Stack, trace: Uuid) -> Vec<String> {
    let items = stack.traced("AccessesTable", trace).await;
    for item in &items {
        let empty = ["disclosed", "owed"].map(|list| item[list]["L"].as_array().is_some_and(Vec::is_empty));
        assert_eq!((empty, &item["nhsNumber"], &item["outbox"]), ([true, true], &Value::Null, &Value::Null), "{item}");
    }
    items.iter().map(|item| item["refused"]["S"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn ids_that_a_caller_sends_come_back() {
    let stack = Stack::open();
    let council = stack.council("E06000005");
    let nurse = stack.nurse(&["B0107"]);
    let ids = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
    let sent = [("X-Request-ID", ids[0]), ("X-Correlation-ID", ids[1]), ("TraceID", ids[2])];
    for (call, status) in [
        (stack.search("CareTeam", &Child::new(3).number()).token(&nurse), 200),
        (stack.search("CareTeam", "9990000019").token(&nurse), 400),
        (stack.get("/cpis/FHIR/R4/metadata").token(&nurse), 200),
        (council.get("plans"), 200),
        (council.get("notifications?state=lost"), 400),
    ] {
        let answer = sent.iter().fold(call, |call, (name, id)| call.header(name, id)).send().await;
        answer.expect(status);
        for (name, id) in sent {
            assert_eq!(answer.header(name), Some(id.to_string().as_str()), "{name}: {answer:?}");
        }
    }
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn what_needs_no_token_and_what_the_service_says_it_can_do() {
    let stack = Stack::open();
    for path in ["/_ping", "/_status"] {
        let answer = stack.get(path).send().await;
        answer.expect(200);
        assert_eq!(answer.json()["status"], "pass", "{answer:?}");
    }
    let answer = stack.get("/cpis/FHIR/R4/metadata").token(&stack.nurse(&["B0170"])).send().await;
    let capabilities = answer.json();
    assert_eq!(
        (&capabilities["resourceType"], &capabilities["fhirVersion"]),
        (&json!("CapabilityStatement"), &json!("4.0.1"))
    );
    let resources: Vec<_> = capabilities["rest"][0]["resource"].as_array().into_iter().flatten().collect();
    for wanted in ["CareTeam", "AuditEvent", "Flag"] {
        assert!(resources.iter().any(|resource| resource["type"] == wanted), "{wanted}: {capabilities}");
    }
}
