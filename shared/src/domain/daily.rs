//! What is found by looking once a day: uploads that are overdue, match rates that are too low, plans that moved (R87, R91–R93).

use jiff::{SignedDuration, Timestamp, civil::Date};

use super::{
    authority::AuthorityCode,
    contact::date_in_england,
    nhs_number::ChildKey,
    notice::{MatchRateLow, PlanMoved, UploadOverdue, notice},
    notification::{Content, Notification},
    plan::Plan,
    upload::UploadSummary,
};

/// Data is refreshed at least so often (Child Protection – Information Sharing MESH API).
pub const REFRESH_EVERY: SignedDuration = SignedDuration::from_hours(24);
/// A file may be so late before its authority is told (ours).
pub const GRACE: SignedDuration = SignedDuration::from_hours(2);
/// So many of a hundred records must be matched (CP-IS NHS number matching information).
pub const REQUIRED_PERCENT: u64 = 95;
/// Of fewer records a day a rate says nothing (ours).
pub const ENOUGH_RECORDS: u64 = 20;

/// What is kept of an authority's uploads while they are read: the latest that was completed, and a day's records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploads {
    /// The day whose records count, by the calendar in England.
    pub day: Date,
    latest: Option<(Timestamp, u64)>,
    records: u64,
    matched: u64,
}

impl Uploads {
    /// None read yet; those of the day before `now` are to be counted.
    #[must_use]
    pub fn before(now: Timestamp) -> Self {
        let day = date_in_england(now).yesterday().unwrap_or(Date::MIN);
        Self { day, latest: None, records: 0, matched: 0 }
    }

    /// Counts a file. Tells whether it is older than all that counts: it was completed before the day.
    pub fn count(&mut self, upload: &UploadSummary) -> bool {
        let Some(completed) = upload.completed_at() else { return false };
        self.latest = self.latest.max(Some((completed, upload.sequence)));
        let day = date_in_england(completed);
        if let Some(unmatched) = upload.unmatched.filter(|_| day == self.day) {
            self.records += upload.records;
            self.matched += upload.records.saturating_sub(unmatched);
        }
        day < self.day
    }

    /// R91: no file was completed for more than 26 hours, or none ever was. One gap is told once: it is known by the file before it.
    #[must_use]
    pub fn overdue(&self, authority: &AuthorityCode, now: Timestamp) -> Option<Notification> {
        let due = self.latest.map_or(now, |(at, _)| at + REFRESH_EVERY);
        if self.latest.is_some() && now <= due + GRACE {
            return None;
        }
        let what = self.latest.map_or_else(|| "none".to_owned(), |(_, sequence)| sequence.to_string());
        let (latest_sequence, latest_at) = (self.latest.map(|(_, n)| n), self.latest.map(|(at, _)| at));
        let content = Content::UploadOverdue(UploadOverdue { latest_sequence, latest_at, due });
        Some(notice(authority, content.kind(), &what, now, content.clone()))
    }

    /// R92: fewer than 95 of a hundred of the day's records could be matched, of 20 records or more.
    #[must_use]
    pub fn match_rate_low(&self, authority: &AuthorityCode, now: Timestamp) -> Option<Notification> {
        let (records, matched) = (self.records, self.matched);
        if records < ENOUGH_RECORDS || matched * 100 >= records * REQUIRED_PERCENT {
            return None;
        }
        let low = MatchRateLow { day: self.day, records, matched, required_percent: REQUIRED_PERCENT };
        let content = Content::MatchRateLow(low);
        Some(notice(authority, content.kind(), &self.day.to_string(), now, content.clone()))
    }
}

/// R93: of a child's plans, one for each pair of active plans of a kind from two authorities: the one whose plan is the older is told
/// of the later. Neither is where both started on one day.
#[must_use]
pub fn moved(child: &ChildKey, plans: &[Plan], now: Timestamp) -> Vec<Notification> {
    let today = date_in_england(now);
    let active: Vec<_> = plans.iter().filter(|plan| plan.active_on(today)).collect();
    let told = |older: &Plan, later: &Plan| {
        let content = Content::PlanMoved(PlanMoved {
            nhs_number: older.nhs_number.clone(),
            local_ids: older.local_id.iter().cloned().collect(),
            plan_type: older.plan_type,
            other_authority: later.authority.clone(),
            other_name: later.authority_name.clone(),
            other_start: later.start,
        });
        // The child by its key: ids stand in logs and paths, and ten digits can all be tried (R31).
        let what = format!("{}|{}|{}|{}", child.as_str(), older.plan_type.code(), later.authority, later.start);
        notice(&older.authority, content.kind(), &what, now, content.clone())
    };
    let pairs = active.iter().flat_map(|older| active.iter().map(move |later| (*older, *later)));
    pairs
        .filter(|(older, later)| older.plan_type == later.plan_type && older.authority != later.authority)
        .filter(|(older, later)| older.start < later.start)
        .map(|(older, later)| told(older, later))
        .collect()
}
