//! One wide JSON line a request or record, which is its metrics too (CloudWatch embedded metric format).
//!
//! Every line names an event with a stable code, such as `lookup.disclosed`. No line holds an NHS number, a name or
//! a token (R31): fields are codes, counts, durations and ids that the service itself made or checked to be UUIDs.

use std::{
    io::Write,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use lambda_http::Context;
use serde_json::{Map, Value, json};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use crate::{domain::time::milliseconds, ports::PortError};

/// Metrics' name space.
const NAMESPACE: &str = "CPIS";

static STARTED: AtomicBool = AtomicBool::new(false);
/// Which call is being worked on: an environment has one at a time.
static CALL: Mutex<Option<Map<String, Value>>> = Mutex::new(None);

/// Every line from now on, until the next call begins, says that it belongs to this one, as Lambda and X-Ray know it.
pub fn call_begins(context: &Context) {
    let ids = [("lambdaRequestId", Some(&context.request_id)), ("xrayTraceId", context.xray_trace_id.as_ref())];
    let ids = ids.into_iter().filter_map(|(name, id)| Some((name.to_owned(), id?.as_str().into())));
    *call() = Some(ids.collect());
}

fn call() -> MutexGuard<'static, Option<Map<String, Value>>> {
    CALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends this project's own diagnostics, at `LOG_LEVEL`, to standard output as JSON: at `DEBUG` each call of AWS, at `TRACE` when each
/// request, message or record is begun, too. Other crates' are kept to warnings whatever the level: at finer ones they print requests
/// and answers whole (R31). [`Event`]s, by which alarms go, are written at any level.
pub fn init() {
    let level = std::env::var("LOG_LEVEL").ok().and_then(|level| level.parse().ok());
    let targets =
        Targets::new().with_default(tracing::Level::WARN).with_target("cpis", level.unwrap_or(tracing::Level::INFO));
    let lines = tracing_subscriber::fmt::layer().json().with_current_span(false).with_span_list(false);
    // A second call, in tests, changes nothing.
    let _ = tracing_subscriber::registry().with(targets).with(lines).try_init();
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Info,
    /// Somebody's request was refused, or something will be tried again.
    Warn,
    /// An operator should look.
    Error,
}

/// A line in the making.
#[derive(Debug)]
pub struct Event {
    level: Level,
    fields: Map<String, Value>,
    metrics: Vec<Value>,
    began: Instant,
}

impl Event {
    /// Begins a line of a service, and its stopwatch.
    #[must_use]
    pub fn begin(service: &str) -> Self {
        tracing::trace!(event = "work.begun", service);
        let mut fields = call().clone().unwrap_or_default();
        fields.insert("service".into(), service.into());
        fields.insert("coldStart".into(), (!STARTED.swap(true, Ordering::Relaxed)).into());
        Self { level: Level::Info, fields, metrics: Vec::new(), began: Instant::now() }
    }

    /// Counts the time from an earlier moment, where the work began before the line did.
    #[must_use]
    pub fn since(mut self, began: Instant) -> Self {
        self.began = began;
        self
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }

    /// Adds fields.
    #[must_use]
    pub fn with_all(mut self, fields: Map<String, Value>) -> Self {
        self.fields.extend(fields);
        self
    }

    /// Says which step failed and why: a warning, until it is said to be worse.
    #[must_use]
    pub fn failed(self, error: &PortError) -> Self {
        self.level(Level::Warn).with("step", error.step).with("cause", error.cause.as_str())
    }

    /// Sets how bad it is.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// Adds a field that is a metric too; the unit is one of CloudWatch's, such as `Count`.
    #[must_use]
    pub fn metric(mut self, name: &str, unit: &str, value: impl Into<Value>) -> Self {
        self.metrics.push(json!({"Name": name, "Unit": unit}));
        self.with(name, value)
    }

    /// Writes the line, with its event code and how long it took.
    pub fn emit(self, code: &str) {
        #[cfg(feature = "testing")]
        if crate::simulation::time().is_some() {
            return crate::simulation::log(code);
        }
        let Self { level, mut fields, metrics, began } = self;
        let now = jiff::Timestamp::now();
        let level = match level {
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        };
        fields.insert("timestamp".into(), now.to_string().into());
        fields.insert("level".into(), level.into());
        fields.insert("event".into(), code.into());
        fields.insert("durationMs".into(), milliseconds(began.elapsed()).into());
        if !metrics.is_empty() {
            let directive = json!({"Namespace": NAMESPACE, "Dimensions": [["service"]], "Metrics": metrics});
            fields.insert("_aws".into(), json!({"Timestamp": now.as_millisecond(), "CloudWatchMetrics": [directive]}));
        }
        let mut line = Value::Object(fields).to_string();
        line.push('\n');
        // Where the log itself cannot be written there is nowhere to say so.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}
