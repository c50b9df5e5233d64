//! What operators are told of the outbox is what the adapters have written there.

use cpis::{
    domain::{notice::notice, notification::Content, time::sortable},
    ports::{AccessLog, NoticeOutbox},
};
use cpis_tests::{binaries, operator::Operator, world::World};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Spoiler, access, dynamodb, la, notices};

/// What `cpis status` says: its exit status, since when the oldest entry is owed, and whether the relay keeps up.
async fn told(world: &World) -> (Option<i32>, Value, bool) {
    let mut outputs = world.queue_outputs();
    outputs.push(("OutboxTable", "outbox".to_owned()));
    let operator = Operator::of(binaries::cpis(), &outputs).await;
    let ended = operator.run(&world.proxy.url, &["status", "--json"]).await;
    let report = ended.json();
    let relay = report["findings"].as_array().expect("findings")[0].clone();
    assert!(relay["what"].as_str().is_some_and(|what| what.starts_with("the relay ")), "{relay}");
    (ended.status, report["outbox"].clone(), relay["well"] == true)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_first_in_the_outbox_its_age_is_told() {
    let world = World::new().await;
    let store = dynamodb(&world.proxy.url);
    let now = Timestamp::now();
    let ago = |minutes| sortable(now - SignedDuration::from_mins(minutes)).parse::<Timestamp>().expect("a moment");
    let told_at = |at| {
        let content: Content = notices()[1].content.clone();
        notice(&la(0), content.kind(), "1", at, content)
    };
    assert_eq!(told(&world).await, (Some(0), json!({"owed": 0, "oldest": null}), true));
    // Of a clock that is ahead, so that it is young however long this test takes.
    store.owe(&[told_at(ago(-60))]).await.expect("owed");
    assert_eq!(told(&world).await, (Some(0), json!({"owed": 1, "oldest": ago(-60)}), true));
    store.record(&cpis::domain::access::Access { at: ago(10), ..access(1, 1, 0) }).await.expect("recorded");
    assert_eq!(told(&world).await, (Some(3), json!({"owed": 2, "oldest": ago(10)}), false));
    store.owe(&[told_at(ago(20))]).await.expect("owed");
    assert_eq!(told(&world).await, (Some(3), json!({"owed": 3, "oldest": ago(20)}), false), "a notice is first");
    world.dynamo.owe(&format!("{}#a#b", sortable(ago(30))));
    assert_eq!(told(&world).await, (Some(3), json!({"owed": 4, "oldest": ago(30)}), false), "it cannot be read");
}
