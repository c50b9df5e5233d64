//! The layers: who may know Lambda, who may name an AWS SDK type, who does no I/O.

use super::{Source, is_test_path, sources, split_comment, split_tests};

/// Names that only some places may use.
struct Layer {
    what: &'static str,
    /// Beginnings of paths in code, such as `std::fs`; one that ends in `_` or `-` is the beginning of a word.
    names: &'static [&'static str],
    holds: fn(&str) -> bool,
}

const LAMBDA: &[&str] = &["lambda_runtime", "lambda_http", "aws_lambda_events"];
const SDK: &[&str] = &["aws_sdk_", "aws_config", "aws_smithy_", "aws_types", "aws-sdk-", "aws-config", "aws-smithy-"];
const OUTSIDE: &[&str] = &[
    "tokio",
    "reqwest",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "SystemTime",
    "Instant",
    "Timestamp::now",
    "Zoned::now",
    "Uuid::new_v4",
    "Uuid::now_v7",
    "println!",
    "eprintln!",
];
const ASYNC: &[&str] = &["async", ".await", "futures", "futures_util"];

const LAYERS: [Layer; 4] = [
    Layer {
        what: "only functions and shared/src/lambda know Lambda",
        names: LAMBDA,
        holds: |path| !(starts(path, &["functions/", "shared/src/lambda", "tests/"]) || is_workspace_manifest(path)),
    },
    Layer {
        what: "only shared/src/aws and infra name the AWS SDK",
        names: SDK,
        holds: |path| !(starts(path, &["shared/src/aws", "infra/", "tests/"]) || is_workspace_manifest(path)),
    },
    Layer {
        what: "domain, usecase, wire and ports do no I/O and read no clock",
        names: OUTSIDE,
        holds: |path| starts(path, &["shared/src/domain", "shared/src/usecase", "shared/src/wire", "shared/src/ports"]),
    },
    Layer { what: "domain is not async", names: ASYNC, holds: |path| starts(path, &["shared/src/domain"]) },
];

fn starts(path: &str, places: &[&str]) -> bool {
    places.iter().any(|p| path.starts_with(p))
}

/// Dependencies are declared for the whole workspace, and once for all adapters.
fn is_workspace_manifest(path: &str) -> bool {
    ["Cargo.toml", "shared/Cargo.toml"].contains(&path)
}

/// Each use of a name in a place that may not use it.
fn trespasses(sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        let code = match source.path.rsplit_once('.') {
            Some((_, "rs")) => full_paths(&without_comments(&split_tests(source).0, "//")),
            Some((_, "toml")) if source.path.ends_with("Cargo.toml") => without_comments(&source.text, "#"),
            _ => continue,
        };
        for layer in LAYERS.iter().filter(|l| (l.holds)(&source.path) && !is_test_path(&source.path)) {
            for name in layer.names.iter().filter(|n| uses(&code, n)) {
                found.push(format!("{} uses {name}: {}", source.path, layer.what));
            }
        }
    }
    found
}

fn without_comments(text: &str, marker: &str) -> String {
    text.lines().map(|line| format!("{}\n", split_comment(line, marker).0)).collect()
}

/// Whether the code has the name as a whole word, or as the beginning of one if it ends in `_` or `-`.
fn uses(code: &str, name: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(part_of_word) && name.starts_with(part_of_word);
        let after = code[at + name.len()..].chars().next().is_some_and(part_of_word);
        !before && (!after || name.ends_with(['_', '-', '!']))
    })
}

/// The code with every `use a::{b, c::d};` followed by `a::b a::c::d`.
fn full_paths(code: &str) -> String {
    let mut full = code.to_owned();
    for (at, _) in code.match_indices("use ") {
        let tree: String = code[at + 4..].chars().take_while(|c| *c != ';').filter(|c| !c.is_whitespace()).collect();
        expand("", &tree, &mut full);
    }
    full
}

fn expand(prefix: &str, tree: &str, full: &mut String) {
    let mut depth = 0;
    let separates = |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    };
    for branch in tree.split(separates) {
        match branch.split_once('{') {
            Some((path, rest)) => {
                expand(&format!("{prefix}{path}"), rest.strip_suffix('}').unwrap_or(rest), full);
            }
            None => *full += &format!("{prefix}{branch}\n"),
        }
    }
}

#[test]
fn every_layer_keeps_to_itself() {
    let found = trespasses(&sources());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn a_trespass_is_found() {
    for (path, text) in [
        ("shared/src/aws/plans.rs", "use lambda_runtime::Error;\n"),
        ("shared/src/usecase/look_up.rs", "fn f(_: lambda_http::Request) {}\n"),
        ("infra/ops/src/main.rs", "use aws_lambda_events::sqs;\n"),
        ("infra/ops/Cargo.toml", "[dependencies]\nlambda_runtime.workspace = true\n"),
        ("functions/asn-relay/src/main.rs", "let c = aws_config::load();\n"),
        ("functions/asn-relay/src/main.rs", "use aws_sdk_sqs::Client;\n"),
        ("functions/asn-relay/Cargo.toml", "aws-sdk-sqs.workspace = true\n"),
        ("shared/src/lambda/config.rs", "use {aws_smithy_types::Blob};\n"),
        ("shared/src/memory/mod.rs", "use aws_sdk_dynamodb as d;\n"),
        ("shared/src/domain/plan.rs", "use std::{fmt, fs::File};\n"),
        ("shared/src/domain/plan.rs", "use std::{\n    collections::{BTreeMap, HashMap},\n    net,\n};\n"),
        ("shared/src/domain/plan.rs", "let now = jiff::Timestamp::now();\n"),
        ("shared/src/domain/plan.rs", "use std::time::{Duration, SystemTime};\n"),
        ("shared/src/domain/plan.rs", "async fn f() {}\n"),
        ("shared/src/domain/plan.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n}\nfn g() { h().await }\n"),
        ("shared/src/usecase/relay.rs", "tokio::spawn(f());\n"),
        ("shared/src/usecase/relay.rs", "let id = Uuid::new_v4();\n"),
        ("shared/src/wire/search.rs", "println!(\"{x}\");\n"),
        ("shared/src/ports.rs", "use reqwest::Client;\n"),
    ] {
        assert_eq!(trespasses(&[Source::planted(path, text)]).len(), 1, "{path}: {text}");
    }
}

#[test]
fn what_is_allowed_is_no_trespass() {
    for (path, text) in [
        ("shared/src/lambda/mod.rs", "use lambda_runtime::Error;\n"),
        ("functions/asn-relay/src/main.rs", "use lambda_runtime::Error;\n"),
        ("shared/src/aws/plans.rs", "use aws_sdk_dynamodb::Client;\n"),
        ("infra/ops/src/main.rs", "#[tokio::main]\nasync fn main() { aws_config::load(); }\n"),
        ("shared/src/domain/plan.rs", "// Timestamp::now is the caller's business, as is tokio.\n"),
        ("shared/src/domain/plan.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"),
        ("shared/src/domain/plan.rs", "let instantly = asynchronous + not_tokio;\n"),
        ("shared/src/usecase/relay.rs", "pub async fn relay() { f().await }\n"),
        ("shared/src/usecase/tests.rs", "#[tokio::test]\n"),
        ("README.md", "tokio, aws_sdk_sqs, lambda_runtime\n"),
    ] {
        assert_eq!(trespasses(&[Source::planted(path, text)]), [""; 0], "{path}: {text}");
    }
}
