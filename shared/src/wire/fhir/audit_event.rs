//! AuditEvent: who looked the child up, with the PractitionerRole and Device that did included (UKCore-AuditEvent).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{ON_CONCERN, PARTICIPATION, Searched, concept, organisation, resource_id, urn};
use crate::domain::{
    access::Access,
    caller::{Device, Organisation, Person, Requester},
};

const AUDIT_EVENT_PROFILE: &str = "https://fhir.hl7.org.uk/StructureDefinition/UKCore-AuditEvent";
const PRACTITIONER_ROLE_PROFILE: &str = "https://fhir.hl7.org.uk/StructureDefinition/UKCore-PractitionerRole";
const JOB_ROLES: &str = "https://fhir.hl7.org.uk/CodeSystem/UKCore-SDSJobRoleName";
const NO_ACCESS: &str = "Nobody in unscheduled care is recorded as having seen a plan under this NHS number. \
    This does NOT mean that the child is safe.";

/// The answer to a search for accesses, given those to list (R23), newest first.
#[must_use]
pub fn audit_event_bundle(searched: &Searched<'_>, accesses: &[Access]) -> Vec<u8> {
    let mut included = BTreeMap::new();
    for access in accesses {
        for resource in actors(&access.requester, &access.organisation) {
            included.insert(resource["id"].to_string(), resource);
        }
    }
    let matches = accesses.iter().map(|access| audit_event(searched, access)).collect();
    let sentences = if accesses.is_empty() { vec![NO_ACCESS.to_owned(), ON_CONCERN.to_owned()] } else { Vec::new() };
    searched.bundle(matches, included.into_values().collect(), &sentences)
}

fn audit_event(searched: &Searched<'_>, access: &Access) -> Value {
    let agents: Vec<_> = actors(&access.requester, &access.organisation)
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
        .collect();
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

/// The resources that stand for who asked: a person's role, or a device and the role of whoever answers for it.
fn actors(requester: &Requester, organisation: &Organisation) -> Vec<Value> {
    match requester {
        Requester::Person(person) => vec![person_role(person, organisation)],
        Requester::Device(device) => vec![system(device, organisation), responsible_role(device, organisation)],
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
