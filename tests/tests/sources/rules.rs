//! Every rule of `shared/RULES.md` is cited by code and proved by a test, and nothing cites a rule that is not there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, sources, split_comment, split_tests};

type Numbers = BTreeSet<u32>;

const RULES: &str = "shared/RULES.md";

/// What is wrong with the rules and their citations.
fn findings(sources: &[Source]) -> Vec<String> {
    let Some(rules) = sources.iter().find(|s| s.path == RULES) else {
        return vec![format!("{RULES} is missing")];
    };
    let (rules, mut found) = read_rules(&rules.text);
    let (mut in_code, mut in_tests) = (Numbers::new(), Numbers::new());
    for source in sources {
        let (code, tests) = citations(source);
        for number in code.union(&tests).filter(|n| !rules.contains(n)) {
            found.push(format!("{} cites R{number}, which {RULES} does not have", source.path));
        }
        in_code.extend(code);
        in_tests.extend(tests);
    }
    found.extend(rules.difference(&in_code).map(|n| format!("R{n} is cited by no code")));
    found.extend(rules.difference(&in_tests).map(|n| format!("R{n} is proved by no test")));
    found
}

/// The rules' numbers, and what is wrong with the list: `- **R12.** text — source`, in rising order.
fn read_rules(text: &str) -> (Numbers, Vec<String>) {
    let (mut numbers, mut found) = (Numbers::new(), Vec::new());
    let mut rules: BTreeMap<u32, String> = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if let Some((number, rest)) = line.strip_prefix("- **R").and_then(|l| l.split_once(".** ")) {
            let Ok(number) = number.parse() else {
                found.push(format!("R{number} is no number of a rule"));
                continue;
            };
            if numbers.last().is_some_and(|last| *last >= number) {
                found.push(format!("R{number} is out of order or there twice"));
            }
            numbers.insert(number);
            rules.insert(number, rest.to_owned());
            current = Some(number);
        } else if line.starts_with("  ") {
            let rule = current.and_then(|n| rules.get_mut(&n));
            if let Some(rule) = rule {
                *rule += line;
            }
        } else {
            current = None;
        }
    }
    for (number, text) in rules {
        if text.rsplit_once(" — ").is_none_or(|(text, source)| text.trim().is_empty() || source.trim().is_empty()) {
            found.push(format!("R{number} lacks its text or its source"));
        }
    }
    if numbers.is_empty() {
        found.push(format!("{RULES} has no rule"));
    }
    (numbers, found)
}

/// The rules cited by a file's shipped code and by its tests.
fn citations(source: &Source) -> (Numbers, Numbers) {
    let path = source.path.as_str();
    // What is planted here proves nothing.
    if path.starts_with("tests/tests/sources/") {
        return Default::default();
    }
    let ships = ["shared/src/", "functions/", "infra/"].iter().any(|p| path.starts_with(p)) || path == "template.yaml";
    match path.rsplit_once('.') {
        Some((_, "rs")) if ships || path.starts_with("tests/") => {
            let (code, tests) = split_tests(source);
            let names =
                tests.lines().filter_map(|l| l.trim().split_once("fn ")?.1.split_once('(')).flat_map(|f| named(f.0));
            (in_comments(&code, "//"), in_comments(&tests, "//").into_iter().chain(names).collect())
        }
        Some((_, "py" | "yaml")) if ships => (in_comments(&source.text, "#"), Numbers::new()),
        _ => Default::default(),
    }
}

/// The rules in a test's name, such as `r13_a_resubmission`.
fn named(function: &str) -> impl Iterator<Item = u32> {
    function.split('_').filter_map(|word| number(word.strip_prefix('r')?))
}

fn in_comments(text: &str, marker: &str) -> Numbers {
    let comments = text.lines().map(|line| split_comment(line, marker).1);
    comments.flat_map(|c| words(c).filter_map(|w| number(w.strip_prefix('R')?))).collect()
}

/// The words of a comment, without the version in `FHIR R4`.
fn words(comment: &str) -> impl Iterator<Item = &str> {
    let words = comment.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let before = std::iter::once("").chain(words.clone());
    words.zip(before).filter(|(_, before)| *before != "FHIR").map(|(word, _)| word)
}

/// One or two digits: `R0260` and `R5105` are job roles.
fn number(digits: &str) -> Option<u32> {
    let plain =
        (1..=2).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[test]
fn every_rule_is_cited_and_proved() {
    let found = findings(&sources());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Sources without a fault, to plant faults in.
fn planted(rules: &str, code: &str, test: &str) -> Vec<Source> {
    vec![
        Source::planted(RULES, rules),
        Source::planted("shared/src/domain/x.rs", code),
        Source::planted("tests/tests/x.rs", test),
    ]
}

const TWO: &str = "# Rules\n\n- **R1.** One. — DCB1609\n- **R12.** Twelve, over\n  two lines. — guide\n";

#[test]
fn citations_are_found_where_they_are() {
    for (code, test) in [
        ("/// One (R1).\n// R12: twelve\n", "fn r1_r12_both() {}\n"),
        ("fn f() {} // R1, R12\n", "    async fn a_r1_b() {}\n// R12\n"),
        ("/* */ // R1 (R12)\n#[cfg(test)]\nmod tests {\n    fn r1_x() {}\n    // R12\n}\n", ""),
        ("// R1, R12, FHIR R4, role R0260, activity R5105, R1x\n", "fn r1_r12_rows_r4x() {}\n"),
    ] {
        assert_eq!(findings(&planted(TWO, code, test)), [""; 0], "{code}{test}");
    }
    let mut template = planted(TWO, "// R1\n", "// R1 R12\n");
    template.push(Source::planted("template.yaml", "# R12\n"));
    assert_eq!(findings(&template), [""; 0]);
}

#[test]
fn a_gap_is_found() {
    let (code, test) = ("// R1 R12\n", "fn r1_r12_x() {}\n");
    let doubled = format!("{TWO}- **R12.** Again. — guide\n");
    for (rules, code, test, says) in [
        (TWO, "// R1\n", test, "R12 is cited by no code"),
        (TWO, code, "fn r1_x() {}\n", "R12 is proved by no test"),
        (TWO, "let r = \"R12\"; // R1\n", test, "R12 is cited by no code"),
        (TWO, "// R1\n#[cfg(test)]\nmod t {\n    // R12\n}\n", test, "R12 is cited by no code"),
        (TWO, "// R1 R12 R3\n", test, "shared/src/domain/x.rs cites R3, which shared/RULES.md does not have"),
        (TWO, code, "fn r1_r12_r40_x() {}\n", "tests/tests/x.rs cites R40, which shared/RULES.md does not have"),
        (&doubled, code, test, "R12 is out of order or there twice"),
        ("- **R1.** One.\n- **R12.** x — y\n", code, test, "R1 lacks its text or its source"),
    ] {
        assert_eq!(findings(&planted(rules, code, test)), [says]);
    }
    assert_eq!(findings(&planted("", "", "")), ["shared/RULES.md has no rule"]);
    assert_eq!(findings(&[]), ["shared/RULES.md is missing"]);
}
