//! `cpis`, the operator's command: tokens, directory, synthetic data, status and dead letters.

mod ageing;
mod audit;
mod cli;
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
mod sweep;
mod token;
mod ways;

use std::process::ExitCode;

use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match cli::Cli::parse().run().await {
        Ok(outcome) => outcome.into(),
        Err(failure) => failure.report(),
    }
}
