//! What goes wrong, how often, and how often it did.

use std::{collections::BTreeMap, ops::Range};

use super::rng::Rng;

/// A way to go wrong. All of them must occur in every run of the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A call is refused for its rate.
    Throttle,
    /// A call fails with 500, and nothing was done.
    ErrorBefore,
    /// A call fails with 500 although it was done.
    ErrorAfter,
    /// A call is never answered, and nothing was done.
    TimeoutBefore,
    /// A call is never answered although it was done.
    TimeoutAfter,
    /// The service cannot be reached.
    Unreachable,
    /// The answer cannot be read.
    Malformed,
    /// A transaction meets another.
    Conflict,
    /// A list is cut short, to be carried on.
    ShortPage,
    /// Some entries of a batch are refused.
    PartialBatch,
    /// An entry of a batch is done and said to have been refused.
    WronglyRefused,
    /// The answer to a batch is well formed and does not fit it: an entry's is missing, there twice, or nobody's.
    MixedUpAnswer,
    /// A call takes seconds.
    Delay,
    /// A service is down for minutes.
    Outage,
    /// A process ends between two awaits.
    Crash,
    /// A message is handed out twice.
    Duplicate,
    /// Messages are handed out in another order than they were sent.
    Reorder,
    /// A message is held for so long that the queue hands it out again.
    VisibilityExpiry,
    /// The deletion of a handled message is lost.
    LostDeletion,
    /// The stream loses a record.
    LostRecord,
    /// The stream brings a record again.
    RepeatedRecord,
    /// A process's clock is wrong.
    ClockSkew,
    /// The schedule leaves a sweep out.
    MissedSweep,
    /// An authority is closed for a while.
    ClosedAuthority,
    /// Dead letters are replayed during live traffic.
    LiveReplay,
    /// A replay is killed.
    KilledReplay,
    /// A client does not wait for the answer and asks again meanwhile.
    Impatience,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: [Self; 27] = [
        Self::Throttle,
        Self::ErrorBefore,
        Self::ErrorAfter,
        Self::TimeoutBefore,
        Self::TimeoutAfter,
        Self::Unreachable,
        Self::Malformed,
        Self::Conflict,
        Self::ShortPage,
        Self::PartialBatch,
        Self::WronglyRefused,
        Self::MixedUpAnswer,
        Self::Delay,
        Self::Outage,
        Self::Crash,
        Self::Duplicate,
        Self::Reorder,
        Self::VisibilityExpiry,
        Self::LostDeletion,
        Self::LostRecord,
        Self::RepeatedRecord,
        Self::ClockSkew,
        Self::MissedSweep,
        Self::ClosedAuthority,
        Self::LiveReplay,
        Self::KilledReplay,
        Self::Impatience,
    ];
}

/// How often each fault occurred.
pub(crate) type Counts = BTreeMap<Fault, u64>;

/// The weather of a run: how often things go wrong, and what is down when.
pub(crate) struct Weather {
    /// Of a thousand calls so many fail.
    calls: u64,
    /// Of a thousand processes so many crash.
    crashes: u64,
    /// Of a thousand messages and records with so many something happens.
    deliveries: u64,
    /// What is down: the beginning of `service.operation table`, and from when to when, in milliseconds.
    outage: Option<(&'static str, Range<u64>)>,
    calm: bool,
    pub(crate) counts: Counts,
}

/// What may be down.
const PARTS: [&str; 9] = [
    "DynamoDB",
    "DynamoDB.PutItem plans",
    "DynamoDB.PutItem accesses",
    "DynamoDB.PutItem mailbox",
    "DynamoDB.TransactWriteItems accesses",
    "DynamoDB.BatchWriteItem outbox",
    "SQS.SendMessage",
    "SQS.SendMessage asn-dlq",
    "SQS",
];

impl Weather {
    /// Of a run whose faults end at `end`, in milliseconds.
    pub(crate) fn new(rng: &mut Rng, end: u64) -> Self {
        let outage = rng.permille(400).then(|| {
            let from = rng.between(0, end / 2);
            (*rng.pick(&PARTS), from..from + rng.between(30_000, end / 2))
        });
        Self {
            calls: *rng.pick(&[0, 20, 60, 150, 300]),
            crashes: *rng.pick(&[0, 50, 150, 300]),
            deliveries: *rng.pick(&[0, 50, 200, 400]),
            outage,
            calm: false,
            counts: Counts::new(),
        }
    }

    /// From now on nothing goes wrong any more.
    pub(crate) fn clear_up(&mut self) {
        self.calm = true;
    }

    /// Whether anything may still go wrong.
    pub(crate) fn is_rough(&self) -> bool {
        !self.calm
    }

    pub(crate) fn count(&mut self, fault: Fault) {
        *self.counts.entry(fault).or_default() += 1;
    }

    /// What happens to a call.
    pub(crate) fn of_call(&mut self, rng: &mut Rng, call: &str, now: u64) -> Option<Fault> {
        if self.calm {
            return None;
        }
        let down = self.outage.as_ref().is_some_and(|(part, when)| call.starts_with(part) && when.contains(&now));
        if down && rng.permille(950) {
            return Some(self.counted(Fault::Outage));
        }
        let operation = call.split([' ', '.']).nth(1).unwrap_or_default();
        let is_batch = operation.ends_with("MessageBatch") || operation == "BatchWriteItem";
        if is_batch && rng.permille(self.deliveries) {
            return Some(self.counted(Fault::PartialBatch));
        }
        if !rng.permille(self.calls) {
            return None;
        }
        let mut faults = vec![
            Fault::Throttle,
            Fault::ErrorBefore,
            Fault::ErrorAfter,
            Fault::TimeoutBefore,
            Fault::TimeoutAfter,
            Fault::Unreachable,
            Fault::Malformed,
            Fault::Delay,
        ];
        // What can go wrong with this call alone goes wrong the more often.
        faults.extend(match operation {
            "TransactWriteItems" => [Fault::Conflict; 3].as_slice(),
            "Query" => &[Fault::ShortPage; 3],
            "BatchWriteItem" => &[Fault::PartialBatch; 4],
            "ReceiveMessage" => &[Fault::MixedUpAnswer; 2],
            batch if batch.ends_with("MessageBatch") => {
                &[Fault::PartialBatch, Fault::PartialBatch, Fault::WronglyRefused, Fault::MixedUpAnswer]
            }
            _ => &[],
        });
        let fault = *rng.pick(&faults);
        Some(self.counted(fault))
    }

    /// After how many polls a process crashes: mostly few, for most processes are short, and sometimes so many that a long one is cut
    /// off near its end.
    pub(crate) fn of_process(&mut self, rng: &mut Rng) -> Option<u32> {
        if self.calm || !rng.permille(self.crashes) {
            return None;
        }
        let most = *rng.pick(&[10, 40, 40, 100, 300]);
        Some(u32::try_from(rng.between(1, most)).expect("few"))
    }

    /// Whether this happens to a message or a record.
    pub(crate) fn strikes(&mut self, rng: &mut Rng, fault: Fault) -> bool {
        let strikes = !self.calm && rng.permille(self.deliveries);
        if strikes {
            self.count(fault);
        }
        strikes
    }

    fn counted(&mut self, fault: Fault) -> Fault {
        self.count(fault);
        fault
    }
}
