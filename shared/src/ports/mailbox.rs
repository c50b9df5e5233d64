//! What an authority's mailbox is to those who fill it, read it and watch it.

use std::future::Future;

use jiff::Timestamp;
use uuid::Uuid;

use super::{Page, PageRequest, PortError, PortResult};
use crate::domain::{
    authority::AuthorityCode,
    notification::{Delivered, State, Taken, Weighed},
    reading::Reading,
    ways_out::Way,
};

/// An authority's mailbox, to deliver to.
pub trait Mailbox: Sync {
    /// Puts a notification there as unread. One of the same id is left as it is, and `false` returned.
    fn deliver(&self, delivered: &Delivered) -> impl Future<Output = PortResult<bool>> + Send;
}

/// Something in a mailbox that is not of the shape that this code writes. It hurts only itself, and has to be seen by an operator,
/// who finds it by its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Whose mailbox.
    pub authority: String,
    /// Under which id.
    pub id: String,
    /// What reading it comes to.
    pub error: PortError,
}

/// An authority's mailbox, to read.
pub trait MailboxReader: Sync {
    /// Notifications, oldest first; of one state, or all. One that cannot be read is told in its own place.
    fn notifications(
        &self,
        authority: &AuthorityCode,
        state: Option<State>,
        page: &PageRequest,
    ) -> impl Future<Output = PortResult<Page<Result<Delivered, Unreadable>>>> + Send;

    /// One of them, read consistently.
    fn notification(
        &self,
        authority: &AuthorityCode,
        id: Uuid,
    ) -> impl Future<Output = PortResult<Option<Delivered>>> + Send;

    /// Those of what happened at a moment or later, oldest first. One that cannot be read is told in its own place.
    fn notifications_since(
        &self,
        authority: &AuthorityCode,
        from: Timestamp,
        page: &PageRequest,
    ) -> impl Future<Output = PortResult<Page<Result<Delivered, Unreadable>>>> + Send;
}

/// An authority's mailbox, to mark what has been done (R89).
pub trait MailboxMarks: Sync {
    /// Marks one as acknowledged or actioned. Of each step the first one stands; `None` where there is no such notification.
    fn mark(
        &self,
        authority: &AuthorityCode,
        id: Uuid,
        state: State,
        taken: &Taken,
    ) -> impl Future<Output = PortResult<Option<Delivered>>> + Send;
}

/// All mailboxes, to see what is left lying there.
pub trait MailboxWatch: Sync {
    /// Notifications with which something was to be done before a moment, soonest first. The list may lag by moments: look at
    /// each one before doing it.
    fn wakes_before(
        &self,
        moment: Timestamp,
        page: &PageRequest,
    ) -> impl Future<Output = PortResult<Page<(AuthorityCode, Uuid)>>> + Send;

    /// Notes that one was escalated, and that it is to be pushed on these ways besides (R85). `false` where it had been read
    /// or escalated meanwhile; by the same call, whose answer was lost, it was escalated.
    fn escalate(&self, held: &Delivered, at: Timestamp, ways: &[Way]) -> impl Future<Output = PortResult<bool>> + Send;

    /// Notes what is known of one now that it has been weighed (R83): nothing where it was read, escalated or weighed meanwhile.
    fn weigh(&self, held: &Delivered, weighed: &Weighed) -> impl Future<Output = PortResult<()>> + Send;

    /// Those that were escalated at a moment or later and have not been read. The list may lag by moments.
    fn escalated_since(
        &self,
        moment: Timestamp,
        page: &PageRequest,
    ) -> impl Future<Output = PortResult<Page<(AuthorityCode, Uuid)>>> + Send;

    /// Delivers a digest and notes in each of those it holds, 1 to [`DIGEST_LENGTH`](crate::domain::notice::DIGEST_LENGTH),
    /// that it went out: all of it or nothing (R84). `false` where one of them did not wait any more.
    fn put_digest(&self, digest: &Delivered, held: &[Delivered]) -> impl Future<Output = PortResult<bool>> + Send;
}

/// Knows each authority's own rules of reading.
pub trait ReadingRules: Sync {
    /// What an authority chose; the default where it chose nothing.
    fn reading(&self, authority: &AuthorityCode) -> impl Future<Output = PortResult<Reading>> + Send;
}

/// Keeps each authority's own rules of reading.
pub trait ReadingRulesWriter: Sync {
    /// Makes these the authority's rules. They count for what is delivered from then on; the latest call stands.
    fn set_reading(&self, authority: &AuthorityCode, reading: &Reading) -> impl Future<Output = PortResult<()>> + Send;
}
