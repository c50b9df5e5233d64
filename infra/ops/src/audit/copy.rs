//! A copy of the log, chain after chain, that can be continued.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    path::Path,
};

use cpis::{
    domain::audit::{Chained, Shard},
    ports::AuditReader,
    wire::audit::{read, write},
};

use crate::{
    failure::{Failure, Result, on_file},
    output,
};

/// Entries fetched at a time.
const PAGE: usize = 500;
/// The most bytes of a line: more than an item of DynamoDB can make of it.
const LONGEST_LINE: u64 = 4 << 20;

/// Writes the log, or one chain of it, to a file or to stdout.
pub(super) async fn export(log: &impl AuditReader, only: Option<Shard>, out: Option<&Path>) -> Result<()> {
    let Some(path) = out else { return copy(log, only, None, &mut BufWriter::new(io::stdout().lock()), true).await };
    let (file, last) = continued(path)?;
    copy(log, only, last, &mut BufWriter::new(file), false).await
}

async fn copy(
    log: &impl AuditReader,
    only: Option<Shard>,
    last: Option<Chained>,
    out: &mut impl Write,
    to_stdout: bool,
) -> Result<()> {
    let unread = |e| Failure::error(format!("cannot read the audit log: {e}"));
    let begun = last.as_ref().map(|last| last.shard);
    let is_due = |shard: Shard| only.is_none_or(|only| only == shard) && begun.is_none_or(|begun| begun <= shard);
    let behind = |shard: Shard| last.as_ref().filter(|last| last.shard == shard).map_or(0, |last| last.number);
    let bar = output::bar(0, "entries", to_stdout);
    if !bar.is_hidden() {
        let due = log.heads().await.map_err(unread)?.into_iter().filter(|head| is_due(head.shard));
        bar.set_length(due.map(|head| head.number.saturating_sub(behind(head.shard))).sum());
    }
    for shard in Shard::all().filter(|shard| is_due(*shard)) {
        let mut behind = behind(shard);
        loop {
            let page = log.entries(shard, behind, PAGE).await.map_err(unread)?;
            let Some(end) = page.last() else { break };
            behind = end.number;
            for entry in &page {
                let line = write(entry).map_err(|e| Failure::error(e.to_string()))?;
                writeln!(out, "{line}")?;
            }
            out.flush()?;
            bar.inc(page.len() as u64);
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// A file open at its end, and its last whole entry. A line that was broken off is cut off.
fn continued(path: &Path) -> Result<(File, Option<Chained>)> {
    let failed = on_file(path);
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(&failed)?;
    let (end, line) = last_line(&mut file).map_err(&failed)?;
    file.set_len(end).map_err(&failed)?;
    file.seek(SeekFrom::Start(end)).map_err(&failed)?;
    let Some(line) = line else { return Ok((file, None)) };
    let last = read(&line).ok_or_else(|| {
        Failure::error(format!("{}: its last line is no entry of an audit log; name another file", path.display()))
    })?;
    Ok((file, Some(last)))
}

/// Where the last whole line ends, and that line.
fn last_line(file: &mut File) -> io::Result<(u64, Option<Vec<u8>>)> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(LONGEST_LINE);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(LONGEST_LINE).read_to_end(&mut tail)?;
    let Some(end) = tail.iter().rposition(|byte| *byte == b'\n') else { return Ok((0, None)) };
    let begin = tail[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    Ok((from + end as u64 + 1, Some(tail[begin..end].to_vec())))
}

/// Hands every line of a file, without its end, to `each`; holds one line at a time.
pub(super) fn lines(path: &Path, mut each: impl FnMut(&[u8])) -> Result<()> {
    let failed = on_file(path);
    let mut file = BufReader::with_capacity(1 << 20, File::open(path).map_err(&failed)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        // Of a line that is far too long a part is enough to see that it is none.
        let read = (&mut file).take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(&failed)?;
        if read == 0 {
            return Ok(());
        }
        // A last line without an end is not as the log writes it, and is no line of it.
        let whole = line.strip_suffix(b"\n").unwrap_or(b"");
        each(whole);
    }
}

#[cfg(test)]
mod tests {
    use cpis::{
        domain::audit::{Actor, Entry, kind},
        memory::Ledger,
        ports::AuditLog,
    };
    use uuid::Uuid;

    use super::*;

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(work)
    }

    #[test]
    fn a_copy_broken_off_anywhere_is_continued_to_the_whole() {
        let log = Ledger::default();
        let at = jiff::Timestamp::from_second(1_790_000_000).expect("in range");
        let entry = |n| Entry::new(Uuid::from_u128(n), at, kind::REPLAY, Actor::operator("sam"), "");
        run(log.append(&(0..40).map(entry).collect::<Vec<_>>())).expect("appended");
        let mut whole = Vec::new();
        run(copy(&log, None, None, &mut whole, false)).expect("copied");
        assert_eq!(whole.iter().filter(|b| **b == b'\n').count(), 40);
        let path = std::env::temp_dir().join(format!("cpis-audit-{}.jsonl", Uuid::new_v4()));
        for cut in (0..=whole.len()).step_by(97).chain([whole.len() - 1, whole.len()]) {
            std::fs::write(&path, &whole[..cut]).expect("written");
            run(export(&log, None, Some(&path))).expect("continued");
            assert!(std::fs::read(&path).expect("read") == whole, "cut at {cut}");
        }
        std::fs::write(&path, "something else\n").expect("written");
        let refused = run(export(&log, None, Some(&path))).expect_err("refused");
        assert!(refused.to_string().contains("no entry of an audit log"), "{refused}");
        std::fs::remove_file(&path).expect("removed");
    }
}
