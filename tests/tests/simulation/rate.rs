//! How long a replay at a given rate takes, by the simulated clock.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    functions::{Functions, LETTERS},
    on_threads,
    world::World,
};

/// What the calls of a run take beside the waits between them, in milliseconds.
const CALLS: u64 = 2_500;

/// Replays so many letters at a rate while nothing goes wrong: how long that took, and when each letter was sent, in milliseconds.
async fn replayed(letters: usize, rate: u32) -> (u64, Vec<u64>) {
    let world = Arc::new(World::new(1, usize::MAX - letters, false));
    world.weather().clear_up();
    for n in 0..letters {
        let id = Uuid::from_u128(n as u128 + 1);
        let body = json!({"id": id, "authority": format!("E0600000{}", n % 3 + 1), "kind": "access"}).to_string();
        world.queues().act("SendMessage", &json!({"QueueUrl": LETTERS, "MessageBody": body})).expect("queued");
    }
    let began = Instant::now();
    let done = Functions::new(&world).replay(Uuid::nil(), Some(rate)).await.done();
    assert_eq!(done, Some(Ok(letters)), "{letters} at {rate}");
    let took = u64::try_from(began.elapsed().as_millis()).expect("soon");
    let record = |record: Value| record["attributes"]["SentTimestamp"].as_str()?.parse().ok();
    let mut sent: Vec<u64> = world.queues().messages("asn").filter_map(|m| record(m.record("asn"))).collect();
    sent.sort_unstable();
    (took, sent)
}

/// A short queue goes in order and a long one by windows, and both no faster than they are told to.
#[test]
fn a_replay_at_a_rate_takes_as_long_as_that_says_and_is_never_much_faster() {
    on_threads(1, |_| {
        for (letters, rate) in [(100, 20), (30, 3), (1_000, 150), (2_000, 500)] {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
            let (took, sent) = runtime.expect("a runtime").block_on(replayed(letters, rate));
            let expected = letters as u64 * 1_000 / u64::from(rate);
            assert!((expected..expected + CALLS).contains(&took), "{letters} at {rate} take {took} ms");
            // What a second has, and as much again that is made up for.
            let most = 2 * rate as usize;
            let fastest = sent.windows(most + 1).map(|burst| burst[most] - burst[0]).min();
            assert!(fastest.is_none_or(|fastest| fastest >= 1_000), "{letters} at {rate}: {fastest:?} ms");
        }
    });
}
