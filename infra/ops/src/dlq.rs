//! `cpis dlq`: notifications that could not be delivered.

mod letter;
mod replay;

use std::{collections::BTreeMap, time::Duration};

use aws_sdk_sqs::{Client, types::QueueAttributeName};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    cli::help,
    failure::{Outcome, Result, on_aws},
    output,
    stack::StackArgs,
    sweep::Sweep,
};
use letter::Letter;
use replay::ReplayArgs;

/// For how long a listing holds messages out of sight.
const LIST_HOLD: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(crate) struct DlqArgs {
    #[command(subcommand)]
    command: DlqCommand,
    #[command(flatten)]
    stack: StackArgs,
}

#[derive(Debug, Subcommand)]
enum DlqCommand {
    /// Count the dead letters by reason, authority and age, leaving them where they are
    #[command(after_help = help!("  cpis dlq list
  cpis dlq list --json

Reasons: authority-closed, authority-unknown, step-failed (a table or queue did not answer), unreadable, and redriven: \
the queue itself set the message aside because deliveries ended without a word. Nothing that identifies a child is shown."))]
    List,
    /// Send dead letters back for delivery, all or some
    #[command(after_help = help!("  cpis dlq replay --dry-run
  cpis dlq replay --reason authority-closed --authority E06000001
  cpis dlq replay --id 6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f
  cpis dlq replay --limit 10

Filters of different kinds must all fit; of one kind given several times, one must. A letter is deleted only once \
the queue has taken it. Ending the command at any moment loses nothing; at worst a notification is sent twice, and \
reaches its mailbox once. A letter that comes back while the command runs is left where it is, and the exit status is 3."))]
    Replay(ReplayArgs),
}

impl DlqArgs {
    pub(crate) async fn run(self, json: bool) -> Result<Outcome> {
        let stack = self.stack.open().await?;
        let sqs = stack.sqs();
        let letters = stack.output("AsnDlqUrl")?;
        match self.command {
            DlqCommand::List => list(&DeadLetters::read(&sqs, letters).await?, json)?,
            DlqCommand::Replay(args) => return args.run(&sqs, letters, stack.output("AsnQueueUrl")?, json).await,
        }
        Ok(Outcome::Done)
    }
}

/// What is in a dead-letter queue.
#[derive(Debug, Default, Serialize)]
pub(crate) struct DeadLetters {
    total: usize,
    groups: Vec<Group>,
    ages: Ages,
}

/// Letters with a reason and an authority in common.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Group {
    pub(crate) reason: String,
    pub(crate) authority: String,
    pub(crate) count: usize,
    /// When the first of them was given up.
    pub(crate) oldest: Option<Timestamp>,
    /// When the last of them was given up.
    pub(crate) newest: Option<Timestamp>,
}

/// How many letters were given up how long ago. After 14 days the queue deletes them.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ages {
    under_an_hour: usize,
    under_a_day: usize,
    under_a_week: usize,
    older: usize,
}

impl DeadLetters {
    /// Reads the whole queue and leaves everything in it.
    pub(crate) async fn read(sqs: &Client, queue: &str) -> Result<Self> {
        let bar = progress(sqs, queue).await;
        let mut sweep = Sweep::new(sqs, queue, LIST_HOLD);
        let mut tally = Tally::default();
        let read = loop {
            match sweep.next().await {
                Ok(messages) if messages.is_empty() => break Ok(()),
                Ok(messages) => messages.iter().for_each(|m| {
                    sweep.hold(m);
                    tally.add(&Letter::read(m));
                    bar.inc(1);
                }),
                Err(failure) => break Err(failure),
            }
        };
        sweep.release().await;
        bar.finish_and_clear();
        read.map(|()| tally.finish(Timestamp::now()))
    }

    /// When the oldest was given up.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.groups.iter().filter_map(|g| g.oldest).min()
    }

    /// How many there are.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// Them by reason and authority.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }
}

/// Counts letters; it holds no more than there are groups of them, and their times.
#[derive(Debug, Default)]
struct Tally(BTreeMap<(String, String), Vec<Option<Timestamp>>>);

impl Tally {
    fn add(&mut self, letter: &Letter) {
        self.0.entry((letter.reason.clone(), letter.authority.clone())).or_default().push(letter.since);
    }

    fn finish(self, now: Timestamp) -> DeadLetters {
        let mut found = DeadLetters::default();
        for ((reason, authority), times) in self.0 {
            found.total += times.len();
            times.iter().flatten().for_each(|since| found.ages.add(*since, now));
            let (oldest, newest) = (times.iter().flatten().min().copied(), times.iter().flatten().max().copied());
            found.groups.push(Group { reason, authority, count: times.len(), oldest, newest });
        }
        found
    }
}

impl Ages {
    fn add(&mut self, since: Timestamp, now: Timestamp) {
        let slot = match now.duration_since(since).as_hours() {
            ..1 => &mut self.under_an_hour,
            1..24 => &mut self.under_a_day,
            24..168 => &mut self.under_a_week,
            _ => &mut self.older,
        };
        *slot += 1;
    }
}

fn list(found: &DeadLetters, json: bool) -> Result<()> {
    if json {
        return Ok(output::json(found)?);
    }
    if found.total == 0 {
        return Ok(output::line("no dead letters")?);
    }
    output::line(&table(&found.groups, Timestamp::now()))?;
    let Ages { under_an_hour, under_a_day, under_a_week, older } = found.ages;
    let ages = format!(
        "{under_an_hour} under an hour old, {under_a_day} under a day, {under_a_week} under a week, {older} older"
    );
    Ok(output::line(&format!("{} in all: {ages}", found.total))?)
}

/// Groups as a table.
pub(crate) fn table(groups: &[Group], now: Timestamp) -> String {
    let age = |since: Option<Timestamp>| since.map_or_else(|| "-".into(), |s| output::ago(s, now));
    let row = |g: &Group| [g.count.to_string(), g.reason.clone(), g.authority.clone(), age(g.oldest), age(g.newest)];
    output::table(["COUNT", "REASON", "AUTHORITY", "OLDEST", "NEWEST"], &groups.iter().map(row).collect::<Vec<_>>())
}

/// A bar on stderr where that is a terminal, as long as the queue roughly is.
async fn progress(sqs: &Client, queue: &str) -> ProgressBar {
    let name = QueueAttributeName::ApproximateNumberOfMessages;
    let call = sqs.get_queue_attributes().queue_url(queue).attribute_names(name.clone());
    let answer = call.send().await.map_err(on_aws("ask for the length of the queue")).ok();
    let count = answer.and_then(|a| a.attributes?.get(&name)?.parse().ok()).unwrap_or(0);
    let style = ProgressStyle::with_template("{bar:30} {pos} of about {len} messages  {elapsed}, {eta} left");
    ProgressBar::new(count).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_by_reason_authority_and_age() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().expect("valid");
        let letter = |reason: &str, authority: &str, hours: i64| Letter {
            reason: reason.into(),
            authority: authority.into(),
            notification: None,
            since: Some(now - jiff::SignedDuration::from_hours(hours)),
        };
        let mut tally = Tally::default();
        for letter in [
            letter("step-failed", "E06000001", 0),
            letter("step-failed", "E06000001", 30),
            letter("authority-closed", "E06000001", 23),
            letter("authority-closed", "E06000002", 24),
            letter("authority-closed", "E06000002", 168),
            Letter { since: None, ..letter("redriven", "unknown", 0) },
        ] {
            tally.add(&letter);
        }
        let found = tally.finish(now);
        assert_eq!((found.total, found.oldest()), (6, Some(now - jiff::SignedDuration::from_hours(168))));
        assert_eq!(found.ages, Ages { under_an_hour: 1, under_a_day: 1, under_a_week: 2, older: 1 });
        let said = table(&found.groups, now);
        let expected = "\
COUNT  REASON            AUTHORITY  OLDEST  NEWEST
    1  authority-closed  E06000001  23 h    23 h
    2  authority-closed  E06000002  7 days  24 h
    1  redriven          unknown    -       -
    2  step-failed       E06000001  30 h    0 s";
        assert_eq!(said, expected);
    }
}
