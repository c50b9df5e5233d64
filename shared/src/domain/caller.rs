//! Who is calling, as their token says, and what their activities allow.

use serde::{Deserialize, Serialize};

use super::authority::AuthorityCode;

/// Who holds the token, as the authorizer passes it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Caller {
    /// Somebody, or a device in somebody's care, in a health care organisation.
    Health(HealthCaller),
    /// A local authority's system.
    Authority(AuthorityCaller),
}

/// A local authority's system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorityCaller {
    /// The authority: the tenant of everything the token may reach (R29).
    pub authority: AuthorityCode,
}

/// Somebody, or a device, in a health care organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCaller {
    /// The person or device.
    #[serde(flatten)]
    pub requester: Requester,
    /// The organisation it acts for.
    pub organisation: Organisation,
    /// RBAC activity codes, such as `B0107`.
    pub activities: Vec<String>,
}

/// The person or device that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Requester {
    /// Somebody who signed in.
    Person(Person),
    /// A system, such as an ambulance control's, with the person who answers for it.
    Device(Device),
}

/// Somebody who signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Person {
    /// SDS user id.
    pub user: String,
    /// SDS role profile id.
    pub role_profile: String,
    /// Name to show.
    pub name: String,
    /// Job role.
    pub job_role: JobRole,
}

/// A system that asks by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// Accredited system id.
    pub asid: String,
    /// Name of the person who answers for what the device asks (R42).
    pub responsible: String,
    /// Where the patient is, as the device knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// Who leads safeguarding there (R42).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safeguarding_lead: Option<SafeguardingLead>,
}

/// Who leads safeguarding where the patient is: whom a social worker can ring about the child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SafeguardingLead {
    /// Name.
    pub name: String,
    /// Telephone number.
    pub phone: String,
}

/// An SDS job role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRole {
    /// Such as `R0260`.
    pub code: String,
    /// Such as `General Medical Practitioner`.
    pub display: String,
}

/// A health care organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organisation {
    /// ODS code.
    pub code: String,
    /// Name to show.
    pub name: String,
}

impl HealthCaller {
    /// Whether the caller holds an activity that allows look-ups of either kind (R30).
    #[must_use]
    pub fn may_view(&self) -> bool {
        self.activities.iter().any(|activity| activity == "B0107" || activity == "B0170")
    }
}

impl Requester {
    /// Who this is, the same each time: for the 24-hour rule (R23) and for a request's identity (R22).
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Person(p) => format!("person:{}", p.user),
            Self::Device(d) => format!("device:{}:{}", d.asid, d.responsible),
        }
    }

    /// The SDS user id of the person, or the ASID of the device: no name.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Person(p) => &p.user,
            Self::Device(d) => &d.asid,
        }
    }

    /// The name of the person, or of the person who answers for the device.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Person(p) => &p.name,
            Self::Device(d) => &d.responsible,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nurse(activities: &[&str]) -> HealthCaller {
        HealthCaller {
            requester: Requester::Person(Person {
                user: "555000000001".into(),
                role_profile: "555000000002".into(),
                name: "Alex Example".into(),
                job_role: JobRole { code: "R0670".into(), display: "Midwife - Sister/Charge Nurse".into() },
            }),
            organisation: Organisation { code: "ZX001".into(), name: "Sample Hospital".into() },
            activities: activities.iter().map(|a| (*a).to_owned()).collect(),
        }
    }

    #[test]
    fn callers_keep_their_shape_in_tokens() {
        let person = serde_json::json!({
            "person": {"user": "555000000001", "roleProfile": "555000000002", "name": "Alex Example",
                "jobRole": {"code": "R0670", "display": "Midwife - Sister/Charge Nurse"}},
            "organisation": {"code": "ZX001", "name": "Sample Hospital"}, "activities": ["B0107"]
        });
        let device = serde_json::json!({
            "device": {"asid": "200000000001", "responsible": "Sam Sample"},
            "organisation": {"code": "ZX002", "name": "Sample Ambulance Control"}, "activities": ["B0107"]
        });
        let control = serde_json::json!({
            "device": {"asid": "200000000001", "responsible": "Sam Sample", "location": "Sample Street",
                "safeguardingLead": {"name": "Lee Lead", "phone": "01632 960001"}},
            "organisation": {"code": "ZX002", "name": "Sample Ambulance Control"}, "activities": ["B0107"]
        });
        let authority = serde_json::json!({"authority": "E06000001"});
        for token in [person.clone(), device, control, authority] {
            let caller: Caller = serde_json::from_value(token.clone()).expect("a caller");
            assert_eq!(serde_json::to_value(caller).expect("JSON"), token);
        }
        assert_eq!(serde_json::from_value::<Caller>(person).expect("a caller"), Caller::Health(nurse(&["B0107"])));
        for wrong in [serde_json::json!({}), serde_json::json!({"authority": "W06000001"})] {
            assert!(serde_json::from_value::<Caller>(wrong).is_err());
        }
    }
}
