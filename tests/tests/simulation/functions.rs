//! The real functions, wired as their `main.rs` wires them.

use std::sync::Arc;

use aws_lambda_events::sqs::SqsEvent;
use cpis::{
    aws::{AsnQueue, DeadLetters, Dynamo, PushTasks, Tables},
    domain::nhs_number::ChildKeySecret,
    lambda::{budgets::PatientStops, cached::CachedDirectory, config::SystemClock, http::answer},
};
use cpis_tests::dynamo::TABLES;
use serde_json::Value;
use uuid::Uuid;

use super::{
    handlers::{asn_delivery, asn_mailbox, asn_relay, flag_lookup, plan_upload},
    wire,
    world::{Ended, World},
};

/// Seconds that API Gateway waits.
const GATEWAY: u64 = 29_000;
/// Seconds that Lambda lets a function work that has a queue or a stream.
const LAMBDA: u64 = 60_000;
/// Shorter than in `template.yaml`, so that letters die while things still go wrong.
const BACKOFF_SECONDS: u32 = 4;
const SECRET: &[u8] = b"a secret of the tests, 32 bytes or more";

pub(crate) const QUEUE: &str = "http://127.0.0.1/000000000000/asn";
pub(crate) const LETTERS: &str = "http://127.0.0.1/000000000000/asn-dlq";
const PUSHES: &str = "http://127.0.0.1/000000000000/push";

/// Clients of everything, and what of the functions lives longer than one event.
pub(crate) struct Functions {
    world: Arc<World>,
    config: aws_config::SdkConfig,
    store: Dynamo,
    queue: AsnQueue,
    secret: ChildKeySecret,
}

/// What a request was answered: status and body. `None`: nothing came.
pub(crate) type Reply = Option<(i64, String)>;

impl Functions {
    pub(crate) fn new(world: &Arc<World>) -> Self {
        let config = wire::config(world);
        let table = |variable: &str| {
            let named = TABLES.iter().find(|(name, _)| *name == variable);
            named.map(|(_, table)| (*table).to_owned()).expect("a table")
        };
        let tables = Tables {
            plans: table("PLANS_TABLE"),
            accesses: table("ACCESSES_TABLE"),
            outbox: table("OUTBOX_TABLE"),
            uploads: table("UPLOADS_TABLE"),
            mailbox: table("MAILBOX_TABLE"),
            directory: table("DIRECTORY_TABLE"),
            limits: table("LIMITS_TABLE"),
            audit: table("AUDIT_TABLE"),
        };
        Self {
            world: Arc::clone(world),
            store: Dynamo::new(&config, tables),
            queue: AsnQueue::new(&config, QUEUE.to_owned()),
            config,
            secret: ChildKeySecret::new(SECRET).expect("long enough"),
        }
    }

    async fn request(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<(i64, Vec<u8>), serde_json::Error>>,
    ) -> Reply {
        let ended = self.world.process(name, self.world.skew(), GATEWAY, work).await;
        let (status, body) = ended.done()?.expect("a readable event");
        Some((status, String::from_utf8(body).expect("text")))
    }

    pub(crate) async fn upload(&self, event: Value) -> Reply {
        let (store, secret) = (&self.store, &self.secret);
        let handle = |incoming| plan_upload::handle(store, secret, incoming);
        self.request("plan-upload", answer("plan-upload", event, handle)).await
    }

    pub(crate) async fn look_up(&self, event: Value) -> Reply {
        let stops = PatientStops::new(self.store.clone(), SystemClock);
        let (store, stops, secret) = (&self.store, &stops, &self.secret);
        let handle = |incoming| flag_lookup::handle(store, stops, secret, incoming);
        self.request("flag-lookup", answer("flag-lookup", event, handle)).await
    }

    pub(crate) async fn mailbox(&self, event: Value) -> Reply {
        let handle = |incoming| asn_mailbox::handle(&self.store, incoming);
        self.request("asn-mailbox", answer("asn-mailbox", event, handle)).await
    }

    /// What the relay answers to an event of the stream or the schedule.
    pub(crate) async fn relay(&self, skew: i64, event: Value) -> Option<Value> {
        let cause = serde_json::from_value(event).expect("an event");
        let work = asn_relay::handle(&self.store, &self.queue, cause);
        let answer = self.world.process("asn-relay", skew, LAMBDA, work).await.done()?.ok()?;
        Some(serde_json::to_value(answer).expect("JSON"))
    }

    /// A process of `asn-delivery`.
    pub(crate) fn deliverer(&self) -> Deliverer {
        let delivery = asn_delivery::Delivery {
            directory: CachedDirectory::new(self.store.clone(), SystemClock),
            mailbox: self.store.clone(),
            queue: DeadLetters::new(&self.config, QUEUE.to_owned(), LETTERS.to_owned()),
            pushes: PushTasks::new(&self.config, PUSHES.to_owned()),
            backoff_seconds: BACKOFF_SECONDS,
        };
        Deliverer { delivery, skew: self.world.skew() }
    }

    /// The operator's `cpis dlq replay`.
    pub(crate) async fn replay(&self, run: Uuid, rate: Option<u32>) -> Ended<Result<usize, String>> {
        let sqs = aws_sdk_sqs::Client::new(&self.config);
        let work = cpis_ops::simulation::replay(&sqs, (QUEUE, LETTERS), self.store.clone(), (run, rate));
        self.world.process("cpis dlq replay", self.world.skew(), 600_000, work).await
    }
}

/// A process of `asn-delivery`, which remembers what it read of the directory.
pub(crate) struct Deliverer {
    delivery: asn_delivery::Delivery,
    skew: i64,
}

impl Deliverer {
    pub(crate) async fn handle(&self, world: &World, event: Value) -> Ended<Value> {
        let batch: SqsEvent = serde_json::from_value(event).expect("an event");
        match world.process("asn-delivery", self.skew, LAMBDA, self.delivery.handle(batch)).await {
            Ended::Done(answer) => Ended::Done(serde_json::to_value(answer).expect("JSON")),
            Ended::Crashed => Ended::Crashed,
            Ended::TimedOut => Ended::TimedOut,
        }
    }
}
