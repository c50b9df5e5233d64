//! From the accesses to the audit log, and from the log's ends to signed statements (R47, R49).

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};

use crate::{
    domain::{
        access::Access,
        audit::{
            Entry, Hash,
            statement::{Signed, Statement},
        },
    },
    ports::{
        AccessWatch, AuditLog, AuditReader, Clock, HeadArchive, HeadSigner, PageRequest, PortError, PortResult,
        Statements, Unaudited,
    },
    wire::audit::write,
};

/// An access not in the log after this time is swept: the stream has had its chance.
pub const SWEEP_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// How many accesses the sweep takes at a time.
const SWEEP_PAGE: usize = 200;

/// What became of accesses: of each, in the same order, whether it is in the log and was watched.
pub type Recorded = Vec<PortResult<()>>;

/// Writes accesses into the log, lets them be watched, and only then clears their marks (R49). The last is told apart:
/// a mark that stays costs a sweep, which changes nothing (R45).
pub async fn record(
    log: &impl AuditLog,
    accesses: &[Access],
    watch: &impl AccessWatch,
    marks: &impl Unaudited,
) -> (Recorded, PortResult<()>) {
    let recorded = match record_all(log, accesses, watch).await {
        Ok(()) => vec![Ok(()); accesses.len()],
        // It would fail alone too.
        Err(error) if error.retryable || accesses.len() < 2 => vec![Err(error); accesses.len()],
        // One that cannot be written must not keep the others out.
        Err(_) => {
            let mut recorded = Vec::with_capacity(accesses.len());
            for access in accesses {
                recorded.push(record_all(log, std::slice::from_ref(access), watch).await);
            }
            recorded
        }
    };
    let done: Vec<_> =
        accesses.iter().zip(&recorded).filter(|(_, r)| r.is_ok()).map(|(a, _)| (a.child.clone(), a.id)).collect();
    let cleared = if done.is_empty() { Ok(()) } else { marks.audited(&done).await };
    (recorded, cleared)
}

async fn record_all(log: &impl AuditLog, accesses: &[Access], watch: &impl AccessWatch) -> PortResult<()> {
    log.append(&accesses.iter().map(Entry::from).collect::<Vec<_>>()).await?;
    watch.watch(accesses).await
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// Accesses found that the log lacked, or seemed to.
    pub found: usize,
    /// Those that could not be read or written; the next sweep tries them again.
    pub failed: usize,
    /// When the oldest of those found was recorded.
    pub oldest: Option<Timestamp>,
    /// The last error met.
    pub error: Option<PortError>,
}

/// Writes every access into the log that is older than [`SWEEP_AFTER`] and still marked, however long the stream has been
/// down (R49).
///
/// # Errors
/// Where the marks cannot be read. What was written before stays written.
pub async fn sweep(
    log: &impl AuditLog,
    watch: &impl AccessWatch,
    marks: &impl Unaudited,
    clock: &impl Clock,
) -> PortResult<Swept> {
    let before = clock.now() - SWEEP_AFTER;
    let mut page = PageRequest { limit: SWEEP_PAGE, after: None };
    let mut swept = Swept::default();
    loop {
        let due = marks.unaudited_before(before, &page).await?;
        swept.found += due.items.len();
        let (accesses, unreadable): (Vec<_>, Vec<_>) = due.items.into_iter().partition(Result::is_ok);
        let accesses: Vec<_> = accesses.into_iter().flatten().collect();
        swept.oldest = swept.oldest.or(accesses.first().map(|a| a.at));
        let (recorded, cleared) = record(log, &accesses, watch, marks).await;
        let failures =
            recorded.into_iter().filter_map(Result::err).chain(unreadable.into_iter().filter_map(Result::err));
        for error in failures {
            swept.failed += 1;
            swept.error = Some(error);
        }
        swept.error = cleared.err().or(swept.error);
        page.after = due.next;
        if page.after.is_none() {
            return Ok(swept);
        }
    }
}

/// States where all chains end, signs it, and keeps it in the archive (R47). The statement is kept in the table first: of
/// two that run at once one makes it, and one that broke off is archived by the next. `None` where another was faster.
///
/// # Errors
/// Of the step that failed. The next call carries on.
pub async fn state_heads(
    log: &(impl AuditReader + Statements),
    signer: &impl HeadSigner,
    archive: &impl HeadArchive,
    clock: &impl Clock,
) -> PortResult<Option<Signed>> {
    let latest = log.latest_statement().await?;
    if let Some((signed, false)) = &latest {
        keep(log, archive, signed).await?;
    }
    let latest = latest.map(|(signed, _)| signed.statement);
    let statement = Statement {
        sequence: latest.as_ref().map_or(0, |latest| latest.sequence) + 1,
        // A clock that was set back does not unsettle the order.
        at: latest.as_ref().map_or(Timestamp::MIN, |latest| latest.at).max(clock.now()),
        previous: latest.as_ref().map_or(Hash::NONE, Statement::hash),
        heads: log.heads().await?,
    };
    // A table that lost entries, or was put back to an earlier state, must not be vouched for.
    if !statement.follows(latest.as_ref()) {
        return Err(PortError { step: "audit.heads", cause: "ChainShorterThanStated".into(), retryable: false });
    }
    let (key, signature) = signer.sign(&statement.bytes()).await?;
    let signed = Signed { statement, key, signature: STANDARD.encode(signature) };
    if !log.add_statement(&signed).await? {
        return Ok(None);
    }
    keep(log, archive, &signed).await?;
    Ok(Some(signed))
}

async fn keep(log: &impl Statements, archive: &impl HeadArchive, signed: &Signed) -> PortResult<()> {
    let file = write(signed).map_err(|_| unencodable())?;
    archive.keep(&signed.name(), file.as_bytes()).await?;
    log.statement_archived(signed.statement.sequence).await
}

fn unencodable() -> PortError {
    PortError { step: "statement.encode", cause: "not JSON".into(), retryable: false }
}

#[cfg(test)]
mod tests;
