//! Who gets in where: no token, a bad one, and somebody else's.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cpis_tests::{binaries::target, canary::Child, stack::Stack};
use jsonwebtoken::{Algorithm, EncodingKey, Header, decode_header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

/// Every path of an authority.
fn authority_paths(code: &str) -> Vec<(Method, String)> {
    let at = |rest: &str| format!("/cpis/authorities/{code}/{rest}");
    vec![
        (Method::GET, at("uploads")),
        (Method::GET, at("uploads/1")),
        (Method::POST, at("uploads")),
        (Method::GET, at("plans")),
        (Method::POST, at("plans")),
        (Method::GET, at("notifications")),
        (Method::POST, at(&format!("notifications/{}/acknowledge", Uuid::new_v4()))),
    ]
}

/// Every path of health care.
fn health_paths() -> Vec<(Method, String)> {
    let kinds = ["CareTeam", "AuditEvent", "Flag"].into_iter();
    let searches = kinds.flat_map(|kind| {
        [(Method::GET, format!("/cpis/FHIR/R4/{kind}")), (Method::POST, format!("/cpis/FHIR/R4/{kind}/_search"))]
    });
    searches.chain([(Method::GET, "/cpis/FHIR/R4/metadata".to_owned())]).collect()
}

async fn all_answer(stack: &Stack, paths: Vec<(Method, String)>, token: Option<&str>, status: u16) {
    for (method, path) in paths {
        let call = stack.call(method.clone(), &path);
        let answer = token.map_or_else(|| stack.call(method.clone(), &path), |token| call.token(token)).send().await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    }
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn nobody_reaches_what_is_anothers() {
    let stack = Stack::open();
    let other = stack.authority_token("E06000020");
    let nurse = stack.nurse(&["B0107", "B0170"]);
    all_answer(&stack, authority_paths("E06000019"), Some(&other), 403).await;
    all_answer(&stack, authority_paths("E06000019"), Some(&nurse), 403).await;
    all_answer(&stack, health_paths(), Some(&other), 403).await;
    // The same tokens do open their own doors, at once and after a refusal.
    stack.get("/cpis/authorities/E06000020/plans").token(&other).send().await.expect(200);
    stack.look_up("CareTeam", &Child::new(80), &nurse, 0).await;
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn nobody_gets_in_without_a_good_token() {
    let stack = Stack::open();
    let code = "E06000021";
    let good = stack.authority_token(code);
    let paths = || authority_paths(code).into_iter().chain(health_paths()).collect();
    all_answer(&stack, paths(), None, 401).await;
    for (why, bad) in bad_tokens(&stack, code, &good) {
        let answer = stack.get(&format!("/cpis/authorities/{code}/plans")).token(&bad).send().await;
        assert_eq!(answer.status, 401, "{why}: {answer:?}");
    }
    stack.get(&format!("/cpis/authorities/{code}/plans")).token(&good).send().await.expect(200);
}

/// Tokens made from a good one, each with why it must be refused.
fn bad_tokens(stack: &Stack, code: &str, good: &str) -> Vec<(&'static str, String)> {
    let parts: Vec<&str> = good.split('.').collect();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).expect("Base64")).expect("JSON");
    let header = decode_header(good).expect("a token");
    let key = issuer_key(&stack.issuer());
    let changed = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        encode(&header, &claims, &key).expect("a token")
    };
    let now = claims["iat"].as_i64().expect("a time");
    let packed = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let (other_issuer, other_key) = another_issuer(stack, code);
    let of_other_key = encode(&header, &claims, &other_key).expect("a token");
    let unsigned = packed(&json!({"typ": "JWT", "alg": "none", "kid": header.kid}));
    let no_kid = encode(&Header::new(Algorithm::ES256), &claims, &key).expect("a token");
    let promoted = {
        let mut claims = claims.clone();
        claims["cpis"]["authority"] = "E06000022".into();
        packed(&claims)
    };
    vec![
        ("expired", changed("exp", json!(now - 3_600))),
        ("not valid yet", changed("nbf", json!(now + 3_600))),
        ("of another issuer", changed("iss", json!("https://elsewhere.invalid"))),
        ("for somebody else", changed("aud", json!("https://elsewhere.invalid"))),
        ("of nobody", changed("cpis", json!({}))),
        ("signed with another key under the same name", of_other_key),
        ("signed with an unknown key", other_issuer),
        ("without a key's name", no_kid),
        ("unsigned", format!("{unsigned}.{}.", parts[1])),
        ("with claims that were not signed", format!("{}.{promoted}.{}", parts[0], parts[2])),
        ("without its signature", format!("{}.{}.", parts[0], parts[1])),
        ("cut", good[..good.len() - 8].to_owned()),
        ("none at all", "not.a.token".to_owned()),
    ]
}

fn issuer_key(directory: &std::path::Path) -> EncodingKey {
    let pem = std::fs::read(directory.join("issuer-key.pem")).expect("the issuer's key");
    EncodingKey::from_ec_pem(&pem).expect("a key")
}

/// A token of an issuer that is just as good but not known, and that issuer's key.
fn another_issuer(stack: &Stack, code: &str) -> (String, EncodingKey) {
    let directory = target().join(format!("tmp-issuer-{}", Uuid::new_v4()));
    let path = directory.display().to_string();
    assert_eq!(stack.cpis(&["token", "init", "--dir", &path]).status, 0);
    let token = stack.done(&["token", "authority", code, "--issuer-dir", &path]).stdout;
    let key = issuer_key(&directory);
    std::fs::remove_dir_all(directory).expect("removed");
    (token, key)
}
