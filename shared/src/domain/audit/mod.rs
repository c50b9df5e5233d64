//! The audit log: what was done, by whom, to whose record; each entry chained to the one before by its hash (R45, R46).

mod encoding;
mod hash;
pub mod statement;
#[cfg(test)]
mod tests;
pub mod verify;

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use hash::Hash;

use super::{
    access::{Access, Interaction},
    authority::AuthorityCode,
    caller::{Requester, Requester::Device, Requester::Person},
    nhs_number::ChildKey,
};

/// How many chains the log has. Appends to different chains do not wait for each other.
pub const SHARDS: u8 = 16;

/// What is audited. The codes are stable: courts and scripts read them.
pub mod kind {
    /// A child was looked up.
    pub const LOOK_UP: &str = "look-up";
    /// A look-up was refused; nothing was disclosed.
    pub const LOOK_UP_REFUSED: &str = "look-up-refused";
    /// An authority's file was loaded.
    pub const UPLOAD: &str = "upload";
    /// An entry of the directory was added, changed, opened or closed.
    pub const DIRECTORY_CHANGE: &str = "directory-change";
    /// Dead letters were sent back for delivery.
    pub const REPLAY: &str = "dead-letter-replay";
    /// A dead letter was shown with all that it says of a child.
    pub const DEAD_LETTER_REVEAL: &str = "dead-letter-reveal";
    /// Dead letters were deleted.
    pub const DEAD_LETTER_DISCARD: &str = "dead-letter-discard";
    /// Dead letters were moved to an archive.
    pub const DEAD_LETTER_ARCHIVE: &str = "dead-letter-archive";
    /// Dead letters were put back from an archive.
    pub const DEAD_LETTER_RESTORE: &str = "dead-letter-restore";
    /// The log of accesses was searched.
    pub const AUDIT_SEARCH: &str = "audit-search";
    /// A search of the log of accesses was refused; nothing was shown.
    pub const AUDIT_SEARCH_REFUSED: &str = "audit-search-refused";
    /// Something unusual was noticed.
    pub const FINDING: &str = "finding";
    /// Changes of NHS numbers were sent in.
    pub const NUMBER_CHANGES: &str = "number-changes";
    /// An authority chose how it is told of accesses, and how long they may be left unread.
    pub const READING: &str = "reading";
    /// An operator changed somebody's budget.
    pub const LIMITS_CHANGE: &str = "limits-change";
}

/// What sort of actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ActorKind {
    /// Somebody who signed in; known by the SDS user id.
    Person,
    /// A system that asks by itself; known by its ASID.
    Device,
    /// A local authority's system; known by its GSS code.
    Authority,
    /// An operator at the command line; known by the account's name.
    Operator,
    /// A function of this system; known by its name.
    System,
}

impl ActorKind {
    /// The code, as it is written and hashed.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Device => "device",
            Self::Authority => "authority",
            Self::Operator => "operator",
            Self::System => "system",
        }
    }
}

/// Who did it. Ids and names are for whoever reads the log; never for keys or log lines (R31).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// What sort.
    pub kind: ActorKind,
    /// Known by.
    pub id: String,
    /// Name of the person, of the one who answers for the device, or of the authority; may be empty.
    pub name: String,
}

impl Actor {
    /// A person or device in health care.
    #[must_use]
    pub fn of(requester: &Requester) -> Self {
        let (kind, id) = match requester {
            Person(person) => (ActorKind::Person, person.user.clone()),
            Device(device) => (ActorKind::Device, device.asid.clone()),
        };
        Self { kind, id, name: requester.name().to_owned() }
    }

    /// A local authority's system.
    #[must_use]
    pub fn authority(code: &AuthorityCode, name: &str) -> Self {
        Self { kind: ActorKind::Authority, id: code.to_string(), name: name.to_owned() }
    }

    /// An operator, by the name of the account.
    #[must_use]
    pub fn operator(account: &str) -> Self {
        Self { kind: ActorKind::Operator, id: account.to_owned(), name: String::new() }
    }

    /// A function of this system.
    #[must_use]
    pub fn system(function: &str) -> Self {
        Self { kind: ActorKind::System, id: function.to_owned(), name: String::new() }
    }
}

/// Name space of the ids of entries (UUID version 5, RFC 9562 section 5.5).
const ENTRY_IDS: Uuid = Uuid::from_u128(0x1b9c_6f7e_3a52_4d0f_8e41_90b7_c2d6_5a33);

/// The id of an entry that is known by these parts of what was done: the same each time.
#[must_use]
pub fn entry_id(kind: &str, parts: &[&str]) -> Uuid {
    let name: String = std::iter::once(&kind).chain(parts).map(|part| format!("{}:{part}", part.len())).collect();
    Uuid::new_v5(&ENTRY_IDS, name.as_bytes())
}

/// Something that was done (R45). Written once for its id, and never changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Made from what was done, so that telling of it twice is telling of it once.
    pub id: Uuid,
    /// When it was done, to the millisecond.
    #[serde(serialize_with = "super::time::serialize")]
    pub at: Timestamp,
    /// What was done: one of [`kind`].
    pub kind: String,
    /// Who did it.
    pub actor: Actor,
    /// ODS code of the organisation or GSS code of the authority on whose behalf; empty where there is none.
    pub organisation: String,
    /// The child whose record it concerns, by key and never by number (R3); empty where it concerns none.
    pub subject: Option<ChildKey>,
    /// The rest, by stable names in camelCase. Lists are joined by commas.
    pub details: BTreeMap<String, String>,
}

impl Entry {
    /// An entry without subject and details.
    #[must_use]
    pub fn new(id: Uuid, at: Timestamp, kind: &str, actor: Actor, organisation: &str) -> Self {
        let (kind, organisation) = (kind.to_owned(), organisation.to_owned());
        Self { id, at, kind, actor, organisation, subject: None, details: BTreeMap::new() }
    }

    /// With the child whom it concerns.
    #[must_use]
    pub fn about(mut self, subject: &ChildKey) -> Self {
        self.subject = Some(subject.clone());
        self
    }

    /// With a detail. An empty value says nothing and is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl fmt::Display) -> Self {
        let value = value.to_string();
        if !value.is_empty() {
            self.details.insert(name.to_owned(), value);
        }
        self
    }

    /// The chain that the entry belongs to.
    #[must_use]
    pub fn shard(&self) -> Shard {
        // The last byte: of a UUID version 5 or 4 it is as good as random.
        Shard(self.id.as_bytes()[15] % SHARDS)
    }
}

impl From<&Access> for Entry {
    /// The entry of a look-up, the same each time (R45).
    fn from(access: &Access) -> Self {
        let kind = if access.refused.is_some() { kind::LOOK_UP_REFUSED } else { kind::LOOK_UP };
        let entry = Self::new(access.id, access.at, kind, Actor::of(&access.requester), &access.organisation.code)
            .about(&access.child)
            .with("organisationName", &access.organisation.name)
            .with("interaction", Interaction::name(access.interaction))
            .with("unscheduled", access.unscheduled)
            .with("disclosed", access.disclosed.join(","))
            .with("notified", access.owed.iter().map(|o| o.authority.as_str()).collect::<Vec<_>>().join(","))
            .with("traceId", access.trace_id)
            .with("care", access.care.iter().map(|kind| kind.code()).collect::<Vec<_>>().join(","));
        // R43
        let more = [("region", &access.region), ("refused", &access.refused)];
        let entry = more
            .into_iter()
            .fold(entry, |entry, (name, value)| value.iter().fold(entry, |entry, value| entry.with(name, value)));
        match &access.requester {
            Person(person) => entry
                .with("roleProfile", &person.role_profile)
                .with("jobRole", &person.job_role.code)
                .with("jobRoleName", &person.job_role.display),
            Device(_) => entry,
        }
    }
}

/// One of the log's chains, 0 to 15; written as two hexadecimal digits, `0a`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard(u8);

impl Shard {
    /// All of them, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..SHARDS).map(Self)
    }

    /// As a position, 0 to 15.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}", self.0)
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> Self {
        shard.to_string()
    }
}

impl TryFrom<String> for Shard {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::all().find(|shard| shard.to_string() == text).ok_or("no shard of the audit log")
    }
}

/// An entry in its place in a chain (R46).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chained {
    /// Which chain.
    pub shard: Shard,
    /// Which place in it: 1 and on, without a gap.
    pub number: u64,
    /// What was done.
    #[serde(flatten)]
    pub entry: Entry,
    /// Hash of the entry before; [`Hash::NONE`] for the first.
    pub previous: Hash,
    /// Hash of this entry and its place, over all of the above.
    pub hash: Hash,
}

impl Chained {
    /// Whether the hash is that of what the entry says.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.hash == encoding::hash(self.shard, self.number, &self.entry, &self.previous)
    }
}

/// Where a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which chain.
    pub shard: Shard,
    /// Number of its last entry; 0 where it has none.
    pub number: u64,
    /// Hash of its last entry.
    pub hash: Hash,
}

impl Head {
    /// Of a chain without entries.
    #[must_use]
    pub const fn empty(shard: Shard) -> Self {
        Self { shard, number: 0, hash: Hash::NONE }
    }

    /// Chains an entry to the end, and moves on to it (R46).
    pub fn chain(&mut self, entry: Entry) -> Chained {
        let (shard, number, previous) = (self.shard, self.number + 1, self.hash);
        let hash = encoding::hash(shard, number, &entry, &previous);
        (self.number, self.hash) = (number, hash);
        Chained { shard, number, entry, previous, hash }
    }
}
