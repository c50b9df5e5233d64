//! Findings of the template's linters that stand: each has a reason, and is about something that is there. That each still finds
//! something is seen by `make lint`, which runs the linters.

use serde_json::Value;

use crate::model::{Template, items, members, text};

/// Characters below which a reason explains nothing.
const SHORTEST_REASON: usize = 40;

#[test]
fn r69_every_finding_that_stands_has_a_reason_and_names_what_is_there() {
    let template = Template::load();
    let ids: Vec<_> = members(&template.0["Resources"]).map(|(id, _)| id).collect();
    let listed: Vec<Value> =
        serde_yaml_ng::from_str(include_str!("../../../infra/local/suppressions.yaml")).expect("suppressions.yaml");
    assert!(!listed.is_empty());
    for entry in &listed {
        let rule = text(&entry["rule"]);
        assert!(text(&entry["reason"]).len() >= SHORTEST_REASON, "{rule} has no reason");
        for name in items(&entry["resources"]).into_iter().map(text) {
            let fits = |id: &&str| name.strip_prefix('*').map_or(**id == *name, |end| id.ends_with(end));
            assert!(ids.iter().any(fits), "{rule}: there is no {name}");
        }
    }
    let scans = include_str!("../../../template.yaml").matches("checkov:skip").count();
    assert_eq!(scans, 0, "say it in suppressions.yaml, where it is held to find something");
}
