//! Webhooks: who gets them, who does not hold them up, and what a certificate must be.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cpis::domain::ways_out::{WaysOut, Webhook};
use cpis_tests::{
    binaries::target,
    canary::Search,
    receiver::{Broken, Received, Receiver},
};
use futures_util::future::join;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::*;

fn webhook(url: &str) -> WaysOut {
    WaysOut { webhook: Some(Webhook::at(url)), ..WaysOut::default() }
}

/// Which notifications came, each how often.
fn counted(received: &[Received]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for one in received {
        *counts.entry(one.header("webhook-id")).or_default() += 1;
    }
    counts
}

/// R73, R75: 153 authorities, each with a webhook; one of them is down, with a hundred notifications at the head of the queue.
/// The other 152 have all of theirs before any second is waited for, and the dead one was tried a few times, not a hundred.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r75_one_of_153_receivers_is_down_and_nobody_else_waits() {
    const AUTHORITIES: usize = 153;
    const EACH: u32 = 4;
    const BACKLOG: u32 = 100;
    let world = world().await;
    let (well, down) = (Receiver::start().await, Broken::start().await);
    let dead = code(0);
    chooses(&world, &dead, &webhook(&down.url));
    let others: Vec<_> = (1..AUTHORITIES).map(code).collect();
    for other in &others {
        chooses(&world, other, &webhook(&format!("{}/{other}", well.url)));
    }
    let backlog: Vec<_> = (0..BACKLOG).map(|n| notification(&dead, n)).collect();
    // The dead one's first, then everybody's in turn.
    backlog.iter().for_each(|asn| owe(&world, asn));
    let wanted: Vec<_> = (0..EACH).flat_map(|n| others.iter().map(move |other| notification(other, n))).collect();
    wanted.iter().for_each(|asn| owe(&world, asn));

    // Every mailbox has its notifications before anything is pushed: a receiver has no part in it.
    let delivery = world.start("asn-delivery").await;
    let all = BACKLOG as usize + wanted.len();
    assert_eq!(drain(&world, "asn", &delivery).await, all.div_ceil(10), "no delivery was tried twice");
    assert_eq!(world.dynamo.scan("mailbox").len(), all);
    assert_eq!(world.sqs.messages("push").len(), all);
    assert!(well.received().is_empty());

    // Two processes at once, as Lambda would run them. No time passes for the queue: what waits is not handed out again.
    let pushers = (world.start("asn-push").await, world.start("asn-push").await);
    let rounds = join(drain(&world, "push", &pushers.0), drain(&world, "push", &pushers.1)).await;
    assert_eq!(rounds.0 + rounds.1, all.div_ceil(10), "one round for each batch, and none was handed out again");
    let counts = counted(&well.received());
    let once: BTreeMap<_, _> = wanted.iter().map(|asn| (asn.id.to_string(), 1)).collect();
    assert_eq!(counts, once, "each once, and to its own authority alone");
    assert!(well.received().iter().all(|r| is_for(r, &r.path)), "each at its own authority's address");
    // Three failures in a row rest a receiver; a second process may have had one more under way.
    assert!((3..=4).contains(&down.connections()), "{} connections to the dead one", down.connections());
    assert_eq!(world.sqs.messages("push").len(), BACKLOG as usize, "they wait");
    let output = pushers.0.stop().await + &pushers.1.stop().await;
    assert_eq!(output.matches(r#""event":"push.receiver-rests""#).count(), 1, "told once: {output}");

    // It is well again, and its rest over: everything arrives, in as many rounds as it takes.
    chooses(&world, &dead, &webhook(&format!("{}/{dead}", well.url)));
    let circuit = json!({"la": {"S": dead.as_str()}, "id": {"S": "circuit#webhook"}});
    let mut resting = world.dynamo.get("mailbox", &circuit).expect("it rests");
    assert!(resting["restsUntil"]["S"].is_string(), "{resting}");
    resting["restsUntil"] = json!({"S": "2026-01-01T00:00:00Z"});
    world.dynamo.put("mailbox", &resting);
    // A new process: the others still believe the directory as they read it.
    let pusher = world.start("asn-push").await;
    world.sqs.advance(3_600);
    drain(&world, "push", &pusher).await;
    assert_eq!(world.sqs.messages("push").len(), 0);
    let counts = counted(&well.received());
    assert_eq!(counts.len(), all);
    assert!(counts.values().all(|n| *n == 1), "each once");
    assert_eq!(push_state(&world, &backlog[99], "webhook")["state"], json!({"S": "sent"}));
    assert!(world.sqs.messages("push-dlq").is_empty());
    // Nothing of a child is in the queues or in what the functions wrote.
    let search = Search::new(&[]);
    for output in [output, pusher.stop().await, delivery.stop().await] {
        assert_eq!(search.text("output", &output), []);
        assert!(!output.contains(&nhs_number(1)) && !output.contains("whsec_") && !output.contains(MASTER));
    }
}

/// R75: one takes connections and never says a word, one answers after four seconds; both have twenty notifications at the head of
/// the queue. Each batch that has theirs tries one of them, and everybody else's are sent before any second is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r75_a_silent_receiver_and_a_slow_one_hold_nobody_up() {
    const BACKLOG: u32 = 20;
    let world = world().await;
    let (well, silent) = (Receiver::start().await, Broken::silent().await);
    let (dead, slow) = (code(0), code(1));
    chooses(&world, &dead, &webhook(&silent.url));
    chooses(&world, &slow, &webhook(&format!("{}/{slow}", well.url)));
    well.delay(&format!("/{slow}"), Duration::from_secs(4));
    let others: Vec<_> = (2..22).map(code).collect();
    for other in &others {
        chooses(&world, other, &webhook(&format!("{}/{other}", well.url)));
    }
    for unwell in [&dead, &slow] {
        (0..BACKLOG).for_each(|n| owe(&world, &notification(unwell, n)));
    }
    let wanted: Vec<_> = (0..2).flat_map(|n| others.iter().map(move |other| notification(other, n))).collect();
    wanted.iter().for_each(|asn| owe(&world, asn));
    drain(&world, "asn", &world.start("asn-delivery").await).await;
    let all = 2 * BACKLOG as usize + wanted.len();
    assert_eq!(world.sqs.messages("push").len(), all);

    let pushers = (world.start("asn-push").await, world.start("asn-push").await);
    let rounds = join(drain(&world, "push", &pushers.0), drain(&world, "push", &pushers.1)).await;
    assert_eq!(rounds.0 + rounds.1, all.div_ceil(10), "one round for each batch, and none was handed out again");
    let (of_slow, of_others): (Vec<_>, Vec<_>) =
        well.received().into_iter().partition(|received| received.path == format!("/{slow}"));
    let once: BTreeMap<_, _> = wanted.iter().map(|asn| (asn.id.to_string(), 1)).collect();
    assert_eq!(counted(&of_others), once, "each once");
    // A batch may hold the last of one and the first of the next.
    assert!((1..=3).contains(&of_slow.len()), "{} pushes to the slow one", of_slow.len());
    assert!((1..=3).contains(&silent.connections()), "{} connections to the silent one", silent.connections());
    assert_eq!(world.sqs.messages("push").len(), 2 * BACKLOG as usize - of_slow.len(), "theirs wait");
}

fn is_for(received: &Received, path: &str) -> bool {
    let body: Value = serde_json::from_slice(&received.body).expect("JSON");
    format!("/{}", body["authority"].as_str().unwrap_or_default()) == path
        && body["id"] == received.header("webhook-id")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r73_pushes_that_a_killed_delivery_left_behind_are_swept() {
    let world = world().await;
    let well = Receiver::start().await;
    chooses(&world, &code(0), &webhook(&well.url));
    let asn = notification(&code(0), 1);
    owe(&world, &asn);
    let delivery = world.start("asn-delivery").await;
    drain(&world, "asn", &delivery).await;
    // As if it had been killed between delivering and queueing, some time ago.
    let batch = world.sqs.receive("push");
    world.sqs.delete("push", batch.iter().map(|m| m.receipt.as_str()));
    let mut item = world.dynamo.scan("mailbox").remove(0);
    assert_eq!((item.get("push"), item.get("push_at")), (None, None), "it was queued");
    item["push"] = json!({"S": "due"});
    item["push_at"] = json!({"S": "2026-01-01T00:00:00.000Z"});
    world.dynamo.put("mailbox", &item);
    let pusher = world.start("asn-push").await;
    let swept = pusher.invoke_json(&events::schedule_event()).await;
    assert!(swept.answer().is_some(), "{}", pusher.output());
    drain(&world, "push", &pusher).await;
    assert_eq!(counted(&well.received()), BTreeMap::from([(asn.id.to_string(), 1)]));
    assert!(world.dynamo.scan("mailbox")[0].get("push").is_none(), "nothing is owed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r85_what_nobody_read_goes_to_the_second_contact_and_the_first_gets_nothing_more() {
    let world = world().await;
    let (first, second) = (Receiver::start().await, Receiver::start().await);
    let second_webhook = Some(Webhook::at(format!("{}/duty", second.url)));
    chooses(&world, &code(0), &WaysOut { second_webhook, ..webhook(&format!("{}/asn", first.url)) });
    let asn = notification(&code(0), 1);
    owe(&world, &asn);
    drain(&world, "asn", &world.start("asn-delivery").await).await;
    let pusher = world.start("asn-push").await;
    drain(&world, "push", &pusher).await;
    let told = |receiver: &Receiver| {
        let received = receiver.received().into_iter();
        let body = |one: &Received| serde_json::from_slice::<Value>(&one.body).expect("JSON");
        received.map(|one| ((one.header("webhook-id"), body(&one)), one.path)).collect::<Vec<_>>()
    };
    let to_first = ((asn.id.to_string(), serde_json::to_value(&asn).expect("JSON")), "/asn".to_owned());
    assert_eq!((told(&first), told(&second)), (vec![to_first.clone()], vec![]), "the first contact alone, at first");
    // The second time nothing is left to do.
    for _ in 0..2 {
        escalate(&world, &pusher).await;
        let to_second = (escalated(&world, &asn, Way::SecondWebhook), "/duty".to_owned());
        assert_eq!((told(&first), told(&second)), (vec![to_first.clone()], vec![to_second]));
    }
    assert_eq!(push_state(&world, &asn, "second-webhook")["state"], json!({"S": "sent"}));
    assert_eq!(world.sqs.messages("push").len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r73_what_a_receiver_will_never_take_is_set_aside_and_a_replay_sends_it() {
    let world = world().await;
    let receiver = Receiver::start().await;
    receiver.answer("/asn", 410);
    chooses(&world, &code(0), &webhook(&format!("{}/asn", receiver.url)));
    let asn = notification(&code(0), 1);
    owe(&world, &asn);
    drain(&world, "asn", &world.start("asn-delivery").await).await;
    let pusher = world.start("asn-push").await;
    drain(&world, "push", &pusher).await;
    let letters = world.sqs.messages("push-dlq");
    assert_eq!((letters.len(), world.sqs.messages("push").len()), (1, 0));
    let text = |name: &str| letters[0].attributes[name]["StringValue"].as_str().unwrap_or_default().to_owned();
    assert_eq!(
        (text("reason"), text("kind"), text("way")),
        ("refused-by-receiver".into(), "push".into(), "webhook".into())
    );
    assert_eq!((text("authority"), text("traceId")), (code(0).to_string(), asn.trace_id.to_string()));
    assert!(!letters[0].body.contains(&nhs_number(1)), "{}", letters[0].body);
    let state = push_state(&world, &asn, "webhook");
    assert_eq!((&state["state"]["S"], &state["reason"]["S"]), (&json!("refused"), &json!("refused-by-receiver")));
    // Mended, and replayed as `cpis dlq replay` does: the same body, by itself.
    receiver.answer("/asn", 204);
    world.sqs.send("push", &letters[0].body, letters[0].attributes.clone());
    drain(&world, "push", &pusher).await;
    assert_eq!(push_state(&world, &asn, "webhook")["state"]["S"], json!("sent"));
    assert_eq!(receiver.received().len(), 2);
}

/// A council's server with a certificate for `localhost` that an authority of our own has signed, and that authority's PEM.
async fn tls_receiver() -> (String, String) {
    let mut issuer = rcgen::CertificateParams::new(vec![]).expect("parameters");
    issuer.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer_key = rcgen::KeyPair::generate().expect("a key");
    let root = issuer.self_signed(&issuer_key).expect("a root");
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["localhost".into()]).expect("parameters");
    let certificate = params.signed_by(&key, &rcgen::Issuer::new(issuer, issuer_key)).expect("a certificate");
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a server");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = vec![0; 16 * 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    (format!("https://localhost:{port}/asn"), root.pem())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r74_a_receiver_is_believed_to_be_itself_only_with_a_certificate_for_its_name() {
    let (url, root) = tls_receiver().await;
    let trusted = target().join(format!("push-root-{}.pem", Uuid::new_v4()));
    std::fs::write(&trusted, root).expect("written");
    let trusts: &[(&str, &str)] = &[("SSL_CERT_FILE", trusted.to_str().expect("a path"))];
    // The same server under a name that its certificate does not have.
    let other_name = url.replace("localhost", "127.0.0.1");
    for (env, url, outcome) in
        [(trusts, &url, "push.sent"), (&[][..], &url, "push.failed"), (trusts, &other_name, "push.failed")]
    {
        let world = world().await;
        chooses(&world, &code(0), &webhook(url));
        owe(&world, &notification(&code(0), 1));
        drain(&world, "asn", &world.start("asn-delivery").await).await;
        let pusher = world.start_with("asn-push", env).await;
        drain(&world, "push", &pusher).await;
        let output = pusher.stop().await;
        assert!(output.contains(&format!(r#""event":"{outcome}""#)), "{url} {env:?}: {output}");
        if outcome == "push.failed" {
            assert!(output.contains("not-reached"), "{output}");
        }
    }
    std::fs::remove_file(&trusted).expect("removed");
}
