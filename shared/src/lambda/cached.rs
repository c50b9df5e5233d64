//! A directory that remembers for a short while who may use the service.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    domain::{
        authority::{Authority, AuthorityCode, Status},
        pilot::Pilot,
        reading::Reading,
        setting::Setting,
    },
    ports::{Clock, Directory, PortResult, ReadingRules, SettingDirectory},
};

/// How long an entry is believed. An operator's change takes effect within a minute (R35).
const BELIEVED: SignedDuration = SignedDuration::from_secs(15);

/// Remembers open entries, and the pilots; a closed or unknown entry is asked for each time, so that opening it acts at once.
#[derive(Debug)]
pub struct CachedDirectory<D, C> {
    directory: D,
    clock: C,
    authorities: Remembered<AuthorityCode, Authority>,
    settings: Remembered<String, Setting>,
    pilots: Remembered<(), Vec<Pilot>>,
    readings: Remembered<AuthorityCode, Reading>,
}

impl<D, C> CachedDirectory<D, C> {
    /// In front of a directory.
    pub fn new(directory: D, clock: C) -> Self {
        let (authorities, settings, pilots, readings) = Default::default();
        Self { directory, clock, authorities, settings, pilots, readings }
    }
}

/// What was read, and when.
#[derive(Debug)]
struct Remembered<K, V>(Mutex<HashMap<K, (Timestamp, V)>>);

impl<K, V> Default for Remembered<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash, V: Clone> Remembered<K, V> {
    fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q, now: Timestamp) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(key).filter(|(read, _)| now.duration_since(*read) < BELIEVED).map(|(_, value)| value.clone())
    }

    /// Remembers a value, or forgets what it was.
    fn put(&self, key: K, value: Option<V>, now: Timestamp) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, (read, _)| now.duration_since(*read) < BELIEVED);
        match value {
            Some(value) => held.insert(key, (now, value)),
            None => held.remove(&key),
        };
    }
}

impl<D: Directory, C: Clock> Directory for CachedDirectory<D, C> {
    async fn authority(&self, code: &AuthorityCode) -> PortResult<Option<Authority>> {
        let now = self.clock.now();
        if let Some(authority) = self.authorities.get(code, now) {
            return Ok(Some(authority));
        }
        let found = self.directory.authority(code).await?;
        let open = found.as_ref().filter(|authority| authority.status == Status::Open);
        self.authorities.put(code.clone(), open.cloned(), now);
        Ok(found)
    }
}

impl<D: ReadingRules, C: Clock> ReadingRules for CachedDirectory<D, C> {
    async fn reading(&self, authority: &AuthorityCode) -> PortResult<Reading> {
        let now = self.clock.now();
        if let Some(reading) = self.readings.get(authority, now) {
            return Ok(reading);
        }
        let found = self.directory.reading(authority).await?;
        self.readings.put(authority.clone(), Some(found.clone()), now);
        Ok(found)
    }
}

impl<D: SettingDirectory, C: Clock> SettingDirectory for CachedDirectory<D, C> {
    async fn setting(&self, code: &str) -> PortResult<Option<Setting>> {
        let now = self.clock.now();
        if let Some(setting) = self.settings.get(code, now) {
            return Ok(Some(setting));
        }
        let found = self.directory.setting(code).await?;
        let open = found.as_ref().filter(|setting| setting.status == Status::Open);
        self.settings.put(code.to_owned(), open.cloned(), now);
        Ok(found)
    }

    async fn pilots(&self) -> PortResult<Vec<Pilot>> {
        let now = self.clock.now();
        if let Some(pilots) = self.pilots.get(&(), now) {
            return Ok(pilots);
        }
        let found = self.directory.pilots().await?;
        self.pilots.put((), Some(found.clone()), now);
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

    impl SettingDirectory for Counting<'_> {
        async fn setting(&self, code: &str) -> PortResult<Option<Setting>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let authority = AuthorityCode::parse("E06000001").expect("valid");
            Ok(Some(Setting {
                code: code.into(),
                name: "Any".into(),
                care: vec![],
                region: "Any".into(),
                authority,
                status: self.0,
                from: jiff::civil::date(2020, 1, 1),
                until: None,
                oversight: None,
            }))
        }

        async fn pilots(&self) -> PortResult<Vec<Pilot>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(vec![])
        }
    }

    /// How often each kind of entry is read, asked for at these seconds.
    async fn reads(status: Status, at: &[i64]) -> [usize; 3] {
        let mut found = [0; 3];
        for (kind, count) in found.iter_mut().enumerate() {
            let (second, reads) = (AtomicI64::new(0), AtomicUsize::new(0));
            let directory = CachedDirectory::new(Counting(status, &reads), At(&second));
            for now in at {
                second.store(*now, Ordering::Relaxed);
                let code = AuthorityCode::parse("E06000001").expect("valid");
                match kind {
                    0 => drop(directory.authority(&code).await.expect("an answer")),
                    1 => drop(directory.setting("ZX001").await.expect("an answer")),
                    _ => drop(directory.pilots().await.expect("an answer")),
                }
            }
            *count = reads.load(Ordering::Relaxed);
        }
        found
    }

    #[tokio::test]
    async fn r35_open_entries_are_believed_for_15_seconds_and_closed_ones_never() {
        assert_eq!(reads(Status::Open, &[0, 14]).await, [1, 1, 1]);
        assert_eq!(reads(Status::Open, &[0, 15]).await, [2, 2, 2]);
        assert_eq!(reads(Status::Closed, &[0, 1, 2]).await, [3, 3, 1], "pilots are a list, which is never closed");
    }

    #[tokio::test]
    async fn one_setting_is_not_taken_for_another() {
        let (second, reads) = (AtomicI64::new(0), AtomicUsize::new(0));
        let directory = CachedDirectory::new(Counting(Status::Open, &reads), At(&second));
        for code in ["ZX001", "ZX002", "ZX001"] {
            assert_eq!(directory.setting(code).await.expect("an answer").expect("there").code, code);
        }
        assert_eq!(reads.load(Ordering::Relaxed), 2);
    }
}
