//! What pushing promises: what is owed is found until it is queued, one pushes at a time, and what was sent stays sent.

use cpis::{
    domain::{
        circuit::Circuit,
        notification::Delivered,
        ways_out::{MeshBox, Push, PushState, PushTask, Way, WaysOut, Webhook},
    },
    ports::{Claim, PushEntry, PushesDue},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Spoiler, Store, all, at, delivered, la};

/// Authority of these tests.
const OURS: u32 = 40;

fn with(n: u128, second: i64, ways: WaysOut) -> Delivered {
    Delivered { pushes: ways.pushes(), ..delivered(OURS, n, second) }
}

fn both() -> WaysOut {
    WaysOut {
        webhook: Some(Webhook::at("https://council.example/asn")),
        mesh: Some(MeshBox { mailbox: "X26ABC1".into() }),
        ..WaysOut::default()
    }
}

/// The pushes that are owed before a moment.
pub(crate) async fn owed(store: &impl Store, moment: Timestamp) -> Vec<PushesDue> {
    let found = all(1, async |page| store.pushes_due_before(moment, &page).await).await;
    let readable = |entry: PushEntry| {
        let due = entry.due.expect("readable");
        assert_eq!(due.since, entry.since);
        due
    };
    found.into_iter().map(readable).collect()
}

fn task(delivered: &Delivered, way: Way) -> PushTask {
    PushTask::all(&delivered.notification, &delivered.pushes).find(|t| t.way == way).expect("chosen")
}

pub(crate) async fn contract(store: &impl Store, spoiler: &impl Spoiler) {
    r73_what_is_owed_is_found_until_it_is_queued(store).await;
    r73_one_pushes_at_a_time_and_what_was_sent_stays_sent(store).await;
    r73_a_message_that_was_never_collected_is_given_up(store).await;
    r75_of_two_who_change_a_circuit_one_wins(store).await;
    r73_one_that_cannot_be_read_says_since_when_it_is_owed(store, spoiler).await;
}

async fn r73_what_is_owed_is_found_until_it_is_queued(store: &impl Store) {
    let webhook = WaysOut { mesh: None, ..both() };
    let held = [with(1, 100, both()), with(2, 110, webhook.clone()), with(3, 120, WaysOut::default())];
    for delivered in &held {
        assert!(store.deliver(delivered).await.expect("delivered"));
    }
    let due = async |moment| owed(store, moment).await;
    let ids = |found: &[PushesDue]| found.iter().map(|due| due.id).collect::<Vec<_>>();
    let [first, second] = [&held[0], &held[1]].map(|d| d.notification.id);
    let found = due(at(1_000)).await;
    assert_eq!(ids(&found), [first, second], "oldest first; the third owes none");
    assert_eq!((&found[0].authority, found[0].since), (&la(OURS), held[0].delivered_at));
    assert_eq!(found[0].tasks, [task(&held[0], Way::Webhook), task(&held[0], Way::Mesh)]);
    assert_eq!(ids(&due(held[1].delivered_at).await), [first]);
    // Delivering again owes nothing anew.
    for _ in 0..2 {
        store.pushes_queued(&la(OURS), first, held[0].delivered_at).await.expect("noted");
        assert!(!store.deliver(&held[0]).await.expect("held"));
        assert_eq!(ids(&due(at(1_000)).await), [second]);
    }
    store.pushes_queued(&la(OURS), second, held[1].delivered_at).await.expect("noted");
    store.pushes_queued(&la(OURS), Uuid::max(), at(0)).await.expect("nothing is made up");
    assert_eq!(due(at(1_000)).await, []);
    let ours = la(OURS);
    let listed = all(9, async |page| store.notifications(&ours, None, &page).await).await;
    assert_eq!(listed, held.map(Ok), "the mailbox shows how far each push has come");
}

async fn r73_one_pushes_at_a_time_and_what_was_sent_stays_sent(store: &impl Store) {
    let held = with(10, 200, both());
    store.deliver(&held).await.expect("delivered");
    let (webhook, mesh) = (task(&held, Way::Webhook), task(&held, Way::Mesh));
    let granted = Claim::Granted(Box::new(held.clone()));
    assert_eq!(store.claim(&webhook, at(300), at(360)).await, Ok(granted.clone()));
    assert_eq!(store.claim(&webhook, at(359), at(420)).await, Ok(Claim::Taken(at(360))));
    assert_eq!(store.claim(&mesh, at(301), at(361)).await, Ok(granted.clone()), "each way by itself");
    assert_eq!(store.claim(&webhook, at(360), at(420)).await, Ok(granted), "a claim ends by itself");

    let failed = Push { at: Some(at(365)), attempts: 1, reason: Some("timed-out".into()), ..Push::default() };
    store.record_push(&webhook, &failed).await.expect("kept");
    let Ok(Claim::Granted(again)) = store.claim(&webhook, at(366), at(400)).await else { panic!("given back") };
    assert_eq!(again.pushes[&Way::Webhook], failed);
    let sent = Push { state: PushState::Sent, at: Some(at(367)), attempts: 2, ..Push::default() };
    store.record_push(&webhook, &sent).await.expect("kept");
    let given_up = Push { state: PushState::GivenUp, ..failed.clone() };
    for worse in [&failed, &given_up, &Push { attempts: 9, ..sent.clone() }] {
        store.record_push(&webhook, worse).await.expect("passed over");
        assert_eq!(store.claim(&webhook, at(900), at(960)).await, Ok(Claim::Sent(sent.clone())));
    }

    let unknown = PushTask { notification: Uuid::max(), ..webhook.clone() };
    assert_eq!(store.claim(&unknown, at(300), at(360)).await, Ok(Claim::Unknown));
    store.record_push(&unknown, &sent).await.expect("nothing is made up");
    assert_eq!(store.claim(&unknown, at(300), at(360)).await, Ok(Claim::Unknown));
    let silent = with(11, 201, WaysOut::default());
    store.deliver(&silent).await.expect("delivered");
    let never_chosen = PushTask { notification: silent.notification.id, ..webhook };
    assert_eq!(store.claim(&never_chosen, at(300), at(360)).await, Ok(Claim::Unknown));
}

async fn r73_a_message_that_was_never_collected_is_given_up(store: &impl Store) {
    let held = with(12, 202, both());
    store.deliver(&held).await.expect("delivered");
    let mesh = task(&held, Way::Mesh);
    let state = |state| Push { state, receipt: Some("20261122000000000_ABCDEF".into()), ..Push::default() };
    let (sent, lost, collected) = (state(PushState::Sent), state(PushState::GivenUp), state(PushState::Collected));
    store.record_push(&mesh, &sent).await.expect("kept");
    store.record_push(&mesh, &lost).await.expect("kept");
    // Given up, it may be sent again.
    let Ok(Claim::Granted(again)) = store.claim(&mesh, at(900), at(960)).await else { panic!("given up") };
    assert_eq!(again.pushes[&Way::Mesh], lost);
    store.record_push(&mesh, &sent).await.expect("kept");
    store.record_push(&mesh, &collected).await.expect("kept");
    store.record_push(&mesh, &lost).await.expect("passed over");
    assert_eq!(store.claim(&mesh, at(999), at(1_060)).await, Ok(Claim::Sent(collected)));
}

async fn r75_of_two_who_change_a_circuit_one_wins(store: &impl Store) {
    let (authority, way) = (la(OURS), Way::Webhook);
    let none = store.circuit(&authority, way).await.expect("read");
    assert_eq!(none, Circuit::default());
    let one = none.after_failure(at(0));
    assert_eq!(store.move_circuit(&authority, way, &none, &one).await, Ok(true));
    assert_eq!(store.move_circuit(&authority, way, &none, &one).await, Ok(false), "another was faster");
    assert_eq!(store.circuit(&authority, way).await.as_ref(), Ok(&one));
    let open = one.after_failure(at(1)).after_failure(at(2));
    assert_eq!(store.move_circuit(&authority, way, &one, &open).await, Ok(true));
    assert_eq!(store.circuit(&authority, way).await, Ok(open));
    assert_eq!(store.circuit(&authority, Way::Mesh).await, Ok(Circuit::default()), "each receiver by itself");
    let listed = all(9, async |page| store.notifications(&authority, None, &page).await).await;
    let is_own = |d: &Result<Delivered, _>| d.as_ref().is_ok_and(|d| d.notification.authority == authority);
    assert!(listed.iter().all(is_own), "a circuit is no notification");
}

/// Its age counts, and it hides none of the others.
async fn r73_one_that_cannot_be_read_says_since_when_it_is_owed(store: &impl Store, spoiler: &impl Spoiler) {
    let held = [(31, 500), (32, 510), (33, 520)].map(|(n, second)| with(n, second, both()));
    for delivered in &held {
        assert!(store.deliver(delivered).await.expect("delivered"));
    }
    spoiler.spoil(&held[1]);
    let ids = held.each_ref().map(|d| d.notification.id.to_string());
    for limit in [1, 9] {
        let found = all(limit, async |page| store.pushes_due_before(at(1_000), &page).await).await;
        let id = |entry: &PushEntry| match &entry.due {
            Ok(due) => (due.id.to_string(), true),
            Err(unreadable) => {
                assert_eq!(
                    (unreadable.authority.as_str(), &*unreadable.error.cause),
                    (la(OURS).as_str(), "ItemUnreadable")
                );
                (unreadable.id.clone(), false)
            }
        };
        let ours: Vec<_> = found.iter().map(|entry| (id(entry), entry.since)).collect();
        let ours: Vec<_> = ours.into_iter().filter(|((id, _), _)| ids.contains(id)).collect();
        let expected = [true, false, true].into_iter().zip(&held).zip(&ids);
        let expected: Vec<_> = expected.map(|((well, d), id)| ((id.clone(), well), d.delivered_at)).collect();
        assert_eq!(ours, expected, "by {limit}");
    }
    for delivered in &held {
        store.pushes_queued(&la(OURS), delivered.notification.id, delivered.delivered_at).await.expect("noted");
    }
}
