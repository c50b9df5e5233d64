//! What the mailboxes promise: of each step the first one stands, what is left lying is found, and a digest goes out whole.

use cpis::domain::{
    authority::AuthorityCode,
    notice::Digest,
    notification::{Delivered, Notification, State, Taken},
    reading::{Cadence, Reading},
    signal::Signal,
    ways_out::{MeshBox, Way, WaysOut, Webhook},
};
use jiff::Timestamp;
use uuid::Uuid;

use super::{Spoiler, Store, all, at, delivered, la, pushes::owed};

/// Authority of these tests.
const OURS: u32 = 50;

fn notification(n: u128, second: i64) -> Notification {
    let mut notification = delivered(OURS, n, second).notification;
    notification.signal([]);
    notification
}

/// One of which it is known who else saw the child.
fn weighed(n: u128, second: i64, delivered_at: Timestamp, ways: &WaysOut, rules: &Reading) -> Delivered {
    Delivered { weigh_at: None, ..Delivered::new(notification(n, second), delivered_at, ways, rules) }
}

fn ways() -> WaysOut {
    WaysOut {
        webhook: Some(Webhook::at("https://council.example/asn")),
        second_webhook: Some(Webhook::at("https://duty.council.example/asn")),
        second_mesh: Some(MeshBox { mailbox: "X26ABC9".into() }),
        ..WaysOut::default()
    }
}

fn taken(second: i64, by: &str) -> Taken {
    Taken { at: at(second), by: by.into() }
}

pub(crate) async fn contract(store: &impl Store, spoiler: &impl Spoiler) {
    r89_of_each_step_the_first_one_stands(store).await;
    r85_what_is_left_unread_is_found_and_escalated_once(store).await;
    r83_what_is_known_of_who_else_saw_the_child_is_noted_once(store).await;
    r84_a_digest_goes_out_whole_or_not_at_all(store).await;
    an_authority_reads_by_its_own_rules(store).await;
    what_happened_since_a_moment_is_listed(store).await;
    one_that_cannot_be_read_hides_no_other(store, spoiler).await;
}

async fn r89_of_each_step_the_first_one_stands(store: &impl Store) {
    let authority = la(10);
    for n in 0..6_u32 {
        store.deliver(&delivered(10, u128::from(n), 40 + i64::from(n))).await.expect("delivered");
    }
    let id = |n: u32| delivered(10, u128::from(n), 40 + i64::from(n)).notification.id;
    let mark = async |n, state, taken: &Taken| {
        store.mark(&authority, id(n), state, taken).await.expect("an answer").expect("there")
    };
    for n in [1, 4] {
        let now = mark(n, State::Acknowledged, &taken(60, "Duty team")).await;
        assert_eq!((now.state, now.acknowledged_at), (State::Acknowledged, Some(at(60))));
        assert_eq!(mark(n, State::Acknowledged, &taken(70, "Another")).await, now, "the first one stands");
        assert_eq!(store.notification(&authority, id(n)).await.expect("read"), Some(now), "as it was answered");
    }
    let actioned = mark(4, State::Actioned, &taken(80, "Sam Sample")).await;
    assert_eq!((actioned.acknowledged_at, actioned.actioned_at), (Some(at(60)), Some(at(80))));
    assert_eq!(mark(4, State::Acknowledged, &taken(90, "Another")).await, actioned, "no step back");
    let at_once = mark(5, State::Actioned, &taken(85, "Sam Sample")).await;
    assert_eq!((at_once.acknowledged_at, at_once.actioned_by.as_deref()), (Some(at(85)), Some("Sam Sample")));
    let nobody = async |authority: &AuthorityCode, id| {
        store.mark(authority, id, State::Acknowledged, &taken(60, "x")).await.expect("an answer")
    };
    assert_eq!(nobody(&la(11), id(2)).await, None, "another authority's");
    assert_eq!(nobody(&authority, Uuid::max()).await, None);
    for (state, expected) in [
        (None, &[0, 1, 2, 3, 4, 5][..]),
        (Some(State::Unread), &[0, 2, 3]),
        (Some(State::Acknowledged), &[1]),
        (Some(State::Actioned), &[4, 5]),
    ] {
        let found = all(2, async |page| store.notifications(&authority, state, &page).await).await;
        let found: Vec<_> = found.into_iter().map(|d| d.expect("readable").notification.id).collect();
        assert_eq!(found, expected.iter().map(|n| id(*n)).collect::<Vec<_>>(), "{state:?}");
    }
}

/// Ids of what wakes before a moment among those that the tests of this file put there.
async fn wakes(store: &impl Store, moment: Timestamp) -> Vec<Uuid> {
    let found = all(1, async |page| store.wakes_before(moment, &page).await).await;
    found.into_iter().filter(|(authority, _)| *authority == la(OURS)).map(|(_, id)| id).collect()
}

async fn r85_what_is_left_unread_is_found_and_escalated_once(store: &impl Store) {
    let rules = Reading { unread_minutes: 10, ..Reading::default() };
    let held: Vec<_> = [(1, ways()), (2, WaysOut::default()), (3, ways()), (4, ways())]
        .map(|(n, ways)| weighed(n, 100, at(100 + i64::try_from(n).unwrap_or(0)), &ways, &rules))
        .into();
    for one in &held {
        assert!(store.deliver(one).await.expect("delivered"));
    }
    let ids: Vec<_> = held.iter().map(|one| one.notification.id).collect();
    assert_eq!(wakes(store, at(701)).await, Vec::<Uuid>::new(), "it is strictly before");
    assert_eq!(wakes(store, at(703)).await, ids[..2], "soonest first");
    // What is read meanwhile is not found any more, and cannot be escalated.
    store.mark(&la(OURS), ids[3], State::Acknowledged, &taken(300, "x")).await.expect("marked");
    assert_eq!(wakes(store, at(10_000)).await, ids[..3]);
    assert!(!store.escalate(&held[3], at(800), &[Way::SecondMesh]).await.expect("an answer"));
    assert!(store.escalate(&held[0], at(800), &[Way::SecondWebhook, Way::SecondMesh]).await.expect("escalated"));
    assert!(!store.escalate(&held[0], at(900), &[]).await.expect("an answer"), "once");
    assert!(
        store.escalate(&held[0], at(800), &[]).await.expect("an answer"),
        "by this very call, whose answer was lost"
    );
    assert!(store.escalate(&held[1], at(801), &[Way::SecondWebhook]).await.expect("it had no pushes before"));
    assert!(store.escalate(&held[2], at(802), &[]).await.expect("there may be no second contact"));
    assert_eq!(wakes(store, at(10_000)).await, Vec::<Uuid>::new());
    let now = store.notification(&la(OURS), ids[0]).await.expect("read").expect("there");
    assert_eq!((now.escalated_at, now.escalate_at, now.state), (Some(at(800)), None, State::Unread));
    assert_eq!(now.pushes.keys().copied().collect::<Vec<_>>(), [Way::Webhook, Way::SecondWebhook, Way::SecondMesh]);
    // What is to be pushed besides is owed from then on.
    let due = owed(store, at(802)).await;
    let due: Vec<_> = due.into_iter().filter(|due| due.authority == la(OURS)).map(|due| (due.id, due.since)).collect();
    assert_eq!(due[due.len() - 2..], [(ids[0], at(800)), (ids[1], at(801))], "{due:?}");
    // A sweep that saw what was owed before the escalation has queued the first contact's push, and not the second's.
    store.pushes_queued(&la(OURS), ids[0], held[0].delivered_at).await.expect("an answer");
    let due = async || owed(store, at(802)).await;
    let still = due().await.into_iter().find(|due| due.id == ids[0]).expect("still owed");
    assert!(still.tasks.iter().any(|task| task.way == Way::SecondMesh), "{still:?}");
    store.pushes_queued(&la(OURS), ids[0], at(800)).await.expect("noted");
    assert!(due().await.iter().all(|due| due.id != ids[0]));
    // What was escalated and is unread can be counted; that it is read ends that.
    let escalated = async |since| {
        let found = all(1, async |page| store.escalated_since(since, &page).await).await;
        found.into_iter().filter(|(authority, _)| *authority == la(OURS)).map(|(_, id)| id).collect::<Vec<_>>()
    };
    assert_eq!(escalated(at(0)).await, ids[..3]);
    assert_eq!(escalated(at(801)).await, ids[1..3]);
    store.mark(&la(OURS), ids[1], State::Acknowledged, &taken(900, "x")).await.expect("marked");
    assert_eq!(escalated(at(801)).await, ids[2..3]);
}

async fn r83_what_is_known_of_who_else_saw_the_child_is_noted_once(store: &impl Store) {
    let rules = Reading { unread_minutes: 10, urgent_unread_minutes: 5, ..Reading::default() };
    let held: Vec<_> = (10..14).map(|n| Delivered::new(notification(n, 1_000), at(1_000), &ways(), &rules)).collect();
    for one in &held {
        assert!(store.deliver(one).await.expect("delivered"));
    }
    let ids: Vec<_> = held.iter().map(|one| one.notification.id).collect();
    let now = async |n: usize| store.notification(&la(OURS), ids[n]).await.expect("read").expect("there");
    let sorted = |mut ids: Vec<Uuid>| {
        ids.sort();
        ids
    };
    assert_eq!(sorted(wakes(store, at(1_001)).await), sorted(ids.clone()), "at once");
    let third = held[0].weighed(Some(Signal::ThirdSetting), &rules);
    store.weigh(&held[0], &third).await.expect("noted");
    store.weigh(&held[1], &held[1].weighed(None, &rules)).await.expect("noted");
    let signals = |held: &Delivered| held.notification.access().expect("an access").signals.clone();
    let [one, two] = [now(0).await, now(1).await];
    assert_eq!((signals(&one), one.weigh_at, one.escalate_at), (third.signals.clone(), None, Some(at(1_300))));
    assert_eq!((signals(&two), two.weigh_at, two.escalate_at), (signals(&held[1]), None, Some(at(1_600))));
    // What was weighed, escalated or read meanwhile stays as it is.
    assert!(store.escalate(&held[2], at(1_100), &[]).await.expect("escalated"));
    store.mark(&la(OURS), ids[3], State::Acknowledged, &taken(1_100, "x")).await.expect("marked");
    for (n, one) in held.iter().enumerate().skip(1) {
        let before = now(n).await;
        store.weigh(one, &third).await.expect("an answer");
        assert_eq!(now(n).await, before, "{n}");
        assert_eq!(before.weigh_at, None, "{n}");
    }
    assert_eq!(wakes(store, at(1_601)).await, ids[..2]);
    for id in ids {
        store.mark(&la(OURS), id, State::Acknowledged, &taken(2_000, "x")).await.expect("marked");
    }
}

async fn r84_a_digest_goes_out_whole_or_not_at_all(store: &impl Store) {
    let rules = Reading { cadence: Cadence::Digest, ..Reading::default() };
    let waiting: Vec<_> =
        (20..24).map(|n| Delivered::new(notification(n, 2_000), at(2_000), &ways(), &rules)).collect();
    for one in &waiting {
        assert!(one.pushes.is_empty() && one.digest_at.is_some() && one.escalate_at.is_none(), "{one:?}");
        assert!(store.deliver(one).await.expect("delivered"));
    }
    let far = at(1_000_000);
    assert_eq!(wakes(store, far).await.len(), 4);
    let digest = |held: &[Delivered]| {
        let digest = Digest::of(&la(OURS), held, at(90_000)).expect("not empty");
        Delivered::new(digest, at(90_000), &ways(), &rules)
    };
    // One was read since: nothing of the digest goes out, and the others still wait.
    store.mark(&la(OURS), waiting[3].notification.id, State::Acknowledged, &taken(50_000, "x")).await.expect("marked");
    assert!(!store.put_digest(&digest(&waiting), &waiting).await.expect("an answer"));
    let broken = digest(&waiting).notification.id;
    assert_eq!(store.notification(&la(OURS), broken).await.expect("read"), None);
    assert_eq!(wakes(store, far).await.len(), 3);
    let three = digest(&waiting[..3]);
    assert!(store.put_digest(&three, &waiting[..3]).await.expect("delivered"));
    assert!(!store.put_digest(&three, &waiting[..3]).await.expect("an answer"), "once");
    assert_eq!(store.notification(&la(OURS), three.notification.id).await.expect("read").as_ref(), Some(&three));
    for one in &waiting[..3] {
        let now = store.notification(&la(OURS), one.notification.id).await.expect("read").expect("still there");
        assert_eq!((now.digest, now.digest_at, now.state), (Some(three.notification.id), None, State::Unread));
    }
    assert_eq!(wakes(store, far).await, [three.notification.id], "the digest itself may have to be escalated");
}

async fn an_authority_reads_by_its_own_rules(store: &impl Store) {
    assert_eq!(store.reading(&la(51)).await.expect("read"), Reading::default());
    let daily = Reading { cadence: Cadence::Digest, digest_hour: 7, unread_minutes: 60, urgent_unread_minutes: 30 };
    store.set_reading(&la(51), &daily).await.expect("kept");
    assert_eq!(store.reading(&la(51)).await.expect("read"), daily);
    store.set_reading(&la(51), &Reading::default()).await.expect("kept");
    assert_eq!(store.reading(&la(51)).await.expect("read"), Reading::default(), "the latest stands");
    assert_eq!(store.reading(&la(52)).await.expect("read"), Reading::default(), "another's");
    let authority = la(51);
    assert_eq!(all(9, async |page| store.notifications(&authority, None, &page).await).await, [], "rules are no mail");
}

async fn what_happened_since_a_moment_is_listed(store: &impl Store) {
    let authority = la(53);
    for n in 0..5_u32 {
        store.deliver(&delivered(53, u128::from(n), 10 * i64::from(n))).await.expect("delivered");
    }
    let found = all(2, async |page| store.notifications_since(&authority, at(20), &page).await).await;
    let moments: Vec<_> = found.into_iter().map(|d| d.expect("readable").notification.at).collect();
    assert_eq!(moments, [at(20), at(30), at(40)]);
}

/// Whichever part of the mailbox is listed, it stands in its own place, by its key.
async fn one_that_cannot_be_read_hides_no_other(store: &impl Store, spoiler: &impl Spoiler) {
    let authority = la(54);
    let held = [(540, 0), (541, 10), (542, 20)].map(|(n, second)| delivered(54, n, second));
    for one in &held {
        store.deliver(one).await.expect("delivered");
    }
    spoiler.spoil(&held[1]);
    let spoilt = held[1].notification.id;
    for limit in [1, 9] {
        let lists = [
            all(limit, async |page| store.notifications(&authority, None, &page).await).await,
            all(limit, async |page| store.notifications(&authority, Some(State::Unread), &page).await).await,
            all(limit, async |page| store.notifications_since(&authority, at(0), &page).await).await,
        ];
        for [first, second, third] in lists.map(|list| <[_; 3]>::try_from(list).expect("three")) {
            assert_eq!((first.as_ref(), third.as_ref()), (Ok(&held[0]), Ok(&held[2])), "by {limit}");
            let unreadable = second.expect_err("unreadable");
            assert_eq!((unreadable.authority.as_str(), unreadable.id), (authority.as_str(), spoilt.to_string()));
            assert_eq!((&*unreadable.error.cause, unreadable.error.retryable), ("ItemUnreadable", false));
        }
    }
    let alone = store.notification(&authority, spoilt).await.expect_err("unreadable");
    assert_eq!(alone.cause, "ItemUnreadable");
}
