//! Reading an authority's mailbox: taking what is in it, and how long it lies there.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    domain::{
        ageing::{Ageing, SPAN},
        authority::AuthorityCode,
        notification::{Content, Delivered, State, Taken},
    },
    ports::{MailboxMarks, MailboxReader, PageRequest, PortResult},
};

/// How many notifications are read at a time.
const PAGE: usize = 1_000;

/// Marks a notification as acknowledged or actioned (R89). What is done to a digest is done to each access in it, and to the
/// digest last: broken off and tried again, it goes on (R84). `None` where there is no such notification.
///
/// # Errors
/// Where a step failed. What was marked stays marked.
pub async fn mark(
    store: &(impl MailboxReader + MailboxMarks),
    authority: &AuthorityCode,
    id: Uuid,
    state: State,
    taken: &Taken,
) -> PortResult<Option<Delivered>> {
    let Some(held) = store.notification(authority, id).await? else { return Ok(None) };
    if let Content::Digest(digest) = &held.notification.content {
        for entry in &digest.entries {
            store.mark(authority, entry.id, state, taken).await?;
        }
    }
    store.mark(authority, id, state, taken).await
}

/// An authority's mailbox in figures (R90).
///
/// # Errors
/// Where it cannot be read.
pub async fn ageing(store: &impl MailboxReader, authority: &AuthorityCode, now: Timestamp) -> PortResult<Ageing> {
    let first = PageRequest { limit: 1, after: None };
    let unread = store.notifications(authority, Some(State::Unread), &first).await?;
    let mut page = PageRequest { limit: PAGE, after: None };
    let mut recent = Vec::new();
    loop {
        let found = store.notifications_since(authority, now - SPAN, &page).await?;
        recent.extend(found.items);
        page.after = found.next;
        if page.after.is_none() {
            return Ok(Ageing::of(authority, now, &recent, unread.items.first()));
        }
    }
}
