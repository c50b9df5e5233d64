//! What is left lying in the mailboxes: digests that are due, and notifications that nobody has read for too long. Called every
//! minute.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    domain::{
        authority::AuthorityCode,
        notice::{DIGEST_LENGTH, Digest},
        notification::{Delivered, State},
        ways_out::WaysOut,
    },
    ports::{Clock, Directory, MailboxReader, MailboxWatch, PageRequest, PortError, PortResult, ReadingRules},
};

/// How many notifications are taken at a time.
const PAGE: usize = 200;
/// How many are looked at at once.
const CONCURRENCY: usize = 16;

/// What was done.
#[derive(Debug, Default)]
pub struct Watched {
    /// Those that were escalated (R85).
    pub escalated: Vec<Delivered>,
    /// The digests that were delivered (R84).
    pub digests: Vec<Delivered>,
    /// When the one that waited longest was due; none where nothing was.
    pub oldest: Option<Timestamp>,
    /// What could not be done; it is still due, and the next call tries it again.
    pub failed: Vec<PortError>,
}

/// Escalates what was left unread for too long (R85) and delivers the digests that are due (R84). What fails hurts nothing else.
///
/// # Errors
/// Where what is due cannot be listed. What was done before stays done.
pub async fn watch(
    store: &(impl MailboxReader + MailboxWatch),
    directory: &(impl Directory + ReadingRules),
    clock: &impl Clock,
) -> PortResult<Watched> {
    let now = clock.now();
    let mut watched = Watched::default();
    let mut waiting: BTreeMap<AuthorityCode, Vec<Delivered>> = BTreeMap::new();
    let mut page = PageRequest { limit: PAGE, after: None };
    loop {
        let due = store.wakes_before(now, &page).await?;
        let looks: Vec<_> = due.items.into_iter().map(|key| look(store, directory, key, now)).collect();
        let mut looks = stream::iter(looks).buffered(CONCURRENCY);
        while let Some(seen) = looks.next().await {
            if let Ok(Seen::Waits(held) | Seen::Escalated(held)) = &seen {
                watched.oldest = watched.oldest.into_iter().chain(held.wakes_at()).min();
            }
            match seen {
                Ok(Seen::Waits(held)) => {
                    waiting.entry(held.notification.authority.clone()).or_default().push(*held);
                }
                Ok(Seen::Escalated(held)) => watched.escalated.push(*held),
                Ok(Seen::Nothing) => {}
                Err(error) => watched.failed.push(error),
            }
        }
        page.after = due.next;
        if page.after.is_none() {
            break;
        }
    }
    for (authority, held) in waiting {
        match digests(store, directory, &authority, held, now).await {
            Ok(delivered) => watched.digests.extend(delivered),
            Err(error) => watched.failed.push(error),
        }
    }
    Ok(watched)
}

/// What is to be done with a notification.
enum Seen {
    /// It goes into a digest now.
    Waits(Box<Delivered>),
    /// It was escalated.
    Escalated(Box<Delivered>),
    /// Nothing any more.
    Nothing,
}

async fn look(
    store: &(impl MailboxReader + MailboxWatch),
    directory: &impl Directory,
    (authority, id): (AuthorityCode, Uuid),
    now: Timestamp,
) -> PortResult<Seen> {
    let Some(held) = store.notification(&authority, id).await? else { return Ok(Seen::Nothing) };
    let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
    if is_due(held.digest_at) {
        return Ok(Seen::Waits(Box::new(held)));
    }
    if held.state != State::Unread || !is_due(held.escalate_at) {
        return Ok(Seen::Nothing);
    }
    let ways = ways_of(directory, &authority).await?;
    let escalated = store.escalate(&held, now, &held.escalation(&ways)).await?;
    Ok(if escalated { Seen::Escalated(Box::new(held)) } else { Seen::Nothing })
}

async fn ways_of(directory: &impl Directory, authority: &AuthorityCode) -> PortResult<WaysOut> {
    Ok(directory.authority(authority).await?.map(|entry| entry.ways_out).unwrap_or_default())
}

/// The digests of one authority, oldest accesses first.
async fn digests(
    store: &impl MailboxWatch,
    directory: &(impl Directory + ReadingRules),
    authority: &AuthorityCode,
    mut held: Vec<Delivered>,
    now: Timestamp,
) -> PortResult<Vec<Delivered>> {
    let (ways, reading) = (ways_of(directory, authority).await?, directory.reading(authority).await?);
    held.sort_by_key(|held| (held.notification.at, held.notification.id));
    let mut delivered = Vec::new();
    for part in held.chunks(DIGEST_LENGTH) {
        let Some(digest) = Digest::of(authority, part, now) else { continue };
        let digest = Delivered::new(digest, now, &ways, &reading);
        if store.put_digest(&digest, part).await? {
            delivered.push(digest);
        }
    }
    Ok(delivered)
}
