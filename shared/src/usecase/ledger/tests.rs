use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::{
    domain::{
        access::Interaction,
        audit::{Chained, Head, Shard},
        caller::{Device, Organisation, Requester},
        nhs_number::{ChildKeySecret, NhsNumber},
        policy::Presentation,
    },
    memory::{Archive, Register, SetClock},
    ports::AccessLog,
};
use uuid::Uuid;

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(work)
}

fn clock() -> SetClock {
    SetClock::at("2026-11-22T12:00:00Z".parse().expect("valid"))
}

fn access(id: u128) -> Access {
    let number = NhsNumber::parse("9990000018").expect("valid");
    Access {
        child: ChildKeySecret::new(&[1; 32]).expect("long enough").key_of(&number),
        id: Uuid::from_u128(id),
        at: clock().now(),
        requester: Requester::Device(Device {
            asid: "200000000001".into(),
            responsible: "Sam Sample".into(),
            location: None,
            safeguarding_lead: None,
        }),
        organisation: Organisation { code: "ZX001".into(), name: "Sample Hospital".into() },
        interaction: Interaction::CareTeam,
        unscheduled: true,
        disclosed: vec![],
        owed: vec![],
        nhs_number: None,
        trace_id: Uuid::nil(),
        care: vec![],
        region: None,
        presentation: Presentation::Full,
        refused: None,
    }
}

fn failure(retryable: bool) -> PortError {
    PortError { step: "test", cause: "injected".into(), retryable }
}

/// Whoever watches: counts, and fails as it is told.
#[derive(Default)]
struct Watch {
    told: AtomicUsize,
    fail: bool,
}

impl AccessWatch for Watch {
    async fn watch(&self, accesses: &[Access]) -> PortResult<()> {
        self.told.fetch_add(accesses.len(), Ordering::Relaxed);
        if self.fail { Err(failure(true)) } else { Ok(()) }
    }
}

async fn due(register: &Register) -> usize {
    let page = PageRequest { limit: 1_000, after: None };
    register.unaudited_before(Timestamp::MAX, &page).await.expect("read").items.len()
}

async fn recorded(register: &Register, ids: impl IntoIterator<Item = u128>) -> Vec<Access> {
    let accesses: Vec<_> = ids.into_iter().map(access).collect();
    for access in &accesses {
        register.record(access).await.expect("recorded");
    }
    accesses
}

#[test]
fn r45_r49_accesses_are_in_the_log_once_however_often_they_come() {
    run(async {
        let register = Register::default();
        let accesses = recorded(&register, 0..40).await;
        for _ in 0..3 {
            let (outcome, cleared) = record(&register, &accesses, &Watch::default(), &register).await;
            assert!(outcome.iter().all(Result::is_ok) && outcome.len() == 40 && cleared.is_ok());
        }
        assert_eq!((register.audited().len(), due(&register).await), (40, 0));
    });
}

#[test]
fn r49_what_the_stream_lost_is_swept_into_the_log() {
    run(async {
        let (register, clock, watch) = (Register::default(), clock(), Watch::default());
        recorded(&register, 0..450).await;
        let swept = sweep(&register, &watch, &register, &clock).await.expect("swept");
        assert_eq!((swept.found, register.audited().len()), (0, 0), "the stream has its two minutes");
        clock.advance(121);
        let swept = sweep(&register, &watch, &register, &clock).await.expect("swept");
        assert_eq!((swept.found, swept.failed, swept.oldest), (450, 0, Some(access(0).at)));
        assert_eq!((register.audited().len(), due(&register).await), (450, 0));
        assert_eq!(watch.told.load(Ordering::Relaxed), 450);
    });
}

#[test]
fn r49_a_mark_stays_until_the_access_was_watched_too() {
    run(async {
        let register = Register::default();
        let accesses = recorded(&register, 0..3).await;
        let watch = Watch { fail: true, ..Watch::default() };
        let (outcome, _) = record(&register, &accesses, &watch, &register).await;
        assert!(outcome.iter().all(Result::is_err));
        assert_eq!(due(&register).await, 3);
    });
}

/// A log that takes everything but one entry, for good or for now.
struct Picky<'a>(&'a Register, Uuid, bool);

impl AuditLog for Picky<'_> {
    async fn append(&self, entries: &[Entry]) -> PortResult<()> {
        if entries.iter().any(|e| e.id == self.1) { Err(failure(self.2)) } else { self.0.append(entries).await }
    }
}

#[test]
fn r49_an_access_that_cannot_be_written_hurts_only_itself() {
    run(async {
        for (retryable, left) in [(false, 1), (true, 5)] {
            let register = Register::default();
            let accesses = recorded(&register, 0..5).await;
            let log = Picky(&register, accesses[2].id, retryable);
            let (outcome, _) = record(&log, &accesses, &Watch::default(), &register).await;
            assert!(outcome[2].is_err());
            assert_eq!((outcome.iter().filter(|o| o.is_err()).count(), due(&register).await), (left, left));
        }
    });
}

/// The register, archive and signer of which the n-th call fails: before it takes effect or after.
struct Flaky<'a> {
    register: &'a Register,
    archive: &'a Archive,
    calls: AtomicUsize,
    fails: usize,
    after: bool,
}

impl Flaky<'_> {
    async fn call<T>(&self, work: impl Future<Output = PortResult<T>>) -> PortResult<T> {
        let fails = self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.fails;
        if fails && !self.after {
            return Err(failure(true));
        }
        let done = work.await?;
        if fails { Err(failure(true)) } else { Ok(done) }
    }
}

impl AuditReader for Flaky<'_> {
    async fn entries(&self, shard: Shard, behind: u64, limit: usize) -> PortResult<Vec<Chained>> {
        self.register.entries(shard, behind, limit).await
    }

    async fn heads(&self) -> PortResult<Vec<Head>> {
        self.call(self.register.heads()).await
    }
}

impl Statements for Flaky<'_> {
    async fn latest_statement(&self) -> PortResult<Option<(Signed, bool)>> {
        self.call(self.register.latest_statement()).await
    }

    async fn add_statement(&self, statement: &Signed) -> PortResult<bool> {
        self.call(self.register.add_statement(statement)).await
    }

    async fn statement_archived(&self, sequence: u64) -> PortResult<()> {
        self.call(self.register.statement_archived(sequence)).await
    }
}

impl HeadArchive for Flaky<'_> {
    async fn keep(&self, name: &str, file: &[u8]) -> PortResult<()> {
        self.call(self.archive.keep(name, file)).await
    }
}

impl HeadSigner for Flaky<'_> {
    async fn sign(&self, bytes: &[u8]) -> PortResult<(String, Vec<u8>)> {
        self.call(self.archive.sign(bytes)).await
    }
}

/// Every statement in the archive: the first, and each that follows the one before; each name has one content.
fn archived(archive: &Archive) -> Vec<Statement> {
    let mut statements: Vec<Statement> = Vec::new();
    for (name, versions) in archive.files() {
        assert!(versions.iter().all(|version| *version == versions[0]), "{name} says two things");
        let signed: Signed = serde_json::from_slice(&versions[0]).expect("a statement");
        assert_eq!(signed.name(), name);
        assert_eq!(STANDARD.decode(&signed.signature).expect("base64"), signed.statement.bytes());
        assert!(signed.statement.follows(statements.last()), "{name}");
        statements.push(signed.statement);
    }
    statements
}

#[test]
fn r47_every_statement_is_archived_wherever_the_one_before_broke_off() {
    run(async {
        for (fails, after) in (1..=10).flat_map(|n| [(n, false), (n, true)]) {
            let (register, archive, clock) = (Register::default(), Archive::default(), clock());
            let flaky = Flaky { register: &register, archive: &archive, calls: AtomicUsize::new(0), fails, after };
            for hour in 0..4 {
                let accesses = recorded(&register, hour * 10..hour * 10 + 3).await;
                record(&register, &accesses, &Watch::default(), &register).await.1.expect("recorded");
                // One of them fails somewhere.
                let _ = state_heads(&flaky, &flaky, &flaky, &clock).await;
                clock.advance(3_600);
            }
            let statements = archived(&archive);
            assert!(statements.len() >= 3, "call {fails}, after: {after}");
            let latest = register.latest_statement().await.expect("read");
            assert_eq!(
                latest.map(|(signed, kept)| (signed.statement, kept)),
                statements.last().cloned().map(|s| (s, true))
            );
            assert_eq!(statements.last().map(|s| s.heads.clone()), Some(register.heads().await.expect("heads")));
        }
    });
}

#[test]
fn r47_a_log_that_lost_entries_is_not_vouched_for() {
    run(async {
        let (register, archive, clock) = (Register::default(), Archive::default(), clock());
        let accesses = recorded(&register, 0..9).await;
        record(&register, &accesses, &Watch::default(), &register).await.1.expect("recorded");
        let signed = state_heads(&register, &archive, &archive, &clock).await.expect("stated").expect("by us");
        let emptied = Register::default();
        emptied.add_statement(&signed).await.expect("kept");
        let refused = state_heads(&emptied, &archive, &archive, &clock).await.expect_err("refused");
        assert_eq!((refused.step, refused.retryable), ("audit.heads", false));
    });
}

#[test]
fn r47_no_statement_follows_one_that_it_contradicts() {
    let head = |number| Head { shard: Shard::try_from("03".to_owned()).expect("a shard"), number, hash: Hash([7; 32]) };
    let heads = |number| -> Vec<_> {
        Shard::all().map(|shard| if shard == head(1).shard { head(number) } else { Head::empty(shard) }).collect()
    };
    let at = clock().now();
    let first = Statement { sequence: 1, at, heads: heads(5), previous: Hash::NONE };
    let next = |number| Statement { sequence: 2, at, heads: heads(number), previous: first.hash() };
    assert!(first.follows(None) && next(5).follows(Some(&first)) && next(6).follows(Some(&first)));
    let mut replaced = next(5);
    replaced.heads[3].hash = Hash([8; 32]);
    for wrong in [
        next(4),
        replaced,
        Statement { sequence: 3, ..next(5) },
        Statement { previous: Hash::NONE, ..next(5) },
        Statement { at: at - SignedDuration::from_secs(1), ..next(5) },
        Statement { heads: heads(5)[1..].to_vec(), ..next(5) },
    ] {
        assert!(!wrong.follows(Some(&first)), "{wrong:?}");
    }
    assert!(!next(5).follows(None));
}
