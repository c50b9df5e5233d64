//! What use cases need of the world: one trait a capability, so that a signature says what a function may touch.

pub mod audit;
pub mod mailbox;
pub mod push;

pub use audit::*;
pub use mailbox::*;
pub use push::*;

use std::{collections::BTreeMap, future::Future};

use jiff::Timestamp;
use uuid::Uuid;

use crate::domain::{
    access::Access,
    audit_search::AuditSearch,
    authority::{Authority, AuthorityCode},
    contact::Contact,
    nhs_number::ChildKey,
    notification::{Notification, Owing},
    pilot::Pilot,
    plan::{Plan, PlanId},
    setting::Setting,
    upload::{Acknowledgement, UploadSummary},
    watch::{Code, Mark, Stop, Subject, Window},
};

/// Why a port did not do its work. Carries no identifier of a child (R31).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {cause}")]
pub struct PortError {
    /// Which step failed, such as `plans.query`.
    pub step: &'static str,
    /// What the service said: an error code, never a message that might repeat the request.
    pub cause: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
}

impl PortError {
    /// The step of an error about a page's `after`, which is its sender's to mend.
    const PAGE: &str = "page.after";

    /// `after` is not what a page before gave as its `next`.
    #[must_use]
    pub fn bad_cursor() -> Self {
        Self { step: Self::PAGE, cause: "not a cursor of this list".into(), retryable: false }
    }

    /// Whether this is [`PortError::bad_cursor`].
    #[must_use]
    pub fn is_bad_cursor(&self) -> bool {
        self.step == Self::PAGE
    }
}

/// The outcome of a port's work.
pub type PortResult<T> = Result<T, PortError>;

/// The time.
pub trait Clock: Send + Sync {
    /// Now, to the millisecond.
    fn now(&self) -> Timestamp;
}

/// A part of a list (R32).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where the rest begins; absent at the end.
    pub next: Option<String>,
}

/// Which part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// How many entries at the most, 1 to 1,000.
    pub limit: usize,
    /// `next` of the page before.
    pub after: Option<String>,
}

/// Reads the plans of a child.
pub trait PlanReader: Sync {
    /// Every plan held under the key, visible or not, read consistently.
    fn plans_of(&self, child: &ChildKey) -> impl Future<Output = PortResult<Vec<Plan>>> + Send;
}

/// On what a plan's write depends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// Nothing held, or nothing newer.
    NothingNewer,
    /// A started plan held, and nothing newer.
    StartedAndNothingNewer,
    /// Still nothing held.
    Absent,
    /// What is held is still of this sequence, and still awaits its start.
    StillAwaiting(u64),
}

/// Whether a plan was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlanWrite {
    /// It was.
    Written,
    /// The guard forbade it; what is held instead.
    Refused(Option<Box<Plan>>),
}

/// Writes plans.
pub trait PlanWriter: Sync {
    /// Writes one plan if the guard allows it. Repeating the call changes nothing.
    fn write_plan(
        &self,
        child: &ChildKey,
        plan: &Plan,
        guard: Guard,
    ) -> impl Future<Output = PortResult<PlanWrite>> + Send;

    /// Gives a plan that is held the telephone numbers of upload `sequence`, unless it has later ones or is gone (R33).
    fn write_contact(
        &self,
        child: &ChildKey,
        plan: &PlanId,
        contact: &Contact,
        sequence: u64,
    ) -> impl Future<Output = PortResult<()>> + Send;
}

/// Lists the plans of an authority.
pub trait PlanRegister: Sync {
    /// Plans held for an authority, withdrawn ones too, in an order of no meaning; each with its child's key.
    fn plans_held(
        &self,
        authority: &AuthorityCode,
        page: &PageRequest,
    ) -> impl Future<Output = PortResult<Page<(ChildKey, Plan)>>> + Send;
}

/// How an upload stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Not seen before: now it is begun.
    Begun,
    /// Begun before, by a file of this digest, but not completed.
    Unfinished {
        /// Digest of the file that began it.
        digest: String,
    },
    /// Completed.
    Completed {
        /// Digest of the completed file.
        digest: String,
        /// The answer that was given, byte for byte.
        answer: Vec<u8>,
    },
}

/// Keeps uploads and their answers.
pub trait UploadLog: Sync {
    /// Notes that a file is being processed, unless its sequence is known.
    fn begin(
        &self,
        authority: &AuthorityCode,
        upload: &UploadSummary,
    ) -> impl Future<Output = PortResult<Standing>> + Send;

    /// Keeps the answer. The first one kept stands: it is what is returned.
    fn complete(
        &self,
        authority: &AuthorityCode,
        acknowledgement: &Acknowledgement,
        answer: &[u8],
    ) -> impl Future<Output = PortResult<Vec<u8>>> + Send;
}

/// An authority's telephone numbers as they stand (R33).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactStanding {
    /// The numbers.
    pub contact: Contact,
    /// Sequence of the latest upload that gave them.
    pub sequence: u64,
    /// How many more uploads must write them onto all the authority's plans; 2 after a change, 0 when settled.
    pub spreads_due: u32,
}

impl ContactStanding {
    /// What is to be kept once upload `sequence` has given these numbers (R33). After a change they are spread twice, because
    /// the index of an authority's plans may lag.
    ///
    /// # Errors
    /// What is held, where that is as late or later: it stands.
    pub fn advanced(held: Option<&Self>, contact: &Contact, sequence: u64) -> Result<Self, Self> {
        let spreads_due = match held {
            Some(held) if held.sequence >= sequence => return Err(held.clone()),
            Some(held) if held.contact != *contact => 2,
            Some(held) => held.spreads_due,
            None => 0,
        };
        Ok(Self { contact: contact.clone(), sequence, spreads_due })
    }
}

/// Keeps each authority's telephone numbers.
pub trait ContactLog: Sync {
    /// Makes these the authority's numbers unless a later upload gave others; returns those that count.
    fn advance_contact(
        &self,
        authority: &AuthorityCode,
        contact: &Contact,
        sequence: u64,
    ) -> impl Future<Output = PortResult<ContactStanding>> + Send;

    /// The numbers that count now, read consistently.
    fn contact(&self, authority: &AuthorityCode) -> impl Future<Output = PortResult<Option<ContactStanding>>> + Send;

    /// Notes that all plans have these numbers now: one spread fewer is due, unless the numbers changed since.
    fn contact_spread(
        &self,
        authority: &AuthorityCode,
        standing: &ContactStanding,
    ) -> impl Future<Output = PortResult<()>> + Send;
}

/// Reads uploads back.
pub trait UploadReader: Sync {
    /// An authority's uploads, the highest sequence first.
    fn uploads(
        &self,
        authority: &AuthorityCode,
        page: &PageRequest,
    ) -> impl Future<Output = PortResult<Page<UploadSummary>>> + Send;

    /// How one upload stands; `None` where its sequence is not known.
    fn upload(
        &self,
        authority: &AuthorityCode,
        sequence: u64,
    ) -> impl Future<Output = PortResult<Option<Standing>>> + Send;
}

/// Records accesses.
pub trait AccessLog: Sync {
    /// Records an access in one write, the outbox included. An access of the same id is left as it is and returned.
    fn record(&self, access: &Access) -> impl Future<Output = PortResult<Option<Access>>> + Send;
}

/// Reads one access back.
pub trait AccessReader: Sync {
    /// An access, read consistently; `None` where there is none of this child under this id.
    fn access(&self, child: &ChildKey, id: Uuid) -> impl Future<Output = PortResult<Option<Access>>> + Send;
}

/// Reads accesses back.
pub trait AccessHistory: Sync {
    /// A child's accesses, newest first.
    fn accesses_of(
        &self,
        child: &ChildKey,
        page: &PageRequest,
    ) -> impl Future<Output = PortResult<Page<Access>>> + Send;
}

/// Searches the accesses for whoever audits them.
pub trait AccessSearch: Sync {
    /// Accesses that the search asks for and may see, newest first. A page may hold fewer than were asked for, even none,
    /// while there is a next one: what may not be seen is passed over.
    ///
    /// A search by child finds every access recorded so far. One by person or organisation may miss those of the last
    /// moments, as DynamoDB brings its global indexes up to date a little later; paging on never leaves one out, nor gives
    /// one twice, whatever is recorded meanwhile.
    fn search(&self, search: &AuditSearch, page: &PageRequest)
    -> impl Future<Output = PortResult<Page<Access>>> + Send;
}

/// An entry of the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Where it stands there, which says since when it is owed ([`Owing::since`]), though nothing else of it can be read.
    pub position: String,
    /// What is owed.
    pub owing: PortResult<Owing>,
}

/// What authorities are still to be told: accesses, and notices of anything else.
pub trait Outbox: Sync {
    /// What was owed before a moment, oldest first. An entry that cannot be read has an error in its own place: it must
    /// not hold up the others, nor be overlooked.
    fn owed_before(
        &self,
        moment: Timestamp,
        page: &PageRequest,
    ) -> impl Future<Output = PortResult<Page<OutboxEntry>>> + Send;

    /// Notes that the notifications of these entries are on their way. Repeating it changes nothing.
    fn settle(&self, owing: &[Owing]) -> impl Future<Output = PortResult<()>> + Send;
}

/// Takes notices that no access raised, to be relayed as accesses are (R94).
pub trait NoticeOutbox: Sync {
    /// Owes notices, each in one write. Repeating it changes nothing. Where it fails, some may be owed: repeat the call.
    fn owe(&self, notices: &[Notification]) -> impl Future<Output = PortResult<()>> + Send;
}

/// Remembers when it was last looked for a day's notices, with nothing left undone.
pub trait LookLog: Sync {
    /// Notes that it was at a moment; the latest call stands.
    fn note_look(&self, at: Timestamp) -> impl Future<Output = PortResult<()>> + Send;

    /// When it was; `None` where it never was.
    fn last_look(&self) -> impl Future<Output = PortResult<Option<Timestamp>>> + Send;
}

/// Attribute of a message that says when it was first put into its queue; whoever sends it again keeps it.
pub const QUEUED_AT: &str = "queuedAt";

/// Takes notifications for delivery.
pub trait NotificationQueue: Sync {
    /// Sends them, and with each the moment at which it was first sent: now. Answers for each, in the same order, whether the
    /// queue has it.
    fn send(&self, notifications: &[Notification], now: Timestamp) -> impl Future<Output = Vec<PortResult<()>>> + Send;
}

/// Handles messages that could not be delivered.
pub trait FailedDeliveries: Sync {
    /// Lets a message wait this many seconds (0 to 43,200) before it is tried again.
    fn postpone(&self, receipt: &str, seconds: u32) -> impl Future<Output = PortResult<()>> + Send;

    /// Puts a message into the dead-letter queue, with why.
    fn set_aside(&self, body: &str, why: &SetAside) -> impl Future<Output = PortResult<()>> + Send;
}

/// Why a message was set aside. Nothing here identifies a child (R31).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// A stable code, such as `authority-unknown`.
    pub reason: String,
    /// The authority's code, or `unknown` where the message could not be read.
    pub authority: String,
    /// How often delivery was tried.
    pub attempts: u32,
    /// When it was given up.
    pub failed_at: Timestamp,
    /// X-Ray trace header of the message, to be kept.
    pub trace: Option<String>,
    /// The message's own attributes, to be kept.
    pub attributes: BTreeMap<String, String>,
}

/// Knows the authorities.
pub trait Directory: Sync {
    /// The entry of an authority; `None` where it has none.
    fn authority(&self, code: &AuthorityCode) -> impl Future<Output = PortResult<Option<Authority>>> + Send;
}

/// Lists the authorities.
pub trait AuthorityList: Sync {
    /// Every authority of the directory, closed ones too. One whose entry cannot be read is an error in its own place.
    fn authorities(&self) -> impl Future<Output = PortResult<Vec<PortResult<Authority>>>> + Send;
}

/// Knows the health care settings.
pub trait SettingDirectory: Sync {
    /// The entry of an organisation, by its ODS code; `None` where it has none, and for what can be no code.
    fn setting(&self, code: &str) -> impl Future<Output = PortResult<Option<Setting>>> + Send;

    /// Every pilot, those that are over too.
    fn pilots(&self) -> impl Future<Output = PortResult<Vec<Pilot>>> + Send;
}

/// Marks kept in a window, and what was found of them before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tallied {
    /// The marks, oldest first, each once.
    pub marks: Vec<Mark>,
    /// Codes of the findings that have been told.
    pub told: Vec<String>,
}

/// Keeps the marks by which look-ups are counted (R57).
pub trait Tally: Sync {
    /// Adds marks, each once however often it is added and by whom, and returns all that the window then holds. A window
    /// that is full ([`Span::capacity`](crate::domain::watch::Span::capacity)) takes no more.
    fn add(&self, window: &Window, marks: &[Mark]) -> impl Future<Output = PortResult<Tallied>> + Send;

    /// The marks of windows, in the same order; none where a window holds none.
    fn marks(&self, windows: &[Window]) -> impl Future<Output = PortResult<Vec<Vec<Mark>>>> + Send;

    /// Notes that a finding has been told. Repeating it changes nothing.
    fn tell(&self, window: &Window, code: Code) -> impl Future<Output = PortResult<()>> + Send;

    /// Stops a subject until a moment; a later one that holds already stands.
    fn stop(&self, subject: &Subject, until: Timestamp) -> impl Future<Output = PortResult<()>> + Send;
}

/// Knows who is stopped (R55).
pub trait Stops: Sync {
    /// What is held of these subjects, ended stops too; nothing of those that never were stopped.
    fn stops_of(&self, subjects: &[Subject]) -> impl Future<Output = PortResult<Vec<Stop>>> + Send;
}

/// Ends stops, for operators.
pub trait StopClearing: Sync {
    /// Ends a subject's stop now: what it looked up until then counts towards no further one.
    fn clear(&self, subject: &Subject, now: Timestamp) -> impl Future<Output = PortResult<()>> + Send;
}
