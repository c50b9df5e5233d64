//! How fast `cpis` goes through a hundred thousand dead letters, and how much memory that takes.

use crate::{
    junction::Junction,
    report::{Bound, Figure, Report},
    samples::Samples,
    stage::{Stage, Tables},
};
use cpis_tests::{
    dynamo::function_environment,
    operator::{Ended, Operator},
    world::nhs_numbers,
};
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};
use uuid::Uuid;

const MANY: usize = 100_000;
const FEW: usize = 10_000;
/// Each is many seconds of work, so few are needed.
const ROUNDS: usize = 3;
/// Workers of the bare calls, each with one under way. `cpis` has as many calls of each kind under way: it receives the next while it
/// sends these and deletes those before.
const CONCURRENCY: usize = 32;
/// Every other letter has this reason.
const REASON: &str = "step-failed";
/// As many authorities as England has.
const AUTHORITIES_TOLD: usize = 153;

/// What is done to the letters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    /// Listed by a filter.
    List,
    /// Half of them replayed, by a filter.
    Half,
    /// Replayed.
    All,
}

/// A dead-letter queue, and who sees to it.
struct Place {
    tables: Tables,
    junction: Junction,
    operator: Operator,
}

impl Place {
    async fn with(stage: &Stage, letters: usize) -> Self {
        let tables = Tables::new().await;
        let junction = Junction::start(&tables.dynamo.url, &tables.sqs.url).await;
        let outputs = [
            ("AsnQueueUrl", tables.sqs.queue_url("asn")),
            ("AsnDlqUrl", tables.sqs.queue_url("asn-dlq")),
            ("AuditTable", "audit".to_owned()),
        ];
        let operator = Operator::of(stage.binaries.join("cpis"), &outputs).await;
        let place = Self { tables, junction, operator };
        place.fill(letters);
        place
    }

    fn fill(&self, letters: usize) {
        for (n, number) in nhs_numbers(letters).enumerate() {
            let authority = format!("E06{:06}", 1 + n % AUTHORITIES_TOLD);
            let body = json!({
                "id": Uuid::from_u128(n as u128), "accessId": Uuid::from_u128(n as u128), "authority": authority,
                "at": "2026-01-01T00:00:00Z", "nhsNumber": number, "localIds": [format!("case-{n}")], "traceId": Uuid::nil(),
                "viewer": {"name": "Jo Carter", "jobRole": {"code": "R0670", "display": "Midwife - Sister/Charge Nurse"}},
                "organisation": {"code": "ZX001", "name": "Fairfield Emergency Department"},
            });
            let reason = if n.is_multiple_of(2) { REASON } else { "authority-closed" };
            let attributes: Map<String, Value> = [
                ("reason", reason),
                ("authority", &authority),
                ("attempts", "5"),
                ("failedAt", "2026-01-01T00:15:00.000Z"),
                ("traceId", "00000000-0000-0000-0000-000000000000"),
            ]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!({"DataType": "String", "StringValue": value})))
            .collect();
            self.tables.sqs.send("asn-dlq", &body.to_string(), attributes);
        }
    }

    async fn run(&self, deed: Deed) -> (Duration, Ended) {
        let arguments: &[&str] = match deed {
            Deed::List => &["dlq", "list", "--reason", REASON, "--json"],
            Deed::Half => &["dlq", "replay", "--reason", REASON, "--because", "a benchmark", "--json"],
            Deed::All => &["dlq", "replay", "--because", "a benchmark", "--json"],
        };
        let began = Instant::now();
        let ended = self.operator.run(&self.junction.url, arguments).await;
        assert_eq!(ended.status, Some(0), "{ended:?}");
        (began.elapsed(), ended)
    }

    /// The same by the bare calls.
    async fn bare(&self, stage: &Stage, deed: Deed) -> Duration {
        let env = function_environment(&self.junction.url, &self.tables.sqs);
        let function = stage.start("baseline-calls", &env).await;
        let reason = match deed {
            Deed::List => json!("none"),
            Deed::Half => json!(REASON),
            Deed::All => Value::Null,
        };
        let reply = function.invoke_json(&json!({"do": "move", "reason": reason, "concurrency": CONCURRENCY})).await;
        let answer = reply.json();
        assert_eq!(answer["moved"], deed.moves(MANY), "{answer}");
        reply.latency
    }

    /// Checks that what was to be moved was, each once, and that the rest can be seen.
    fn check(&self, deed: Deed, letters: usize) {
        let sqs = &self.tables.sqs;
        assert_eq!(sqs.sent("asn"), deed.moves(letters), "each once");
        assert_eq!(sqs.messages("asn-dlq").len(), letters - deed.moves(letters));
        assert_eq!(sqs.receive("asn-dlq").is_empty(), deed == Deed::All, "the others are let go");
    }
}

impl Deed {
    fn moves(self, letters: usize) -> usize {
        match self {
            Self::List => 0,
            Self::Half => letters / 2,
            Self::All => letters,
        }
    }
}

pub(crate) async fn measure(stage: &Stage, report: &mut Report) {
    for (deed, name, compared) in [
        (Deed::All, "100,000 dead letters replayed", "bare receive, send, delete"),
        (Deed::Half, "100,000 gone through, half replayed by a filter", "the same, and the others put back"),
        (Deed::List, "100,000 listed by a filter", "bare receive and put back"),
    ] {
        let (mut ours, mut bare) = (Samples::new(), Samples::new());
        let (mut memory, mut memory_few) = (Samples::new(), Samples::new());
        for _ in 0..ROUNDS {
            eprintln!("  {name}: cpis …");
            let place = Place::with(stage, MANY).await;
            let (time, ended) = place.run(deed).await;
            place.check(deed, MANY);
            ours.push(MANY as f64 / time.as_secs_f64());
            memory.push(megabytes(ended.memory));
            drop(place);
            eprintln!("  {name}: the bare calls …");
            let place = Place::with(stage, MANY).await;
            let time = place.bare(stage, deed).await;
            place.check(deed, MANY);
            bare.push(MANY as f64 / time.as_secs_f64());
            drop(place);
            let place = Place::with(stage, FEW).await;
            let (_, ended) = place.run(deed).await;
            place.check(deed, FEW);
            memory_few.push(megabytes(ended.memory));
        }
        report.ratio(name, Bound::AtLeast(0.8), &ours, (compared, &bare), "letters/s");
        report.add(&Figure {
            name: "  (peak memory, against 10,000)",
            bound: Bound::AtMost(1.1),
            value: memory.median() / memory_few.median(),
            unit: "×",
            ours: &memory,
            baseline: ("at 10,000", &memory_few),
            samples_in: "MB",
        });
    }
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
