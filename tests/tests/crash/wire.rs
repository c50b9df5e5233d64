//! Faults on the wire, by microburst (PyPI) between the SDK and the services: throttles, server errors, resets, truncated and lost answers,
//! on every call that a function or the operator's command makes. Whatever strikes, the end is that of a run that nothing disturbed;
//! microburst's own log says that it struck; and what was struck is all that the roles in `template.yaml` allow the functions, and all
//! that the command's sources call.

#[path = "wire/budget.rs"]
mod budget;
#[path = "wire/called.rs"]
mod called;
#[path = "wire/commands.rs"]
mod commands;
#[path = "../template/model.rs"]
#[allow(dead_code)] // The template's own checks use the rest.
mod model;
#[path = "../walls/needed.rs"]
mod needed;
#[path = "wire/scenes.rs"]
mod scenes;

use super::*;
use budget::Budget;
use cpis_tests::{
    dynamo::function_environment,
    proxy::{Call, Proxy},
    sqs::Sqs,
    stack::eventually,
};
use model::Template;
use needed::{Observed, differences};
use reqwest::Client;
use scenes::{Before, Scene};
use std::{
    collections::{BTreeMap, VecDeque},
    net::TcpListener,
    process::Stdio,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::process::{Child, Command};

/// A name, microburst's rule for a service, and how its log tells of it.
type Fault = (&'static str, fn(&str) -> Value, &'static str);

/// What strikes each call.
const FAULTS: [Fault; 5] = [
    ("throttled", |service| json!({"error": throttle(service)}), "error:"),
    ("a server error", |_| json!({"error": {"code": "InternalServerError", "status": 500}}), "error:"),
    ("reset", |_| json!({"reset": true}), "reset"),
    ("its answer truncated", |_| json!({"response": {"truncate_frac": 0.5}}), "response:truncate"),
    ("its answer lost", |_| json!({"response": {"abort_bytes": 0}}), "response:abort"),
];
/// It is never answered at all: the SDK's own limit for an attempt ends it.
const SILENCE: Fault = ("never answered", |_| json!({"timeout_ms": 600_000}), "timeout:");

/// Of ten calls, three are throttled.
const THROTTLED: f64 = 0.3;
/// How often each scene is run so.
const RUNS: usize = 5;
/// The operator's command.
const CPIS: &str = "cpis";
/// What the functions' secrets hold.
const SECRET: &str = r#"{"master": "a master secret of the tests, which signs what they send"}"#;

/// What a service says to one who asks too much.
fn throttle(service: &str) -> Value {
    match service {
        "dynamodb" => json!({"code": "ProvisionedThroughputExceededException"}),
        // microburst puts a prefix before every code of SQS, by which no SDK would know this one (AWS has it before a few); by the status
        // it is known.
        "sqs" => json!({"code": "RequestThrottled", "status": 503}),
        "s3" => json!({"code": "SlowDown", "status": 503}),
        "cloudformation" => json!({"code": "Throttling"}),
        _ => json!({"code": "ThrottlingException"}),
    }
}

/// The service of a call, as microburst names it.
fn service(call: &Call) -> &str {
    call.needs[0].0.split(':').next().unwrap_or_default()
}

/// What a call is called: some do not say it themselves.
fn operation(call: &Call) -> &str {
    match (call.operation.as_str(), call.needs[0].0.split_once(':')) {
        ("", Some(("s3", "ListBucket"))) => "ListObjectsV2",
        ("", Some((_, action))) => action,
        (operation, _) => operation,
    }
}

/// What of microburst's rules picks a call of this kind out: its operation, and the table or the queue.
fn picks(call: &Call) -> Value {
    let mut rule = json!({"service": service(call), "operation": operation(call)});
    let on = call.needs[0].1.as_str();
    let (table, index) = on.split_once("/index/").unwrap_or((on, ""));
    let body = match (service(call), call.operation.as_str()) {
        ("dynamodb", "TransactWriteItems") => format!("contains(TransactItems[].values(@)[].TableName, '{table}')"),
        ("dynamodb", "BatchExecuteStatement") => format!("contains(Statements[0].Statement, '\"{table}\"')"),
        ("dynamodb", "BatchGetItem" | "BatchWriteItem") => format!("RequestItems.{table}"),
        ("dynamodb", _) if index.is_empty() => format!("TableName == '{table}' && !IndexName"),
        ("dynamodb", _) => format!("TableName == '{table}' && IndexName == '{index}'"),
        ("sqs", "StartMessageMoveTask" | "ListMessageMoveTasks") => format!("ends_with(SourceArn, ':{on}')"),
        ("sqs", _) if !on.is_empty() => format!("ends_with(QueueUrl, '/{on}')"),
        _ => return rule,
    };
    rule["body"] = body.into();
    rule
}

/// What a run came to.
struct Run {
    end: Value,
    /// How often a caller tried.
    tries: usize,
    /// What reached the services.
    calls: Vec<Call>,
    /// How many calls faults struck.
    struck: usize,
}

impl Run {
    /// A run of so many calls of no kind.
    fn undisturbed(calls: usize) -> Self {
        let call = Call { operation: String::new(), needs: vec![] };
        Self { end: Value::Null, tries: 1, calls: vec![call; calls], struck: 0 }
    }
}

/// The Python that has microburst.
fn python() -> String {
    std::env::var("CPIS_WIRE_PYTHON").unwrap_or_else(|_| {
        panic!("CPIS_WIRE_PYTHON does not name a Python with tests/wire/requirements.txt installed: run `make test`")
    })
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
        let python = python();
        let front = Proxy::start("http://127.0.0.1:1", "http://127.0.0.1:1").await;
        front.keep_secret(SECRET);
        let http = Client::builder().no_proxy().build().expect("a client");
        for _ in 0..PATIENCE {
            if let Some((url, process)) = launch(&python, seed, &front.url, &http).await {
                return Self { url, http, front, _process: process };
            }
        }
        panic!("microburst does not start")
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

    /// What fired, by its log: what struck, and what was let pass.
    async fn fired(&self) -> Vec<Value> {
        let answer =
            self.http.get(format!("{}/_microburst/fired?limit=2000", self.url)).send().await.expect("an answer");
        let fired: Value = parse(&answer.bytes().await.expect("a body"));
        fired.as_array().or(fired["fired"].as_array()).unwrap_or_else(|| panic!("{fired}")).clone()
    }

    /// Runs a scene to its end through it.
    async fn run(&self, scene: Scene, before: &Before) -> Run {
        let stage = scene.begin(before).await;
        let world = &stage.world;
        self.front.move_to(&world.dynamo.url, &world.sqs.url);
        let (mut tries, mut answer) = (0, None);
        self.front.keep_no_objects();
        match &stage.desk {
            Some(desk) => {
                self.front.find_stacks_at(desk.operator.cloudformation());
                desk.stock(&self.front).await;
                while answer.is_none() {
                    tries = self.again(tries, scene, "");
                    answer = desk.attempt(world, (&self.url, &self.front)).await;
                }
            }
            None => {
                let mut environment = scene.environment(&stage);
                environment.push(("AWS_ENDPOINT_URL".to_owned(), self.url.clone()));
                let environment: Vec<_> = environment.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
                let function = world.start_with(scene.name(), &environment).await;
                while answer.is_none() {
                    tries = self.again(tries, scene, &function.output());
                    answer = scene.attempt(&stage, &function).await;
                }
            }
        }
        let answer = answer.unwrap_or_default();
        let end = match &stage.desk {
            Some(desk) => desk.end(world, &self.front, &answer),
            None => scene.end(&stage, &answer),
        };
        let struck = self.fired().await.iter().filter(|event| event["action"] != PASSED).count();
        Run { end, tries, calls: self.front.made(), struck }
    }

    /// One try more, if there was patience left.
    fn again(&self, tries: usize, scene: Scene, output: &str) -> usize {
        assert!(tries < PATIENCE, "{scene:?} is not done after {tries} tries: {output}");
        tries + 1
    }
}

/// Starts microburst in front of this address; `None` where somebody else took the port before it did.
async fn launch(python: &str, seed: u64, upstream: &str, http: &Client) -> Option<(String, Child)> {
    let port = TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("an address").port();
    let seeded = format!("import random; random.seed({seed}); from microburst.cli import main; main()");
    let process = Command::new(python)
        .args(["-c", &seeded, "--host", "127.0.0.1", "--no-resign", "--upstream", upstream, "--port"])
        .arg(port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let process = Mutex::new(process.expect("microburst starts"));
    let url = format!("http://127.0.0.1:{port}");
    let has_ended =
        || process.lock().unwrap_or_else(PoisonError::into_inner).try_wait().is_ok_and(|status| status.is_some());
    let up = || async {
        if has_ended() {
            return Some(false);
        }
        let answer = http.get(format!("{url}/_microburst/health")).send().await.ok()?.bytes().await.ok()?;
        let health: Value = serde_json::from_slice(&answer).ok()?;
        health["upstream"].as_str().is_some_and(|found| found.starts_with(upstream)).then_some(true)
    };
    let is_up = eventually("an answer of microburst", Duration::from_secs(60), up).await;
    is_up.then(|| (url, process.into_inner().unwrap_or_else(PoisonError::into_inner)))
}

/// How microburst's log tells of a call that a rule without a fault let pass.
const PASSED: &str = "match";

/// Whose turn it is: on a busy machine wires are so slow that calls are out of time by themselves, so no test has its own beside another's.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Does each job on one of a few wires.
async fn on_wires<J, T>(jobs: Vec<J>, act: impl AsyncFn(&Wire, J) -> T) -> Vec<T> {
    let _turn = TURN.lock().await;
    let jobs = Mutex::new(VecDeque::from(jobs));
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let (act, next) = (&act, &next);
    let work = async |seed| {
        let wire = Wire::start(seed).await;
        let mut done = Vec::new();
        while let Some(job) = next() {
            done.push(act(&wire, job).await);
        }
        done
    };
    join_all((1..=AT_ONCE as u64).map(work)).await.into_iter().flatten().collect()
}

/// Runs these scenes undisturbed. On a busy machine a call may be out of time by itself: of two runs the one with fewer calls counts.
async fn undisturbed(scenes: Vec<Scene>, before: &Before) -> Vec<(Scene, Run)> {
    let runs = on_wires(scenes, async |wire, scene| {
        wire.arm(&json!([])).await;
        let first = wire.run(scene, before).await;
        wire.arm(&json!([])).await;
        let second = wire.run(scene, before).await;
        assert!(first.end == second.end, "{scene:?}: {:#?}", differences_of(&first, &second));
        let run = if second.calls.len() < first.calls.len() { second } else { first };
        assert!(!run.calls.is_empty(), "{scene:?} makes no calls");
        (scene, run)
    });
    runs.await
}

/// One call of a scene that is struck: the n-th of its kind, by a fault.
struct Strike<'a> {
    scene: Scene,
    undisturbed: &'a Run,
    call: Call,
    nth: usize,
    fault: Fault,
}

/// The first call of each kind by every fault, and each later one by one of them.
fn strikes(scene: Scene, undisturbed: &Run) -> Vec<Strike<'_>> {
    let mut counts: BTreeMap<&Call, usize> = BTreeMap::new();
    let mut strikes = Vec::new();
    for call in &undisturbed.calls {
        let nth = counts.entry(call).and_modify(|n| *n += 1).or_insert(1);
        let one = &FAULTS[*nth % FAULTS.len()..][..1];
        let faults = if *nth == 1 { &FAULTS[..] } else { one };
        strikes.extend(faults.iter().map(|fault| Strike {
            scene,
            undisturbed,
            call: call.clone(),
            nth: *nth,
            fault: *fault,
        }));
    }
    strikes
}

impl Strike<'_> {
    /// Strikes; the end must be as if it had not. Nothing is struck where this run came to fewer calls of the kind: what one call of
    /// several side by side has read, another one need not.
    async fn carry_out(self, wire: &Wire, before: &Before) -> Result<Option<(&'static str, Call)>, String> {
        let Self { scene, undisturbed, call, nth, fault: (name, rule, told) } = self;
        let case = format!("{scene:?}, {call:?} no. {nth}, {name}");
        let with = |mut rule: Value, times: usize| {
            rule.as_object_mut().expect("a rule").extend(picks(&call).as_object().expect("a rule").clone());
            rule["times"] = times.into();
            rule
        };
        let mut rules = vec![with(rule(service(&call)), 1)];
        if nth > 1 {
            rules.insert(0, with(json!({"latency": 0}), nth - 1));
        }
        wire.arm(&json!(rules)).await;
        let run = wire.run(scene, before).await;
        let fired = wire.fired().await;
        let told =
            fired.last().and_then(|event| event["action"].as_str()).is_some_and(|action| action.starts_with(told));
        let came = run.calls.iter().filter(|made| **made == call).count() >= nth;
        let is_as_told = fired.len() == nth && told && run.struck == 1;
        if !is_as_told && (came || nth == 1) {
            return Err(format!("{case}: {fired:?}"));
        }
        if run.end != undisturbed.end {
            return Err(format!("{case}: {:#?}", differences_of(undisturbed, &run)));
        }
        Ok(is_as_told.then(|| (scene.name(), call)))
    }
}

/// Carries all of them out; what was struck, nearly all.
async fn carry_out_all(strikes: Vec<Strike<'_>>, before: &Before) -> Vec<(&'static str, Call)> {
    let done = on_wires(strikes, async |wire, strike: Strike<'_>| strike.carry_out(wire, before).await).await;
    let (struck, failed): (Vec<_>, Vec<_>) = done.into_iter().partition(Result::is_ok);
    let failed: Vec<_> = failed.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} of {} strikes:\n{}", failed.len(), struck.len() + failed.len(), failed.join("\n"));
    let tried = struck.len();
    let struck: Vec<_> = struck.into_iter().flatten().flatten().collect();
    assert!(struck.len() * 50 >= tried * 49, "only {} of {tried} strikes struck", struck.len());
    struck
}

fn differences_of(undisturbed: &Run, run: &Run) -> Vec<String> {
    super::differences("", &undisturbed.end, &run.end)
}

/// Nothing is lost and nothing doubled, whichever call is struck, by whatever; and there is no call that is not struck.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs microburst: make test"]
async fn every_call_survives_every_fault_on_the_wire() {
    let before = &Before::new().await;
    let clean = undisturbed(scenes::all(), before).await;
    let strikes: Vec<_> = clean.iter().flat_map(|(scene, run)| strikes(*scene, run)).collect();
    let struck = carry_out_all(strikes, before).await;
    let made: usize = clean.iter().map(|(_, run)| run.calls.len()).sum();
    eprintln!("{} scenes, {made} calls, struck {} times", clean.len(), struck.len());
    let missed = missed(struck).await;
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// What a role in the template allows its function, or what the command can call, and no strike was at.
async fn missed(struck: Vec<(&'static str, Call)>) -> Vec<String> {
    let by_command: Vec<_> = struck.iter().filter(|(name, _)| *name == CPIS).map(|(_, call)| call).collect();
    let of_command = called::missed(commands::ALL, &by_command, &python());
    let mut calls: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (name, call) in struck {
        calls.entry(name.to_owned()).or_default().extend(call.needs);
    }
    // Each part of it has the name here that it had there, wherever it is.
    let environment = function_environment("http://127.0.0.1:1", &Sqs::start().await);
    differences(&Template::load(), &Observed { calls, environment }).into_iter().chain(of_command).collect()
}

/// Lets calls of these scenes be never answered, each once, and answers with those that were: all, or the first of each kind.
async fn silence(scenes: Vec<Scene>, all: bool) -> Vec<(&'static str, Call)> {
    let before = &Before::new().await;
    let clean = undisturbed(scenes, before).await;
    let strikes: Vec<_> = clean
        .iter()
        .flat_map(|(scene, run)| strikes(*scene, run))
        .filter(|strike| if strike.nth > 1 { all } else { strike.fault.0 == FAULTS[0].0 })
        .map(|strike| Strike { fault: SILENCE, ..strike })
        .collect();
    carry_out_all(strikes, before).await
}

/// A call that is never answered costs a look-up an attempt, and not its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs microburst: make test"]
async fn a_look_up_survives_silence_on_the_wire() {
    let struck = silence(scenes::all().into_iter().filter(|scene| scene.name() == "flag-lookup").collect(), true).await;
    assert!(struck.len() >= 6, "{} calls", struck.len());
}

/// Nor does it cost an operator more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs microburst: make test"]
async fn a_command_survives_silence_on_the_wire() {
    let struck = silence(commands::AWAITED.map(Scene::Cpis).to_vec(), false).await;
    let operations: BTreeSet<_> = struck.iter().map(|(_, call)| operation(call)).collect();
    assert!(
        ["ReceiveMessage", "DeleteMessageBatch", "PutObject", "GetObject"].iter().all(|one| operations.contains(one)),
        "{operations:?}"
    );
}

/// Where three calls in ten are throttled, everything still comes to its end, and trying again does not make it worse: at most 1.6
/// attempts for each call that an undisturbed run makes, by functions and by the operator's command alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs microburst: make test"]
async fn at_30_percent_throttling_retries_stay_within_their_budget() {
    let before = &Before::new().await;
    let clean = undisturbed(scenes::all(), before).await;
    let services = ["dynamodb", "sqs", "kms", "s3", "secretsmanager", "cloudformation", "cloudwatch"];
    let rule = |service: &str| json!({"service": service, "probability": THROTTLED, "error": throttle(service)});
    let rules: Vec<_> = services.map(rule).to_vec();
    let jobs: Vec<_> = clean.iter().flat_map(|one| [one; RUNS]).collect();
    let runs = on_wires(jobs, async |wire, (scene, undisturbed): &(Scene, Run)| {
        wire.arm(&json!(rules)).await;
        let run = wire.run(*scene, before).await;
        assert!(run.end == undisturbed.end, "{scene:?}: {:#?}", differences_of(undisturbed, &run));
        (*scene, undisturbed, run)
    });
    let [mut functions, mut commands] = ["functions", "commands"].map(Budget::of);
    for (scene, undisturbed, run) in runs.await {
        let budget = if scene.name() == CPIS { &mut commands } else { &mut functions };
        budget.add(undisturbed, &run);
    }
    let found = [functions.findings(), commands.findings()].concat();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
