//! Delivery and pushes are killed (kill -9) at every call, before it takes effect and after, and then tried again as Lambda and SQS do.
//! Whatever the moment, every push that is owed goes out, and under the same id however often.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use cpis::domain::ways_out::Webhook;
use cpis_tests::{
    proxy::{Fault, Plan, When},
    receiver::Receiver,
};
use futures_util::{StreamExt, stream};

use super::*;

/// Crashes tried at once.
const AT_ONCE: usize = 4;
/// How often a queue is drained again before something is lost.
const PATIENCE: usize = 6;
/// A claim that a killed process leaves behind ends at once, so that no test waits for it.
const NO_CLAIM: &[(&str, &str)] = &[("PUSH_CLAIM_SECONDS", "0")];

/// A world in which two authorities chose a webhook each, and are owed a notification each.
async fn begin(receiver: &Receiver) -> (World, BTreeSet<String>) {
    let world = world().await;
    let mut owed = BTreeSet::new();
    for authority in [code(0), code(1)] {
        chooses(
            &world,
            &authority,
            &WaysOut { webhook: Some(Webhook::at(format!("{}/asn", receiver.url))), ..WaysOut::default() },
        );
        let asn = notification(&authority, 0);
        owe(&world, &asn);
        owed.insert(asn.id.to_string());
    }
    (world, owed)
}

/// Drains a queue with new processes in the place of killed ones, until nothing is left in it.
async fn finish(world: &World, queue: &str, name: &str, mut function: Function) {
    for _ in 0..PATIENCE {
        drain_once(world, queue, &function).await;
        if world.sqs.messages(queue).is_empty() {
            return;
        }
        world.sqs.advance(3_600);
        if function.peak_memory().is_err() {
            function = world.start_with(name, NO_CLAIM).await;
        }
    }
    panic!("{queue} is not empty after {PATIENCE} times: {}", function.stop().await)
}

/// Rounds until the queue hands out nothing more or the function died.
async fn drain_once(world: &World, queue: &str, function: &Function) {
    loop {
        let batch = world.sqs.receive(queue);
        if batch.is_empty() {
            return;
        }
        let reply = function.invoke_json(&events::sqs_event(queue, &batch)).await;
        let Some(_) = reply.answer() else { return };
        let failed = events::failed_ids(Some(&reply.json()), &batch);
        world.sqs.delete(queue, batch.iter().filter(|m| !failed.contains(&m.id)).map(|m| m.receipt.as_str()));
    }
}

/// Lets the sweep find what is marked as owed, as if two minutes had passed.
async fn sweep(world: &World) {
    for mut item in world.dynamo.scan("mailbox") {
        if item.get("push_at").is_some() {
            item["push_at"] = json!({"S": "2026-01-01T00:00:00.000Z"});
            world.dynamo.put("mailbox", &item);
        }
    }
    let pusher = world.start_with("asn-push", NO_CLAIM).await;
    assert!(pusher.invoke_json(&events::schedule_event()).await.answer().is_some(), "{}", pusher.output());
}

/// Runs delivery and pushes, one of them broken at a call; which notifications came, and in how many calls the broken one works.
async fn run(broken: &str, plan: Option<(usize, When, bool)>) -> (usize, Vec<String>) {
    let receiver = Receiver::start().await;
    let (world, owed) = begin(&receiver).await;
    let mut calls = 0;
    for (queue, name) in [("asn", "asn-delivery"), ("push", "asn-push")] {
        world.proxy.reset();
        let function = world.start_with(name, NO_CLAIM).await;
        if let Some((call, when, kill)) = plan.filter(|_| name == broken) {
            let fault = if kill { Fault::Kill(function.killer()) } else { Fault::Drop };
            world.proxy.arm(Plan { call, when, fault });
        }
        finish(&world, queue, name, function).await;
        if name == broken {
            calls = world.proxy.calls().len();
            // What one of several pushes at once has read, such as the secret, another one need not: there may be a call less.
            let due = plan.is_some_and(|(call, ..)| call <= calls);
            assert_eq!(world.proxy.fired(), usize::from(due), "{broken} {plan:?}");
        }
        if name == "asn-delivery" {
            sweep(&world).await;
        }
    }
    let moment = format!("{broken} {plan:?}");
    let came: Vec<_> = receiver.received().iter().map(|r| r.header("webhook-id")).collect();
    assert_eq!(came.iter().cloned().collect::<BTreeSet<_>>(), owed, "{moment}: nothing lost, and nothing made up");
    let items = world.dynamo.scan("mailbox");
    let held: Vec<_> = items.iter().filter(|item| item.get("pushes").is_some()).collect();
    assert_eq!(held.len(), owed.len(), "{moment}");
    for item in held {
        assert_eq!(item["pushes"]["M"]["webhook"]["M"]["state"]["S"], json!("sent"), "{moment}");
        assert!(item.get("push").is_none() && item.get("claim_webhook").is_none(), "{moment}: {item}");
    }
    assert!(world.sqs.messages("push-dlq").is_empty() && world.sqs.messages("asn-dlq").is_empty(), "{moment}");
    (calls, came)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r73_no_push_is_lost_whenever_delivery_or_push_is_killed() {
    for broken in ["asn-delivery", "asn-push"] {
        let (calls, came) = run(broken, None).await;
        assert_eq!(came.len(), 2, "undisturbed, each comes once");
        assert!(calls >= 8, "{broken} makes {calls} calls");
        let crashes = (1..=calls)
            .flat_map(|call| [(call, When::Before, true), (call, When::After, true), (call, When::After, false)]);
        let missed = &AtomicUsize::new(0);
        stream::iter(crashes)
            .for_each_concurrent(AT_ONCE, |(call, when, kill)| async move {
                let (made, came) = run(broken, Some((call, when, kill))).await;
                missed.fetch_add(usize::from(made < call), Relaxed);
                // Twice at the most: what was under way when the process died.
                assert!(came.len() <= 4, "{broken}, call {call}, {when:?}: {came:?}");
            })
            .await;
        let missed = missed.load(Relaxed);
        assert!(missed * 5 <= calls * 3, "{broken}: {missed} crashes of {} never came", calls * 3);
    }
}
