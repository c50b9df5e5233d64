//! Who may see what: the directory's word on the caller, pilots, sensitive care, devices, and the trail that refusals leave.

use std::time::Duration;

use cpis_tests::{
    canary::{Child, VIEWER},
    stack::{Answer, Stack, eventually},
};
use serde_json::{Value, json};
use uuid::Uuid;

/// Within this time a change of the directory acts (R35).
const ACTS: Duration = Duration::from_secs(60);

/// A look-up with these headers.
async fn ask(stack: &Stack, child: &Child, token: &str, headers: &[(&str, &str)]) -> (Uuid, Answer) {
    let trace = Uuid::new_v4();
    let call = stack.search("CareTeam", &child.number()).token(token).header("TraceID", trace);
    let call = headers.iter().fold(call, |call, (name, value)| call.header(name, value));
    (trace, call.send().await)
}

/// Checks that a look-up is refused for this reason, and that the refusal is all that was recorded of it.
async fn refused(stack: &Stack, child: &Child, token: &str, headers: &[(&str, &str)], reason: &str, says: &str) {
    let (trace, answer) = ask(stack, child, token, headers).await;
    answer.refused(403, "ACCESS_DENIED");
    let said = answer.json()["issue"][0]["diagnostics"].as_str().unwrap_or_default().to_owned();
    assert!(said.contains(says), "{reason}: {said}");
    let trail = stack.traced("AccessesTable", trace).await;
    assert_eq!(trail.len(), 1, "{reason}: {trail:?}");
    assert_eq!(trail[0]["refused"]["S"], reason, "{trail:?}");
    let nothing = [&trail[0]["disclosed"]["L"], &trail[0]["owed"]["L"], &trail[0]["nhsNumber"], &trail[0]["outbox"]];
    assert_eq!(nothing, [&json!([]), &json!([]), &Value::Null, &Value::Null], "{reason}");
}

const SILENT: (&str, &str) = ("IsUnscheduledAccessEvent", "false");
const UNSCHEDULED: (&str, &str) = ("IsUnscheduledAccessEvent", "true");
const CONSENT: (&str, &str) = ("PatientConsent", "true");

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn each_refusal_says_why_and_is_recorded() {
    let stack = Stack::open();
    let council = stack.council("E06000025");
    let child = Child::new(110);
    council.hold(&child, "CPP").await;
    let both = ["B0107", "B0170"];
    let at = |organisation: &str, role: &str| stack.staff(organisation, role, &both);
    let (surgery, unit) = (at("ZX003", "R0260"), at("ZX004", "R8001"));
    for (token, headers, reason, says) in [
        (at("ZXZZZ", "R8001"), &[][..], "organisation-unknown", "not in the directory"),
        (surgery, &[UNSCHEDULED], "only-scheduled-care", "gives scheduled care only"),
        (unit, &[SILENT], "only-unscheduled-care", "gives unscheduled care only"),
        (stack.staff("ZX001", "R8001", &["B0107"]), &[SILENT], "silent-without-activity", "B0170"),
        (stack.staff("ZX001", "R8001", &["R5105"]), &[], "no-activity", "neither B0107"),
        (at("ZX00C", "R8001"), &[], "pilot-not-running", "does not run today"),
        (at("ZX005", "R8008"), &[], "pilot-role", "clinical staff"),
        (at("ZX007", "R8001"), &[CONSENT], "pilot-not-running", "does not run today"),
        (at("ZX009", "R8001"), &[], "no-consent", "PatientConsent: true"),
        (at("ZX009", "R8001"), &[("PatientConsent", "false")], "no-consent", "PatientConsent: true"),
        (at("ZX00A", "R8008"), &[CONSENT], "pilot-role", "clinical staff"),
        (at("ZX00D", "R8001"), &[], "no-care", "gives no care"),
        (stack.staff("ZX00B", "R8001", &["B0170"]), &[CONSENT], "activity-not-enough", "B0107"),
    ] {
        refused(&stack, &child, &token, headers, reason, says).await;
    }
    let (_, answer) = ask(&stack, &child, &at("ZX009", "R8001"), &[("PatientConsent", "yes")]).await;
    answer.refused(400, "PRECONDITION_FAILED");
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn where_both_kinds_of_care_are_given_the_header_chooses() {
    let stack = Stack::open();
    let council = stack.council("E06000026");
    let child = Child::new(111);
    council.hold(&child, "LAC").await;
    // The crisis team sees the register in its running pilot, as the hospital does everywhere.
    for organisation in ["ZX001", "ZX005"] {
        let token = stack.staff(organisation, "R8001", &["B0107", "B0170"]);
        let (silent, answer) = ask(&stack, &child, &token, &[SILENT]).await;
        answer.expect(200);
        let (told, answer) = ask(&stack, &child, &token, &[UNSCHEDULED]).await;
        answer.expect(200);
        council.told(told).await;
        assert!(council.mailed(silent).await.is_empty(), "{organisation}");
    }
    // Scheduled care that does not say so notifies (R19).
    let surgery = stack.staff("ZX003", "R0260", &["B0170"]);
    let (trace, answer) = ask(&stack, &child, &surgery, &[]).await;
    answer.expect(200);
    council.told(trace).await;
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn sensitive_care_leaves_a_label_and_nothing_else() {
    let stack = Stack::open();
    let council = stack.council("E06000027");
    // Each with a child of its own, or its history would name whoever read the history before.
    for (organisation, child) in [("ZX009", 112), ("ZX00A", 118), ("ZX00B", 119)] {
        let child = Child::new(child);
        council.hold(&child, "CPP").await;
        let token = stack.staff(organisation, "R8001", &["B0107"]);
        let (trace, answer) = ask(&stack, &child, &token, &[CONSENT]).await;
        answer.expect(200);
        assert_eq!(answer.json()["total"], 1);
        let access = stack.traced("AccessesTable", trace).await.remove(0);
        assert_eq!(access["organisation"]["M"]["code"]["S"], organisation, "the trail knows");
        let id: Uuid = access["id"]["S"].as_str().and_then(|id| id.parse().ok()).expect("an id");
        // The authority is told, by the access's id: the trace could name the clinic's machine.
        let told = council.told(id).await;
        let stored = stack.traced("MailboxTable", id).await;
        let (_, history) = stack.look_up("AuditEvent", &child, &stack.nurse(&["B0107"]), 1).await;
        let user = access["requester"]["M"]["person"]["M"]["user"]["S"].as_str().expect("a user").to_owned();
        let shown = [told.to_string(), json!(stored).to_string(), String::from_utf8_lossy(&history.body).into_owned()];
        for text in [
            organisation,
            "Sample Place",
            VIEWER,
            "R8001",
            "Nurse Access Role",
            &user,
            &trace.to_string(),
            "sexual",
            "pregnancy",
        ] {
            for bytes in &shown {
                assert!(!bytes.contains(text), "{text} in {bytes}");
            }
        }
        assert!(shown.iter().all(|bytes| bytes.contains("Health care service, details withheld")), "{shown:?}");
    }
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn a_control_room_names_who_answers_and_whom_to_ring() {
    let stack = Stack::open();
    let council = stack.council("E06000033");
    let child = Child::new(113);
    council.hold(&child, "CPP").await;
    let device =
        ["token", "device", "--asid", "200000000999", "--org-code", "ZX002", "--org-name", "Sample Ambulance Control"];
    let device = [&device[..], &["--activity", "B0107"]].concat();
    let lead =
        ["--responsible", VIEWER, "--location", "Sample Street", "--lead-name", VIEWER, "--lead-phone", "01632 960555"];
    let token = stack.done(&[&device[..], &lead].concat()).stdout;
    let (trace, answer) = ask(&stack, &child, &token, &[]).await;
    answer.expect(200);
    let told = council.told(trace).await;
    let viewer = json!({"name": VIEWER, "safeguardingLead": {"name": VIEWER, "phone": "01632 960555"}});
    assert_eq!(told["viewer"], viewer);
    assert!(!told.to_string().contains("Sample Street"), "{told}");
    let nobody = stack.done(&[&device[..], &["--responsible", " "]].concat()).stdout;
    refused(&stack, &child, &nobody, &[], "no-responsible-person", "who answers for it").await;
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn a_change_of_the_directory_acts_within_a_minute() {
    let stack = Stack::open();
    let child = Child::new(114);
    // Six characters: of no other setting.
    let code = format!("ZX{}", &Uuid::new_v4().simple().to_string().to_uppercase()[..6]);
    let token = stack.staff(&code, "R8001", &["B0107"]);
    let status = || async { ask(&stack, &child, &token, &[]).await.1.status };
    assert_eq!(status().await, 403, "not in the directory");
    let set = ["directory", "set", "setting", &code];
    let new =
        ["--name", "Sample Unit", "--care", "minor-injury-unit", "--region", "London", "--authority", "E09000001"];
    let _ = stack.done(&[&set[..], &new, &["--from", "2026-01-01"]].concat());
    let becomes = |wanted: u16| async move { (status().await == wanted).then_some(()) };
    eventually("the new setting may look up", ACTS, || becomes(200)).await;
    let _ = stack.done(&[&set[..], &["--until", "2026-06-30"]].concat());
    eventually("the former one may not", ACTS, || becomes(403)).await;
    let _ = stack.done(&[&set[..], &["--until", "none"]].concat());
    eventually("and once more it may", ACTS, || becomes(200)).await;
    let _ = stack.done(&["directory", "close", "setting", &code]);
    eventually("closed it may not", ACTS, || becomes(403)).await;
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn who_is_unknown_who_has_no_visible_plan_and_whose_plan_is_withdrawn_are_answered_alike() {
    let stack = Stack::open();
    let council = stack.council("E06000034");
    let (unknown, ended, withdrawn) = (Child::new(115), Child::new(116), Child::new(117));
    for (child, date) in [(&ended, "end_date"), (&withdrawn, "delete_date")] {
        council.hold(child, "CPP").await;
        let mut record = child.record("CPP");
        // Ended longer ago than it is shown, or taken back.
        record["start_date"] = "2020-01-01".into();
        record[date] = (if date == "end_date" { "2021-01-01" } else { "2026-06-30" }).into();
        let answer = council.push(council.next(), &record).await;
        assert_eq!(answer["loaded"], 1, "{answer}");
    }
    let nurse = stack.nurse(&["B0107"]);
    for resource in ["CareTeam", "Flag", "AuditEvent"] {
        let mut answers = Vec::new();
        for child in [&unknown, &ended, &withdrawn] {
            let (trace, answer) = stack.look_up(resource, child, &nurse, 0).await;
            answers.push(comparable(&answer, child, trace));
        }
        assert_eq!(answers[0], answers[1], "{resource}: a plan that is no longer shown");
        assert_eq!(answers[0], answers[2], "{resource}: a withdrawn plan");
    }
}

/// Status, headers and body, but for what tells one answer from another: ids, times (and so the length) and the number.
fn comparable(answer: &Answer, child: &Child, trace: Uuid) -> (u16, Vec<String>, String) {
    let mut headers: Vec<_> =
        answer.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap_or_default())).collect();
    headers.retain(|line| !["date:", "x-amzn", "x-amz-", "content-length:"].iter().any(|own| line.starts_with(own)));
    headers.iter_mut().for_each(|line| *line = line.replace(&trace.to_string(), "TRACE"));
    headers.sort();
    let mut bundle = answer.json();
    bundle["timestamp"] = Value::Null;
    for entry in bundle["entry"].as_array_mut().into_iter().flatten() {
        let id = entry["resource"]["id"].as_str().unwrap_or_default().to_owned();
        let text = entry.to_string().replace(&id, "ID");
        *entry = serde_json::from_str(&text).expect("JSON");
    }
    (answer.status, headers, bundle.to_string().replace(&child.number(), "NUMBER"))
}
