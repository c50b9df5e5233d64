//! The access to service notification (ASN) that an authority receives.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    access::{Access, Owed},
    authority::AuthorityCode,
    caller::{Organisation, Requester},
    nhs_number::NhsNumber,
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
    pub at: Timestamp,
    /// The child's number; for an unborn plan the mother's.
    pub nhs_number: NhsNumber,
    /// The authority's own case ids of the plans seen.
    pub local_ids: Vec<String>,
    /// Who looked.
    pub requester: Requester,
    /// On whose behalf.
    pub organisation: Organisation,
    /// The look-up's `TraceID`.
    pub trace_id: Uuid,
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
        let notification = |owed: &Owed| Notification {
            id: notification_id(self.id, &owed.authority),
            access_id: self.id,
            authority: owed.authority.clone(),
            at: self.at,
            nhs_number: nhs_number.clone(),
            local_ids: owed.local_ids.clone(),
            requester: self.requester.clone(),
            organisation: self.organisation.clone(),
            trace_id: self.trace_id,
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
}
