//! The feature `testing`, by which deliberate bugs can be planted, is in nothing that ships: without it what it hides does not
//! compile, only tests ask for it, and no release binary has what stands in every binary with it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use cpis::simulation::{Bug, MARK, has};
use cpis_tests::binaries;

use super::{Source, sources};

/// Each line of a manifest that could bring the feature into something that ships.
fn findings(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources.iter().filter(|s| s.path == "Cargo.toml" || s.path.ends_with("/Cargo.toml")) {
        let mut section = "";
        for line in source.text.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let passes_on = section == "[features]" && line.starts_with("testing = ");
            let is_mentioned = line.contains("\"testing\"") || line.contains("/testing\"");
            if is_mentioned && section != "[dev-dependencies]" && !passes_on {
                found.push(format!("{}, {section}: {line}", source.path));
            }
        }
    }
    let hidden = "#[cfg(feature = \"testing\")]\npub mod simulation;\n";
    if !sources.iter().any(|s| s.path == "shared/src/lib.rs" && s.text.contains(hidden)) {
        found.push("shared/src/lib.rs does not hide the module simulation".into());
    }
    found
}

#[test]
fn nothing_that_ships_can_have_a_bug_planted() {
    let found = findings(&sources());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Whether a binary has the mark.
fn is_marked(binary: &Path) -> bool {
    let found = Command::new("grep").args(["-q", "-a", "-F", "--", MARK]).arg(binary).status().expect("grep");
    match found.code() {
        Some(0) => true,
        Some(1) => false,
        other => panic!("grep {}: {other:?}", binary.display()),
    }
}

/// Every function's binary, and the operator's command.
fn release_binaries() -> Vec<PathBuf> {
    let functions = fs::read_dir(binaries::workspace().join("functions")).expect("the functions");
    let names = functions.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    names.map(|name| binaries::function(&name)).chain([binaries::cpis()]).collect()
}

#[test]
#[ignore = "needs release binaries: make test"]
fn no_release_binary_can_have_a_bug_planted() {
    assert!(
        env::var_os("CPIS_BINARIES").is_some(),
        "CPIS_BINARIES does not name the release binaries: run `make test`"
    );
    let binaries = release_binaries();
    assert!(binaries.len() > 10, "{binaries:?}");
    let marked: Vec<_> = binaries.iter().filter(|binary| is_marked(binary)).collect();
    assert!(marked.is_empty(), "built with the feature `testing`: {marked:?}");
}

#[test]
fn a_binary_that_asks_for_bugs_is_marked() {
    assert!(!has(Bug::AcknowledgesEarly), "none is planted here");
    assert!(is_marked(&env::current_exe().expect("this binary")));
}

#[test]
fn a_way_to_plant_one_is_found() {
    let lib = "#[cfg(feature = \"testing\")]\npub mod simulation;\n";
    for (manifest, lib, expected) in [
        ("[features]\ntesting = [\"cpis/testing\"]\n[dev-dependencies]\ncpis = { features = [\"testing\"] }\n", lib, 0),
        ("[dependencies]\ncpis = { features = [\"testing\"] }\n", lib, 1),
        ("[features]\ndefault = [\"testing\"]\n", lib, 1),
        ("[features]\nsqs = [\"cpis/testing\"]\n", lib, 1),
        ("[features]\n", "pub mod simulation;\n", 1),
    ] {
        let planted = [Source::planted("x/Cargo.toml", manifest), Source::planted("shared/src/lib.rs", lib)];
        assert_eq!(findings(&planted).len(), expected, "{manifest}{lib}");
    }
}
