//! Who is stopped, remembered for a moment, and never in the way of a look-up.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use super::telemetry::{Event, Level};
use crate::{
    domain::watch::{Stop, Subject},
    ports::{Clock, PortError, PortResult, Stops},
};

/// How long what was read is believed: somebody's next look-ups need no further read.
const BELIEVED: SignedDuration = SignedDuration::from_secs(5);
/// How long a look-up waits for it at the most. It is read while the plans are, which mostly takes longer.
const PATIENCE: Duration = Duration::from_millis(250);
/// More subjects than a process meets in 5 seconds; beyond it everything is forgotten at once.
const REMEMBERED: usize = 5_000;

/// R56: what cannot be read, or not in time, stops nobody: a child's safety comes first. It is logged, and an alarm sounds.
#[derive(Debug)]
pub struct PatientStops<S, C> {
    stops: S,
    clock: C,
    held: Mutex<HashMap<Subject, (Timestamp, Option<Stop>)>>,
}

impl<S, C> PatientStops<S, C> {
    /// In front of where stops are kept.
    pub fn new(stops: S, clock: C) -> Self {
        Self { stops, clock, held: Mutex::default() }
    }
}

impl<S: Stops, C: Clock> Stops for PatientStops<S, C> {
    async fn stops_of(&self, subjects: &[Subject]) -> PortResult<Vec<Stop>> {
        let now = self.clock.now();
        if let Some(stops) = self.remembered(subjects, now) {
            return Ok(stops);
        }
        let read = tokio::time::timeout(PATIENCE, self.stops.stops_of(subjects)).await;
        let stops = read.unwrap_or_else(|_| Err(too_late())).unwrap_or_else(|error| {
            let event = Event::begin("flag-lookup").failed(&error).level(Level::Error);
            event.metric("BudgetsUnread", "Count", 1).emit("budget.unread");
            Vec::new()
        });
        self.remember(subjects, &stops, now);
        Ok(stops)
    }
}

impl<S, C> PatientStops<S, C> {
    fn remembered(&self, subjects: &[Subject], now: Timestamp) -> Option<Vec<Stop>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |subject| held.get(subject).filter(|(read, _)| now.duration_since(*read) < BELIEVED);
        let stops: Option<Vec<_>> =
            subjects.iter().map(|subject| fresh(subject).map(|(_, stop)| stop.clone())).collect();
        stops.map(|stops| stops.into_iter().flatten().collect())
    }

    fn remember(&self, subjects: &[Subject], stops: &[Stop], now: Timestamp) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= REMEMBERED {
            held.clear();
        }
        for subject in subjects {
            let stop = stops.iter().find(|stop| stop.subject == *subject).cloned();
            held.insert(subject.clone(), (now, stop));
        }
    }
}

fn too_late() -> PortError {
    PortError { step: "limits.get-stop", cause: "TooLate".into(), retryable: true }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::memory::{SetClock, Tallies};

    /// Stops that are read once more each time, or never.
    struct Counting<'a>(&'a Tallies, &'a AtomicUsize, bool);

    impl Stops for Counting<'_> {
        async fn stops_of(&self, subjects: &[Subject]) -> PortResult<Vec<Stop>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            if self.2 {
                std::future::pending::<()>().await;
            }
            self.0.stops_of(subjects).await
        }
    }

    #[tokio::test]
    async fn r55_what_was_read_is_believed_for_5_seconds() {
        let (tallies, reads) = (Tallies::default(), AtomicUsize::new(0));
        let clock = std::sync::Arc::new(SetClock::at("2026-11-22T12:00:00Z".parse().expect("a moment")));
        let stops = PatientStops::new(Counting(&tallies, &reads, false), Shared(clock.clone()));
        let subject = [Subject::person("555000000001")];
        for (wait, expected) in [(0, 1), (4, 1), (1, 2), (4, 2)] {
            clock.advance(wait);
            assert_eq!(stops.stops_of(&subject).await, Ok(vec![]));
            assert_eq!(reads.load(Ordering::Relaxed), expected, "after {wait} s more");
        }
        assert_eq!(stops.stops_of(&[Subject::person("555000000002")]).await, Ok(vec![]));
        assert_eq!(reads.load(Ordering::Relaxed), 3, "somebody else");
    }

    #[tokio::test(start_paused = true)]
    async fn r56_what_does_not_come_in_time_stops_nobody() {
        let (tallies, reads) = (Tallies::default(), AtomicUsize::new(0));
        let clock = SetClock::at("2026-11-22T12:00:00Z".parse().expect("a moment"));
        let stops = PatientStops::new(Counting(&tallies, &reads, true), clock);
        let subject = [Subject::person("555000000001")];
        for _ in 0..3 {
            assert_eq!(stops.stops_of(&subject).await, Ok(vec![]));
        }
        assert_eq!(reads.load(Ordering::Relaxed), 1, "nor is each look-up made to wait");
    }

    struct Shared(std::sync::Arc<SetClock>);

    impl Clock for Shared {
        fn now(&self) -> Timestamp {
            self.0.now()
        }
    }
}
