//! The history, with many who look at once and try again.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::{
    domain::access::HISTORY_LENGTH,
    ports::{AccessHistory, Page},
};

/// A person of an emergency department; each their own.
fn of_person(n: usize) -> Asked {
    let mut asked = Asked { request_id: Uuid::from_u128(1_000 + n as u128), ..Asked::of(0) };
    asked.caller.requester = Requester::Device(Device {
        asid: format!("20000000{n:04}"),
        responsible: "Sam Sample".into(),
        ..Device::default()
    });
    asked
}

fn read(register: &Register, asked: &Asked) -> look_up::Seen<Access> {
    run(look_up::history(register, &Tallies::default(), &secret(), &clock(), &asked.ask())).expect("an answer")
}

#[test]
fn r23_r44_with_many_at_once_and_retries_each_is_listed_once_and_all_are_counted() {
    const PEOPLE: usize = 60;
    let register = register();
    acknowledged(&register, file(1, "020 7946 0001", &[(0, Change::Start)]));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().expect("a runtime");
    let register = std::sync::Arc::new(register);
    runtime.block_on(async {
        // Everybody asks three times at once under one id, as a client does that hears nothing and tries again.
        let calls = (0..PEOPLE * 3).map(|n| {
            let register = register.clone();
            tokio::spawn(async move {
                let asked = of_person(n % PEOPLE);
                if n % 2 == 0 {
                    drop(
                        look_up::history(&*register, &Tallies::default(), &secret(), &clock(), &asked.ask())
                            .await
                            .expect("an answer"),
                    );
                }
                look_up::plans(
                    &*register,
                    &Tallies::default(),
                    &secret(),
                    &clock(),
                    &asked.ask(),
                    Interaction::CareTeam,
                )
                .await
                .map(drop)
            })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.expect("no panic").expect("an answer");
        }
    });
    let seen = read(&register, &of_person(999));
    assert_eq!((seen.shown.len(), seen.total), (HISTORY_LENGTH, PEOPLE));
    let people: std::collections::BTreeSet<_> = seen.shown.iter().map(|a| a.requester.identity()).collect();
    assert_eq!(people.len(), HISTORY_LENGTH, "each person once");
    assert_eq!(read(&register, &of_person(999)).shown, seen.shown, "a retry gets the same answer");
}

#[test]
fn r22_r23_a_retry_in_a_later_window_does_not_find_its_own_first_try() {
    let (register, clock) = (register(), clock());
    acknowledged(&register, file(1, "020 7946 0001", &[(0, Change::Start)]));
    let asked = of_person(1);
    let history =
        || run(look_up::history(&register, &Tallies::default(), &secret(), &clock, &asked.ask())).expect("an answer");
    let total = |seen: look_up::Seen<Access>| (seen.repeated, seen.total);
    assert_eq!(total(history()), (false, 0));
    clock.advance(60 * 20);
    // Another access by now: the first is listed, and the retry of the second is answered like the second.
    assert_eq!(total(history()), (false, 1));
    clock.advance(60);
    assert_eq!(total(history()), (true, 1));
}

#[test]
fn r22_r23_a_retry_that_discloses_more_does_not_find_what_it_recorded_itself() {
    let register = register();
    upload(&register, HARTLEPOOL, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
    let asked = of_person(1);
    assert_eq!((read(&register, &asked).repeated, read(&register, &asked).total), (false, 0));
    upload(&register, BIRMINGHAM, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
    for _ in 0..2 {
        let seen = read(&register, &asked);
        assert_eq!((seen.repeated, seen.total), (true, 0), "the rest was recorded, and is the retry's own");
    }
    assert_eq!(read(&register, &of_person(2)).total, 1, "for others it is one person's look-up of a day");
}

#[test]
fn r22_r23_retries_that_disclose_more_and_more_find_nothing_that_they_recorded_themselves() {
    let register = register();
    let asked = of_person(1);
    assert_eq!(read(&register, &asked).total, 0);
    for code in [HARTLEPOOL, BIRMINGHAM] {
        upload(&register, code, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
        for _ in 0..2 {
            let seen = read(&register, &asked);
            assert_eq!((seen.repeated, seen.total), (true, 0), "all of it is the retry's own");
        }
    }
}

/// Counts what is asked of the register, and how often somebody had to wait for it: calls made together are one wait.
struct Waits<'a> {
    register: &'a Register,
    calls: AtomicUsize,
    under_way: AtomicUsize,
    waits: AtomicUsize,
}

impl<'a> Waits<'a> {
    fn new(register: &'a Register) -> Self {
        let (calls, under_way, waits) = Default::default();
        Self { register, calls, under_way, waits }
    }

    async fn call<T>(&self, work: impl Future<Output = T>) -> T {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.under_way.fetch_add(1, Ordering::SeqCst) == 0 {
            self.waits.fetch_add(1, Ordering::SeqCst);
        }
        // Lets whatever is asked together begin before this ends.
        tokio::task::yield_now().await;
        let done = work.await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        done
    }
}

impl PlanReader for Waits<'_> {
    async fn plans_of(&self, child: &ChildKey) -> PortResult<Vec<Plan>> {
        self.call(self.register.plans_of(child)).await
    }
}

impl AccessLog for Waits<'_> {
    async fn record(&self, access: &Access) -> PortResult<Option<Access>> {
        self.call(self.register.record(access)).await
    }
}

impl AccessHistory for Waits<'_> {
    async fn accesses_of(&self, child: &ChildKey, page: &PageRequest) -> PortResult<Page<Access>> {
        self.call(self.register.accesses_of(child, page)).await
    }
}

impl Stops for Waits<'_> {
    async fn stops_of(&self, subjects: &[Subject]) -> PortResult<Vec<Stop>> {
        self.call(Tallies::default().stops_of(subjects)).await
    }
}

#[test]
fn r21_r43_a_look_up_waits_twice_and_a_refusal_once() {
    let register = register();
    acknowledged(&register, file(1, "020 7946 0001", &[(0, Change::Start)]));
    let counted = |store: Waits<'_>| (store.calls.into_inner(), store.waits.into_inner());

    let store = Waits::new(&register);
    run(look_up::plans(&store, &store, &secret(), &clock(), &Asked::of(0).ask(), Interaction::CareTeam))
        .expect("an answer");
    assert_eq!(counted(store), (3, 2), "read the plans and whether the caller is stopped, then record the access");

    let store = Waits::new(&register);
    run(look_up::history(&store, &store, &secret(), &clock(), &Asked::of(0).ask())).expect("an answer");
    assert_eq!(counted(store), (4, 2), "plans, accesses and stops are read together");

    let store = Waits::new(&register);
    let stranger = Asked { standing: HealthStanding::default(), ..Asked::of(0) };
    let refused = run(look_up::plans(&store, &store, &secret(), &clock(), &stranger.ask(), Interaction::CareTeam));
    assert!(matches!(refused, Err(LookUpError::Refused { .. })), "{refused:?}");
    assert_eq!(counted(store), (1, 1), "nothing is read for who may see nothing");
}
