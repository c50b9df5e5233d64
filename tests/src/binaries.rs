//! Where the functions' binaries are.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
};

/// The binary of a function, such as `flag-lookup`: from the directory `CPIS_BINARIES` where that is set, otherwise built
/// now in the development profile.
///
/// # Panics
/// It is not there, or does not build.
#[must_use]
pub fn function(name: &str) -> PathBuf {
    binary(format!("cpis-{name}"))
}

/// The operator's command `cpis`, found in the same way.
///
/// # Panics
/// As [`function`].
#[must_use]
pub fn cpis() -> PathBuf {
    binary("cpis".to_owned())
}

fn binary(package: String) -> PathBuf {
    let Some(directory) = std::env::var_os("CPIS_BINARIES") else { return build(package) };
    let binary = workspace().join(directory).join(&package);
    assert!(binary.is_file(), "{} is missing: run `cargo build --release`", binary.display());
    binary
}

/// The directory of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."))
}

/// Where cargo puts what it builds.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// Builds every binary in one call, with the features that the tests were built with: one function alone would take
/// others, and the SDKs would be built again.
fn build(package: String) -> PathBuf {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo).args(["build", "--quiet", "--workspace"]).current_dir(workspace()).status();
        assert!(status.is_ok_and(|s| s.success()), "the workspace does not build");
    });
    target().join("debug").join(package)
}
