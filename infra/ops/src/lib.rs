//! `cpis`, the operator's command: tokens, directory, synthetic data, status and dead letters.

mod ageing;
mod audit;
mod cli;
mod clock;
mod directory;
mod dlq;
mod entries;
mod failure;
mod generate;
mod interrupt;
mod limits;
mod numbers;
mod operator;
mod output;
mod people;
mod policy;
mod random;
mod samples;
mod settings;
mod spoil;
mod stack;
mod status;
mod token;
mod ways;

use std::process::ExitCode;

use clap::Parser;

#[cfg(feature = "testing")]
pub use dlq::simulation;

/// Runs the command that the arguments name.
pub async fn run() -> ExitCode {
    match cli::Cli::parse().run().await {
        Ok(outcome) => outcome.into(),
        Err(failure) => failure.report(),
    }
}
