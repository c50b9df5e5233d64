//! What is counted, and who is stopped, in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use jiff::Timestamp;

use super::lock;
use crate::{
    domain::watch::{Code, Mark, Stop, Subject, Window},
    ports::{PortResult, StopClearing, Stops, Tallied, Tally},
};

#[derive(Debug, Default)]
struct Held {
    windows: BTreeMap<Window, (BTreeSet<Mark>, BTreeSet<Code>)>,
    stops: BTreeMap<Subject, Stop>,
}

/// Counts in memory.
#[derive(Debug, Default)]
pub struct Tallies(Mutex<Held>);

impl Tally for Tallies {
    async fn add(&self, window: &Window, marks: &[Mark]) -> PortResult<Tallied> {
        let mut held = lock(&self.0);
        let (kept, told) = held.windows.entry(window.clone()).or_default();
        if kept.len() < window.span.capacity() {
            kept.extend(marks);
        }
        let told = told.iter().map(|code| code.as_str().to_owned()).collect();
        Ok(Tallied { marks: kept.iter().copied().collect(), told })
    }

    async fn marks(&self, windows: &[Window]) -> PortResult<Vec<Vec<Mark>>> {
        let held = lock(&self.0);
        let of = |window| held.windows.get(window).map(|(kept, _)| kept.iter().copied().collect());
        Ok(windows.iter().map(|window| of(window).unwrap_or_default()).collect())
    }

    async fn tell(&self, window: &Window, code: Code) -> PortResult<()> {
        lock(&self.0).windows.entry(window.clone()).or_default().1.insert(code);
        Ok(())
    }

    async fn stop(&self, subject: &Subject, until: Timestamp) -> PortResult<()> {
        let mut held = lock(&self.0);
        let new = Stop { subject: subject.clone(), until, cleared: None };
        let stop = held.stops.entry(subject.clone()).or_insert(new);
        stop.until = stop.until.max(until);
        Ok(())
    }
}

impl Stops for Tallies {
    async fn stops_of(&self, subjects: &[Subject]) -> PortResult<Vec<Stop>> {
        let held = lock(&self.0);
        Ok(subjects.iter().filter_map(|subject| held.stops.get(subject).cloned()).collect())
    }
}

impl StopClearing for Tallies {
    async fn clear(&self, subject: &Subject, now: Timestamp) -> PortResult<()> {
        let stop = Stop { subject: subject.clone(), until: now, cleared: Some(now) };
        lock(&self.0).stops.insert(subject.clone(), stop);
        Ok(())
    }
}
