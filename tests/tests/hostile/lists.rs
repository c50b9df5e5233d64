//! Hostile requests to the lists of an authority: its uploads, plans and notifications.

use cpis_tests::{
    events::Request,
    world::{World, authority_caller, nurse},
};

use super::*;

const OWN: &str = "E06000001";

fn to(method: &'static str, path: &str) -> Request {
    Request::new(method, &format!("/cpis/authorities/{OWN}/{path}")).caller(&authority_caller(OWN))
}

/// Pages that there are none of.
fn pages(list: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    let get = || to("GET", list);
    let long = "9".repeat(100_000);
    for limit in [
        "",
        " ",
        "0",
        "-1",
        "+1",
        "1001",
        "1.5",
        "1e2",
        "0x10",
        "all",
        "NaN",
        "99999999999999999999",
        "1\0",
        "\u{661}",
        "1,2",
        "' OR 1=1",
        &long,
    ] {
        cases.push(case(format!("{list}: limit {limit:.40?}"), &get().query("limit", limit), BAD_REQUEST));
    }
    for cursor in [
        "",
        " ",
        "x",
        "null",
        "{}",
        "[]",
        "AAAA",
        "e30",
        "e30=",
        "bnVsbA",
        "eyJhIjoxfQ",
        "eyJzZXF1ZW5jZSI6LTF9",
        "eyJsYSI6IkUwNjAwMDAwMiJ9",
        "eyJsYSI6eyJTIjoiRTA2MDAwMDAyIn19",
        "../../etc/passwd",
        "%00",
        "\0",
        "' OR '1'='1",
        "\u{1f600}",
        NAME,
        &"A".repeat(100_000),
    ] {
        cases.push(case(format!("{list}: cursor {cursor:.40?}"), &get().query("cursor", cursor), BAD_REQUEST));
    }
    for (name, first, second) in [("limit", "1", "2"), ("limit", "1", "1"), ("cursor", "x", "y"), ("cursor", "", "")] {
        let request = get().query(name, first).query(name, second);
        cases.push(case(format!("{list}: {name} {first:?} and {second:?}"), &request, BAD_REQUEST));
    }
    for code in ["E06000002", "e06000001", "*", "E06000001%00", "..", "%2e%2e", NUMBER] {
        let request = Request::new("GET", &format!("/cpis/authorities/{code}/{list}")).caller(&authority_caller(OWN));
        cases.push(case(format!("{list}: of {code:?}"), &request, FORBIDDEN));
    }
    cases.push(case(format!("{list}: a nurse"), &get().caller(&nurse()), FORBIDDEN));
    for method in ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] {
        cases.push(case(format!("{method} {list}"), &to(method, list), NOT_FOUND));
    }
    cases
}

fn uploads() -> Vec<Case> {
    let long = "9".repeat(10_000);
    let sequences =
        ["0", "1", "-1", "+1", "1.0", "1e3", "x", " 1", "%31", "18446744073709551616", &long, "1;2", "\u{661}", NUMBER];
    let reads =
        sequences.iter().map(|s| case(format!("upload {s:.40?}"), &to("GET", &format!("uploads/{s}")), NOT_FOUND));
    reads.chain([case("an upload's records", &to("GET", "uploads/1/records"), NOT_FOUND)]).collect()
}

fn notifications() -> Vec<Case> {
    let mut cases = Vec::new();
    for state in
        ["", "Unread", "UNREAD", "unread ", "read", "all", "*", "unread,acknowledged", "null", "\0", "' OR 1=1", NAME]
    {
        cases.push(case(format!("state {state:?}"), &to("GET", "notifications").query("state", state), BAD_REQUEST));
    }
    let both = to("GET", "notifications").query("state", "unread").query("state", "acknowledged");
    cases.push(case("two states", &both, BAD_REQUEST));
    let long = "a".repeat(10_000);
    for id in [
        "x",
        "0",
        "*",
        "..",
        "%00",
        ID,
        "00000000-0000-0000-0000-000000000000",
        "{6a1ad5b2-0a64-4c41-9b0c-0d5fcf8e6d11}",
        &long,
        NUMBER,
    ] {
        for step in ["acknowledge", "action"] {
            let request = to("POST", &format!("notifications/{id}/{step}"));
            cases.push(case(format!("{step} {id:.40?}"), &request, NOT_FOUND));
        }
    }
    for (method, path) in [
        ("GET", "notifications/1/acknowledge"),
        ("POST", "notifications"),
        ("POST", "notifications/1"),
        ("DELETE", "notifications/1"),
        ("POST", "notifications//acknowledge"),
        ("POST", "notifications/1/acknowledge/all"),
        ("GET", "notifications/1"),
        ("POST", "notifications/ageing"),
        ("GET", "notifications/1/action"),
        ("DELETE", "reading"),
        ("GET", "reading/1"),
        ("PUT", "ways"),
        ("POST", "ways"),
        ("DELETE", "ways"),
        ("GET", "ways/webhook"),
    ] {
        cases.push(case(format!("{method} {path}"), &to(method, path), NOT_FOUND));
    }
    let body = |method: &'static str, path: &str, body: &str| to(method, path).body("application/json", body);
    let named = format!(r#"{{"by":"{}"}}"#, "a".repeat(101));
    let deep = "[".repeat(5_000);
    for text in
        [r#"{"by":""}"#, r#"{"by":1}"#, r#"{"by":"a","by":"b"}"#, r#"{"who":"x"}"#, "{", "[]", &named, &deep, "\0"]
    {
        let path = format!("notifications/{ID}/acknowledge");
        cases.push(case(format!("by {text:.40?}"), &body("POST", &path, text), BAD_REQUEST));
    }
    for text in [
        "",
        "null",
        "[]",
        "{",
        &deep,
        r#"{"cadence":"never"}"#,
        r#"{"cadence":"digest","cadence":"every-access"}"#,
        r#"{"digestHour":24}"#,
        r#"{"digestHour":-1}"#,
        r#"{"digestHour":1e400}"#,
        r#"{"unreadMinutes":4}"#,
        r#"{"unreadMinutes":4294967296}"#,
        r#"{"urgentUnreadMinutes":"60"}"#,
        r#"{"webhook":{"url":"https://council.example"}}"#,
    ] {
        cases.push(case(format!("reading {text:.40?}"), &body("PUT", "reading", text), BAD_REQUEST));
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r60_r63_hostile_requests_to_lists() {
    let world = World::new().await;
    for (function, list, more) in [
        ("plan-reconcile", "uploads", [uploads(), headers_of(&to("GET", "uploads/1"))].concat()),
        ("plan-reconcile", "plans", vec![]),
        (
            "asn-mailbox",
            "notifications",
            [notifications(), headers_of(&to("POST", &format!("notifications/{ID}/acknowledge")))].concat(),
        ),
    ] {
        let good = to("GET", list);
        let cases: Vec<Case> = [of_any(&good), pages(list), more].into_iter().flatten().collect();
        refused(world.start(function).await, &cases, &good).await;
    }
}
