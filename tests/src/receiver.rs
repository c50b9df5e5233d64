//! A council's server that takes webhooks on 127.0.0.1, or does not.

use crate::runtime_api::serve_on;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// One webhook, as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Path of the address it was sent to.
    pub path: String,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Vec<u8>,
}

impl Received {
    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    }
}

#[derive(Default)]
struct Shared {
    received: Mutex<Vec<Received>>,
    /// Statuses by path; 204 where none is set.
    statuses: Mutex<BTreeMap<String, u16>>,
    /// How long an answer takes, by path.
    delays: Mutex<BTreeMap<String, Duration>>,
}

/// A server; it stops when dropped.
pub struct Receiver {
    /// Where it listens, without a slash at its end.
    pub url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Receiver {
    /// Listens on a free port.
    ///
    /// # Panics
    /// There is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap_or_else(|e| panic!("bind: {e}"));
        let url = listener.local_addr().map_or_else(|e| panic!("address: {e}"), |a| format!("http://{a}"));
        let shared = Arc::new(Shared::default());
        let routes = Router::new().fallback(take).with_state(Arc::clone(&shared));
        Self { url, shared, server: tokio::spawn(serve_on(listener, routes)) }
    }

    /// What came so far, in order.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// Lets a path answer with a status from now on.
    pub fn answer(&self, path: &str, status: u16) {
        lock(&self.shared.statuses).insert(path.to_owned(), status);
    }

    /// Lets a path take so long for an answer from now on.
    pub fn delay(&self, path: &str, by: Duration) {
        lock(&self.shared.delays).insert(path.to_owned(), by);
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn take(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let path = uri.path().to_owned();
    let status = lock(&shared.statuses).get(&path).copied().unwrap_or(204);
    let delay = lock(&shared.delays).get(&path).copied();
    if let Some(delay) = delay {
        tokio::time::sleep(delay).await;
    }
    lock(&shared.received).push(Received { path, headers, body: body.to_vec() });
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// A port that takes connections, and breaks each off at once or never says a word; it counts them.
pub struct Broken {
    /// Its address, as a webhook's.
    pub url: String,
    connections: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl Broken {
    /// Listens on a free port, and breaks off.
    ///
    /// # Panics
    /// There is none.
    pub async fn start() -> Self {
        Self::keeping(false).await
    }

    /// Listens on a free port, and is silent.
    ///
    /// # Panics
    /// There is none.
    pub async fn silent() -> Self {
        Self::keeping(true).await
    }

    async fn keeping(keeps: bool) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap_or_else(|e| panic!("bind: {e}"));
        let url = listener.local_addr().map_or_else(|e| panic!("address: {e}"), |a| format!("http://{a}/asn"));
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let server = tokio::spawn(async move {
            let mut kept = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::Relaxed);
                if keeps {
                    kept.push(stream);
                }
            }
        });
        Self { url, connections, server }
    }

    /// How many connections were tried.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        self.server.abort();
    }
}
