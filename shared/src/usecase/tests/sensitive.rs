//! Sensitive care: that nothing of who looked or where leaves, proved on the bytes of every path that shows an access.

use super::*;
use crate::{
    domain::{
        caller::{JobRole, Person, SafeguardingLead},
        notification::{GENERIC_PERSON, GENERIC_PLACE},
        pilot::{CLINICAL_ROLES, PilotPart},
    },
    ports::AccessHistory,
    wire::fhir::{Searched, audit_event_bundle},
};

/// A look-up in sensitive care, and every text of the caller's and the organisation's that must not be seen.
#[derive(Debug)]
struct Secret {
    asked: Asked,
    trace: Uuid,
    texts: Vec<String>,
}

const KINDS: [CareKind; 3] =
    [CareKind::SexualHealth, CareKind::SexualAssaultReferral, CareKind::TerminationOfPregnancy];

/// Texts that cannot stand in an answer by chance.
fn text() -> impl Strategy<Value = String> {
    "[A-Za-zÀ-ž'\"\\\\<>& ]{3,12}Q[0-9]{5}[A-Z ]{1,6}"
}

fn ods() -> impl Strategy<Value = String> {
    "ZX[A-Z0-9]{5}"
}

prop_compose! {
    fn secret_look_up()(
        kind in proptest::sample::select(&KINDS[..]),
        (role, role_display) in proptest::sample::select(&CLINICAL_ROLES[..]),
        [user, profile] in ["[0-9]{12}", "[0-9]{12}"],
        [name, place, pilot] in [text(), text(), text()],
        code in ods(),
        [request, trace] in [any::<u128>(), any::<u128>()],
        header in proptest::option::of(Just(true)),
    ) -> Secret {
        let mut standing = standing(&[kind]);
        if let Some(setting) = &mut standing.setting {
            setting.code.clone_from(&code);
            setting.name.clone_from(&place);
        }
        standing.pilots.push(PilotPart {
            code: pilot.clone(),
            care: vec![kind],
            job_roles: vec![role.to_owned()],
            from: jiff::civil::date(2026, 1, 1),
            until: jiff::civil::date(2026, 12, 31),
        });
        let display = format!("{role_display} Q00001");
        let person = Person {
            user: user.clone(),
            role_profile: profile.clone(),
            name: name.clone(),
            job_role: JobRole { code: role.to_owned(), display: display.clone() },
        };
        let trace = Uuid::from_u128(trace);
        let texts = vec![
            user, profile, name, place.clone(), pilot, code.clone(), role.to_owned(), display, kind.code().to_owned(),
            trace.to_string(), Uuid::from_u128(request).to_string(),
        ];
        let asked = Asked {
            caller: HealthCaller {
                requester: Requester::Person(person),
                organisation: Organisation { code, name: place },
                activities: vec!["B0107".into()],
            },
            standing,
            is_unscheduled: header,
            consent: true,
            request_id: Uuid::from_u128(request),
            ..Asked::of(0)
        };
        Secret { asked, trace, texts }
    }
}

/// The texts that stand in these bytes, as they are or as JSON writes them.
fn found<'a>(texts: &'a [String], bytes: &[u8]) -> Vec<&'a String> {
    let bytes = String::from_utf8_lossy(bytes);
    let within = |text: &&String| {
        let escaped = serde_json::to_string(text).unwrap_or_default();
        bytes.contains(text.as_str()) || bytes.contains(escaped.trim_matches('"'))
    };
    texts.iter().filter(within).collect()
}

/// Everything that a look-up of the child makes anybody see: messages, mailboxes, and the history that another reads.
fn shown(register: &Register, secrets: &[Secret]) -> Vec<Vec<u8>> {
    let queue = Queue::default();
    for secret in secrets {
        let ask = LookUp { trace_id: secret.trace, ..secret.asked.ask() };
        for interaction in [Interaction::CareTeam, Interaction::Flag] {
            run(look_up::plans(register, &super::Tallies::default(), &super::secret(), &clock(), &ask, interaction))
                .expect("an answer");
        }
        run(look_up::history(register, &super::Tallies::default(), &super::secret(), &clock(), &ask))
            .expect("an answer");
    }
    let mut bytes = Vec::new();
    let everything: Vec<_> = owed(register).iter().map(owing).collect();
    run(relay(register, &queue, &clock(), &everything)).1.expect("settled");
    for sent in queue.told() {
        let Sent::Notification(asn) = sent else { panic!("{sent:?}") };
        let body = serde_json::to_string(&asn).expect("JSON");
        let message =
            Message { receipt: "r", body: &body, attempts: 1, sent_at: None, trace: None, attributes: vec![] };
        assert_eq!(run(handle(register, register, &queue, &queue, &clock(), &message, 60)), Outcome::Delivered);
        bytes.push(body.into_bytes());
    }
    let all = PageRequest { limit: 1_000, after: None };
    let mailbox = run(register.notifications(&code(HARTLEPOOL), None, &all)).expect("a page").items;
    let mailbox: Vec<_> = mailbox.into_iter().map(|held| held.expect("readable")).collect();
    assert_eq!(mailbox.len(), secrets.len() * 3);
    bytes.push(serde_json::to_vec(&mailbox).expect("JSON"));
    bytes.push(history_bytes(register));
    bytes
}

/// The history of the first child, as an emergency department is shown it.
fn history_bytes(register: &Register) -> Vec<u8> {
    let other = Asked { request_id: Uuid::max(), ..Asked::of(0) };
    let seen = run(look_up::history(register, &super::Tallies::default(), &super::secret(), &clock(), &other.ask()))
        .expect("an answer");
    let number = number(0);
    let searched = Searched {
        number: &number,
        child: &seen.access.child,
        now: Timestamp::UNIX_EPOCH,
        self_link: "/cpis/FHIR/R4/AuditEvent",
    };
    audit_event_bundle(&searched, &seen.shown, seen.total)
}

fn held_by_hartlepool() -> Register {
    let register = register();
    upload(&register, HARTLEPOOL, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
    register
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn r41_nothing_of_caller_or_organisation_is_in_what_others_see(
        secrets in proptest::collection::vec(secret_look_up(), 1..4),
    ) {
        let register = held_by_hartlepool();
        for bytes in shown(&register, &secrets) {
            for secret in &secrets {
                let leaks = found(&secret.texts, &bytes);
                prop_assert!(leaks.is_empty(), "{leaks:?} in {}", String::from_utf8_lossy(&bytes));
            }
            let text = String::from_utf8_lossy(&bytes);
            prop_assert!(text.contains(GENERIC_PLACE), "{text}");
        }
        // What is not shown is kept: the trail names who it was.
        let all = PageRequest { limit: 1_000, after: None };
        let trail = run(register.accesses_of(&secret().key_of(&number(0)), &all)).expect("a page").items;
        let trail = serde_json::to_vec(&trail).expect("JSON");
        for secret in &secrets {
            prop_assert!(found(&secret.texts[..1], &trail).len() == 1, "the audit trail needs the person");
        }
    }

    #[test]
    fn r41_the_same_search_finds_the_caller_where_care_is_not_sensitive(secret in secret_look_up()) {
        let register = held_by_hartlepool();
        let open = Asked { standing: standing(&[CareKind::EmergencyDepartment]), ..secret.asked };
        let secret = Secret { asked: open, ..secret };
        for bytes in shown(&register, &[secret]).iter().take(1) {
            let text = String::from_utf8_lossy(bytes);
            prop_assert!(!text.contains(GENERIC_PERSON) && !text.contains(GENERIC_PLACE), "{text}");
        }
    }
}

#[test]
fn r40_r43_without_consent_nothing_is_seen_and_the_attempt_is_told_to_nobody() {
    let register = held_by_hartlepool();
    let part = PilotPart {
        code: "P".into(),
        care: KINDS.to_vec(),
        job_roles: vec!["R8001".into()],
        from: jiff::civil::date(2026, 1, 1),
        until: jiff::civil::date(2026, 12, 31),
    };
    for kind in KINDS {
        let standing = HealthStanding { pilots: vec![part.clone()], ..standing(&[kind]) };
        let requester = Requester::Person(Person {
            user: "555000000009".into(),
            role_profile: "555000000008".into(),
            name: "Alex Example".into(),
            job_role: JobRole { code: "R8001".into(), display: "Nurse Access Role".into() },
        });
        let caller = HealthCaller { requester, ..caller(&["B0107"]) };
        let asked = Asked { caller, standing, ..Asked::of(0) };
        let refused = asked.plans(&register);
        assert!(matches!(refused, Err(LookUpError::Refused { why: Refusal::NoConsent, .. })), "{refused:?}");
    }
    assert_eq!(owed(&register), []);
    let all = PageRequest { limit: 9, after: None };
    let trail = run(register.accesses_of(&secret().key_of(&number(0)), &all)).expect("a page").items;
    assert!(trail.iter().all(|access| access.presentation == Presentation::Generic), "an attempt is no less private");
}

#[test]
fn r41_a_device_in_such_care_keeps_its_safeguarding_lead_to_itself() {
    // Devices are in no pilot, so that no policy lets this happen; what shows accesses must not depend on that.
    let lead = SafeguardingLead { name: "Lee Lead".into(), phone: "01632 960001".into() };
    let device = Device {
        asid: "200000000777".into(),
        responsible: "Sam Sample".into(),
        location: Some("Sample Street".into()),
        safeguarding_lead: Some(lead),
    };
    let register = held_by_hartlepool();
    let mut access = Asked::of(0).plans(&register).expect("an answer").access;
    access.requester = Requester::Device(device);
    access.presentation = Presentation::Generic;
    let json = serde_json::to_string(&access.notifications()).expect("JSON");
    for text in ["Lee Lead", "01632 960001", "200000000777", "Sam Sample", "Sample Street", "ZX001"] {
        assert!(!json.contains(text), "{text} in {json}");
    }
}
