//! The feature `testing`, by which deliberate bugs can be planted, is in nothing that ships: without it what it hides does not
//! compile, and only tests ask for it.

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
