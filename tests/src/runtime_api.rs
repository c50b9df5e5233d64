//! A Lambda Runtime API on 127.0.0.1 that starts one function binary, as one Lambda environment would, and feeds it
//! events one at a time.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path as UrlPath, State},
    http::{Response, StatusCode},
    routing::{get, post},
    serve::ListenerExt,
};
use serde_json::Value;
use std::{
    collections::HashMap,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpListener,
    process::{Child, Command},
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

/// Time an event may take where nothing else is said: API Gateway's own limit.
const DEADLINE: Duration = Duration::from_secs(29);
/// How long a function may take to ask for its first event.
const START_LIMIT: Duration = Duration::from_secs(20);

/// What came back for one event.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The function's answer, as sent.
    Answer(Bytes),
    /// The function reported an error for this event.
    Error(Bytes),
    /// The process ended before it answered.
    Died,
}

/// An outcome and the time from handing over the event to its arrival.
#[derive(Debug, Clone)]
pub struct Reply {
    /// What came back.
    pub outcome: Outcome,
    /// From event handed over to answer received.
    pub latency: Duration,
}

impl Reply {
    /// The answer's bytes; `None` if there was none.
    #[must_use]
    pub fn answer(&self) -> Option<&Bytes> {
        match &self.outcome {
            Outcome::Answer(bytes) => Some(bytes),
            Outcome::Error(_) | Outcome::Died => None,
        }
    }

    /// The answer as JSON. Panics, with what came back, if there was none.
    #[must_use]
    pub fn json(&self) -> Value {
        let Some(bytes) = self.answer() else { panic!("no answer: {:?}", self.outcome) };
        serde_json::from_slice(bytes).unwrap_or_else(|e| panic!("answer is not JSON ({e}): {bytes:?}"))
    }
}

struct Invocation {
    event: Bytes,
    limit: Duration,
    reply: oneshot::Sender<Reply>,
}

struct Waiting {
    reply: oneshot::Sender<Reply>,
    handed_over: Instant,
}

struct Shared {
    spawned: Instant,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Invocation>>,
    waiting: Mutex<HashMap<String, Waiting>>,
    ready: watch::Sender<Option<Duration>>,
}

impl Shared {
    fn settle(&self, id: &str, outcome: Outcome) {
        if let Some(waiting) = lock(&self.waiting).remove(id) {
            let reply = Reply { outcome, latency: waiting.handed_over.elapsed() };
            // The caller may have stopped waiting; nobody is left to tell.
            let _ = waiting.reply.send(reply);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Kills one function with SIGKILL; clones kill the same one.
#[derive(Debug, Clone)]
pub struct Killer {
    order: mpsc::UnboundedSender<()>,
    exited: watch::Receiver<bool>,
}

impl Killer {
    /// Returns once the process has ended by itself, and its output is read.
    pub async fn ended(&self) {
        let mut exited = self.exited.clone();
        let _ = exited.wait_for(|ended| *ended).await;
    }

    /// Kills the process and returns once it is gone.
    pub async fn kill(&self) {
        let _ = self.order.send(());
        let mut exited = self.exited.clone();
        // An error means the watcher is gone, and the process with it.
        let _ = exited.wait_for(|ended| *ended).await;
    }
}

/// One running function. Dropping it kills the process.
pub struct Function {
    pid: u32,
    cold_start: Duration,
    events: mpsc::UnboundedSender<Invocation>,
    killer: Killer,
    output: Arc<Mutex<Vec<u8>>>,
    server: JoinHandle<()>,
}

impl Function {
    /// Starts `binary` with `env` added to what Lambda always sets, and waits until it asks for its first event.
    ///
    /// # Errors
    /// The binary cannot be started, ends, or does not ask for an event within 20 seconds; the message holds its output.
    pub async fn start(binary: &Path, env: &[(String, String)]) -> io::Result<Self> {
        Self::start_command(Command::new(binary), env).await
    }

    /// As [`Function::start`], for a function that needs arguments, such as an interpreter's.
    ///
    /// # Errors
    /// As [`Function::start`].
    pub async fn start_command(command: Command, env: &[(String, String)]) -> io::Result<Self> {
        Self::start_writing_to(Stdio::piped(), command, env).await
    }

    /// As [`Function::start`], for benchmarks: what it logs is written, and nobody reads it. A reader would take its time from the very
    /// cores that are measured, and on AWS it is not there.
    ///
    /// # Errors
    /// As [`Function::start`].
    pub async fn start_unread(binary: &Path, env: &[(String, String)]) -> io::Result<Self> {
        Self::start_writing_to(Stdio::null(), Command::new(binary), env).await
    }

    async fn start_writing_to(stdout: Stdio, mut command: Command, env: &[(String, String)]) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        command
            .env_clear()
            .envs(lambda_environment(&address))
            .envs(env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let (events, queue) = mpsc::unbounded_channel();
        let (ready, mut first_next) = watch::channel(None);
        let shared = Arc::new(Shared {
            spawned: Instant::now(),
            events: tokio::sync::Mutex::new(queue),
            waiting: Mutex::default(),
            ready,
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared)));
        let mut child = command.spawn()?;
        let pid = child.id().ok_or_else(|| io::Error::other("the function ended at once"))?;
        let output = Arc::new(Mutex::new(Vec::new()));
        let readers = [capture(child.stdout.take(), &output), capture(child.stderr.take(), &output)];
        let killer = watch_child(child, readers, move |_| {
            let waiting: Vec<String> = lock(&shared.waiting).keys().cloned().collect();
            waiting.iter().for_each(|id| shared.settle(id, Outcome::Died));
        });
        let mut exited = killer.exited.clone();
        let started = tokio::time::timeout(START_LIMIT, async {
            tokio::select! {
                first = first_next.wait_for(Option::is_some) => first.ok().and_then(|d| *d),
                _ = exited.wait_for(|ended| *ended) => None,
            }
        })
        .await;
        match started {
            Ok(Some(cold_start)) => Ok(Self { pid, cold_start, events, killer, output, server }),
            _ => {
                killer.kill().await;
                server.abort();
                let output = String::from_utf8_lossy(&lock(&output)).into_owned();
                Err(io::Error::other(format!("the function never asked for an event: {output}")))
            }
        }
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// From exec to the first `next`.
    #[must_use]
    pub fn cold_start(&self) -> Duration {
        self.cold_start
    }

    /// A handle that kills this function.
    #[must_use]
    pub fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// Hands over one event and waits for what comes back.
    pub async fn invoke(&self, event: impl Into<Bytes>) -> Reply {
        self.invoke_within(event, DEADLINE).await
    }

    /// As [`Function::invoke`], and tells the function that it is killed after so long; it is not.
    pub async fn invoke_within(&self, event: impl Into<Bytes>, limit: Duration) -> Reply {
        let (reply, answer) = oneshot::channel();
        let died = Reply { outcome: Outcome::Died, latency: Duration::ZERO };
        if self.events.send(Invocation { event: event.into(), limit, reply }).is_err() {
            return died;
        }
        let mut exited = self.killer.exited.clone();
        tokio::select! {
            biased;
            answer = answer => answer.unwrap_or(died),
            _ = exited.wait_for(|ended| *ended) => died,
        }
    }

    /// Hands over one event as JSON.
    pub async fn invoke_json(&self, event: &Value) -> Reply {
        self.invoke(event.to_string()).await
    }

    /// Largest resident size so far (`VmHWM`), in bytes.
    ///
    /// # Errors
    /// The process is gone.
    pub fn peak_memory(&self) -> io::Result<u64> {
        peak_memory(self.pid)
    }

    /// Everything written to stdout and stderr so far.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&lock(&self.output)).into_owned()
    }

    /// Kills the function and returns all that it wrote.
    pub async fn stop(self) -> String {
        self.killer.kill().await;
        self.output()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.killer.order.send(());
        self.server.abort();
    }
}

/// Largest resident size of a process so far (`VmHWM`), in bytes.
pub(crate) fn peak_memory(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("no VmHWM: the process has ended"))
}

fn lambda_environment(address: &str) -> Vec<(&'static str, String)> {
    let mut env: Vec<(&str, String)> = [
        ("AWS_LAMBDA_FUNCTION_NAME", "under-test"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/under-test"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "local"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH", "true"),
        ("MALLOC_MMAP_THRESHOLD_", "4194304"),
        ("MALLOC_TRIM_THRESHOLD_", "33554432"),
        ("AWS_REGION", "eu-west-2"),
        ("AWS_DEFAULT_REGION", "eu-west-2"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_SESSION_TOKEN", "test"),
        ("_HANDLER", "bootstrap"),
        ("TZ", ":UTC"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec();
    env.push(("AWS_LAMBDA_RUNTIME_API", address.to_owned()));
    env.push(("PATH", std::env::var("PATH").unwrap_or_default()));
    env
}

pub(crate) fn capture(
    pipe: Option<impl AsyncRead + Unpin + Send + 'static>,
    into: &Arc<Mutex<Vec<u8>>>,
) -> JoinHandle<()> {
    let into = Arc::clone(into);
    tokio::spawn(async move {
        let Some(mut pipe) = pipe else { return };
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
            lock(&into).extend_from_slice(&buffer[..read]);
        }
    })
}

/// Watches the child: kills it when told, and once it has ended and its output is read tells all who wait for it.
pub(crate) fn watch_child(
    mut child: Child,
    readers: [JoinHandle<()>; 2],
    on_end: impl FnOnce(Option<ExitStatus>) + Send + 'static,
) -> Killer {
    let (order, mut orders) = mpsc::unbounded_channel();
    let (ended, exited) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = child.wait() => {}
            _ = orders.recv() => {
                // An error means that it has ended already.
                let _ = child.kill().await;
            }
        }
        for reader in readers {
            let _ = reader.await;
        }
        on_end(child.wait().await.ok());
        ended.send_replace(true);
    });
    Killer { order, exited }
}

/// Serves `routes` until the task is dropped, without Nagle's delay.
pub(crate) async fn serve_on(listener: TcpListener, routes: Router) {
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    if let Err(e) = axum::serve(listener, routes).await {
        panic!("a local server stopped: {e}");
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let routes = Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
        .layer(DefaultBodyLimit::max(16 << 20))
        .with_state(shared);
    serve_on(listener, routes).await;
}

async fn next(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let elapsed = shared.spawned.elapsed();
    shared.ready.send_if_modified(|first| first.is_none() && first.replace(elapsed).is_none());
    let Some(invocation) = shared.events.lock().await.recv().await else {
        // The test dropped the function and is about to kill it: leave it waiting.
        return std::future::pending().await;
    };
    let id = uuid::Uuid::new_v4().to_string();
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| (d + invocation.limit).as_millis());
    let response = Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", &id)
        .header("lambda-runtime-deadline-ms", deadline.to_string())
        .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-2:000000000000:function:under-test")
        .header("lambda-runtime-trace-id", format!("Root=1-67000000-{};Sampled=1", &id.replace('-', "")[..24]))
        .body(Body::from(invocation.event));
    lock(&shared.waiting).insert(id, Waiting { reply: invocation.reply, handed_over: Instant::now() });
    response.unwrap_or_else(|e| panic!("response head: {e}"))
}

async fn response(State(shared): State<Arc<Shared>>, UrlPath(id): UrlPath<String>, body: Bytes) -> StatusCode {
    shared.settle(&id, Outcome::Answer(body));
    StatusCode::ACCEPTED
}

async fn error(State(shared): State<Arc<Shared>>, UrlPath(id): UrlPath<String>, body: Bytes) -> StatusCode {
    shared.settle(&id, Outcome::Error(body));
    StatusCode::ACCEPTED
}
