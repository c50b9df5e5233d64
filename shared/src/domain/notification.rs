//! The access to service notification (ASN) that an authority receives.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    access::{Access, Owed},
    authority::AuthorityCode,
    caller::{JobRole, Requester, SafeguardingLead},
    nhs_number::NhsNumber,
    policy::Presentation,
    ways_out::Pushes,
};

/// An access to service notification. What it does not hold it must never hold: no reason, diagnosis or outcome (R25).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Business id, from the access and the authority (R26).
    pub id: Uuid,
    /// The access it tells of.
    pub access_id: Uuid,
    /// Whom it is for.
    pub authority: AuthorityCode,
    /// When the child's record was looked at.
    #[serde(serialize_with = "super::time::serialize")]
    pub at: Timestamp,
    /// The child's number; for an unborn plan the mother's.
    pub nhs_number: NhsNumber,
    /// The authority's own case ids of the plans seen.
    pub local_ids: Vec<String>,
    /// Who looked.
    pub viewer: Viewer,
    /// On whose behalf.
    pub organisation: Place,
    /// The look-up's `TraceID`; where the access is shown generically, its id again (R41).
    pub trace_id: Uuid,
}

/// What stands for the person where an access is shown generically (R41).
pub const GENERIC_PERSON: &str = "Name withheld";
/// What stands for the organisation there.
pub const GENERIC_PLACE: &str = "Health care service, details withheld";

/// The organisation, as far as the authority may know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// ODS code; none where the access is shown generically.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Name to show.
    pub name: String,
}

/// Who looked, as far as the authority may know it: a name and a job role, no ids (R25).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Viewer {
    /// The person's name, or that of the person who answers for the device.
    pub name: String,
    /// The person's job role; a device has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_role: Option<JobRole>,
    /// Who leads safeguarding where the patient is, and can be rung about the child (R42).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safeguarding_lead: Option<SafeguardingLead>,
}

/// What a notification tells of its access: in full, or under a generic label that is the same for all (R41).
fn told(access: &Access) -> (Viewer, Place, Uuid) {
    match access.presentation {
        Presentation::Full => {
            let job_role = match &access.requester {
                Requester::Person(person) => Some(person.job_role.clone()),
                Requester::Device(_) => None,
            };
            let name = access.requester.name().to_owned();
            let viewer = Viewer { name, job_role, safeguarding_lead: access.safeguarding().cloned() };
            let organisation = access.organisation.clone();
            (viewer, Place { code: Some(organisation.code), name: organisation.name }, access.trace_id)
        }
        Presentation::Generic => {
            let viewer = Viewer { name: GENERIC_PERSON.to_owned(), job_role: None, safeguarding_lead: None };
            // A caller's own id may name its machine (UUID version 1 does).
            (viewer, Place { code: None, name: GENERIC_PLACE.to_owned() }, access.id)
        }
    }
}

/// R26: the same access and authority always give the same id.
#[must_use]
pub fn notification_id(access: Uuid, authority: &AuthorityCode) -> Uuid {
    Uuid::new_v5(&access, authority.as_str().as_bytes())
}

impl Access {
    /// The notifications owed for this access: one for each authority (R24). None where nobody is owed,
    /// so that an empty notification cannot exist.
    #[must_use]
    pub fn notifications(&self) -> Vec<Notification> {
        let Some(nhs_number) = &self.nhs_number else { return Vec::new() };
        let (viewer, organisation, trace_id) = told(self);
        let notification = |owed: &Owed| Notification {
            id: notification_id(self.id, &owed.authority),
            access_id: self.id,
            authority: owed.authority.clone(),
            at: self.at,
            nhs_number: nhs_number.clone(),
            local_ids: owed.local_ids.clone(),
            viewer: viewer.clone(),
            organisation: organisation.clone(),
            trace_id,
        };
        self.owed.iter().map(notification).collect()
    }
}

/// How far a delivered notification has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nobody at the authority has said that they have it.
    Unread,
    /// The authority has it.
    Acknowledged,
}

impl State {
    /// The state's name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::Acknowledged => "acknowledged",
        }
    }

    /// The state that a name in the API means.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Unread, Self::Acknowledged].into_iter().find(|s| s.name() == name)
    }
}

/// A notification in an authority's mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivered {
    /// What was delivered.
    #[serde(flatten)]
    pub notification: Notification,
    /// When it reached the mailbox.
    pub delivered_at: Timestamp,
    /// How far it has come.
    pub state: State,
    /// When the authority acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<Timestamp>,
    /// How far it has come on each way out that the authority had chosen when it was delivered (R73).
    #[serde(default, skip_serializing_if = "Pushes::is_empty")]
    pub pushes: Pushes,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::{
        access::Interaction,
        caller::{Device, Organisation, Person},
        nhs_number::ChildKeySecret,
        setting::CareKind,
    };

    fn access(owed: &[&str]) -> Access {
        let number = NhsNumber::parse("9990000018").expect("valid");
        let owed = owed
            .iter()
            .map(|code| Owed { authority: AuthorityCode::parse(code).expect("valid"), local_ids: vec!["C-1".into()] });
        Access {
            child: ChildKeySecret::new(&[1; 32]).expect("long enough").key_of(&number),
            id: Uuid::from_u128(7),
            at: Timestamp::UNIX_EPOCH,
            requester: Requester::Person(Person {
                user: "555000000001".into(),
                role_profile: "555000000002".into(),
                name: "Alex Example".into(),
                job_role: JobRole { code: "R0670".into(), display: "Midwife - Sister/Charge Nurse".into() },
            }),
            organisation: Organisation { code: "ZX001".into(), name: "Sample Hospital".into() },
            interaction: Interaction::CareTeam,
            unscheduled: true,
            disclosed: vec!["CPP#E06000001".into()],
            owed: owed.collect(),
            nhs_number: Some(number),
            trace_id: Uuid::nil(),
            care: vec![CareKind::Maternity],
            region: Some("London".into()),
            presentation: Presentation::Full,
            refused: None,
        }
    }

    #[test]
    fn r24_one_for_each_authority_and_none_where_nobody_is_owed() {
        let authorities = |a: &Access| a.notifications().iter().map(|n| n.authority.to_string()).collect::<Vec<_>>();
        assert_eq!(authorities(&access(&["E06000001", "E08000025"])), ["E06000001", "E08000025"]);
        assert_eq!(authorities(&access(&[])), Vec::<String>::new());
    }

    #[test]
    fn r25_what_a_notification_holds_and_nothing_else() {
        let json = serde_json::to_value(access(&["E06000001"]).notifications().remove(0)).expect("JSON");
        let fields: BTreeSet<_> = json.as_object().expect("an object").keys().map(String::as_str).collect();
        let allowed =
            ["accessId", "at", "authority", "id", "localIds", "nhsNumber", "organisation", "traceId", "viewer"];
        assert_eq!(fields, BTreeSet::from(allowed));
        assert_eq!(
            json["viewer"],
            serde_json::json!({"name": "Alex Example", "jobRole": {"code": "R0670", "display": "Midwife - Sister/Charge Nurse"}})
        );
    }

    #[test]
    fn r42_the_safeguarding_lead_where_the_patient_is_comes_with_it() {
        let lead = SafeguardingLead { name: "Lee Lead".into(), phone: "01632 960001".into() };
        let device = Device {
            asid: "200000000001".into(),
            responsible: "Sam Sample".into(),
            location: Some("Sample Street".into()),
            safeguarding_lead: Some(lead.clone()),
        };
        let from_device = Access { requester: Requester::Device(device), ..access(&["E06000001"]) };
        let json = serde_json::to_value(from_device.notifications().remove(0)).expect("JSON");
        assert_eq!(
            json["viewer"],
            serde_json::json!({"name": "Sam Sample", "safeguardingLead": {"name": "Lee Lead", "phone": "01632 960001"}})
        );
    }

    #[test]
    fn r41_a_generic_one_is_the_same_whoever_looked_but_for_ids_and_times() {
        let generic = Access { presentation: Presentation::Generic, ..access(&["E06000001"]) };
        let told = serde_json::to_value(generic.notifications().remove(0)).expect("JSON");
        assert_eq!(told["viewer"], serde_json::json!({"name": GENERIC_PERSON}));
        assert_eq!(told["organisation"], serde_json::json!({"name": GENERIC_PLACE}));
        assert_eq!((&told["traceId"], &told["accessId"]), (&told["accessId"], &generic.id.to_string().into()));
    }

    #[test]
    fn r26_ids_come_from_access_and_authority_alone() {
        let ids = |a: &Access| a.notifications().iter().map(|n| n.id).collect::<Vec<_>>();
        let both = access(&["E06000001", "E08000025"]);
        let later = Access { at: Timestamp::MAX, ..both.clone() };
        assert_eq!(ids(&both), ids(&later));
        assert_ne!(ids(&both)[0], ids(&both)[1]);
        assert_ne!(ids(&both), ids(&Access { id: Uuid::from_u128(8), ..both.clone() }));
    }
}
