//! From the push queue out to an authority's own systems: by webhook or by MESH.
//!
//! The mailbox has every notification before it is pushed, so nothing here can lose one. What it must not do is let one
//! receiver's trouble become another's: the pushes of a receiver go out one after the other, those of different receivers side
//! by side, and a receiver that does not answer rests while its pushes wait in their queue (R75).

use std::{collections::BTreeMap, panic::AssertUnwindSafe};

use futures_util::{FutureExt, future::join_all};
use jiff::{SignedDuration, Timestamp};

use super::{deliver::queue_pushes, queued::Message};
use crate::{
    domain::{
        authority::Status,
        circuit::{Circuit, SLOW, Verdict},
        notification::Delivered,
        ways_out::{Push, PushState, PushTask, Receiver, WaysOut},
    },
    ports::{
        Again, Circuits, Claim, Clock, Directory, FailedDeliveries, Mesh, NotTaken, PageRequest, PortError, PortResult,
        PushLog, PushOutbox, PushQueue, Tracked, Unreadable, Webhooks,
    },
};

/// For how long a push is tried before it is given up: a long weekend, and a day to mend what broke on it.
pub const PATIENCE: SignedDuration = SignedDuration::from_hours(5 * 24);
/// For how long a message in MESH is watched: MESH itself keeps one for five days.
const MESH_PATIENCE: SignedDuration = SignedDuration::from_hours(6 * 24);
/// For how long a push is one process's own, in seconds. Longer than any takes.
pub const CLAIM: u32 = 60;
/// The longest wait between two tries, in seconds.
const LONGEST_WAIT: u32 = 900;
/// The longest that a receiver may make us wait, in seconds.
const LONGEST_ASKED: u32 = 3_600;
/// How long until MESH is first asked what became of a message, and then at the most between two questions; in seconds.
const TRACK: (u32, u32) = (300, 3_600);
/// A batch starts no more pushes to a receiver after this time: it must end within its function's.
const START_WITHIN: SignedDuration = SignedDuration::from_secs(10);
/// Pushes owed for longer than this are swept: they were to be queued when they were delivered.
pub const SWEEP_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// How many of those the sweep takes at a time.
const SWEEP_PAGE: usize = 200;

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has the notification.
    Sent,
    /// MESH has it, and is asked later what became of it: the queue keeps the message.
    Watched,
    /// It was collected from MESH.
    Collected,
    /// The receiver had it before.
    AlreadySent,
    /// The authority no longer wants it this way.
    NotWanted,
    /// The receiver did not take it: it is tried again later.
    Failed(NotTaken, Rested),
    /// No connection was tried, for this reason: it is tried later.
    Waits(&'static str),
    /// It was put into the dead-letter queue, with its reason: the queue may forget it.
    SetAside(String),
    /// A step of ours failed: the queue hands it out again.
    Retry(PortError),
}

/// Whether a failure was the one that made its receiver rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rested {
    /// It was.
    Now,
    /// It was not.
    No,
}

impl Outcome {
    /// Whether the queue may forget the message.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Sent | Self::Collected | Self::AlreadySent | Self::NotWanted | Self::SetAside(_))
    }
}

/// What pushing works with.
#[derive(Debug)]
pub struct Pusher<'a, D, S, O, Q, C> {
    /// Knows what each authority chose.
    pub directory: &'a D,
    /// Knows how far each push has come, and how each receiver stands.
    pub store: &'a S,
    /// Sends.
    pub out: &'a O,
    /// Lets messages wait and sets them aside.
    pub queue: &'a Q,
    /// The time.
    pub clock: &'a C,
    /// Wait before the first retry, in seconds; it doubles with each.
    pub backoff_seconds: u32,
    /// For how long a push is one process's own, in seconds: [`CLAIM`].
    pub claim_seconds: u32,
}

impl<D, S, O, Q, C> Pusher<'_, D, S, O, Q, C>
where
    D: Directory,
    S: PushLog + Circuits,
    O: Webhooks + Mesh,
    Q: FailedDeliveries,
    C: Clock,
{
    /// Handles a batch; answers for each message, in the same order.
    pub async fn handle(&self, batch: &[Message<'_>]) -> Vec<Outcome> {
        let mut receivers: BTreeMap<_, Vec<(usize, Option<PushTask>)>> = BTreeMap::new();
        for (place, message) in batch.iter().enumerate() {
            let task: Option<PushTask> = serde_json::from_str(message.body).ok();
            let receiver = task.as_ref().map(|task| (task.authority.clone(), task.way));
            receivers.entry(receiver).or_default().push((place, task));
        }
        let began = self.clock.now();
        let groups = receivers.into_values().map(|pushes| self.one_receiver(batch, pushes, began));
        let mut outcomes: Vec<_> = join_all(groups).await.into_iter().flatten().collect();
        outcomes.sort_by_key(|(place, _)| *place);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    /// The pushes of one receiver, one after the other. Once one has failed the others wait without being tried.
    async fn one_receiver(
        &self,
        batch: &[Message<'_>],
        pushes: Vec<(usize, Option<PushTask>)>,
        began: Timestamp,
    ) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(pushes.len());
        // Why the others are not tried, and until when their receiver rests.
        let mut spared: Option<(&'static str, Option<Timestamp>)> = None;
        for (place, task) in pushes {
            let message = &batch[place];
            let Some(task) = task else {
                outcomes.push((place, self.set_aside(message, None, "unreadable").await));
                continue;
            };
            let now = self.clock.now();
            if let Some((why, until)) = spared {
                outcomes.push((place, self.rest(message, &task, until, why).await));
                continue;
            }
            if now.duration_since(began) > START_WITHIN {
                let seconds = 1 + spread(&task, self.backoff_seconds);
                outcomes.push((place, self.wait(message, &task, seconds, "receiver-slow").await));
                continue;
            }
            let push = AssertUnwindSafe(self.push(message, &task)).catch_unwind().await;
            let outcome = match push {
                Ok(outcome) => outcome.unwrap_or_else(Outcome::Retry),
                Err(_) => self.set_aside(message, Some(&task), "panicked").await,
            };
            let slow = self.clock.now().duration_since(now) > SLOW;
            if let Some(why) = sparing(&outcome, slow) {
                spared = Some((why, self.rests_until(&task).await));
            }
            outcomes.push((place, outcome));
        }
        outcomes
    }

    /// Until when a receiver rests by what is known now; none where it does not, or where that cannot be read.
    async fn rests_until(&self, task: &PushTask) -> Option<Timestamp> {
        self.store.circuit(&task.authority, task.way).await.ok()?.rests_until
    }

    async fn push(&self, message: &Message<'_>, task: &PushTask) -> PortResult<Outcome> {
        let Some(authority) = self.directory.authority(&task.authority).await? else {
            return Ok(self.set_aside(message, Some(task), "authority-unknown").await);
        };
        if authority.status == Status::Closed {
            return Ok(self.wait(message, task, LONGEST_WAIT, "authority-closed").await);
        }
        if authority.ways_out.receiver(task.way).is_none() {
            let push = Push { state: PushState::Refused, at: Some(self.clock.now()), ..Push::default() };
            self.store.record_push(task, &Push { reason: Some("not-wanted".into()), ..push }).await?;
            return Ok(Outcome::NotWanted);
        }
        let circuit = self.store.circuit(&task.authority, task.way).await?;
        let now = self.clock.now();
        let circuit = match circuit.verdict(now) {
            Verdict::Send => circuit,
            Verdict::Rest(until) => return Ok(self.rest(message, task, Some(until), "receiver-rests").await),
            Verdict::Probe(probing) => {
                if !self.store.move_circuit(&task.authority, task.way, &circuit, &probing).await? {
                    return Ok(self.rest(message, task, probing.rests_until, "receiver-rests").await);
                }
                probing
            }
        };
        let until = now + SignedDuration::from_secs(i64::from(self.claim_seconds));
        match self.store.claim(task, now, until).await? {
            Claim::Granted(held) => self.send(message, task, &authority.ways_out, &held, &circuit).await,
            Claim::Taken(until) => {
                Ok(self.wait(message, task, seconds_until(until, now).max(1), "in-other-hands").await)
            }
            Claim::Sent(push) => self.follow(message, task, &push, &circuit).await,
            Claim::Unknown => Ok(self.set_aside(message, Some(task), "notification-unknown").await),
        }
    }

    async fn send(
        &self,
        message: &Message<'_>,
        task: &PushTask,
        ways: &WaysOut,
        held: &Delivered,
        circuit: &Circuit,
    ) -> PortResult<Outcome> {
        let now = self.clock.now();
        let outgoing = task.outgoing(held);
        let sent = match ways.receiver(task.way) {
            Some(Receiver::Webhook(to)) => self.out.send_webhook(to, &outgoing, now).await.map(|()| None),
            Some(Receiver::Mesh(to)) => self.out.send_mesh(to, &outgoing, now).await,
            // `push` has looked.
            None => return Ok(Outcome::NotWanted),
        };
        let attempts = held.pushes.get(&task.way).map_or(0, |push| push.attempts).saturating_add(1);
        let push = Push { at: Some(self.clock.now()), attempts, ..Push::default() };
        match sent {
            Ok(receipt) => {
                self.store
                    .record_push(task, &Push { state: PushState::Sent, receipt: receipt.clone(), ..push })
                    .await?;
                self.note_success(task, circuit, now).await?;
                if receipt.is_none() {
                    return Ok(Outcome::Sent);
                }
                let _ = self.queue.postpone(message.receipt, TRACK.0).await;
                Ok(Outcome::Watched)
            }
            Err(failure) => self.failed(message, task, push, failure).await,
        }
    }

    async fn failed(
        &self,
        message: &Message<'_>,
        task: &PushTask,
        push: Push,
        failure: NotTaken,
    ) -> PortResult<Outcome> {
        let push = Push { reason: Some(failure.code.to_owned()), ..push };
        let asked = match failure.again {
            Again::Never => {
                self.store.record_push(task, &Push { state: PushState::Refused, ..push }).await?;
                return Ok(self.set_aside(message, Some(task), failure.code).await);
            }
            Again::Later(asked) => asked,
            Again::NotItsFault => None,
        };
        let attempts = push.attempts;
        self.store.record_push(task, &push).await?;
        let rested = match failure.again {
            Again::Later(_) => self.note_failure(task).await?,
            _ => Rested::No,
        };
        let own = self.backoff(attempts);
        let seconds = own.max(asked.unwrap_or(0).min(LONGEST_ASKED)).saturating_add(spread(task, own / 4));
        match self.wait(message, task, seconds, failure.code).await {
            Outcome::Waits(_) => Ok(Outcome::Failed(failure, rested)),
            given_up => Ok(given_up),
        }
    }

    /// Notes that the receiver has answered what was asked of it at a moment.
    async fn note_success(&self, task: &PushTask, circuit: &Circuit, asked: Timestamp) -> PortResult<()> {
        let now = self.clock.now();
        if let Some(well) = circuit.after_success(now, now.duration_since(asked)) {
            // Where another was faster, theirs is as new as ours.
            self.store.move_circuit(&task.authority, task.way, circuit, &well).await?;
        }
        Ok(())
    }

    /// Counts a failure against the receiver; others may be counting too.
    async fn note_failure(&self, task: &PushTask) -> PortResult<Rested> {
        for _ in 0..5 {
            let seen = self.store.circuit(&task.authority, task.way).await?;
            let next = seen.after_failure(self.clock.now());
            if self.store.move_circuit(&task.authority, task.way, &seen, &next).await? {
                let began = next.rests_until.is_some() && seen.rests_until.is_none();
                return Ok(if began { Rested::Now } else { Rested::No });
            }
        }
        Ok(Rested::No)
    }

    /// What MESH says of a message that it took; a webhook that was sent needs no more.
    async fn follow(
        &self,
        message: &Message<'_>,
        task: &PushTask,
        push: &Push,
        circuit: &Circuit,
    ) -> PortResult<Outcome> {
        let (PushState::Sent, Some(receipt)) = (push.state, &push.receipt) else { return Ok(Outcome::AlreadySent) };
        let now = self.clock.now();
        let since = push.at.map_or(SignedDuration::ZERO, |at| now.duration_since(at));
        let tracked = self.out.track_mesh(receipt, now).await;
        if tracked.is_ok() {
            self.note_success(task, circuit, now).await?;
        }
        let state = match tracked {
            Ok(Tracked::Collected) => PushState::Collected,
            Ok(Tracked::Undelivered) => PushState::GivenUp,
            Ok(Tracked::Waiting) | Err(_) if since > MESH_PATIENCE => PushState::GivenUp,
            Ok(Tracked::Waiting) | Err(_) => {
                let seconds = u32::try_from(since.as_secs()).unwrap_or(0).clamp(TRACK.0, TRACK.1);
                let _ = self.queue.postpone(message.receipt, seconds).await;
                return Ok(Outcome::Watched);
            }
        };
        let given_up = state == PushState::GivenUp;
        let reason = given_up.then(|| "not-collected".to_owned());
        self.store.record_push(task, &Push { state, at: Some(now), reason, ..push.clone() }).await?;
        if given_up {
            return Ok(self.set_aside(message, Some(task), "not-collected").await);
        }
        Ok(Outcome::Collected)
    }

    /// Lets the message wait untried for its receiver, which may rest until a moment: each time longer, so that in all the time for
    /// which it is kept it is handed out less often than its queue allows.
    async fn rest(
        &self,
        message: &Message<'_>,
        task: &PushTask,
        until: Option<Timestamp>,
        why: &'static str,
    ) -> Outcome {
        let rest = until.map_or(0, |until| seconds_until(until, self.clock.now()));
        let seconds = rest.max(self.backoff(message.attempts)).saturating_add(spread(task, self.backoff_seconds));
        self.wait(message, task, seconds, why).await
    }

    /// The wait before the next try after so many, in seconds.
    fn backoff(&self, times: u32) -> u32 {
        self.backoff_seconds.saturating_mul(1 << (times.clamp(1, 16) - 1)).min(LONGEST_WAIT)
    }

    /// Lets the message wait, or gives it up where it has waited long enough.
    async fn wait(&self, message: &Message<'_>, task: &PushTask, seconds: u32, why: &'static str) -> Outcome {
        let now = self.clock.now();
        if message.sent_at.is_some_and(|sent| now.duration_since(sent) > PATIENCE) {
            let push = Push { state: PushState::GivenUp, at: Some(now), reason: Some(why.into()), ..Push::default() };
            let attempts = message.attempts;
            if let Err(error) = self.store.record_push(task, &Push { attempts, ..push }).await {
                return Outcome::Retry(error);
            }
            return self.set_aside(message, Some(task), why).await;
        }
        // Should this fail, the message only waits for the queue's own visibility timeout instead.
        let _ = self.queue.postpone(message.receipt, seconds).await;
        Outcome::Waits(why)
    }

    async fn set_aside(&self, message: &Message<'_>, task: Option<&PushTask>, reason: &str) -> Outcome {
        let authority = task.map_or_else(|| message.authority().to_owned(), |task| task.authority.to_string());
        let why = message.set_aside(reason, authority, self.clock.now());
        match self.queue.set_aside(message.body, &why).await {
            Ok(()) => Outcome::SetAside(reason.to_owned()),
            Err(error) => Outcome::Retry(error),
        }
    }
}

/// Why the others of a receiver's pushes are not tried after this one; none where they are.
fn sparing(outcome: &Outcome, slow: bool) -> Option<&'static str> {
    match outcome {
        Outcome::Failed(..) => Some("receiver-unwell"),
        Outcome::Waits("receiver-rests") => Some("receiver-rests"),
        _ if slow => Some("receiver-slow"),
        _ => None,
    }
}

fn seconds_until(moment: Timestamp, now: Timestamp) -> u32 {
    u32::try_from(moment.duration_since(now).as_secs().max(0)).unwrap_or(LONGEST_ASKED)
}

/// Some seconds up to `most`, other ones for each notification: so that what waited together does not come back together.
fn spread(task: &PushTask, most: u32) -> u32 {
    let picked = task.id.as_u128() % (u128::from(most) + 1);
    u32::try_from(picked).unwrap_or(0)
}

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// Notifications found whose pushes were owed.
    pub found: usize,
    /// Those whose pushes are queued now.
    pub queued: usize,
    /// Those that cannot be read; they stay owed.
    pub unreadable: Vec<Unreadable>,
    /// When the oldest of those found was delivered, whether it can be read or not.
    pub oldest: Option<Timestamp>,
    /// The last error met.
    pub error: Option<PortError>,
}

/// Queues the pushes that are owed for longer than [`SWEEP_AFTER`], whatever kept them from being queued.
///
/// # Errors
/// Where what is owed cannot be read. What was queued before stays queued.
pub async fn sweep(outbox: &impl PushOutbox, queue: &impl PushQueue, clock: &impl Clock) -> PortResult<Swept> {
    let before = clock.now() - SWEEP_AFTER;
    let mut page = PageRequest { limit: SWEEP_PAGE, after: None };
    let mut swept = Swept::default();
    loop {
        let due = outbox.pushes_due_before(before, &page).await?;
        swept.found += due.items.len();
        swept.oldest = swept.oldest.or(due.items.first().map(|entry| entry.since));
        for entry in due.items {
            match entry.due {
                Ok(due) => match queue_pushes(outbox, queue, &due.tasks, due.since).await {
                    Ok(()) => swept.queued += 1,
                    Err(error) => swept.error = Some(error),
                },
                Err(unreadable) => swept.unreadable.push(unreadable),
            }
        }
        page.after = due.next;
        if page.after.is_none() {
            return Ok(swept);
        }
    }
}

#[cfg(test)]
mod tests;
