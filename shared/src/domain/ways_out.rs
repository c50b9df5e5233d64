//! The ways out beside the mailbox that an authority chooses, and how far a notification has come on each.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    authority::AuthorityCode,
    notification::{Delivered, Notification},
};

/// A way out beside the mailbox (R73).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// An HTTPS request to the authority's own server.
    Webhook,
    /// The NHS's message exchange.
    Mesh,
    /// An HTTPS request to the second contact's server, once a notification is escalated (R85).
    SecondWebhook,
    /// A message to the second contact's MESH mailbox, once a notification is escalated (R85).
    SecondMesh,
}

impl Way {
    /// Its name in messages, items and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Mesh => "mesh",
            Self::SecondWebhook => "second-webhook",
            Self::SecondMesh => "second-mesh",
        }
    }

    /// Whether it leads to the second contact (R85).
    #[must_use]
    pub const fn is_second(self) -> bool {
        matches!(self, Self::SecondWebhook | Self::SecondMesh)
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an authority chose beside its mailbox; nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaysOut {
    /// An HTTPS request to its server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// A message to its MESH mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mesh: Option<MeshBox>,
    /// The second contact's server: told of what was left unread for too long (R85).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_webhook: Option<Webhook>,
    /// The second contact's MESH mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second_mesh: Option<MeshBox>,
}

/// Where an authority's webhook is. The address is checked each time it is used, since a directory may hold anything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Its address, `https://…`.
    pub url: String,
    /// Numbers of the keys that sign, the newest first: two while a key is changed.
    #[serde(default = "first_key")]
    pub keys: Vec<u32>,
}

fn first_key() -> Vec<u32> {
    vec![1]
}

impl Webhook {
    /// At an address, signed with the first key.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), keys: first_key() }
    }
}

/// An authority's MESH mailbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MeshBox {
    /// The mailbox's id, such as `X26ABC1`.
    pub mailbox: String,
}

/// Where a way leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receiver<'a> {
    /// To a server.
    Webhook(&'a Webhook),
    /// To a MESH mailbox.
    Mesh(&'a MeshBox),
}

impl WaysOut {
    /// Whether the mailbox alone was chosen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The ways chosen.
    pub fn ways(&self) -> impl Iterator<Item = Way> {
        let webhook = self.webhook.as_ref().map(|_| Way::Webhook);
        webhook.into_iter().chain(self.mesh.as_ref().map(|_| Way::Mesh))
    }

    /// The ways to the second contact (R85).
    pub fn second_ways(&self) -> impl Iterator<Item = Way> {
        let webhook = self.second_webhook.as_ref().map(|_| Way::SecondWebhook);
        webhook.into_iter().chain(self.second_mesh.as_ref().map(|_| Way::SecondMesh))
    }

    /// Where a way leads; none where it is not chosen any more.
    #[must_use]
    pub const fn receiver(&self, way: Way) -> Option<Receiver<'_>> {
        let (webhook, mesh) = match way {
            Way::Webhook => (self.webhook.as_ref(), None),
            Way::SecondWebhook => (self.second_webhook.as_ref(), None),
            Way::Mesh => (None, self.mesh.as_ref()),
            Way::SecondMesh => (None, self.second_mesh.as_ref()),
        };
        match (webhook, mesh) {
            (Some(webhook), _) => Some(Receiver::Webhook(webhook)),
            (None, Some(mesh)) => Some(Receiver::Mesh(mesh)),
            (None, None) => None,
        }
    }

    /// A notification's pushes before any was tried: one for each way chosen.
    #[must_use]
    pub fn pushes(&self) -> Pushes {
        self.ways().map(|way| (way, Push::default())).collect()
    }
}

/// How far a notification has come on each way out.
pub type Pushes = BTreeMap<Way, Push>;

/// How far a notification has come on one way out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Push {
    /// How far.
    pub state: PushState,
    /// Since when; not before the first try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// How often the receiver was tried.
    #[serde(default)]
    pub attempts: u32,
    /// Why it is not there, as a stable code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// MESH's id of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<String>,
}

impl Push {
    /// Whether this says what became of a message after MESH had taken it, which alone may follow [`PushState::Sent`].
    #[must_use]
    pub fn ends_sent(&self) -> bool {
        self.state == PushState::GivenUp && self.receipt.is_some()
    }
}

/// Where a push stands (R73). The mailbox has the notification in every one of these.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PushState {
    /// It is still to be sent.
    #[default]
    Pending,
    /// The receiver said that it has it; MESH, that it will keep it for the receiver.
    Sent,
    /// The authority took it out of its MESH mailbox.
    Collected,
    /// The receiver will never take it, or the authority no longer wants it this way.
    Refused,
    /// Days of tries came to nothing.
    GivenUp,
}

impl PushState {
    /// Whether the receiver has it.
    #[must_use]
    pub const fn is_sent(self) -> bool {
        matches!(self, Self::Sent | Self::Collected)
    }
}

/// What the push queue is told: whose notification to send which way. Nothing in it identifies a child (R31); the
/// notification itself stays in the mailbox until it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PushTask {
    /// Business id, from the notification and the way: as a notification's, it is the same however often it is sent.
    pub id: Uuid,
    /// Whose.
    pub authority: AuthorityCode,
    /// Which notification.
    pub notification: Uuid,
    /// Which way.
    pub way: Way,
    /// The look-up's `TraceID`.
    pub trace_id: Uuid,
}

impl PushTask {
    /// To send a notification one way.
    #[must_use]
    pub fn new(authority: AuthorityCode, notification: Uuid, way: Way, trace_id: Uuid) -> Self {
        let id = Uuid::new_v5(&notification, way.name().as_bytes());
        Self { id, authority, notification, way, trace_id }
    }

    /// The tasks of a notification that was delivered with these pushes.
    pub fn all<'a>(notification: &'a Notification, pushes: &'a Pushes) -> impl Iterator<Item = Self> + 'a {
        let Notification { id, authority, trace_id, .. } = notification;
        pushes.keys().map(|way| Self::new(authority.clone(), *id, *way, *trace_id))
    }
}

/// A notification as it goes out: what a receiver is sent is its JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outgoing<'a> {
    /// The message's own id, of which a receiver takes each once. The second contact's is another one than the first's: the two may
    /// share a system, which would else take an escalation for what it has already (R85).
    #[serde(skip)]
    pub id: Uuid,
    /// The notification.
    #[serde(flatten)]
    pub notification: &'a Notification,
    /// When it was escalated, where that is why it is sent (R85).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escalated_at: Option<Timestamp>,
}

impl<'a> Outgoing<'a> {
    /// To the authority itself.
    #[must_use]
    pub const fn first(notification: &'a Notification) -> Self {
        Self { id: notification.id, notification, escalated_at: None }
    }
}

impl PushTask {
    /// What is sent of a delivered notification.
    #[must_use]
    pub fn outgoing<'a>(&self, held: &'a Delivered) -> Outgoing<'a> {
        let first = Outgoing::first(&held.notification);
        if self.way.is_second() { Outgoing { id: self.id, escalated_at: held.escalated_at, ..first } } else { first }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_entry_says_as_much_as_was_chosen() {
        for (json, ways) in [
            ("{}", vec![]),
            (r#"{"webhook":{"url":"https://council.example/asn"}}"#, vec![Way::Webhook]),
            (r#"{"mesh":{"mailbox":"X26ABC1"}}"#, vec![Way::Mesh]),
            (
                r#"{"webhook":{"url":"https://council.example/asn","keys":[2,1]},"mesh":{"mailbox":"X26ABC1"}}"#,
                vec![Way::Webhook, Way::Mesh],
            ),
        ] {
            let chosen: WaysOut = serde_json::from_str(json).expect("readable");
            assert_eq!(chosen.ways().collect::<Vec<_>>(), ways, "{json}");
            assert_eq!(chosen.is_empty(), ways.is_empty());
            assert_eq!(chosen.pushes().into_keys().collect::<Vec<_>>(), ways);
        }
        let chosen: WaysOut = serde_json::from_str(r#"{"webhook":{"url":"https://council.example/asn"}}"#).expect("it");
        assert_eq!(chosen.webhook, Some(Webhook::at("https://council.example/asn")));
    }

    #[test]
    fn r31_a_task_names_no_child() {
        let authority = AuthorityCode::parse("E06000001").expect("valid");
        let task = PushTask::new(authority, Uuid::from_u128(1), Way::Mesh, Uuid::from_u128(2));
        let json = serde_json::to_value(&task).expect("JSON");
        let fields: Vec<_> = json.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(fields, ["authority", "id", "notification", "traceId", "way"]);
    }
}
