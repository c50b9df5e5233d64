//! Every single bit of a copy is flipped, and the check must find each (R48).

use std::{
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use cpis::{
    domain::audit::{
        Chained,
        verify::{Tampering, Verifier},
    },
    wire::audit::read,
};

use super::copy::lines;
use crate::{
    failure::{Failure, Outcome, Result},
    output,
};

/// Entries of which every bit is flipped.
const ENTRIES: usize = 1_000;

/// A line of the copy, its entry, and the check of all before it.
struct Place {
    line: Vec<u8>,
    entry: Chained,
    before: Verifier,
}

/// Flips every bit of the first entries of a copy.
pub(super) fn run(file: &Path, json: bool) -> Result<Outcome> {
    let places = places(file)?;
    let flips: usize = places.iter().map(|place| place.line.len() * 8).sum();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut missed = Vec::new();
        while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < places.len()) {
            missed.extend(missed_flips(&places[at], places.get(at + 1)).into_iter().map(|bit| (at + 1, bit)));
        }
        missed
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut missed: Vec<(usize, usize)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|_| vec![(0, 0)])).collect()
    });
    missed.sort_unstable();
    let (entries, count) = (places.len(), missed.len());
    if json {
        output::json(&serde_json::json!({"entries": entries, "flips": flips, "missed": count}))?;
    } else {
        output::line(&format!("{flips} single-bit flips in {entries} entries: {} found and located", flips - count))?;
    }
    match missed.first() {
        None => Ok(Outcome::Done),
        Some((line, bit)) => {
            output::note(format_args!("the first that was missed is bit {bit} of line {line}"));
            Ok(Outcome::NeedsAttention)
        }
    }
}

fn places(file: &Path) -> Result<Vec<Place>> {
    let mut places: Vec<Place> = Vec::new();
    let mut verifier = Verifier::default();
    lines(file, |line| {
        let entry = read(line);
        let before = verifier.clone();
        if let Some(entry) = entry.clone().filter(|_| places.len() < ENTRIES && !verifier.is_suspicious()) {
            places.push(Place { line: [line, b"\n"].concat(), entry, before });
        }
        verifier.push(entry);
    })?;
    match verifier.finish() {
        Ok(_) => Ok(places),
        Err(fault) => Err(Failure::error(format!("{}: not whole to begin with: {fault}", file.display()))),
    }
}

/// The bits of a line whose flip is not found, or placed in another entry.
fn missed_flips(place: &Place, next: Option<&Place>) -> Vec<usize> {
    let mut line = place.line.clone();
    let mut missed = Vec::new();
    for bit in 0..line.len() * 8 {
        line[bit / 8] ^= 1 << (bit % 8);
        if !is_found(place, &line, next) {
            missed.push(bit);
        }
        line[bit / 8] ^= 1 << (bit % 8);
    }
    missed
}

fn is_found(place: &Place, flipped: &[u8], next: Option<&Place>) -> bool {
    let mut verifier = place.before.clone();
    let (own, joined) = match flipped.strip_suffix(b"\n") {
        Some(own) => (own.to_vec(), false),
        // The end of the line is gone: what comes next is part of it.
        None => {
            let rest = next.map_or(&b""[..], |next| next.line.strip_suffix(b"\n").unwrap_or_default());
            ([flipped, rest].concat(), true)
        }
    };
    // A flip may also have made two lines of one.
    own.split(|byte| *byte == b'\n').for_each(|part| verifier.push(read(part)));
    if !joined {
        next.into_iter().for_each(|next| verifier.push(Some(next.entry.clone())));
    }
    let Err(fault) = verifier.finish() else { return false };
    let entry = &place.entry;
    // The next of the same chain tells the place; without one, the line does.
    let placed = joined
        || next.is_none_or(|next| next.entry.shard != entry.shard)
        || (fault.shard, fault.number) == (entry.shard, entry.number);
    fault.what == Tampering::Changed && fault.line == place.before.lines() + 1 && placed
}

#[cfg(test)]
mod tests {
    use cpis::{
        domain::audit::{Actor, Entry, Head, kind},
        wire::audit::write,
    };
    use uuid::Uuid;

    use super::*;

    /// R48
    #[test]
    fn every_flip_of_a_short_log_is_found_and_a_faulty_log_proves_nothing() {
        let path = std::env::temp_dir().join(format!("cpis-prove-{}.jsonl", Uuid::new_v4()));
        let at = jiff::Timestamp::from_second(1_790_000_000).expect("in range");
        let entries =
            (0..3_u128).map(|n| Entry::new(Uuid::from_u128(n << 8), at, kind::REPLAY, Actor::operator("é"), ""));
        let mut head = entries.clone().next().map(|e| Head::empty(e.shard())).expect("an entry");
        let text: String = entries.map(|e| write(&head.chain(e)).expect("JSON") + "\n").collect();
        std::fs::write(&path, &text).expect("written");
        assert_eq!(run(&path, true).expect("an outcome"), Outcome::Done);
        std::fs::write(&path, text.replace("000\",\"at\"", "100\",\"at\"")).expect("written");
        assert!(run(&path, true).expect_err("refused").to_string().contains("not whole to begin with"));
        std::fs::remove_file(&path).expect("removed");
    }
}
