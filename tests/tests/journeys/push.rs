//! An authority that chose a webhook: what reaches its server, what its server can verify, and what becomes of it while it is down.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cpis_tests::{
    canary::Child,
    receiver::{Received, Receiver},
    stack::{Council, Stack, eventually},
};
use serde_json::{Value, json};
use sha2::Digest;

/// The stream or the sweep, the queues, and retries that begin after a second.
const PUSHED: Duration = Duration::from_secs(150);

async fn came(receiver: &Receiver, id: &Value, times: usize) -> Vec<Received> {
    let found = || async {
        let all = receiver.received();
        let ours: Vec<_> = all.into_iter().filter(|r| *id == json!(r.header("webhook-id"))).collect();
        (ours.len() >= times).then_some(ours)
    };
    eventually("a webhook", PUSHED, found).await
}

async fn state(council: &Council<'_>, id: &Value, wanted: &str) -> Value {
    let found = || async {
        let (items, _) = council.list("notifications", 1_000).await;
        let ours = items.into_iter().find(|item| item["id"] == *id)?;
        (ours["pushes"]["webhook"]["state"] == wanted).then_some(ours)
    };
    eventually(wanted, PUSHED, found).await
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn a_council_is_sent_what_its_mailbox_has_and_can_verify_it() {
    let stack = Stack::open();
    let council = stack.council("E06000055");
    let receiver = Receiver::start().await;
    let url = format!("{}/asn", receiver.url);
    let set = ["ways", "set", "E06000055", "--webhook", &url, "--because", "a journey", "--by", "journeys", "--json"];
    assert_eq!(stack.done(&set).json()["webhook"]["url"], url.as_str());
    let child = Child::new(170);
    council.hold(&child, "CPP").await;
    let nurse = stack.nurse(&["B0107"]);

    let (trace, _) = stack.look_up("CareTeam", &child, &nurse, 1).await;
    let held = council.told(trace).await;
    let sent = came(&receiver, &held["id"], 1).await.remove(0);
    let body: Value = serde_json::from_slice(&sent.body).expect("JSON");
    for field in ["id", "at", "nhsNumber", "localIds", "viewer", "organisation", "traceId"] {
        assert_eq!(body[field], held[field], "{field}");
    }
    assert!(body.get("state").is_none(), "how the mailbox stands is the mailbox's: {body}");
    verified(&stack, &sent);
    assert_eq!(state(&council, &held["id"], "sent").await["pushes"]["webhook"]["attempts"], 1);

    // While its server is down the mailbox has every notification at once; when it is up again, they come.
    receiver.answer("/asn", 500);
    let (later, _) = stack.look_up("CareTeam", &child, &nurse, 1).await;
    let held = council.told(later).await;
    came(&receiver, &held["id"], 1).await;
    assert_ne!(state(&council, &held["id"], "pending").await["pushes"]["webhook"]["state"], "sent");
    receiver.answer("/asn", 204);
    came(&receiver, &held["id"], 2).await;
    state(&council, &held["id"], "sent").await;
    let well = || async { (stack.cpis(&["status", "--json"]).status != 1).then_some(()) };
    eventually("a status", PUSHED, well).await;
    let none = stack.done(&["ways", "set", "E06000055", "--no-webhook", "--because", "a journey", "--json"]).json();
    assert_eq!(none, json!({}));
}

/// Verifies as a receiver would, with nothing but the key that it was given.
fn verified(stack: &Stack, sent: &Received) {
    let key = stack.done(&["ways", "key", "E06000055"]).stdout;
    let key = STANDARD.decode(key.trim().strip_prefix("whsec_").expect("a key")).expect("Base64");
    let signed =
        [sent.header("webhook-id").as_bytes(), b".", sent.header("webhook-timestamp").as_bytes(), b"."].concat();
    let signature = hmac_sha256(&key, &[signed, sent.body.clone()].concat());
    assert_eq!(sent.header("webhook-signature"), format!("v1,{}", STANDARD.encode(signature)));
}

/// RFC 2104 with SHA-256, for a key of up to 64 bytes.
fn hmac_sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    let digest = |pad: u8, text: &[u8]| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(block, key)| *block ^= key);
        sha2::Sha256::digest([&block, text].concat())
    };
    digest(0x5c, &digest(0x36, text)).to_vec()
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn an_address_that_is_not_public_is_not_even_set() {
    let stack = Stack::open();
    for url in ["https://169.254.169.254/latest/meta-data/", "http://council.example/", "https://council.example:22/"] {
        let set = stack.cpis(&["ways", "set", "E06000056", "--webhook", url, "--because", "a journey"]);
        assert_eq!(set.status, 2, "{url}");
    }
    assert_eq!(stack.done(&["ways", "show", "E06000056", "--json"]).json(), json!({}));
}
