//! What CloudWatch makes of figures: metrics out of log lines (embedded metric format), and states of alarms.
//!
//! Sources: "Specification: Embedded metric format", "Evaluating an alarm" and "Configuring how CloudWatch alarms treat missing data" in the
//! Amazon CloudWatch User Guide. Time is minutes from a beginning of the test's own; nothing waits.

use serde_json::Value;
use std::collections::BTreeMap;

/// Seconds in a minute, the shortest period that an alarm on these metrics may have.
const MINUTE: u64 = 60;
/// The most dimensions that a metric has (specification of the format, `DimensionSet`).
const MOST_DIMENSIONS: usize = 30;
/// The units that there are (`MetricDatum` in the CloudWatch API reference) as far as anything here uses them.
const UNITS: [&str; 6] = ["Count", "Seconds", "Milliseconds", "Bytes", "Percent", "None"];

/// Names and values of a metric's dimensions. Another set is another metric.
pub type Dimensions = BTreeMap<String, String>;

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Namespace of its metric, such as `CPIS`.
    pub namespace: String,
    /// Name of its metric.
    pub name: String,
    /// Dimensions of its metric.
    pub dimensions: Dimensions,
    /// The figure.
    pub value: f64,
    /// When it was measured, in minutes from the beginning.
    pub minute: u64,
}

/// Figures of any number of metrics.
#[derive(Debug, Clone, Default)]
pub struct Metrics(pub Vec<Sample>);

impl Metrics {
    /// Adds a figure that AWS itself emits.
    pub fn note(&mut self, minute: u64, namespace: &str, name: &str, dimensions: &[(&str, &str)], value: f64) {
        let dimensions = dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        self.0.push(Sample { namespace, name, dimensions, value, minute });
    }

    /// Adds the metrics of a function's output. What is not a metric by the specification is left out, as CloudWatch does.
    pub fn read(&mut self, minute: u64, output: &str) {
        let lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.for_each(|line| self.0.extend(embedded(&line, minute)));
    }
}

/// The figures of one line in the embedded metric format.
fn embedded(line: &Value, minute: u64) -> Vec<Sample> {
    let mut samples = Vec::new();
    // Without a time nothing of the line counts.
    let directives = line["_aws"]["CloudWatchMetrics"].as_array().filter(|_| line["_aws"]["Timestamp"].is_u64());
    for directive in directives.into_iter().flatten() {
        let Some(namespace) = directive["Namespace"].as_str() else { continue };
        for set in directive["Dimensions"].as_array().into_iter().flatten() {
            let Some(dimensions) = dimensions(line, set) else { continue };
            for metric in directive["Metrics"].as_array().into_iter().flatten() {
                let Some(name) = metric["Name"].as_str() else { continue };
                let known = UNITS.contains(&metric["Unit"].as_str().unwrap_or("None"));
                if let Some(value) = line[name].as_f64().filter(|_| known) {
                    let (namespace, name) = (namespace.to_owned(), name.to_owned());
                    samples.push(Sample { namespace, name, dimensions: dimensions.clone(), value, minute });
                }
            }
        }
    }
    samples
}

/// A set of dimensions with the line's values, which must be texts that are not empty.
fn dimensions(line: &Value, set: &Value) -> Option<Dimensions> {
    let names = set.as_array().filter(|names| names.len() <= MOST_DIMENSIONS)?;
    let pair = |name: &Value| {
        let name = name.as_str()?;
        let value = line[name].as_str().filter(|value| !value.is_empty())?;
        Some((name.to_owned(), value.to_owned()))
    };
    names.iter().map(pair).collect()
}

/// The state of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Within the threshold.
    Ok,
    /// Over it.
    Alarm,
    /// Nothing is known.
    InsufficientData,
}

/// What a period's figures come to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Statistic {
    Sum,
    Maximum,
    Minimum,
    Average,
    SampleCount,
    /// `p99` and its like.
    Percentile(f64),
}

/// What a period without figures counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Breaching,
    NotBreaching,
    Ignore,
    Unknown,
}

/// An alarm on one metric.
#[derive(Debug, Clone)]
pub struct Alarm {
    namespace: String,
    name: String,
    dimensions: Dimensions,
    statistic: Statistic,
    /// In minutes.
    period: u64,
    periods: usize,
    /// How many of the periods must be over the threshold.
    needed: usize,
    over: fn(f64, f64) -> bool,
    threshold: f64,
    missing: Missing,
}

impl Alarm {
    /// An alarm of CloudFormation, all of whose references are resolved.
    ///
    /// # Panics
    /// It says something that is not evaluated here, such as metric math.
    #[must_use]
    pub fn of(properties: &Value) -> Self {
        let text = |name: &str| properties[name].as_str().unwrap_or_default().to_owned();
        let number = |name: &str| properties[name].as_f64();
        for unread in ["Metrics", "Unit", "EvaluateLowSampleCountPercentile", "ThresholdMetricId"] {
            assert!(
                properties[unread].is_null(),
                "{unread} of an alarm is not evaluated here: add it to cloudwatch.rs"
            );
        }
        let dimension = |d: &Value| Some((d["Name"].as_str()?.to_owned(), d["Value"].as_str()?.to_owned()));
        let dimensions = properties["Dimensions"].as_array().into_iter().flatten();
        let seconds = properties["Period"].as_u64().unwrap_or_default();
        assert!(seconds >= MINUTE && seconds.is_multiple_of(MINUTE), "a period of {seconds} s");
        let periods = properties["EvaluationPeriods"].as_u64().unwrap_or(1);
        Self {
            namespace: text("Namespace"),
            name: text("MetricName"),
            dimensions: dimensions.map(dimension).collect::<Option<_>>().unwrap_or_else(|| panic!("{properties}")),
            statistic: statistic(&text("Statistic"), &text("ExtendedStatistic")),
            period: seconds / MINUTE,
            periods: periods as usize,
            needed: properties["DatapointsToAlarm"].as_u64().unwrap_or(periods) as usize,
            over: comparison(&text("ComparisonOperator")),
            threshold: number("Threshold").unwrap_or_else(|| panic!("no threshold: {properties}")),
            missing: missing(&text("TreatMissingData")),
        }
    }

    /// Its states up to a minute, one for each end of a period from the first at which all that it looks at has happened.
    #[must_use]
    pub fn states(&self, metrics: &Metrics, until: u64) -> Vec<State> {
        let points: Vec<_> = (0..until / self.period).map(|period| self.point(metrics, period)).collect();
        let mut states: Vec<State> = Vec::new();
        for window in points.windows(self.periods) {
            let before = states.last().copied().unwrap_or(State::InsufficientData);
            states.push(self.state(window, before));
        }
        states
    }

    /// What a period comes to; `None` without figures.
    fn point(&self, metrics: &Metrics, period: u64) -> Option<f64> {
        let own = |s: &&Sample| s.namespace == self.namespace && s.name == self.name && s.dimensions == self.dimensions;
        let within = period * self.period..(period + 1) * self.period;
        let samples = metrics.0.iter().filter(own).filter(|s| within.contains(&s.minute));
        let mut values: Vec<f64> = samples.map(|s| s.value).collect();
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then(|| self.statistic.of(&values))
    }

    fn state(&self, window: &[Option<f64>], before: State) -> State {
        let over = |point: &Option<f64>| match (point, self.missing) {
            (Some(value), _) => Some((self.over)(*value, self.threshold)),
            (None, Missing::Breaching) => Some(true),
            (None, Missing::NotBreaching) => Some(false),
            (None, Missing::Ignore | Missing::Unknown) => None,
        };
        let known: Vec<bool> = window.iter().filter_map(over).collect();
        match (known.is_empty(), self.missing) {
            (true, Missing::Ignore) => before,
            (true, _) => State::InsufficientData,
            _ if known.iter().filter(|over| **over).count() >= self.needed.min(known.len()) => State::Alarm,
            _ => State::Ok,
        }
    }
}

impl Statistic {
    /// Of figures in order, of which there is one at least.
    fn of(self, values: &[f64]) -> f64 {
        match self {
            Self::Sum => values.iter().sum(),
            Self::Maximum => values[values.len() - 1],
            Self::Minimum => values[0],
            Self::Average => values.iter().sum::<f64>() / values.len() as f64,
            Self::SampleCount => values.len() as f64,
            Self::Percentile(share) => {
                let rank = (share / 100.0 * values.len() as f64).ceil().max(1.0);
                values[rank as usize - 1]
            }
        }
    }
}

fn statistic(plain: &str, extended: &str) -> Statistic {
    match (plain, extended) {
        ("Sum", "") => Statistic::Sum,
        ("Maximum", "") => Statistic::Maximum,
        ("Minimum", "") => Statistic::Minimum,
        ("Average", "") => Statistic::Average,
        ("SampleCount", "") => Statistic::SampleCount,
        ("", share) => share
            .strip_prefix('p')
            .and_then(|share| share.parse().ok())
            .map_or_else(|| panic!("no statistic {share}"), Statistic::Percentile),
        _ => panic!("two statistics: {plain} and {extended}"),
    }
}

fn comparison(name: &str) -> fn(f64, f64) -> bool {
    match name {
        "GreaterThanThreshold" => |value, threshold| value > threshold,
        "GreaterThanOrEqualToThreshold" => |value, threshold| value >= threshold,
        "LessThanThreshold" => |value, threshold| value < threshold,
        "LessThanOrEqualToThreshold" => |value, threshold| value <= threshold,
        other => panic!("no comparison {other}"),
    }
}

fn missing(name: &str) -> Missing {
    match name {
        "breaching" => Missing::Breaching,
        "notBreaching" => Missing::NotBreaching,
        "ignore" => Missing::Ignore,
        // What CloudWatch takes where nothing is said.
        "missing" | "" => Missing::Unknown,
        other => panic!("no treatment of missing data {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn alarm(changes: Value) -> Alarm {
        let mut alarm = json!({
            "Namespace": "N", "MetricName": "m", "Dimensions": [{"Name": "service", "Value": "a"}], "Statistic": "Sum", "Period": 60,
            "EvaluationPeriods": 3, "DatapointsToAlarm": 2, "ComparisonOperator": "GreaterThanThreshold", "Threshold": 1,
            "TreatMissingData": "notBreaching",
        });
        let changes = changes.as_object().cloned().unwrap_or_default();
        changes.into_iter().for_each(|(name, value)| alarm[name] = value);
        Alarm::of(&alarm)
    }

    fn metrics(values: &[(u64, f64)]) -> Metrics {
        let mut metrics = Metrics::default();
        values.iter().for_each(|(minute, value)| metrics.note(*minute, "N", "m", &[("service", "a")], *value));
        metrics
    }

    #[test]
    fn an_alarm_counts_the_periods_over_its_threshold() {
        use State::{Alarm as A, Ok as K};
        for (values, states) in [
            (&[(0, 2.0), (2, 2.0)][..], vec![A, K, K]),
            (&[(0, 1.0), (1, 1.0), (2, 1.0)], vec![K, K, K]),
            (&[(0, 1.0), (0, 1.0), (1, 0.5), (1, 0.6)], vec![A, K, K]),
            (&[(4, 2.0), (3, 2.0)], vec![K, K, A]),
            (&[], vec![K, K, K]),
        ] {
            assert_eq!(alarm(json!({})).states(&metrics(values), 5), states, "{values:?}");
        }
    }

    #[test]
    fn what_is_missing_counts_as_the_alarm_says() {
        use State::{Alarm as A, InsufficientData as I, Ok as K};
        let values = metrics(&[(0, 2.0), (1, 2.0), (2, 0.0)]);
        for (missing, states) in [
            ("notBreaching", vec![A, K, K, K]),
            ("breaching", vec![A, A, A, A]),
            ("missing", vec![A, K, K, I]),
            ("ignore", vec![A, K, K, K]),
        ] {
            assert_eq!(alarm(json!({"TreatMissingData": missing})).states(&values, 6), states, "{missing}");
        }
    }

    #[test]
    fn statistics_are_those_of_the_period() {
        let values = metrics(&(1..=200).map(|n| (n % 5, f64::from(u32::try_from(n).unwrap_or(0)))).collect::<Vec<_>>());
        for (statistic, threshold, fires) in [
            (json!({"Statistic": "Maximum"}), 199.0, true),
            (json!({"Statistic": "Maximum"}), 200.0, false),
            (json!({"Statistic": "Average"}), 100.4, true),
            (json!({"Statistic": "Minimum"}), 1.0, false),
            (json!({"Statistic": "SampleCount"}), 199.0, true),
            (json!({"Statistic": "", "ExtendedStatistic": "p99"}), 197.0, true),
            (json!({"Statistic": "", "ExtendedStatistic": "p99"}), 198.0, false),
        ] {
            let mut changes = statistic.clone();
            changes["Threshold"] = threshold.into();
            for (name, value) in [("Period", 300), ("EvaluationPeriods", 1), ("DatapointsToAlarm", 1)] {
                changes[name] = value.into();
            }
            let states = alarm(changes).states(&values, 5);
            assert_eq!(states, vec![if fires { State::Alarm } else { State::Ok }], "{statistic} over {threshold}");
        }
    }

    #[test]
    fn a_metric_with_other_dimensions_is_another() {
        let mut metrics = Metrics::default();
        for dimensions in [&[][..], &[("service", "b")], &[("Service", "a")], &[("service", "a"), ("more", "b")]] {
            (0..5).for_each(|minute| metrics.note(minute, "N", "m", dimensions, 9.0));
        }
        (0..5).for_each(|minute| metrics.note(minute, "M", "m", &[("service", "a")], 9.0));
        assert_eq!(alarm(json!({})).states(&metrics, 5), [State::Ok; 3]);
    }

    #[test]
    fn lines_are_read_by_the_specification() {
        let good = json!({
            "_aws": {"Timestamp": 1, "CloudWatchMetrics": [{"Namespace": "N", "Dimensions": [["service"]], "Metrics": [{"Name": "m", "Unit": "Count"}]}]},
            "service": "a", "m": 3,
        });
        let read = |line: &Value| {
            let mut metrics = Metrics::default();
            metrics.read(7, &format!("not JSON\n{line}\n"));
            metrics.0
        };
        assert_eq!(read(&good), metrics(&[(7, 3.0)]).0);
        for (pointer, value) in [
            ("/_aws/Timestamp", Value::Null),
            ("/_aws/CloudWatchMetrics/0/Namespace", Value::Null),
            ("/_aws/CloudWatchMetrics/0/Dimensions/0/0", json!("missing")),
            ("/_aws/CloudWatchMetrics/0/Metrics/0/Unit", json!("Things")),
            ("/service", json!("")),
            ("/m", json!("3")),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(pointer).expect("it is there") = value;
            assert_eq!(read(&bad), [], "{pointer}");
        }
    }
}
