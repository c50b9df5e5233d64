//! AuditEvent: who looked the child up, with the PractitionerRole and Device that did included (UKCore-AuditEvent).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ON_CONCERN, PARTICIPATION, Searched, concept, organisation, resource_id, urn};
use crate::domain::{
    access::Access,
    caller::{Device, Organisation, Person, Requester},
    notification::GENERIC_PLACE,
    policy::Presentation,
};

const AUDIT_EVENT_PROFILE: &str = "https://fhir.hl7.org.uk/StructureDefinition/UKCore-AuditEvent";
const PRACTITIONER_ROLE_PROFILE: &str = "https://fhir.hl7.org.uk/StructureDefinition/UKCore-PractitionerRole";
const JOB_ROLES: &str = "https://fhir.hl7.org.uk/CodeSystem/UKCore-SDSJobRoleName";
const NO_ACCESS: &str = "Nobody in unscheduled care is recorded as having seen a plan under this NHS number. \
    This does NOT mean that the child is safe.";

/// The answer to a search for accesses, given those to list (R23), newest first, and how many could be listed (R44).
#[must_use]
pub fn audit_event_bundle(searched: &Searched<'_>, accesses: &[Access], total: usize) -> Vec<u8> {
    let mut included = BTreeMap::new();
    for access in accesses {
        for resource in actors(access) {
            included.insert(resource["id"].to_string(), resource);
        }
    }
    let matches: Vec<_> = accesses.iter().map(|access| audit_event(searched, access)).collect();
    let sentences = match matches.len() {
        0 => vec![NO_ACCESS.to_owned(), ON_CONCERN.to_owned()],
        shown if shown < total => vec![format!("The {shown} most recent of {total} accesses are shown.")],
        _ => Vec::new(),
    };
    searched.bundle(total, matches, included.into_values().collect(), &sentences)
}

fn audit_event(searched: &Searched<'_>, access: &Access) -> Value {
    let agents = agents(access);
    json!({
        "resourceType": "AuditEvent",
        "id": access.id,
        "meta": {"profile": [AUDIT_EVENT_PROFILE]},
        "type": {
            "system": "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle",
            "code": "access",
            "display": "Access/View Record Lifecycle Event",
        },
        "action": "R",
        "recorded": access.at,
        "outcome": "0",
        "source": {"observer": agents[0]["who"]},
        "agent": agents,
        "entity": [{"what": searched.subject()}],
    })
}

/// Who asked, and who answers for it. R41: where the access is shown generically, the same label whoever it was.
fn agents(access: &Access) -> Vec<Value> {
    if access.presentation == Presentation::Generic {
        let role = concept(PARTICIPATION, "AUT", "author (originator)");
        return vec![json!({"role": [role], "who": {"display": GENERIC_PLACE}, "requestor": true})];
    }
    actors(access)
        .iter()
        .enumerate()
        .map(|(place, actor)| {
            // The first asks; whoever comes after it answers for what it asks.
            let role = match place {
                0 => concept(PARTICIPATION, "AUT", "author (originator)"),
                _ => concept(PARTICIPATION, "RESP", "responsible party"),
            };
            json!({"role": [role], "who": {"reference": urn(id_of(actor))}, "requestor": place == 0})
        })
        .collect()
}

/// The resources that stand for who asked: a person's role, or a device and the role of whoever answers for it. None where
/// the access is shown generically.
fn actors(access: &Access) -> Vec<Value> {
    let organisation = &access.organisation;
    match (&access.requester, access.presentation) {
        (_, Presentation::Generic) => Vec::new(),
        (Requester::Person(person), _) => vec![person_role(person, organisation)],
        (Requester::Device(device), _) => vec![system(device, organisation), responsible_role(device, organisation)],
    }
}

fn person_role(person: &Person, at: &Organisation) -> Value {
    let Person { user, role_profile, name, job_role } = person;
    // Names are part of the id: the same role held under another name is shown as it was at the time.
    let key = [user, role_profile, name, &job_role.code, &job_role.display, &at.code, &at.name];
    json!({
        "resourceType": "PractitionerRole",
        "id": resource_id(&[&["PractitionerRole"][..], &key.map(String::as_str)].concat()),
        "meta": {"profile": [PRACTITIONER_ROLE_PROFILE]},
        "identifier": [{"system": "https://fhir.nhs.uk/Id/sds-role-profile-id", "value": role_profile}],
        "practitioner": {
            "identifier": {"system": "https://fhir.nhs.uk/Id/sds-user-id", "value": user},
            "display": name,
        },
        "organization": organisation(at),
        "code": [concept(JOB_ROLES, &job_role.code, &job_role.display)],
    })
}

fn system(device: &Device, at: &Organisation) -> Value {
    json!({
        "resourceType": "Device",
        "id": resource_id(&["Device", &device.asid, &at.code, &at.name]),
        "identifier": [{"system": "https://fhir.nhs.uk/Id/nhsSpineASID", "value": device.asid}],
        "owner": organisation(at),
    })
}

fn responsible_role(device: &Device, at: &Organisation) -> Value {
    json!({
        "resourceType": "PractitionerRole",
        "id": resource_id(&["PractitionerRole", &device.asid, &device.responsible, &at.code, &at.name]),
        "meta": {"profile": [PRACTITIONER_ROLE_PROFILE]},
        "practitioner": {"display": device.responsible},
        "organization": organisation(at),
    })
}

fn id_of(resource: &Value) -> &str {
    resource["id"].as_str().unwrap_or_default()
}
