//! What is left lying in the mailboxes: digests that are due, notifications that nobody has read for too long, and those of which it
//! is to be seen who else saw the child. Called every minute.

use std::collections::BTreeMap;

use futures_util::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{mailbox::follow_members, settings::Settings};
use crate::{
    domain::{
        authority::AuthorityCode,
        notice::{DIGEST_LENGTH, Digest},
        notification::{Delivered, State},
        ways_out::WaysOut,
    },
    ports::{
        Clock, Directory, MailboxMarks, MailboxReader, MailboxWatch, PageRequest, PortError, PortResult, ReadingRules,
    },
};

/// How many notifications are taken at a time.
const PAGE: usize = 200;
/// How many are looked at at once.
const CONCURRENCY: usize = 16;
/// What was escalated within this time and is still unread is counted anew by each call: whatever became of the call that escalated
/// it, the operators are told.
pub const LATELY: SignedDuration = SignedDuration::from_mins(15);

/// What was done.
#[derive(Debug, Default)]
pub struct Watched {
    /// Those that were escalated (R85).
    pub escalated: Vec<Delivered>,
    /// The digests that were delivered (R84).
    pub digests: Vec<Delivered>,
    /// How many were escalated within [`LATELY`], by this call or another, and are still unread.
    pub escalated_lately: usize,
    /// When the one that waited longest was due; none where nothing was.
    pub oldest: Option<Timestamp>,
    /// What could not be done; it is still due, and the next call tries it again.
    pub failed: Vec<PortError>,
}

/// Something that was done, told as soon as it is.
#[derive(Debug, Clone, Copy)]
pub enum Done<'a> {
    /// One was escalated.
    Escalated(&'a Delivered),
    /// A digest was delivered.
    Digest(&'a Delivered),
}

/// Escalates what was left unread for too long (R85), delivers the digests that are due (R84), and sees which accesses are the third
/// organisation's (R83). What fails hurts nothing else: what was done is told all the same.
pub async fn watch(
    store: &(impl MailboxReader + MailboxMarks + MailboxWatch),
    directory: &(impl Directory + ReadingRules),
    clock: &impl Clock,
    tell: impl Fn(Done<'_>),
) -> Watched {
    let now = clock.now();
    let mut watched = Watched::default();
    let waiting = due(store, directory, now, &tell, &mut watched).await;
    for (authority, held) in waiting {
        if let Err(error) = digests(store, directory, &authority, held, now, &tell, &mut watched.digests).await {
            watched.failed.push(error);
        }
    }
    match escalated_lately(store, now).await {
        Ok(count) => watched.escalated_lately = count,
        Err(error) => watched.failed.push(error),
    }
    watched
}

/// Goes through all that is due and escalates what is to be; what waits for a digest, by authority.
async fn due(
    store: &(impl MailboxReader + MailboxMarks + MailboxWatch),
    directory: &(impl Directory + ReadingRules),
    now: Timestamp,
    tell: &impl Fn(Done<'_>),
    watched: &mut Watched,
) -> BTreeMap<AuthorityCode, Vec<Delivered>> {
    let mut waiting: BTreeMap<AuthorityCode, Vec<Delivered>> = BTreeMap::new();
    let mut page = PageRequest { limit: PAGE, after: None };
    loop {
        let due = match store.wakes_before(now, &page).await {
            Ok(due) => due,
            // What was found goes on; the rest is still due.
            Err(error) => {
                watched.failed.push(error);
                return waiting;
            }
        };
        let mut unweighed: BTreeMap<AuthorityCode, Vec<Delivered>> = BTreeMap::new();
        let looks: Vec<_> = due.items.into_iter().map(|key| look(store, directory, key, now)).collect();
        let mut looks = stream::iter(looks).buffered(CONCURRENCY);
        while let Some(seen) = looks.next().await {
            if let Ok(Seen::Waits(held) | Seen::Escalated(held) | Seen::Unweighed(held)) = &seen {
                watched.oldest = watched.oldest.into_iter().chain(held.wakes_at()).min();
            }
            match seen {
                Ok(Seen::Waits(held)) => {
                    waiting.entry(held.notification.authority.clone()).or_default().push(*held);
                }
                Ok(Seen::Unweighed(held)) => {
                    unweighed.entry(held.notification.authority.clone()).or_default().push(*held);
                }
                Ok(Seen::Escalated(held)) => {
                    tell(Done::Escalated(&held));
                    watched.escalated.push(*held);
                }
                Ok(Seen::Nothing) => {}
                Err(error) => watched.failed.push(error),
            }
        }
        drop(looks);
        let weighings: Vec<_> = unweighed.iter().map(|(code, held)| weigh(store, directory, code, held)).collect();
        let weighings = stream::iter(weighings).buffer_unordered(CONCURRENCY);
        watched.failed.extend(weighings.filter_map(async |weighed| weighed.err()).collect::<Vec<_>>().await);
        page.after = due.next;
        if page.after.is_none() {
            return waiting;
        }
    }
}

/// Sees which of these accesses, all of one authority, are the third organisation's within a week (R83).
async fn weigh(
    store: &(impl MailboxReader + MailboxWatch),
    directory: &impl ReadingRules,
    authority: &AuthorityCode,
    held: &[Delivered],
) -> PortResult<()> {
    let reading = directory.reading(authority).await?;
    let settings = Settings::around(store, authority, held.iter().map(|held| &held.notification)).await?;
    for one in held {
        store.weigh(one, &one.weighed(settings.signal(&one.notification), &reading)).await?;
    }
    Ok(())
}

async fn escalated_lately(store: &impl MailboxWatch, now: Timestamp) -> PortResult<usize> {
    let mut page = PageRequest { limit: PAGE, after: None };
    let mut count = 0;
    loop {
        let found = store.escalated_since(now - LATELY, &page).await?;
        count += found.items.len();
        page.after = found.next;
        if page.after.is_none() {
            return Ok(count);
        }
    }
}

/// What is to be done with a notification.
enum Seen {
    /// It goes into a digest now.
    Waits(Box<Delivered>),
    /// It was escalated.
    Escalated(Box<Delivered>),
    /// It is to be seen who else saw the child.
    Unweighed(Box<Delivered>),
    /// Nothing any more.
    Nothing,
}

async fn look(
    store: &(impl MailboxReader + MailboxMarks + MailboxWatch),
    directory: &impl Directory,
    (authority, id): (AuthorityCode, Uuid),
    now: Timestamp,
) -> PortResult<Seen> {
    let Some(held) = store.notification(&authority, id).await? else { return Ok(Seen::Nothing) };
    let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at < now);
    if is_due(held.digest_at) {
        return Ok(Seen::Waits(Box::new(held)));
    }
    if held.state != State::Unread {
        return Ok(Seen::Nothing);
    }
    if !is_due(held.escalate_at) {
        return Ok(if is_due(held.weigh_at) { Seen::Unweighed(Box::new(held)) } else { Seen::Nothing });
    }
    // Each access in it may have been read by itself, by somebody who died before the digest was marked.
    if follow_members(store, &held).await? {
        return Ok(Seen::Nothing);
    }
    let ways = ways_of(directory, &authority).await?;
    let escalated = store.escalate(&held, now, &held.escalation(&ways)).await?;
    Ok(if escalated { Seen::Escalated(Box::new(held)) } else { Seen::Nothing })
}

async fn ways_of(directory: &impl Directory, authority: &AuthorityCode) -> PortResult<WaysOut> {
    Ok(directory.authority(authority).await?.map(|entry| entry.ways_out).unwrap_or_default())
}

/// Delivers the digests of one authority, oldest accesses first.
async fn digests(
    store: &impl MailboxWatch,
    directory: &(impl Directory + ReadingRules),
    authority: &AuthorityCode,
    mut held: Vec<Delivered>,
    now: Timestamp,
    tell: &impl Fn(Done<'_>),
    delivered: &mut Vec<Delivered>,
) -> PortResult<()> {
    let (ways, reading) = (ways_of(directory, authority).await?, directory.reading(authority).await?);
    held.sort_by_key(|held| (held.notification.at, held.notification.id));
    for part in held.chunks(DIGEST_LENGTH) {
        let Some(digest) = Digest::of(authority, part, now) else { continue };
        let digest = Delivered::new(digest, now, &ways, &reading);
        if store.put_digest(&digest, part).await? {
            tell(Done::Digest(&digest));
            delivered.push(digest);
        }
    }
    Ok(())
}
