//! Hostile requests to the authorizer: whatever is wrong, it answers in the one word that API Gateway makes 401 of. The ways to forge
//! a token are tried beside its code.

use cpis_tests::{
    binaries,
    dynamo::function_environment,
    events::authorizer_event,
    issuer::Issuer,
    runtime_api::Function,
    world::{World, authority_caller},
};
use serde_json::json;

use super::*;

const PATH: &str = "/cpis/authorities/E06000001/plans";

async fn authorizer(world: &World, issuer: Vec<(String, String)>) -> Function {
    let env = [function_environment(&world.proxy.url, &world.sqs), issuer].concat();
    Function::start(&binaries::function("authorizer"), &env).await.expect("the authorizer starts")
}

/// Events with something wrong, by what it is.
fn events(good: &Value, token: &str, expired: &str) -> Vec<(String, Value)> {
    let mut events = Vec::new();
    let bearer = format!("Bearer {token}");
    let mut headers = |name: &str, single: Value, all: Value| {
        let mut event = good.clone();
        (event["headers"], event["multiValueHeaders"]) = (single, all);
        events.push((name.to_owned(), event));
    };
    headers("no headers", json!(null), json!(null));
    headers("empty headers", json!({}), json!({}));
    headers("another header", json!({"X-Authorization": bearer}), json!({}));
    headers("no value", json!({"Authorization": null}), json!({"Authorization": null}));
    headers("an object", json!({"Authorization": {"Bearer": token}}), json!(null));
    headers("two tokens", json!({"Authorization": bearer}), json!({"Authorization": [bearer, bearer]}));
    headers("a token and another", json!({"Authorization": bearer}), json!({"Authorization": ["Bearer x", bearer]}));
    headers("two tokens in two cases", json!(null), json!({"Authorization": [bearer], "authorization": [bearer]}));
    for (name, value) in [
        ("an empty header", String::new()),
        ("a token alone", token.to_owned()),
        ("NUL", format!("{bearer}\0")),
        ("a line end", format!("Bearer\r\n {token}")),
        ("letters beyond ASCII", format!("{bearer}\u{e9}")),
        ("a joiner", format!("Bearer \u{200d}{token}")),
        ("a megabyte", format!("Bearer {}", "a".repeat(1 << 20))),
        ("two in one", format!("{bearer}, {bearer}")),
        ("half a token", bearer[..bearer.len() / 2].to_owned()),
        ("a token without its signature", bearer[..=bearer.rfind('.').unwrap_or_default()].to_owned()),
        ("a letter changed", bearer.replacen("eyJ", "eyK", 1)),
        ("an old token", format!("Bearer {expired}")),
        ("a number", NUMBER.to_owned()),
        ("a name", format!("Bearer {NAME}")),
    ] {
        headers(name, json!({"Authorization": value}), json!({"Authorization": [value]}));
    }
    for (name, arn) in
        [("no method", json!(null)), ("an empty method", json!("")), ("a method that is none", json!("GET"))]
    {
        let mut event = good.clone();
        event["methodArn"] = arn;
        events.push((name.to_owned(), event));
    }
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r62_r63_hostile_requests_to_the_authorizer() {
    let (world, issuer) = (World::new().await, Issuer::start().await);
    let function = authorizer(&world, issuer.environment()).await;
    let caller = authority_caller("E06000001");
    let token = issuer.token(&caller);
    let good = authorizer_event(&token, "GET", PATH);
    for (name, event) in events(&good, &token, &issuer.expired(&caller)) {
        let Outcome::Error(error) = function.invoke_json(&event).await.outcome else { panic!("{name}: not refused") };
        let error: Value = serde_json::from_slice(&error).expect("JSON");
        assert_eq!(error["errorMessage"], "Unauthorized", "{name}");
    }
    let mut foreign = good.clone();
    foreign["headers"]["User-Agent"] = json!("J\u{f6}rg's browser");
    foreign["multiValueHeaders"]["Cookie"] = json!(["a", "b\u{1f600}"]);
    for (name, event) in [("a good request afterwards", &good), ("letters beyond ASCII elsewhere", &foreign)] {
        let policy = function.invoke_json(event).await.json();
        assert_eq!(policy["policyDocument"]["Statement"][0]["Effect"], "Allow", "{name}");
    }
    let log = function.stop().await;
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(Search::new(&[NAME.to_owned(), NUMBER.to_owned(), token]).text("log", &log), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r61_without_an_issuer_nobody_is_let_in_and_the_alarm_is_told() {
    let (world, issuer) = (World::new().await, Issuer::start().await);
    let (environment, token) = (issuer.environment(), issuer.token(&authority_caller("E06000001")));
    drop(issuer);
    let function = authorizer(&world, environment).await;
    let reply = function.invoke_json(&authorizer_event(&token, "GET", PATH)).await;
    assert!(matches!(reply.outcome, Outcome::Error(_)), "{reply:?}");
    let log = function.stop().await;
    let line = log.lines().find(|line| line.contains("jwks.unreachable")).expect("a line");
    let line: Value = serde_json::from_str(line).expect("JSON");
    // What the alarm JwksUnreachable watches.
    assert_eq!((&line["JwksUnreachable"], &line["service"]), (&json!(1), &json!("authorizer")), "{line}");
    assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Namespace"], "CPIS");
    assert!(log.contains("unknown-key"), "{log}");
}
