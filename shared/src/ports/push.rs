//! What pushing notifications out of the mailbox needs of the world (R73).

use std::{fmt, future::Future, sync::Arc};

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::{Page, PageRequest, PortResult, Unreadable};
use crate::domain::{
    authority::AuthorityCode,
    circuit::Circuit,
    notification::Delivered,
    ways_out::{MeshBox, Outgoing, Push, PushTask, Way, Webhook},
};

/// Takes push tasks.
pub trait PushQueue: Sync {
    /// Sends them; answers for each, in the same order, whether the queue has it.
    fn send_pushes(&self, tasks: &[PushTask]) -> impl Future<Output = Vec<PortResult<()>>> + Send;
}

/// The delivered notifications whose push tasks are still owed to the queue.
pub trait PushOutbox: Sync {
    /// The tasks of those delivered before a moment, oldest first. One that cannot be read is told in its own place: it must not
    /// hold up the others, nor be overlooked.
    fn pushes_due_before(
        &self,
        moment: Timestamp,
        page: &PageRequest,
    ) -> impl Future<Output = PortResult<Page<PushEntry>>> + Send;

    /// Notes that the push tasks which a notification has owed since a moment are in the queue; what it owes since another one,
    /// it owes still. Repeating it changes nothing.
    fn pushes_queued(
        &self,
        authority: &AuthorityCode,
        id: Uuid,
        since: Timestamp,
    ) -> impl Future<Output = PortResult<()>> + Send;
}

/// An entry of the list of pushes that are owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushEntry {
    /// Since when, whatever else of it can be read.
    pub since: Timestamp,
    /// What is owed.
    pub due: Result<PushesDue, Unreadable>,
}

/// A delivered notification whose push tasks are owed to the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushesDue {
    /// Whose.
    pub authority: AuthorityCode,
    /// Which.
    pub id: Uuid,
    /// Since when: when it was delivered, or escalated.
    pub since: Timestamp,
    /// Its tasks.
    pub tasks: Vec<PushTask>,
}

/// What asking for the sole right to push a notification comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It is the caller's until the moment that was asked for.
    Granted(Box<Delivered>),
    /// Another has it, at the most until then.
    Taken(Timestamp),
    /// The receiver has it: there is nothing to push.
    Sent(Push),
    /// The mailbox has no such notification, or not this way.
    Unknown,
}

/// Keeps, with each notification in the mailbox, how far it has come on its ways out.
pub trait PushLog: Sync {
    /// Asks for the sole right to push a notification one way from `now` until `until`.
    fn claim(
        &self,
        task: &PushTask,
        now: Timestamp,
        until: Timestamp,
    ) -> impl Future<Output = PortResult<Claim>> + Send;

    /// Keeps how far it has come, and gives the claim back. A receiver that has it has it for good: no other state
    /// takes the place of [`is_sent`](crate::domain::ways_out::PushState::is_sent), except that what was sent is collected or given up.
    fn record_push(&self, task: &PushTask, push: &Push) -> impl Future<Output = PortResult<()>> + Send;
}

/// Knows of each receiver whether it has answered of late, for all processes alike.
pub trait Circuits: Sync {
    /// How a receiver stands.
    fn circuit(&self, authority: &AuthorityCode, way: Way) -> impl Future<Output = PortResult<Circuit>> + Send;

    /// Puts `next` in the place of `seen`; `false` where another was faster.
    fn move_circuit(
        &self,
        authority: &AuthorityCode,
        way: Way,
        seen: &Circuit,
        next: &Circuit,
    ) -> impl Future<Output = PortResult<bool>> + Send;
}

/// Why a receiver does not have a notification. Holds nothing of what was sent, and nothing of what came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{code}")]
pub struct NotTaken {
    /// A stable code, such as `timed-out`.
    pub code: &'static str,
    /// The answer's HTTP status, where there was one.
    pub status: Option<u16>,
    /// Whether the same may succeed later.
    pub again: Again,
}

/// Whether a push may be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Never: this receiver will not take this notification.
    Never,
    /// In a while; in so many seconds at the earliest where the receiver said so.
    Later(Option<u32>),
    /// In a while; the receiver is well, the trouble is ours.
    NotItsFault,
}

/// What pushing must know and nobody else may. `Debug` shows none of it.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PushSecrets {
    /// The secret that the authorities' webhook keys are made from.
    pub master: String,
    /// The one before, while it is changed: both sign.
    #[serde(default)]
    pub previous_master: Option<String>,
    /// What MESH wants of us; absent where we have no mailbox there.
    #[serde(default)]
    pub mesh: Option<MeshSecrets>,
}

impl fmt::Debug for PushSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PushSecrets")
    }
}

/// What MESH wants of us.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshSecrets {
    /// The password of our mailbox.
    pub password: String,
    /// The key that the MESH environment shares with its senders.
    pub shared_key: String,
    /// Our client certificate and its key, PEM: MESH asks for them (mutual TLS).
    #[serde(default)]
    pub client_certificate: Option<String>,
    /// The certificates that MESH's own is signed with, PEM, where they are not public ones.
    #[serde(default)]
    pub authorities: Option<String>,
}

impl fmt::Debug for MeshSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeshSecrets")
    }
}

/// Knows the secrets.
pub trait SecretKeeper: Send + Sync {
    /// The secrets as they stand, at most some minutes old.
    fn push_secrets(&self) -> impl Future<Output = PortResult<Arc<PushSecrets>>> + Send;
}

/// Sends webhooks.
pub trait Webhooks: Sync {
    /// Sends a notification; `Ok` once the receiver has answered that it has it.
    fn send_webhook(
        &self,
        to: &Webhook,
        outgoing: &Outgoing<'_>,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), NotTaken>> + Send;
}

/// How a message stands in MESH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracked {
    /// It waits to be collected.
    Waiting,
    /// It was collected.
    Collected,
    /// It will never be collected: not within MESH's five days, or MESH could not deliver it.
    Undelivered,
}

/// Sends MESH messages.
pub trait Mesh: Sync {
    /// Sends a notification under its id, unless MESH has a message of that id which has not come to nothing; MESH's id of the
    /// message, where it has just one.
    fn send_mesh(
        &self,
        to: &MeshBox,
        outgoing: &Outgoing<'_>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<String>, NotTaken>> + Send;

    /// How a message that was sent stands.
    fn track_mesh(&self, receipt: &str, now: Timestamp) -> impl Future<Output = Result<Tracked, NotTaken>> + Send;
}
