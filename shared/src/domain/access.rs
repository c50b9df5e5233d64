//! A look-up that was made: who, when, from where, what was disclosed, and whom to tell.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    authority::AuthorityCode,
    caller::{Organisation, Requester, SafeguardingLead},
    nhs_number::{ChildKey, NhsNumber},
    plan::Plan,
    policy::{Presentation, Refusal},
    setting::CareKind,
    signal::{self, Signal},
};

/// Which search was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Interaction {
    /// The plans.
    CareTeam,
    /// The history of accesses.
    AuditEvent,
    /// The flag.
    Flag,
}

impl Interaction {
    /// The FHIR resource type searched.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CareTeam => "CareTeam",
            Self::AuditEvent => "AuditEvent",
            Self::Flag => "Flag",
        }
    }
}

/// An authority that must be told, and what it needs to know its child by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owed {
    /// Whom to tell.
    pub authority: AuthorityCode,
    /// The authority's own case ids of the plans seen.
    pub local_ids: Vec<String>,
    /// What these plans say about whether it can wait (R83).
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub signals: BTreeSet<Signal>,
}

/// A look-up, as recorded before its answer leaves (R21).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// The child looked up.
    pub child: ChildKey,
    /// Business id (R22).
    pub id: Uuid,
    /// When.
    #[serde(serialize_with = "super::time::serialize")]
    pub at: Timestamp,
    /// Who asked.
    pub requester: Requester,
    /// On whose behalf.
    pub organisation: Organisation,
    /// Which search.
    pub interaction: Interaction,
    /// Whether the access raises notifications and shows in the history.
    pub unscheduled: bool,
    /// Keys of the plans disclosed, such as `CPP#E06000001`; empty where nothing is held.
    pub disclosed: Vec<String>,
    /// Whom to tell; empty for a silent access and where nothing is held (R24).
    pub owed: Vec<Owed>,
    /// The child's number, kept only where somebody must be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nhs_number: Option<NhsNumber>,
    /// The caller's `TraceID`.
    pub trace_id: Uuid,
    /// The kinds of care in which it was made; empty where the organisation is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub care: Vec<CareKind>,
    /// Region of the organisation: the finest place for counts of sensitive care (R41).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// How it is shown to others.
    #[serde(default, skip_serializing_if = "is_full")]
    pub presentation: Presentation,
    /// Code of the reason for which it was refused, such as `organisation-unknown`; it then disclosed nothing (R43).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

fn is_full(presentation: &Presentation) -> bool {
    *presentation == Presentation::Full
}

/// Name space of the ids of accesses and notifications (UUID version 5, RFC 9562 section 5.5).
const ACCESS_IDS: Uuid = Uuid::from_u128(0x6e0f_2d5c_41a3_4b8e_9c77_2f8d_5a1b_c0de);

/// R22: the id of an access comes from who asked what with which request id, so that a retry is the same access.
#[must_use]
pub fn access_id(
    request: Uuid,
    requester: &Requester,
    organisation: &Organisation,
    interaction: Interaction,
    child: &ChildKey,
) -> Uuid {
    let name = [&request.to_string(), &requester.identity(), &organisation.code, interaction.name(), child.as_str()]
        .map(|part| format!("{}:{part}", part.len()))
        .concat();
    Uuid::new_v5(&ACCESS_IDS, name.as_bytes())
}

/// R43: the id of the refusal of an access. It has its own, so that the same request with its fault mended is not taken for a
/// retry of what was refused.
#[must_use]
pub fn refusal_id(access: Uuid, refusal: Refusal) -> Uuid {
    Uuid::new_v5(&access, refusal.code().as_bytes())
}

/// How long a request id stands for one access (R22). A client retries within seconds; an id that comes back later is a
/// fault of the client, or somebody who would look without being seen.
pub const RETRY_WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// R22: the id of an access whose request id was first used this long ago; `None` within the [`RETRY_WINDOW`]. Retries
/// of the later access are the same again, for as long.
#[must_use]
pub fn reused_id(id: Uuid, age: SignedDuration) -> Option<Uuid> {
    let windows = age.as_secs() / RETRY_WINDOW.as_secs();
    (windows > 0).then(|| Uuid::new_v5(&id, &windows.to_be_bytes()))
}

/// R24: one entry for each authority with a plan among those shown, with its case ids and what its plans signal (R83). What
/// another authority's plan says is not told.
#[must_use]
pub fn owed_for<'a>(plans: impl IntoIterator<Item = &'a Plan>, at: Timestamp) -> Vec<Owed> {
    let mut by_authority: BTreeMap<&AuthorityCode, Vec<&Plan>> = BTreeMap::new();
    for plan in plans {
        by_authority.entry(&plan.authority).or_default().push(plan);
    }
    let owed = |(authority, plans): (&AuthorityCode, Vec<&Plan>)| {
        let mut local_ids: Vec<String> = Vec::new();
        for id in plans.iter().filter_map(|plan| plan.local_id.as_ref()) {
            if !local_ids.contains(id) {
                local_ids.push(id.clone());
            }
        }
        Owed { authority: authority.clone(), local_ids, signals: signal::of_plans(plans, at) }
    };
    by_authority.into_iter().map(owed).collect()
}

impl Access {
    /// Who leads safeguarding where the patient is, as far as the device said so (R42).
    #[must_use]
    pub const fn safeguarding(&self) -> Option<&SafeguardingLead> {
        match &self.requester {
            Requester::Device(device) => device.safeguarding_lead.as_ref(),
            Requester::Person(_) => None,
        }
    }

    /// What an answer would disclose, or owe, that this record does not cover: `None` when all is covered, else the record of
    /// the rest. A retry that finds a plan uploaded since is such a case (R21, R22), and one that is not silent as the first
    /// try was. Its id comes from this record's alone, so that each record has one that goes on from it: what that one holds,
    /// no later retry records and tells again.
    #[must_use]
    pub fn uncovered(&self, now: &Self) -> Option<Self> {
        let told = |o: &Owed| self.owed.iter().any(|t| t.authority == o.authority);
        let owed: Vec<_> = now.owed.iter().filter(|o| !told(o)).cloned().collect();
        let mut disclosed: Vec<_> = now.disclosed.iter().filter(|p| !self.disclosed.contains(p)).cloned().collect();
        if disclosed.is_empty() {
            if owed.is_empty() {
                return None;
            }
            disclosed.clone_from(&now.disclosed);
        }
        let id = Uuid::new_v5(&self.id, b"rest");
        Some(Self { id, disclosed, owed, ..now.clone() })
    }
}

/// How many accesses the history shows (R23).
pub const HISTORY_LENGTH: usize = 25;
/// Within this time of a listed access, the same person's earlier ones are not listed again (R23).
pub const REPEAT_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// Builds the history (R23, R44) from accesses given newest first.
#[derive(Debug, Default)]
pub struct History {
    listed: Vec<Access>,
    total: usize,
    latest_of: BTreeMap<String, Timestamp>,
}

impl History {
    /// Takes the next older access, and lists it unless it is a scheduled one, disclosed nothing or repeats a listed one.
    pub fn push(&mut self, access: Access) {
        if !access.unscheduled || access.disclosed.is_empty() {
            return;
        }
        let person = access.requester.identity();
        if self.latest_of.get(&person).is_some_and(|listed| listed.duration_since(access.at) < REPEAT_WINDOW) {
            return;
        }
        self.latest_of.insert(person, access.at);
        self.total += 1;
        if self.listed.len() < HISTORY_LENGTH {
            self.listed.push(access);
        }
    }

    /// How many accesses could be listed, those beyond [`HISTORY_LENGTH`] too (R44).
    #[must_use]
    pub const fn total(&self) -> usize {
        self.total
    }

    /// The accesses to show, newest first.
    #[must_use]
    pub fn into_listed(self) -> Vec<Access> {
        self.listed
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use proptest::prelude::*;

    use super::{super::nhs_number::ChildKeySecret, *};
    use crate::domain::caller::Device;

    fn access(who: &str, hours_ago: i64) -> Access {
        let number = NhsNumber::parse("9990000018").expect("valid");
        Access {
            child: ChildKeySecret::new(&[1; 32]).expect("long enough").key_of(&number),
            id: Uuid::from_u128(u128::from(hours_ago.unsigned_abs())),
            at: "2026-11-22T12:00:00Z".parse::<Timestamp>().expect("valid") - hours_ago.hours(),
            requester: Requester::Device(Device {
                asid: who.into(),
                responsible: "Sam Sample".into(),
                ..Device::default()
            }),
            organisation: Organisation { code: "ZX001".into(), name: "Sample Hospital".into() },
            interaction: Interaction::CareTeam,
            unscheduled: true,
            disclosed: vec!["CPP#E06000001".into()],
            owed: vec![],
            nhs_number: None,
            trace_id: Uuid::nil(),
            care: vec![CareKind::AmbulanceService],
            region: Some("London".into()),
            presentation: Presentation::Full,
            refused: None,
        }
    }

    fn listed(accesses: impl IntoIterator<Item = Access>) -> Vec<Access> {
        let mut history = History::default();
        accesses.into_iter().for_each(|a| history.push(a));
        history.into_listed()
    }

    #[test]
    fn r23_a_repeat_within_24_hours_is_listed_once() {
        let hours = |found: Vec<Access>| found.iter().map(|a| a.id.as_u128()).collect::<Vec<_>>();
        assert_eq!(hours(listed([access("a", 1), access("a", 2), access("a", 24)])), [1]);
        assert_eq!(hours(listed([access("a", 1), access("a", 25)])), [1, 25]);
        assert_eq!(hours(listed([access("a", 1), access("b", 2)])), [1, 2]);
    }

    #[test]
    fn r23_scheduled_and_empty_accesses_are_not_listed() {
        let silent = Access { unscheduled: false, ..access("a", 1) };
        let empty = Access { disclosed: vec![], ..access("b", 1) };
        assert_eq!(listed([silent, empty]), []);
    }

    #[test]
    fn r44_the_total_counts_what_could_be_listed_beyond_25() {
        let mut history = History::default();
        for n in 0..40 {
            history.push(access(&n.to_string(), n));
            history.push(access(&n.to_string(), n + 1));
        }
        history.push(Access { disclosed: vec![], ..access("a", 100) });
        assert_eq!(history.total(), 40);
        assert_eq!(
            history.into_listed().iter().map(|a| a.id.as_u128()).collect::<Vec<_>>(),
            (0..25).collect::<Vec<_>>()
        );
    }

    proptest! {
        #[test]
        fn r23_never_more_than_25_nor_two_of_one_person_within_a_day(who in proptest::collection::vec(0_u8..6, 0..200)) {
            let found = listed(who.iter().enumerate().map(|(n, w)| access(&w.to_string(), i64::try_from(n).unwrap_or(0) * 3)));
            prop_assert!(found.len() <= HISTORY_LENGTH);
            for (n, a) in found.iter().enumerate() {
                for b in &found[n + 1..] {
                    prop_assert!(b.at < a.at);
                    prop_assert!(a.requester != b.requester || a.at.duration_since(b.at) >= REPEAT_WINDOW);
                }
            }
        }
    }

    #[test]
    fn r22_ids_differ_with_every_part_and_only_then() {
        let a = access("a", 1);
        let id = |request, who: &Requester, org: &str, what| {
            access_id(request, who, &Organisation { code: org.into(), name: "any".into() }, what, &a.child)
        };
        let first = id(Uuid::nil(), &a.requester, "ZX001", Interaction::CareTeam);
        assert_eq!(first, id(Uuid::nil(), &a.requester, "ZX001", Interaction::CareTeam));
        for other in [
            id(Uuid::max(), &a.requester, "ZX001", Interaction::CareTeam),
            id(Uuid::nil(), &access("b", 1).requester, "ZX001", Interaction::CareTeam),
            id(Uuid::nil(), &a.requester, "ZX002", Interaction::CareTeam),
            id(Uuid::nil(), &a.requester, "ZX001", Interaction::Flag),
        ] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn r22_a_request_id_that_comes_back_later_is_another_access() {
        let id = |minutes| reused_id(Uuid::nil(), SignedDuration::from_mins(minutes));
        assert_eq!((id(-1), id(0), id(14)), (None, None, None));
        assert_eq!(id(15), id(29), "retries of the later access are the same");
        assert!(id(15).is_some() && id(15) != id(30));
    }

    #[test]
    fn r21_r22_a_retry_that_would_disclose_more_is_recorded_and_told() {
        let owed = |code: &str| Owed {
            authority: AuthorityCode::parse(code).expect("valid"),
            local_ids: vec![],
            signals: BTreeSet::new(),
        };
        let first = Access { owed: vec![owed("E06000001")], ..access("a", 1) };
        assert_eq!(first.uncovered(&first), None);
        let wider = Access {
            disclosed: vec!["CPP#E06000001".into(), "LAC#E06000002".into()],
            owed: vec![owed("E06000001"), owed("E06000002")],
            ..first.clone()
        };
        let rest = first.uncovered(&wider).expect("a plan is new");
        assert_eq!(
            (rest.disclosed.as_slice(), rest.owed.as_slice()),
            (&["LAC#E06000002".to_owned()][..], &[owed("E06000002")][..])
        );
        assert_ne!(rest.id, first.id);
        let silent = Access { unscheduled: false, owed: vec![], ..first.clone() };
        let told = silent.uncovered(&first).expect("somebody is to be told now");
        assert_eq!((&told.owed, &told.disclosed, told.unscheduled), (&first.owed, &first.disclosed, true));
        assert_eq!(wider.uncovered(&first), None, "disclosing less needs no record");
    }
}
