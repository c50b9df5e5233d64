//! CareTeam: a plan, its authority and the authority's telephone numbers (England-CareTeam-Flag).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Searched, authority, category, period, plan_sentences};
use crate::domain::{
    contact::{Contact, Line, date_in_england},
    plan::{Plan, PlanType},
};

const PROFILE: &str = "https://fhir.nhs.uk/England/StructureDefinition/England-CareTeam-Flag";

/// The answer to a search for plans, given those that may be shown.
#[must_use]
pub fn care_team_bundle(searched: &Searched<'_>, plans: &[Plan]) -> Vec<u8> {
    let matches = plans.iter().map(|plan| care_team(searched, plan)).collect();
    searched.bundle(plans.len(), matches, Vec::new(), &plan_sentences(plans, searched.now))
}

pub(super) fn care_team(searched: &Searched<'_>, plan: &Plan) -> Value {
    let mut resource = json!({
        "resourceType": "CareTeam",
        "id": searched.id("CareTeam", &plan.id().key()),
        "meta": {"lastUpdated": plan.updated, "profile": [PROFILE]},
        "status": if plan.active_on(date_in_england(searched.now)) { "active" } else { "inactive" },
        "category": [category(plan.plan_type)],
        "name": plan.authority_name,
        "subject": searched.subject(),
        "period": period(plan.start, plan.end),
        "managingOrganization": [authority(&plan.authority, &plan.authority_name)],
        "telecom": telecom(&plan.contact, searched.now),
    });
    if plan.plan_type == PlanType::Unborn {
        resource["note"] = json!([{"text": "The NHS number is the mother's: the plan protects her unborn child."}]);
    }
    resource
}

/// Both lines, as the published design has them: `work` is the office, `mobile` the emergency duty team.
/// Rank 1 is the one that is answered now (R10).
fn telecom(contact: &Contact, now: Timestamp) -> Vec<Value> {
    let line_now = contact.line_now(now);
    let point = |phone: &str, r#use, line| {
        let rank = if line == line_now { 1 } else { 2 };
        json!({"system": "phone", "value": phone, "use": r#use, "rank": rank})
    };
    let office = contact.office_hours_phone.iter().map(|phone| point(phone, "work", Line::OfficeHours));
    office.chain([point(&contact.emergency_duty_team_phone, "mobile", Line::EmergencyDutyTeam)]).collect()
}

/// R10, as a clinician reads it.
pub(super) fn whom_to_ring(plan: &Plan, now: Timestamp) -> String {
    let Contact { emergency_duty_team_phone: team, office_hours_phone } = &plan.contact;
    let name = &plan.authority_name;
    match (plan.contact.line_now(now), office_hours_phone) {
        (Line::OfficeHours, Some(office)) => format!(
            "Ring {office} now: children's social care of {name} (the office is open until 17:00). \
             When it is closed ring {team}: its emergency duty team."
        ),
        (_, Some(office)) => format!(
            "Ring {team} now: emergency duty team of {name} (the office is closed). \
             On working days from 9:00 to 17:00 ring {office}: its office."
        ),
        (_, None) => format!("Ring {team} now: emergency duty team of {name} (the number at all times)."),
    }
}
