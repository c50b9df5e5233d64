//! Many measurements of one thing.

use serde_json::{Value, json};
use std::time::Duration;

/// Measurements, all in one unit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds one.
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// Adds a time, in milliseconds.
    pub(crate) fn push_time(&mut self, time: Duration) {
        self.push(time.as_secs_f64() * 1e3);
    }

    /// The middle one.
    pub(crate) fn median(&self) -> f64 {
        (self.quantile(0.5) + self.0[(self.0.len() - 1) / 2]) / 2.0
    }

    /// The value that a share of the samples does not exceed. Panics without samples.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let place = (self.0.len() as f64 * share) as usize;
        self.0[place.min(self.0.len() - 1)]
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn json(&self) -> Value {
        let [p10, p90] = [0.1, 0.9].map(|share| self.quantile(share));
        let (least, most) = (self.quantile(0.0), self.quantile(1.0));
        json!({"samples": self.count(), "median": self.median(), "p10": p10, "p90": p90, "min": least, "max": most})
    }
}

impl From<f64> for Samples {
    fn from(value: f64) -> Self {
        Self(vec![value])
    }
}
