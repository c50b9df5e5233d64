//! `cpis`, the operator's command.

use std::process::ExitCode;

use mimalloc::MiMalloc;

// Going through dead letters, the system's own took more than a quarter of the time, and more room the longer it went on.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    cpis_ops::run().await
}
