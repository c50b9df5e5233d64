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
/// digest last: broken off and tried again, it goes on; and what is done to each access in it is done to the digest (R84). `None`
/// where there is no such notification.
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
    let since = now - SPAN;
    let mut page = PageRequest { limit: PAGE, after: None };
    let mut recent = Vec::new();
    loop {
        let found = store.notifications_since(authority, since, &page).await?;
        recent.extend(found.items);
        page.after = found.next;
        if page.after.is_none() {
            break;
        }
    }
    let unread = recent.iter().filter(|held| held.state == State::Unread);
    let oldest = unread.map(|held| held.delivered_at).min();
    let oldest = oldest.into_iter().chain(older_unread(store, authority, since).await?).min();
    Ok(Ageing::of(authority, now, &recent, oldest))
}

/// When the one of those of what happened before a moment that has lain unread for longest reached the mailbox. What happened first
/// need not have come first: a replay may have brought it days later.
async fn older_unread(
    store: &impl MailboxReader,
    authority: &AuthorityCode,
    since: Timestamp,
) -> PortResult<Option<Timestamp>> {
    let mut page = PageRequest { limit: PAGE, after: None };
    let mut oldest: Option<Timestamp> = None;
    loop {
        let found = store.notifications(authority, Some(State::Unread), &page).await?;
        let older: Vec<_> = found.items.iter().take_while(|held| held.notification.at < since).collect();
        oldest = oldest.into_iter().chain(older.iter().map(|held| held.delivered_at)).min();
        page.after = found.next.filter(|_| older.len() == found.items.len());
        if page.after.is_none() {
            return Ok(oldest);
        }
    }
}
