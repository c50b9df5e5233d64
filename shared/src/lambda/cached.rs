//! A directory that remembers open authorities for a short while.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    domain::authority::{Authority, AuthorityCode, Status},
    ports::{Clock, Directory, PortResult},
};

/// How long an entry is believed. An operator's change takes effect within a minute (R35).
const BELIEVED: SignedDuration = SignedDuration::from_secs(15);

/// Remembers open entries only: a closed or unknown one is asked for each time, so that opening it acts at once.
#[derive(Debug)]
pub struct CachedDirectory<D, C> {
    directory: D,
    clock: C,
    open: Mutex<HashMap<AuthorityCode, (Timestamp, Authority)>>,
}

impl<D, C> CachedDirectory<D, C> {
    /// In front of a directory.
    pub fn new(directory: D, clock: C) -> Self {
        Self { directory, clock, open: Mutex::default() }
    }
}

impl<D: Directory, C: Clock> Directory for CachedDirectory<D, C> {
    async fn authority(&self, code: &AuthorityCode) -> PortResult<Option<Authority>> {
        let now = self.clock.now();
        let remembered = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(code).cloned();
        if let Some((read, authority)) = remembered
            && now.duration_since(read) < BELIEVED
        {
            return Ok(Some(authority));
        }
        let found = self.directory.authority(code).await?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match &found {
            Some(authority) if authority.status == Status::Open => open.insert(code.clone(), (now, authority.clone())),
            _ => open.remove(code),
        };
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

    use super::*;
    use crate::domain::ways_out::WaysOut;

    struct At<'a>(&'a AtomicI64);

    impl Clock for At<'_> {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(self.0.load(Ordering::Relaxed)).expect("in range")
        }
    }

    struct Counting<'a>(Status, &'a AtomicUsize);

    impl Directory for Counting<'_> {
        async fn authority(&self, code: &AuthorityCode) -> PortResult<Option<Authority>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(Some(Authority {
                code: code.clone(),
                name: "Any".into(),
                region: "Any".into(),
                status: self.0,
                ways_out: WaysOut::default(),
            }))
        }
    }

    async fn reads(status: Status, at: &[i64]) -> usize {
        let (second, reads) = (AtomicI64::new(0), AtomicUsize::new(0));
        let directory = CachedDirectory::new(Counting(status, &reads), At(&second));
        for now in at {
            second.store(*now, Ordering::Relaxed);
            let code = AuthorityCode::parse("E06000001").expect("valid");
            directory.authority(&code).await.expect("an answer");
        }
        reads.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn r35_open_entries_are_believed_for_15_seconds_and_closed_ones_never() {
        assert_eq!(reads(Status::Open, &[0, 14]).await, 1);
        assert_eq!(reads(Status::Open, &[0, 15]).await, 2);
        assert_eq!(reads(Status::Closed, &[0, 1, 2]).await, 3);
    }
}
