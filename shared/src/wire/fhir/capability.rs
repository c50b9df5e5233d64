//! CapabilityStatement: what `metadata` answers.

use serde_json::{Value, json};

use super::MEDIA_TYPE;
use crate::wire::search::INCLUDE;

/// Date of the last change to the statement; part of its meaning, so set by hand.
const DATE: &str = "2026-11-22";

/// The CapabilityStatement, as compact JSON.
#[must_use]
pub fn capability_statement() -> Vec<u8> {
    let statement = json!({
        "resourceType": "CapabilityStatement",
        "name": "ChildProtectionInformationSharing",
        "title": "Child Protection - Information Sharing",
        "status": "active",
        "experimental": false,
        "date": DATE,
        "publisher": "Child Protection - Information Sharing",
        "description": "Look up the child protection plans and looked-after status of a child, and who looked before.",
        "kind": "instance",
        "software": {"name": "cpis", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "Child Protection - Information Sharing"},
        "fhirVersion": "4.0.1",
        "format": [MEDIA_TYPE, "json"],
        "rest": [{
            "mode": "server",
            "documentation": "Every look-up is recorded. The header IsUnscheduledAccessEvent says whether the \
                authorities are told of it; without it they are. A repeated X-Request-ID is the same look-up.",
            "security": {
                "cors": false,
                "service": [super::concept("http://terminology.hl7.org/CodeSystem/restful-security-service", "OAuth", "OAuth")],
                "description": "Authorization: Bearer, a signed JSON Web Token with RBAC activity B0107 or B0170.",
            },
            "resource": [
                searchable("CareTeam", "https://fhir.nhs.uk/England/StructureDefinition/England-CareTeam-Flag", &[]),
                searchable("AuditEvent", "https://fhir.hl7.org.uk/StructureDefinition/UKCore-AuditEvent", &[INCLUDE]),
                searchable("Flag", "https://fhir.nhs.uk/England/StructureDefinition/England-Flag-PatientFlag", &[]),
            ],
        }],
    });
    statement.to_string().into_bytes()
}

fn searchable(resource_type: &str, profile: &str, includes: &[&str]) -> Value {
    let mut resource = json!({
        "type": resource_type,
        "supportedProfile": [profile],
        "interaction": [{"code": "search-type"}],
        "searchParam": [{
            "name": "patient",
            "type": "token",
            "documentation": "Mandatory, once, with modifier :identifier: https://fhir.nhs.uk/Id/nhs-number|<10 digits>.",
        }],
    });
    if !includes.is_empty() {
        resource["searchInclude"] = json!(includes);
    }
    resource
}
