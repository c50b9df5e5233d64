//! When a receiver that does not answer is left alone: so that its pushes cost the others nothing (R75).

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Failures in a row after which a receiver is left alone.
pub const FAILURES: u32 = 3;
/// For how long at first; each probe that fails doubles it.
const FIRST_REST: SignedDuration = SignedDuration::from_secs(30);
/// For how long at the most: a receiver that is well again is found out within this time.
const LONGEST_REST: SignedDuration = SignedDuration::from_mins(15);
/// For how long a receiver that was slow is left alone before the next push: others are to have their turn.
const PAUSE: SignedDuration = SignedDuration::from_secs(15);
/// A push that takes longer than this was slow.
pub const SLOW: SignedDuration = SignedDuration::from_secs(3);
/// For how long one probe keeps the others back. Longer than any push takes.
const PROBE: SignedDuration = SignedDuration::from_secs(60);

/// What is known of a receiver.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Circuit {
    /// Counts the changes, so that two who change it at once are told apart.
    pub revision: u64,
    /// Failures in a row, up to [`FAILURES`].
    pub failures: u32,
    /// Probes in a row that failed.
    pub probes: u32,
    /// Until when nobody is to try; absent while the receiver is believed to be well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rests_until: Option<Timestamp>,
}

/// What to do with a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Send it.
    Send,
    /// Send it, alone, to see whether the receiver is well again: whoever gets this circuit kept first.
    Probe(Circuit),
    /// Not before then.
    Rest(Timestamp),
}

impl Circuit {
    /// Whether a push may go out now.
    #[must_use]
    pub fn verdict(&self, now: Timestamp) -> Verdict {
        match self.rests_until {
            None => Verdict::Send,
            Some(until) if now < until => Verdict::Rest(until),
            Some(_) => Verdict::Probe(self.next(Self { rests_until: Some(now + PROBE), ..self.clone() })),
        }
    }

    /// After a push that the receiver took in so much time; `None` where that is no news. One that was slow is tried with one push
    /// at a time, after a pause, until it is fast.
    #[must_use]
    pub fn after_success(&self, now: Timestamp, took: SignedDuration) -> Option<Self> {
        if took > SLOW {
            return Some(self.next(Self { rests_until: Some(now + PAUSE), ..Self::default() }));
        }
        (self.failures > 0 || self.rests_until.is_some()).then(|| self.next(Self::default()))
    }

    /// After a push that the receiver did not take.
    #[must_use]
    pub fn after_failure(&self, now: Timestamp) -> Self {
        let failures = (self.failures + 1).min(FAILURES);
        if failures < FAILURES {
            return self.next(Self { failures, ..Self::default() });
        }
        let probes = if self.rests_until.is_some() { self.probes.saturating_add(1) } else { 0 };
        let rest = (FIRST_REST * (1 << probes.min(10))).min(LONGEST_REST);
        self.next(Self { revision: 0, failures, probes, rests_until: Some(now + rest) })
    }

    fn next(&self, changed: Self) -> Self {
        Self { revision: self.revision + 1, ..changed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).expect("in range")
    }

    #[test]
    fn r75_three_failures_in_a_row_rest_a_receiver_and_each_failed_probe_doubles_the_rest() {
        let mut circuit = Circuit::default();
        for _ in 0..2 {
            circuit = circuit.after_failure(at(0));
            assert_eq!(circuit.verdict(at(0)), Verdict::Send);
        }
        let mut now = 0;
        for rest in [30, 60, 120, 240, 480, 900, 900] {
            circuit = circuit.after_failure(at(now));
            assert_eq!(circuit.verdict(at(now + rest - 1)), Verdict::Rest(at(now + rest)), "{rest}");
            now += rest;
            let Verdict::Probe(probing) = circuit.verdict(at(now)) else { panic!("{circuit:?} after {rest}") };
            assert_eq!(probing.verdict(at(now + 59)), Verdict::Rest(at(now + 60)), "one at a time");
            circuit = probing;
        }
        let well = circuit.after_success(at(now), FAST).expect("news");
        assert_eq!((well.verdict(at(now)), well.failures, well.after_success(at(now), FAST)), (Verdict::Send, 0, None));
    }

    const FAST: SignedDuration = SignedDuration::from_secs(1);

    #[test]
    fn r75_a_slow_receiver_gets_one_push_at_a_time_with_a_pause_between_until_it_is_fast() {
        let mut circuit = Circuit::default();
        for second in [0, 20, 40] {
            circuit = circuit.after_success(at(second), SLOW + FAST).expect("news");
            assert_eq!(circuit.verdict(at(second + 14)), Verdict::Rest(at(second + 15)));
            let Verdict::Probe(probing) = circuit.verdict(at(second + 15)) else { panic!("{circuit:?}") };
            assert_eq!(probing.verdict(at(second + 16)), Verdict::Rest(at(second + 75)), "one at a time");
            circuit = probing;
        }
        let failed = circuit.after_failure(at(60));
        assert_eq!(failed.verdict(at(60)), Verdict::Send, "one failure is not three");
        let well = circuit.after_success(at(60), SLOW).expect("news");
        assert_eq!(well.verdict(at(60)), Verdict::Send);
    }

    #[test]
    fn r75_a_success_between_failures_starts_the_count_anew() {
        let two = Circuit::default().after_failure(at(0)).after_failure(at(0));
        let one = two.after_success(at(1), FAST).expect("news").after_failure(at(1));
        assert_eq!((one.failures, one.verdict(at(1))), (1, Verdict::Send));
        assert!(one.revision > two.revision, "every change counts");
    }
}
