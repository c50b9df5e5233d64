//! One run's world: time, chance, tables, queues, the stream, and processes that can crash.

use std::{
    future::Future,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    task::{Context, Poll},
    time::Duration,
};

use cpis::simulation::{set_time, take_log};
use cpis_tests::{dynamo::Dynamo, sqs::Queues};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{
    faults::{Fault, Weather},
    history::History,
    rng::Rng,
    wire::milliseconds,
};

/// When every run begins: a Monday morning.
const BEGINNING: i64 = 1_780_304_400_000;
/// When faults end, in milliseconds from the beginning.
pub(crate) const CALM_FROM: u64 = 12 * 60_000;

/// The world of one run.
pub(crate) struct World {
    pub(crate) seed: u64,
    /// Told apart from other runs of the seed in this process.
    pub(crate) run: usize,
    pub(crate) tables: Dynamo,
    queues: Mutex<Queues>,
    stream: Mutex<Vec<Value>>,
    rng: Mutex<Rng>,
    weather: Mutex<Weather>,
    pub(crate) history: Mutex<History>,
    trace: Option<Mutex<Vec<String>>>,
    began: Instant,
    /// The pumps between the services stop.
    pub(crate) over: AtomicBool,
}

/// How the work of a process ended.
pub(crate) enum Ended<T> {
    Done(T),
    Crashed,
    /// Lambda's patience was at its end.
    TimedOut,
}

impl<T> Ended<T> {
    pub(crate) fn done(self) -> Option<T> {
        match self {
            Self::Done(value) => Some(value),
            Self::Crashed | Self::TimedOut => None,
        }
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(seed: u64, run: usize, traced: bool) -> Self {
        let mut rng = Rng::new(seed);
        let weather = Weather::new(&mut rng, CALM_FROM);
        Self {
            seed,
            run,
            tables: Dynamo::without_server(),
            queues: Mutex::new(Queues::at(BEGINNING.unsigned_abs())),
            stream: Mutex::default(),
            rng: Mutex::new(rng),
            weather: Mutex::new(weather),
            history: Mutex::default(),
            trace: traced.then(Mutex::default),
            began: Instant::now(),
            over: AtomicBool::new(false),
        }
    }

    /// Milliseconds since the beginning.
    pub(crate) fn elapsed(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).expect("a short run")
    }

    fn moment(&self, skew: i64) -> Timestamp {
        let elapsed = i64::try_from(self.elapsed()).expect("a short run");
        Timestamp::from_millisecond(BEGINNING + elapsed + skew).expect("in range")
    }

    /// The queues, as they are now.
    pub(crate) fn queues(&self) -> MutexGuard<'_, Queues> {
        let mut queues = lock(&self.queues);
        queues.advance_to(BEGINNING.unsigned_abs() + self.elapsed());
        queues
    }

    /// What was written into the stream so far.
    pub(crate) fn stream(&self, items: Vec<Value>) {
        lock(&self.stream).extend(items);
    }

    /// Up to so many items of the stream from a place on, and their places.
    pub(crate) fn streamed(&self, from: usize, most: usize) -> Vec<(usize, Value)> {
        lock(&self.stream).iter().cloned().enumerate().skip(from).take(most).collect()
    }

    pub(crate) fn chance<T>(&self, draw: impl FnOnce(&mut Rng) -> T) -> T {
        draw(&mut lock(&self.rng))
    }

    /// A number from `low` to `high`, both included.
    pub(crate) fn between(&self, low: u64, high: u64) -> u64 {
        self.chance(|rng| rng.between(low, high))
    }

    /// Heads rather than tails.
    pub(crate) fn heads(&self) -> bool {
        self.chance(|rng| rng.permille(500))
    }

    pub(crate) fn weather(&self) -> MutexGuard<'_, Weather> {
        lock(&self.weather)
    }

    /// Whether this happens now.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        let strikes = self.weather().strikes(&mut lock(&self.rng), fault);
        if strikes {
            self.note(|| format!("  ! {fault:?}"));
        }
        strikes
    }

    pub(crate) fn fault_of(&self, call: &str) -> Option<Fault> {
        let now = self.elapsed();
        self.weather().of_call(&mut lock(&self.rng), call, now)
    }

    /// How long a call is on its way there and back.
    pub(crate) fn journey(&self, slow: bool) -> (Duration, Duration) {
        let most = if slow { 2_500 } else { 12 };
        (milliseconds(self.between(1, most)), milliseconds(self.between(1, most)))
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        lock(&self.history)
    }

    /// Writes a line of the trace, where one is kept.
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            let at = self.elapsed();
            lock(trace).push(format!("{:>5}.{:03} {}", at / 1000, at % 1000, line()));
        }
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.trace.as_ref().map(|trace| lock(trace).clone()).unwrap_or_default()
    }

    /// How wrong a new process's clock is, in milliseconds.
    pub(crate) fn skew(&self) -> i64 {
        if !self.strikes(Fault::ClockSkew) {
            return 0;
        }
        i64::try_from(self.between(0, 180_000)).expect("small") - 90_000
    }

    /// Runs a process's work: by its own clock, until it is done, crashes or is out of time.
    pub(crate) async fn process<T>(
        &self,
        name: &str,
        skew: i64,
        patience: u64,
        work: impl Future<Output = T>,
    ) -> Ended<T> {
        let polls_left = self.weather().of_process(&mut lock(&self.rng));
        let process = Process { world: self, skew, polls_left, work: Box::pin(work) };
        let ended = match timeout(milliseconds(patience), process).await {
            Ok(Some(value)) => Ended::Done(value),
            Ok(None) => Ended::Crashed,
            Err(_) => Ended::TimedOut,
        };
        match ended {
            Ended::Done(_) => {}
            Ended::Crashed => {
                self.weather().count(Fault::Crash);
                self.note(|| format!("  ! {name} crashes"));
            }
            Ended::TimedOut => self.note(|| format!("  ! {name} is out of time")),
        }
        ended
    }
}

/// The work of a process, polled by its own clock and only so often.
struct Process<'w, F: Future> {
    world: &'w World,
    skew: i64,
    polls_left: Option<u32>,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Process<'_, F> {
    /// `None`: it crashed.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(left) = &mut self.polls_left {
            if *left == 0 {
                return Poll::Ready(None);
            }
            *left -= 1;
        }
        set_time(Some(self.world.moment(self.skew)));
        let polled = self.work.as_mut().poll(context);
        set_time(None);
        for code in take_log() {
            self.world.note(|| format!("  {code}"));
        }
        polled.map(Some)
    }
}
