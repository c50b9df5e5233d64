//! The operator's commands on the wire: together, every one that works on a stack, in every way that makes other calls.

use super::super::{dead_letters::archived, *};
use super::scenes::{Before, with_webhook};
use cpis::domain::{
    audit::{
        Hash, Head, Shard,
        statement::{Signed, Statement},
    },
    watch::Subject,
};
use cpis_tests::{
    binaries,
    operator::{Ended, Operator},
    proxy::Proxy,
};
use std::{path::PathBuf, process::Command};
use uuid::Uuid;

/// A command line.
pub(super) type Arguments = &'static [&'static str];

/// How many letters are dead where a command begins.
const LETTERS: usize = 6;
/// In arguments: a file of the run's own.
const FILE: &str = "FILE";
/// In arguments: the id of one of the dead letters.
const LETTER: &str = "LETTER";
/// Where letters are archived in S3.
const BUCKET: &str = "s3://our-letters/2026";
/// Who is stopped.
const STOPPED: &str = "555000000001";
/// How often to look whether something has happened.
const LOOK: std::time::Duration = std::time::Duration::from_millis(5);

/// A move by SQS itself that is slow, so that it is told to end.
const CANCELLED: Arguments = &["dlq", "replay", "--in-aws", "--rate", "1", "--because", "a test", "--json"];
const ARCHIVE: Arguments = &["dlq", "archive", "--all", "--to", FILE, "--because", "a test", "--json"];
const ARCHIVE_TO_S3: Arguments = &["dlq", "archive", "--all", "--to", BUCKET, "--because", "a test", "--json"];
const RESTORE: Arguments = &["dlq", "restore", FILE, "--because", "a test", "--json"];
const RESTORE_FROM_S3: Arguments = &["dlq", "restore", BUCKET, "--because", "a test", "--json"];
const SEND_NUMBERS: Arguments = &["numbers", "send", FILE, "--because", "a test", "--json"];
const SET_FROM_FILE: Arguments = &["directory", "set", "file", FILE, "--because", "a test", "--json"];
const HEADS: Arguments = &["audit", "heads", "--out", FILE, "--json"];

/// All of them.
pub(super) const ALL: &[Arguments] = &[
    &["dlq", "list", "--json"],
    &["dlq", "show", LETTER, "--json"],
    &["dlq", "show", LETTER, "--reveal", "--because", "a test", "--json"],
    &["dlq", "replay", "--because", "a test", "--json"],
    &["dlq", "replay", "--in-aws", "--because", "a test", "--json"],
    CANCELLED,
    &["dlq", "discard", "--all", "--because", "a test", "--json"],
    ARCHIVE,
    ARCHIVE_TO_S3,
    RESTORE,
    RESTORE_FROM_S3,
    &["status", "--json"],
    &["ageing", "--json"],
    &["limits", "show", "--json"],
    &["limits", "show", "--person", STOPPED, "--json"],
    &["limits", "clear", "--person", STOPPED, "--because", "a test", "--json"],
    SEND_NUMBERS,
    &["ways", "show", AUTHORITIES[1], "--json"],
    &["ways", "set", AUTHORITIES[1], "--mesh", "X26ABC1", "--because", "a test", "--json"],
    &["ways", "key", AUTHORITIES[1], "--json"],
    &["audit", "export"],
    HEADS,
    &["audit", "key"],
    &["directory", "load", "--settings", "3", "--because", "a test", "--json"],
    &["directory", "list", "--json"],
    &["directory", "open", "authority", AUTHORITIES[0], "--because", "a test", "--json"],
    &["directory", "close", "authority", AUTHORITIES[0], "--because", "a test", "--json"],
    SET_FROM_FILE,
    &[
        "directory",
        "set",
        "setting",
        "ZX020",
        "--name",
        "Sample Hospital",
        "--care",
        "maternity",
        "--region",
        "London",
        "--authority",
        "E09000001",
        "--from",
        "2026-01-01",
        "--because",
        "a test",
        "--json",
    ],
    &[
        "directory",
        "set",
        "pilot",
        "2026-TRIAL",
        "--name",
        "Trial",
        "--care",
        "sexual-health",
        "--organisation",
        "ZX009",
        "--job-role",
        "R8001",
        "--from",
        "2026-01-01",
        "--until",
        "2026-03-31",
        "--because",
        "a test",
        "--json",
    ],
];

/// Those that are tried with calls that are never answered: such as read, send, delete, and write to S3 and fetch from there.
pub(super) const AWAITED: [Arguments; 3] = [ALL[0], ARCHIVE_TO_S3, RESTORE_FROM_S3];

/// Where a command is run.
pub(super) struct Desk {
    pub(super) operator: Operator,
    arguments: Arguments,
    file: PathBuf,
    letter: String,
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

impl Desk {
    /// Makes a world ready for a command, and an operator of it.
    pub(super) async fn begin(world: &World, before: &Before, arguments: Arguments) -> Self {
        let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.wire", Uuid::new_v4()));
        let asn = before.queued.sqs.messages("asn");
        match arguments {
            ["directory", ..] => {}
            ["dlq", "restore", ..] => {}
            _ => {
                world.copy(&["outbox"], &before.queued);
                world.copy(&["mailbox", "audit"], &before.delivered);
                asn.iter().for_each(|message| world.sqs.send("asn-dlq", &message.body, message.attributes.clone()));
                assert_eq!(world.sqs.messages("asn-dlq").len(), LETTERS);
            }
        }
        match arguments {
            RESTORE => std::fs::write(&file, archived().await).expect("written"),
            SEND_NUMBERS => std::fs::write(&file, numbers()).expect("written"),
            SET_FROM_FILE => std::fs::write(&file, setting().to_string()).expect("written"),
            CANCELLED => world.sqs.slow_moves(),
            ["ways", ..] => world.dynamo.put("directory", &with_webhook(AUTHORITIES[1], "https://council.example/asn")),
            ["limits", ..] => world.dynamo.put("limits", &stop()),
            _ => {}
        }
        let mut outputs = world.queue_outputs();
        for (name, value) in [
            ("AuditTable", "audit"),
            ("OutboxTable", "outbox"),
            ("DirectoryTable", "directory"),
            ("MailboxTable", "mailbox"),
            ("LimitsTable", "limits"),
            ("AuditBucket", "audit"),
            ("AuditKey", "audit-key"),
            ("PushSecretArn", "push-secret"),
        ] {
            outputs.push((name, value.to_owned()));
        }
        let letter = parse(asn[0].body.as_bytes())["id"].as_str().expect("an id").to_owned();
        Self { operator: Operator::of(binaries::cpis(), &outputs).await, arguments, file, letter }
    }

    /// Puts into S3 what the command looks for there.
    pub(super) async fn stock(&self, front: &Proxy) {
        front.keep_objects();
        match self.arguments {
            RESTORE_FROM_S3 => {
                let archive = archived().await;
                let half = archive.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
                front.put_object("/our-letters/2026/one.letters", &archive[..half]);
                front.put_object("/our-letters/2026/two.letters", &archive[half..]);
            }
            HEADS => {
                for head in heads() {
                    front.put_object(&format!("/audit/{}", head.name()), serde_json::to_vec(&head).expect("JSON"));
                }
            }
            _ => {}
        }
    }

    fn arguments(&self) -> Vec<&str> {
        let own = |argument: &&'static str| match *argument {
            FILE => self.file.to_str().expect("text"),
            LETTER => &self.letter,
            other => other,
        };
        self.arguments.iter().map(own).collect()
    }

    /// One try. `None`: it must be tried again.
    pub(super) async fn attempt(&self, world: &World, (url, front): (&str, &Proxy)) -> Option<Vec<u8>> {
        let ended = self.ended(url, front).await;
        // What an answer that was lost holds comes back by itself.
        world.sqs.advance(3_600);
        match ended.status {
            Some(0 | 3) if self.is_done(world, &ended) => Some(ended.stdout.into_bytes()),
            Some(0 | 1 | 3) => None,
            _ => panic!("{:?}: {ended:?}", self.arguments),
        }
    }

    async fn ended(&self, url: &str, front: &Proxy) -> Ended {
        let running = self.operator.start_at(url, url, &self.arguments());
        let pid = running.pid().to_string();
        let ended = running.end();
        if self.arguments != CANCELLED {
            return ended.await;
        }
        let looks = || front.counts().get("ListMessageMoveTasks").copied().unwrap_or(0);
        let before = looks();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                ended = &mut ended => return ended,
                () = tokio::time::sleep(LOOK) => {
                    if looks() > before {
                        // It may have ended by itself.
                        let _ = Command::new("kill").args(["-INT", &pid]).status();
                        return ended.await;
                    }
                }
            }
        }
    }

    /// Whether one that ended well has done all: what an answer that was lost holds is not seen before it comes back.
    fn is_done(&self, world: &World, ended: &Ended) -> bool {
        match self.arguments {
            CANCELLED => ended.json()["ending"] == "cancelled",
            ["dlq", "list", ..] => ended.json()["unseen"] == 0,
            ["dlq", "show", ..] | ["dlq", "restore", ..] => ended.status == Some(0),
            ["dlq", ..] => world.sqs.messages("asn-dlq").is_empty(),
            ["status", ..] => {
                let status = ended.json();
                status["deadLetters"]["total"] == LETTERS && status["queues"][1]["waiting"] == LETTERS
            }
            _ => true,
        }
    }

    /// What it left and said. Each run leaves its own trail, and some tell how old things are.
    pub(super) fn end(&self, world: &World, front: &Proxy, answer: &[u8]) -> Value {
        let bodies = |queue: &str| -> BTreeSet<String> {
            world.sqs.messages(queue).into_iter().map(|message| message.body).collect()
        };
        let rows = |table: &str| {
            let mut rows = world.dynamo.scan(table);
            rows.sort_by_key(Value::to_string);
            rows
        };
        json!({
            "queue": bodies("asn"), "dead": bodies("asn-dlq"), "directory": rows("directory"), "limits": cleared(rows("limits")),
            "numbers": numbers_of(&bodies("number-changes")), "kept": self.kept(front), "said": self.said(answer),
        })
    }

    /// What is in the files and objects that it wrote.
    fn kept(&self, front: &Proxy) -> BTreeSet<String> {
        let objects = front.objects().into_values().map(|object| String::from_utf8(object.to_vec()).expect("text"));
        let text: String = objects.chain(std::fs::read_to_string(&self.file).ok()).collect();
        let line = |line: &str| match serde_json::from_str::<Value>(line) {
            Ok(mut archived) if archived["letter"].is_object() => {
                // Made anew for each world.
                archived["letter"]["message_id"] = Value::Null;
                archived["letter"]["sent"] = Value::Null;
                archived["letter"].to_string()
            }
            _ => line.to_owned(),
        };
        text.lines().map(line).collect()
    }

    fn said(&self, answer: &[u8]) -> Value {
        let text = || Value::from(String::from_utf8_lossy(answer));
        match self.arguments {
            ["dlq", "list", ..] => parse(answer)["total"].clone(),
            ["dlq", "show", ..] => parse(answer)["body"].clone(),
            ["status", ..] => parse(answer)["outbox"]["owed"].clone(),
            ["ageing", ..] => {
                // Which lies longest unread, and so comes first, is a matter of milliseconds.
                let told = |mailbox: &Value| {
                    json!([mailbox["authority"], mailbox["notifications"], mailbox["unread"]]).to_string()
                };
                let mailboxes: BTreeSet<_> = parse(answer).as_array().expect("a list").iter().map(told).collect();
                json!(mailboxes)
            }
            ["limits", "show", ..] => timeless(parse(answer)),
            ["audit", "export" | "key", ..] => text(),
            ["ways", ..] | ["directory", "list", ..] => parse(answer),
            _ => Value::Null,
        }
    }
}

/// Stops without the moment at which they were ended.
fn cleared(mut limits: Vec<Value>) -> Vec<Value> {
    for fields in limits.iter_mut().filter_map(Value::as_object_mut) {
        let is_cleared = fields.contains_key("cleared");
        fields.retain(|name, _| !matches!(name.as_str(), "cleared" | "until" | "expires"));
        fields.insert("isCleared".into(), is_cleared.into());
    }
    limits
}

/// The numbers that changes are about; their ids are new in each run.
fn numbers_of(bodies: &BTreeSet<String>) -> BTreeSet<String> {
    bodies.iter().map(|body| parse(body.as_bytes())["nhsNumber"].to_string()).collect()
}

fn numbers() -> String {
    let rows = (0..3).map(|child| format!("{},inactive,,false\n", nhs_number(child))).collect::<String>();
    format!("nhs_number,change,new_number,adopted\n{rows}")
}

/// A setting as `cpis directory list --json` prints one.
fn setting() -> Value {
    json!({
        "kind": "setting", "code": "ZX021", "name": "Sample Practice", "care": ["general-practice"], "region": "London",
        "authority": "E09000001", "status": "open", "from": "2026-01-01",
    })
}

/// Somebody is stopped for as long as any test runs.
fn stop() -> Value {
    json!({
        "subject": {"S": Subject::person(STOPPED).to_string()}, "span": {"S": "stop"}, "until": {"N": "4102444800"},
        "expires": {"N": "4102444800"},
    })
}

/// Signed heads as they are kept; nobody checks here by whom.
fn heads() -> Vec<Signed> {
    let heads: Vec<_> = Shard::all().map(Head::empty).collect();
    let at = "2026-01-01T12:00:00Z".parse().expect("a moment");
    let signed = |sequence| Signed {
        statement: Statement { sequence, at, heads: heads.clone(), previous: Hash::NONE },
        key: "audit-key".into(),
        signature: "c2lnbmVkIGJ5IG5vYm9keQ==".into(),
    };
    (1..=2).map(signed).collect()
}
