//! What every crate of the workspace declares: no unsafe code, the shared licence, and that nobody publishes it by mistake.

use super::{Source, sources};

/// What each manifest of a package must say, and why.
const DECLARED: [(&str, &str); 3] = [
    ("[lints]\nworkspace = true\n", "takes none of the workspace's lints, which forbid unsafe code"),
    ("license.workspace = true\n", "says nothing of its licence"),
    ("publish.workspace = true\n", "could be published by mistake"),
];
/// What the workspace's manifest must say.
const WORKSPACE: [&str; 2] = ["[workspace.lints.rust]\nunsafe_code = \"forbid\"\n", "publish = false\n"];

fn findings(sources: &[Source]) -> Vec<String> {
    let mut found = vec![];
    for source in sources.iter().filter(|s| s.path == "Cargo.toml" || s.path.ends_with("/Cargo.toml")) {
        if source.text.contains("[package]") {
            let missing = DECLARED.iter().filter(|(words, _)| !source.text.contains(words));
            found.extend(missing.map(|(_, why)| format!("{} {why}", source.path)));
        } else {
            let missing = WORKSPACE.iter().filter(|words| !source.text.contains(**words));
            found.extend(missing.map(|words| format!("{} lacks {words:?}", source.path)));
        }
    }
    found
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let found = findings(&sources());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_crate_that_does_not_is_found() {
    let good =
        "[package]\nname = \"x\"\nlicense.workspace = true\npublish.workspace = true\n\n[lints]\nworkspace = true\n";
    let root = "[workspace]\npublish = false\n[workspace.lints.rust]\nunsafe_code = \"forbid\"\n";
    for (path, text, expected) in [
        ("functions/x/Cargo.toml", good.to_owned(), 0),
        ("functions/x/Cargo.toml", good.replace("[lints]\nworkspace = true\n", ""), 1),
        (
            "functions/x/Cargo.toml",
            good.replace("[lints]\nworkspace = true", "[lints.rust]\nunsafe_code = \"warn\""),
            1,
        ),
        ("functions/x/Cargo.toml", good.replace("publish.workspace", "publish"), 1),
        ("Cargo.toml", root.to_owned(), 0),
        ("Cargo.toml", root.replace("forbid", "deny"), 1),
    ] {
        assert_eq!(findings(&[Source::planted(path, &text)]).len(), expected, "{path}: {text}");
    }
}
