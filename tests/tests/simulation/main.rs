//! A simulation of delivery: the real functions and the operator's replay over simulated DynamoDB, stream, SQS and clock. All that
//! goes wrong is decided by a seed, so that whatever is found can be seen again: `make simulate SEED=…`.

// Handlers and what they call are futures too deep for the compiler's default.
#![recursion_limit = "256"]

mod faults;
mod functions;
mod handlers;
mod history;
mod invariants;
mod people;
mod pumps;
mod rate;
mod rng;
mod run;
mod wire;
mod world;

use std::{env, sync::Mutex, thread};

use cpis::simulation::Bug;
use faults::{Counts, Fault};
use history::Violation;
use invariants::Invariant;
use run::run;

/// Seeds that every run of the tests goes through.
const SEEDS: u64 = 2_000;
/// Within so many seeds each bug must be caught: those that the system without it passes.
const CAUGHT_WITHIN: u64 = SEEDS;
/// Threads at once.
const THREADS: u64 = 2;
/// The seed that panics in the middle of everything.
pub(crate) const PANICS: u64 = u64::MAX;
/// Bytes of a thread's stack: unoptimised futures are large.
const STACK: usize = 32 << 20;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().filter(|text| !text.is_empty()).map(|text| text.parse().expect("a whole number"))
}

/// Does something for each number below `end`, on all threads.
fn on_threads(end: u64, act: impl Fn(u64) + Sync) {
    thread::scope(|scope| {
        for first in 0..THREADS {
            let act = &act;
            let thread = thread::Builder::new().stack_size(STACK);
            let step = usize::try_from(THREADS).expect("few");
            let started = thread.spawn_scoped(scope, move || (first..end).step_by(step).for_each(act));
            started.expect("a thread");
        }
    });
}

#[test]
fn every_seed_keeps_the_invariants() {
    if let Some(seed) = number("SIMULATE_SEED") {
        return on_threads(1, |_| replay(seed));
    }
    let seeds = number("SIMULATE_SEEDS").unwrap_or(SEEDS);
    let found = Mutex::new((Counts::new(), Vec::new()));
    on_threads(seeds, |seed| {
        let outcome = run(seed, None, false);
        let mut found = found.lock().expect("no panic");
        outcome.counts.into_iter().for_each(|(fault, n)| *found.0.entry(fault).or_default() += n);
        if let Some(first) = outcome.violations.first() {
            found.1.push(format!("make simulate SEED={seed}   # {first}"));
        }
    });
    let (counts, failures) = found.into_inner().expect("no panic");
    eprintln!("{seeds} seeds; faults: {counts:?}");
    assert!(failures.is_empty(), "{} of {seeds} seeds:\n{}", failures.len(), failures.join("\n"));
    let idle: Vec<_> = Fault::ALL.into_iter().filter(|fault| !counts.contains_key(fault)).collect();
    assert!(idle.is_empty(), "never occurred in {seeds} seeds: {idle:?}");
}

/// Tells the story of one seed.
fn replay(seed: u64) {
    let outcome = run(seed, None, true);
    outcome.trace.iter().for_each(|line| eprintln!("{line}"));
    assert!(outcome.violations.is_empty(), "seed {seed}:\n{}", list(&outcome.violations));
}

fn list(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("{violation}\n")).collect()
}

/// The invariant that a bug breaks. One that is caught by another was not understood, and perhaps not caught at all.
const fn broken_by(bug: Bug) -> Invariant {
    match bug {
        Bug::AnswersUnrecorded | Bug::ShowsUnrecordedHistory | Bug::ForgetsTheRest => Invariant::Recorded,
        Bug::DeliversOverWhatIsThere => Invariant::AcknowledgementsStay,
        Bug::IgnoresTheSequence | Bug::LoadsWithoutWriting | Bug::AcknowledgesBeforeLoading => Invariant::UploadsStay,
        Bug::DropsTheSweep => Invariant::Drains,
        Bug::TakesRetriesForNew
        | Bug::TellsOfSilentOnes
        | Bug::TellsOneAuthority
        | Bug::WritesTheOutboxApart
        | Bug::SettlesBeforeSending
        | Bug::BelievesWholeBatches
        | Bug::KeysOnTheMessage
        | Bug::AcknowledgesEarly
        | Bug::IgnoresFailedMessages
        | Bug::LosesWhatItSetsAside
        | Bug::ReplayDeletesFirst
        | Bug::ReplayBelievesWholeBatches => Invariant::ToldOnce,
    }
}

#[test]
fn a_seed_tells_the_same_story_every_time() {
    on_threads(6, |seed| {
        let stories = [run(seed, None, true), run(seed, None, true)].map(|outcome| {
            assert!(outcome.violations.is_empty(), "seed {seed}: {}", list(&outcome.violations));
            outcome.trace
        });
        let [first, second] = stories;
        assert!(first.len() > 100, "seed {seed}: a story of {} lines is none", first.len());
        let differs = first.iter().zip(&second).position(|(a, b)| a != b);
        assert_eq!(differs.map(|at| (&first[at], &second[at])), None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    });
}

/// Whatever panics has its story told to the end, and is a violation that no bug is known by.
#[test]
fn a_panic_tells_its_story_and_catches_nothing() {
    on_threads(1, |_| {
        let outcome = run(PANICS, None, true);
        assert_eq!(outcome.violations.len(), 1, "{}", list(&outcome.violations));
        assert_eq!(outcome.violations[0].of, Invariant::Panics);
        let last = outcome.trace.last().expect("a story");
        assert!(outcome.trace.len() > 100 && last.contains("panics: as it is told to"), "{last}");
    });
    assert!(Bug::ALL.iter().all(|bug| broken_by(*bug) != Invariant::Panics));
}

#[test]
fn every_bug_is_caught() {
    let escaped = Mutex::new(Vec::new());
    on_threads(Bug::ALL.len() as u64, |number| {
        // The hard ones first.
        let bug = Bug::ALL[Bug::ALL.len() - 1 - usize::try_from(number).expect("few")];
        let caught = |seed| {
            let mut found = run(seed, Some(bug), false).violations.into_iter();
            Some((seed, found.find(|violation| violation.of == broken_by(bug))?))
        };
        match (0..CAUGHT_WITHIN).find_map(caught) {
            Some((seed, violation)) => eprintln!("{bug:?}: caught by seed {seed}: {violation}"),
            None => escaped.lock().expect("no panic").push(bug),
        }
    });
    let escaped = escaped.into_inner().expect("no panic");
    assert!(escaped.is_empty(), "not caught within {CAUGHT_WITHIN} seeds: {escaped:?}");
}
