//! Where the functions are, and how each is started.

use cpis_tests::{
    binaries,
    dynamo::{Dynamo, function_environment},
    runtime_api::Function,
    sqs::Sqs,
    world::{self, AUTHORITIES},
};
use std::{ffi::OsStr, path::PathBuf};
use tokio::process::Command;

/// Binaries and interpreter.
pub(crate) struct Stage {
    python: PathBuf,
    pub(crate) binaries: PathBuf,
}

/// Empty tables and queues, but for a directory. Functions call them directly, unless they need both.
pub(crate) struct Tables {
    pub(crate) dynamo: Dynamo,
    pub(crate) sqs: Sqs,
}

impl Tables {
    pub(crate) async fn new() -> Self {
        let tables = Self { dynamo: Dynamo::start_without_streams().await, sqs: Sqs::start().await };
        AUTHORITIES.iter().for_each(|code| tables.dynamo.put("directory", &world::authority(code, "open")));
        tables
    }

    /// Of a function that calls DynamoDB alone.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        function_environment(&self.dynamo.url, &self.sqs)
    }
}

impl Stage {
    pub(crate) fn new(python: PathBuf) -> Self {
        let Some(directory) = std::env::var_os("CPIS_BINARIES") else {
            panic!("CPIS_BINARIES says where the functions are")
        };
        let binaries = binaries::workspace().join(directory);
        Self { python: std::path::absolute(&python).unwrap_or(python), binaries }
    }

    /// Starts a binary, such as `flag-lookup`.
    pub(crate) async fn start(&self, name: &str, env: &[(String, String)]) -> Function {
        let binary = self.binaries.join(format!("cpis-{name}"));
        Function::start_unread(&binary, env).await.unwrap_or_else(|e| panic!("{}: {e}", binary.display()))
    }

    /// Starts the Python twin of the look-up.
    pub(crate) async fn start_twin(&self, env: &[(String, String)]) -> Function {
        let mut command = Command::new(&self.python);
        let module = ["-m", "awslambdaric", "twin.handler"].map(OsStr::new);
        command.args(module).current_dir(binaries::workspace().join("tests/bench"));
        Function::start_command(command, env).await.unwrap_or_else(|e| panic!("twin.py: {e}"))
    }
}
