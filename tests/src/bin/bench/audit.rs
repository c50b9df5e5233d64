//! How fast a copy of the audit log is checked, by the operator's command, and what that holds in memory.

use crate::{report::Report, samples::Samples, stage::Stage};
use cpis::{
    domain::audit::{Actor, Entry, Head, Shard, kind},
    wire::audit::write,
};
use cpis_tests::binaries;
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use uuid::Uuid;

const ENTRIES: u64 = 1_000_000;
const ROUNDS: usize = 3;

pub(crate) fn measure(stage: &Stage, report: &mut Report) {
    let copy = binaries::target().join("bench-audit.jsonl");
    make(&copy).unwrap_or_else(|e| panic!("{}: {e}", copy.display()));
    let [mut ours, mut bare, mut memory] = [const { Samples::new() }; 3];
    for _ in 0..ROUNDS {
        let (time, peak) = verify(&stage.binaries.join("cpis"), &copy);
        ours.push(rate(time));
        memory.push(peak);
        bare.push(rate(hash(&copy)));
    }
    // Nothing is left behind but the figures.
    let _ = std::fs::remove_file(&copy);
    report.note("check of an audit log of 1,000,000", &ours, ("SHA-256 over the same file", &bare), "entries/s");
    report.note("  (its peak memory)", &memory, ("itself", &memory), "MB");
}

fn rate(time: Duration) -> f64 {
    ENTRIES as f64 / time.as_secs_f64()
}

/// A sound log of look-ups, chain after chain.
fn make(copy: &Path) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(copy)?);
    let actor =
        Actor { kind: cpis::domain::audit::ActorKind::Person, id: "555000000001".into(), name: "Jo Carter".into() };
    let shards = Shard::all().count() as u64;
    for (number, shard) in (0..).zip(Shard::all()) {
        let mut head = Head::empty(shard);
        for n in 0..ENTRIES / shards {
            let at = Timestamp::from_millisecond(1_790_000_000_000 + i64::try_from(n).unwrap_or(0)).unwrap_or_default();
            // The last byte is the shard.
            let id = Uuid::from_u128(u128::from(n) << 8 | number);
            let entry = Entry::new(id, at, kind::LOOK_UP, actor.clone(), "ZX001")
                .with("organisationName", "Sample Hospital")
                .with("interaction", "CareTeam")
                .with("unscheduled", true)
                .with("traceId", id);
            writeln!(out, "{}", write(&head.chain(entry)).map_err(std::io::Error::other)?)?;
        }
    }
    out.flush()
}

/// How long `cpis audit verify` takes, and the most memory that it held, in MB.
fn verify(cpis: &Path, copy: &Path) -> (Duration, f64) {
    let began = Instant::now();
    let command = Command::new(cpis).args(["audit", "verify"]).arg(copy).stdout(Stdio::piped()).spawn();
    let mut child = command.unwrap_or_else(|e| panic!("{}: {e}", cpis.display()));
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    while child.try_wait().is_ok_and(|done| done.is_none()) {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let kilobytes = text.lines().find_map(|l| l.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak = kilobytes.map_or(peak, |kb: f64| peak.max(kb / 1024.0));
        std::thread::sleep(Duration::from_millis(5));
    }
    let time = began.elapsed();
    let answer = child.wait_with_output().unwrap_or_else(|e| panic!("{}: {e}", cpis.display()));
    assert!(answer.status.success(), "the log is whole: {}", String::from_utf8_lossy(&answer.stdout));
    (time, peak)
}

fn hash(copy: &Path) -> Duration {
    let began = Instant::now();
    let mut file = BufReader::new(File::open(copy).unwrap_or_else(|e| panic!("{}: {e}", copy.display())));
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    while let Ok(read @ 1..) = file.read(&mut buffer) {
        hash.update(&buffer[..read]);
    }
    std::hint::black_box(hash.finalize());
    began.elapsed()
}
