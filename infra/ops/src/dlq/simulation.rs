//! A replay as the simulation in `tests` runs it: everything of `cpis dlq replay` but the arguments and the report.

use aws_sdk_sqs::Client;
use cpis::{domain::audit::Actor, ports::AuditLog};
use uuid::Uuid;

use super::{
    replay::Replay,
    run::{Run, Selection},
    trail::{REPLAY, Trail},
};

/// After so many that come back a replay stops.
const STOP_AFTER: u64 = 10;

/// Sends every dead letter back, so many a second at the most; how many were sent.
///
/// # Errors
/// What the command would say.
pub async fn replay(
    sqs: &Client,
    (queue, letters): (&str, &str),
    log: impl AuditLog,
    (run, rate): (Uuid, Option<u32>),
) -> Result<usize, String> {
    let selection = Selection { filter: super::Filter::default(), limit: None, dry_run: false, each: false };
    let trail = Trail::new(log, REPLAY, Actor::operator("simulated"), "simulated", "all".into()).named(run);
    let replay = Replay::new(sqs, queue, rate, STOP_AFTER);
    let mut show = |_: &_| Ok(());
    let run = Run::new(&selection, (sqs, letters), replay, Some(trail), &mut show).await;
    let report = run.map_err(|e| e.to_string())?.through().await.map_err(|e| e.to_string())?;
    Ok(report.moved.total())
}
