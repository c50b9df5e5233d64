//! Tampering with a log: whatever is done to it is found, named and located.

use proptest::prelude::*;

use super::*;
use crate::{
    domain::audit::{Actor, ActorKind, Entry, kind},
    wire::audit::{read, write},
};

/// Entries of the log that is tampered with entry by entry.
const ENTRIES: usize = 90;
/// Entries of the log of which every bit is flipped. Of a thousand, `cpis audit prove` does it, which is optimised.
const FLIPPED: usize = 8;

fn entry(n: u128) -> Entry {
    let actor = Actor { kind: ActorKind::Person, id: "555000000001".into(), name: "Zoë Example".into() };
    let at = jiff::Timestamp::from_millisecond(1_790_000_000_123 + i64::try_from(n).unwrap_or(0)).expect("in range");
    // The last byte of the id is the shard: some chains are much longer than others, and most have no entry.
    let shard = [3, 7, 7, 0, 7, 15, 3, 7, 2, 3][n as usize % 10] + if n % 70 == 9 { 4 } else { 0 };
    Entry::new(Uuid::from_u128(n << 8 | shard), at, kind::LOOK_UP, actor, "ZX001").with("interaction", "Flag")
}

/// The log as it is exported: chain after chain.
fn log_of(entries: usize) -> Vec<Chained> {
    let mut heads: Vec<_> = Shard::all().map(Head::empty).collect();
    let mut log: Vec<_> = (0..entries as u128)
        .map(|n| {
            let entry = entry(n);
            heads[entry.shard().index()].chain(entry)
        })
        .collect();
    log.sort_by_key(|e| (e.shard, e.number));
    log
}

fn log() -> Vec<Chained> {
    log_of(ENTRIES)
}

fn heads(log: &[Chained]) -> Vec<Head> {
    let mut heads: Vec<_> = Shard::all().map(Head::empty).collect();
    log.iter().for_each(|e| heads[e.shard.index()] = Head { shard: e.shard, number: e.number, hash: e.hash });
    heads
}

fn check_against(log: &[Chained], signed: Vec<Head>) -> Result<Verified, Fault> {
    let mut verifier = Verifier::new(signed);
    log.iter().for_each(|e| verifier.push(Some(e.clone())));
    verifier.finish()
}

fn check(log: &[Chained]) -> Result<Verified, Fault> {
    check_against(log, vec![])
}

/// What is expected of a fault at this entry, at its place in the sound log.
fn fault(what: Tampering, log: &[Chained], at: usize, line: usize) -> Result<Verified, Fault> {
    let e = &log[at];
    Err(Fault { what, line: line as u64 + 1, shard: e.shard, number: e.number, id: Some(e.entry.id) })
}

/// The entries that have this place in their own chains: places from the first to the last.
fn has_next(log: &[Chained], at: usize) -> bool {
    log.get(at + 1).is_some_and(|next| next.shard == log[at].shard)
}

/// Makes the chain anew from an entry on, as a forger would who can write everything.
fn rechain(log: &mut [Chained], from: usize) {
    let shard = log[from].shard;
    let mut head = match from.checked_sub(1).map(|before| &log[before]) {
        Some(before) if before.shard == shard => Head { shard, number: before.number, hash: before.hash },
        _ => Head::empty(shard),
    };
    log[from..].iter_mut().filter(|e| e.shard == shard).for_each(|e| *e = head.chain(e.entry.clone()));
}

#[test]
fn r48_a_sound_log_is_whole_in_whatever_order_its_chains_come() {
    let mut log = log();
    let expected = Verified { entries: ENTRIES as u64, heads: heads(&log) };
    assert_eq!(check_against(&log, heads(&log)), Ok(expected.clone()));
    log.sort_by_key(|e| (e.number, e.shard));
    assert_eq!(check_against(&log, heads(&log)), Ok(expected));
    assert_eq!(check(&[]).map(|v| v.entries), Ok(0));
}

/// Every bit of every line, the ends of lines included.
#[test]
fn r48_every_single_bit_flip_is_found_and_located() {
    let log = &log_of(FLIPPED);
    let lines: Vec<_> = log.iter().map(|e| write(e).expect("JSON") + "\n").collect();
    let lines = &lines;
    // Two halves at a time: the machines that test have two cores.
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || {
                let mut before = Verifier::default();
                for (at, line) in lines.iter().enumerate() {
                    if at % 2 == half {
                        flip_every_bit(log, lines, at, &before);
                    }
                    before.push(read(line.trim_end().as_bytes()));
                }
            });
        }
    });
}

fn flip_every_bit(log: &[Chained], lines: &[String], at: usize, before: &Verifier) {
    let next = log.get(at + 1);
    let mut line = lines[at].clone().into_bytes();
    for bit in 0..line.len() * 8 {
        line[bit / 8] ^= 1 << (bit % 8);
        let mut verifier = before.clone();
        match line.strip_suffix(b"\n") {
            // The flip may have made two lines of one.
            Some(rest) => rest.split(|b| *b == b'\n').for_each(|part| verifier.push(read(part))),
            // Or one of two: what comes next is part of this line.
            None => {
                let joined = [line.as_slice(), lines.get(at + 1).map_or(&[], |l| l.trim_end().as_bytes())].concat();
                verifier.push(read(&joined));
            }
        }
        if line.ends_with(b"\n") {
            next.into_iter().for_each(|next| verifier.push(Some(next.clone())));
        }
        let found = verifier.finish().expect_err("a flip is found");
        assert_eq!((found.what, found.line), (Tampering::Changed, at as u64 + 1), "bit {bit} of line {at}");
        if has_next(log, at) && line.ends_with(b"\n") {
            assert_eq!((found.shard, found.number), (log[at].shard, log[at].number), "bit {bit} of line {at}");
        }
        line[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn r48_every_removal_is_found_and_located() {
    let log = log();
    for at in 0..log.len() {
        let mut left = log.clone();
        left.remove(at);
        if has_next(&log, at) {
            let expected = fault(Tampering::Removed, &log, at, at).map_err(|f| Fault { id: None, ..f });
            assert_eq!(check(&left), expected);
        } else {
            // The end of a chain is missed by nobody but the signed head.
            assert!(check(&left).is_ok());
            let found = check_against(&left, heads(&log)).expect_err("truncated");
            let (what, shard, number) = (Tampering::Truncated, log[at].shard, log[at].number);
            assert_eq!((found.what, found.shard, found.number, found.id), (what, shard, number, None));
        }
    }
}

#[test]
fn r48_every_duplicate_is_found_and_located() {
    let log = log();
    for at in 0..log.len() {
        for to in [at + 1, at + 7, at.saturating_sub(3), log.len()] {
            let mut more = log.clone();
            more.insert(to.min(log.len()), log[at].clone());
            let found = check(&more).expect_err("a duplicate is found");
            // Of two that are the same, the one that comes second may be told of.
            let lines = [to.min(log.len()) as u64 + 1, at as u64 + if to > at { 1 } else { 2 }];
            assert!(
                found.line >= lines[0].min(lines[1]) && lines.contains(&found.line) || to == at + 1,
                "{at} to {to}: {found}"
            );
            assert_eq!((found.what, found.id), (Tampering::Inserted, Some(log[at].entry.id)), "{at} to {to}: {found}");
        }
    }
}

/// Linked to the entry before, with the next number, and hashed right: all that a forger can do without touching another.
#[test]
fn r48_every_forged_insertion_is_found_and_located() {
    let log = log();
    let shard = |at: usize| log[at].shard;
    for at in 1..log.len() {
        let before = &log[at - 1];
        let mut head = Head { shard: before.shard, number: before.number, hash: before.hash };
        let mut more = log.clone();
        let forged = head.chain(entry(77_777));
        more.insert(at, forged.clone());
        let found = check(&more);
        let follows = shard(at) == shard(at - 1);
        if follows && has_next(&log, at) {
            let (number, id) = (forged.number, Some(forged.entry.id));
            let line = at as u64 + 1;
            assert_eq!(found, Err(Fault { what: Tampering::Inserted, line, shard: forged.shard, number, id }));
        } else {
            // At the end of a chain it is found where it hides: it takes the place of the last, or is one more.
            let signed = check_against(&more, heads(&log));
            assert!(follows == found.is_err() && (follows || signed.is_ok()), "an entry appended is an entry appended");
        }
    }
}

#[test]
fn r48_damage_that_takes_no_place_was_inserted() {
    let log = log();
    for at in 1..log.len() {
        let mut verifier = Verifier::default();
        for (n, e) in log.iter().enumerate() {
            if n == at {
                verifier.push(None);
            }
            verifier.push(Some(e.clone()));
        }
        let found = verifier.finish().expect_err("found");
        let expected = if log[at].shard == log[at - 1].shard { Tampering::Inserted } else { Tampering::Changed };
        assert_eq!((found.what, found.line), (expected, at as u64 + 1));
    }
}

proptest! {
    #[test]
    fn r48_every_swap_is_found_and_located(a in 0_usize..ENTRIES, b in 0_usize..ENTRIES) {
        let log = log();
        let (a, b) = (a.min(b), a.max(b));
        prop_assume!(a != b && log[a].shard == log[b].shard);
        let mut swapped = log.clone();
        swapped.swap(a, b);
        prop_assert_eq!(check(&swapped), fault(Tampering::Reordered, &log, b, a));
    }

    #[test]
    fn r48_every_move_is_found_and_located(from in 0_usize..ENTRIES, to in 0_usize..ENTRIES) {
        let log = log();
        prop_assume!(from != to && log[from].shard == log[to].shard);
        let mut moved = log.clone();
        let taken = moved.remove(from);
        moved.insert(to, taken);
        let expected = if to < from { (from, to) } else { (from + 1, from) };
        prop_assert_eq!(check(&moved), fault(Tampering::Reordered, &log, expected.0, expected.1));
    }

    #[test]
    fn r48_removed_stretches_are_found(from in 0_usize..80, length in 1_usize..9) {
        let log = log();
        prop_assume!(log[from].shard == log[from + length].shard);
        let mut left = log.clone();
        left.drain(from..from + length);
        let expected = fault(Tampering::Removed, &log, from, from).map_err(|f| Fault { id: None, ..f });
        prop_assert_eq!(check(&left), expected);
    }

    /// An entry that says something else now and was hashed anew: the next one knows it as it was.
    #[test]
    fn r48_an_entry_hashed_anew_is_located(at in 0_usize..ENTRIES) {
        let log = log();
        let mut forged = log.clone();
        forged[at].entry.organisation = "ZX666".into();
        let e = forged[at].clone();
        forged[at] = Head { shard: e.shard, number: e.number - 1, hash: e.previous }.chain(e.entry);
        if has_next(&log, at) {
            prop_assert_eq!(check(&forged), fault(Tampering::Changed, &log, at, at));
        } else {
            prop_assert!(check(&forged).is_ok());
        }
        let found = check_against(&forged, heads(&log)).expect_err("the signed heads know");
        prop_assert_eq!(found.shard, log[at].shard);
    }

    /// The whole chain made anew from an entry on, without a fault in itself: only a signed head tells. It tells between
    /// which heads the first change lies.
    #[test]
    fn r48_a_chain_made_anew_does_not_lead_to_its_signed_heads(at in 0_usize..ENTRIES, earlier in 0_usize..ENTRIES) {
        let log = log();
        let mut forged = log.clone();
        forged[at].entry.organisation = "ZX666".into();
        rechain(&mut forged, at);
        prop_assert!(check(&forged).is_ok());
        let mut signed = heads(&log);
        let witness = &log[earlier];
        signed.push(Head { shard: witness.shard, number: witness.number, hash: witness.hash });
        let found = check_against(&forged, signed).expect_err("the signed heads know");
        prop_assert_eq!((found.what, found.shard), (Tampering::Rewritten, log[at].shard));
        let known_good = witness.shard == log[at].shard && witness.number < log[at].number;
        prop_assert_eq!(found.number, if known_good { witness.number + 1 } else { 1 });
        prop_assert!(found.number <= log[at].number);
    }
}

#[test]
fn r48_a_fault_says_what_where_and_which() {
    let log = log();
    let mut swapped = log.clone();
    swapped.swap(0, 1);
    let text = check(&swapped).expect_err("found").to_string();
    assert!(text.starts_with("line 1: entry 2 of shard 0") && text.ends_with("was put before its turn"), "{text}");
}
