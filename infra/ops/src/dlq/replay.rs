//! Replay: send, and only then delete.

use std::{collections::HashSet, time::Duration};

use aws_sdk_sqs::{
    Client,
    types::{
        DeleteMessageBatchRequestEntry, Message, MessageSystemAttributeName, MessageSystemAttributeNameForSends,
        MessageSystemAttributeValue, SendMessageBatchRequestEntry,
    },
};
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    DeadLetters, Tally,
    letter::{Filter, Letter, kept_attributes},
    progress, table,
};
use crate::{
    failure::{Failure, Outcome, Result, on_aws},
    output,
    sweep::{Sweep, key},
};

/// For how long letters are held out of sight; long enough that none comes back before it is sent and deleted.
const HOLD: Duration = Duration::from_secs(60);
/// The most bytes in one call, bodies and attributes together, of the 1 MiB that SQS takes: the rest is for attributes.
const MAX_BATCH_BYTES: usize = 768 * 1024;

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    #[command(flatten)]
    filter: Filter,
    /// Replay so many at the most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Tell what would be replayed, and do nothing
    #[arg(long)]
    dry_run: bool,
}

/// What a replay did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    dry_run: bool,
    /// Letters sent and deleted; in a dry run, those that would be.
    replayed: DeadLetters,
    /// Letters that the filter or the limit left out.
    left: usize,
    /// Letters that failed again while the replay ran; they were left.
    came_back: usize,
    /// Letters that the queue did not take; they were left.
    not_sent: usize,
    /// Letters that were sent and could not be deleted: another replay sends them again, to no effect.
    not_deleted: usize,
}

impl ReplayArgs {
    pub(super) async fn run(self, sqs: &Client, letters: &str, queue: &str, json: bool) -> Result<Outcome> {
        let mut replay = Replay::new(&self, sqs, letters, queue);
        let bar = progress(sqs, letters).await;
        let done = loop {
            match replay.step().await {
                Ok(0) => break Ok(()),
                Ok(handled) => bar.inc(handled as u64),
                Err(failure) => break Err(failure),
            }
        };
        bar.finish_and_clear();
        replay.sweep.release().await;
        let report = replay.report();
        if let Err(failure) = done {
            let replayed = report.replayed.total;
            return Err(Failure::error(format!("{failure} ({replayed} replayed before that; run the command again)")));
        }
        report.print(json)?;
        let trouble = report.came_back + report.not_sent + report.not_deleted > 0;
        Ok(if trouble { Outcome::NeedsAttention } else { Outcome::Done })
    }
}

struct Replay<'a> {
    args: &'a ReplayArgs,
    sqs: &'a Client,
    letters: &'a str,
    queue: &'a str,
    sweep: Sweep<'a>,
    /// Bodies sent in this run: one that comes back has failed again.
    sent: HashSet<u64>,
    replayed: Tally,
    /// Room left under the limit.
    room: usize,
    left: usize,
    came_back: usize,
    not_sent: usize,
    not_deleted: usize,
}

impl<'a> Replay<'a> {
    fn new(args: &'a ReplayArgs, sqs: &'a Client, letters: &'a str, queue: &'a str) -> Self {
        Self {
            args,
            sqs,
            letters,
            queue,
            sweep: Sweep::new(sqs, letters, HOLD),
            sent: HashSet::new(),
            replayed: Tally::default(),
            room: args.limit.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX),
            left: 0,
            came_back: 0,
            not_sent: 0,
            not_deleted: 0,
        }
    }

    /// Handles the next few letters; 0 at the end.
    async fn step(&mut self) -> Result<usize> {
        if self.room == 0 {
            return Ok(0);
        }
        let messages = self.sweep.next().await?;
        let handled = messages.len();
        let meant: Vec<_> = messages.into_iter().filter(|m| self.is_meant(m)).collect();
        let mut from = 0;
        while from < meant.len() {
            let to = from + fitting(meant[from..].iter().map(size));
            self.send(&meant[from..to]).await.inspect_err(|_| meant[from..].iter().for_each(|m| self.sweep.hold(m)))?;
            from = to;
        }
        Ok(handled)
    }

    /// Whether to replay a letter. One that is not is held, and counted.
    fn is_meant(&mut self, message: &Message) -> bool {
        let letter = Letter::read(message);
        let came_back = self.sent.contains(&key(message.body()));
        let meant = self.room > 0 && !came_back && self.args.filter.admits(&letter);
        if meant && self.args.dry_run {
            self.replayed.add(&letter);
        }
        self.room -= usize::from(meant);
        self.came_back += usize::from(came_back);
        self.left += usize::from(!meant && !came_back);
        if !meant || self.args.dry_run {
            self.sweep.hold(message);
        }
        meant && !self.args.dry_run
    }

    /// Sends up to ten letters, then deletes those that the queue has taken.
    async fn send(&mut self, messages: &[Message]) -> Result<()> {
        let entries = messages.iter().zip(0..).map(|(m, n)| entry(n, m)).collect::<Result<_>>()?;
        let call = self.sqs.send_message_batch().queue_url(self.queue).set_entries(Some(entries));
        let answer = call.send().await.map_err(on_aws("send to the queue of notifications"))?;
        let taken: HashSet<_> = answer.successful.iter().filter_map(|s| s.id.parse::<usize>().ok()).collect();
        for (n, message) in messages.iter().enumerate() {
            if taken.contains(&n) {
                self.sent.insert(key(message.body()));
                self.replayed.add(&Letter::read(message));
            } else {
                self.not_sent += 1;
                self.sweep.hold(message);
            }
        }
        let sent = messages.iter().enumerate().filter(|(n, _)| taken.contains(n)).map(|(_, m)| m);
        self.delete(sent).await
    }

    async fn delete(&mut self, messages: impl Iterator<Item = &Message>) -> Result<()> {
        let entries: Vec<_> = messages
            .zip(0..)
            .filter_map(|(m, n)| {
                let entry = DeleteMessageBatchRequestEntry::builder().id(n.to_string());
                entry.receipt_handle(m.receipt_handle()?).build().ok()
            })
            .collect();
        if entries.is_empty() {
            return Ok(());
        }
        let call = self.sqs.delete_message_batch().queue_url(self.letters).set_entries(Some(entries));
        let answer = call.send().await.map_err(on_aws("delete what was sent from the dead-letter queue"))?;
        self.not_deleted += answer.failed.len();
        Ok(())
    }

    fn report(self) -> Report {
        Report {
            dry_run: self.args.dry_run,
            replayed: self.replayed.finish(Timestamp::now()),
            left: self.left,
            came_back: self.came_back,
            not_sent: self.not_sent,
            not_deleted: self.not_deleted,
        }
    }
}

/// A letter as it is sent again: body, attributes and X-Ray trace as they were.
fn entry(n: usize, message: &Message) -> Result<SendMessageBatchRequestEntry> {
    let mut entry =
        SendMessageBatchRequestEntry::builder().id(n.to_string()).message_body(message.body().unwrap_or_default());
    let attributes = kept_attributes(message);
    if !attributes.is_empty() {
        entry = entry.set_message_attributes(Some(attributes));
    }
    let trace = message.attributes().and_then(|a| a.get(&MessageSystemAttributeName::AwsTraceHeader));
    if let Some(trace) = trace {
        let value = MessageSystemAttributeValue::builder().data_type("String").string_value(trace).build();
        let value = value.map_err(|e| Failure::error(e.to_string()))?;
        entry = entry.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, value);
    }
    entry.build().map_err(|e| Failure::error(e.to_string()))
}

fn size(message: &Message) -> usize {
    message.body().map_or(0, str::len)
}

/// How many of these messages go into one call: at least one, and at most ten.
fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    let mut bytes = 0;
    let fit = sizes.take(10).take_while(|size| {
        bytes += size;
        bytes <= MAX_BATCH_BYTES
    });
    fit.count().max(1)
}

impl Report {
    fn print(&self, json: bool) -> Result<()> {
        if json {
            return Ok(output::json(self)?);
        }
        let (verb, total) = (if self.dry_run { "would replay" } else { "replayed" }, self.replayed.total);
        if total > 0 {
            output::line(&table(self.replayed.groups(), Timestamp::now()))?;
        }
        output::line(&format!("{verb} {total}, left {}", self.left))?;
        for (count, what) in [
            (self.came_back, "failed again while this ran, and stay dead letters: see `cpis dlq list`"),
            (self.not_sent, "were not taken by the queue, and stay dead letters: replay again"),
            (self.not_deleted, "were sent but not deleted: replay again, each still arrives once"),
        ] {
            if count > 0 {
                eprintln!("note: {count} {what}");
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_cut_by_count_and_by_bytes() {
        assert_eq!(fitting([1_000; 25].into_iter()), 10);
        assert_eq!(fitting([100 * 1024; 10].into_iter()), 7);
        assert_eq!(fitting([900 * 1024, 1].into_iter()), 1, "one alone is for the queue to refuse");
        assert_eq!(fitting([3].into_iter()), 1);
    }

    #[test]
    fn a_letter_is_sent_with_its_body_and_trace() {
        let message = Message::builder()
            .body("{}")
            .attributes(MessageSystemAttributeName::AwsTraceHeader, "Root=1-67891233-abcdef012345678912345678")
            .build();
        let sent = entry(3, &message).expect("complete");
        assert_eq!((sent.id(), sent.message_body(), sent.message_attributes()), ("3", "{}", None));
        let traces = sent.message_system_attributes().expect("kept");
        let trace = traces[&MessageSystemAttributeNameForSends::AwsTraceHeader].string_value();
        assert_eq!(trace, Some("Root=1-67891233-abcdef012345678912345678"));
    }
}
