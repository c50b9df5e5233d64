//! Flag: that a plan is held, with its CarePlan and CareTeam included (England-Flag-PatientFlag).

use serde_json::{Value, json};

use super::{PARTICIPATION, Searched, authority, care_team::care_team, category, concept, period, plan_sentences, urn};
use crate::domain::{contact::date_in_england, plan::Plan};

const FLAG_PROFILE: &str = "https://fhir.nhs.uk/England/StructureDefinition/England-Flag-PatientFlag";
const CARE_PLAN_PROFILE: &str = "https://fhir.nhs.uk/England/StructureDefinition/England-CarePlan-Flag";
const PROVENANCE_PROFILE: &str = "https://fhir.nhs.uk/England/StructureDefinition/England-Provenance-Flag";
const FLAG_CODES: &str = "https://fhir.nhs.uk/England/CodeSystem/England-FlagCategoryPatient";

/// The answer to a search for flags, given the plans that may be shown: a Flag for each.
#[must_use]
pub fn flag_bundle(searched: &Searched<'_>, plans: &[Plan]) -> Vec<u8> {
    let flags = plans.iter().map(|plan| flag(searched, plan)).collect();
    let details = plans.iter().flat_map(|plan| [care_plan(searched, plan), care_team(searched, plan)]).collect();
    searched.bundle(plans.len(), flags, details, &plan_sentences(plans, searched.now))
}

fn flag(searched: &Searched<'_>, plan: &Plan) -> Value {
    let key = plan.id().key();
    json!({
        "resourceType": "Flag",
        "id": searched.id("Flag", &key),
        "meta": {"lastUpdated": plan.updated, "profile": [FLAG_PROFILE]},
        "contained": [provenance(plan)],
        "extension": [{
            "url": "http://hl7.org/fhir/StructureDefinition/flag-detail",
            "valueReference": {"reference": urn(&searched.id("CarePlan", &key))},
        }],
        "status": if plan.active_on(date_in_england(searched.now)) { "active" } else { "inactive" },
        "code": concept(
            FLAG_CODES,
            "child-protection-information-system-flag",
            "Child Protection Information System Flag",
        ),
        "subject": searched.subject(),
        "period": period(plan.start, plan.end),
    })
}

/// Says where the flag comes from. `#` is the resource that contains it (FHIR R4, references to contained resources).
fn provenance(plan: &Plan) -> Value {
    json!({
        "resourceType": "Provenance",
        "id": "provenance",
        "meta": {"profile": [PROVENANCE_PROFILE]},
        "target": [{"reference": "#"}],
        "recorded": plan.updated,
        "activity": concept("http://terminology.hl7.org/CodeSystem/v3-DataOperation", "CREATE", "create"),
        "agent": [{
            "role": [concept(PARTICIPATION, "AUT", "author (originator)")],
            "who": authority(&plan.authority, &plan.authority_name),
        }],
    })
}

fn care_plan(searched: &Searched<'_>, plan: &Plan) -> Value {
    let key = plan.id().key();
    json!({
        "resourceType": "CarePlan",
        "id": searched.id("CarePlan", &key),
        "meta": {"lastUpdated": plan.updated, "profile": [CARE_PLAN_PROFILE]},
        "status": if plan.active_on(date_in_england(searched.now)) { "active" } else { "completed" },
        "intent": "plan",
        "category": [category(plan.plan_type)],
        "subject": searched.subject(),
        "period": period(plan.start, plan.end),
        "careTeam": [{"reference": urn(&searched.id("CareTeam", &key))}],
    })
}
