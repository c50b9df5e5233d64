//! What must be true of the sources themselves: their layers, their citations of the rules, and whom they may name.
//! Every check is a function from sources to findings, and is shown to find what it looks for.

mod architecture;
mod crates;
mod privacy;
mod rules;
mod testing;

use std::{path::Path, process::Command};

/// One file of the repository.
struct Source {
    /// Relative to the root, with forward slashes.
    path: String,
    text: String,
}

impl Source {
    fn planted(path: &str, text: &str) -> Self {
        Self { path: path.into(), text: text.into() }
    }
}

/// Every file that git tracks or would, if it were added; bytes that are no UTF-8 are replaced.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let git = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .expect("git is installed");
    assert!(git.status.success(), "not a git checkout: {}", String::from_utf8_lossy(&git.stderr));
    let paths = String::from_utf8(git.stdout).expect("paths in UTF-8");
    let read = |path: &str| {
        // A tracked file that was just deleted is no source any more.
        let bytes = std::fs::read(root.join(path)).ok()?;
        Some(Source { path: path.to_owned(), text: String::from_utf8_lossy(&bytes).into_owned() })
    };
    let sources: Vec<_> = paths.split_terminator('\0').filter_map(read).collect();
    assert!(sources.iter().any(|s| s.path == "shared/src/lib.rs"), "the listing lacks the shared crate");
    sources
}

/// Whether Rust code at this path is test code as a whole.
fn is_test_path(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Rust code in two parts: what ships, and what stands in modules behind `#[cfg(test)]` (rustfmt's layout is relied on).
fn split_tests(source: &Source) -> (String, String) {
    if is_test_path(&source.path) {
        return (String::new(), source.text.clone());
    }
    let (mut shipped, mut tests) = (String::new(), String::new());
    let mut in_tests = false;
    for line in source.text.lines() {
        in_tests |= line == "#[cfg(test)]";
        let part = if in_tests { &mut tests } else { &mut shipped };
        part.push_str(line);
        part.push('\n');
        let ends = line == "}" || (!line.starts_with(['#', ' ']) && line.ends_with(';'));
        in_tests &= !ends;
    }
    (shipped, tests)
}

/// A line's code and its comment. A `//` behind a colon is an address.
fn split_comment<'a>(line: &'a str, marker: &str) -> (&'a str, &'a str) {
    let starts = line.match_indices(marker).map(|(at, _)| at);
    match starts.into_iter().find(|at| !line[..*at].ends_with(':')) {
        Some(at) => line.split_at(at),
        None => (line, ""),
    }
}

#[test]
fn test_modules_are_told_from_what_ships() {
    let text = "use a;\n#[cfg(test)]\nmod tests;\nfn b() {}\n#[cfg(test)]\nmod more {\n    use c;\n}\nfn d() {}\n";
    let (shipped, tests) = split_tests(&Source::planted("shared/src/x.rs", text));
    assert_eq!(shipped, "use a;\nfn b() {}\nfn d() {}\n");
    assert_eq!(tests, "#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod more {\n    use c;\n}\n");
    assert!(split_tests(&Source::planted("shared/src/x/tests.rs", text)).0.is_empty());
    assert_eq!(split_comment("a(\"https://b\"); // c", "//"), ("a(\"https://b\"); ", "// c"));
}
