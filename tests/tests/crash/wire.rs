//! Faults on the wire, by microburst (PyPI) between the SDK and the services: throttles, server errors, resets, truncated and lost answers, on
//! every call. Whatever strikes, the end is that of a run that nothing disturbed; and microburst's own log says that it struck.

use super::*;
use cpis_tests::{proxy::Proxy, stack::eventually};
use reqwest::Client;
use std::{net::TcpListener, process::Stdio, time::Duration};
use tokio::process::{Child, Command};

/// A name, microburst's rule for a service, and how its log tells of it.
type Fault = (&'static str, fn(&str) -> Value, &'static str);

/// What strikes each call, once.
const FAULTS: [Fault; 5] = [
    ("throttled", |service| json!({"error": {"code": throttle(service)}}), "error:"),
    ("a server error", |_| json!({"error": {"code": "InternalServerError", "status": 500}}), "error:"),
    ("reset", |_| json!({"reset": true}), "reset"),
    ("its answer truncated", |_| json!({"response": {"truncate_frac": 0.5}}), "response:truncate"),
    ("its answer lost", |_| json!({"response": {"abort_bytes": 0}}), "response:abort"),
];

/// Everything that is struck: together they make every call that is made on the way from an upload to a mailbox.
const SCENARIOS: [Scenario; 6] = [
    Scenario::Upload,
    Scenario::LookUp("CareTeam"),
    Scenario::Relay,
    Scenario::Sweep,
    Scenario::Delivery,
    Scenario::Ledger,
];

/// Of ten calls, three are throttled.
const THROTTLED: f64 = 0.3;
/// Attempts a call that the SDK may make then on average. Where every attempt is struck alike it comes to 1 + 0.3 + 0.09 + …
const BUDGET: f64 = 1.6;
/// How often each scenario is run so.
const RUNS: u64 = 3;

/// What a service says to one who asks too much.
fn throttle(service: &str) -> &'static str {
    if service == "sqs" { "RequestThrottled" } else { "ProvisionedThroughputExceededException" }
}

/// The service of an operation.
fn service(operation: &str) -> &'static str {
    if operation.contains("Message") { "sqs" } else { "dynamodb" }
}

/// microburst, and a proxy behind it that stands in front of one world after another.
struct Wire {
    url: String,
    http: Client,
    front: Proxy,
    _process: Child,
}

impl Wire {
    /// Starts it; what it leaves to chance comes from the seed.
    async fn start(seed: u64) -> Self {
        let python = std::env::var("CPIS_WIRE_PYTHON").unwrap_or_else(|_| {
            panic!(
                "CPIS_WIRE_PYTHON does not name a Python with tests/wire/requirements.txt installed: run `make test`"
            )
        });
        let front = Proxy::start("http://127.0.0.1:1", "http://127.0.0.1:1").await;
        let port = TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("an address").port();
        let seeded = format!("import random; random.seed({seed}); from microburst.cli import main; main()");
        let process = Command::new(python)
            .args(["-c", &seeded, "--host", "127.0.0.1", "--no-resign", "--upstream", &front.url, "--port"])
            .arg(port.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("microburst starts");
        let url = format!("http://127.0.0.1:{port}");
        let http = Client::builder().no_proxy().build().expect("a client");
        let health = format!("{url}/_microburst/health");
        let up = || async { http.get(&health).send().await.ok().filter(|answer| answer.status() == 200).map(drop) };
        eventually("an answer of microburst", Duration::from_secs(60), up).await;
        Self { url, http, front, _process: process }
    }

    /// Sets its rules and forgets what has struck.
    async fn arm(&self, rules: &Value) {
        let set = self.http.post(format!("{}/_microburst/rules", self.url)).body(rules.to_string()).send().await;
        let set = set.expect("an answer");
        assert!(set.status().is_success(), "{rules}: {}", set.text().await.unwrap_or_default());
        let cleared = self.http.delete(format!("{}/_microburst/fired", self.url)).send().await.expect("an answer");
        assert!(cleared.status().is_success());
        self.front.reset();
    }

    /// What struck, by its log.
    async fn fired(&self) -> Vec<Value> {
        let answer =
            self.http.get(format!("{}/_microburst/fired?limit=2000", self.url)).send().await.expect("an answer");
        let fired: Value = parse(&answer.bytes().await.expect("a body"));
        fired.as_array().or(fired["fired"].as_array()).unwrap_or_else(|| panic!("{fired}")).clone()
    }

    /// Runs a scenario to its end through it; its end, and its answer.
    async fn run(&self, scenario: Scenario, before: &World) -> Value {
        let world = scenario.begin(before).await;
        self.front.move_to(&world.dynamo.url, &world.sqs.url);
        let function = world.start_with(scenario.function(), &[("AWS_ENDPOINT_URL", &self.url)]).await;
        let answer = scenario.finish(&world, function).await;
        scenario.end(&world, &answer)
    }
}

/// Nothing is lost and nothing doubled, whichever call is struck once, by whatever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs microburst: make test"]
async fn every_call_survives_every_fault_on_the_wire() {
    let before = &before().await;
    let struck: Vec<_> = stream::iter(SCENARIOS)
        .map(|scenario| strike_each_call(scenario, before))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let struck: BTreeSet<_> = struck.into_iter().flatten().collect();
    for operation in
        ["Query", "PutItem", "TransactWriteItems", "BatchExecuteStatement", "SendMessageBatch", "SendMessage"]
    {
        assert!(struck.contains(operation), "{operation} is not among {struck:?}");
    }
}

/// Strikes each call of a scenario once by each fault; which calls there were.
async fn strike_each_call(scenario: Scenario, before: &World) -> BTreeSet<String> {
    let wire = Wire::start(1).await;
    wire.arm(&json!([])).await;
    let expected = wire.run(scenario, before).await;
    let operations: BTreeSet<_> = wire.front.calls().into_iter().collect();
    assert!(!operations.is_empty(), "{scenario:?} makes no calls");
    for operation in &operations {
        for (name, rule, told) in FAULTS {
            let case = format!("{scenario:?}, {operation} {name}");
            let mut rule = rule(service(operation));
            (rule["service"], rule["operation"], rule["times"]) =
                (service(operation).into(), operation.as_str().into(), 1.into());
            wire.arm(&json!([rule])).await;
            let end = wire.run(scenario, before).await;
            let fired = wire.fired().await;
            let told = |event: &Value| event["action"].as_str().is_some_and(|action| action.starts_with(told));
            let logged = fired.len() == 1 && fired[0]["operation"] == operation.as_str() && told(&fired[0]);
            assert!(logged, "{case}: {fired:?}");
            assert!(end == expected, "{case}: {:#?}", differences("", &expected, &end));
        }
    }
    operations
}

/// Where three calls in ten are throttled, everything still comes to its end, and retries do not make it worse: at most 1.6 attempts a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs microburst: make test"]
async fn at_30_percent_throttling_retries_stay_within_their_budget() {
    let (before, wire) = (before().await, Wire::start(7).await);
    // The SDK says which attempt a request is; a rule for each, so that the log tells first attempts from retries.
    let rule = |service: &str, attempt: u32| {
        json!({
            "service": service, "probability": THROTTLED, "error": {"code": throttle(service)},
            "headers": {"amz-sdk-request": format!("attempt={attempt};")},
        })
    };
    let rules: Vec<_> = ["dynamodb", "sqs"].iter().flat_map(|s| (1..=5).map(|attempt| rule(s, attempt))).collect();
    let (mut calls, mut attempts, mut throttled) = (0, 0, 0);
    for scenario in SCENARIOS {
        wire.arm(&json!([])).await;
        let expected = wire.run(scenario, &before).await;
        for run in 0..RUNS {
            wire.arm(&json!(rules)).await;
            let end = wire.run(scenario, &before).await;
            assert!(end == expected, "{scenario:?}, run {run}: {:#?}", differences("", &expected, &end));
            let fired = wire.fired().await;
            let first = rules_of_first_attempts(&wire).await;
            calls += wire.front.first_attempts()
                + fired.iter().filter(|event| first.contains(&event["rule_id"].to_string())).count();
            attempts += wire.front.calls().len() + fired.len();
            throttled += fired.len();
        }
    }
    let (each, share) = (attempts as f64 / calls as f64, throttled as f64 / attempts as f64);
    assert!(calls > 100, "{calls} calls are too few to say");
    assert!((0.2..0.4).contains(&share), "{share:.2} of them throttled");
    assert!(each <= BUDGET, "{calls} calls, {attempts} attempts, {throttled} throttled: {each:.2} attempts a call");
}

/// The ids of the rules for first attempts, as the log has them.
async fn rules_of_first_attempts(wire: &Wire) -> BTreeSet<String> {
    let answer = wire.http.get(format!("{}/_microburst/rules", wire.url)).send().await.expect("an answer");
    let rules: Value = parse(&answer.bytes().await.expect("a body"));
    let rules = rules.as_array().or(rules["rules"].as_array()).unwrap_or_else(|| panic!("{rules}")).clone();
    let first = |rule: &&Value| rule["headers"]["amz-sdk-request"] == "attempt=1;";
    rules.iter().filter(first).map(|rule| rule["id"].to_string()).collect()
}
