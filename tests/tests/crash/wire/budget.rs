//! How many attempts are made for what a run that nothing disturbs makes calls for.

use super::Run;

/// Attempts a call that may be made on average. Where three attempts in ten are struck it comes to 1 + 0.3 + 0.09 + …, which is 1.43,
/// with a standard deviation of 0.78 for one call and so of 0.78 / √n for the average of n. The margin of 0.17 is five of those where
/// there are [`LEAST_CALLS`]: chance alone breaks it once in a few million times.
const MOST_ATTEMPTS: f64 = 1.6;
/// With fewer calls the average says too little.
const LEAST_CALLS: usize = 530;
/// Of all runs so many may need somebody who tries again: of one of 30 calls it is one in fourteen.
const MOST_TRIED_AGAIN: f64 = 0.2;

/// What runs came to. Whatever tries again, a call, a function or a whole request, counts against the calls of an undisturbed run,
/// and so cannot hide what it costs.
#[derive(Debug)]
pub(super) struct Budget {
    of: &'static str,
    runs: usize,
    tried_again: usize,
    calls: usize,
    attempts: usize,
    throttled: usize,
}

impl Budget {
    /// Of those who make the calls: functions, or the operator's command. The SDK's five attempts fail for one call in four hundred.
    pub(super) fn of(of: &'static str) -> Self {
        Self { of, runs: 0, tried_again: 0, calls: 0, attempts: 0, throttled: 0 }
    }

    /// Adds a run, against one that nothing disturbed.
    pub(super) fn add(&mut self, undisturbed: &Run, run: &Run) {
        self.runs += 1;
        self.tried_again += usize::from(run.tries > undisturbed.tries);
        self.calls += undisturbed.calls.len();
        self.attempts += run.calls.len() + run.struck;
        self.throttled += run.struck;
    }

    /// What is wrong with it; nothing, where it was kept.
    pub(super) fn findings(&self) -> Vec<String> {
        let share = |part: usize, of: usize| part as f64 / of as f64;
        let (attempts, throttled) = (share(self.attempts, self.calls), share(self.throttled, self.attempts));
        let again = share(self.tried_again, self.runs);
        eprintln!(
            "{}: {attempts:.2} attempts a call, {throttled:.2} of them throttled, {again:.2} of the runs tried again",
            self.of
        );
        let mut found = Vec::new();
        let mut expect = |so: bool, what: String| {
            if !so {
                found.push(format!("{what}: {self:?}"))
            }
        };
        expect(self.calls >= LEAST_CALLS, "too few calls to say".into());
        expect((0.2..0.4).contains(&throttled), format!("{throttled:.2} of the attempts throttled"));
        expect(attempts <= MOST_ATTEMPTS, format!("{attempts:.2} attempts a call"));
        expect(again <= MOST_TRIED_AGAIN, format!("{again:.2} of the runs were tried again"));
        found
    }
}

/// How somebody could try again, in layers of which each begins all that it stands for anew.
struct Policy {
    /// Attempts at a call.
    of_calls: u32,
    /// Attempts at ten calls in a row.
    of_steps: u32,
}

/// A run of 20 calls in steps of ten, of which three in ten attempts are throttled, until all are made.
fn run_by(policy: &Policy, random: &mut fastrand::Rng) -> Run {
    let mut run = Run { tries: 0, ..Run::undisturbed(0) };
    let mut attempts = 0;
    let mut call = |run: &mut Run| {
        (0..policy.of_calls).any(|_| {
            let throttled = random.f64() < 0.3;
            attempts += 1;
            run.struck += usize::from(throttled);
            !throttled
        })
    };
    let mut step = |run: &mut Run| (0..policy.of_steps).any(|_| (0..10).all(|_| call(run)));
    loop {
        run.tries += 1;
        if (0..2).all(|_| step(&mut run)) {
            break;
        }
    }
    Run { calls: Run::undisturbed(attempts - run.struck).calls, ..run }
}

#[test]
fn a_policy_that_tries_too_much_again_breaks_the_budget() {
    let of = |of_calls, of_steps| {
        let (mut budget, mut random) = (Budget::of("functions"), fastrand::Rng::with_seed(1));
        let policy = Policy { of_calls, of_steps };
        (0..50).for_each(|_| budget.add(&Run::undisturbed(20), &run_by(&policy, &mut random)));
        budget.findings()
    };
    assert_eq!(of(5, 1), Vec::<String>::new(), "the SDK's five attempts");
    for (policy, of_calls, of_steps) in
        [("nobody but the caller tries again", 1, 1), ("two layers", 2, 3), ("three attempts, and the caller's", 2, 1)]
    {
        let found = of(of_calls, of_steps);
        assert!(found.iter().any(|finding| finding.contains("attempts a call")), "{policy}: {found:?}");
    }
    let found = of(3, 1);
    assert!(found.iter().any(|finding| finding.contains("tried again")), "three attempts are too few: {found:?}");
}
