//! Which organisations an authority was told of that saw a child lately: three within a week cannot wait (R83).

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{
    domain::{
        authority::AuthorityCode,
        nhs_number::NhsNumber,
        notification::Notification,
        signal::{SETTINGS_WINDOW, Signal, of_settings},
    },
    ports::{MailboxReader, PageRequest, PortResult},
};

/// How many notifications of a mailbox are read at a time.
const PAGE: usize = 1_000;

/// When which organisation saw which child, as far as an authority's own mailbox tells it. One that is not told (R41) counts for
/// nobody, or it could be guessed.
pub(super) struct Settings(BTreeMap<NhsNumber, Vec<(Timestamp, String)>>);

impl Settings {
    /// What must be known to judge these notifications of one authority.
    ///
    /// # Errors
    /// The mailbox cannot be read.
    pub(super) async fn around<'a>(
        mailbox: &impl MailboxReader,
        authority: &AuthorityCode,
        notifications: impl IntoIterator<Item = &'a Notification>,
    ) -> PortResult<Self> {
        let (mut seen, mut first) = (Self(BTreeMap::new()), Timestamp::MAX);
        for notification in notifications {
            if let Some(told) = notification.access() {
                seen.0.insert(told.nhs_number.clone(), Vec::new());
                first = first.min(notification.at);
            }
        }
        if seen.0.is_empty() {
            return Ok(seen);
        }
        let mut page = PageRequest { limit: PAGE, after: None };
        loop {
            let found = mailbox.notifications_since(authority, first - SETTINGS_WINDOW, &page).await?;
            // One that cannot be read tells of no organisation: it must keep no other out of the mailbox.
            found.items.iter().flatten().for_each(|held| seen.note(&held.notification));
            page.after = found.next;
            if page.after.is_none() {
                return Ok(seen);
            }
        }
    }

    /// Notes one, if its child is one of those that are judged.
    fn note(&mut self, notification: &Notification) {
        let Some(told) = notification.access() else { return };
        if let (Some(seen), Some(code)) = (self.0.get_mut(&told.nhs_number), &told.organisation.code) {
            seen.push((notification.at, code.clone()));
        }
    }

    /// What they say of a notification, whose own organisation counts too. One that was delivered later counts as well: by then it
    /// is no less urgent.
    pub(super) fn signal(&self, notification: &Notification) -> Option<Signal> {
        let told = notification.access()?;
        let seen = self.0.get(&told.nhs_number).into_iter().flatten();
        let lately = seen.filter(|(at, _)| *at >= notification.at - SETTINGS_WINDOW).map(|(_, code)| code.as_str());
        of_settings(lately.chain(told.organisation.code.as_deref()))
    }
}
