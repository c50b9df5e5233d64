//! `cpis status`: how notifications are getting on.

use std::collections::HashMap;

use aws_sdk_cloudwatch::{
    error::ProvideErrorMetadata,
    primitives::DateTime,
    types::{Dimension, Metric, MetricDataQuery, MetricStat},
};
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::types::QueueAttributeName;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use cpis::{
    aws::keys::{AT_CHILD_ID, OWED},
    domain::notification::Owing,
};

use crate::{
    cli::help,
    dlq::{DeadLetters, table},
    failure::{Outcome, Result, on_aws},
    output,
    stack::{Stack, StackArgs},
};

/// A notification that waits longer than this in its queue is late: five tries with their waits take half of it.
const QUEUE_PATIENCE: SignedDuration = SignedDuration::from_mins(30);
/// An access that owes notifications for longer than this was overlooked: the sweep comes every minute for what is two
/// minutes old.
const OUTBOX_PATIENCE: SignedDuration = SignedDuration::from_mins(5);

#[derive(Debug, Args)]
#[command(after_help = help!("  cpis status
  cpis status --json
  cpis status > /dev/null || echo look

Needs attention (status 3): dead letters of any kind, notifications owed for over 5 minutes, they or changes of numbers queued \
for over 30. The age of what is queued comes from CloudWatch, and is not known where there is none, as on a local emulator."))]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    stack: StackArgs,
}

/// What was found.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    queues: Vec<Queue>,
    outbox: Outbox,
    dead_letters: DeadLetters,
    findings: Vec<Finding>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Queue {
    name: &'static str,
    /// Waiting to be received.
    waiting: u64,
    /// Received, and neither deleted nor back yet.
    in_flight: u64,
    /// Not to be received yet.
    delayed: u64,
    /// When the oldest was sent, as far as that is known.
    oldest: Option<Timestamp>,
}

/// Accesses and notices whose notifications are not all on their way.
#[derive(Debug, Clone, Default, Serialize)]
struct Outbox {
    owed: u64,
    oldest: Option<Timestamp>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    well: bool,
    what: String,
}

/// A queue's name here, and the stack's output that has its address: every queue of the stack.
const QUEUES: [(&str, &str); 8] = [
    (ASN, "AsnQueueUrl"),
    (ASN_DLQ, "AsnDlqUrl"),
    (RELAY_DLQ, "RelayDlqUrl"),
    (PUSH, "PushQueueUrl"),
    (PUSH_DLQ, "PushDlqUrl"),
    (NUMBERS, "NumberChangesQueueUrl"),
    (NUMBERS_DLQ, "NumberChangesDlqUrl"),
    (LEDGER_DLQ, "LedgerDlqUrl"),
];
const ASN: &str = "asn";
const ASN_DLQ: &str = "asn-dlq";
const RELAY_DLQ: &str = "relay-dlq";
const PUSH: &str = "push";
const PUSH_DLQ: &str = "push-dlq";
const NUMBERS: &str = "numbers";
const NUMBERS_DLQ: &str = "numbers-dlq";
const LEDGER_DLQ: &str = "ledger-dlq";

/// Dead letters beside notifications: their queue, what is said where there are none, and of so many.
const OTHERS: [(&str, &str, &str); 4] = [
    (
        PUSH_DLQ,
        "no push was given up",
        "pushes given up (the mailboxes have what they tell of); look at `cpis dlq --pushes list`",
    ),
    (
        NUMBERS_DLQ,
        "no change of a number was given up",
        "changes of numbers given up; look at `cpis dlq --numbers list`, mend the reason, then replay them",
    ),
    (
        RELAY_DLQ,
        "no record of the outbox's stream was given up",
        "records of the outbox's stream given up; what they stood for, the sweep relays: look at `cpis dlq --relay list`",
    ),
    (
        LEDGER_DLQ,
        "no record of the accesses' stream was given up",
        "records of the accesses' stream given up; what they stood for, the sweep writes: look at `cpis dlq --ledger list`",
    ),
];

impl StatusArgs {
    pub(crate) async fn run(self, json: bool) -> Result<Outcome> {
        let stack = self.stack.open().await?;
        let now = Timestamp::now();
        // The queues first: looking through the dead letters puts them in flight for a moment.
        let mut queues = queues(&stack, now).await?;
        let outbox = outbox(&stack).await?;
        let dead_letters = DeadLetters::read(&stack.sqs(), stack.output("AsnDlqUrl")?).await?;
        dead_letters.notes().iter().for_each(output::note);
        for queue in queues.iter_mut().filter(|q| q.name == ASN_DLQ) {
            queue.oldest = dead_letters.oldest().or(queue.oldest);
        }
        let findings = findings(&queues, &outbox, &dead_letters, now);
        let healthy = dead_letters.is_whole() && findings.iter().all(|f| f.well);
        Report { queues, outbox, dead_letters, findings }.print(json, now)?;
        Ok(if healthy { Outcome::Done } else { Outcome::NeedsAttention })
    }
}

async fn queues(stack: &Stack, now: Timestamp) -> Result<Vec<Queue>> {
    let sqs = stack.sqs();
    let urls = QUEUES.map(|(name, output)| stack.output(output).map(|url| (name, url)));
    let urls = urls.into_iter().collect::<Result<Vec<_>>>()?;
    let ages = oldest_messages(stack, &urls, now).await;
    let mut queues = Vec::new();
    for (name, url) in urls {
        let call = sqs.get_queue_attributes().queue_url(url).attribute_names(QueueAttributeName::All);
        let answer = call.send().await.map_err(on_aws("ask for the state of a queue"))?;
        let attributes = answer.attributes.unwrap_or_default();
        let count = |name| attributes.get(&name).and_then(|n| n.parse().ok()).unwrap_or(0);
        let queue = Queue {
            name,
            waiting: count(QueueAttributeName::ApproximateNumberOfMessages),
            in_flight: count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            delayed: count(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
            oldest: ages.get(name).copied(),
        };
        queues.push(queue);
    }
    Ok(queues)
}

/// When the oldest message of each queue was sent, from CloudWatch: only receiving could tell otherwise, and each receive
/// of a live queue counts towards setting the message aside.
async fn oldest_messages(
    stack: &Stack,
    queues: &[(&'static str, &str)],
    now: Timestamp,
) -> HashMap<&'static str, Timestamp> {
    let query = |n: usize, url: &str| {
        let queue = url.rsplit('/').next().unwrap_or_default();
        let metric = Metric::builder().namespace("AWS/SQS").metric_name("ApproximateAgeOfOldestMessage");
        let metric = metric.dimensions(Dimension::builder().name("QueueName").value(queue).build()).build();
        let stat = MetricStat::builder().metric(metric).period(60).stat("Maximum").build();
        MetricDataQuery::builder().id(format!("q{n}")).metric_stat(stat).build()
    };
    let queries = queues.iter().enumerate().map(|(n, (_, url))| query(n, url)).collect();
    let call = aws_sdk_cloudwatch::Client::new(&stack.config).get_metric_data().set_metric_data_queries(Some(queries));
    let call =
        call.start_time(DateTime::from_secs(now.as_second() - 600)).end_time(DateTime::from_secs(now.as_second()));
    let answer = match call.send().await {
        Ok(answer) => answer,
        Err(error) => {
            // A local emulator may have no metrics, and says so without a code: that is no news.
            if error.code().is_some() {
                output::note(on_aws("ask CloudWatch for the age of messages")(error));
            }
            return HashMap::new();
        }
    };
    let found = answer.metric_data_results().iter().filter_map(|result| {
        let (name, _) = queues.get(result.id()?.strip_prefix('q')?.parse::<usize>().ok()?)?;
        // The newest value comes first. An empty queue's is zero.
        let (at, age) = (result.timestamps().first()?, result.values().first().filter(|age| **age > 0.0)?);
        let sent = Timestamp::from_second(at.secs()).ok()? - SignedDuration::try_from_secs_f64(*age).ok()?;
        Some((*name, sent))
    });
    found.collect()
}

/// Counts the outbox, all pages of it. It is in order of time, and each entry's place says since when it is owed: an access and
/// a notice hold that in other places, and what cannot be read holds it nowhere else.
async fn outbox(stack: &Stack) -> Result<Outbox> {
    let call = stack.dynamodb().query().table_name(stack.output("OutboxTable")?).consistent_read(true);
    let call = call.key_condition_expression("mark = :owed");
    let call = call.expression_attribute_values(":owed", AttributeValue::S(OWED.into()));
    let call = call.projection_expression(AT_CHILD_ID);
    let mut pages = call.into_paginator().send();
    let mut outbox = Outbox::default();
    while let Some(page) = pages.next().await {
        let page = page.map_err(on_aws("read the outbox"))?;
        let first = page.items().first().and_then(|item| item.get(AT_CHILD_ID)?.as_s().ok());
        outbox.oldest = outbox.oldest.or(first.map(|position| Owing::since(position.as_str())));
        outbox.owed += page.items().len() as u64;
    }
    Ok(outbox)
}

/// What is well and what is not, and then what to do.
fn findings(queues: &[Queue], outbox: &Outbox, dead_letters: &DeadLetters, now: Timestamp) -> Vec<Finding> {
    let late = |oldest: Option<Timestamp>, patience| oldest.is_some_and(|t| now.duration_since(t) > patience);
    let age =
        |oldest: Option<Timestamp>| oldest.map(|t| format!(", the oldest {}", output::ago(t, now))).unwrap_or_default();
    let queue = |name| queues.iter().find(|q| q.name == name);
    let mut findings = Vec::new();
    let mut add = |well, what| findings.push(Finding { well, what });
    let Outbox { owed, oldest } = *outbox;
    match late(oldest, OUTBOX_PATIENCE) {
        false => add(true, format!("the relay keeps up: {owed} owed{}", age(oldest))),
        true => add(false, format!("the relay is behind: {owed} owed{}; look at the log of asn-relay", age(oldest))),
    }
    if let Some(q) = queue(ASN) {
        let total = q.waiting + q.in_flight + q.delayed;
        match late(q.oldest, QUEUE_PATIENCE) {
            false => add(true, format!("deliveries keep up: {total} queued{}", age(q.oldest))),
            true => add(
                false,
                format!("deliveries are behind: {total} queued{}; look at the log of asn-delivery", age(q.oldest)),
            ),
        }
    }
    let dead = queue(ASN_DLQ).map_or(0, |q| q.waiting + q.in_flight + q.delayed).max(dead_letters.total() as u64);
    match dead {
        0 => add(true, "no notification was set aside".into()),
        n => add(
            false,
            format!("{n} set aside{}; mend the reason, then `cpis dlq replay --because …`", age(dead_letters.oldest())),
        ),
    }
    if let Some(q) = queue(NUMBERS) {
        let total = q.waiting + q.in_flight + q.delayed;
        match late(q.oldest, QUEUE_PATIENCE) {
            false => add(true, format!("changes of numbers keep up: {total} queued{}", age(q.oldest))),
            true => add(
                false,
                format!("changes of numbers are behind: {total} queued{}; look at the log of notices", age(q.oldest)),
            ),
        }
    }
    for (name, none, some) in OTHERS {
        match queue(name).map_or(0, |q| q.waiting + q.in_flight + q.delayed) {
            0 => add(true, none.into()),
            n => add(false, format!("{n} {some}")),
        }
    }
    findings
}

impl Report {
    fn print(&self, json: bool, now: Timestamp) -> Result<()> {
        if json {
            return Ok(output::json(self)?);
        }
        let age = |oldest: Option<Timestamp>| oldest.map_or_else(|| "-".into(), |t| output::ago(t, now));
        let queue = |q: &Queue| {
            let counts = [q.waiting, q.in_flight, q.delayed].map(|n| n.to_string());
            let [waiting, in_flight, delayed] = counts;
            [q.name.to_owned(), waiting, in_flight, delayed, age(q.oldest)]
        };
        let mut rows: Vec<_> = self.queues.iter().map(queue).collect();
        let none = || "-".to_owned();
        rows.insert(0, ["outbox".into(), self.outbox.owed.to_string(), none(), none(), age(self.outbox.oldest)]);
        output::line(&output::table(["QUEUE", "WAITING", "IN FLIGHT", "DELAYED", "OLDEST"], &rows))?;
        if self.dead_letters.total() > 0 {
            output::line(&format!("\n{}", table(self.dead_letters.groups(), now)))?;
        }
        let finding = |f: &Finding| format!("{}  {}", if f.well { "ok       " } else { "ATTENTION" }, f.what);
        let findings: Vec<_> = self.findings.iter().map(finding).collect();
        Ok(output::line(&format!("\n{}", findings.join("\n")))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().expect("valid")
    }

    fn minutes_ago(minutes: i64) -> Option<Timestamp> {
        Some(now() - SignedDuration::from_mins(minutes))
    }

    fn queue(name: &'static str, waiting: u64, oldest: Option<Timestamp>) -> Queue {
        Queue { name, waiting, in_flight: 0, delayed: 0, oldest }
    }

    #[test]
    fn what_needs_attention() {
        let quiet = QUEUES.map(|(name, _)| queue(name, 0, None));
        let none = Outbox::default();
        let with = |changed: Queue| quiet.clone().map(|q| if q.name == changed.name { changed.clone() } else { q });
        for (queues, outbox, unwell) in [
            (quiet.clone(), none.clone(), None),
            (quiet.clone(), Outbox { owed: 3, oldest: minutes_ago(4) }, None),
            (
                quiet.clone(),
                Outbox { owed: 3, oldest: minutes_ago(6) },
                Some("the relay is behind: 3 owed, the oldest 6 min"),
            ),
            (with(queue(ASN, 9, minutes_ago(29))), none.clone(), None),
            (
                with(queue(ASN, 9, minutes_ago(31))),
                none.clone(),
                Some("deliveries are behind: 9 queued, the oldest 31 min"),
            ),
            (with(queue(NUMBERS, 9, minutes_ago(29))), none.clone(), None),
            (
                with(queue(NUMBERS, 9, minutes_ago(31))),
                none.clone(),
                Some("changes of numbers are behind: 9 queued, the oldest 31 min"),
            ),
            (with(queue(ASN_DLQ, 1, None)), none.clone(), Some("1 set aside")),
            (with(queue(RELAY_DLQ, 2, None)), none.clone(), Some("2 records of the outbox's stream given up")),
            (with(queue(LEDGER_DLQ, 1, None)), none.clone(), Some("1 records of the accesses' stream given up")),
            (with(queue(PUSH_DLQ, 1, None)), none.clone(), Some("1 pushes given up")),
            (with(queue(NUMBERS_DLQ, 1, None)), none, Some("1 changes of numbers given up")),
        ] {
            let found = findings(&queues, &outbox, &DeadLetters::default(), now());
            assert_eq!(found.len(), 8);
            let wrong: Vec<_> = found.iter().filter(|f| !f.well).map(|f| f.what.as_str()).collect();
            assert_eq!(wrong.len(), usize::from(unwell.is_some()), "{wrong:?}");
            assert!(wrong.iter().zip(unwell).all(|(found, said)| found.starts_with(said)), "{wrong:?}");
        }
    }

    #[test]
    fn every_queue_of_the_template_is_read_and_every_dead_letter_needs_attention() {
        let template = include_str!("../../../template.yaml");
        let outputs = template.split_once("\nOutputs:\n").expect("outputs").1;
        let names = outputs.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
        let mut queues: Vec<_> = names.filter(|n| n.ends_with("QueueUrl") || n.ends_with("DlqUrl")).collect();
        queues.sort_unstable();
        let mut read = QUEUES.map(|(_, output)| output);
        read.sort_unstable();
        assert_eq!(read.as_slice(), queues);
        assert_eq!(template.matches("Type: AWS::SQS::Queue\n").count(), queues.len(), "each has an output");
        for (name, _) in QUEUES.into_iter().filter(|(_, output)| output.ends_with("DlqUrl")) {
            let found = findings(&[queue(name, 1, None)], &Outbox::default(), &DeadLetters::default(), now());
            assert_eq!(found.iter().filter(|f| !f.well).count(), 1, "{name}");
        }
    }
}
