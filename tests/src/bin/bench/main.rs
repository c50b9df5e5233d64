//! The benchmark: every figure is a ratio to a baseline that is measured in the same run, turn and turn about.
//!
//! Usage: `bench PYTHON`, with a Python that has `tests/bench/requirements.txt`. The functions are those that lie beside
//! this binary. Ends with 1 where a figure misses its bound, and writes `target/bench.json`.

#![allow(clippy::print_stdout, reason = "the table is what the program is for")]

mod cold;
mod junction;
mod report;
mod samples;
mod sizes;
mod stage;
mod volume;
mod warm;

use report::Report;
use stage::Stage;
use std::{path::PathBuf, process::ExitCode};

#[tokio::main]
async fn main() -> ExitCode {
    let Some(python) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: bench PYTHON (`make bench` sees to everything)");
        return ExitCode::from(2);
    };
    let stage = Stage::new(python);
    let mut report = Report::new();
    cold::measure(&stage, &mut report).await;
    warm::measure(&stage, &mut report).await;
    sizes::measure(&stage, &mut report);
    volume::upload(&stage, &mut report).await;
    volume::notifications(&stage, &mut report).await;
    report.finish()
}
