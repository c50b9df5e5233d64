//! FHIR R4 answers of the look-ups, as compact JSON: the published CP-IS and Patient Flag designs, UK Core profiles.
//!
//! Nothing but `identifier` elements holds the NHS number. Ids are UUIDs made from [`ChildKey`]s and codes, the same each
//! time, and references resolve inside the Bundle.

mod audit_event;
mod capability;
mod care_team;
mod flag;
mod outcome;
#[cfg(test)]
mod tests;

use jiff::{Timestamp, civil::Date};
use serde_json::{Value, json};
use uuid::Uuid;

pub use self::{
    audit_event::audit_event_bundle,
    capability::capability_statement,
    care_team::care_team_bundle,
    flag::flag_bundle,
    outcome::{Kind, Outcome, SPINE_CODES, operation_outcome},
};
use super::search::NHS_NUMBER_SYSTEM;
use crate::domain::{
    authority::AuthorityCode,
    caller::Organisation,
    nhs_number::{ChildKey, NhsNumber},
    plan::{Plan, PlanType},
};

/// Media type of every answer.
pub const MEDIA_TYPE: &str = "application/fhir+json";

/// Identifier system of local authorities: the Office for National Statistics' URI of GSS codes.
const AUTHORITY_SYSTEM: &str = "http://statistics.data.gov.uk/id/statistical-geography";
const PARTICIPATION: &str = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType";

/// Name space of the ids of resources (UUID version 5, RFC 9562 section 5.5).
const RESOURCE_IDS: Uuid = Uuid::from_u128(0x2b1f_96d4_70ce_4a59_8f0d_5d0c_6b7a_31e2);

/// What was searched, and when: what every answer needs beside what was found.
#[derive(Debug, Clone, Copy)]
pub struct Searched<'a> {
    /// The child's number; for an unborn plan the mother's.
    pub number: &'a NhsNumber,
    /// The key that stands for the child in ids.
    pub child: &'a ChildKey,
    /// When.
    pub now: Timestamp,
    /// URL of the search, without the number.
    pub self_link: &'a str,
}

impl Searched<'_> {
    fn subject(&self) -> Value {
        json!({"identifier": {"system": NHS_NUMBER_SYSTEM, "value": self.number.digits()}})
    }

    /// The id of a resource about this child.
    fn id(&self, resource_type: &str, key: &str) -> String {
        resource_id(&[self.child.as_str(), resource_type, key])
    }

    /// The Bundle of what was found, with resources included and sentences for whoever reads it. `total` counts what matches,
    /// also what is not among the entries.
    fn bundle(&self, total: usize, matches: Vec<Value>, included: Vec<Value>, sentences: &[String]) -> Vec<u8> {
        let mut entries: Vec<_> = matches.into_iter().map(|r| entry(r, "match")).collect();
        entries.extend(included.into_iter().map(|r| entry(r, "include")));
        if !sentences.is_empty() {
            let id = self.id("OperationOutcome", &sentences.join("\n"));
            entries.push(entry(outcome::advice(&id, sentences), "outcome"));
        }
        let bundle = json!({
            "resourceType": "Bundle",
            "type": "searchset",
            "timestamp": self.now,
            "total": total,
            "link": [{"relation": "self", "url": self.self_link}],
            "entry": entries,
        });
        bundle.to_string().into_bytes()
    }
}

fn entry(resource: Value, mode: &str) -> Value {
    let full_url = urn(resource["id"].as_str().unwrap_or_default());
    json!({"fullUrl": full_url, "resource": resource, "search": {"mode": mode}})
}

fn urn(id: &str) -> String {
    format!("urn:uuid:{id}")
}

/// The same parts always give the same id; other parts give another, however they are cut.
fn resource_id(parts: &[&str]) -> String {
    let name: String = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
    Uuid::new_v5(&RESOURCE_IDS, name.as_bytes()).to_string()
}

fn concept(system: &str, code: &str, display: &str) -> Value {
    json!({"coding": [{"system": system, "code": code, "display": display}]})
}

fn category(plan_type: PlanType) -> Value {
    let (code, term) = plan_type.snomed();
    concept("http://snomed.info/sct", code, term)
}

fn period(start: Date, end: Option<Date>) -> Value {
    match end {
        Some(end) => json!({"start": start, "end": end}),
        None => json!({"start": start}),
    }
}

fn authority(code: &AuthorityCode, name: &str) -> Value {
    json!({"identifier": {"system": AUTHORITY_SYSTEM, "value": code}, "display": name})
}

fn organisation(organisation: &Organisation) -> Value {
    json!({
        "identifier": {"system": "https://fhir.nhs.uk/Id/ods-organization-code", "value": organisation.code},
        "display": organisation.name,
    })
}

/// What to read beside plans: whom to ring now, and that no running plan does not mean no danger.
fn plan_sentences(plans: &[Plan], now: Timestamp) -> Vec<String> {
    if plans.is_empty() {
        return vec![NOTHING_HELD.to_owned(), ON_CONCERN.to_owned()];
    }
    let mut sentences = Vec::new();
    for plan in plans {
        let sentence = care_team::whom_to_ring(plan, now);
        if !sentences.contains(&sentence) {
            sentences.push(sentence);
        }
    }
    let today = crate::domain::contact::date_in_england(now);
    if !plans.iter().any(|plan| plan.active_on(today)) {
        sentences.extend([ALL_ENDED, ON_CONCERN].map(str::to_owned));
    }
    sentences
}

// R20: no answer without a running plan may read as all clear.
const NOTHING_HELD: &str = "No child protection plan or looked-after status is held for this NHS number. \
    This does NOT mean that the child is safe: most children at risk are not known to social care.";
const ALL_ENDED: &str = "Every plan shown has ended. This does NOT mean that the child is safe.";
const ON_CONCERN: &str = "If you are concerned, act on it: follow your safeguarding procedure and ring the children's \
    social care of the council where the child lives; in immediate danger ring 999.";
