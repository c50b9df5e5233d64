//! What AWS does between the functions: it brings the stream and the queue to them, and rings every minute.

use std::{collections::BTreeSet, sync::atomic::Ordering, time::Duration};

use cpis::simulation::{Bug, has};
use cpis_tests::{
    events::{failed_ids, schedule_event, sqs_event, stream_event},
    sqs::Message,
};
use serde_json::Value;
use tokio::time::sleep;

use super::{
    faults::Fault,
    functions::{Deliverer, Functions},
    wire::{milliseconds, record},
    world::World,
};

/// How often a batch of the stream is tried before it is given up.
const STREAM_TRIES: u32 = 4;
/// Messages in a batch at the most.
const BATCH: u64 = 10;

fn is_over(world: &World) -> bool {
    world.over.load(Ordering::Relaxed)
}

/// Brings the stream of the outbox to the relay: in order, again where it failed, and not always.
pub(crate) async fn stream(world: &World, functions: &Functions) {
    let mut next = 0;
    let mut skew = world.skew();
    while !is_over(world) {
        sleep(milliseconds(world.between(200, 4_000))).await;
        let most = usize::try_from(world.between(1, BATCH)).expect("few");
        let mut batch: Vec<(usize, Value)> = world.streamed(next, most);
        let Some((last, _)) = batch.last() else { continue };
        next = last + 1;
        batch.retain(|_| !world.strikes(Fault::LostRecord));
        if world.strikes(Fault::RepeatedRecord) && !batch.is_empty() {
            batch.extend(batch.clone());
        }
        for _ in 0..STREAM_TRIES {
            if batch.is_empty() {
                break;
            }
            let records: Vec<Value> = batch.iter().map(|(number, item)| record(*number, item)).collect();
            world.note(|| format!("stream brings {} records", records.len()));
            match functions.relay(skew, stream_event(&records)).await {
                Some(answer) => batch = from_first_failed(&batch, &answer),
                // The next try is by another process.
                None => skew = world.skew(),
            }
            sleep(milliseconds(world.between(100, 2_000))).await;
        }
    }
}

/// Lambda tries a batch again from the first record that failed.
fn from_first_failed(batch: &[(usize, Value)], answer: &Value) -> Vec<(usize, Value)> {
    let failures = answer["batchItemFailures"].as_array().into_iter().flatten();
    let failed: BTreeSet<&str> = failures.filter_map(|f| f["itemIdentifier"].as_str()).collect();
    let is_failed = |number: usize| {
        let sequence = record(number, &Value::Null)["dynamodb"]["SequenceNumber"].clone();
        sequence.as_str().is_some_and(|sequence| failed.contains(sequence))
    };
    let first = batch.iter().position(|(number, _)| is_failed(*number)).unwrap_or(batch.len());
    batch[first..].to_vec()
}

/// Starts the sweep every minute.
pub(crate) async fn schedule(world: &World, functions: &Functions) {
    while !is_over(world) {
        sleep(Duration::from_secs(60)).await;
        if world.strikes(Fault::MissedSweep) {
            continue;
        }
        world.note(|| "sweep".into());
        functions.relay(world.skew(), schedule_event()).await;
    }
}

/// Brings messages of the queue to delivery: in any order, sometimes twice, sometimes late.
pub(crate) async fn queue(world: &World, functions: &Functions) {
    let mut deliverer = functions.deliverer();
    while !is_over(world) {
        sleep(milliseconds(world.between(500, 5_000))).await;
        let batch = receive(world);
        if batch.is_empty() {
            continue;
        }
        world.note(|| format!("queue brings {}", ids(&batch)));
        if world.strikes(Fault::VisibilityExpiry) {
            sleep(milliseconds(world.between(100_000, 400_000))).await;
        }
        if !deliver(world, &deliverer, &batch).await {
            deliverer = functions.deliverer();
        }
    }
}

fn ids(batch: &[Message]) -> String {
    let short = |m: &Message| format!("{} ({})", m.id.trim_start_matches(['0', '-']), m.receives);
    batch.iter().map(short).collect::<Vec<_>>().join(", ")
}

fn receive(world: &World) -> Vec<Message> {
    let reorder = world.strikes(Fault::Reorder);
    let most = usize::try_from(world.between(1, BATCH)).expect("few");
    let pick = |places: &BTreeSet<u64>, most| {
        let mut places: Vec<u64> = places.iter().copied().collect();
        if reorder {
            world.chance(|rng| rng.shuffle(&mut places));
        }
        places.truncate(most);
        places
    };
    let received = world.queues().receive("asn", most, None, pick).expect("the queue");
    for message in &received {
        if world.strikes(Fault::Duplicate) {
            let again = serde_json::json!({
                "QueueUrl": "/asn", "ReceiptHandle": message.receipt, "VisibilityTimeout": 0,
            });
            world.queues().act("ChangeMessageVisibility", &again).expect("the message");
        }
    }
    received
}

/// Hands a batch over and deletes what is done; whether the process lives on.
async fn deliver(world: &World, deliverer: &Deliverer, batch: &[Message]) -> bool {
    // It is the event source that deletes: a function of ours could not do so too early.
    if has(Bug::AcknowledgesEarly) {
        delete(world, batch.iter());
    }
    let Some(answer) = deliverer.handle(world, sqs_event("asn", batch)).await.done() else { return false };
    let failed = failed_ids(Some(&answer), batch);
    delete(world, batch.iter().filter(|m| !failed.contains(&m.id)));
    true
}

fn delete<'m>(world: &World, messages: impl Iterator<Item = &'m Message>) {
    for message in messages {
        if !world.strikes(Fault::LostDeletion) {
            let receipt = serde_json::json!({"QueueUrl": "/asn", "ReceiptHandle": message.receipt});
            // Deleting what is gone succeeds, as it does on AWS.
            let _ = world.queues().act("DeleteMessage", &receipt);
        }
    }
}
