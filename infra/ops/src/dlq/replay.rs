//! Replay: send, and only then delete.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use aws_sdk_sqs::{
    Client,
    types::{
        BatchResultErrorEntry, Message, MessageAttributeValue, MessageSystemAttributeName,
        MessageSystemAttributeNameForSends, MessageSystemAttributeValue, SendMessageBatchRequestEntry,
    },
};
use futures_util::{StreamExt, stream};

use super::{
    letter::{Dead, kept_attributes},
    run::{Taken, Work},
    sweep::{BATCH, CONCURRENCY},
    trail::Fate,
};
use crate::failure::{Failure, Result, on_aws};

/// The most bytes in one call, bodies and attributes together: what SQS takes wherever it runs, old and new.
const MAX_BATCH_BYTES: usize = 256 * 1024;

/// Sends letters back for delivery.
pub(super) struct Replay<'a> {
    sqs: &'a Client,
    /// Where to.
    queue: &'a str,
    rate: Option<u32>,
    stop_after: u64,
    /// Authorities of which one letter was not taken: their later ones wait for the next run (R72).
    waiting: BTreeSet<String>,
}

/// What became of a lane.
#[derive(Default)]
struct Lane {
    fates: Vec<(usize, Fate)>,
    /// Authorities of which one letter was not taken.
    waiting: BTreeSet<String>,
    failure: Option<Failure>,
}

impl Work for Replay<'_> {
    // In a lane one call follows the other, so that order is kept (R72). Where one fails the others go on to their end: what
    // was sent must be told.
    async fn take(&mut self, letters: &[Dead]) -> Taken {
        let lanes = lanes(letters);
        let lanes: Vec<_> = lanes.iter().map(|lane| self.send_lane(letters, lane)).collect();
        let mut lanes = stream::iter(lanes).buffer_unordered(CONCURRENCY);
        let mut taken = Taken { fates: vec![Fate::Left; letters.len()], failure: None };
        let mut waiting_now = BTreeSet::new();
        while let Some(Lane { fates, waiting, failure }) = lanes.next().await {
            fates.into_iter().for_each(|(place, fate)| taken.fates[place] = fate);
            waiting_now.extend(waiting);
            taken.failure = taken.failure.or(failure);
        }
        drop(lanes);
        self.waiting.extend(waiting_now);
        taken
    }

    fn rate(&self) -> Option<u32> {
        self.rate
    }

    fn patience(&self) -> Option<u64> {
        Some(self.stop_after)
    }

    fn keeps_order(&self) -> bool {
        true
    }
}

impl<'a> Replay<'a> {
    /// To a queue, so many a second at the most; stops when so many come back.
    pub(super) fn new(sqs: &'a Client, queue: &'a str, rate: Option<u32>, stop_after: u64) -> Self {
        Self { sqs, queue, rate, stop_after, waiting: BTreeSet::new() }
    }

    /// Sends the letters at these places one call after the other. What stands behind one of its authority that was not taken
    /// is left.
    async fn send_lane(&self, letters: &[Dead], places: &[usize]) -> Lane {
        let authority = |place: &usize| &letters[*place].letter.authority;
        let mut lane = Lane::default();
        let mut due: Vec<usize> = places.iter().copied().filter(|p| !self.waiting.contains(authority(p))).collect();
        while !due.is_empty() {
            let later = due.split_off(fitting(due.iter().map(|place| size(&letters[*place].message))));
            match self.send(letters, &due).await {
                Ok(sent) => {
                    let waits = sent.iter().filter(|(_, fate, hopeless)| *fate != Fate::Done && !hopeless);
                    lane.waiting.extend(waits.map(|(place, ..)| authority(place).clone()));
                    lane.fates.extend(sent.iter().map(|(place, fate, _)| (*place, *fate)));
                }
                Err(failure) => {
                    lane.fates.extend(due.iter().map(|place| (*place, Fate::Unknown)));
                    lane.failure = Some(failure);
                    return lane;
                }
            }
            due = later.into_iter().filter(|place| !lane.waiting.contains(authority(place))).collect();
        }
        lane
    }

    /// Sends letters in one call; answers for each what became of it, and whether the queue will never take it.
    async fn send(&self, letters: &[Dead], places: &[usize]) -> Result<Vec<(usize, Fate, bool)>> {
        let entries = places.iter().map(|place| entry(*place, &letters[*place].message)).collect::<Result<_>>()?;
        let call = self.sqs.send_message_batch().queue_url(self.queue).set_entries(Some(entries));
        let answer = call.send().await.map_err(on_aws("send to the queue of notifications"))?;
        let is_done = |place: &usize| answer.successful.iter().any(|sent| sent.id.parse() == Ok(*place));
        let refusal = |place: &usize| answer.failed.iter().find(|refused| refused.id.parse() == Ok(*place));
        let of = |place: &usize| match (is_done(place), refusal(place)) {
            (true, _) => (*place, Fate::Done, false),
            (false, Some(refused)) => (*place, Fate::Left, is_hopeless(refused)),
            // The answer does not speak of it.
            (false, None) => (*place, Fate::Unknown, false),
        };
        Ok(places.iter().map(of).collect())
    }
}

/// Whether a queue refuses a letter for what it is. Others need not wait for it: it will never go before them.
fn is_hopeless(refused: &BatchResultErrorEntry) -> bool {
    refused.sender_fault && refused.code.contains("Invalid")
}

/// The places of letters by lane: an authority's all in one lane, in the order in which what they tell of happened. Small
/// authorities share one, as many as fill a call.
fn lanes(letters: &[Dead]) -> Vec<Vec<usize>> {
    let mut authorities: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, dead) in letters.iter().enumerate() {
        authorities.entry(&dead.letter.authority).or_default().push(place);
    }
    let mut runs: Vec<_> = authorities.into_values().collect();
    runs.sort_by_key(|run| Reverse(run.len()));
    let mut lanes: Vec<Vec<usize>> = Vec::new();
    for mut run in runs {
        run.sort_by_key(|place| letters[*place].order());
        match lanes.iter_mut().find(|lane| lane.len() + run.len() <= BATCH) {
            Some(lane) => lane.append(&mut run),
            None => lanes.push(run),
        }
    }
    lanes
}

/// A letter as it is sent again: body, attributes, X-Ray trace and group as they were.
pub(super) fn entry(place: usize, message: &Message) -> Result<SendMessageBatchRequestEntry> {
    build(place, message, kept_attributes(message))
}

/// A message to send, with these attributes.
pub(super) fn build(
    place: usize,
    message: &Message,
    attributes: HashMap<String, MessageAttributeValue>,
) -> Result<SendMessageBatchRequestEntry> {
    let entry = SendMessageBatchRequestEntry::builder().id(place.to_string());
    let mut entry = entry.message_body(message.body().unwrap_or_default());
    if !attributes.is_empty() {
        entry = entry.set_message_attributes(Some(attributes));
    }
    let system = |name| message.attributes().and_then(|a| a.get(&name));
    if let Some(trace) = system(MessageSystemAttributeName::AwsTraceHeader) {
        let value = MessageSystemAttributeValue::builder().data_type("String").string_value(trace).build();
        let value = value.map_err(|e| Failure::error(e.to_string()))?;
        entry = entry.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, value);
    }
    let group = system(MessageSystemAttributeName::MessageGroupId).cloned();
    entry.set_message_group_id(group).build().map_err(|e| Failure::error(e.to_string()))
}

/// Bytes of a message as SQS counts them: body, and the attributes' names, types and values.
pub(super) fn size(message: &Message) -> usize {
    let attribute = |(name, value): (&String, &MessageAttributeValue)| {
        let text = value.string_value().map_or(0, str::len);
        let binary = value.binary_value().map_or(0, |b| b.as_ref().len());
        name.len() + value.data_type().len() + text + binary
    };
    let attributes = message.message_attributes().into_iter().flatten().map(attribute);
    message.body().map_or(0, str::len) + attributes.sum::<usize>()
}

/// How many of these messages go into one call: at least one, and at most ten.
pub(super) fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fit = sizes.take(BATCH).take_while(|size| {
        bytes += size;
        bytes <= MAX_BATCH_BYTES
    });
    fit.count().max(1)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::dlq::letter::{Id, Letter};

    #[test]
    fn batches_are_cut_by_count_and_by_bytes() {
        assert_eq!(fitting([1_000; 25].into_iter()), 10);
        assert_eq!(fitting([100 * 1024; 10].into_iter()), 2);
        assert_eq!(fitting([128 * 1024; 10].into_iter()), 2);
        assert_eq!(fitting([900 * 1024, 1].into_iter()), 1, "one alone is for the queue to refuse");
        assert_eq!(fitting([3].into_iter()), 1);
    }

    #[test]
    fn attributes_count_too() {
        let value = MessageAttributeValue::builder().data_type("String").string_value("E06000001").build();
        let message = Message::builder().body("{}").message_attributes("authority", value.expect("complete")).build();
        assert_eq!(size(&message), 2 + 9 + 6 + 9);
    }

    #[test]
    fn a_letter_is_sent_with_its_body_trace_and_group() {
        let message = Message::builder()
            .body("{}")
            .attributes(MessageSystemAttributeName::AwsTraceHeader, "Root=1-67891233-abcdef012345678912345678")
            .attributes(MessageSystemAttributeName::MessageGroupId, "E06000001")
            .build();
        let sent = entry(3, &message).expect("complete");
        assert_eq!((sent.id(), sent.message_body(), sent.message_attributes()), ("3", "{}", None));
        assert_eq!(sent.message_group_id(), Some("E06000001"));
        let traces = sent.message_system_attributes().expect("kept");
        let trace = traces[&MessageSystemAttributeNameForSends::AwsTraceHeader].string_value();
        assert_eq!(trace, Some("Root=1-67891233-abcdef012345678912345678"));
    }

    #[test]
    fn small_authorities_share_a_call() {
        let of = |n: usize| {
            let letter = Letter {
                id: Id::None,
                reason: "redriven".into(),
                authority: format!("E06{:06}", 1 + n % 40),
                kind: "access".into(),
                since: None,
                at: None,
            };
            Dead { message: Message::builder().build(), letter }
        };
        let letters: Vec<_> = (0..160).map(of).collect();
        let lanes = lanes(&letters);
        assert!(lanes.iter().all(|lane| lane.len() <= BATCH) && lanes.len() <= 20, "{lanes:?}");
    }

    #[test]
    fn r72_an_authoritys_letters_are_one_lane_in_the_order_of_what_they_tell() {
        let dead = |n: usize| {
            let second = i64::try_from(n * 37 % 50).expect("small");
            let letter = Letter {
                id: Id::None,
                reason: "redriven".into(),
                // One has many, others few.
                authority: format!("E0600000{}", if n.is_multiple_of(2) { 0 } else { n % 7 }),
                kind: "access".into(),
                since: None,
                at: Timestamp::from_second(second).ok(),
            };
            Dead { message: Message::builder().build(), letter }
        };
        let letters: Vec<_> = (0..50).map(dead).collect();
        let lanes = lanes(&letters);
        let mut places: Vec<_> = lanes.iter().flatten().copied().collect();
        places.sort_unstable();
        assert_eq!(places, (0..50).collect::<Vec<_>>(), "each once");
        for authority in 0..7 {
            let of = |lane: &&Vec<usize>| {
                lane.iter().any(|place| letters[*place].letter.authority.ends_with(&authority.to_string()))
            };
            assert_eq!(lanes.iter().filter(of).count(), 1, "one lane");
        }
        for authority in 0..7 {
            let of = |place: &&usize| letters[**place].letter.authority.ends_with(&authority.to_string());
            let lane: Vec<_> = lanes.iter().flatten().filter(of).collect();
            assert!(lane.is_sorted_by_key(|place| letters[**place].letter.at), "{authority}: {lane:?}");
        }
    }
}
