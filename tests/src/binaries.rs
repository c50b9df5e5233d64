//! Where the functions' binaries are.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
};

static BUILT: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// The binary of a function, such as `flag-lookup`: from the directory `CPIS_BINARIES` where that is set, otherwise built
/// now in the development profile.
///
/// # Panics
/// It is not there, or does not build.
#[must_use]
pub fn function(name: &str) -> PathBuf {
    let package = format!("cpis-{name}");
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

fn build(package: String) -> PathBuf {
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let binary = target().join("debug").join(&package);
    if !built.contains(&package) {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status =
            Command::new(cargo).args(["build", "--quiet", "--package", &package]).current_dir(workspace()).status();
        assert!(status.is_ok_and(|s| s.success()), "{package} does not build");
        built.push(package);
    }
    binary
}
