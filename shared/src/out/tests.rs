//! Receivers of every kind, and names that stand for what they should not.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use uuid::Uuid;

use super::{Limits, WebhookOut, resolve::LookUp};
use crate::{
    domain::{
        notification::{Delivered, Notification},
        reading::Reading,
        receiver::Reach,
        ways_out::{Outgoing, PushTask, Way, WaysOut, Webhook},
    },
    ports::{Again, NotTaken, PortError, PortResult, PushSecrets, SecretKeeper, Webhooks},
    wire::webhook::WebhookKey,
};

/// Short ones, so that a receiver that never answers costs the test little.
const LIMITS: Limits =
    Limits { connect: std::time::Duration::from_millis(500), whole: std::time::Duration::from_millis(500) };

struct Keeper(PortResult<Arc<PushSecrets>>);

impl Keeper {
    fn with(previous: Option<&str>) -> Arc<Self> {
        let previous_master = previous.map(str::to_owned);
        Arc::new(Self(Ok(Arc::new(PushSecrets { master: "master".into(), previous_master, mesh: None }))))
    }
}

impl SecretKeeper for Keeper {
    async fn push_secrets(&self) -> PortResult<Arc<PushSecrets>> {
        self.0.clone()
    }
}

fn notification() -> Notification {
    let notification = serde_json::json!({
        "id": Uuid::from_u128(1),
        "accessId": Uuid::from_u128(2),
        "authority": "E06000001",
        "at": "2026-11-22T11:59:00.000Z",
        "nhsNumber": "9990000018",
        "localIds": [],
        "viewer": {"name": "Alex Example"},
        "organisation": {"code": "ZX001", "name": "Sample Hospital"},
        "traceId": Uuid::from_u128(3),
    });
    serde_json::from_value(notification).expect("a notification")
}

/// What a receiver does with one connection.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Answers with these bytes.
    Says(&'static str),
    /// Answers with this head and then a body that never ends.
    Endless(&'static str),
    /// Answers with headers that never end.
    EndlessHead,
    /// Reads, and says nothing.
    Silent,
    /// Closes at once.
    Closes,
}

/// A receiver of a kind: its port, and what reaches it.
async fn receiver(kind: Kind) -> (u16, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(kind, stream, tell.clone()));
        }
    });
    (port, told)
}

async fn serve(kind: Kind, mut stream: TcpStream, tell: mpsc::UnboundedSender<String>) -> io::Result<()> {
    if matches!(kind, Kind::Closes) {
        let _ = tell.send(String::new());
        return Ok(());
    }
    let mut request = Vec::new();
    let mut part = [0; 4096];
    while !complete(&request) {
        match stream.read(&mut part).await? {
            0 => break,
            read => request.extend_from_slice(&part[..read]),
        }
    }
    let _ = tell.send(String::from_utf8_lossy(&request).into_owned());
    match kind {
        Kind::Says(answer) => stream.write_all(answer.as_bytes()).await,
        Kind::Endless(head) => {
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(&[b'x'; 4096]).await?;
            }
        }
        Kind::EndlessHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            for n in 0_u64.. {
                stream.write_all(format!("x-{n}: {}\r\n", "y".repeat(1000)).as_bytes()).await?;
            }
            Ok(())
        }
        Kind::Silent | Kind::Closes => std::future::pending().await,
    }
}

/// Whether a request's head and as much body as it promises are there.
fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

async fn send(kind: Kind) -> (Result<(), NotTaken>, Vec<String>) {
    let (port, mut told) = receiver(kind).await;
    let out = WebhookOut::limited(Keeper::with(None), Reach::ThisMachineToo, LIMITS).expect("TLS");
    let to = Webhook::at(format!("http://127.0.0.1:{port}/asn?x=1"));
    let result = out.send_webhook(&to, &Outgoing::first(&notification()), at()).await;
    let mut requests = Vec::new();
    while let Ok(request) = told.try_recv() {
        requests.push(request);
    }
    (result, requests)
}

fn at() -> Timestamp {
    Timestamp::from_second(1_790_000_000).expect("in range")
}

#[tokio::test]
async fn r74_a_webhook_is_the_notification_signed_by_every_key_in_use() {
    let (port, mut told) = receiver(Kind::Says("HTTP/1.1 204 No Content\r\n\r\n")).await;
    let keeper = Keeper::with(Some("the master before"));
    let out = WebhookOut::new(keeper, Reach::ThisMachineToo).expect("TLS");
    let to = Webhook { url: format!("http://127.0.0.1:{port}/asn?x=1"), keys: vec![2, 1] };
    assert_eq!(out.send_webhook(&to, &Outgoing::first(&notification()), at()).await, Ok(()));
    let request = told.recv().await.expect("a request");
    let (head, body) = request.split_once("\r\n\r\n").expect("head and body");
    assert_eq!(body, serde_json::to_string(&notification()).expect("JSON"));
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("{name}: {head}")).to_owned()
    };
    assert_eq!(head.lines().next(), Some("POST /asn?x=1 HTTP/1.1"));
    assert_eq!(header("content-type"), "application/json");
    let id = notification().id.to_string();
    assert_eq!((header("webhook-id"), header("webhook-timestamp")), (id.clone(), "1790000000".into()));
    let signatures: Vec<_> = [("master", 2), ("master", 1), ("the master before", 2), ("the master before", 1)]
        .map(|(master, number)| WebhookKey::derive(master, &notification().authority, number))
        .map(|key| key.sign(&id, 1_790_000_000, body.as_bytes()))
        .to_vec();
    assert_eq!(header("webhook-signature"), signatures.join(" "));
    for secret in ["master", "whsec_"] {
        assert!(!request.contains(secret));
    }
}

#[tokio::test]
async fn r74_dead_slow_and_lying_receivers() {
    let later = |code, status| Err(NotTaken { code, status, again: Again::Later(None) });
    let never = |status| Err(NotTaken { code: "refused-by-receiver", status: Some(status), again: Again::Never });
    let busy = |status, asked| Err(NotTaken { code: "busy", status: Some(status), again: Again::Later(asked) });
    let moved = "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/latest/meta-data/\r\ncontent-length: 0\r\n\r\n";
    for (kind, expected) in [
        (Kind::Says("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nOK"), Ok(())),
        (Kind::Says("HTTP/1.1 202 Accepted\r\n\r\n"), Ok(())),
        // It took it; what it goes on saying is not listened to.
        (Kind::Endless("HTTP/1.1 200 OK\r\n\r\n"), Ok(())),
        (Kind::Endless("HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n"), Ok(())),
        (Kind::Endless("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n"), Ok(())),
        (Kind::Endless("HTTP/1.1 500 Oh\r\n\r\n"), later("server-error", Some(500))),
        (Kind::EndlessHead, later("answer-unreadable", None)),
        (Kind::Silent, later("timed-out", None)),
        (Kind::Closes, later("answer-unreadable", None)),
        (Kind::Says("SSH-2.0-OpenSSH_9.9\r\n"), later("answer-unreadable", None)),
        (Kind::Says("HTTP/1.1 200\r\n"), later("answer-unreadable", None)),
        (Kind::Says("\0\0\0"), later("answer-unreadable", None)),
        (Kind::Says("HTTP/1.1 301 Moved\r\nlocation: https://evil.example/\r\n\r\n"), later("redirected", Some(301))),
        (Kind::Says(moved), later("redirected", Some(302))),
        (Kind::Says("HTTP/1.1 307 Moved\r\nlocation: /elsewhere\r\n\r\n"), later("redirected", Some(307))),
        (Kind::Says("HTTP/1.1 304 Not Modified\r\n\r\n"), later("redirected", Some(304))),
        (Kind::Says("HTTP/1.1 400 Bad Request\r\n\r\n"), never(400)),
        (Kind::Says("HTTP/1.1 410 Gone\r\n\r\n"), never(410)),
        (Kind::Says("HTTP/1.1 401 Unauthorized\r\n\r\n"), later("not-accepted", Some(401))),
        (Kind::Says("HTTP/1.1 404 Not Found\r\n\r\n"), later("not-accepted", Some(404))),
        (Kind::Says("HTTP/1.1 429 Too Many\r\nretry-after: 120\r\n\r\n"), busy(429, Some(120))),
        (Kind::Says("HTTP/1.1 503 Busy\r\nretry-after: Wed, 21 Oct 2026 07:28:00 GMT\r\n\r\n"), busy(503, None)),
        (Kind::Says("HTTP/1.1 503 Busy\r\nretry-after: -1\r\n\r\n"), busy(503, None)),
        (Kind::Says("HTTP/1.1 502 Bad Gateway\r\n\r\n"), later("server-error", Some(502))),
    ] {
        let (result, requests) = send(kind).await;
        assert_eq!(result, expected, "{kind:?}");
        assert_eq!(requests.len(), 1, "{kind:?}: one connection, and no redirect is followed");
    }
}

/// The second contact may share a system with the first, which takes each id once: what is escalated must not pass for what it has.
#[tokio::test]
async fn r85_the_second_contact_is_sent_a_message_of_its_own_that_says_it_is_escalated() {
    let (port, mut told) = receiver(Kind::Says("HTTP/1.1 204 No Content\r\n\r\n")).await;
    let out = WebhookOut::new(Keeper::with(None), Reach::ThisMachineToo).expect("TLS");
    let delivered = Delivered::new(notification(), at(), &WaysOut::default(), &Reading::default());
    let held = Delivered { escalated_at: Some(at()), ..delivered };
    let mut seen = Vec::new();
    for way in [Way::Webhook, Way::SecondWebhook] {
        let task = PushTask::new(held.notification.authority.clone(), held.notification.id, way, Uuid::nil());
        let to = Webhook::at(format!("http://127.0.0.1:{port}/asn"));
        assert_eq!(out.send_webhook(&to, &task.outgoing(&held), at()).await, Ok(()));
        let request = told.recv().await.expect("a request");
        let (head, body) = request.split_once("\r\n\r\n").expect("head and body");
        let id = head.lines().find_map(|line| line.strip_prefix("webhook-id: ")).expect("an id").to_owned();
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["id"], held.notification.id.to_string(), "what to acknowledge");
        seen.push((id, body.get("escalatedAt").cloned()));
    }
    assert_eq!(seen[0], (held.notification.id.to_string(), None));
    assert_eq!(seen[1].1, Some(serde_json::to_value(at()).expect("JSON")));
    assert_ne!(seen[0].0, seen[1].0);
}

#[tokio::test]
async fn a_port_where_nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port();
    let out = WebhookOut::limited(Keeper::with(None), Reach::ThisMachineToo, LIMITS).expect("TLS");
    let to = Webhook::at(format!("http://127.0.0.1:{port}/"));
    let result = out.send_webhook(&to, &Outgoing::first(&notification()), at()).await;
    assert_eq!(result, Err(NotTaken { code: "not-reached", status: None, again: Again::Later(None) }));
}

/// Names that stand for whatever they are told, one answer after the other.
struct Names {
    answers: Vec<Vec<&'static str>>,
    asked: AtomicUsize,
}

impl LookUp for Names {
    fn addresses(&self, _: &str) -> io::Result<Vec<SocketAddr>> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answers.get(asked).or(self.answers.last()).ok_or(io::ErrorKind::NotFound)?;
        Ok(answer.iter().map(|ip| SocketAddr::new(ip.parse().expect("an address"), 0)).collect())
    }
}

#[tokio::test]
async fn r74_a_name_that_stands_for_an_inner_address_is_not_connected_to() {
    let refused = Err(NotTaken { code: "address-refused", status: None, again: Again::Later(None) });
    for answers in [
        vec!["127.0.0.1"],
        vec!["169.254.169.254"],
        vec!["10.1.2.3"],
        vec!["::1"],
        vec!["::ffff:127.0.0.1"],
        vec!["fd00:ec2::254"],
        vec!["64:ff9b::a9fe:a9fe"],
        vec!["0.0.0.0"],
        // One good address does not make the other good.
        vec!["8.8.8.8", "127.0.0.1"],
        vec!["2606:4700::1111", "fe80::1"],
        vec![],
    ] {
        let names = Names { answers: vec![answers.clone()], asked: AtomicUsize::new(0) };
        let out = WebhookOut::resolving_with(names, Keeper::with(None), Reach::Internet, LIMITS).expect("TLS");
        let result = out
            .send_webhook(&Webhook::at("https://council.example/asn"), &Outgoing::first(&notification()), at())
            .await;
        assert_eq!(result, refused, "{answers:?}");
    }
}

/// What is connected to is what was checked: the name is asked once for each connection, and its answer is used.
#[tokio::test]
async fn r74_a_name_that_changes_its_mind_gains_nothing() {
    let names = Names { answers: vec![vec!["192.0.2.1"], vec!["127.0.0.1"]], asked: AtomicUsize::new(0) };
    let out = WebhookOut::resolving_with(names, Keeper::with(None), Reach::Internet, LIMITS).expect("TLS");
    for _ in 0..2 {
        let result = out
            .send_webhook(&Webhook::at("https://council.example/asn"), &Outgoing::first(&notification()), at())
            .await;
        assert_eq!(result.expect_err("refused").code, "address-refused");
    }
    // A local stack may connect to this machine, and the look-up that was checked is the one that is used.
    let (port, mut told) = receiver(Kind::Says("HTTP/1.1 200 OK\r\n\r\n")).await;
    let names = Names { answers: vec![vec!["127.0.0.1"], vec!["10.0.0.1"]], asked: AtomicUsize::new(0) };
    let out = WebhookOut::resolving_with(names, Keeper::with(None), Reach::ThisMachineToo, LIMITS).expect("TLS");
    let to = Webhook::at(format!("http://localhost:{port}/"));
    assert_eq!(out.send_webhook(&to, &Outgoing::first(&notification()), at()).await, Ok(()));
    assert!(told.recv().await.is_some());
    assert_eq!(
        out.send_webhook(&to, &Outgoing::first(&notification()), at()).await.expect_err("changed").code,
        "address-refused"
    );
}

#[tokio::test]
async fn r74_what_the_directory_holds_is_checked_each_time_and_what_is_ours_is_not_blamed_on_the_receiver() {
    let out = WebhookOut::limited(Keeper::with(None), Reach::Internet, LIMITS).expect("TLS");
    for url in ["http://127.0.0.1:9001/2018-06-01/runtime/", "https://169.254.169.254/", "nonsense", ""] {
        let result = out.send_webhook(&Webhook::at(url), &Outgoing::first(&notification()), at()).await;
        assert_eq!(result.expect_err("refused").code, "address-refused", "{url}");
    }
    let broken = PortError { step: "secret.get", cause: "Timeout".into(), retryable: true };
    let to = Webhook::at("https://council.example/asn");
    let empty = Arc::new(Keeper(Ok(Arc::new(PushSecrets::default()))));
    for (keeper, code) in [(Arc::new(Keeper(Err(broken))), "secret-unreadable"), (empty, "no-key")] {
        let out = WebhookOut::limited(keeper, Reach::Internet, LIMITS).expect("TLS");
        let failure = out.send_webhook(&to, &Outgoing::first(&notification()), at()).await.expect_err("no key");
        assert_eq!((failure.code, failure.again), (code, Again::NotItsFault));
    }
}
