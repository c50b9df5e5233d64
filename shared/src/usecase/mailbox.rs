//! Reading an authority's mailbox: taking what is in it, and how long it lies there.

use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    domain::{
        ageing::{Ageing, SPAN},
        audit::{Actor, Entry, entry_id, kind},
        authority::AuthorityCode,
        notification::{Content, Delivered, State, Taken},
        reading::{Cadence, Reading},
    },
    ports::{
        AuditLog, Directory, MailboxMarks, MailboxReader, Page, PageRequest, PortResult, ReadingRulesWriter, Unreadable,
    },
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
    let marked = store.mark(authority, id, state, taken).await?;
    if let Some(digest) = marked.as_ref().and_then(|held| held.digest)
        && let Some(digest) = store.notification(authority, digest).await?
    {
        follow_members(store, &digest).await?;
    }
    Ok(marked)
}

/// R84: a digest whose accesses have all been taken one by one has been taken with the last of them. Whether that was news.
///
/// # Errors
/// Where a step failed.
pub(super) async fn follow_members(
    store: &(impl MailboxReader + MailboxMarks),
    digest: &Delivered,
) -> PortResult<bool> {
    let Content::Digest(told) = &digest.notification.content else { return Ok(false) };
    let authority = &digest.notification.authority;
    let mut members = Vec::with_capacity(told.entries.len());
    // Whoever takes them in their order has most of the last ones still before them: the first look finds that.
    for entry in told.entries.iter().rev() {
        match store.notification(authority, entry.id).await? {
            Some(member) if member.state > digest.state => members.push(member),
            _ => return Ok(false),
        }
    }
    let Some(state) = members.iter().map(|member| member.state).min() else { return Ok(false) };
    let step = |member: &Delivered| {
        let (at, by) = match state {
            State::Actioned => (member.actioned_at, member.actioned_by.clone()),
            _ => (member.acknowledged_at, member.acknowledged_by.clone()),
        };
        Some(Taken { at: at?, by: by.unwrap_or_else(|| authority.to_string()) })
    };
    let Some(last) = members.iter().filter_map(step).max_by_key(|taken| taken.at) else { return Ok(false) };
    store.mark(authority, digest.notification.id, state, &last).await?;
    Ok(true)
}

/// Makes these an authority's own rules of reading, once the audit log says so (R45): they decide how soon somebody is told. The
/// same request, made again, is one entry.
///
/// # Errors
/// Where a step failed. Without the entry nothing is changed.
pub async fn set_reading(
    store: &(impl Directory + AuditLog + ReadingRulesWriter),
    authority: &AuthorityCode,
    reading: &Reading,
    request: Uuid,
    now: Timestamp,
) -> PortResult<()> {
    let name = store.authority(authority).await?.map(|entry| entry.name).unwrap_or_default();
    let Reading { cadence, digest_hour, unread_minutes, urgent_unread_minutes } = reading;
    let cadence = match cadence {
        Cadence::EveryAccess => "every-access",
        Cadence::Digest => "digest",
    };
    let minutes = format!("{unread_minutes}/{urgent_unread_minutes}");
    let parts = [authority.as_str(), &request.to_string(), cadence, &digest_hour.to_string(), &minutes];
    let id = entry_id(kind::READING, &parts);
    let entry = Entry::new(id, now, kind::READING, Actor::authority(authority, &name), authority.as_str())
        .with("cadence", cadence)
        .with("digestHour", digest_hour)
        .with("unreadMinutes", unread_minutes)
        .with("urgentUnreadMinutes", urgent_unread_minutes);
    store.append(&[entry]).await?;
    store.set_reading(authority, reading).await
}

/// A part of an authority's mailbox. What cannot be read is left out, and told by itself: somebody must look at it.
///
/// # Errors
/// Where the mailbox cannot be read.
pub async fn list(
    store: &impl MailboxReader,
    authority: &AuthorityCode,
    state: Option<State>,
    page: &PageRequest,
) -> PortResult<(Page<Delivered>, Vec<Unreadable>)> {
    let found = store.notifications(authority, state, page).await?;
    let (items, unreadable) = apart(found.items);
    Ok((Page { items, next: found.next }, unreadable))
}

/// What can be read, and what cannot.
fn apart(items: Vec<Result<Delivered, Unreadable>>) -> (Vec<Delivered>, Vec<Unreadable>) {
    let (mut readable, mut unreadable) = (Vec::with_capacity(items.len()), Vec::new());
    for item in items {
        match item {
            Ok(held) => readable.push(held),
            Err(error) => unreadable.push(error),
        }
    }
    (readable, unreadable)
}

/// An authority's mailbox in figures (R90). What cannot be read counts in none of them.
///
/// # Errors
/// Where it cannot be read.
pub async fn ageing(store: &impl MailboxReader, authority: &AuthorityCode, now: Timestamp) -> PortResult<Ageing> {
    let since = now - SPAN;
    let mut page = PageRequest { limit: PAGE, after: None };
    let mut recent = Vec::new();
    loop {
        let found = store.notifications_since(authority, since, &page).await?;
        recent.extend(found.items.into_iter().flatten());
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
        let (items, _) = apart(found.items);
        let older: Vec<_> = items.iter().take_while(|held| held.notification.at < since).collect();
        oldest = oldest.into_iter().chain(older.iter().map(|held| held.delivered_at)).min();
        page.after = found.next.filter(|_| older.len() == items.len());
        if page.after.is_none() {
            return Ok(oldest);
        }
    }
}
