//! What was measured, as a table for people and as JSON.

use crate::samples::Samples;
use cpis_tests::binaries;
use serde_json::{Value, json};
use std::process::ExitCode;

/// What a figure must reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    /// At the most.
    AtMost(f64),
    /// At the least.
    AtLeast(f64),
}

impl Bound {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {} {unit}", short(most)),
            Self::AtLeast(least) => format!("≥ {} {unit}", short(least)),
        }
    }
}

/// A figure: what is ours, what it is compared with, and how.
pub(crate) struct Figure<'a> {
    /// Of what.
    pub(crate) name: &'a str,
    /// What must be reached.
    pub(crate) bound: Bound,
    /// The value that is bounded.
    pub(crate) value: f64,
    /// Unit of the value and the bound: `×` for a ratio.
    pub(crate) unit: &'static str,
    /// Ours.
    pub(crate) ours: &'a Samples,
    /// What it is compared with, and the samples.
    pub(crate) baseline: (&'a str, &'a Samples),
    /// Unit of the samples.
    pub(crate) samples_in: &'static str,
}

/// All figures of a run.
pub(crate) struct Report {
    rows: Vec<[String; 5]>,
    figures: Vec<Value>,
    missed: usize,
    load_at_start: f64,
}

impl Report {
    pub(crate) fn new() -> Self {
        Self { rows: vec![], figures: vec![], missed: 0, load_at_start: load() }
    }

    /// Adds the ratio of ours to a baseline.
    pub(crate) fn ratio(
        &mut self,
        name: &str,
        bound: Bound,
        ours: &Samples,
        baseline: (&str, &Samples),
        samples_in: &'static str,
    ) {
        let value = ours.median() / baseline.1.median();
        self.add(&Figure { name, bound, value, unit: "×", ours, baseline, samples_in });
    }

    /// Adds a figure.
    pub(crate) fn add(&mut self, figure: &Figure<'_>) {
        let Figure { name, bound, value, unit, ours, baseline: (baseline_name, baseline), samples_in } = figure;
        let met = bound.met(*value);
        self.missed += usize::from(!met);
        let verdict = if met { "met" } else { "MISSED" };
        self.rows.push([
            (*name).to_owned(),
            format!("{} {unit}", short(*value)),
            format!("{} {verdict}", bound.text(unit)),
            described(ours, samples_in),
            format!("{baseline_name}: {}", described(baseline, samples_in)),
        ]);
        self.figures.push(json!({
            "figure": name, "value": value, "unit": unit, "bound": bound.text(unit), "met": met,
            "samplesIn": samples_in, "ours": ours.json(), "baseline": {"name": baseline_name, "is": baseline.json()},
        }));
    }

    /// Adds a ratio that is bounded by nothing.
    pub(crate) fn note(&mut self, name: &str, ours: &Samples, baseline: (&str, &Samples), samples_in: &'static str) {
        let value = ours.median() / baseline.1.median();
        let compared = format!("{}: {}", baseline.0, described(baseline.1, samples_in));
        let value_text = format!("{} ×", short(value));
        self.rows.push([name.to_owned(), value_text, String::new(), described(ours, samples_in), compared]);
        self.figures.push(json!({
            "figure": name.trim(), "value": value, "unit": "×", "samplesIn": samples_in,
            "ours": ours.json(), "baseline": {"name": baseline.0, "is": baseline.1.json()},
        }));
    }

    /// Prints the table and writes the file; failure where a figure misses its bound.
    pub(crate) fn finish(self) -> ExitCode {
        print(&self.rows);
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let (before, after) = (self.load_at_start, load());
        println!("\n{cores} cores; load average of the last minute: {before} at the start, {after} at the end");
        let path = binaries::target().join("bench.json");
        let machine = json!({"cores": cores, "loadAtStart": before, "loadAtEnd": after});
        let json = json!({"figures": self.figures, "missed": self.missed, "machine": machine});
        let written = std::fs::write(&path, format!("{json:#}\n"));
        println!("written to {}", path.display());
        if let Err(e) = written {
            eprintln!("error: {}: {e}", path.display());
            return ExitCode::FAILURE;
        }
        if self.missed > 0 {
            eprintln!("error: {} figures miss their bounds", self.missed);
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

/// `12.3 ms (10.1–15.0, n 30)`: median, 10th and 90th percentile, number of samples.
fn described(samples: &Samples, unit: &str) -> String {
    let median = short(samples.median());
    match samples.count() {
        1 => format!("{median} {unit}"),
        count => {
            let [low, high] = [0.1, 0.9].map(|share| short(samples.quantile(share)));
            format!("{median} {unit} ({low}–{high}, n {count})")
        }
    }
}

fn short(value: f64) -> String {
    match value {
        v if v >= 1_000.0 => format!("{v:.0}"),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v >= 0.1 || v == 0.0 => format!("{v:.2}"),
        v => format!("{v:.4}"),
    }
}

fn print(rows: &[[String; 5]]) {
    let head = ["figure", "value", "must reach", "ours: median (p10–p90, samples)", "compared with"].map(str::to_owned);
    let width = |column: usize| rows.iter().chain([&head]).map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4].map(width);
    let rule = widths.map(|width| "-".repeat(width));
    for row in [&head, &rule].into_iter().chain(rows) {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("| {} |", cells.join(" | "));
    }
}

/// Load average of the last minute; 0 where the machine does not say.
fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}
