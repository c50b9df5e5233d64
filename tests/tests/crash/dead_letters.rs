//! The operator's commands on dead letters are killed at every call that they make, or lose its answer, and are run again
//! until they are done. Whatever the moment, the end is that of a run that nothing disturbed.

use cpis_tests::{
    binaries,
    operator::{Ended, Operator},
    proxy::{Fault, Plan, When},
    world::{AUTHORITIES, World, nhs_numbers},
};
use futures_util::{StreamExt, stream};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
    sync::LazyLock,
};
use tokio::sync::OnceCell;
use uuid::Uuid;

use super::{AT_ONCE, PATIENCE};

/// Letters in the queue: more than one call brings.
const LETTERS: usize = 13;
/// More than are received before the first is sent: a window is fetched while another is sent.
const MANY: usize = 1_700;
/// So many of the calls that so many letters need are struck.
const STRUCK: usize = 8;
/// Where letters are archived in S3.
const BUCKET: &str = "s3://our-letters/2026";
/// One of them is no notification.
const UNREADABLE: usize = 4;
/// Longer than anybody holds a message.
const LONG: u64 = 13 * 3600;
const WHY: &str = "a test of crashes";

/// What is done to the letters of the first authority, or to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Replay,
    ReplaySome,
    ReplayMany,
    ReplayPushes,
    Discard,
    Archive,
    ArchiveToS3,
    Restore,
    RestoreFromS3,
    /// SQS moves them by itself.
    ReplayInAws,
}

/// A world with dead letters, and somebody to see to them.
struct Place {
    world: World,
    operator: Operator,
    file: PathBuf,
}

impl Deed {
    fn arguments(self, file: &Path) -> Vec<&str> {
        let file = file.to_str().expect("text");
        let mut arguments = match self {
            Self::Replay | Self::ReplayMany => vec!["dlq", "replay"],
            Self::ReplayPushes => vec!["dlq", "--pushes", "replay"],
            Self::ReplaySome => vec!["dlq", "replay", "--authority", AUTHORITIES[0]],
            Self::Discard => vec!["dlq", "discard", "--authority", AUTHORITIES[0]],
            Self::Archive => vec!["dlq", "archive", "--all", "--to", file],
            Self::ArchiveToS3 => vec!["dlq", "archive", "--all", "--to", BUCKET],
            Self::Restore => vec!["dlq", "restore", file],
            Self::RestoreFromS3 => vec!["dlq", "restore", BUCKET],
            Self::ReplayInAws => vec!["dlq", "replay", "--in-aws"],
        };
        arguments.extend(["--because", WHY, "--json"]);
        arguments
    }

    fn restores(self) -> bool {
        matches!(self, Self::Restore | Self::RestoreFromS3)
    }

    fn letters(self) -> usize {
        if self == Self::ReplayMany { MANY } else { LETTERS }
    }

    /// The queue that letters came from, and that of the dead ones.
    fn queues(self) -> [&'static str; 2] {
        if self == Self::ReplayPushes { ["push", "push-dlq"] } else { ["asn", "asn-dlq"] }
    }

    async fn begin(self) -> Place {
        let world = World::new().await;
        let mut outputs = world.queue_outputs();
        outputs.push(("AuditTable", "audit".to_owned()));
        let operator = Operator::of(binaries::cpis(), &outputs).await;
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.letters", Uuid::new_v4()));
        let place = Place { world, operator, file };
        place.world.proxy.keep_objects();
        match self {
            Self::Restore => std::fs::write(&place.file, archived().await).expect("written"),
            Self::RestoreFromS3 => {
                // In two parts.
                let (archive, proxy) = (archived().await, &place.world.proxy);
                let half = archive.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
                proxy.put_object("/our-letters/2026/one.letters", &archive[..half]);
                proxy.put_object("/our-letters/2026/two.letters", &archive[half..]);
            }
            _ => {
                let [_, dead] = self.queues();
                (0..self.letters()).for_each(|n| place.world.sqs.send(dead, &body(n), attributes(n)));
            }
        }
        place
    }

    /// Letters to which something was done and that no entry of the audit log names (R71): they are in the dead-letter queue no more, or
    /// where they are to go already.
    fn untold(self, place: &Place) -> Vec<Uuid> {
        let log = place.world.dynamo.scan("audit").iter().map(Value::to_string).collect::<String>();
        // Of letters that SQS moves by itself none is named: that all are moved was told before.
        if self == Self::ReplayInAws && log.contains("all, in AWS") {
            return Vec::new();
        }
        let told: HashSet<&str> = log.split(|c: char| !c.is_ascii_hexdigit() && c != '-').collect();
        let [alive, dead] = self.queues().map(|queue| -> HashSet<String> {
            place.world.sqs.messages(queue).into_iter().map(|message| message.body).collect()
        });
        let archived = if self.restores() { String::new() } else { place.archived() };
        let is_touched = |body: &String, id: &Uuid| match self {
            Self::Restore | Self::RestoreFromS3 => dead.contains(body),
            _ => !dead.contains(body) || alive.contains(body) || archived.contains(&id.to_string()),
        };
        let letters =
            (0..self.letters()).filter(|n| *n != UNREADABLE).map(|n| (body(n), Uuid::from_u128(n as u128 + 1)));
        let touched = letters.filter(|(body, id)| is_touched(body, id)).map(|(_, id)| id);
        touched.filter(|id| !told.contains(id.to_string().as_str())).collect()
    }

    /// Everything that must be the same in the end: what is in the queues, with all that belongs to it, and in the file.
    fn end(self, place: &Place) -> Value {
        let queue = |name: &str| -> BTreeSet<String> {
            let messages = place.world.sqs.messages(name);
            messages.iter().map(|m| json!([m.body, m.attributes, m.trace, m.group]).to_string()).collect()
        };
        let lines = place.archived();
        let letter = |line: &str| -> Value {
            let mut line: Value = serde_json::from_str(line).expect("a whole line");
            // Made anew for each world.
            line["letter"]["message_id"] = Value::Null;
            line["letter"].clone()
        };
        let archived: BTreeSet<String> = lines.lines().map(|line| letter(line).to_string()).collect();
        let [alive, dead] = self.queues();
        json!({"queue": queue(alive), "dead": queue(dead), "archived": archived})
    }
}

fn body(n: usize) -> String {
    static BODIES: LazyLock<Vec<String>> = LazyLock::new(|| nhs_numbers(MANY).enumerate().map(made).collect());
    BODIES[n].clone()
}

fn made((n, number): (usize, String)) -> String {
    if n == UNREADABLE {
        return "not a notification".into();
    }
    json!({
        "id": Uuid::from_u128(n as u128 + 1), "accessId": Uuid::nil(), "authority": AUTHORITIES[n % 2],
        "at": format!("2026-01-01T00:{:02}:{:02}Z", n / 60, n % 60), "nhsNumber": number, "localIds": [], "traceId": Uuid::nil(),
        "viewer": {"name": "Sam Sample"}, "organisation": {"code": "ZX001", "name": "Sample"},
    })
    .to_string()
}

fn attributes(n: usize) -> Map<String, Value> {
    let text = |value: &str| json!({"DataType": "String", "StringValue": value});
    let all = [("reason", "step-failed"), ("authority", AUTHORITIES[n % 2]), ("traceId", "t"), ("kind", "access")];
    all.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect()
}

/// An archive of the letters, made by the command itself, once.
pub(super) async fn archived() -> &'static [u8] {
    static ARCHIVED: OnceCell<Vec<u8>> = OnceCell::const_new();
    let make = async || {
        let place = Box::pin(Deed::Archive.begin()).await;
        let ended = place.run(Deed::Archive).await;
        assert_eq!(ended.status, Some(0), "{ended:?}");
        std::fs::read(&place.file).expect("an archive")
    };
    ARCHIVED.get_or_init(make).await
}

impl Place {
    /// The archive's lines, in the file and in S3.
    fn archived(&self) -> String {
        let objects = self.world.proxy.objects().into_values();
        let objects = objects.map(|object| String::from_utf8(object.to_vec()).expect("text"));
        objects.chain(std::fs::read_to_string(&self.file).ok()).collect()
    }

    async fn run(&self, deed: Deed) -> Ended {
        self.operator.run(&self.world.proxy.url, &deed.arguments(&self.file)).await
    }

    /// Runs the command until it says that all is done.
    async fn finish(&self, deed: Deed, first: Ended) {
        let mut ended = first;
        for _ in 0..PATIENCE {
            let untold = deed.untold(self);
            assert!(untold.is_empty(), "the audit log does not know: {untold:?}, {deed:?}: {ended:?}");
            if ended.status == Some(0) {
                return;
            }
            assert!(matches!(ended.status, None | Some(1 | 3)), "{deed:?}: {ended:?}");
            self.world.sqs.advance(LONG);
            ended = self.run(deed).await;
        }
        panic!("{deed:?} is not done after {PATIENCE} runs: {ended:?}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

async fn survives(deed: Deed) {
    let clean = deed.begin().await;
    let ended = clean.run(deed).await;
    assert_eq!(ended.status, Some(0), "{deed:?}: {ended:?}");
    let (expected, calls) = (&deed.end(&clean), clean.world.proxy.calls());
    // Where there are many, some: the first, the last, and others evenly between them.
    let step = if deed.letters() > LETTERS { calls.len() / STRUCK } else { 1 };
    let crashes = (1..=calls.len())
        .step_by(step)
        .flat_map(|call| [(call, When::Before, true), (call, When::After, true), (call, When::After, false)]);
    stream::iter(crashes)
        .for_each_concurrent(AT_ONCE, |(call, when, kill)| async move {
            let place = deed.begin().await;
            let arguments = deed.arguments(&place.file);
            let gate = place.world.proxy.close().await;
            let running = place.operator.start(&place.world.proxy.url, &arguments);
            let fault = if kill { Fault::Kill(running.killer()) } else { Fault::Drop };
            place.world.proxy.arm(Plan { call, when, fault });
            drop(gate);
            place.finish(deed, running.end().await).await;
            let moment = format!("{deed:?}, call {call} ({:?}), {when:?}, killed: {kill}", place.world.proxy.calls());
            // A look at the queue's length comes with the time, not with the letters: the last call may be wanting.
            let fired = usize::from(place.world.proxy.calls().len() >= call);
            assert_eq!(place.world.proxy.fired(), fired, "{moment}");
            assert_eq!(&deed.end(&place), expected, "{moment}");
            if deed.restores() && kill {
                assert_eq!(place.world.sqs.messages("asn-dlq").len(), LETTERS, "each once: {moment}");
            }
            if deed == Deed::ReplayInAws {
                assert_eq!(place.world.sqs.sent("asn"), LETTERS, "each once: {moment}");
                let how = place.world.dynamo.scan("audit").iter().any(|entry| entry.to_string().contains("completed"));
                assert!(how, "the audit log tells how it ended: {moment}");
            }
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r72_a_replay_survives_kill_9_at_every_call() {
    survives(Deed::Replay).await;
    survives(Deed::ReplaySome).await;
    survives(Deed::ReplayPushes).await;
    survives(Deed::ReplayInAws).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r72_a_replay_survives_kill_9_while_a_window_is_fetched_and_another_sent() {
    survives(Deed::ReplayMany).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r72_discarding_archiving_and_restoring_survive_kill_9_at_every_call() {
    survives(Deed::Discard).await;
    survives(Deed::Archive).await;
    survives(Deed::ArchiveToS3).await;
    survives(Deed::Restore).await;
    survives(Deed::RestoreFromS3).await;
}
