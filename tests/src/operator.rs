//! The operator's command `cpis` as a process of its own, and the stack that it finds: CloudFormation with one answer.

use crate::runtime_api::{Killer, capture, peak_memory, serve_on, watch_child};
use axum::{Router, http::header};
use serde_json::Value;
use std::{
    path::PathBuf,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{net::TcpListener, process::Command, task::JoinHandle};

/// How often to look how much memory a command has. Its peak so far is read, so that little is missed.
const LOOK: Duration = Duration::from_millis(10);

/// An operator at a deployed stack.
pub struct Operator {
    binary: PathBuf,
    cloudformation: String,
    server: JoinHandle<()>,
}

/// A command that runs. It is killed when dropped.
pub struct Running {
    killer: Killer,
    pid: u32,
    status: Arc<Mutex<Option<i32>>>,
    stdout: Arc<Mutex<Vec<u8>>>,
    stderr: Arc<Mutex<Vec<u8>>>,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit status; none where it was killed.
    pub status: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it told beside that.
    pub stderr: String,
    /// The most memory that it had, in bytes.
    pub memory: u64,
}

impl Operator {
    /// An operator of a stack with these outputs, who has this binary.
    ///
    /// # Panics
    /// No port can be bound.
    pub async fn of(binary: PathBuf, outputs: &[(&str, String)]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap_or_else(|e| panic!("bind: {e}"));
        let url = listener.local_addr().map_or_else(|e| panic!("address: {e}"), |a| format!("http://{a}"));
        let member = |(name, value): &(&str, String)| {
            format!("<member><OutputKey>{name}</OutputKey><OutputValue>{value}</OutputValue></member>")
        };
        let outputs: String = outputs.iter().map(member).collect();
        let answer = format!(
            "<DescribeStacksResponse><DescribeStacksResult><Stacks><member><StackName>cpis</StackName>\
             <CreationTime>2026-01-01T00:00:00Z</CreationTime><StackStatus>CREATE_COMPLETE</StackStatus>\
             <Outputs>{outputs}</Outputs></member></Stacks></DescribeStacksResult></DescribeStacksResponse>"
        );
        let routes = Router::new().fallback(async move || ([(header::CONTENT_TYPE, "text/xml")], answer));
        Self { binary, cloudformation: url, server: tokio::spawn(serve_on(listener, routes)) }
    }

    /// Where it finds the stack.
    #[must_use]
    pub fn cloudformation(&self) -> &str {
        &self.cloudformation
    }

    /// Starts `cpis` with these arguments; all but CloudFormation is at `endpoint`.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(&self, endpoint: &str, arguments: &[&str]) -> Running {
        self.start_at(endpoint, &self.cloudformation, arguments)
    }

    /// As [`Operator::start`], with CloudFormation elsewhere than it is, as behind a proxy.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start_at(&self, endpoint: &str, cloudformation: &str, arguments: &[&str]) -> Running {
        let mut command = self.command(endpoint, cloudformation, arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}", self.binary.display()));
        let pid = child.id().unwrap_or_default();
        let status: Arc<Mutex<Option<i32>>> = Arc::default();
        let [stdout, stderr] = [Arc::default(), Arc::default()];
        let readers = [capture(child.stdout.take(), &stdout), capture(child.stderr.take(), &stderr)];
        let noted = Arc::clone(&status);
        let killer = watch_child(child, readers, move |ended| *lock(&noted) = ended.and_then(|s| s.code()));
        Running { killer, pid, status, stdout, stderr }
    }

    /// The command `cpis` with these arguments, to be started with what it writes to.
    #[must_use]
    pub fn command(&self, endpoint: &str, cloudformation: &str, arguments: &[&str]) -> Command {
        let environment = [
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ENDPOINT_URL_CLOUDFORMATION", cloudformation),
            ("AWS_REGION", "eu-west-2"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("CPIS_OPERATOR", "sam"),
        ];
        let mut command = Command::new(&self.binary);
        command.args(arguments).env_clear().envs(environment).kill_on_drop(true);
        command.stdin(Stdio::null());
        command
    }

    /// Runs `cpis` to its end.
    ///
    /// # Panics
    /// It does not start.
    pub async fn run(&self, endpoint: &str, arguments: &[&str]) -> Ended {
        self.start(endpoint, arguments).end().await
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Running {
    /// What kills it.
    #[must_use]
    pub fn killer(&self) -> Killer {
        self.killer.clone()
    }

    /// Its process id, to send signals to.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end.
    pub async fn end(self) -> Ended {
        let mut memory = 0;
        while tokio::time::timeout(LOOK, self.killer.ended()).await.is_err() {
            memory = memory.max(peak_memory(self.pid).unwrap_or(0));
        }
        let text = |bytes: &Mutex<Vec<u8>>| String::from_utf8_lossy(&lock(bytes)).trim().to_owned();
        Ended { status: *lock(&self.status), stdout: text(&self.stdout), stderr: text(&self.stderr), memory }
    }
}

impl Ended {
    /// What it printed, read as JSON.
    ///
    /// # Panics
    /// It is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
