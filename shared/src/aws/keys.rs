//! Names of key attributes, indexes and marks: the shape of the tables in `template.yaml`.

/// plans, accesses: the child's key.
pub const CHILD: &str = "child";
/// plans: `type#authority`.
pub const PLAN: &str = "plan";
/// plans, uploads, mailbox: the authority's GSS code.
pub const LA: &str = "la";
/// plans: index by authority.
pub const BY_AUTHORITY: &str = "by-authority";
/// accesses, mailbox: business id.
pub const ID: &str = "id";
/// accesses, mailbox: moment of the access.
pub const AT: &str = "at";
/// accesses, mailbox: index by time.
pub const BY_TIME: &str = "by-time";
/// accesses: hash of the index by organisation.
pub const ORGANISATION_CODE: &str = "organisationCode";
/// accesses: index by organisation and time.
pub const BY_ORGANISATION: &str = "by-organisation";
/// accesses: SDS user id of the person, or ASID of the device, that looked; never a name.
pub const PERSON: &str = "person";
/// accesses: index by person or device, and time.
pub const BY_PERSON: &str = "by-person";
/// outbox: [`OWED`], but for one entry that is [`LOOKED`].
pub const MARK: &str = "mark";
/// outbox: value of [`MARK`] of what is owed.
pub const OWED: &str = "owed";
/// outbox: value of [`MARK`] of when notices were last looked for.
pub const LOOKED: &str = "looked";
/// outbox: `at#child#id` of an access, `at#authority#id` of a notice.
pub const AT_CHILD_ID: &str = "at_child_id";
/// accesses: sparse index of what is not in the audit log yet.
pub const UNAUDITED: &str = "unaudited";
/// accesses: the attribute that puts an item into [`UNAUDITED`]; its value is [`DUE`].
pub const LEDGER: &str = "ledger";
/// audit: chain, or what else an item is.
pub const SHARD: &str = "shard";
/// audit: place in the chain, 1 and on; 0 for its head.
pub const NUMBER: &str = "number";
/// uploads: sequence, or number of a part of an answer.
pub const SEQUENCE: &str = "sequence";
/// mailbox: `state#at`.
pub const STATE_AT: &str = "state_at";
/// mailbox: index by state and time.
pub const BY_STATE: &str = "by-state";
/// mailbox: sparse index of what is still to be pushed, and the attribute that puts an item there.
pub const PUSH: &str = "push";
/// mailbox: name of the index by [`PUSH`] and [`PUSH_AT`].
pub const PUSHES: &str = "pushes";
/// mailbox: value of [`PUSH`]; accesses: of [`LEDGER`].
pub const DUE: &str = "due";
/// mailbox: since when it is due.
pub const PUSH_AT: &str = "push_at";
/// mailbox: the attribute that puts an item into [`WAKES`]; its value is [`DUE`] or [`ESCALATED`].
pub const WAKE: &str = "wake";
/// mailbox: value of [`WAKE`] of what was escalated and is not read yet.
pub const ESCALATED: &str = "escalated";
/// mailbox: when something is next to be done with it; of what was escalated, when.
pub const WAKE_AT: &str = "wake_at";
/// mailbox: sparse index of what is to be looked at again, by [`WAKE`] and [`WAKE_AT`].
pub const WAKES: &str = "wakes";
/// mailbox: [`ID`] of the authority's own rules of reading.
pub const READING: &str = "reading";
/// limits: who is counted or stopped.
pub const SUBJECT: &str = "subject";
/// limits: which stretch of time, or [`STOP`].
pub const SPAN: &str = "span";
/// limits: [`SPAN`] of a stop.
pub const STOP: &str = "stop";
/// directory: kind of entry.
pub const KIND: &str = "kind";
/// directory: code of entry.
pub const CODE: &str = "code";
/// directory: [`KIND`] of an authority.
pub const AUTHORITY: &str = "authority";
/// directory: [`KIND`] of a health care setting.
pub const SETTING: &str = "setting";
/// directory: [`KIND`] of a pilot.
pub const PILOT: &str = "pilot";
