//! The benchmark: every figure is a ratio to a baseline that is measured in the same run, turn and turn about.
//!
//! Usage: `bench PYTHON [cold|warm|sizes|upload|notifications|dead-letters|audit]`, with a Python that has
//! `tests/bench/requirements.txt`. `CPIS_BINARIES` says where the functions are. Ends with 1 where a figure misses its bound, and
//! writes `target/bench.json`.

#![allow(clippy::print_stdout, reason = "the table is what the program is for")]

mod audit;
mod cold;
mod dead_letters;
mod junction;
mod notifications;
mod quick;
mod report;
mod samples;
mod sizes;
mod stage;
mod upload;
mod warm;

use report::Report;
use stage::Stage;
use std::{path::PathBuf, process::ExitCode};

// One thread: the functions have the other core to themselves.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Some(python) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: bench PYTHON (`make bench` sees to everything)");
        return ExitCode::from(2);
    };
    let stage = Stage::new(python);
    let mut report = Report::new();
    let only = std::env::args().nth(2);
    let due = |name: &str| {
        let due = only.as_deref().is_none_or(|only| only == name);
        if due {
            eprintln!("measuring: {name} …");
        }
        due
    };
    if due("cold") {
        cold::measure(&stage, &mut report).await;
    }
    if due("warm") {
        warm::measure(&stage, &mut report).await;
    }
    if due("sizes") {
        sizes::measure(&stage, &mut report);
    }
    if due("upload") {
        upload::measure(&stage, &mut report).await;
    }
    if due("notifications") {
        notifications::measure(&stage, &mut report).await;
    }
    if due("dead-letters") {
        dead_letters::measure(&stage, &mut report).await;
    }
    if due("audit") {
        audit::measure(&stage, &mut report);
    }
    report.finish()
}
