//! What an authority is told, first of all the access to service notification (ASN), and its life in the mailbox.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use super::{
    access::{Access, Owed},
    authority::AuthorityCode,
    caller::{JobRole, Requester, SafeguardingLead},
    nhs_number::NhsNumber,
    notice::{Digest, MatchRateLow, NumberChanged, PlanMoved, UploadOverdue},
    policy::Presentation,
    reading::Reading,
    signal::{self, Signal},
    time::sortable,
    ways_out::{Pushes, Way, WaysOut},
};

/// What an authority is told: of an access to its child's record, or of something else that it must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// Business id: of an access, from the access and the authority (R26); of anything else, from what it tells (R87).
    pub id: Uuid,
    /// Whom it is for.
    pub authority: AuthorityCode,
    /// When what it tells of happened; of a notice, when it was found.
    #[serde(serialize_with = "super::time::serialize")]
    pub at: Timestamp,
    /// The look-up's `TraceID`; of what no look-up raised, and of an access shown generically (R41), an id of ours.
    pub trace_id: Uuid,
    /// What it tells.
    #[serde(flatten)]
    pub content: Content,
}

/// What a notification tells, by `kind`. One that says no kind is of an access, as all were before there were others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "kind", rename_all = "kebab-case")]
pub enum Content {
    /// The record of a child was looked at: an access to service notification.
    Access(AccessTold),
    /// An NHS number that the authority uploaded is superseded or no longer in use.
    NumberChanged(NumberChanged),
    /// No upload has come for too long.
    UploadOverdue(UploadOverdue),
    /// Too few of a day's records could be matched.
    MatchRateLow(MatchRateLow),
    /// Another authority has started a plan of the same kind for the child.
    PlanMoved(PlanMoved),
    /// Accesses that could wait, told together (R84).
    Digest(Digest),
}

/// Kind of a notification that does not say its kind.
const ACCESS: &str = "access";

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = serde_json::Map::deserialize(deserializer)?;
        fields.entry("kind").or_insert_with(|| ACCESS.into());
        Self::deserialize(serde_json::Value::Object(fields)).map_err(serde::de::Error::custom)
    }
}

impl Content {
    /// Its name in messages, filters and logs.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Access(_) => ACCESS,
            Self::NumberChanged(_) => "number-changed",
            Self::UploadOverdue(_) => "upload-overdue",
            Self::MatchRateLow(_) => "match-rate-low",
            Self::PlanMoved(_) => "plan-moved",
            Self::Digest(_) => "digest",
        }
    }

    /// Which function raises it, and which delivers it (R89). A digest is made where it is delivered: it passes no queue.
    const fn actors(&self) -> (&'static str, &'static str) {
        match self {
            Self::Access(_) => ("flag-lookup", "asn-delivery"),
            Self::NumberChanged(_) | Self::UploadOverdue(_) | Self::MatchRateLow(_) | Self::PlanMoved(_) => {
                ("notices", "asn-delivery")
            }
            Self::Digest(_) => ("asn-watch", "asn-watch"),
        }
    }
}

/// An access, as it is told. What it does not hold it must never hold: no reason, diagnosis or outcome (R25).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessTold {
    /// The access.
    pub access_id: Uuid,
    /// The child's number; for an unborn plan the mother's.
    pub nhs_number: NhsNumber,
    /// The authority's own case ids of the plans seen.
    pub local_ids: Vec<String>,
    /// Who looked.
    pub viewer: Viewer,
    /// On whose behalf.
    pub organisation: Place,
    /// Why it cannot wait; empty where it can (R83).
    #[serde(default)]
    pub signals: BTreeSet<Signal>,
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
    /// Region of England in which it lies; none where it is not known or the access is shown generically.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
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
            let place = Place { code: Some(organisation.code), name: organisation.name, region: access.region.clone() };
            (viewer, place, access.trace_id)
        }
        Presentation::Generic => {
            let viewer = Viewer { name: GENERIC_PERSON.to_owned(), job_role: None, safeguarding_lead: None };
            // A caller's own id may name its machine (UUID version 1 does).
            (viewer, Place { code: None, name: GENERIC_PLACE.to_owned(), region: None }, access.id)
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
        let content = |owed: &Owed| AccessTold {
            access_id: self.id,
            nhs_number: nhs_number.clone(),
            local_ids: owed.local_ids.clone(),
            viewer: viewer.clone(),
            organisation: organisation.clone(),
            signals: owed.signals.iter().copied().chain(signal::of_moment(self.at)).collect(),
        };
        let notification = |owed: &Owed| Notification {
            id: notification_id(self.id, &owed.authority),
            authority: owed.authority.clone(),
            at: self.at,
            trace_id,
            content: Content::Access(content(owed)),
        };
        self.owed.iter().map(notification).collect()
    }
}

impl Notification {
    /// The access that it tells of, where it tells of one.
    #[must_use]
    pub const fn access(&self) -> Option<&AccessTold> {
        match &self.content {
            Content::Access(told) => Some(told),
            _ => None,
        }
    }

    /// Adds why it cannot wait. Only an access can have signals (R83).
    pub fn signal(&mut self, more: impl IntoIterator<Item = Signal>) {
        if let Content::Access(told) = &mut self.content {
            told.signals.extend(more);
        }
    }

    /// Whether it may wait for a digest: an access without a signal. What is rare is told at once (R84).
    #[must_use]
    pub fn may_wait(&self) -> bool {
        self.access().is_some_and(|told| told.signals.is_empty())
    }
}

/// What the outbox holds: what raises notifications that are not on their way yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owing {
    /// An access; its notifications are made from it.
    Access(Box<Access>),
    /// A notice of anything else.
    Notice(Box<Notification>),
}

impl Owing {
    /// What it raises.
    #[must_use]
    pub fn notifications(&self) -> Vec<Notification> {
        match self {
            Self::Access(access) => access.notifications(),
            Self::Notice(notice) => vec![notice.as_ref().clone()],
        }
    }

    /// Since when it is owed.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Access(access) => access.at,
            Self::Notice(notice) => notice.at,
        }
    }

    /// Where it stands in the outbox: in order of time, and always in the same place (R26, R87).
    #[must_use]
    pub fn position(&self) -> String {
        let at = sortable(self.at());
        match self {
            Self::Access(access) => format!("{at}#{}#{}", access.child.as_str(), access.id),
            Self::Notice(notice) => format!("{at}#{}#{}", notice.authority, notice.id),
        }
    }

    /// Since when what stands at a position is owed: its place alone says so, whatever else of it can be read. A place that tells
    /// no time counts as owed since ever, for somebody must look at it.
    #[must_use]
    pub fn since(position: &str) -> Timestamp {
        position.split('#').next().and_then(|at| at.parse().ok()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// How far a delivered notification has come (R89).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nobody at the authority has said that they have it.
    Unread,
    /// The authority has it.
    Acknowledged,
    /// The authority has done what it asks for.
    Actioned,
}

impl State {
    const ALL: [Self; 3] = [Self::Unread, Self::Acknowledged, Self::Actioned];

    /// The state's name in the API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::Acknowledged => "acknowledged",
            Self::Actioned => "actioned",
        }
    }

    /// The state that a name in the API means.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// A step that the authority took, and who took it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// When.
    pub at: Timestamp,
    /// Who, in the authority's own words; its code where it named nobody.
    pub by: String,
}

/// A notification in an authority's mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivered {
    /// What was delivered.
    #[serde(flatten)]
    pub notification: Notification,
    /// When it was put into the queue; none where the queue did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_at: Option<Timestamp>,
    /// When it reached the mailbox.
    pub delivered_at: Timestamp,
    /// How far it has come.
    pub state: State,
    /// When the authority acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<Timestamp>,
    /// Who acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_by: Option<String>,
    /// When the authority said that it has done what it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actioned_at: Option<Timestamp>,
    /// Who said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actioned_by: Option<String>,
    /// When it is escalated unless it has been acknowledged by then (R85).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalate_at: Option<Timestamp>,
    /// When it was escalated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalated_at: Option<Timestamp>,
    /// Since when it is to be seen whether the organisation is the third within a week (R83); none once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weigh_at: Option<Timestamp>,
    /// When the digest goes out for which it waits (R84).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest_at: Option<Timestamp>,
    /// The digest in which it went out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Uuid>,
    /// How far it has come on each way out that the authority had chosen when it was delivered (R73).
    #[serde(default, skip_serializing_if = "Pushes::is_empty")]
    pub pushes: Pushes,
}

/// What is known of a notification once it is seen who else saw the child (R83).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// Why it cannot wait; empty where it can.
    pub signals: BTreeSet<Signal>,
    /// When it is escalated unless it has been acknowledged by then (R85).
    pub escalate_at: Timestamp,
}

/// A step in a notification's life (R89).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// `owed`, `queued`, `delivered`, `escalated`, `acknowledged` or `actioned`.
    pub step: &'static str,
    /// When.
    pub at: Timestamp,
    /// Who or what took it.
    pub by: String,
}

impl Delivered {
    /// The state it has once a step is taken; `None` where that changes nothing, since of each step the first one stands (R89).
    #[must_use]
    pub fn marked(&self, state: State, taken: &Taken) -> Option<Self> {
        if state <= self.state {
            return None;
        }
        let Taken { at, by } = taken;
        let (digest_at, escalate_at, weigh_at) = (None, None, None);
        let mut marked = Self { state, digest_at, escalate_at, weigh_at, ..self.clone() };
        if self.state == State::Unread {
            (marked.acknowledged_at, marked.acknowledged_by) = (Some(*at), Some(by.clone()));
        }
        if state == State::Actioned {
            (marked.actioned_at, marked.actioned_by) = (Some(*at), Some(by.clone()));
        }
        Some(marked)
    }

    /// What is put into the mailbox at a moment, by the authority's own rules: pushed at once on each way out, unless it may
    /// wait for the authority's digest (R84), and escalated when it is left unread for too long (R85).
    #[must_use]
    pub fn new(notification: Notification, now: Timestamp, ways: &WaysOut, reading: &Reading) -> Self {
        let digest_at = if notification.may_wait() { reading.next_digest(now) } else { None };
        // What may wait for a digest has been weighed.
        let is_open = notification.access().is_some_and(|told| !told.signals.contains(&Signal::ThirdSetting));
        Self {
            queued_at: None,
            delivered_at: now,
            state: State::Unread,
            acknowledged_at: None,
            acknowledged_by: None,
            actioned_at: None,
            actioned_by: None,
            // What waits for a digest is left to be read with it: the digest is escalated.
            escalate_at: digest_at.is_none().then(|| now + reading.patience(&notification)),
            escalated_at: None,
            weigh_at: (is_open && digest_at.is_none()).then_some(now),
            pushes: if digest_at.is_some() { Pushes::new() } else { ways.pushes() },
            digest_at,
            digest: None,
            notification,
        }
    }

    /// When something is next to be done with it unasked: a digest, an escalation, or a look at who else saw the child.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Timestamp> {
        [self.digest_at, self.escalate_at, self.weigh_at].into_iter().flatten().min()
    }

    /// What is known of it once it is seen whether the organisation is the third within a week: then it is escalated sooner (R83, R85).
    #[must_use]
    pub fn weighed(&self, signal: Option<Signal>, reading: &Reading) -> Weighed {
        let mut notification = self.notification.clone();
        notification.signal(signal);
        let escalate_at = self.delivered_at + reading.patience(&notification);
        Weighed { signals: notification.access().map(|told| told.signals.clone()).unwrap_or_default(), escalate_at }
    }

    /// Every step so far, in their order, each with its time and who took it (R89).
    #[must_use]
    pub fn life(&self) -> Vec<Step> {
        let authority = self.notification.authority.as_str();
        let (raised_by, delivered_by) = self.notification.content.actors();
        let by = |named: &Option<String>| named.clone().unwrap_or_else(|| authority.to_owned());
        [
            Some(("owed", self.notification.at, raised_by.to_owned())),
            self.queued_at.map(|at| ("queued", at, "asn-relay".to_owned())),
            Some(("delivered", self.delivered_at, delivered_by.to_owned())),
            self.escalated_at.map(|at| ("escalated", at, "asn-watch".to_owned())),
            self.acknowledged_at.map(|at| ("acknowledged", at, by(&self.acknowledged_by))),
            self.actioned_at.map(|at| ("actioned", at, by(&self.actioned_by))),
        ]
        .into_iter()
        .flatten()
        .map(|(step, at, by)| Step { step, at, by })
        .collect()
    }

    /// How long it took from what it tells of to the mailbox. A clock that was behind counts as no time.
    #[must_use]
    pub fn time_to_deliver(&self) -> SignedDuration {
        self.delivered_at.duration_since(self.notification.at).max(SignedDuration::ZERO)
    }

    /// How long it took from the mailbox to the acknowledgement, where there is one.
    #[must_use]
    pub fn time_to_acknowledge(&self) -> Option<SignedDuration> {
        let taken = self.acknowledged_at?.duration_since(self.delivered_at);
        Some(taken.max(SignedDuration::ZERO))
    }

    /// The second contact's pushes, added when it is escalated (R85).
    #[must_use]
    pub fn escalation(&self, ways: &WaysOut) -> Vec<Way> {
        ways.second_ways().filter(|way| !self.pushes.contains_key(way)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::{
        access::Interaction,
        caller::{Device, Organisation, Person},
        nhs_number::ChildKeySecret,
        setting::CareKind,
    };

    fn access(owed: &[&str]) -> Access {
        let number = NhsNumber::parse("9990000018").expect("valid");
        let owed = owed.iter().map(|code| Owed {
            authority: AuthorityCode::parse(code).expect("valid"),
            local_ids: vec!["C-1".into()],
            signals: BTreeSet::new(),
        });
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
        let allowed = [
            "accessId",
            "at",
            "authority",
            "id",
            "kind",
            "localIds",
            "nhsNumber",
            "organisation",
            "signals",
            "traceId",
            "viewer",
        ];
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

    /// One of each kind, and who raises and who delivers it.
    fn kinds() -> [(Content, [&'static str; 2]); 6] {
        let access = access(&["E06000001"]).notifications().remove(0).content;
        let notice = |json| serde_json::from_value(json).expect("a content");
        let (number, at) = ("9990000018", "2026-11-22T12:00:00Z");
        let (notices, watch) = (["notices", "asn-delivery"], ["asn-watch", "asn-watch"]);
        [
            (access, ["flag-lookup", "asn-delivery"]),
            (
                notice(json!({"kind": "number-changed", "nhsNumber": number, "localIds": [], "change": "inactive"})),
                notices,
            ),
            (notice(json!({"kind": "upload-overdue", "due": at})), notices),
            (
                notice(json!({
                    "kind": "match-rate-low", "day": "2026-11-22", "records": 20, "matched": 18, "requiredPercent": 95
                })),
                notices,
            ),
            (
                notice(json!({
                    "kind": "plan-moved", "nhsNumber": number, "localIds": [], "planType": "CPP",
                    "otherAuthority": "E06000002", "otherName": "Sample", "otherStart": "2026-11-22"
                })),
                notices,
            ),
            (notice(json!({"kind": "digest", "entries": []})), watch),
        ]
    }

    #[test]
    fn r89_a_life_names_who_raised_and_who_delivered_each_kind() {
        let mut told = BTreeSet::new();
        for (content, [raised, delivered]) in kinds() {
            told.insert(content.kind());
            let notification = Notification { content, ..access(&["E06000001"]).notifications().remove(0) };
            let kind = notification.content.kind();
            let held = Delivered::new(notification, Timestamp::UNIX_EPOCH, &WaysOut::default(), &Reading::default());
            let life: Vec<_> = held.life().into_iter().map(|step| (step.step, step.by)).collect();
            assert_eq!(life, [("owed", raised.to_owned()), ("delivered", delivered.to_owned())], "{kind}");
        }
        assert_eq!(told.len(), 6, "each kind once: {told:?}");
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
