//! The running stack as its users reach it: the API over HTTP, the operator's command, and the emulator's own endpoints.

use std::{
    path::PathBuf,
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    binaries::workspace,
    canary::{Child, VIEWER},
};

/// What to do where no stack is named.
const HOW_TO_RUN: &str = "CPIS_TEST_STACK does not name a running stack: run `make test`; or start one with `python \
    infra/local/stack.py up --port 0 --dir target/local-test --log-level TRACE` (the emulator's virtual environment), and \
    set CPIS_TEST_STACK=target/local-test/stack.json";
/// Within this time a notification must be in the mailbox: the stream, or else the sweep, brings it.
const NOTIFIED: Duration = Duration::from_secs(120);
/// When every upload says that it was made.
pub const CREATED: &str = "2026-11-22T08:30:00Z";
/// The system of NHS numbers in searches.
const NHS_NUMBER: &str = "https://fhir.nhs.uk/Id/nhs-number";

/// A running stack.
pub struct Stack {
    description: Value,
    http: reqwest::Client,
}

/// How a run of the operator's command ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit status.
    pub status: i32,
    /// What it printed.
    pub stdout: String,
}

impl Ran {
    /// What it printed, read as JSON.
    ///
    /// # Panics
    /// It is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {}", self.stdout))
    }
}

impl Stack {
    /// The stack that `CPIS_TEST_STACK` describes, with every authority of England in its directory.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn open() -> Self {
        static LOADED: OnceLock<()> = OnceLock::new();
        let file = std::env::var_os("CPIS_TEST_STACK").unwrap_or_else(|| panic!("{HOW_TO_RUN}"));
        let text = std::fs::read(workspace().join(file)).unwrap_or_else(|e| panic!("{HOW_TO_RUN} ({e})"));
        let description: Value = serde_json::from_slice(&text).unwrap_or_else(|e| panic!("{HOW_TO_RUN} ({e})"));
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build();
        let stack = Self { http: http.unwrap_or_else(|e| panic!("HTTP client: {e}")), description };
        LOADED.get_or_init(|| drop(stack.done(&["directory", "load"])));
        stack
    }

    /// Where the emulator and the functions write.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.text("/logs").into()
    }

    /// Where the token issuer's key is.
    #[must_use]
    pub fn issuer(&self) -> PathBuf {
        self.text("/issuer/dir").into()
    }

    /// An output of the stack, such as `MailboxTable`.
    #[must_use]
    pub fn output(&self, name: &str) -> String {
        self.text(&format!("/outputs/{name}"))
    }

    fn text(&self, pointer: &str) -> String {
        let found = self.description.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_else(|| panic!("{pointer} is not in the stack's description")).to_owned()
    }

    /// Runs the operator's command to its end.
    ///
    /// # Panics
    /// It cannot be run.
    #[must_use]
    pub fn cpis(&self, arguments: &[&str]) -> Ran {
        let binaries = std::env::var_os("CPIS_BINARIES").unwrap_or_else(|| "target/release".into());
        let tool = workspace().join(binaries).join("cpis");
        let mut command = Command::new(&tool);
        for (name, value) in self.description["env"].as_object().into_iter().flatten() {
            command.env(name, value.as_str().unwrap_or_default());
        }
        let ran = command.args(arguments).output().unwrap_or_else(|e| panic!("{}: {e}", tool.display()));
        let stderr = String::from_utf8_lossy(&ran.stderr);
        eprintln!("cpis {arguments:?}: {} {stderr}", ran.status);
        Ran { status: ran.status.code().unwrap_or(-1), stdout: String::from_utf8_lossy(&ran.stdout).trim().to_owned() }
    }

    /// The same, where it must end well.
    ///
    /// # Panics
    /// It does not.
    #[must_use]
    pub fn done(&self, arguments: &[&str]) -> Ran {
        let ran = self.cpis(arguments);
        assert_eq!(ran.status, 0, "cpis {arguments:?}");
        ran
    }

    /// The token of an authority's system.
    #[must_use]
    pub fn authority_token(&self, code: &str) -> String {
        self.done(&["token", "authority", code]).stdout
    }

    /// The token of a nurse who holds these activities.
    #[must_use]
    pub fn nurse(&self, activities: &[&str]) -> String {
        self.staff("ZX001", "R8001", activities)
    }

    /// The token of somebody of an organisation with this job role and these activities; another person each time.
    #[must_use]
    pub fn staff(&self, organisation: &str, role: &str, activities: &[&str]) -> String {
        let user = Uuid::new_v4().as_u128().to_string();
        let mut arguments = vec!["token", "person", "--user", &user, "--name", VIEWER, "--job-role", role];
        let name = format!("Sample Place {organisation}");
        arguments.extend(["--org-code", organisation, "--org-name", &name]);
        activities.iter().for_each(|activity| arguments.extend(["--activity", activity]));
        self.done(&arguments).stdout
    }

    /// A call of the API.
    #[must_use]
    pub fn call(&self, method: Method, path: &str) -> Call {
        Call(self.http.request(method, self.text("/api/url") + path))
    }

    /// A GET of the API.
    #[must_use]
    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// A POST of the API.
    #[must_use]
    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    /// A search for a child, by POST; without headers but its media type.
    #[must_use]
    pub fn search(&self, resource: &str, number: &str) -> Call {
        let form = format!("patient:identifier={}", encode(&format!("{NHS_NUMBER}|{number}")));
        let call = self.post(&format!("/cpis/FHIR/R4/{resource}/_search"));
        call.body("application/x-www-form-urlencoded", form)
    }

    /// A look-up that must be answered with a Bundle of so many matches; its trace, and the Bundle.
    pub async fn look_up(&self, resource: &str, child: &Child, token: &str, total: usize) -> (Uuid, Answer) {
        let trace = Uuid::new_v4();
        let answer = self.search(resource, &child.number()).token(token).header("TraceID", trace).send().await;
        answer.expect(200);
        assert_eq!(answer.json()["total"], total, "{answer:?}");
        (trace, answer)
    }

    /// A call of an emulated AWS service by its JSON protocol, such as `DynamoDB_20120810.Scan`.
    ///
    /// # Panics
    /// It is refused.
    pub async fn aws(&self, target: &str, body: Value) -> Value {
        let (prefix, _) = target.split_once('.').unwrap_or_default();
        let service = if prefix.starts_with("DynamoDB") { "dynamodb" } else { "sqs" };
        let scope = format!("test/20260101/{}/{service}/aws4_request", self.text("/region"));
        let call = Call(self.http.post(self.text("/endpoint"))).header("X-Amz-Target", target);
        let call = call
            .header("Authorization", format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"));
        let answer = call.body("application/x-amz-json-1.0", body.to_string()).send().await;
        answer.expect(200);
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }

    /// The configuration of a function, as Lambda tells it.
    pub async fn function(&self, name: &str) -> Value {
        let path = format!("{}/2015-03-31/functions/{name}/configuration", self.text("/endpoint"));
        let answer = Call(self.http.get(path)).send().await;
        answer.expect(200);
        answer.json()
    }

    /// Calls a function with an event and waits for its answer.
    ///
    /// # Panics
    /// It fails.
    pub async fn invoke(&self, name: &str, event: &Value) {
        let path = format!("{}/2015-03-31/functions/{name}/invocations", self.text("/endpoint"));
        let answer = Call(self.http.post(path)).body("application/json", event.to_string()).send().await;
        answer.expect(200);
        assert!(answer.header("x-amz-function-error").is_none(), "{name} fails: {}", answer.sentences());
    }

    /// Every item of a table, in DynamoDB's own JSON: whole, or these attributes alone.
    pub async fn scan(&self, output: &str, attributes: &[String]) -> Vec<Value> {
        let mut scan = json!({"TableName": self.output(output), "ConsistentRead": true});
        if !attributes.is_empty() {
            let names: Vec<_> = (0..attributes.len()).map(|n| format!("#a{n}")).collect();
            scan["ProjectionExpression"] = names.join(", ").into();
            scan["ExpressionAttributeNames"] = names.into_iter().zip(attributes).map(|(n, a)| (n, json!(a))).collect();
        }
        let mut items = Vec::new();
        loop {
            let page = self.aws("DynamoDB_20120810.Scan", scan.clone()).await;
            items.extend(page["Items"].as_array().cloned().unwrap_or_default());
            match page.get("LastEvaluatedKey") {
                Some(key) => scan["ExclusiveStartKey"] = key.clone(),
                None => return items,
            }
        }
    }

    /// Items of a table whose `traceId` is this.
    pub async fn traced(&self, output: &str, trace: Uuid) -> Vec<Value> {
        let mut items = self.scan(output, &[]).await;
        items.retain(|item| item["traceId"]["S"] == trace.to_string());
        items
    }

    /// An authority that no other journey uses.
    #[must_use]
    pub fn council(&self, code: &'static str) -> Council<'_> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_secs());
        Council { stack: self, code, token: self.authority_token(code), sequence: AtomicU64::new(now * 1_000) }
    }
}

/// Percent-encodes a text for a query or form.
#[must_use]
pub fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Waits until an attempt succeeds.
///
/// # Panics
/// It does not within the limit.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, limit: Duration, attempt: impl Fn() -> F) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// A request in the making.
pub struct Call(reqwest::RequestBuilder);

impl Call {
    /// With a bearer token.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.header("Authorization", format!("Bearer {token}"))
    }

    /// With a header.
    #[must_use]
    pub fn header(self, name: &str, value: impl ToString) -> Self {
        Self(self.0.header(name, value.to_string()))
    }

    /// With a body.
    #[must_use]
    pub fn body(self, media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self(self.0.header("Content-Type", media_type).body(body.into()))
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Sends it.
    ///
    /// # Panics
    /// Nothing comes back.
    pub async fn send(self) -> Answer {
        let answer = self.0.send().await.unwrap_or_else(|e| panic!("no answer: {e:?}"));
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.bytes().await.unwrap_or_else(|e| panic!("half an answer: {e:?}"));
        Answer { status, headers, body: body.to_vec() }
    }
}

/// An answer of the API.
#[derive(Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body: String = String::from_utf8_lossy(&self.body).chars().take(2_000).collect();
        write!(f, "{} {body}", self.status)
    }
}

impl Answer {
    /// Checks the status.
    ///
    /// # Panics
    /// It is another.
    #[track_caller]
    pub fn expect(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
    }

    /// Checks that it is an OperationOutcome of this status and code.
    ///
    /// # Panics
    /// It is not.
    #[track_caller]
    pub fn refused(&self, status: u16, code: &str) {
        self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/fhir+json"), "{self:?}");
        let found = self.json();
        assert_eq!(found["resourceType"], "OperationOutcome", "{self:?}");
        assert_eq!(found["issue"][0]["details"]["coding"][0]["code"], code, "{self:?}");
    }

    /// The body, read as JSON.
    ///
    /// # Panics
    /// It is not JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The Bundle's resources of a type.
    #[must_use]
    pub fn resources(&self, resource_type: &str) -> Vec<Value> {
        let bundle = self.json();
        let resources = bundle["entry"].as_array().into_iter().flatten().map(|entry| entry["resource"].clone());
        resources.filter(|resource| resource["resourceType"] == resource_type).collect()
    }

    /// What the Bundle says to whoever reads it.
    #[must_use]
    pub fn sentences(&self) -> String {
        let outcomes = self.resources("OperationOutcome");
        let issues = outcomes.iter().flat_map(|outcome| outcome["issue"].as_array().into_iter().flatten());
        issues.filter_map(|issue| issue["diagnostics"].as_str()).collect::<Vec<_>>().join("\n")
    }
}

/// A local authority's system.
pub struct Council<'a> {
    stack: &'a Stack,
    /// GSS code.
    pub code: &'static str,
    /// Its token.
    pub token: String,
    sequence: AtomicU64,
}

impl Council<'_> {
    /// The next sequence, higher than all before it in this run and in earlier ones.
    pub fn next(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// A path of its own.
    #[must_use]
    pub fn path(&self, rest: &str) -> String {
        format!("/cpis/authorities/{}/{rest}", self.code)
    }

    /// A GET of a path of its own.
    #[must_use]
    pub fn get(&self, rest: &str) -> Call {
        self.stack.get(&self.path(rest)).token(&self.token)
    }

    /// A POST to a path of its own.
    #[must_use]
    pub fn post(&self, rest: &str) -> Call {
        self.stack.post(&self.path(rest)).token(&self.token)
    }

    /// Pushes a record by itself under a sequence; the acknowledgement.
    pub async fn push(&self, sequence: u64, record: &Value) -> Value {
        let body = json!({
            "sequence": sequence,
            "created": CREATED,
            "authority": {"emergencyDutyTeamPhone": "020 7946 0101", "officeHoursPhone": "020 7946 0102"},
            "record": record,
        });
        let answer = self.post("plans").json(&body).send().await;
        answer.expect(200);
        answer.json()
    }

    /// Pushes a running plan, which must be loaded.
    pub async fn hold(&self, child: &Child, plan_type: &str) {
        let answer = self.push(self.next(), &child.record(plan_type)).await;
        assert_eq!((&answer["code"], &answer["loaded"]), (&json!("CPF02"), &json!(1)), "{answer}");
    }

    /// All entries of a list, by pages of so many; how many pages there were, too.
    pub async fn list(&self, path: &str, limit: usize) -> (Vec<Value>, usize) {
        let (mut items, mut pages, mut cursor) = (Vec::new(), 0, String::new());
        let mark = if path.contains('?') { '&' } else { '?' };
        loop {
            let answer = self.get(&format!("{path}{mark}limit={limit}{cursor}")).send().await;
            answer.expect(200);
            let page = answer.json();
            let found = page["items"].as_array().cloned().unwrap_or_default();
            assert!(found.len() <= limit, "{path}: {} of {limit}", found.len());
            items.extend(found);
            pages += 1;
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={}", encode(next)),
                None => return (items, pages),
            }
        }
    }

    /// The notifications of a look-up that are in the mailbox now.
    pub async fn mailed(&self, trace: Uuid) -> Vec<Value> {
        let (items, _) = self.list("notifications", 1_000).await;
        items.into_iter().filter(|item| item["traceId"] == trace.to_string()).collect()
    }

    /// The notification of a look-up, once it has come.
    pub async fn told(&self, trace: Uuid) -> Value {
        let first = || async { self.mailed(trace).await.into_iter().next() };
        eventually(&format!("a notification in the mailbox of {}", self.code), NOTIFIED, first).await
    }
}
