//! The answers of `_ping` and `_status` (NHS API Platform, "status endpoints").

use std::time::Instant;

use cpis::{
    aws::Dynamo,
    domain::{authority::AuthorityCode, time::milliseconds},
    lambda::http::{Answer, Incoming, no_such_path},
    ports::Directory,
};
use lambda_http::http::Method;
use serde_json::{Value, json};

/// Media type of health checks (draft-inadarei-api-health-check).
const MEDIA_TYPE: &str = "application/health+json";
/// An authority to ask the directory for: Hartlepool. Whether it is there does not matter, that an answer comes does.
const PROBE: &str = "E06000001";

pub(crate) async fn handle(store: &Dynamo, incoming: Incoming) -> Result<Answer, Answer> {
    match (&incoming.method, incoming.route().as_slice()) {
        (&Method::GET, ["_ping"]) => Ok(healthy(about("pass"), 200)),
        (&Method::GET, ["_status"]) => {
            let began = Instant::now();
            let code = AuthorityCode::parse(PROBE).map_err(|_| no_such_path())?;
            let passed = store.authority(&code).await.is_ok();
            Ok(status(passed, milliseconds(began.elapsed())))
        }
        _ => Err(no_such_path()),
    }
}

fn status(passed: bool, took_ms: f64) -> Answer {
    let word = if passed { "pass" } else { "fail" };
    let mut body = about(word);
    body["checks"] = json!({
        "directory:responseTime": [{"status": word, "observedValue": took_ms, "observedUnit": "ms"}],
    });
    healthy(body, if passed { 200 } else { 503 })
}

/// What is running. `make build` says which revision and commit.
fn about(word: &str) -> Value {
    json!({
        "status": word,
        "version": env!("CARGO_PKG_VERSION"),
        "revision": option_env!("CPIS_REVISION").unwrap_or("unreleased"),
        "commitId": option_env!("CPIS_COMMIT").unwrap_or("unknown"),
    })
}

fn healthy(body: Value, status: u16) -> Answer {
    Answer::new(status, MEDIA_TYPE, body.to_string().into_bytes(), "status.answered")
}
