//! MESH, against the NHS's own test server, `mesh-sandbox` from PyPI: `make test` installs it and says where it is.

use std::{
    io::{Read, Write},
    net::TcpListener,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use cpis::{
    domain::{
        receiver::Reach,
        ways_out::{MeshBox, Outgoing, WaysOut},
    },
    out::{MeshConfig, MeshOut},
    ports::{Again, Mesh, MeshSecrets, PortResult, PushSecrets, SecretKeeper, Tracked},
    wire::mesh::{MeshSender, SUBJECT},
};
use cpis_tests::stack::eventually;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jiff::Timestamp;
use reqwest::{Client, Method, Response};
use tokio::process::{Child, Command};

use super::*;

/// Mailboxes of the sandbox: ours, the council's, and its second contact's.
const OURS: &str = "X26ABC1";
const COUNCIL: &str = "X26ABC2";
const SECOND: &str = "X26ABC3";
/// The password of every mailbox of the sandbox.
const PASSWORD: &str = "password";
const SHARED_KEY: &str = "a key that all senders share";
const WORKFLOW: &str = "CPIS_NOTIFICATION";

/// A running sandbox; it ends when dropped.
struct Sandbox {
    url: String,
    http: Client,
    _process: Child,
}

impl Sandbox {
    async fn start() -> Self {
        let python = std::env::var("CPIS_MESH_PYTHON").unwrap_or_else(|_| {
            panic!(
                "CPIS_MESH_PYTHON does not name a Python with tests/mesh/requirements.txt installed: run `make test`"
            )
        });
        let port = TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("an address").port();
        let process = Command::new(python)
            .args(["-m", "uvicorn", "mesh_sandbox.api:app", "--host", "127.0.0.1", "--log-level", "warning", "--port"])
            .arg(port.to_string())
            .envs([("AUTH_MODE", "full"), ("STORE_MODE", "memory"), ("SHARED_KEY", SHARED_KEY)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the sandbox starts");
        let url = format!("http://127.0.0.1:{port}");
        let http = Client::builder().no_proxy().build().expect("a client");
        let ping = format!("{url}/messageexchange/_ping");
        let up = || async { http.get(&ping).send().await.ok().filter(|answer| answer.status() == 200).map(drop) };
        eventually("an answer of the sandbox", Duration::from_secs(60), up).await;
        Self { url, http, _process: process }
    }

    fn environment(&self) -> [(&'static str, &str); 3] {
        [("MESH_URL", &self.url), ("MESH_MAILBOX", OURS), ("MESH_WORKFLOW_ID", WORKFLOW)]
    }

    /// A request of the owner of a mailbox.
    async fn as_owner(
        &self,
        method: Method,
        mailbox: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Response {
        let owner = sender(mailbox, PASSWORD, SHARED_KEY);
        let request = self.http.request(method, format!("{}/messageexchange/{mailbox}{path}", self.url));
        let request = request.header("authorization", owner.authorization(Uuid::new_v4(), Timestamp::now()));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.header("accept", "application/vnd.mesh.v2+json").body(body).send().await.expect("an answer")
    }

    /// Ids of the messages that wait for the council.
    async fn inbox(&self) -> Vec<String> {
        self.inbox_of(COUNCIL).await
    }

    /// Ids of the messages that wait in a mailbox.
    async fn inbox_of(&self, mailbox: &str) -> Vec<String> {
        let answer = self.as_owner(Method::GET, mailbox, "/inbox", &[], "").await;
        let list: Value = answer.json().await.expect("JSON");
        list["messages"].as_array().into_iter().flatten().map(|id| id.as_str().expect("an id").to_owned()).collect()
    }

    /// A message of the council's inbox, its chunks put together, and the headers of the first.
    async fn message(&self, id: &str) -> (Vec<u8>, reqwest::header::HeaderMap, usize) {
        self.message_of(COUNCIL, id).await
    }

    /// As [`Sandbox::message`], of a mailbox's inbox.
    async fn message_of(&self, mailbox: &str, id: &str) -> (Vec<u8>, reqwest::header::HeaderMap, usize) {
        let (mut body, mut first, mut chunks) = (Vec::new(), None, 0);
        loop {
            chunks += 1;
            let answer = self.as_owner(Method::GET, mailbox, &format!("/inbox/{id}/{chunks}"), &[], "").await;
            let headers = answer.headers().clone();
            let bytes = answer.bytes().await.expect("a chunk");
            if headers.get("content-encoding").is_some_and(|value| value == "gzip") {
                GzDecoder::new(bytes.as_ref()).read_to_end(&mut body).expect("gzip");
            } else {
                body.extend_from_slice(&bytes);
            }
            let range = headers.get("mex-chunk-range").map_or("1:1", |v| v.to_str().expect("text")).to_owned();
            let first = first.get_or_insert(headers).clone();
            if range.split_once(':').is_none_or(|(at, of)| at == of) {
                return (body, first, chunks);
            }
        }
    }

    /// Sends the first of several chunks as we would, and no more; MESH's id of the message.
    async fn begin(&self, local_id: &str, part: &[u8], chunks: usize) -> String {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(part).expect("packed");
        let range = format!("1:{chunks}");
        let headers = [
            ("mex-to", COUNCIL),
            ("mex-workflowid", WORKFLOW),
            ("mex-localid", local_id),
            ("mex-chunk-range", range.as_str()),
            ("content-encoding", "gzip"),
        ];
        let answer = self.as_owner(Method::POST, OURS, "/outbox", &headers, packed.finish().expect("packed")).await;
        let answer: Value = answer.json().await.expect("JSON");
        answer["message_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// MESH gives a message up, as it does five days after nobody collected it.
    async fn give_up(&self, id: &str) {
        let event = self.http.post(format!("{}/messageexchange/admin/message/{id}/event", self.url));
        let answer = event.json(&json!({"status": "undeliverable"})).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }

    async fn acknowledge(&self, id: &str) {
        let path = format!("/inbox/{id}/status/acknowledged");
        assert_eq!(self.as_owner(Method::PUT, COUNCIL, &path, &[], "").await.status(), 200);
    }
}

fn sender(mailbox: &str, password: &str, shared_key: &str) -> MeshSender {
    MeshSender { mailbox: mailbox.into(), password: password.into(), shared_key: shared_key.into() }
}

struct Keeper(Arc<PushSecrets>);

impl SecretKeeper for Keeper {
    async fn push_secrets(&self) -> PortResult<Arc<PushSecrets>> {
        Ok(Arc::clone(&self.0))
    }
}

/// Our way to the sandbox, in this process.
fn way(sandbox: &Sandbox, mailbox: &str, password: &str, shared_key: &str, chunk_bytes: usize) -> MeshOut<Keeper> {
    let mesh = MeshSecrets { password: password.into(), shared_key: shared_key.into(), ..MeshSecrets::default() };
    let secrets = PushSecrets { mesh: Some(mesh), ..PushSecrets::default() };
    let config =
        MeshConfig { url: sandbox.url.clone(), mailbox: mailbox.into(), workflow: WORKFLOW.into(), chunk_bytes };
    MeshOut::new(Some(config), Arc::new(Keeper(Arc::new(secrets))), Reach::ThisMachineToo).expect("a way")
}

fn to(mailbox: &str) -> MeshBox {
    MeshBox { mailbox: mailbox.into() }
}

/// A world whose secret has our mailbox's password, and whose authority chose MESH.
async fn mesh_world(mailbox: &str) -> World {
    let world = world().await;
    let secret = json!({"master": MASTER, "mesh": {"password": PASSWORD, "sharedKey": SHARED_KEY}});
    world.proxy.keep_secret(secret.to_string());
    chooses(&world, &code(0), &WaysOut { mesh: Some(to(mailbox)), ..WaysOut::default() });
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mesh-sandbox: make test"]
async fn r76_mesh_takes_our_word_for_who_we_are_or_refuses_it() {
    let sandbox = Sandbox::start().await;
    let now = Timestamp::now();
    let right = way(&sandbox, OURS, PASSWORD, SHARED_KEY, 1_000);
    assert_eq!(right.handshake(now).await, Ok(()));
    for (mailbox, password, key) in
        [(OURS, "another", SHARED_KEY), (OURS, PASSWORD, "another"), ("X26NONE", PASSWORD, SHARED_KEY)]
    {
        let wrong = way(&sandbox, mailbox, password, key, 1_000);
        let refused = wrong.handshake(now).await.expect_err("refused");
        assert_eq!(
            (refused.code, refused.again),
            ("mesh-refused-us", Again::NotItsFault),
            "{mailbox} {password} {key}"
        );
        let refused = wrong
            .send_mesh(&to(COUNCIL), &Outgoing::first(&notification(&code(0), 1)), now)
            .await
            .expect_err("refused");
        assert_eq!(refused.code, "mesh-refused-us");
    }
    assert!(sandbox.inbox().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mesh-sandbox: make test"]
async fn r76_a_notification_goes_by_mesh_and_is_followed_until_it_is_collected() {
    let sandbox = Sandbox::start().await;
    let world = mesh_world(COUNCIL).await;
    let asn = notification(&code(0), 1);
    owe(&world, &asn);
    drain(&world, "asn", &world.start("asn-delivery").await).await;
    let pusher = world.start_with("asn-push", &sandbox.environment()).await;
    drain(&world, "push", &pusher).await;
    let ids = sandbox.inbox().await;
    assert_eq!(ids.len(), 1, "{}", pusher.output());
    let (body, headers, chunks) = sandbox.message(&ids[0]).await;
    assert_eq!((body, chunks), (serde_json::to_vec(&asn).expect("JSON"), 1));
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let id = asn.id.to_string();
    assert_eq!([header("mex-localid"), header("mex-workflowid")], [id.as_str(), WORKFLOW]);
    assert_eq!([header("mex-subject"), header("mex-from"), header("mex-to")], [SUBJECT, OURS, COUNCIL]);
    let state = push_state(&world, &asn, "mesh");
    assert_eq!((&state["state"]["S"], &state["receipt"]["S"]), (&json!("sent"), &json!(ids[0])));

    // It is asked after until the council has collected it; meanwhile the queue keeps the task.
    world.sqs.advance(400);
    drain(&world, "push", &pusher).await;
    assert_eq!(world.sqs.messages("push").len(), 1);
    sandbox.acknowledge(&ids[0]).await;
    world.sqs.advance(4_000);
    drain(&world, "push", &pusher).await;
    assert_eq!(push_state(&world, &asn, "mesh")["state"]["S"], json!("collected"));
    assert_eq!((world.sqs.messages("push").len(), world.sqs.messages("push-dlq").len()), (0, 0));
    let output = pusher.stop().await;
    for secret in [PASSWORD, SHARED_KEY, MASTER, &nhs_number(1)] {
        assert!(!output.contains(secret), "{output}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mesh-sandbox: make test"]
async fn r85_what_nobody_read_goes_to_the_second_contact_by_mesh() {
    let sandbox = Sandbox::start().await;
    let world = mesh_world(COUNCIL).await;
    let ways = WaysOut { mesh: Some(to(COUNCIL)), second_mesh: Some(to(SECOND)), ..WaysOut::default() };
    chooses(&world, &code(0), &ways);
    let asn = notification(&code(0), 1);
    owe(&world, &asn);
    drain(&world, "asn", &world.start("asn-delivery").await).await;
    let pusher = world.start_with("asn-push", &sandbox.environment()).await;
    drain(&world, "push", &pusher).await;
    let told = async |mailbox| {
        let mut messages = Vec::new();
        for id in sandbox.inbox_of(mailbox).await {
            let (body, headers, _) = sandbox.message_of(mailbox, &id).await;
            let local_id = headers["mex-localid"].to_str().expect("text").to_owned();
            messages.push((local_id, serde_json::from_slice::<Value>(&body).expect("JSON")));
        }
        messages
    };
    let to_first = (asn.id.to_string(), serde_json::to_value(&asn).expect("JSON"));
    assert_eq!(
        (told(COUNCIL).await, told(SECOND).await),
        (vec![to_first.clone()], vec![]),
        "the first alone, at first"
    );
    for _ in 0..2 {
        escalate(&world, &pusher).await;
        let to_second = escalated(&world, &asn, Way::SecondMesh);
        assert_eq!((told(COUNCIL).await, told(SECOND).await), (vec![to_first.clone()], vec![to_second]));
    }
    assert_eq!(push_state(&world, &asn, "second-mesh")["state"]["S"], json!("sent"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mesh-sandbox: make test"]
async fn r76_what_mesh_has_under_our_id_is_not_sent_again() {
    let sandbox = Sandbox::start().await;
    let world = mesh_world(COUNCIL).await;
    let asn = notification(&code(0), 1);
    owe(&world, &asn);
    drain(&world, "asn", &world.start("asn-delivery").await).await;
    let pusher = world.start_with("asn-push", &sandbox.environment()).await;
    drain(&world, "push", &pusher).await;
    // As if the process had died after MESH had taken it, and before it could say so.
    let mut item = world.dynamo.scan("mailbox").remove(0);
    let sent = item["pushes"]["M"]["mesh"].take();
    item["pushes"]["M"]["mesh"] = json!({"M": {"state": {"S": "pending"}, "attempts": {"N": "0"}}});
    world.dynamo.put("mailbox", &item);
    world.sqs.advance(400);
    drain(&world, "push", &pusher).await;
    assert_eq!(sandbox.inbox().await.len(), 1, "one message");
    assert_eq!(push_state(&world, &asn, "mesh")["receipt"], sent["M"]["receipt"], "the one that MESH has");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mesh-sandbox: make test"]
async fn r76_a_large_message_goes_in_chunks_and_a_broken_off_one_is_carried_on() {
    let sandbox = Sandbox::start().await;
    let world = mesh_world(COUNCIL).await;
    let mut environment = sandbox.environment().to_vec();
    environment.push(("MESH_CHUNK_BYTES", "64"));
    let asn = notification(&code(0), 1);
    let whole = serde_json::to_vec(&asn).expect("JSON");
    let wanted = whole.len().div_ceil(64);
    assert!(wanted > 3);
    owe(&world, &asn);
    drain(&world, "asn", &world.start("asn-delivery").await).await;
    drain(&world, "push", &world.start_with("asn-push", &environment).await).await;
    let ids = sandbox.inbox().await;
    let (body, headers, chunks) = sandbox.message(&ids[0]).await;
    assert_eq!((body, chunks), (whole, wanted));
    assert_eq!(headers["mex-localid"], asn.id.to_string().as_str());
    // What the sandbox itself says of it: its chunks, and that they are packed.
    let path = format!("/outbox/tracking/{}", asn.id);
    let tracked: Value = sandbox.as_owner(Method::GET, OURS, &path, &[], "").await.json().await.expect("JSON");
    assert_eq!((&tracked["chunkCount"], &tracked["contentEncoding"]), (&json!(wanted), &json!("gzip")), "{tracked}");

    // Of another only the first chunk was sent.
    let other = notification(&code(0), 2);
    let whole = serde_json::to_string(&other).expect("JSON");
    let begun = sandbox.begin(&other.id.to_string(), &whole.as_bytes()[..200], whole.len().div_ceil(200)).await;
    assert_eq!(sandbox.inbox().await.len(), 1, "it is not whole");
    let way = way(&sandbox, OURS, PASSWORD, SHARED_KEY, 200);
    let receipt = way.send_mesh(&to(COUNCIL), &Outgoing::first(&other), Timestamp::now()).await;
    assert_eq!(receipt, Ok(Some(begun.clone())), "the same message");
    let (body, _, _) = sandbox.message(&begun).await;
    assert_eq!(String::from_utf8(body).expect("text"), whole);
    assert_eq!(sandbox.inbox().await.len(), 2);
    assert_eq!(way.track_mesh(&begun, Timestamp::now()).await, Ok(Tracked::Waiting));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mesh-sandbox: make test"]
async fn r76_a_mailbox_that_mesh_does_not_have_is_told_to_an_operator() {
    let sandbox = Sandbox::start().await;
    let world = mesh_world("X26NOBODY").await;
    let asn = notification(&code(0), 1);
    owe(&world, &asn);
    drain(&world, "asn", &world.start("asn-delivery").await).await;
    drain(&world, "push", &world.start_with("asn-push", &sandbox.environment()).await).await;
    let letters = world.sqs.messages("push-dlq");
    assert_eq!(letters[0].attributes["reason"]["StringValue"], json!("refused-by-mesh"));
    assert_eq!(push_state(&world, &asn, "mesh")["state"]["S"], json!("refused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mesh-sandbox: make test"]
async fn r76_what_mesh_gave_up_is_sent_anew_by_a_replay_and_once() {
    let sandbox = Sandbox::start().await;
    let asn = notification(&code(0), 1);
    let way = way(&sandbox, OURS, PASSWORD, SHARED_KEY, 1_000);
    let send = async || way.send_mesh(&to(COUNCIL), &Outgoing::first(&asn), Timestamp::now()).await;
    let mut lost = Vec::new();
    for _ in 0..2 {
        let sent = send().await.expect("sent").expect("a receipt");
        assert!(!lost.contains(&sent), "another message than those that MESH gave up");
        assert_eq!(sandbox.inbox().await, [sent.as_str()]);
        assert_eq!(send().await, Ok(Some(sent.clone())), "while it waits, it is the same one");
        sandbox.give_up(&sent).await;
        assert_eq!(way.track_mesh(&sent, Timestamp::now()).await, Ok(Tracked::Undelivered));
        lost.push(sent);
    }
    let sent = send().await.expect("sent").expect("a receipt");
    sandbox.acknowledge(&sent).await;
    assert_eq!(send().await, Ok(Some(sent)), "what was collected is not sent again");
    assert_eq!(sandbox.inbox().await, Vec::<String>::new());
}
