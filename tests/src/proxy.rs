//! A proxy in front of DynamoDB, SQS and CloudFormation, and in the place of KMS, S3, Secrets Manager and CloudWatch, that counts calls and can, at the
//! n-th, kill the caller or answer with a fault, before the call is passed on or after it has taken effect. So a real binary
//! is broken at any of its awaits with no switch inside it.

use crate::{
    permissions::{self, Permission},
    runtime_api::{Killer, serve_on},
};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    net::TcpListener,
    sync::{Barrier, OwnedRwLockWriteGuard, RwLock, oneshot},
    task::JoinHandle,
};

/// When a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The call never reaches the service.
    Before,
    /// The call has taken effect, its answer is not passed on.
    After,
}

/// What strikes.
#[derive(Debug, Clone)]
pub enum Fault {
    /// SIGKILL of the calling function.
    Kill(Killer),
    /// 400 `ProvisionedThroughputExceededException` from DynamoDB, `RequestThrottled` from SQS.
    Throttle,
    /// 500 `InternalServerError`.
    ServerError,
    /// The connection is cut with no answer.
    Drop,
    /// No answer ever comes.
    Silence,
}

/// A fault armed for one call.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which call, counted from 1 since the proxy started or was last reset.
    pub call: usize,
    /// Before or after it takes effect.
    pub when: When,
    /// What happens.
    pub fault: Fault,
}

#[derive(Default)]
struct Journal {
    calls: Vec<Call>,
    plans: Vec<Plan>,
    /// After which call to close, and who waits for that.
    closes: Option<(usize, oneshot::Sender<OwnedRwLockWriteGuard<()>>)>,
    fired: usize,
    secret: String,
    /// What S3 holds, by path; none where it keeps nothing of what it is given.
    objects: Option<BTreeMap<String, Bytes>>,
}

/// One call: its operation, such as `Query`, which for S3 is empty, and what it needs permission for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// Operation.
    pub operation: String,
    /// Permissions.
    pub needs: Vec<Permission>,
}

/// The services behind the proxy.
struct Upstream {
    dynamo: String,
    sqs: String,
    cloudformation: String,
}

impl Upstream {
    fn of(dynamo: &str, sqs: &str) -> Self {
        Self { dynamo: dynamo.to_owned(), sqs: sqs.to_owned(), cloudformation: String::new() }
    }
}

struct Shared {
    upstream: Mutex<Upstream>,
    client: reqwest::Client,
    journal: Mutex<Journal>,
    /// Where calls wait for each other.
    meeting: Mutex<Option<Arc<Barrier>>>,
    /// Calls wait while somebody else has it.
    gate: Arc<RwLock<()>>,
}

impl Shared {
    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn upstream(&self) -> MutexGuard<'_, Upstream> {
        self.upstream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The running proxy; it stops when dropped.
pub struct Proxy {
    /// Where functions are to send their calls (`AWS_ENDPOINT_URL`).
    pub url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Proxy {
    /// Starts on a free port of 127.0.0.1, in front of these two services.
    ///
    /// # Panics
    /// No port can be bound.
    pub async fn start(dynamo: &str, sqs: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap_or_else(|e| panic!("bind: {e}"));
        let url = listener.local_addr().map_or_else(|e| panic!("address: {e}"), |a| format!("http://{a}"));
        let shared = Arc::new(Shared {
            upstream: Mutex::new(Upstream::of(dynamo, sqs)),
            client: reqwest::Client::new(),
            journal: Mutex::default(),
            meeting: Mutex::default(),
            gate: Arc::default(),
        });
        let routes =
            Router::new().fallback(pass).layer(DefaultBodyLimit::max(16 << 20)).with_state(Arc::clone(&shared));
        Self { url, shared, server: tokio::spawn(serve_on(listener, routes)) }
    }

    /// Lets calls wait until what this answers with is dropped: whom a fault is to kill must have started before it can be armed, and
    /// may make no call until then.
    pub async fn close(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.shared.gate).write_owned().await
    }

    /// Closes by itself as [`Proxy::close`] does, once this many calls have come since it started or was last reset: the last of them is
    /// passed on, as those that came at the same time are.
    #[must_use]
    pub fn close_at(&self, call: usize) -> oneshot::Receiver<OwnedRwLockWriteGuard<()>> {
        let (closes, closed) = oneshot::channel();
        self.shared.journal().closes = Some((call, closes));
        closed
    }

    /// Arms one more fault.
    pub fn arm(&self, plan: Plan) {
        self.shared.journal().plans.push(plan);
    }

    /// Lets the next so many calls wait for each other, and passes none of them on before all are there. A caller that makes them one
    /// after the other gets no answer.
    pub fn gather(&self, calls: usize) {
        *self.shared.meeting.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(Barrier::new(calls)));
    }

    /// Stands from now on in front of these two services, for callers that cannot be told another address.
    pub fn move_to(&self, dynamo: &str, sqs: &str) {
        *self.shared.upstream() = Upstream::of(dynamo, sqs);
    }

    /// Stands in front of this CloudFormation too.
    pub fn find_stacks_at(&self, cloudformation: &str) {
        cloudformation.clone_into(&mut self.shared.upstream().cloudformation);
    }

    /// Disarms every fault and starts counting from 1 again.
    pub fn reset(&self) {
        let mut journal = self.shared.journal();
        let (secret, objects) = (std::mem::take(&mut journal.secret), journal.objects.take());
        *journal = Journal { secret, objects, ..Journal::default() };
    }

    /// Sets what Secrets Manager answers: the text of every secret.
    pub fn keep_secret(&self, text: impl Into<String>) {
        self.shared.journal().secret = text.into();
    }

    /// From now on S3 keeps what is put there, once where that is asked for, lists it and gives it back.
    pub fn keep_objects(&self) {
        self.shared.journal().objects = Some(BTreeMap::new());
    }

    /// From now on S3 keeps nothing, and says of everything that it is there, and empty.
    pub fn keep_no_objects(&self) {
        self.shared.journal().objects = None;
    }

    /// Puts an object into S3, which keeps what it is given: its path is bucket and key.
    pub fn put_object(&self, path: &str, object: impl Into<Bytes>) {
        self.shared.journal().objects.get_or_insert_default().insert(path.to_owned(), object.into());
    }

    /// What S3 keeps, by path: bucket and key.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.shared.journal().objects.clone().unwrap_or_default()
    }

    /// How many armed faults have struck.
    #[must_use]
    pub fn fired(&self) -> usize {
        self.shared.journal().fired
    }

    /// The operations called, in order, such as `Query` or `SendMessage`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.shared.journal().calls.iter().map(|call| call.operation.clone()).collect()
    }

    /// The calls, in order, each with what it needed permission for.
    #[must_use]
    pub fn made(&self) -> Vec<Call> {
        self.shared.journal().calls.clone()
    }

    /// What the caller needed permission for.
    #[must_use]
    pub fn permissions(&self) -> BTreeSet<Permission> {
        self.shared.journal().calls.iter().flat_map(|call| call.needs.clone()).collect()
    }

    /// How often each operation was called.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in self.calls() {
            *counts.entry(call).or_default() += 1;
        }
        counts
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    drop(shared.gate.read().await);
    let target = headers.get("x-amz-target").and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let sqs = target.starts_with("AmazonSQS.");
    let place = (uri.path(), uri.query().unwrap_or_default());
    let needs = permissions::needed(method.as_str(), place, &target, &body);
    let is_of_stacks = needs.iter().any(|(action, _)| action.starts_with("cloudformation:"));
    let plan = note_call(&shared, &target, needs);
    close_if_due(&shared).await;
    meet(&shared).await;
    if let Some(Plan { when: When::Before, fault, .. }) = &plan {
        return strike(fault, sqs).await;
    }
    let secret = shared.journal().secret.clone();
    let is_of_s3 = target.is_empty() && !is_of_stacks && !uri.path().starts_with("/service/");
    let kept = if is_of_s3 { stored(&shared, &method, &uri, &headers, &body) } else { None };
    let stands_in = || if is_of_stacks { None } else { stand_in(&target, uri.path(), &body, &secret) };
    if let Some(answer) = kept.or_else(stands_in) {
        return match plan {
            Some(plan) => strike(&plan.fault, sqs).await,
            None => answer,
        };
    }
    let upstream = {
        let upstream = shared.upstream();
        let url = if sqs { &upstream.sqs } else { &upstream.dynamo };
        if is_of_stacks { upstream.cloudformation.clone() } else { url.clone() }
    };
    let answer = forward(&shared.client, &upstream, headers, body).await;
    match (plan, answer) {
        (Some(plan), _) => strike(&plan.fault, sqs).await,
        (None, Ok(answer)) => answer,
        (None, Err(e)) => panic!("the service behind the proxy is gone: {e}"),
    }
}

/// Closes, where this was the last call to be passed on.
async fn close_if_due(shared: &Shared) {
    let closes = {
        let mut journal = shared.journal();
        let calls = journal.calls.len();
        journal.closes.take_if(|(last, _)| calls >= *last)
    };
    if let Some((_, closes)) = closes {
        // Whoever waits for it may have gone.
        let _ = closes.send(Arc::clone(&shared.gate).write_owned().await);
    }
}

/// Waits for the others, where calls are to meet; once they have met, no more.
async fn meet(shared: &Shared) {
    let meeting = || shared.meeting.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(barrier) = meeting().clone() else { return };
    if barrier.wait().await.is_leader() {
        *meeting() = None;
    }
}

/// Counts the call and takes out the plan, if any, that is armed for it.
fn note_call(shared: &Shared, target: &str, needs: Vec<Permission>) -> Option<Plan> {
    let mut journal = shared.journal();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    journal.calls.push(Call { operation, needs });
    let call = journal.calls.len();
    let armed = journal.plans.iter().position(|plan| plan.call == call)?;
    journal.fired += 1;
    Some(journal.plans.swap_remove(armed))
}

/// What S3 answers, where it keeps objects.
fn stored(shared: &Shared, method: &Method, uri: &Uri, headers: &HeaderMap, body: &Bytes) -> Option<Response<Body>> {
    let mut journal = shared.journal();
    let objects = journal.objects.as_mut()?;
    let answer = |status, body: Body| {
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Some(response)
    };
    let fault = |status, code: &str| answer(status, format!("<Error><Code>{code}</Code></Error>").into());
    let (path, query) = (uri.path().to_owned(), uri.query().unwrap_or_default());
    if query.contains("list-type=2") {
        let (bucket, prefix) = (path.trim_end_matches('/'), parameter(query, "prefix"));
        let keys = objects.keys().filter_map(|path| path.strip_prefix(bucket)?.strip_prefix('/'));
        let keys: Vec<_> = keys.filter(|key| key.starts_with(&prefix)).collect();
        let part = |key: &&str| {
            let size = objects[&format!("{bucket}/{key}")].len();
            format!("<Contents><Key>{key}</Key><Size>{size}</Size></Contents>")
        };
        let (count, parts) = (keys.len(), keys.iter().map(part).collect::<String>());
        let list = format!(
            "<ListBucketResult><KeyCount>{count}</KeyCount><IsTruncated>false</IsTruncated>{parts}</ListBucketResult>"
        );
        return answer(StatusCode::OK, list.into());
    }
    match *method {
        Method::GET => match objects.get(&path) {
            Some(object) => answer(StatusCode::OK, object.clone().into()),
            None => fault(StatusCode::NOT_FOUND, "NoSuchKey"),
        },
        _ if headers.contains_key("if-none-match") && objects.contains_key(&path) => {
            fault(StatusCode::PRECONDITION_FAILED, "PreconditionFailed")
        }
        _ => {
            objects.insert(path, body.clone());
            answer(StatusCode::OK, Body::empty())
        }
    }
}

/// A parameter of a query whose value needs no decoding but for slashes.
fn parameter(query: &str, name: &str) -> String {
    let found = query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_default().replace("%2F", "/")
}

/// What KMS and S3 answer, of which the functions need no more than that they were called; the secret; and no metric at all.
fn stand_in(target: &str, path: &str, body: &[u8], secret: &str) -> Option<Response<Body>> {
    let answer = match target.split('.').next() {
        Some("TrentService") => {
            let asked: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
            let nobodys = "c2lnbmVkIGJ5IG5vYm9keQ==";
            let mut answer = serde_json::json!({"KeyId": asked["KeyId"]});
            if target.ends_with("GetPublicKey") {
                answer["PublicKey"] = nobodys.into();
            } else {
                answer["Signature"] = nobodys.into();
                answer["SigningAlgorithm"] = asked["SigningAlgorithm"].clone();
            }
            answer
        }
        Some("secretsmanager") => serde_json::json!({"ARN": "push", "Name": "push", "SecretString": secret}),
        // An empty map in CBOR (RFC 8949).
        Some("") if path.starts_with("/service/") => {
            let mut response = Response::new(Body::from(&b"\xa0"[..]));
            response.headers_mut().insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
            response.headers_mut().insert("content-type", HeaderValue::from_static("application/cbor"));
            return Some(response);
        }
        // A call of S3 names no target.
        Some("") => return Some(Response::new(Body::empty())),
        _ => return None,
    };
    let mut response = Response::new(Body::from(answer.to_string()));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/x-amz-json-1.1"));
    Some(response)
}

async fn forward(
    client: &reqwest::Client,
    upstream: &str,
    mut headers: HeaderMap,
    body: Bytes,
) -> reqwest::Result<Response<Body>> {
    for hop in ["host", "content-length", "connection", "transfer-encoding"] {
        headers.remove(hop);
    }
    let answer = client.post(upstream).headers(headers).body(body).send().await?;
    let mut passed = Response::new(Body::empty());
    *passed.status_mut() = answer.status();
    for (name, value) in answer.headers() {
        if name != "content-length" && name != "transfer-encoding" && name != "connection" {
            passed.headers_mut().insert(name, value.clone());
        }
    }
    *passed.body_mut() = Body::from(answer.bytes().await?);
    Ok(passed)
}

async fn strike(fault: &Fault, sqs: bool) -> Response<Body> {
    match fault {
        Fault::Kill(killer) => {
            killer.kill().await;
            cut()
        }
        Fault::Drop => cut(),
        Fault::Silence => std::future::pending().await,
        Fault::Throttle if sqs => refusal(StatusCode::BAD_REQUEST, "com.amazonaws.sqs#RequestThrottled"),
        Fault::Throttle => {
            refusal(StatusCode::BAD_REQUEST, "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException")
        }
        Fault::ServerError => {
            refusal(StatusCode::INTERNAL_SERVER_ERROR, "com.amazonaws.dynamodb.v20120810#InternalServerError")
        }
    }
}

fn refusal(status: StatusCode, kind: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!(r#"{{"__type":"{kind}","message":"injected"}}"#)));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}

/// A response whose body breaks at once: the server cuts the connection before a byte of it is sent.
fn cut() -> Response<Body> {
    let broken = futures_util::stream::once(std::future::ready(Err::<Bytes, _>(std::io::Error::other("cut"))));
    Response::new(Body::from_stream(broken))
}
