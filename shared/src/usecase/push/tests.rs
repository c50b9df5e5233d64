//! Pushing over the ports in memory, to receivers that behave as they are told.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Mutex, PoisonError},
};

use super::*;
use crate::{
    domain::{
        authority::{Authority, AuthorityCode},
        notification::{Notification, notification_id},
        reading::Reading,
        ways_out::{MeshBox, Outgoing, Way, Webhook},
    },
    memory::{Queue, Register, Sent, SetClock},
    ports::{Mailbox, MailboxReader},
    usecase::deliver,
};
use uuid::Uuid;

const HOME: &str = "E06000001";
const AWAY: &str = "E08000025";

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(work)
}

fn code(text: &str) -> AuthorityCode {
    AuthorityCode::parse(text).expect("valid")
}

const DOWN: NotTaken = NotTaken { code: "not-reached", status: None, again: Again::Later(None) };
const NEVER: NotTaken = NotTaken { code: "refused-by-receiver", status: Some(410), again: Again::Never };

/// Receivers that answer as they are told, and remember what reached them.
#[derive(Default)]
struct Receivers {
    answers: Mutex<HashMap<(String, Way), NotTaken>>,
    tracked: Mutex<Option<Tracked>>,
    reached: Mutex<Vec<(Way, String, Uuid)>>,
    /// Seconds that each push to an authority takes, by the clock.
    takes: Mutex<HashMap<String, i64>>,
    clock: Option<&'static SetClock>,
}

impl Receivers {
    fn answer(&self, authority: &str, way: Way, answer: Option<NotTaken>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Some(answer) => answers.insert((authority.into(), way), answer),
            None => answers.remove(&(authority.to_owned(), way)),
        };
    }

    fn takes(&self, authority: &str, seconds: i64) {
        self.takes.lock().unwrap_or_else(PoisonError::into_inner).insert(authority.into(), seconds);
    }

    fn reached(&self) -> Vec<(Way, String, Uuid)> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn reach(&self, way: Way, notification: &Notification) -> Result<(), NotTaken> {
        assert_ne!(notification.trace_id, Uuid::max(), "cursed");
        if let Some(clock) = self.clock {
            let takes = self.takes.lock().unwrap_or_else(PoisonError::into_inner);
            clock.advance(takes.get(notification.authority.as_str()).copied().unwrap_or(0));
        }
        let to = notification.authority.to_string();
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).push((way, to.clone(), notification.id));
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&(to, way)).copied().map_or(Ok(()), Err)
    }
}

impl Webhooks for Receivers {
    async fn send_webhook(&self, _: &Webhook, outgoing: &Outgoing<'_>, _: Timestamp) -> Result<(), NotTaken> {
        self.reach(Way::Webhook, outgoing.notification)
    }
}

impl Mesh for Receivers {
    async fn send_mesh(&self, _: &MeshBox, outgoing: &Outgoing<'_>, _: Timestamp) -> Result<Option<String>, NotTaken> {
        self.reach(Way::Mesh, outgoing.notification).map(|()| Some("receipt".into()))
    }

    async fn track_mesh(&self, receipt: &str, _: Timestamp) -> Result<Tracked, NotTaken> {
        assert_eq!(receipt, "receipt");
        self.tracked.lock().unwrap_or_else(PoisonError::into_inner).ok_or(DOWN)
    }
}

/// A register with two authorities that chose both ways, and a queue.
struct World {
    register: Register,
    queue: Queue,
    clock: &'static SetClock,
    out: Receivers,
}

impl World {
    fn new() -> Self {
        let clock = Box::leak(Box::new(SetClock::at("2026-11-22T12:00:00Z".parse().expect("valid"))));
        let out = Receivers { clock: Some(clock), ..Receivers::default() };
        let world = Self { register: Register::default(), queue: Queue::default(), clock, out };
        for authority in [HOME, AWAY] {
            world.directory(authority, Status::Open, both());
        }
        world
    }

    fn directory(&self, authority: &str, status: Status, ways_out: WaysOut) {
        let (code, name) = (code(authority), "Any".to_owned());
        self.register.put_authority(Authority { code, region: name.clone(), name, status, ways_out });
    }

    /// Delivers a notification; its push tasks as the queue was told of them.
    fn deliver(&self, authority: &str, n: u128) -> Vec<PushTask> {
        self.deliver_traced(authority, n, Uuid::from_u128(n))
    }

    fn deliver_traced(&self, authority: &str, n: u128, trace: Uuid) -> Vec<PushTask> {
        let asn = notification(authority, n, trace);
        let body = serde_json::to_string(&asn).expect("JSON");
        let message = message(&body);
        let queue = Queue::default();
        let outcome = run(deliver::handle(&self.register, &self.register, &queue, &queue, self.clock, &message, 60));
        assert_eq!(outcome, deliver::Outcome::Delivered);
        let tasks = queue.told().into_iter().map(|told| match told {
            Sent::Push(task) => task,
            other => panic!("{other:?}"),
        });
        tasks.collect()
    }

    fn push(&self, tasks: &[PushTask]) -> Vec<Outcome> {
        self.push_sent(tasks, self.clock.now())
    }

    fn push_sent(&self, tasks: &[PushTask], sent_at: Timestamp) -> Vec<Outcome> {
        let bodies: Vec<_> = tasks.iter().map(|task| serde_json::to_string(task).expect("JSON")).collect();
        let messages: Vec<_> = bodies.iter().map(|body| Message { sent_at: Some(sent_at), ..message(body) }).collect();
        run(self.pusher(&self.queue).handle(&messages))
    }

    fn pusher<'a, Q>(&'a self, queue: &'a Q) -> Pusher<'a, Register, Register, Receivers, Q, SetClock> {
        Pusher {
            directory: &self.register,
            store: &self.register,
            out: &self.out,
            queue,
            clock: self.clock,
            backoff_seconds: 60,
            claim_seconds: CLAIM,
        }
    }

    fn state(&self, task: &PushTask) -> Push {
        let all = PageRequest { limit: 1_000, after: None };
        let held = run(self.register.notifications(&task.authority, None, &all)).expect("a page").items;
        let mut held = held.iter().flatten();
        held.find(|d| d.notification.id == task.notification).expect("delivered").pushes[&task.way].clone()
    }

    /// How long the queue was last told to let a message wait.
    fn last_wait(&self) -> u32 {
        match self.queue.told().last() {
            Some(Sent::Postponed(_, seconds)) => *seconds,
            other => panic!("{other:?}"),
        }
    }

    fn set_aside(&self) -> Vec<String> {
        let told = self.queue.told().into_iter();
        told.filter_map(|told| if let Sent::SetAside(_, why) = told { Some(why.reason) } else { None }).collect()
    }
}

fn both() -> WaysOut {
    WaysOut {
        webhook: Some(Webhook::at("https://council.example/asn")),
        mesh: Some(MeshBox { mailbox: "X26ABC1".into() }),
        ..WaysOut::default()
    }
}

fn webhook() -> WaysOut {
    WaysOut { mesh: None, ..both() }
}

fn message(body: &str) -> Message<'_> {
    Message { receipt: "r", body, attempts: 1, sent_at: None, trace: None, attributes: vec![("kind", "push")] }
}

fn notification(authority: &str, n: u128, trace: Uuid) -> Notification {
    let notification = serde_json::json!({
        "id": notification_id(Uuid::from_u128(n), &code(authority)),
        "accessId": Uuid::from_u128(n),
        "authority": authority,
        "at": "2026-11-22T11:59:00.000Z",
        "nhsNumber": "9990000018",
        "localIds": ["C-1"],
        "viewer": {"name": "Alex Example"},
        "organisation": {"code": "ZX001", "name": "Sample Hospital"},
        "traceId": trace,
    });
    serde_json::from_value(notification).expect("a notification")
}

#[test]
fn r73_what_was_delivered_goes_out_once_on_each_way_chosen() {
    let world = World::new();
    let tasks = world.deliver(HOME, 1);
    assert_eq!(tasks.iter().map(|t| t.way).collect::<Vec<_>>(), [Way::Webhook, Way::Mesh]);
    assert_eq!(world.push(&tasks), [Outcome::Sent, Outcome::Watched]);
    assert_eq!(world.last_wait(), 300, "MESH is asked later what became of it");
    let sent = world.state(&tasks[0]);
    assert_eq!((sent.state, sent.attempts, sent.reason), (PushState::Sent, 1, None));
    assert_eq!(world.state(&tasks[1]).receipt.as_deref(), Some("receipt"));
    // Redelivery, and a replay of what was sent, reach nobody.
    assert_eq!(world.push(&tasks[..1]), [Outcome::AlreadySent]);
    assert_eq!(world.out.reached().len(), 2);
    // An authority that chose the mailbox alone is pushed nothing.
    world.directory(AWAY, Status::Open, WaysOut::default());
    assert_eq!(world.deliver(AWAY, 2), []);
}

#[test]
fn r73_pushes_that_could_not_be_queued_are_swept() {
    let world = World::new();
    let asn = notification(HOME, 1, Uuid::from_u128(1));
    let body = serde_json::to_string(&asn).expect("JSON");
    // The queue has the first task and not the second.
    world.queue.refuse_next([1]);
    let outcome = run(deliver::handle(
        &world.register,
        &world.register,
        &world.queue,
        &world.queue,
        world.clock,
        &message(&body),
        60,
    ));
    assert!(matches!(outcome, deliver::Outcome::PushesOwed(_)), "{outcome:?}");
    assert_eq!(run(sweep(&world.register, &world.queue, world.clock)).expect("swept").found, 0, "just delivered");
    world.clock.advance(121);
    let swept = run(sweep(&world.register, &world.queue, world.clock)).expect("swept");
    assert_eq!((swept.found, swept.queued, swept.error), (1, 1, None));
    let pushes = world.queue.told().into_iter().filter(|told| matches!(told, Sent::Push(_))).count();
    assert_eq!(pushes, 3, "the first one twice, which changes nothing");
    assert_eq!(run(sweep(&world.register, &world.queue, world.clock)).expect("swept").found, 0, "nothing is owed");
    // A process that died between delivering and queueing left just this behind.
    let left = notification(HOME, 2, Uuid::from_u128(2));
    let delivered = Delivered::new(left, world.clock.now(), &both(), &Reading::default());
    assert!(run(world.register.deliver(&delivered)).expect("delivered"));
    world.clock.advance(121);
    assert_eq!(run(sweep(&world.register, &world.queue, world.clock)).expect("swept").queued, 1);
}

#[test]
fn r73_one_that_cannot_be_read_is_told_and_holds_up_no_others() {
    let world = World::new();
    let began = world.clock.now();
    let mut ids = Vec::new();
    for (n, code) in (1_u128..).zip([HOME, HOME, AWAY]) {
        let asn = notification(code, n, Uuid::from_u128(n));
        let delivered = Delivered::new(asn, world.clock.now(), &both(), &Reading::default());
        assert!(run(world.register.deliver(&delivered)).expect("delivered"));
        ids.push((delivered.notification.authority, delivered.notification.id));
        world.clock.advance(1);
    }
    let (authority, id) = &ids[0];
    world.register.spoil(authority, *id);
    world.clock.advance(121);
    for queued in [2, 0] {
        let swept = run(sweep(&world.register, &world.queue, world.clock)).expect("swept");
        assert_eq!((swept.queued, swept.oldest, swept.error), (queued, Some(began), None), "sweep after sweep");
        let [unreadable] = &swept.unreadable[..] else { panic!("{:?}", swept.unreadable) };
        assert_eq!((unreadable.authority.as_str(), unreadable.id.clone()), (authority.as_str(), id.to_string()));
    }
}

#[test]
fn r75_a_receiver_that_fails_rests_and_no_connection_is_tried_meanwhile() {
    let world = World::new();
    world.directory(HOME, Status::Open, webhook());
    world.directory(AWAY, Status::Open, webhook());
    world.out.answer(HOME, Way::Webhook, Some(DOWN));
    let dead: Vec<_> = (0..5).flat_map(|n| world.deliver(HOME, n)).collect();
    let well = world.deliver(AWAY, 100);
    // In one batch the first failure speaks for the rest.
    let batch: Vec<_> = dead.iter().chain(&well).cloned().collect();
    let outcomes = world.push(&batch);
    assert_eq!(outcomes[0], Outcome::Failed(DOWN, Rested::No));
    assert!(outcomes[1..5].iter().all(|o| *o == Outcome::Waits("receiver-unwell")), "{outcomes:?}");
    assert_eq!(outcomes[5], Outcome::Sent, "another's trouble is not its own");
    assert_eq!(world.out.reached().len(), 2);
    assert_eq!(world.push(&dead[1..2]), [Outcome::Failed(DOWN, Rested::No)]);
    assert_eq!(world.push(&dead[2..3]), [Outcome::Failed(DOWN, Rested::Now)]);
    assert_eq!(world.out.reached().len(), 4);
    for task in &dead {
        assert_eq!(world.push(std::slice::from_ref(task)), [Outcome::Waits("receiver-rests")]);
    }
    assert_eq!(world.out.reached().len(), 4, "no connection was tried");
    assert!((60..=120).contains(&world.last_wait()), "{}", world.last_wait());
    // One push finds out whether it is well again, and the others follow.
    world.clock.advance(31);
    world.out.answer(HOME, Way::Webhook, None);
    assert_eq!(world.push(&dead), vec![Outcome::Sent; 5]);
    assert_eq!((world.state(&dead[0]).attempts, world.state(&dead[4]).attempts), (2, 1));
}

#[test]
fn r75_waits_grow_and_a_receiver_may_ask_for_longer_ones() {
    let world = World::new();
    world.directory(HOME, Status::Open, webhook());
    let task = world.deliver(HOME, 7).remove(0);
    let mut waits = Vec::new();
    for _ in 0..8 {
        world.out.answer(HOME, Way::Webhook, Some(DOWN));
        let [Outcome::Failed(..)] = world.push(std::slice::from_ref(&task))[..] else { panic!("{waits:?}") };
        waits.push(world.last_wait());
        world.clock.advance(3_600);
    }
    for (wait, own) in waits.iter().zip([60, 120, 240, 480, 900, 900, 900, 900]) {
        assert!((own..=own + own / 4).contains(wait), "{waits:?}");
    }
    let busy = |seconds| NotTaken { code: "busy", status: Some(429), again: Again::Later(Some(seconds)) };
    for (asked, least, most) in [(10, 900, 1_125), (1_800, 1_800, 2_025), (1_000_000, 3_600, 3_825)] {
        world.out.answer(HOME, Way::Webhook, Some(busy(asked)));
        let [Outcome::Failed(..)] = world.push(std::slice::from_ref(&task))[..] else { panic!("{asked}") };
        assert!((least..=most).contains(&world.last_wait()), "{asked}: {}", world.last_wait());
        world.clock.advance(3_600);
    }
}

#[test]
fn r75_a_slow_receiver_gets_one_push_of_a_batch() {
    let world = World::new();
    world.directory(HOME, Status::Open, webhook());
    let tasks: Vec<_> = (0..3).flat_map(|n| world.deliver(HOME, n)).collect();
    world.out.takes(HOME, 4);
    let outcomes = world.push(&tasks);
    assert_eq!(outcomes, [Outcome::Sent, Outcome::Waits("receiver-slow"), Outcome::Waits("receiver-slow")]);
    assert!((60..=120).contains(&world.last_wait()), "{}", world.last_wait());
    // Nor do other batches take more of it at once.
    assert_eq!(world.push(&tasks[1..]), [Outcome::Waits("receiver-rests"), Outcome::Waits("receiver-rests")]);
    world.clock.advance(15);
    assert_eq!(world.push(&tasks[1..]), [Outcome::Sent, Outcome::Waits("receiver-slow")]);
    world.clock.advance(15);
    world.out.takes(HOME, 0);
    assert_eq!(world.push(&tasks[2..]), [Outcome::Sent]);
}

/// The push queue as time goes by: what becomes visible is handed out in batches, by one process after the other.
#[derive(Default)]
struct Hours {
    /// Until when each message waits.
    hidden: Mutex<Vec<Option<Timestamp>>>,
    set_aside: Mutex<Vec<String>>,
    clock: Option<&'static SetClock>,
}

impl FailedDeliveries for Hours {
    async fn postpone(&self, receipt: &str, seconds: u32) -> PortResult<()> {
        let until = self.clock.expect("a clock").now() + SignedDuration::from_secs(seconds.into());
        self.hidden.lock().expect("hidden")[receipt.parse::<usize>().expect("a place")] = Some(until);
        Ok(())
    }

    async fn set_aside(&self, _: &str, why: &crate::ports::SetAside) -> PortResult<()> {
        self.set_aside.lock().expect("set aside").push(why.reason.clone());
        Ok(())
    }
}

/// Hands these tasks out until none is left; how often each was, at the most as often as SQS would.
fn hand_out(world: &World, tasks: &[PushTask]) -> (Vec<u32>, Vec<String>) {
    const BATCH: usize = 10;
    let sent_at = world.clock.now();
    let bodies: Vec<_> = tasks.iter().map(|task| serde_json::to_string(task).expect("JSON")).collect();
    let receipts: Vec<_> = (0..tasks.len()).map(|place| place.to_string()).collect();
    let hours =
        Hours { clock: Some(world.clock), hidden: Mutex::new(vec![Some(sent_at); tasks.len()]), ..Hours::default() };
    let mut receives = vec![0; tasks.len()];
    loop {
        let mut waiting: Vec<_> =
            hours.hidden.lock().expect("hidden").iter().enumerate().filter_map(|(n, at)| Some(((*at)?, n))).collect();
        waiting.sort();
        let Some((next, _)) = waiting.first() else { break };
        let idle = next.duration_since(world.clock.now()).as_millis().max(0);
        world.clock.advance(i64::try_from(idle).expect("in range").div_euclid(1_000) + 1);
        let now = world.clock.now();
        let batch: Vec<_> = waiting.into_iter().filter(|(at, _)| *at <= now).map(|(_, n)| n).take(BATCH).collect();
        batch.iter().for_each(|n| receives[*n] += 1);
        let of = |n: &usize| Message {
            receipt: &receipts[*n],
            attempts: receives[*n],
            sent_at: Some(sent_at),
            ..message(&bodies[*n])
        };
        let messages: Vec<_> = batch.iter().map(of).collect();
        let outcomes = run(world.pusher(&hours).handle(&messages));
        for (n, outcome) in batch.iter().zip(outcomes) {
            if outcome.is_done() {
                hours.hidden.lock().expect("hidden")[*n] = None;
            }
        }
    }
    let set_aside = hours.set_aside.into_inner().expect("set aside");
    (receives, set_aside)
}

/// SQS moves a message away by itself, and says nothing, when it was handed out a thousand times (`template.yaml`).
const MOST_RECEIVES: u32 = 1_000;

#[test]
fn r75_what_waits_for_a_dead_receiver_is_given_up_by_us_and_not_by_the_queue() {
    let ours = NotTaken { code: "mesh-refused-us", status: None, again: Again::NotItsFault };
    for (answer, takes) in [(DOWN, 0), (DOWN, 8), (ours, 1)] {
        let world = World::new();
        world.directory(HOME, Status::Open, webhook());
        world.out.answer(HOME, Way::Webhook, Some(answer));
        world.out.takes(HOME, takes);
        let tasks: Vec<_> = (0..100).flat_map(|n| world.deliver(HOME, n)).collect();
        let began = world.clock.now();
        let (receives, set_aside) = hand_out(&world, &tasks);
        let took = world.clock.now().duration_since(began);
        assert!(took > PATIENCE && took < PATIENCE + SignedDuration::from_hours(2), "{took}");
        let most = receives.into_iter().max();
        assert!(most < Some(MOST_RECEIVES), "{most:?} {}", answer.code);
        assert_eq!(set_aside.len(), 100, "each by itself");
        let reasons = [answer.code, "receiver-rests", "receiver-unwell", "receiver-slow"];
        assert!(set_aside.iter().all(|why| reasons.contains(&why.as_str())), "{set_aside:?}");
        for task in &tasks {
            let push = world.state(task);
            assert!(push.state == PushState::GivenUp && push.reason.is_some(), "{push:?}");
        }
    }
}

#[test]
fn r75_a_slow_receivers_backlog_is_sent_and_nobody_waits_behind_it() {
    const BACKLOG: u128 = 100;
    // One answers after four seconds; one never does, until our own limit.
    for (takes, answer) in [(4, None), (8, Some(DOWN))] {
        let world = World::new();
        for authority in [HOME, AWAY] {
            world.directory(authority, Status::Open, webhook());
        }
        world.out.answer(HOME, Way::Webhook, answer);
        world.out.takes(HOME, takes);
        // The slow one's are at the head of the queue.
        let mut tasks: Vec<_> = (0..BACKLOG).flat_map(|n| world.deliver(HOME, n)).collect();
        tasks.extend((0..BACKLOG).flat_map(|n| world.deliver(AWAY, n)));
        hand_out(&world, &tasks);
        let reached = world.out.reached();
        let of = |authority: &str| reached.iter().filter(|(_, to, _)| to == authority).count();
        assert_eq!(of(AWAY), 100);
        let last = reached.iter().rposition(|(_, to, _)| to == AWAY).expect("reached");
        let before = last + 1 - 100;
        assert!(before <= 4, "{before} pushes to the slow one came before the last of the other's");
        if answer.is_none() {
            assert_eq!(of(HOME), 100, "each once");
        }
    }
}

#[test]
fn r73_what_will_never_be_taken_is_refused_at_once_and_may_be_replayed() {
    let world = World::new();
    let task = world.deliver(HOME, 1).remove(0);
    world.out.answer(HOME, Way::Webhook, Some(NEVER));
    assert_eq!(world.push(std::slice::from_ref(&task)), [Outcome::SetAside("refused-by-receiver".into())]);
    assert_eq!(
        (world.state(&task).state, world.set_aside()),
        (PushState::Refused, vec!["refused-by-receiver".to_owned()])
    );
    world.out.answer(HOME, Way::Webhook, None);
    assert_eq!(world.push(std::slice::from_ref(&task)), [Outcome::Sent], "an operator replayed it");
    assert_eq!(world.state(&task).attempts, 2);
}

#[test]
fn r73_after_five_days_a_push_is_given_up() {
    let world = World::new();
    world.directory(HOME, Status::Open, webhook());
    let task = world.deliver(HOME, 1).remove(0);
    world.out.answer(HOME, Way::Webhook, Some(DOWN));
    let sent = world.clock.now();
    world.clock.advance(PATIENCE.as_secs());
    assert_eq!(world.push_sent(std::slice::from_ref(&task), sent), [Outcome::Failed(DOWN, Rested::No)]);
    world.clock.advance(61);
    assert_eq!(world.push_sent(std::slice::from_ref(&task), sent), [Outcome::SetAside("not-reached".into())]);
    let push = world.state(&task);
    assert_eq!((push.state, push.reason.as_deref()), (PushState::GivenUp, Some("not-reached")));
    // While the receiver rests, too.
    let other = world.deliver(HOME, 2).remove(0);
    world.push(std::slice::from_ref(&other));
    assert_eq!(world.push_sent(&[other], sent), [Outcome::SetAside("receiver-rests".into())]);
}

#[test]
fn r76_a_message_in_mesh_is_followed_until_it_is_collected() {
    let world = World::new();
    let mesh = world.deliver(HOME, 1).remove(1);
    let push = || world.push(std::slice::from_ref(&mesh)).remove(0);
    let tracked = |tracked| *world.out.tracked.lock().expect("tracked") = tracked;
    assert_eq!(push(), Outcome::Watched);
    for (answer, seconds, wait) in
        [(Some(Tracked::Waiting), 300, 300), (None, 300, 600), (Some(Tracked::Waiting), 86_400, 3_600)]
    {
        tracked(answer);
        world.clock.advance(seconds);
        assert_eq!((push(), world.last_wait()), (Outcome::Watched, wait));
    }
    tracked(Some(Tracked::Collected));
    assert_eq!((push(), world.state(&mesh).state), (Outcome::Collected, PushState::Collected));
    assert_eq!(push(), Outcome::AlreadySent);
    assert_eq!(world.out.reached().len(), 1, "sent once");
}

#[test]
fn r76_a_message_that_nobody_collects_is_given_up() {
    for (tracked, seconds) in [(Some(Tracked::Undelivered), 300), (Some(Tracked::Waiting), 6 * 86_400 + 1)] {
        let world = World::new();
        let mesh = world.deliver(HOME, 1).remove(1);
        world.push(std::slice::from_ref(&mesh));
        *world.out.tracked.lock().expect("tracked") = tracked;
        world.clock.advance(seconds);
        assert_eq!(world.push(std::slice::from_ref(&mesh)), [Outcome::SetAside("not-collected".into())], "{tracked:?}");
        assert_eq!(world.state(&mesh).state, PushState::GivenUp);
    }
}

#[test]
fn r73_a_push_that_has_become_pointless_or_impossible() {
    let world = World::new();
    let task = world.deliver(HOME, 1).remove(0);
    world.directory(HOME, Status::Closed, both());
    assert_eq!(world.push(std::slice::from_ref(&task)), [Outcome::Waits("authority-closed")]);
    world.directory(HOME, Status::Open, WaysOut { webhook: None, ..both() });
    assert_eq!(world.push(std::slice::from_ref(&task)), [Outcome::NotWanted]);
    assert_eq!(world.state(&task).reason.as_deref(), Some("not-wanted"));
    let lost = PushTask { authority: code("E99999999"), ..task.clone() };
    assert_eq!(world.push(&[lost]), [Outcome::SetAside("authority-unknown".into())]);
    world.directory(HOME, Status::Open, both());
    let unknown = PushTask { notification: Uuid::max(), ..task };
    assert_eq!(world.push(&[unknown]), [Outcome::SetAside("notification-unknown".into())]);
    let bad = message("{}");
    assert_eq!(run(world.pusher(&world.queue).handle(&[bad])), [Outcome::SetAside("unreadable".into())]);
    assert!(world.out.reached().is_empty());
}

#[test]
fn r70_a_push_that_panics_hurts_itself_alone() {
    let world = World::new();
    let mut tasks = vec![world.deliver_traced(HOME, 1, Uuid::max()).remove(0)];
    tasks.push(world.deliver(HOME, 2).remove(0));
    assert_eq!(world.push(&tasks), [Outcome::SetAside("panicked".into()), Outcome::Sent]);
}

#[test]
fn r73_two_processes_with_the_same_task_send_it_once() {
    let world = World::new();
    let task = world.deliver(HOME, 1).remove(0);
    let now = world.clock.now();
    // Another process has just begun, and then died.
    let claimed = run(world.register.claim(&task, now, now + SignedDuration::from_mins(1))).expect("an answer");
    assert!(matches!(claimed, Claim::Granted(_)));
    assert_eq!(world.push(std::slice::from_ref(&task)), [Outcome::Waits("in-other-hands")]);
    assert_eq!(world.last_wait(), 60);
    world.clock.advance(60);
    assert_eq!(world.push(std::slice::from_ref(&task)), [Outcome::Sent]);
}
