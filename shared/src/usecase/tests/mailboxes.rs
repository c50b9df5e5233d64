//! The life of a notification once it is delivered: what cannot wait, what goes into a digest, what is escalated, what is taken.

use std::collections::BTreeSet;

use jiff::{SignedDuration, ToSpan};
use serde_json::json;

use super::*;
use crate::{
    domain::{
        audit::Entry,
        notification::{Content, Delivered, Notification, State, Taken, Weighed},
        reading::Cadence,
        signal::Signal,
        ways_out::{MeshBox, Way, Webhook},
    },
    ports::{AuditLog, MailboxMarks, MailboxReader, MailboxWatch, Page, ReadingRulesWriter, Unreadable},
    usecase::{
        mailbox,
        watch_mailboxes::{Done, LATELY, Watched, watch},
    },
};

/// One authority, told of what a test makes up; noon on a Tuesday, when nothing of the moment is a signal.
struct World {
    register: Register,
    queue: Queue,
    clock: SetClock,
}

const NOON: &str = "2026-11-24T12:00:00Z";

fn moment(text: &str) -> Timestamp {
    text.parse().expect("valid")
}

impl World {
    fn new(reading: &Reading) -> Self {
        let world = Self { register: Register::default(), queue: Queue::default(), clock: SetClock::at(moment(NOON)) };
        world.register.put_authority(Authority {
            code: code(HARTLEPOOL),
            name: "Hartlepool".into(),
            region: "North East".into(),
            status: Status::Open,
            ways_out: WaysOut {
                webhook: Some(Webhook::at("https://council.example/asn")),
                second_mesh: Some(MeshBox { mailbox: "X26ABC2".into() }),
                ..WaysOut::default()
            },
        });
        run(world.register.set_reading(&code(HARTLEPOOL), reading)).expect("kept");
        world
    }

    /// Delivers an access by an organisation of a region, to a child; its entry in the mailbox.
    fn deliver(&self, n: u128, child: usize, organisation: (&str, &str), signals: &[Signal]) -> Delivered {
        let body = json!({
            "id": Uuid::from_u128(n), "accessId": Uuid::from_u128(n), "authority": HARTLEPOOL, "traceId": Uuid::nil(),
            "at": self.clock.now(), "nhsNumber": number(child), "localIds": ["C-1"], "viewer": {"name": "Alex Example"},
            "organisation": {"code": organisation.0, "name": "Any", "region": organisation.1}, "signals": signals,
        });
        self.hand_out(&body.to_string());
        self.held(Uuid::from_u128(n))
    }

    fn hand_out(&self, body: &str) {
        self.hand_out_with(body, vec![]);
    }

    fn hand_out_with(&self, body: &str, attributes: Vec<(&str, &str)>) {
        let sent_at = Some(self.clock.now());
        let message = Message { receipt: "r", body, attempts: 1, sent_at, trace: None, attributes };
        let Self { register, queue, clock } = self;
        let outcome = run(handle(register, register, queue, queue, clock, &message, 60));
        assert!(matches!(outcome, Outcome::Delivered | Outcome::AlreadyDelivered), "{outcome:?}");
    }

    fn held(&self, id: Uuid) -> Delivered {
        run(self.register.notification(&code(HARTLEPOOL), id)).expect("read").expect("there")
    }

    fn watch(&self) -> Watched {
        let watched = run(watch(&self.register, &self.register, &self.clock, |_| ()));
        assert_eq!(watched.failed, []);
        watched
    }

    fn mark(&self, id: Uuid, state: State) -> Option<Delivered> {
        let taken = Taken { at: self.clock.now(), by: "Duty team".into() };
        run(mailbox::mark(&self.register, &code(HARTLEPOOL), id, state, &taken)).expect("marked")
    }

    fn listed(&self) -> Vec<Delivered> {
        let all = PageRequest { limit: 1_000, after: None };
        let items = run(self.register.notifications(&code(HARTLEPOOL), None, &all)).expect("a page").items;
        items.into_iter().map(|held| held.expect("readable")).collect()
    }
}

fn signals(held: &Delivered) -> Vec<Signal> {
    held.notification.access().expect("an access").signals.iter().copied().collect()
}

fn daily() -> Reading {
    Reading { cadence: Cadence::Digest, ..Reading::default() }
}

const HERE: (&str, &str) = ("ZX001", "North East");

#[test]
fn r83_what_only_the_authoritys_side_can_tell_is_added() {
    let world = World::new(&daily());
    assert_eq!(signals(&world.deliver(1, 0, HERE, &[])), []);
    assert_eq!(
        signals(&world.deliver(2, 1, ("ZX002", "London"), &[Signal::Infant])),
        [Signal::Infant, Signal::OutOfArea]
    );
    assert_eq!(signals(&world.deliver(3, 0, ("ZX003", "North East"), &[])), [], "the second organisation");
    assert_eq!(signals(&world.deliver(4, 1, HERE, &[])), [], "another child's do not count");
    world.clock.advance(6 * 86_400);
    assert_eq!(signals(&world.deliver(5, 0, ("ZX004", "North East"), &[])), [Signal::ThirdSetting]);
    world.clock.advance(86_401);
    assert_eq!(signals(&world.deliver(6, 0, HERE, &[])), [], "after a week they do not count");
}

/// The default, by which nothing waits: within a minute the watch sees what the delivery did not ask for.
#[test]
fn r83_the_third_organisation_is_seen_where_every_access_is_told_and_escalated_sooner() {
    let world = World::new(&Reading { unread_minutes: 60, urgent_unread_minutes: 30, ..Reading::default() });
    let after = |minutes: i64| Some(moment(NOON) + SignedDuration::from_mins(minutes));
    let first = world.deliver(1, 0, HERE, &[]);
    assert_eq!((first.weigh_at, first.escalate_at, first.pushes.len()), (after(0), after(60), 1), "pushed at once");
    world.deliver(2, 0, ("ZX002", "North East"), &[]);
    world.deliver(3, 1, ("ZX003", "North East"), &[]);
    world.clock.advance(60);
    let watched = world.watch();
    assert_eq!((watched.escalated.len(), watched.oldest), (0, after(0)), "what is to be seen is due, too");
    for n in 1..4 {
        let held = world.held(Uuid::from_u128(n));
        assert_eq!((signals(&held), held.weigh_at, held.escalate_at), (vec![], None, after(60)), "{n}");
    }
    let [third, read, infant] = [(4, "ZX003", &[][..]), (5, "ZX004", &[]), (6, "ZX005", &[Signal::Infant])]
        .map(|(n, code, signals)| world.deliver(n, 0, (code, "North East"), signals).notification.id);
    world.mark(read, State::Acknowledged);
    world.clock.advance(60);
    world.watch();
    let held = [third, read, infant].map(|id| world.held(id));
    assert_eq!(signals(&held[0]), [Signal::ThirdSetting]);
    assert_eq!((held[0].escalate_at, held[1].escalate_at), (after(31), None), "half an hour after its delivery");
    assert_eq!(signals(&held[1]), [], "nobody is to be hurried who has it");
    assert_eq!(signals(&held[2]), [Signal::Infant, Signal::ThirdSetting], "whatever else is known");
    world.clock.advance(30 * 60);
    assert_eq!(world.watch().escalated.iter().map(|held| held.notification.id).collect::<Vec<_>>(), [third, infant]);
    assert_eq!(world.held(Uuid::from_u128(2)).escalated_at, None, "the others have their time");
}

/// Nobody watched until it was too late to say more than that it was too late.
#[test]
fn r83_what_is_escalated_unseen_is_not_weighed_any_more() {
    let world = World::new(&Reading { unread_minutes: 5, urgent_unread_minutes: 5, ..Reading::default() });
    let id = world.deliver(1, 0, HERE, &[]).notification.id;
    world.clock.advance(301);
    assert_eq!(world.watch().escalated.len(), 1);
    let held = world.held(id);
    assert_eq!((held.weigh_at, held.wakes_at(), world.watch().oldest), (None, None, None));
}

#[test]
fn r83_an_access_says_what_the_plans_of_each_authority_signal() {
    let (register, clock) = (register(), clock());
    upload(&register, HARTLEPOOL, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
    let access = Asked::of(0).plans(&register).expect("an answer").access;
    let born = run(register.plans_of(&secret().key_of(&number(0)))).expect("plans").remove(0);
    let infant = Plan { birth_date: crate::domain::contact::date_in_england(clock.now()), ..born.clone() };
    let unborn = Plan {
        plan_type: crate::domain::plan::PlanType::Unborn,
        authority: code(BIRMINGHAM),
        birth_date: infant.birth_date.saturating_sub(30.years()),
        ..born.clone()
    };
    let owed = crate::domain::access::owed_for([&born, &infant, &unborn], clock.now());
    let told: Vec<_> = owed.iter().map(|o| (o.authority.as_str(), o.signals.iter().copied().collect())).collect();
    assert_eq!(told, [(HARTLEPOOL, vec![Signal::Infant]), (BIRMINGHAM, vec![Signal::Unborn])], "each its own");
    let night = Access { at: moment("2026-11-24T23:30:00Z"), owed, ..access };
    let told: Vec<Notification> = night.notifications();
    let signals: Vec<_> = told.iter().map(|n| n.access().expect("an access").signals.clone()).collect();
    assert_eq!(signals[0], BTreeSet::from([Signal::Infant, Signal::Night]));
    assert_eq!(signals[1], BTreeSet::from([Signal::Unborn, Signal::Night]));
}

#[test]
fn r84_what_can_wait_is_told_once_a_day_and_what_cannot_at_once() {
    let world = World::new(&daily());
    let waiting: Vec<_> = (0..3).map(|n| world.deliver(n, 0, HERE, &[])).collect();
    assert!(waiting.iter().all(|held| held.pushes.is_empty()), "{waiting:?}");
    let urgent = world.deliver(9, 1, HERE, &[Signal::Night]);
    assert_eq!((urgent.pushes.len(), urgent.digest_at), (1, None));
    assert_eq!(world.queue.told().len(), 1, "one push, of what cannot wait");
    assert_eq!(world.listed().len(), 4, "nothing is hidden meanwhile");
    assert_eq!(world.watch().digests, [], "it is not time yet");
    world.clock.advance(20 * 3_600 + 1);
    let digest = world.watch().digests.remove(0);
    let Content::Digest(told) = &digest.notification.content else { panic!("{digest:?}") };
    let ids: Vec<_> = told.entries.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [0, 1, 2].map(Uuid::from_u128));
    assert_eq!(world.held(digest.notification.id), digest, "it is a notification of its own");
    assert_eq!(digest.pushes.len(), 1);
    assert!(world.watch().digests.is_empty(), "once");
    assert_eq!(world.held(Uuid::from_u128(0)).digest, Some(digest.notification.id));
    // Delivered again, it neither waits nor is told again.
    world.deliver(0, 0, HERE, &[]);
    world.clock.advance(86_400);
    assert!(world.watch().digests.is_empty(), "there is never an empty one");
}

#[test]
fn r84_what_is_done_to_a_digest_is_done_to_all_in_it() {
    let world = World::new(&daily());
    (0..120).for_each(|n| drop(world.deliver(n, 0, HERE, &[])));
    assert!(world.mark(Uuid::from_u128(7), State::Acknowledged).is_some(), "one is read before the digest");
    world.clock.advance(20 * 3_600 + 1);
    let digests = world.watch().digests;
    let lengths: Vec<_> = digests
        .iter()
        .map(|digest| match &digest.notification.content {
            Content::Digest(told) => told.entries.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(lengths, [50, 50, 19]);
    for digest in &digests {
        let marked = world.mark(digest.notification.id, State::Acknowledged).expect("there");
        assert_eq!(marked.state, State::Acknowledged);
    }
    assert!(world.listed().iter().all(|held| held.state == State::Acknowledged));
    assert_eq!(world.mark(Uuid::max(), State::Acknowledged), None);
}

#[test]
fn r84_a_digest_is_taken_with_the_last_of_its_accesses_and_is_not_escalated_then() {
    let world = World::new(&Reading { unread_minutes: 60, ..daily() });
    (0..3).for_each(|n| drop(world.deliver(n, 0, HERE, &[])));
    world.clock.advance(20 * 3_600 + 1);
    let digest = world.watch().digests.remove(0).notification.id;
    for n in [2, 0] {
        world.mark(Uuid::from_u128(n), State::Acknowledged);
        assert_eq!(world.held(digest).state, State::Unread, "one is still unread");
    }
    world.clock.advance(60);
    world.mark(Uuid::from_u128(1), State::Actioned);
    let taken = world.held(digest);
    assert_eq!((taken.state, taken.acknowledged_at), (State::Acknowledged, Some(world.clock.now())));
    for n in [0, 2] {
        world.mark(Uuid::from_u128(n), State::Actioned);
    }
    assert_eq!(world.held(digest).state, State::Actioned, "as far as all of them");
    world.clock.advance(7_200);
    assert_eq!(world.watch().escalated, []);

    // Somebody died between the last access and the digest.
    let late: Vec<_> = (10..12).map(|n| world.deliver(n, 0, HERE, &[])).collect();
    world.clock.advance(24 * 3_600);
    let digest = world.watch().digests.remove(0).notification.id;
    for held in late {
        let taken = Taken { at: world.clock.now(), by: "Night team".into() };
        run(world.register.mark(&code(HARTLEPOOL), held.notification.id, State::Acknowledged, &taken)).expect("marked");
    }
    assert_eq!(world.held(digest).state, State::Unread);
    world.clock.advance(7_200);
    assert_eq!(world.watch().escalated, []);
    assert_eq!(world.held(digest).acknowledged_by.as_deref(), Some("Night team"));
}

#[test]
fn r85_what_is_left_unread_is_escalated_once_by_the_authoritys_own_rule() {
    let rules = Reading { unread_minutes: 60, urgent_unread_minutes: 30, ..Reading::default() };
    let world = World::new(&rules);
    let [slow, urgent, read] =
        [(1, &[][..]), (2, &[Signal::Infant]), (3, &[])].map(|(n, signals)| world.deliver(n, 0, HERE, signals));
    world.mark(read.notification.id, State::Acknowledged);
    let escalated = |minutes: i64| {
        world.clock.advance(minutes * 60);
        let watched = world.watch();
        watched.escalated.iter().map(|held| held.notification.id).collect::<Vec<_>>()
    };
    assert_eq!(escalated(30), Vec::<Uuid>::new(), "not before its time is over");
    assert_eq!(escalated(1), [urgent.notification.id]);
    assert_eq!(escalated(28), Vec::<Uuid>::new());
    assert_eq!(escalated(2), [slow.notification.id], "what is read is not escalated");
    assert_eq!(escalated(10_000), Vec::<Uuid>::new(), "once");
    let held = world.held(urgent.notification.id);
    assert!(held.pushes.contains_key(&crate::domain::ways_out::Way::SecondMesh), "{held:?}");
    let due = PageRequest { limit: 10, after: None };
    let due = run(crate::ports::PushOutbox::pushes_due_before(&world.register, world.clock.now(), &due)).expect("due");
    assert_eq!(due.items.len(), 2, "both are owed to the second contact");
    let steps: Vec<_> = held.life().into_iter().map(|step| step.step).collect();
    assert_eq!(steps, ["owed", "queued", "delivered", "escalated"]);
}

/// A register whose list of what is due ends after so many pages, and that escalates without an answer where it is told to.
struct Torn<'a> {
    register: &'a Register,
    pages: usize,
    answers: bool,
    listed: std::sync::atomic::AtomicUsize,
}

fn down(step: &'static str) -> PortError {
    PortError { step, cause: "Timeout".into(), retryable: true }
}

impl MailboxReader for Torn<'_> {
    async fn notifications(
        &self,
        authority: &AuthorityCode,
        state: Option<State>,
        page: &PageRequest,
    ) -> PortResult<Page<Result<Delivered, Unreadable>>> {
        self.register.notifications(authority, state, page).await
    }

    async fn notification(&self, authority: &AuthorityCode, id: Uuid) -> PortResult<Option<Delivered>> {
        self.register.notification(authority, id).await
    }

    async fn notifications_since(
        &self,
        authority: &AuthorityCode,
        from: Timestamp,
        page: &PageRequest,
    ) -> PortResult<Page<Result<Delivered, Unreadable>>> {
        self.register.notifications_since(authority, from, page).await
    }
}

impl MailboxMarks for Torn<'_> {
    async fn mark(
        &self,
        authority: &AuthorityCode,
        id: Uuid,
        state: State,
        taken: &Taken,
    ) -> PortResult<Option<Delivered>> {
        self.register.mark(authority, id, state, taken).await
    }
}

impl MailboxWatch for Torn<'_> {
    async fn wakes_before(&self, moment: Timestamp, page: &PageRequest) -> PortResult<Page<(AuthorityCode, Uuid)>> {
        if self.listed.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= self.pages {
            return Err(down("mailbox.wakes.query"));
        }
        self.register.wakes_before(moment, &PageRequest { limit: 1, after: page.after.clone() }).await
    }

    async fn escalated_since(&self, moment: Timestamp, page: &PageRequest) -> PortResult<Page<(AuthorityCode, Uuid)>> {
        self.register.escalated_since(moment, page).await
    }

    async fn escalate(&self, held: &Delivered, at: Timestamp, ways: &[Way]) -> PortResult<bool> {
        let escalated = self.register.escalate(held, at, ways).await;
        if self.answers { escalated } else { Err(down("mailbox.escalate")) }
    }

    async fn weigh(&self, held: &Delivered, weighed: &Weighed) -> PortResult<()> {
        self.register.weigh(held, weighed).await
    }

    async fn put_digest(&self, digest: &Delivered, held: &[Delivered]) -> PortResult<bool> {
        self.register.put_digest(digest, held).await
    }
}

#[test]
fn r85_what_was_escalated_is_told_whatever_fails_after_it() {
    let world = World::new(&Reading { unread_minutes: 5, ..Reading::default() });
    for n in 0..3 {
        world.deliver(n, 0, HERE, &[]);
        world.clock.advance(1);
    }
    world.clock.advance(400);
    let told = std::cell::RefCell::new(Vec::new());
    let tell = |done: Done<'_>| match done {
        Done::Escalated(held) => told.borrow_mut().push(held.notification.id),
        Done::Digest(digest) => panic!("{digest:?}"),
    };
    let watch_torn = |pages, answers| {
        let torn = Torn { register: &world.register, pages, answers, listed: Default::default() };
        run(watch(&torn, &world.register, &world.clock, tell))
    };
    // The list breaks off after its first page: what was escalated by then is told, at once and in the count.
    let watched = watch_torn(1, true);
    assert_eq!((watched.escalated.len(), watched.escalated_lately), (1, 1));
    assert_eq!(watched.failed, [down("mailbox.wakes.query")]);
    assert_eq!(*told.borrow(), [Uuid::from_u128(0)]);
    // The answers are lost: nobody knows, but it was done, and the next call counts it.
    let watched = watch_torn(1, false);
    assert_eq!((watched.escalated.len(), watched.escalated_lately), (0, 2));
    assert_eq!((world.watch().escalated_lately, world.watch().escalated.len()), (3, 0));
    // It counts while it is unread, and for a while.
    world.mark(Uuid::from_u128(1), State::Acknowledged);
    assert_eq!(world.watch().escalated_lately, 2);
    world.clock.advance(LATELY.as_secs() + 1);
    assert_eq!(world.watch().escalated_lately, 0);
}

#[test]
fn r85_one_authority_that_cannot_be_read_hurts_no_other() {
    let rules = Reading { unread_minutes: 5, ..Reading::default() };
    let world = World::new(&rules);
    world.deliver(1, 0, HERE, &[]);
    let cursed = notification_of(&world.held(Uuid::from_u128(1)), BIRMINGHAM);
    run(crate::ports::Mailbox::deliver(&world.register, &cursed)).expect("delivered");
    world.clock.advance(301);
    let watched = run(watch(&world.register, &Down(&world.register), &world.clock, |_| ()));
    assert_eq!((watched.escalated.len(), watched.failed.len()), (1, 1));
    let all = PageRequest { limit: 10, after: None };
    let left = run(world.register.wakes_before(world.clock.now(), &all)).expect("listed").items;
    assert_eq!(left, [(code(BIRMINGHAM), Uuid::from_u128(1))], "it is still due");
}

fn notification_of(held: &Delivered, authority: &str) -> Delivered {
    Delivered { notification: Notification { authority: code(authority), ..held.notification.clone() }, ..held.clone() }
}

/// A directory in which one authority cannot be read.
struct Down<'a>(&'a Register);

impl Directory for Down<'_> {
    async fn authority(&self, authority: &AuthorityCode) -> PortResult<Option<Authority>> {
        if authority.as_str() == BIRMINGHAM {
            return Err(PortError { step: "directory.get", cause: "Timeout".into(), retryable: true });
        }
        self.0.authority(authority).await
    }
}

impl ReadingRules for Down<'_> {
    async fn reading(&self, authority: &AuthorityCode) -> PortResult<Reading> {
        self.0.reading(authority).await
    }
}

#[test]
fn r89_each_step_has_its_time_and_who_took_it() {
    let world = World::new(&Reading::default());
    let held = world.deliver(1, 0, HERE, &[]);
    let id = held.notification.id;
    world.clock.advance(60);
    world.mark(id, State::Acknowledged);
    world.clock.advance(60);
    let held = world.mark(id, State::Actioned).expect("there");
    let life: Vec<_> = held.life().into_iter().map(|step| (step.step, step.at, step.by)).collect();
    let at = |seconds: i64| moment(NOON) + SignedDuration::from_secs(seconds);
    let expected = [
        ("owed", at(0), "flag-lookup"),
        ("queued", at(0), "asn-relay"),
        ("delivered", at(0), "asn-delivery"),
        ("acknowledged", at(60), "Duty team"),
        ("actioned", at(120), "Duty team"),
    ];
    assert_eq!(life, expected.map(|(step, at, by)| (step, at, by.to_owned())));
}

/// R83, R90: neither what is delivered after it, nor the report, nor the list of all others waits for one that cannot be read.
#[test]
fn one_that_cannot_be_read_hurts_only_itself() {
    let world = World::new(&daily());
    let spoilt = world.deliver(1, 0, HERE, &[]).notification.id;
    world.register.spoil(&code(HARTLEPOOL), spoilt);
    world.clock.advance(60);
    let next = world.deliver(2, 0, ("ZX002", "North East"), &[]);
    assert_eq!(signals(&next), [], "the second organisation");
    let all = PageRequest { limit: 1_000, after: None };
    for state in [None, Some(State::Unread)] {
        let (page, unreadable) = run(mailbox::list(&world.register, &code(HARTLEPOOL), state, &all)).expect("a page");
        assert_eq!((page.items, page.next), (vec![next.clone()], None));
        let [unreadable] = &unreadable[..] else { panic!("{unreadable:?}") };
        assert_eq!((unreadable.authority.as_str(), unreadable.id.clone()), (HARTLEPOOL, spoilt.to_string()));
    }
    let report = run(mailbox::ageing(&world.register, &code(HARTLEPOOL), world.clock.now())).expect("a report");
    assert_eq!((report.notifications, report.unread), (1, 1));
}

/// Days later an operator replayed it: the queue has it since then, and its sender's word is older.
#[test]
fn r89_a_replay_does_not_take_the_place_of_the_first_time_that_it_was_queued() {
    let world = World::new(&Reading::default());
    let first = world.deliver(1, 0, HERE, &[]).notification;
    for (n, attributes, queued_at) in [
        (2, vec![(crate::ports::QUEUED_AT, "2026-11-20T11:00:00.000Z")], "2026-11-20T11:00:00Z"),
        (3, vec![(crate::ports::QUEUED_AT, "nonsense")], NOON),
        (4, vec![], NOON),
    ] {
        let told = Notification { id: Uuid::from_u128(n), ..first.clone() };
        world.hand_out_with(&serde_json::to_string(&told).expect("JSON"), attributes);
        assert_eq!(world.held(told.id).queued_at, Some(moment(queued_at)), "{n}");
    }
}

#[test]
fn r90_the_report_says_how_long_what_lies_there_has_lain() {
    let world = World::new(&Reading::default());
    for n in 0..4 {
        world.deliver(n, 0, HERE, &[]);
        world.clock.advance(100);
    }
    world.mark(Uuid::from_u128(1), State::Acknowledged);
    world.mark(Uuid::from_u128(2), State::Actioned);
    let report = || run(mailbox::ageing(&world.register, &code(HARTLEPOOL), world.clock.now())).expect("read");
    let found = report();
    let counts = (found.notifications, found.unread, found.acknowledged, found.actioned, found.escalated);
    assert_eq!(counts, (4, 2, 1, 1, 0));
    assert_eq!(found.oldest_unread_seconds, Some(400));
    assert_eq!(found.to_acknowledge.map(|q| (q.p50, q.p95)), Some((200, 300)));
    assert_eq!(found.to_deliver.map(|q| (q.p50, q.p95)), Some((0, 0)));
    world.clock.advance(40 * 86_400);
    let later = report();
    assert_eq!((later.notifications, later.to_deliver), (0, None), "it looks back thirty days");
    assert_eq!(later.oldest_unread_seconds, Some(400 + 40 * 86_400), "but an old unread one is not forgotten");
    // What happened first may have come last: a replay brought it.
    let (first, new) = (world.held(Uuid::from_u128(0)).notification, world.clock.now());
    let long_ago = Notification { id: Uuid::max(), at: first.at - SignedDuration::from_hours(24), ..first };
    let replayed = Delivered::new(long_ago, new, &WaysOut::default(), &Reading::default());
    assert!(run(crate::ports::Mailbox::deliver(&world.register, &replayed)).expect("delivered"));
    assert_eq!(report().oldest_unread_seconds, later.oldest_unread_seconds, "the one that has lain for longest");
    let recent = |seconds| new - SignedDuration::from_secs(seconds);
    for n in 0..4 {
        world.mark(Uuid::from_u128(n), State::Acknowledged);
    }
    assert_eq!(report().oldest_unread_seconds, Some(0), "of what happened long ago, since it is here");
    let told = Notification { id: Uuid::from_u128(99), at: recent(50), ..replayed.notification };
    let told = Delivered::new(told, recent(40), &WaysOut::default(), &Reading::default());
    assert!(run(crate::ports::Mailbox::deliver(&world.register, &told)).expect("delivered"));
    assert_eq!(report().oldest_unread_seconds, Some(40));
}

#[test]
fn r90_a_digest_says_nothing_of_how_fast_notifications_are_delivered() {
    let world = World::new(&daily());
    let told = world.deliver(1, 0, HERE, &[]).notification;
    let slow = |n: u128, seconds: i64| {
        let at = told.at - SignedDuration::from_secs(seconds);
        let told = Notification { id: Uuid::from_u128(n), at, ..told.clone() };
        let held = Delivered::new(told, world.clock.now(), &WaysOut::default(), &daily());
        assert!(run(crate::ports::Mailbox::deliver(&world.register, &held)).expect("delivered"));
    };
    (2_u128..).zip([30, 60]).for_each(|(n, seconds)| slow(n, seconds));
    world.clock.advance(86_400);
    assert_eq!(world.watch().digests.len(), 1);
    let report = run(mailbox::ageing(&world.register, &code(HARTLEPOOL), world.clock.now())).expect("read");
    assert_eq!(report.notifications, 4, "it is a notification all the same");
    assert_eq!(report.to_deliver.map(|q| (q.p50, q.p95)), Some((30, 60)));
}

#[test]
fn r45_an_authoritys_choice_is_in_the_audit_log_before_it_counts() {
    struct Untold<'a>(&'a Register);
    impl Directory for Untold<'_> {
        async fn authority(&self, authority: &AuthorityCode) -> PortResult<Option<Authority>> {
            self.0.authority(authority).await
        }
    }
    impl AuditLog for Untold<'_> {
        async fn append(&self, _: &[Entry]) -> PortResult<()> {
            Err(down("audit.append"))
        }
    }
    impl ReadingRulesWriter for Untold<'_> {
        async fn set_reading(&self, authority: &AuthorityCode, reading: &Reading) -> PortResult<()> {
            self.0.set_reading(authority, reading).await
        }
    }
    let world = World::new(&Reading::default());
    let (own, now) = (code(HARTLEPOOL), world.clock.now());
    let untold = run(mailbox::set_reading(&Untold(&world.register), &own, &daily(), Uuid::nil(), now));
    assert_eq!(untold, Err(down("audit.append")));
    assert_eq!(run(world.register.reading(&own)), Ok(Reading::default()), "nothing is done untold");
    for reading in [daily(), daily(), Reading::default()] {
        run(mailbox::set_reading(&world.register, &own, &reading, Uuid::nil(), now)).expect("set");
    }
    assert_eq!(run(world.register.reading(&own)), Ok(Reading::default()));
    let mut told = world.register.audited();
    told.sort_by_key(|held| held.entry.details["cadence"].clone());
    assert_eq!(
        told.iter().map(|held| held.entry.details["cadence"].as_str()).collect::<Vec<_>>(),
        ["digest", "every-access"]
    );
    let entry = &told[0].entry;
    assert_eq!(
        (entry.kind.as_str(), entry.actor.id.as_str(), entry.actor.name.as_str()),
        ("reading", HARTLEPOOL, "Hartlepool")
    );
}
