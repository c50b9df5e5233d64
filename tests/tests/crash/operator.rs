//! What the operator's commands on dead letters do, through the real `cpis`.

use cpis_tests::{
    binaries,
    operator::{Ended, Operator, Running},
    proxy::{Fault, Plan, When},
    sqs::Message,
    world::{World, nhs_number},
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    time::Duration,
};
use uuid::Uuid;

const BECAUSE: [&str; 2] = ["--because", "a test"];
/// How often to look whether something has happened.
const LOOK: Duration = Duration::from_millis(5);
/// For how long to look: longer than any call may take.
const BOUND: Duration = Duration::from_secs(120);
/// Letters of each authority in turn.
const CODES: [&str; 3] = ["E06000001", "E06000002", "E08000025"];

/// Dead letters, and somebody to see to them.
struct Desk {
    world: World,
    operator: Operator,
}

impl Desk {
    async fn new() -> Self {
        Self::whose_log_is(&[("AuditTable", "audit")]).await
    }

    /// Of a stack with these outputs beside the queues.
    async fn whose_log_is(log: &[(&str, &str)]) -> Self {
        let world = World::new().await;
        let mut outputs = world.queue_outputs();
        outputs.extend(log.iter().map(|(name, table)| (*name, (*table).to_owned())));
        let operator = Operator::of(binaries::cpis(), &outputs).await;
        Self { world, operator }
    }

    /// With so many letters: of every authority in turn, every fifth of them closed, the others not reached.
    async fn with(letters: usize) -> Self {
        let desk = Self::new().await;
        (0..letters).for_each(|n| desk.put(n));
        desk
    }

    fn put(&self, n: usize) {
        let reason = if n.is_multiple_of(5) { "authority-closed" } else { "step-failed" };
        let text = |value: &str| json!({"DataType": "String", "StringValue": value});
        let attributes = [
            ("reason", reason),
            ("attempts", "5"),
            ("failedAt", "2026-01-01T00:00:00Z"),
            ("authority", CODES[n % 3]),
            ("traceId", "f47ac10b-58cc-4372-a567-0e02b2c3d479"),
            ("later", "kept"),
        ];
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect();
        self.world.sqs.send_with("asn-dlq", &body(n), attributes, Some("Root=1-2-3"), Some(CODES[n % 3]));
    }

    async fn dlq(&self, arguments: &[&str]) -> Ended {
        let arguments: Vec<_> = ["dlq"].iter().chain(arguments).copied().collect();
        self.operator.run(&self.world.proxy.url, &arguments).await
    }

    async fn done(&self, arguments: &[&str]) -> Ended {
        let ended = self.dlq(arguments).await;
        assert_eq!(ended.status, Some(0), "{arguments:?}: {ended:?}");
        ended
    }

    /// The steps that the audit log was told of, in order: each its kind, its details, and who.
    fn trail(&self) -> Vec<Value> {
        let mut entries: Vec<Value> = self.world.dynamo.scan("audit").into_iter().filter(is_of_letters).collect();
        entries.sort_by_key(|entry| entry["at"]["S"].as_str().map(str::to_owned));
        entries
    }

    /// The letters that the audit log was told of under one of these names.
    fn told(&self, names: &[&str]) -> BTreeSet<Uuid> {
        let trail = self.trail();
        let details = trail.iter().flat_map(|entry| names.iter().map(|name| detail(entry, name)));
        details.flat_map(|ids| ids.split(',').filter_map(|id| id.parse().ok())).collect()
    }

    /// The numbers of the letters of an authority that were sent, in that order.
    fn sent_of(&self, code: usize) -> Vec<usize> {
        let sent = self.world.sqs.messages("asn");
        sent.iter().map(|m| id(m).as_u128() as usize - 1).filter(|n| n % 3 == code).collect()
    }

    fn ids(&self, queue: &str) -> BTreeSet<Uuid> {
        self.world.sqs.messages(queue).iter().map(id).collect()
    }
}

fn is_of_letters(entry: &Value) -> bool {
    entry["kind"]["S"].as_str().is_some_and(|kind| kind.starts_with("dead-letter"))
}

/// A detail of an entry of the audit log.
fn detail<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry["details"]["M"][name]["S"].as_str().unwrap_or_default()
}

fn body(n: usize) -> String {
    json!({
        "id": name(n), "accessId": Uuid::nil(), "authority": CODES[n % 3],
        "at": format!("2026-01-01T00:{:02}:{:02}Z", n / 60, n % 60), "nhsNumber": nhs_number(n), "localIds": ["C-1"],
        "viewer": {"name": "Sam Sample"}, "organisation": {"code": "ZX001", "name": "Sample"}, "traceId": Uuid::nil(),
    })
    .to_string()
}

fn name(n: usize) -> Uuid {
    Uuid::from_u128(n as u128 + 1)
}

fn names(which: impl Fn(usize) -> bool, of: usize) -> BTreeSet<Uuid> {
    (0..of).filter(|n| which(*n)).map(name).collect()
}

fn id(message: &Message) -> Uuid {
    let body: Value = serde_json::from_str(&message.body).expect("JSON");
    body["id"].as_str().expect("an id").parse().expect("a UUID")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_counts_and_names_and_leaves_all_where_it_is() {
    let desk = Desk::with(60).await;
    let list = desk.done(&["list", "--json"]).await.json();
    assert_eq!((&list["total"], &list["unseen"]), (&json!(60), &json!(0)), "{list}");
    let groups = list["groups"].as_array().expect("groups");
    let counts: BTreeMap<_, _> =
        groups.iter().map(|g| ((g["reason"].as_str(), g["authority"].as_str()), &g["count"])).collect();
    assert_eq!(counts[&(Some("authority-closed"), Some(CODES[0]))], 4);
    assert_eq!(counts[&(Some("step-failed"), Some(CODES[2]))], 16);
    assert!(groups.iter().all(|g| g["kind"] == "access"));

    let each = desk.done(&["list", "--reason", "authority-closed", "--authority", CODES[1], "--each", "--json"]).await;
    let lines: Vec<Value> = each.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let found: BTreeSet<Uuid> = lines.iter().filter_map(|l| l["id"].as_str()?.parse().ok()).collect();
    assert_eq!(found, names(|n| n.is_multiple_of(5) && n % 3 == 1, 60));
    assert_eq!((lines.len(), &lines.last().expect("a sum")["total"]), (5, &json!(4)));
    assert_eq!(desk.done(&["list", "--newer-than", "1h"]).await.stdout, "no dead letters", "they are old");
    assert_eq!(desk.world.sqs.receive("asn-dlq").len(), 10, "they can be seen at once");
    assert_eq!((desk.ids("asn-dlq").len(), desk.world.sqs.sent("asn-dlq")), (60, 60));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r71_what_a_dry_run_names_is_what_is_replayed_with_all_that_belongs_to_it() {
    let desk = Desk::with(60).await;
    let filter = ["replay", "--reason", "step-failed", "--authority", CODES[0], "--authority", CODES[2]];
    let dry = desk.done(&[&filter[..], &["--dry-run", "--each", "--json"]].concat()).await;
    let lines = dry.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let named: BTreeSet<Uuid> = lines.filter_map(|line| line["id"].as_str()?.parse().ok()).collect();
    assert_eq!(named, names(|n| !n.is_multiple_of(5) && n % 3 != 1, 60));
    assert_eq!((desk.ids("asn-dlq").len(), desk.world.sqs.sent("asn")), (60, 0), "a dry run does nothing");

    let replay = desk.done(&[&filter[..], &BECAUSE, &["--json"]].concat()).await.json();
    assert_eq!((&replay["replayed"]["total"], &replay["left"]), (&json!(32), &json!(28)), "{replay}");
    assert_eq!((desk.ids("asn"), desk.world.sqs.sent("asn")), (named.clone(), 32));
    assert!(desk.ids("asn-dlq").is_disjoint(&named));
    for message in desk.world.sqs.messages("asn") {
        let n = id(&message).as_u128() as usize - 1;
        let kept: Vec<_> = message.attributes.keys().map(String::as_str).collect();
        assert_eq!(kept, ["authority", "later", "traceId"]);
        assert_eq!((message.body.as_str(), message.trace.as_deref()), (body(n).as_str(), Some("Root=1-2-3")));
        assert_eq!(message.group.as_deref(), Some(CODES[n % 3]));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r72_an_authoritys_letters_keep_their_order() {
    for seed in 1..=3 {
        let desk = Desk::with(600).await;
        desk.world.sqs.shuffle(seed);
        let _ = desk.done(&[&["replay"][..], &BECAUSE].concat()).await;
        for (place, code) in CODES.iter().enumerate() {
            let of = desk.sent_of(place);
            assert!(of.len() == 200 && of.is_sorted(), "{code}, seed {seed}: {of:?}");
        }
    }
    // With a limit it is the oldest that go.
    let desk = Desk::with(300).await;
    desk.world.sqs.shuffle(4);
    let limited = desk.done(&[&["replay", "--limit", "7", "--json"][..], &BECAUSE].concat()).await.json();
    assert_eq!((desk.ids("asn"), &limited["left"]), (names(|n| n < 7, 300), &json!(293)));
    // A call at its limit of bytes is cut.
    let desk = Desk::new().await;
    for n in 0..7 {
        let padded = body(n).replace("C-1", &"x".repeat(60_000));
        desk.world.sqs.send("asn-dlq", &padded, Map::new());
    }
    let _ = desk.done(&[&["replay"][..], &BECAUSE].concat()).await;
    assert_eq!((desk.world.sqs.sent("asn"), desk.world.proxy.counts()["SendMessageBatch"]), (7, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r72_what_stands_behind_a_letter_that_is_not_taken_waits_for_it() {
    let desk = Desk::with(600).await;
    let sqs = &desk.world.sqs;
    let third = name(3).to_string();
    sqs.refuse(&third, Some("InternalError"));
    let replay = desk.dlq(&[&["replay", "--json"][..], &BECAUSE].concat()).await;
    // Those that went in the same call could not be held back.
    let first: Vec<usize> = (0..30).step_by(3).filter(|n| *n != 3).collect();
    assert_eq!((replay.status, desk.sent_of(0)), (Some(3), first.clone()), "{replay:?}");
    assert_eq!((&replay.json()["notTaken"], desk.ids("asn-dlq").len()), (&json!(191), 191), "{replay:?}");
    assert_eq!([1, 2].map(|code| desk.sent_of(code).len()), [200; 2], "nobody else waits");
    sqs.refuse(&third, None);
    let _ = desk.done(&[&["replay"][..], &BECAUSE].concat()).await;
    let later: Vec<usize> = std::iter::once(3).chain((30..600).step_by(3)).collect();
    assert_eq!(desk.sent_of(0), [first, later].concat());

    // One that no queue will ever take holds up nobody.
    let desk = Desk::with(60).await;
    desk.world.sqs.refuse(&third, Some("InvalidMessageContents"));
    let replay = desk.dlq(&[&["replay", "--json"][..], &BECAUSE].concat()).await;
    assert_eq!((replay.status, desk.ids("asn-dlq")), (Some(3), names(|n| n == 3, 60)), "{replay:?}");
}

/// One call of many fails, and what the others did is told and stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r71_a_failed_call_does_not_lose_what_became_of_the_letters_of_others() {
    let desk = Desk::with(600).await;
    desk.world.sqs.refuse(&name(0).to_string(), Some("AccessDenied"));
    let replay = desk.dlq(&[&["replay", "--json"][..], &BECAUSE].concat()).await;
    assert!(replay.status == Some(1) && replay.stderr.contains("cannot send"), "{replay:?}");
    let sent = desk.ids("asn");
    assert!(!sent.is_empty() && replay.stderr.contains(&format!("({} done before that", sent.len())), "{replay:?}");
    assert!(sent.is_disjoint(&desk.ids("asn-dlq")), "what was sent is deleted");
    let unknown = desk.told(&["unknown"]);
    assert_eq!(desk.told(&["replayed"]), sent);
    assert!(unknown.contains(&name(0)) && unknown.is_disjoint(&sent), "{unknown:?}");
    // Each was named before it was sent, and of each that was named it is said what became of it.
    assert_eq!(desk.told(&["meant"]), desk.told(&["replayed", "unknown", "left"]));
    assert!(desk.trail().iter().any(|entry| detail(entry, "how") == "failed"));
    desk.world.sqs.refuse(&name(0).to_string(), None);
    let _ = desk.done(&[&["replay"][..], &BECAUSE].concat()).await;
    assert_eq!((desk.ids("asn"), desk.world.sqs.sent("asn")), (names(|_| true, 600), 600));
}

/// SQS lets only so many messages be held, and hands out no more without saying so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_longer_than_can_be_held_is_never_said_to_be_seen_through() {
    let desk = Desk::with(600).await;
    desk.world.sqs.limit_in_flight(300);
    let told = |ended: &Ended| ended.stderr.contains("about 300 more were not looked at");
    for arguments in
        [&["list", "--json"][..], &["replay", "--dry-run", "--json"], &["discard", "--all", "--dry-run", "--json"]]
    {
        let ended = desk.dlq(arguments).await;
        assert!(told(&ended) && ended.status == Some(3), "{arguments:?}: {ended:?}");
        assert_eq!(ended.json()["unseen"], 300, "{arguments:?}: {ended:?}");
    }
    let shown = desk.dlq(&["show", &name(500).to_string()]).await;
    assert!(told(&shown) && shown.status == Some(3), "{shown:?}");
    // Two thirds are passed over, which is more than can be held.
    let one = ["--authority", CODES[1], "--json", BECAUSE[0], BECAUSE[1]];
    let some = desk.dlq(&[&["replay"][..], &one].concat()).await;
    assert_eq!((some.status, some.json()["ending"].as_str()), (Some(3), Some("done")), "{some:?}");
    assert_eq!(some.json()["unseen"].as_u64(), Some(600 - 300 - desk.ids("asn").len() as u64), "{some:?}");

    // Where nothing is handed out at all, it is asked for no more than twice.
    let others = Desk::with(600).await;
    others.world.sqs.limit_in_flight(0);
    let list = others.dlq(&["list", "--json"]).await;
    assert_eq!((list.status, &list.json()["unseen"]), (Some(3), &json!(600)), "{list:?}");
    let asked = others.world.proxy.counts()["ReceiveMessage"];
    assert!(asked <= 600_usize.div_ceil(10) * 2, "{asked} calls");

    // The way that the note names goes through any number.
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.letters", Uuid::new_v4()));
    let file = file.to_str().expect("text");
    let _ = desk.done(&[&["archive", "--all", "--to", file][..], &BECAUSE].concat()).await;
    assert_eq!(desk.ids("asn-dlq").len(), 0);
    let _ = desk.done(&[&["restore", file][..], &one].concat()).await;
    let _ = desk.done(&[&["replay"][..], &one].concat()).await;
    assert_eq!((desk.ids("asn"), desk.world.sqs.sent("asn")), (names(|n| n % 3 == 1, 600), 200));
    std::fs::remove_file(file).expect("removed");
}

/// Dead letters of others that come while a command runs are no sign that what it does keeps failing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_grows_by_others_stops_nothing() {
    let grows = async |arguments: &[&str], ending: (i32, usize)| {
        let desk = Desk::with(60).await;
        let arguments = [&["dlq", "replay", "--json"], arguments].concat();
        let ended = desk.operator.start(&desk.world.proxy.url, &arguments).end();
        tokio::pin!(ended);
        let mut grown = 60;
        let ended = loop {
            tokio::select! {
                ended = &mut ended => break ended,
                () = tokio::time::sleep(LOOK) => {
                    // As soon as it looks through the queue.
                    if grown == 60 && desk.world.proxy.counts().contains_key("ReceiveMessage") {
                        (60..200).filter(|n| n % 3 == 2).for_each(|n| desk.put(n));
                        grown = 200;
                    }
                }
            }
        };
        let report = ended.json();
        assert_eq!((ended.status, &report["ending"]), (Some(ending.0), &json!("done")), "{arguments:?}: {ended:?}");
        assert_eq!((desk.world.sqs.sent("asn"), grown), (ending.1, 200), "{arguments:?}: {ended:?}");
    };
    let paced = ["--authority", CODES[0], "--rate", "8", BECAUSE[0], BECAUSE[1]];
    let few = ["--limit", "3", "--rate", "1", BECAUSE[0], BECAUSE[1]];
    let dry = ["--authority", CODES[0], "--rate", "8", "--dry-run"];
    futures_util::join!(grows(&paced, (0, 20)), grows(&few, (0, 3)), grows(&dry, (0, 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_letters_that_fail_again() {
    let desk = Desk::with(45).await;
    let replay = desk.done(&[&["replay", "--limit", "12", "--json"][..], &BECAUSE].concat()).await.json();
    assert_eq!((&replay["replayed"]["total"], desk.world.sqs.sent("asn")), (&json!(12), 12));
    let one = desk.done(&[&["replay", "--id", &name(44).to_string(), "--json"][..], &BECAUSE].concat()).await.json();
    assert_eq!((&one["replayed"]["total"], &one["left"]), (&json!(1), &json!(32)));
    // Twice in the queue: the second one is left, and somebody should look.
    desk.put(40);
    let twice = desk.dlq(&[&["replay", "--json"][..], &BECAUSE].concat()).await;
    assert_eq!((twice.status, &twice.json()["cameBack"], desk.ids("asn-dlq").len()), (Some(3), &json!(1), 1));
    assert_eq!(desk.ids("asn"), names(|_| true, 45));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_stops_by_itself_when_what_it_sends_keeps_failing() {
    let desk = Desk::with(2_000).await;
    let arguments = [&["dlq", "replay", "--rate", "100", "--json"][..], &BECAUSE].concat();
    let ended = desk.operator.start(&desk.world.proxy.url, &arguments).end();
    tokio::pin!(ended);
    let ended = loop {
        tokio::select! {
            ended = &mut ended => break ended,
            () = tokio::time::sleep(LOOK) => {
                // Every delivery fails at once.
                let sqs = &desk.world.sqs;
                for message in sqs.receive("asn") {
                    sqs.send("asn-dlq", &message.body, message.attributes.clone());
                    sqs.delete("asn", [message.receipt.as_str()]);
                }
            }
        }
    };
    assert_eq!((ended.status, &ended.json()["ending"]), (Some(3), &json!("stopped")), "{ended:?}");
    assert!(desk.world.sqs.sent("asn") < 2_000, "it stopped early");
    let both = desk.ids("asn").union(&desk.ids("asn-dlq")).count();
    assert_eq!(both, 2_000, "nothing is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_replay_ends_in_good_order() {
    for (name, letters, rate) in
        [("-INT", 500, &["--rate", "20"][..]), ("-TERM", 500, &["--rate", "20"]), ("-INT", 3_000, &[])]
    {
        let desk = Desk::with(letters).await;
        let arguments = [&["dlq", "replay", "--json"][..], rate, &BECAUSE].concat();
        let running = desk.operator.start(&desk.world.proxy.url, &arguments);
        until("it sends", || desk.world.sqs.sent("asn") > 0).await;
        let gate = desk.world.proxy.close().await;
        signal(&running, name);
        drop(gate);
        let ended = running.end().await;
        assert_eq!((ended.status, &ended.json()["ending"]), (Some(3), &json!("interrupted")), "{ended:?}");
        let (sent, left) = (desk.world.sqs.sent("asn"), desk.world.sqs.messages("asn-dlq").len());
        assert_eq!((ended.json()["replayed"]["total"].as_u64(), sent + left), (Some(sent as u64), letters));
        if letters == 500 {
            assert_eq!(ended.json()["left"].as_u64(), Some(left as u64), "all of them were looked at: {ended:?}");
        }
        // Those that were meant next and not begun are told to be left.
        assert_eq!(desk.told(&["meant"]), desk.told(&["replayed", "left"]));
        assert_eq!(desk.told(&["left"]).is_empty(), !rate.is_empty(), "at a rate nothing is meant before it goes");
        let mut seen = 0;
        while let received @ 1.. = desk.world.sqs.receive("asn-dlq").len() {
            seen += received;
        }
        assert_eq!(seen, left, "what it held is let go");
    }
}

/// Waits until something is so, but not for ever.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let so = async {
        while !is_so() {
            tokio::time::sleep(LOOK).await;
        }
    };
    let in_time = tokio::time::timeout(BOUND, so).await;
    assert!(in_time.is_ok(), "{what}: not within {BOUND:?}");
}

/// Sends a signal to a command.
fn signal(running: &Running, name: &str) {
    let sent = Command::new("kill").args([name, &running.pid().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
}

/// A command on dead letters that is told to end in the middle of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    List,
    Show,
    Status,
    Replay,
    Discard,
    Archive,
    ArchiveToS3,
    Restore,
    RestoreFromS3,
}

impl Cut {
    const ALL: [Self; 9] = [
        Self::List,
        Self::Show,
        Self::Status,
        Self::Replay,
        Self::Discard,
        Self::Archive,
        Self::ArchiveToS3,
        Self::Restore,
        Self::RestoreFromS3,
    ];
    /// Each takes a call for ten letters at least.
    const LETTERS: usize = 2_000;
    /// After so many calls it is told: with those under way they cannot have been about all letters.
    const CALLS: usize = 100;

    fn arguments(self, file: &str) -> Vec<&str> {
        let bucket = "s3://our-letters/2026";
        let arguments = match self {
            // Of no letter that is there.
            Self::Show => return vec!["dlq", "show", "6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f"],
            Self::Status => return vec!["status", "--json"],
            Self::List => return vec!["dlq", "list", "--json"],
            Self::Replay => vec!["replay"],
            Self::Discard => vec!["discard", "--all"],
            Self::Archive => vec!["archive", "--all", "--to", file],
            Self::ArchiveToS3 => vec!["archive", "--all", "--to", bucket],
            Self::Restore => vec!["restore", file],
            Self::RestoreFromS3 => vec!["restore", bucket],
        };
        [&["dlq"], &arguments[..], &BECAUSE, &["--json"]].concat()
    }

    /// What makes the archive that is restored.
    fn archives(self) -> Option<Self> {
        match self {
            Self::Restore => Some(Self::Archive),
            Self::RestoreFromS3 => Some(Self::ArchiveToS3),
            _ => None,
        }
    }

    async fn begin(self, file: &str) -> Desk {
        let _ = std::fs::remove_file(file);
        let desk = Desk::whose_log_is(&[("AuditTable", "audit"), ("OutboxTable", "outbox")]).await;
        (0..Self::LETTERS).for_each(|n| desk.put(n));
        desk.world.proxy.keep_objects();
        if let Some(archive) = self.archives() {
            let ended = desk.operator.run(&desk.world.proxy.url, &archive.arguments(file)).await;
            assert_eq!((ended.status, desk.ids("asn-dlq").len()), (Some(0), 0), "{ended:?}");
        }
        desk.world.proxy.reset();
        desk
    }

    /// How many letters are where they are to go, each counted as often as it is there.
    fn gone(self, desk: &Desk, file: &str) -> usize {
        let objects = || desk.world.proxy.objects().into_values().map(|object| object.to_vec());
        let lines = |archive: &[u8]| archive.iter().filter(|byte| **byte == b'\n').count();
        match self {
            Self::List | Self::Show | Self::Status => 0,
            Self::Replay => desk.world.sqs.sent("asn"),
            Self::Discard => Self::LETTERS - desk.world.sqs.messages("asn-dlq").len(),
            Self::Archive => std::fs::read(file).map_or(0, |archive| lines(&archive)),
            Self::ArchiveToS3 => objects().map(|object| lines(&object)).sum(),
            Self::Restore | Self::RestoreFromS3 => desk.world.sqs.messages("asn-dlq").len(),
        }
    }

    /// What the command says of how it ended.
    fn ending(self, ended: &Ended) -> String {
        match self {
            Self::Show if ended.stderr.contains("interrupted") => "interrupted".into(),
            Self::Show => "done".into(),
            Self::Status => ended.json()["deadLetters"]["ending"].as_str().unwrap_or_default().into(),
            _ => ended.json()["ending"].as_str().unwrap_or_default().into(),
        }
    }

    /// Tells the command to end in the middle, and then runs it to its end.
    async fn carry_out(self, name: &str) {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.letters", Uuid::new_v4()));
        let file = file.to_str().expect("text");
        let all = if matches!(self, Self::List | Self::Show | Self::Status) { 0 } else { Self::LETTERS };
        let desk = self.begin(file).await;
        let closed = desk.world.proxy.close_at(Self::CALLS);
        let running = desk.operator.start(&desk.world.proxy.url, &self.arguments(file));
        let gate = closed.await.expect("so many calls");
        signal(&running, name);
        drop(gate);
        let ended = running.end().await;
        let case = format!("{self:?}, {name}: {ended:?}");
        assert_eq!((ended.status, self.ending(&ended).as_str()), (Some(3), "interrupted"), "{case}");
        assert!(ended.stderr.contains("note: interrupted"), "{case}");
        let (gone, left) = (self.gone(&desk, file), desk.world.sqs.messages("asn-dlq").len());
        if self.archives().is_none() {
            assert_eq!(gone + left, Self::LETTERS, "{case}");
        }
        assert_eq!(gone < all, all > 0, "{case}");
        let mut seen = 0;
        while let received @ 1.. = desk.world.sqs.receive("asn-dlq").len() {
            seen += received;
        }
        assert_eq!(seen, left, "what it held is let go: {case}");
        let done = ["replayed", "discarded", "archived", "restored", "left"];
        assert_eq!(desk.told(&["meant"]).difference(&desk.told(&done)).count(), 0, "{case}");

        desk.world.sqs.advance(3_600);
        let again = desk.operator.run(&desk.world.proxy.url, &self.arguments(file)).await;
        assert_eq!((self.ending(&again).as_str(), self.gone(&desk, file)), ("done", all), "{case}, {again:?}");
        let _ = std::fs::remove_file(file);
    }
}

/// R71, R72
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r72_at_a_signal_every_command_lets_go_of_what_it_holds_and_run_again_does_the_rest_once() {
    for (place, cut) in Cut::ALL.into_iter().enumerate() {
        cut.carry_out(if place.is_multiple_of(2) { "-INT" } else { "-TERM" }).await;
    }
}

/// A command on dead letters, so many calls of which are never answered, from the first of an operation on. It must end.
async fn unanswered(operation: &str, calls: usize, arguments: &[&str], told: Option<&str>) -> (Desk, Ended) {
    let arguments = [&["dlq"], arguments].concat();
    let clean = Desk::with(25).await;
    let _ = clean.operator.run(&clean.world.proxy.url, &arguments).await;
    let first = clean.world.proxy.calls().iter().position(|call| call == operation).expect("such a call") + 1;
    let desk = Desk::with(25).await;
    for call in first..first + calls {
        desk.world.proxy.arm(Plan { call, when: When::Before, fault: Fault::Silence });
    }
    let running = desk.operator.start(&desk.world.proxy.url, &arguments);
    until("the first of these calls", || desk.world.proxy.fired() > 0).await;
    told.iter().for_each(|name| signal(&running, name));
    let ended = tokio::time::timeout(BOUND, running.end()).await;
    (desk, ended.expect("it hangs"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_never_answered_ends_with_an_error_that_says_so() {
    let fails = async |arguments: &[&str]| {
        let (desk, ended) = unanswered("ReceiveMessage", 1_000, arguments, None).await;
        assert!(ended.status == Some(1) && ended.stderr.contains("no answer from"), "{arguments:?}: {ended:?}");
        assert_eq!(desk.ids("asn-dlq"), names(|_| true, 25), "{arguments:?}");
    };
    futures_util::join!(fails(&["list"]), fails(&["show", "6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f"]));
}

/// A look is given up there and then, and a deed when it is known whether it was done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_ends_a_command_that_awaits_an_answer_which_does_not_come() {
    let is_cut = async |operation: &str, calls: usize, arguments: &[&str], attempts: usize| {
        let (desk, ended) = unanswered(operation, calls, arguments, Some("-INT")).await;
        let case = format!("{operation}, {arguments:?}: {ended:?}");
        assert!(ended.status == Some(3) && ended.stderr.contains("note: interrupted"), "{case}");
        assert_eq!(desk.world.proxy.counts()[operation], attempts, "{case}");
        let both: BTreeSet<_> = desk.ids("asn").union(&desk.ids("asn-dlq")).copied().collect();
        assert_eq!((both, desk.world.sqs.sent("asn")), (names(|_| true, 25), desk.told(&["replayed"]).len()), "{case}");
    };
    let replay = [&["replay"][..], &BECAUSE].concat();
    // All the letters there are in three calls; an authority's in one.
    futures_util::join!(
        is_cut("ReceiveMessage", 3, &["list"], 3),
        is_cut("ReceiveMessage", 3, &["show", "6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f"], 3),
        is_cut("ReceiveMessage", 3, &replay, 3),
        is_cut("SendMessageBatch", 1, &replay, 4),
    );
}

/// A move goes on when the command that began it is gone: run again, it is followed rather than refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r72_a_move_by_sqs_itself_whose_command_was_killed_is_followed_by_the_next() {
    let desk = Desk::with(25).await;
    desk.world.sqs.slow_moves();
    let arguments = [&["dlq", "replay", "--in-aws", "--json"][..], &BECAUSE].concat();
    let followed = async |times: usize| {
        let looks = || desk.world.proxy.counts().get("ListMessageMoveTasks").copied().unwrap_or(0);
        until("it looks how far the move is", || looks() >= times).await;
    };
    let killed = desk.operator.start(&desk.world.proxy.url, &arguments);
    followed(1).await;
    killed.killer().kill().await;
    assert_eq!(killed.end().await.status, None);
    desk.world.proxy.reset();
    let again = desk.operator.start(&desk.world.proxy.url, &arguments);
    followed(2).await;
    desk.world.sqs.end_moves("COMPLETED");
    let ended = again.end().await;
    assert_eq!((ended.status, desk.world.sqs.moves()), (Some(0), 1), "{ended:?}");
    assert!(ended.stderr.contains("a move is under way already"), "{ended:?}");
    let steps: Vec<_> = desk.trail().iter().map(|entry| detail(entry, "step").to_owned()).collect();
    assert_eq!(steps, ["begun", "begun", "ended"], "the audit log tells that the first did not come to its end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqs_moves_all_by_itself_where_no_filter_is_needed() {
    let desk = Desk::with(25).await;
    for (arguments, why) in [
        (&["replay", "--in-aws", "--reason", "step-failed"][..], "forbids a filter (reason=step-failed)"),
        (&["replay", "--in-aws", "--rate", "501"], "no more than 500 a second"),
        (&["replay"], "a replay needs --because TEXT"),
        (&["discard"], "say which letters by a filter, or --all"),
        (&["discard", "--all", "--reason", "unreadable"], "leave out --all, or the filters"),
        (&["archive", "--to", "/nowhere/at/all"], "say which letters by a filter, or --all"),
        (&["restore", "/nowhere/at/all"], "restoring needs --because TEXT"),
    ] {
        let because = if why.contains("because") { &[][..] } else { &BECAUSE };
        let ended = desk.dlq(&[arguments, because].concat()).await;
        assert!(ended.status == Some(2) && ended.stderr.contains(why), "{arguments:?}: {ended:?}");
    }
    let moved = desk.done(&[&["replay", "--in-aws", "--rate", "500", "--json"][..], &BECAUSE].concat()).await.json();
    assert_eq!(moved, json!({"inAws": true, "ending": "completed", "moved": 25}));
    assert_eq!((desk.ids("asn").len(), desk.ids("asn-dlq").len()), (25, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r71_a_move_by_sqs_itself_is_followed_to_its_end_and_cancelled_by_a_signal() {
    let ends = async |end: Option<&'static str>, status: i32, ending: &str| {
        let desk = Desk::with(25).await;
        desk.world.sqs.slow_moves();
        let arguments = [&["dlq", "replay", "--in-aws", "--json"][..], &BECAUSE].concat();
        let running = desk.operator.start(&desk.world.proxy.url, &arguments);
        // It has asked at least once how far the move is.
        let counts = || desk.world.proxy.counts();
        until("it looks how far the move is", || counts().contains_key("ListMessageMoveTasks")).await;
        match end {
            Some(end) => desk.world.sqs.end_moves(end),
            None => signal(&running, "-INT"),
        }
        let ended = running.end().await;
        assert_eq!((ended.status, ended.json()["ending"].as_str()), (Some(status), Some(ending)), "{ended:?}");
        assert_eq!(ended.stderr.contains("AWS says: AccessDenied"), end == Some("FAILED"), "{ended:?}");
        assert_eq!(desk.world.proxy.counts().contains_key("CancelMessageMoveTask"), end.is_none());
        assert_eq!((desk.trail().last().map(|entry| detail(entry, "how").to_owned())).as_deref(), Some(ending));
    };
    futures_util::join!(
        ends(Some("COMPLETED"), 0, "completed"),
        ends(Some("FAILED"), 3, "failed"),
        ends(None, 3, "cancelled")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_log_that_fails_too_does_not_hide_why_a_move_did_not_start() {
    let arguments = [&["replay", "--in-aws"][..], &BECAUSE].concat();
    let clean = Desk::with(1).await;
    let _ = clean.done(&arguments).await;
    let start = clean.world.proxy.calls().iter().position(|call| call == "StartMessageMoveTask").expect("a start") + 1;
    let desk = Desk::with(1).await;
    // It and everything after it fails, however often it is tried.
    for call in start..start + 40 {
        desk.world.proxy.arm(Plan { call, when: When::Before, fault: Fault::ServerError });
    }
    let ended = desk.dlq(&arguments).await;
    let why = ["cannot start the move in AWS", "cannot write to the audit log"];
    assert!(ended.status == Some(1) && why.iter().all(|why| ended.stderr.contains(why)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r72_an_archive_in_s3_whose_answer_was_lost_is_written_once() {
    let arguments = [&["archive", "--all", "--to", "s3://our-letters/2026", "--json"][..], &BECAUSE].concat();
    let clean = Desk::with(5).await;
    clean.world.proxy.keep_objects();
    let _ = clean.done(&arguments).await;
    // A call of S3 names no operation.
    let put = clean.world.proxy.calls().iter().position(String::is_empty).expect("a call of S3") + 1;
    let desk = Desk::with(5).await;
    desk.world.proxy.keep_objects();
    desk.world.proxy.arm(Plan { call: put, when: When::After, fault: Fault::Drop });
    assert_eq!(desk.done(&arguments).await.json()["archived"]["total"], 5);
    assert_eq!((desk.world.proxy.fired(), desk.world.proxy.objects().len(), desk.ids("asn-dlq").len()), (1, 1, 0));
    let _ = desk.done(&[&["restore", "s3://our-letters/2026"][..], &BECAUSE].concat()).await;
    assert_eq!(desk.ids("asn-dlq"), names(|_| true, 5));
}

/// What is told of a stream's records is their place in it: there is nothing to send back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r71_records_that_a_stream_gave_up_are_listed_and_discarded_and_other_letters_known_by_their_own_ids() {
    let desk = Desk::new().await;
    let sqs = &desk.world.sqs;
    let records = json!({"requestContext": {"condition": "RetryAttemptsExhausted"}, "timestamp": "2026-01-01T00:00:00Z",
        "DDBStreamBatchInfo": {"shardId": "shardId-1"}});
    for (which, queue) in [("--relay", "relay-dlq"), ("--ledger", "ledger-dlq")] {
        sqs.send(queue, &records.to_string(), Map::new());
        let group = &desk.done(&[which, "list", "--json"]).await.json()["groups"][0];
        assert_eq!((&group["reason"], &group["kind"]), (&json!("retry-attempts-exhausted"), &json!("stream-records")));
        for refused in [
            &["replay"][..],
            &["replay", "--in-aws"],
            &["archive", "--all", "--to", "/nowhere"],
            &["restore", "/nowhere"],
        ] {
            let ended = desk.dlq(&[&[which], refused, &BECAUSE].concat()).await;
            assert!(ended.status == Some(2) && ended.stderr.contains("nothing to send"), "{ended:?}");
        }
        let _ = desk.done(&[&[which, "discard", "--all"][..], &BECAUSE].concat()).await;
        assert_eq!(sqs.messages(queue).len(), 0);
    }
    assert_eq!(desk.trail().iter().filter(|entry| !detail(entry, "discarded").is_empty()).count(), 2);

    // A change of a number by its sender's id, wherever the queue's own leads.
    let id = name(7).to_string();
    let change = json!({"nhsNumber": nhs_number(7), "change": "inactive", "adopted": false, "id": id});
    sqs.send("number-changes-dlq", &change.to_string(), Map::new());
    let shown = desk.done(&["--numbers", "show", &id, "--json"]).await;
    assert!(!shown.stdout.contains(&nhs_number(7)) && shown.json()["body"]["change"] == "inactive", "{shown:?}");
    let _ = desk.done(&[&["--numbers", "replay", "--id", &id][..], &BECAUSE].concat()).await;
    assert_eq!((sqs.messages("number-changes").len(), sqs.messages("number-changes-dlq").len()), (1, 0));
    assert!(desk.trail().iter().any(|entry| detail(entry, "replayed") == format!("change:{id}")));

    let push =
        json!({"id": name(1), "authority": CODES[0], "notification": name(2), "way": "mesh", "traceId": name(3)});
    sqs.send("push-dlq", &push.to_string(), Map::new());
    let shown = desk.done(&["--pushes", "show", &name(1).to_string(), "--json"]).await.json();
    assert_eq!(shown["body"], push);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_discarded_is_gone_and_the_rest_is_where_it_was() {
    let desk = Desk::with(25).await;
    let dry = desk.done(&["discard", "--reason", "authority-closed", "--dry-run", "--json"]).await.json();
    assert_eq!((&dry["discarded"]["total"], desk.ids("asn-dlq").len()), (&json!(5), 25));
    let _ = desk.done(&[&["discard", "--reason", "authority-closed"][..], &BECAUSE].concat()).await;
    assert_eq!(desk.ids("asn-dlq"), names(|n| !n.is_multiple_of(5), 25));
    assert_eq!(desk.world.sqs.sent("asn"), 0);
    let none = desk.dlq(&["show", &name(0).to_string()]).await;
    assert!(none.status == Some(3) && none.stderr.contains("no dead letter has this id"), "{none:?}");
    let shown = desk.done(&["show", &name(1).to_string()]).await;
    assert!(shown.stdout.contains("step-failed") && !shown.stdout.contains(&nhs_number(1)), "{shown:?}");
}

/// What another command holds is told of rather than passed over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_that_somebody_else_holds_are_told_of() {
    let desk = Desk::with(25).await;
    let held = desk.world.sqs.receive("asn-dlq");
    let list = desk.dlq(&["list", "--json"]).await;
    assert_eq!((list.status, &list.json()["unseen"]), (Some(3), &json!(held.len())), "{list:?}");
    let replay = desk.dlq(&[&["replay", "--json"][..], &BECAUSE].concat()).await;
    assert_eq!((replay.status, &replay.json()["unseen"]), (Some(3), &json!(held.len())), "{replay:?}");
    desk.world.sqs.advance(3_600);
    let _ = desk.done(&[&["replay"][..], &BECAUSE].concat()).await;
    assert_eq!(desk.ids("asn"), names(|_| true, 25));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r71_every_run_leaves_a_trail_of_who_why_which_and_what_became_of_each() {
    let desk = Desk::with(25).await;
    let _ = desk.done(&["replay", "--dry-run"]).await;
    let _ = desk.done(&["list"]).await;
    assert_eq!(desk.trail(), Vec::<Value>::new(), "looking is no deed");
    let _ = desk
        .done(&["replay", "--reason", "authority-closed", "--limit", "4", "--because", "INC-17", "--by", "kim"])
        .await;
    let trail = desk.trail();
    let steps: BTreeMap<_, _> = trail.iter().map(|entry| (detail(entry, "step"), entry)).collect();
    assert_eq!((trail.len(), steps.len()), (4, 4), "{trail:?}");
    for entry in &trail {
        assert_eq!((&entry["kind"]["S"], detail(entry, "why")), (&json!("dead-letter-replay"), "INC-17"));
        assert_eq!(entry["actor"]["M"]["id"]["S"], "kim");
    }
    assert_eq!(detail(steps["begun"], "filter"), "reason=authority-closed limit=4");
    let told: BTreeSet<Uuid> =
        detail(steps["letters"], "replayed").split(',').filter_map(|id| id.parse().ok()).collect();
    let before: BTreeSet<Uuid> = detail(steps["meant"], "meant").split(',').filter_map(|id| id.parse().ok()).collect();
    assert_eq!((told.len(), &told, &before), (4, &desk.ids("asn"), &told));
    assert_eq!((detail(steps["ended"], "how"), detail(steps["ended"], "moved")), ("done", "4"));

    let desk = Desk::with(3).await;
    let (id, number) = (name(1).to_string(), nhs_number(1));
    let shown = desk.done(&["show", &id, "--reveal", "--because", "asked by the authority"]).await;
    assert!(shown.stdout.contains(&number), "{shown:?}");
    let trail = desk.trail();
    assert_eq!((trail.len(), &trail[0]["kind"]["S"]), (1, &json!("dead-letter-reveal")));
    assert_eq!((detail(&trail[0], "revealed"), detail(&trail[0], "why")), (id.as_str(), "asked by the authority"));
    assert!(!trail[0].to_string().contains(&number), "the log knows no number");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r71_what_cannot_be_told_is_not_done() {
    // The log does not answer, or there is none.
    for log in [&[("AuditTable", "no-such-table")][..], &[]] {
        let desk = Desk::whose_log_is(log).await;
        (0..5).for_each(|n| desk.put(n));
        for arguments in [
            &["show", &name(1).to_string(), "--reveal"][..],
            &["replay"],
            &["replay", "--in-aws"],
            &["discard", "--all"],
        ] {
            let ended = desk.dlq(&[arguments, &BECAUSE].concat()).await;
            assert!(ended.status == Some(1) && !ended.stdout.contains(&nhs_number(1)), "{arguments:?}: {ended:?}");
            assert_eq!((desk.ids("asn-dlq").len(), desk.world.sqs.sent("asn")), (5, 0), "{arguments:?}");
        }
    }
}

/// The log is told as discarded what is gone, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r71_what_the_queue_keeps_is_not_told_as_discarded() {
    let desk = Desk::with(25).await;
    let discard = [&["discard", "--all", "--json"][..], &BECAUSE].concat();
    desk.world.sqs.keep(&name(3).to_string(), Some("InternalError"));
    let ended = desk.dlq(&discard).await;
    let report = ended.json();
    assert_eq!((ended.status, &report["discarded"]["total"], &report["notTaken"]), (Some(3), &json!(24), &json!(1)));
    assert_eq!((desk.told(&["meant"]), desk.told(&["left"])), (names(|_| true, 25), names(|n| n == 3, 25)));
    assert_eq!((desk.told(&["discarded"]), desk.ids("asn-dlq")), (names(|n| n != 3, 25), names(|n| n == 3, 25)));

    let desk = Desk::with(25).await;
    desk.world.sqs.keep(&name(3).to_string(), Some("AccessDenied"));
    let ended = desk.dlq(&discard).await;
    assert!(ended.status == Some(1) && ended.stderr.contains("cannot delete"), "{ended:?}");
    let (kept, unknown) = (desk.ids("asn-dlq"), desk.told(&["unknown"]));
    assert!(unknown.contains(&name(3)) && unknown == kept, "{unknown:?}, {kept:?}");
    assert_eq!(desk.told(&["discarded"]), &names(|_| true, 25) - &kept);
    desk.world.sqs.keep(&name(3).to_string(), None);
    let _ = desk.done(&discard).await;
    assert_eq!((desk.ids("asn-dlq").len(), desk.told(&["discarded"])), (0, names(|_| true, 25)));
}

/// What was sent and is still there is counted, whether the queue refused to delete it or nobody knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r72_what_was_sent_and_not_deleted_is_counted_and_sent_once_more_to_no_effect() {
    let replay = [&["replay", "--json"][..], &BECAUSE].concat();
    for code in ["InternalError", "AccessDenied"] {
        let desk = Desk::with(25).await;
        desk.world.sqs.keep(&name(3).to_string(), Some(code));
        let ended = desk.dlq(&replay).await;
        assert_eq!(
            (desk.told(&["replayed"]), desk.ids("asn")),
            (names(|_| true, 25), names(|_| true, 25)),
            "{ended:?}"
        );
        let kept = desk.ids("asn-dlq");
        let trail = desk.trail();
        let last = trail.iter().find(|entry| detail(entry, "step") == "ended").expect("it says so");
        assert_eq!(detail(last, "notDeleted"), kept.len().to_string(), "{code}: {ended:?}");
        assert_eq!(ended.status, Some(if code == "AccessDenied" { 1 } else { 3 }), "{ended:?}");
        desk.world.sqs.keep(&name(3).to_string(), None);
        let _ = desk.done(&replay).await;
        assert_eq!((desk.ids("asn-dlq").len(), desk.ids("asn")), (0, names(|_| true, 25)));
    }
}

/// A look is at what is there when it begins: letters that come all the time do not keep it from ending.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_ends_while_letters_keep_coming() {
    let desk = Desk::with(25).await;
    desk.world.sqs.trickle("asn-dlq", body);
    for arguments in [&["list", "--json"][..], &["replay", "--dry-run", "--limit", "1000", "--json"]] {
        let ended = desk.done(arguments).await;
        let report = ended.json();
        let seen = [&report["total"], &report["replayed"]["total"]].into_iter().find_map(Value::as_u64);
        assert!(seen.is_some_and(|seen| seen >= 25), "{arguments:?}: {ended:?}");
    }
    let none = desk.dlq(&["show", &Uuid::max().to_string()]).await;
    assert!(none.status == Some(3) && none.stderr.contains("no dead letter has this id"), "{none:?}");
}

/// `--limit` leaves the rest of a long queue unseen, and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_limit_leaves_unseen_is_told() {
    let desk = Desk::with(1_700).await;
    let limited = [&["replay", "--limit", "20"][..], &BECAUSE].concat();
    let ended = desk.done(&limited).await;
    assert!(ended.stdout.contains("replayed 20, left 0, about 1680 not looked at"), "{ended:?}");
    let ended = desk.done(&[&limited[..], &["--json"]].concat()).await;
    assert_eq!((&ended.json()["left"], &ended.json()["notLookedAt"]), (&json!(0), &json!(1_660)));
}

/// `cpis … | head`, `2>&1 | less`: a reader that is gone ends nothing half-way, and hides nothing from the status.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_gone_changes_nothing_of_what_is_done() {
    let gone = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        std::process::Stdio::from(writer)
    };
    let status = async |desk: &Desk, arguments: &[&str], to_stderr: bool| {
        let arguments = [&["dlq"], arguments].concat();
        let mut command = desk.operator.command(&desk.world.proxy.url, desk.operator.cloudformation(), &arguments);
        command.stderr(gone()).stdout(if to_stderr { std::process::Stdio::null() } else { gone() });
        command.status().await.expect("it runs").code()
    };
    let replay = [&["replay"][..], &BECAUSE].concat();
    for to_stderr in [true, false] {
        let desk = Desk::with(25).await;
        assert_eq!(status(&desk, &["show", &Uuid::max().to_string()], to_stderr).await, Some(3));
        assert_eq!(status(&desk, &["replay", "--dry-run", "--each"], to_stderr).await, Some(0));
        desk.world.sqs.keep(&name(3).to_string(), Some("InternalError"));
        assert_eq!(status(&desk, &replay, to_stderr).await, Some(3), "one is still there");
        assert_eq!((desk.ids("asn"), desk.ids("asn-dlq")), (names(|_| true, 25), names(|n| n == 3, 25)));
    }
}

/// The log names where children's numbers went.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r71_an_archive_is_named_in_the_trail() {
    let desk = Desk::with(5).await;
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.letters", Uuid::new_v4()));
    let file = file.to_str().expect("text");
    let _ = desk.done(&[&["archive", "--all", "--to", file][..], &BECAUSE].concat()).await;
    let _ = desk.done(&[&["restore", file][..], &BECAUSE].concat()).await;
    let places: Vec<_> =
        desk.trail().iter().map(|entry| detail(entry, "place").to_owned()).filter(|p| !p.is_empty()).collect();
    assert_eq!(places, [file, file]);
    std::fs::remove_file(file).expect("removed");
}
