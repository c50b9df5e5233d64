//! `infra/runbooks/alarms.md` has a section for each alarm, with what it means, how to look and what to do; the alarm names it. The log codes
//! that it tells operators to search for are ones that the functions write.

use crate::{alarms, model::Template};
use cpis_tests::binaries::workspace;
use std::{collections::BTreeMap, fs, path::Path};

/// Where the page is.
const PAGE: &str = "infra/runbooks/alarms.md";
/// What a section must have, in this order.
const PARTS: [&str; 3] = ["**Means.** ", "**Look.** ", "**Do.** "];

fn page() -> String {
    fs::read_to_string(workspace().join(PAGE)).expect("the page")
}

/// Sections by heading.
fn sections(page: &str) -> BTreeMap<&str, &str> {
    let sections = page.split("\n## ").skip(1);
    sections.map(|section| section.split_once('\n').unwrap_or((section, ""))).collect()
}

/// What a section lacks.
fn lacking(section: &str) -> Vec<&'static str> {
    let paragraphs: Vec<_> = section.trim().split("\n\n").map(str::trim).collect();
    let at = |part: &str| paragraphs.iter().position(|p| p.strip_prefix(part).is_some_and(|text| text.len() > 20));
    let places = PARTS.map(at);
    let lacking = PARTS.iter().zip(places).filter(|(_, place)| place.is_none()).map(|(part, _)| *part).collect();
    if places.into_iter().flatten().is_sorted() { lacking } else { PARTS.to_vec() }
}

#[test]
fn every_alarm_has_its_section_and_names_it() {
    let (template, page) = (Template::load(), page());
    let (alarms, sections) = (alarms(&template), sections(&page));
    let mut faults = Vec::new();
    for (id, alarm) in &alarms {
        match sections.get(id) {
            None => faults.push(format!("{id} has no section in {PAGE}")),
            Some(section) => faults.extend(lacking(section).into_iter().map(|part| format!("{id} lacks {part}"))),
        }
        let named = format!(" See {PAGE}#{}", id.to_lowercase());
        if !alarm["AlarmDescription"].as_str().is_some_and(|text| text.ends_with(&named)) {
            faults.push(format!("the description of {id} does not end with{named}"));
        }
    }
    let idle = sections.keys().filter(|name| !alarms.iter().any(|(id, _)| id == *name));
    faults.extend(idle.map(|name| format!("there is no alarm {name}")));
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_section_that_lacks_a_part_is_found() {
    let whole = "**Means.** Somebody was not told of it.\n\n**Look.** `cpis status` says which queue.\n\n**Do.** Replay it when it is mended.";
    assert!(lacking(whole).is_empty());
    assert_eq!(lacking(&whole.replace("**Do.** ", "**Do.**")), ["**Do.** "]);
    assert_eq!(lacking(&whole.replace("Replay it when it is mended.", "Mend.")), ["**Do.** "]);
    let swapped = whole.replace("Means", "X").replace("Look", "Means").replace('X', "Look");
    assert_eq!(lacking(&swapped), PARTS);
}

/// All Rust sources below a directory, in one text.
fn sources(directory: &Path) -> String {
    let entries = fs::read_dir(directory).expect("a directory").filter_map(Result::ok);
    let text = |path: &Path| match path.is_dir() {
        true => sources(path),
        false if path.extension().is_some_and(|kind| kind == "rs") => fs::read_to_string(path).expect("a source"),
        false => String::new(),
    };
    entries.map(|entry| text(&entry.path())).collect()
}

#[test]
fn codes_to_search_for_are_ones_that_functions_write() {
    let page = page();
    let shared = sources(&workspace().join("shared/src"));
    let searches: Vec<_> = page.split('`').skip(1).step_by(2).filter_map(|code| code.strip_prefix("logs ")).collect();
    assert!(searches.len() > 30, "{searches:?}");
    let unknown = searches.iter().filter(|search| **search != "FUNCTION CODE").filter(|search| {
        let (function, code) = search.split_once(' ').unwrap_or((search, ""));
        let own = workspace().join("functions").join(function);
        !own.is_dir() || !(sources(&own) + &shared).contains(&format!("\"{code}\""))
    });
    let unknown: Vec<_> = unknown.collect();
    assert!(unknown.is_empty(), "no function writes these: {unknown:?}");
}
