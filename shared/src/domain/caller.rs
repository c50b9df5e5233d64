//! Who is calling, as their token says, and what their activities allow.

use serde::{Deserialize, Serialize};

use super::authority::AuthorityCode;

/// RBAC activity: view a record during unscheduled care; raises a notification (R30).
pub const VIEW_UNSCHEDULED: &str = "B0107";
/// RBAC activity: view a record during scheduled care; silent (R30).
pub const VIEW_SCHEDULED: &str = "B0170";

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Accredited system id.
    pub asid: String,
    /// Name of the person who answers for what the device asks.
    pub responsible: String,
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

/// Why a caller may not look a child up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ViewRefusal {
    /// Neither viewing activity is held.
    #[error("the role holds neither B0107 (view, unscheduled care) nor B0170 (view, scheduled care)")]
    NoActivity,
    /// A silent read was asked for without the activity for it.
    #[error(
        "IsUnscheduledAccessEvent false asks for a silent read, which needs activity B0170; leave the header out, \
         or send true, to look the child up with a notification"
    )]
    NotSilent,
}

impl HealthCaller {
    /// Whether a look-up raises notifications, from the caller's activities and the header
    /// `IsUnscheduledAccessEvent` (R19, R30). Whatever is left unsaid fails towards notifying.
    ///
    /// # Errors
    /// [`ViewRefusal`] where the activities do not allow the look-up.
    pub fn raises_notification(&self, is_unscheduled: Option<bool>) -> Result<bool, ViewRefusal> {
        let holds = |activity| self.activities.iter().any(|a| a == activity);
        match (holds(VIEW_UNSCHEDULED), holds(VIEW_SCHEDULED), is_unscheduled.unwrap_or(true)) {
            (false, false, _) => Err(ViewRefusal::NoActivity),
            (true, false, false) => Err(ViewRefusal::NotSilent),
            (_, true, false) => Ok(false),
            (_, _, true) => Ok(true),
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
    fn r19_r30_who_raises_a_notification() {
        for (activities, header, expected) in [
            (&["B0107"][..], None, Ok(true)),
            (&["B0107"], Some(true), Ok(true)),
            (&["B0107"], Some(false), Err(ViewRefusal::NotSilent)),
            (&["B0170"], Some(false), Ok(false)),
            (&["B0170"], None, Ok(true)),
            (&["B0170"], Some(true), Ok(true)),
            (&["B0107", "B0170"], Some(false), Ok(false)),
            (&["B0107", "B0170"], None, Ok(true)),
            (&["R5105"], None, Err(ViewRefusal::NoActivity)),
            (&[], Some(false), Err(ViewRefusal::NoActivity)),
        ] {
            assert_eq!(nurse(activities).raises_notification(header), expected, "{activities:?} {header:?}");
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
        let authority = serde_json::json!({"authority": "E06000001"});
        for token in [person.clone(), device, authority] {
            let caller: Caller = serde_json::from_value(token.clone()).expect("a caller");
            assert_eq!(serde_json::to_value(caller).expect("JSON"), token);
        }
        assert_eq!(serde_json::from_value::<Caller>(person).expect("a caller"), Caller::Health(nurse(&["B0107"])));
        for wrong in [serde_json::json!({}), serde_json::json!({"authority": "W06000001"})] {
            assert!(serde_json::from_value::<Caller>(wrong).is_err());
        }
    }
}
