//! Hostile searches of the accesses.

use cpis_tests::{
    events::Request,
    world::{World, authority_caller, nurse},
};
use serde_json::json;

use super::*;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const PATH: &str = "/cpis/audit/accesses/_search";

fn officer() -> Value {
    let mut caller = nurse();
    caller["activities"] = json!(["R0001"]);
    caller
}

fn search() -> Request {
    Request::new("POST", PATH).caller(&officer())
}

fn good() -> Request {
    search().body(JSON, json!({"child": NUMBER}).to_string())
}

/// Bodies that cannot be understood, by what is wrong.
fn bodies() -> Vec<(String, String)> {
    let deep = format!("{{\"child\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
    [
        ("nothing", ""),
        ("null", "null"),
        ("a list", "[]"),
        ("a text", "\"9990000018\""),
        ("an empty object", "{}"),
        ("cut off", r#"{"child":"9990000018""#),
        ("something behind", r#"{"child":"9990000018"}x"#),
        ("the child twice", r#"{"child":"9990000018","child":"9990000018"}"#),
        ("two children", r#"{"child":"9990000018","\u0063hild":"9990000026"}"#),
        ("a child and a person", r#"{"child":"9990000018","person":"1"}"#),
        ("all three", r#"{"child":"9990000018","person":"1","organisation":"ZX001"}"#),
        ("an unknown member", r#"{"child":"9990000018","all":true}"#),
        ("a member in capitals", r#"{"Child":"9990000018"}"#),
        ("a prototype", r#"{"child":"9990000018","__proto__":{}}"#),
        ("a wrong check digit", r#"{"child":"9990000019"}"#),
        ("a number for a text", r#"{"child":9990000018}"#),
        ("a list for a text", r#"{"child":["9990000018"]}"#),
        ("an object for a text", r#"{"child":{"$ne":null}}"#),
        ("a wildcard", r#"{"child":"*"}"#),
        ("NUL", r#"{"child":"9990000018\u0000"}"#),
        ("half a surrogate pair", r#"{"person":"\ud800"}"#),
        ("an empty person", r#"{"person":""}"#),
        ("SQL", r#"{"person":"1' OR '1'='1"}"#),
        ("a path", r#"{"person":"../../etc/passwd"}"#),
        ("an organisation that is none", r#"{"organisation":"ZX 001"}"#),
        ("any organisation", r#"{"organisation":"%"}"#),
        ("a time without a zone", r#"{"child":"9990000018","from":"2026-01-01T00:00:00"}"#),
        ("a time that is none", r#"{"child":"9990000018","from":"2026-02-30T00:00:00Z"}"#),
        ("a time far off", r#"{"child":"9990000018","to":"99999-01-01T00:00:00Z"}"#),
        ("a time as a number", r#"{"child":"9990000018","to":1769848200}"#),
        ("a time turned round", r#"{"child":"9990000018","from":"2026-02-01T00:00:00Z","to":"2026-01-01T00:00:00Z"}"#),
        ("limit zero", r#"{"child":"9990000018","limit":0}"#),
        ("limit negative", r#"{"child":"9990000018","limit":-1}"#),
        ("limit with a point", r#"{"child":"9990000018","limit":1.5}"#),
        ("limit 1e400", r#"{"child":"9990000018","limit":1e400}"#),
        ("limit 1,001", r#"{"child":"9990000018","limit":1001}"#),
        ("limit in a text", r#"{"child":"9990000018","limit":"10"}"#),
        ("a thousand lists", &deep),
        ("a byte order mark", "\u{feff}{\"child\":\"9990000018\"}"),
        ("10,000 letters", &format!("{{\"person\":\"{}\"}}", "a".repeat(10_000))),
    ]
    .map(|(name, body)| (name.to_owned(), body.to_owned()))
    .to_vec()
}

fn by_body() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, body) in bodies() {
        cases.push(case(format!("JSON: {name}"), &search().body(JSON, body), BAD_SEARCH));
    }
    for (name, body) in [
        ("nothing", ""),
        ("JSON", r#"{"child":"9990000018"}"#),
        ("the child twice", "child=9990000018&child=9990000018"),
        ("a child and a person", "child=9990000018&person=1"),
        ("half an escape", "child=%4"),
        ("NUL", "child=9990000018%00"),
        ("a line end", "person=1%0D%0A"),
        ("a list", "child[]=9990000018"),
        ("limit with a point", "child=9990000018&limit=1.5"),
        ("limit empty", "child=9990000018&limit="),
        ("an unknown name", "child=9990000018&all=true"),
    ] {
        cases.push(case(format!("form: {name}"), &search().body(FORM, body), BAD_SEARCH));
    }
    for media_type in ["", "text/plain", "text/csv", "application/xml", "multipart/form-data; boundary=x", "*/*", NAME]
    {
        cases.push(case(format!("as {media_type:?}"), &search().body(media_type, "child=9990000018"), OTHER_TYPE));
    }
    for cursor in ["", "x", "null", "AAAA", "e30", "../../x", "\u{1f600}", NAME] {
        let body = json!({"child": NUMBER, "cursor": cursor}).to_string();
        cases.push(case(format!("cursor {cursor:?}"), &search().body(JSON, body), BAD_REQUEST));
    }
    cases.push(case("a number in the query", &good().query("child", NUMBER), BAD_REQUEST));
    cases
}

fn by_caller_and_path() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, caller) in [("a nurse", nurse()), ("an authority", authority_caller("E06000001"))] {
        cases.push(case(name, &good().caller(&caller), FORBIDDEN));
        cases.push(case(format!("{name} with a bad search"), &search().body(JSON, "{").caller(&caller), FORBIDDEN));
    }
    for (method, path) in [
        ("GET", PATH),
        ("PUT", PATH),
        ("DELETE", "/cpis/audit/accesses"),
        ("POST", "/cpis/audit/accesses"),
        ("POST", "/cpis/audit/accesses/_search/all"),
        ("POST", "/cpis/audit/../audit/accesses/_search"),
        ("POST", "/cpis/audit/entries/_search"),
    ] {
        let request = Request::new(method, path).caller(&officer()).body(JSON, "{}");
        cases.push(case(format!("{method} {path}"), &request, NOT_FOUND));
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r60_r63_hostile_searches_of_accesses() {
    let world = World::new().await;
    let any = of_any(&good()).into_iter().filter(|case| !case.name.contains("Content-Type"));
    let cases: Vec<Case> = any.chain(by_body()).chain(by_caller_and_path()).collect();
    refused(world.start("audit-search").await, &cases, &good()).await;
}
