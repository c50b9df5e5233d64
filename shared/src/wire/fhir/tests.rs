use std::collections::BTreeSet;

use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::domain::{
    access::{Access, Interaction},
    caller::{Device, JobRole, Person, Requester},
    contact::Contact,
    nhs_number::ChildKeySecret,
    policy::Presentation,
    setting::CareKind,
};

const DIGITS: &str = "9990000018";
const SUNDAY: &str = "2026-11-22T12:00:00Z";
const MONDAY: &str = "2026-11-23T12:00:00Z";

fn plan(plan_type: PlanType, authority: &str, name: &str) -> Plan {
    Plan {
        nhs_number: NhsNumber::parse(DIGITS).expect("valid"),
        authority: AuthorityCode::parse(authority).expect("valid"),
        authority_name: name.into(),
        plan_type,
        local_id: Some("HP-1".into()),
        family_name: "Sample".into(),
        given_names: vec!["Robin".into()],
        birth_date: date(2015, 6, 1),
        start: date(2024, 1, 1),
        end: None,
        deleted: None,
        contact: Contact {
            emergency_duty_team_phone: "020 7946 0001".into(),
            office_hours_phone: Some("020 7946 0002".into()),
        },
        contact_sequence: 1,
        sequence: 1,
        known: true,
        updated: "2026-11-20T08:30:00Z".parse().expect("a time"),
    }
}

fn plans() -> Vec<Plan> {
    let ended = plan(PlanType::LookedAfter, "E09000001", "City of London");
    vec![
        plan(PlanType::ChildProtection, "E06000001", "Hartlepool"),
        Plan { end: Some(date(2026, 11, 1)), ..ended },
        plan(PlanType::Unborn, "E06000001", "Hartlepool"),
    ]
}

fn nurse() -> Requester {
    Requester::Person(Person {
        user: "555000000001".into(),
        role_profile: "555000000002".into(),
        name: "Alex Example".into(),
        job_role: JobRole { code: "R0670".into(), display: "Midwife - Sister/Charge Nurse".into() },
    })
}

fn control_room() -> Requester {
    Requester::Device(Device { asid: "200000000001".into(), responsible: "Sam Sample".into(), ..Device::default() })
}

fn access(requester: Requester, n: u128) -> Access {
    Access {
        child: key(),
        id: Uuid::from_u128(n),
        at: "2026-11-21T23:15:00.250Z".parse().expect("a time"),
        requester,
        organisation: Organisation { code: "ZX001".into(), name: "Sample Hospital".into() },
        interaction: Interaction::CareTeam,
        unscheduled: true,
        disclosed: vec!["CPP#E06000001".into()],
        owed: vec![],
        nhs_number: Some(NhsNumber::parse(DIGITS).expect("valid")),
        trace_id: Uuid::nil(),
        care: vec![CareKind::EmergencyDepartment],
        region: Some("London".into()),
        presentation: Presentation::Full,
        refused: None,
    }
}

fn sensitive(requester: Requester, n: u128) -> Access {
    Access { presentation: Presentation::Generic, care: vec![CareKind::SexualHealth], ..access(requester, n) }
}

fn key() -> ChildKey {
    ChildKeySecret::new(&[1; 32]).expect("long enough").key_of(&NhsNumber::parse(DIGITS).expect("valid"))
}

fn answer(at: &str, encode: impl FnOnce(&Searched<'_>) -> Vec<u8>) -> Value {
    let (number, child) = (NhsNumber::parse(DIGITS).expect("valid"), key());
    let now = at.parse().expect("a time");
    let searched =
        Searched { number: &number, child: &child, now, self_link: "https://cpis.example/v1/cpis/FHIR/R4/CareTeam" };
    serde_json::from_slice(&encode(&searched)).expect("JSON")
}

/// Every answer of these tests, also those that an outside checker may be given.
fn answers() -> Vec<(&'static str, Value)> {
    let accesses = [access(nurse(), 1), access(control_room(), 2), access(nurse(), 3)];
    let sensitive = [access(nurse(), 1), sensitive(nurse(), 2)];
    let emergency_only = Plan {
        contact: Contact { emergency_duty_team_phone: "020 7946 0001".into(), office_hours_phone: None },
        ..plan(PlanType::ChildProtection, "E06000001", "Hartlepool")
    };
    vec![
        ("care-team", answer(SUNDAY, |s| care_team_bundle(s, &plans()))),
        ("care-team-office", answer(MONDAY, |s| care_team_bundle(s, &plans()[..1]))),
        ("care-team-emergency-only", answer(MONDAY, |s| care_team_bundle(s, &[emergency_only]))),
        ("care-team-ended", answer(SUNDAY, |s| care_team_bundle(s, &plans()[1..2]))),
        ("care-team-empty", answer(SUNDAY, |s| care_team_bundle(s, &[]))),
        ("flag", answer(SUNDAY, |s| flag_bundle(s, &plans()))),
        ("flag-empty", answer(SUNDAY, |s| flag_bundle(s, &[]))),
        ("audit-event", answer(SUNDAY, |s| audit_event_bundle(s, &accesses, accesses.len()))),
        ("audit-event-generic", answer(SUNDAY, |s| audit_event_bundle(s, &sensitive, 40))),
        ("audit-event-empty", answer(SUNDAY, |s| audit_event_bundle(s, &[], 0))),
        ("metadata", serde_json::from_slice(&capability_statement()).expect("JSON")),
        ("outcome", outcome_of(Kind::InvalidSearch)),
    ]
}

fn outcome_of(kind: Kind) -> Value {
    let outcome = Outcome::new(kind, "the check digit does not fit").at("patient:identifier");
    serde_json::from_slice(&operation_outcome(&outcome)).expect("JSON")
}

/// The answers as they were when somebody last looked at them with care. `UPDATE_GOLDEN=1` writes them anew.
#[test]
fn answers_are_the_ones_looked_at() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wire/fhir/golden");
    for (name, answer) in answers() {
        let file = folder.join(format!("{name}.json"));
        let text = format!("{answer:#}\n");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &text).expect("written");
        }
        let golden = std::fs::read_to_string(&file).expect("a golden file");
        assert_eq!(text, golden, "{name}: if the change is meant, run with UPDATE_GOLDEN=1 and read the difference");
    }
}

fn entries<'a>(bundle: &'a Value, mode: &str) -> Vec<&'a Value> {
    let all = bundle["entry"].as_array().expect("entries");
    all.iter().filter(|e| e["search"]["mode"] == mode).map(|e| &e["resource"]).collect()
}

fn sentences(bundle: &Value) -> Vec<&str> {
    let issues = entries(bundle, "outcome").into_iter().flat_map(|o| o["issue"].as_array().expect("issues"));
    issues.map(|i| i["diagnostics"].as_str().expect("a sentence")).collect()
}

#[test]
fn r10_the_number_to_ring_now_has_rank_1_and_a_sentence() {
    for (at, work, mobile, sentence) in [
        (SUNDAY, 2, 1, "Ring 020 7946 0001 now: emergency duty team of Hartlepool (the office is closed)."),
        (
            MONDAY,
            1,
            2,
            "Ring 020 7946 0002 now: children's social care of Hartlepool (the office is open until 17:00).",
        ),
    ] {
        let bundle = answer(at, |s| care_team_bundle(s, &plans()[..1]));
        let telecom = &entries(&bundle, "match")[0]["telecom"];
        assert_eq!((&telecom[0]["use"], &telecom[0]["rank"]), (&json!("work"), &json!(work)));
        assert_eq!((&telecom[1]["use"], &telecom[1]["rank"]), (&json!("mobile"), &json!(mobile)));
        assert!(sentences(&bundle)[0].starts_with(sentence), "{:?}", sentences(&bundle));
    }
}

#[test]
fn r20_no_running_plan_never_reads_as_safe() {
    for bundle in [
        answer(SUNDAY, |s| care_team_bundle(s, &[])),
        answer(SUNDAY, |s| care_team_bundle(s, &plans()[1..2])),
        answer(SUNDAY, |s| flag_bundle(s, &[])),
        answer(SUNDAY, |s| audit_event_bundle(s, &[], 0)),
    ] {
        let said = sentences(&bundle);
        assert!(said.iter().any(|s| s.contains("does NOT mean that the child is safe")), "{said:?}");
        assert!(said.iter().any(|s| s.contains("999")), "what to do: {said:?}");
    }
    let running = answer(SUNDAY, |s| care_team_bundle(s, &plans()));
    assert!(!sentences(&running).iter().any(|s| s.contains("safe")));
}

#[test]
fn an_authority_is_told_of_once_however_many_plans_it_has() {
    let bundle = answer(SUNDAY, |s| care_team_bundle(s, &plans()));
    assert_eq!(sentences(&bundle).len(), 2);
    assert_eq!(bundle["total"], 3);
}

#[test]
fn r41_generic_accesses_are_shown_alike_but_for_ids_and_times() {
    let other = Requester::Person(Person {
        user: "555000000777".into(),
        role_profile: "555000000778".into(),
        name: "Sam Someone".into(),
        job_role: JobRole { code: "R8002".into(), display: "Midwife Access Role".into() },
    });
    let bundle = answer(SUNDAY, |s| {
        let accesses = [sensitive(nurse(), 1), sensitive(other.clone(), 2), sensitive(control_room(), 3)];
        audit_event_bundle(s, &accesses, 3)
    });
    let mut events: Vec<_> = entries(&bundle, "match").into_iter().cloned().collect();
    assert_eq!((events.len(), entries(&bundle, "include").len()), (3, 0), "nobody comes with them");
    events.iter_mut().for_each(|event| event["id"] = Value::Null);
    assert_eq!((&events[0], &events[0]), (&events[1], &events[2]));
}

#[test]
fn r44_what_is_not_shown_is_told() {
    let accesses = [access(nurse(), 1), access(control_room(), 2)];
    let longer = answer(SUNDAY, |s| audit_event_bundle(s, &accesses, 40));
    assert_eq!((&longer["total"], entries(&longer, "match").len()), (&json!(40), 2));
    assert_eq!(sentences(&longer), ["The 2 most recent of 40 accesses are shown."]);
}

#[test]
fn ended_plans_are_inactive_or_completed() {
    let bundle = answer(SUNDAY, |s| flag_bundle(s, &plans()[1..2]));
    let status = |mode, at: usize| entries(&bundle, mode)[at]["status"].clone();
    assert_eq!([status("match", 0), status("include", 0), status("include", 1)], ["inactive", "completed", "inactive"]);
}

#[test]
fn one_person_is_included_once_and_a_device_comes_with_who_answers_for_it() {
    let accesses = [access(nurse(), 1), access(nurse(), 2), access(control_room(), 3)];
    let bundle = answer(SUNDAY, |s| audit_event_bundle(s, &accesses, accesses.len()));
    let kinds: Vec<_> = entries(&bundle, "include").iter().map(|r| r["resourceType"].as_str()).collect();
    assert_eq!(kinds.iter().filter(|k| **k == Some("PractitionerRole")).count(), 2);
    assert_eq!(kinds.iter().filter(|k| **k == Some("Device")).count(), 1);
    assert_eq!(bundle["total"], 3);
    let of_device = entries(&bundle, "match")[2]["agent"].as_array().map(Vec::len);
    assert_eq!(of_device, Some(2));
}

#[test]
fn ids_differ_from_child_to_child() {
    let other = NhsNumber::parse("9990000026").expect("valid");
    let other_key = ChildKeySecret::new(&[1; 32]).expect("long enough").key_of(&other);
    let ids = |number: &NhsNumber, child: &ChildKey| {
        let now = SUNDAY.parse().expect("a time");
        let bundle = flag_bundle(&Searched { number, child, now, self_link: "https://cpis.example" }, &plans());
        let bundle: Value = serde_json::from_slice(&bundle).expect("JSON");
        let all = bundle["entry"].as_array().expect("entries").iter();
        all.filter(|e| e["search"]["mode"] != "outcome").map(|e| e["fullUrl"].to_string()).collect::<BTreeSet<_>>()
    };
    let number = NhsNumber::parse(DIGITS).expect("valid");
    let (one, two) = (ids(&number, &key()), ids(&other, &other_key));
    assert_eq!((one.len(), two.len()), (9, 9));
    assert!(one.is_disjoint(&two));
    assert_eq!(one, ids(&number, &key()), "the same each time");
}

#[test]
fn every_kind_of_refusal_has_a_status_a_code_and_the_place_to_mend() {
    let mut seen = BTreeSet::new();
    for kind in Kind::ALL {
        let outcome = outcome_of(kind);
        let issue = &outcome["issue"][0];
        assert_eq!(issue["expression"], json!(["patient:identifier"]));
        assert_eq!(issue["details"]["coding"][0]["code"], kind.spine_code());
        assert!((400..=503).contains(&kind.status()));
        seen.insert((kind.status(), kind.spine_code()));
    }
    assert_eq!(seen.len(), Kind::ALL.len());
    let bare: Value = serde_json::from_slice(&operation_outcome(&Outcome::new(Kind::Busy, "try again"))).expect("JSON");
    assert_eq!(bare["issue"][0].get("expression"), None);
}

/// Calls `visit` with the path and text of every string in the value.
fn strings(value: &Value, path: &str, visit: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::String(text) => visit(path, text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, path, visit)),
        Value::Object(fields) => fields.iter().for_each(|(name, v)| {
            visit(path, name);
            strings(v, &format!("{path}.{name}"), visit);
        }),
        _ => {}
    }
}

fn check(bundle: &Value, name: &str) -> Result<(), TestCaseError> {
    let entries: &[Value] = bundle["entry"].as_array().map_or(&[], Vec::as_slice);
    let urls: Vec<_> = entries.iter().map(|e| e["fullUrl"].as_str().unwrap_or_default().to_owned()).collect();
    prop_assert_eq!(urls.iter().collect::<BTreeSet<_>>().len(), urls.len(), "{}: an id occurs twice", name);
    let (mut dangling, mut leaks) = (Vec::new(), Vec::new());
    strings(bundle, "", &mut |path, text| {
        if path.ends_with(".reference") && text != "reference" && text != "#" && !urls.iter().any(|u| u == text) {
            dangling.push(format!("{path} {text}"));
        }
        if text.contains(DIGITS)
            && !path.ends_with("subject.identifier.value")
            && !path.ends_with("what.identifier.value")
        {
            leaks.push(path.to_owned());
        }
    });
    prop_assert!(dangling.is_empty(), "{name}: {dangling:?}");
    prop_assert!(leaks.is_empty(), "R31 {name}: {leaks:?}");
    if bundle["resourceType"] == "Bundle" {
        let matches = entries.iter().filter(|e| e["search"]["mode"] == "match").count();
        let total = bundle["total"].as_u64().unwrap_or_default();
        // R44: only a history may be longer than what is shown of it.
        let whole = total == matches as u64 || name == "audit-event-generic";
        prop_assert!(whole, "{}: total counts matches only", name);
    }
    Ok(())
}

#[test]
fn known_answers_are_whole_and_keep_the_number_where_it_belongs() {
    for (name, answer) in answers() {
        check(&answer, name).unwrap_or_else(|e| panic!("{e}"));
    }
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let kind = proptest::sample::select(&PlanType::ALL[..]);
    let phone = proptest::option::of("[0-9 ]{5,9}");
    (kind, 1_u32..4, "[^0-9]{1,20}", phone, proptest::option::of(2024_i16..2028)).prop_map(
        |(kind, authority, name, office_hours_phone, ended)| Plan {
            contact: Contact { emergency_duty_team_phone: "020 7946 0001".into(), office_hours_phone },
            end: ended.map(|year| date(year, 2, 3)),
            ..plan(kind, &format!("E0600000{authority}"), &name)
        },
    )
}

fn any_access() -> impl Strategy<Value = Access> {
    (0_u8..4, any::<bool>(), any::<u128>()).prop_map(|(who, device, id)| {
        let requester = match (control_room(), nurse()) {
            (Requester::Device(d), _) if device => Requester::Device(Device { responsible: format!("Sam {who}"), ..d }),
            (_, Requester::Person(p)) => Requester::Person(Person { user: format!("55500000000{who}"), ..p }),
            (other, _) => other,
        };
        access(requester, id)
    })
}

proptest! {
    #[test]
    fn answers_are_whole_and_keep_the_number_where_it_belongs(
        plans in proptest::collection::vec(any_plan(), 0..9),
        accesses in proptest::collection::vec(any_access(), 0..25),
        second in 0_i64..400_000_000,
    ) {
        let mut seen = BTreeSet::new();
        let plans: Vec<_> = plans.into_iter().filter(|p| seen.insert(p.id().key())).collect();
        let mut seen = BTreeSet::new();
        let accesses: Vec<_> = accesses.into_iter().filter(|a| seen.insert(a.id)).collect();
        let at = Timestamp::from_second(1_700_000_000 + second).expect("in range").to_string();
        check(&answer(&at, |s| care_team_bundle(s, &plans)), "CareTeam")?;
        check(&answer(&at, |s| flag_bundle(s, &plans)), "Flag")?;
        check(&answer(&at, |s| audit_event_bundle(s, &accesses, accesses.len())), "AuditEvent")?;
    }
}
