//! What `template.yaml` must keep, so that no notification is lost, nobody sees more than they may, and every fault is heard.
//! Each check is shown to bite: the table in `mutations.rs` breaks the template in one place, and its check must find it.

#[path = "template/alarms.rs"]
mod alarms;
#[path = "template/api.rs"]
mod api;
#[path = "template/data.rs"]
mod data;
#[path = "template/door.rs"]
mod door;
#[path = "template/linters.rs"]
mod linters;
#[path = "template/model.rs"]
mod model;
#[path = "template/mutations.rs"]
mod mutations;
#[path = "template/queues.rs"]
mod queues;
#[path = "template/roles.rs"]
mod roles;

use model::{Findings, Template};

type Check = fn(&Template, &mut Findings);

const CHECKS: [(&str, Check); 26] = [
    ("tables", data::tables),
    ("keys", data::keys),
    ("stream", data::stream),
    ("seal", data::seal),
    ("functions", data::functions),
    ("logs", data::logs),
    ("parameters", data::parameters),
    ("outputs", data::outputs),
    ("dead letters", queues::dead_letters),
    ("consumers", queues::consumers),
    ("roles", roles::roles),
    ("wildcards", roles::wildcards),
    ("indexes", roles::indexes),
    ("metrics", alarms::metrics),
    ("fire", alarms::fire),
    ("coverage", alarms::coverage),
    ("dashboard", alarms::dashboard),
    ("routes", api::routes),
    ("authorizer", api::authorizer),
    ("limits", api::limits),
    ("privacy", api::privacy),
    ("answers", api::answers),
    ("mutual TLS", door::mutual_tls),
    ("firewall", door::firewall),
    ("firewall privacy", door::firewall_privacy),
    ("usage plan", door::usage_plan),
];

fn run(check: Check, template: &Template) -> Vec<String> {
    let mut findings = Findings::default();
    check(template, &mut findings);
    findings.0
}

#[test]
fn the_template_keeps_its_rules() {
    let template = Template::load();
    let findings: Vec<_> = CHECKS
        .iter()
        .flat_map(|(name, check)| run(*check, &template).into_iter().map(move |f| format!("{name}: {f}")))
        .collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn each_check_finds_what_it_is_there_for() {
    let whole = Template::load();
    let mut missed = vec![];
    for mutation in mutations::all() {
        let (_, check) = CHECKS.iter().find(|(name, _)| *name == mutation.check).expect("a mutation names its check");
        let broken = Template(mutation.applied_to(&whole.0));
        if run(*check, &broken) == run(*check, &whole) {
            missed.push(format!("{}: {}", mutation.check, mutation.pointer));
        }
    }
    assert!(missed.is_empty(), "not found by their checks:\n{}", missed.join("\n"));
}

#[test]
fn each_check_has_a_mutation() {
    let mutations = mutations::all();
    let idle: Vec<_> =
        CHECKS.iter().map(|(name, _)| name).filter(|name| !mutations.iter().any(|m| m.check == **name)).collect();
    assert!(idle.is_empty(), "nothing shows that these can fail: {idle:?}");
}
