//! What an authority is told besides accesses (R84, R87).

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    authority::AuthorityCode,
    nhs_number::NhsNumber,
    notification::{Content, Delivered, Notification},
    plan::PlanType,
};

/// What became of an NHS number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NumberChange {
    /// The person has another number now.
    Superseded,
    /// It is no longer in use.
    Inactive,
}

/// An NHS number that the authority uploaded has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NumberChanged {
    /// The number as it was uploaded.
    pub nhs_number: NhsNumber,
    /// The authority's own case ids of its plans under it.
    pub local_ids: Vec<String>,
    /// What became of it.
    pub change: NumberChange,
    /// The number to use now, where it may be told: never after an adoption (R88).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_number: Option<NhsNumber>,
}

/// No upload has come for too long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadOverdue {
    /// The latest file that was processed; none where none ever was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_sequence: Option<u64>,
    /// When that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_at: Option<Timestamp>,
    /// When the next one was due.
    pub due: Timestamp,
}

/// Too few of a day's records could be matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchRateLow {
    /// The day, by the calendar in England.
    pub day: Date,
    /// Records uploaded on it.
    pub records: u64,
    /// How many of them named a child that could be matched.
    pub matched: u64,
    /// How many of a hundred must.
    pub required_percent: u64,
}

/// Another authority has started a plan of the same kind for a child for whom this one still holds one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanMoved {
    /// The child's number; for an unborn plan the mother's.
    pub nhs_number: NhsNumber,
    /// The case id of this authority's own plan.
    pub local_ids: Vec<String>,
    /// Kind of both plans.
    pub plan_type: PlanType,
    /// The other authority.
    pub other_authority: AuthorityCode,
    /// Its name.
    pub other_name: String,
    /// When its plan started.
    pub other_start: Date,
}

/// Accesses that could wait, told together (R84). Each is in the mailbox by itself too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The accesses, oldest first; at least one.
    pub entries: Vec<DigestEntry>,
}

/// An access in a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DigestEntry {
    /// Id of its own notification.
    pub id: Uuid,
    /// When the child's record was looked at.
    pub at: Timestamp,
    /// The child's number; for an unborn plan the mother's.
    pub nhs_number: NhsNumber,
    /// The authority's own case ids of the plans seen.
    pub local_ids: Vec<String>,
    /// Name of the organisation on whose behalf it was.
    pub organisation: String,
}

/// The most accesses in one digest: DynamoDB takes 100 writes in one transaction, and a digest is as small as a page.
pub const DIGEST_LENGTH: usize = 50;

impl Digest {
    /// The digest of an authority's notifications that waited for it; none of none, so that an empty one cannot be.
    #[must_use]
    pub fn of(authority: &AuthorityCode, waiting: &[Delivered], now: Timestamp) -> Option<Notification> {
        let entry = |held: &Delivered| {
            let told = held.notification.access()?;
            Some(DigestEntry {
                id: held.notification.id,
                at: held.notification.at,
                nhs_number: told.nhs_number.clone(),
                local_ids: told.local_ids.clone(),
                organisation: told.organisation.name.clone(),
            })
        };
        let mut entries: Vec<_> = waiting.iter().filter_map(entry).collect();
        entries.sort_by_key(|entry| (entry.at, entry.id));
        let ids: String = entries.iter().map(|entry| entry.id.to_string()).collect();
        (!entries.is_empty()).then(|| notice(authority, "digest", &ids, now, Content::Digest(Self { entries })))
    }
}

/// Name space of the ids of notices (UUID version 5, RFC 9562 section 5.5).
const NOTICE_IDS: Uuid = Uuid::from_u128(0x0d3c_91f4_6b0e_4c57_8a25_b6de_1f7c_a917);

/// A notification whose id is made from whom it is for and what it tells, so that finding it again changes nothing (R87).
#[must_use]
pub fn notice(authority: &AuthorityCode, kind: &str, what: &str, at: Timestamp, content: Content) -> Notification {
    let name = [authority.as_str(), kind, what].map(|part| format!("{}:{part}", part.len())).concat();
    let id = Uuid::new_v5(&NOTICE_IDS, name.as_bytes());
    Notification { id, authority: authority.clone(), at, trace_id: id, content }
}
