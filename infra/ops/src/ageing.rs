//! `cpis ageing`: how long notifications lie in the authorities' mailboxes.

use clap::Args;
use cpis::{
    aws::{Dynamo, Tables},
    domain::{
        ageing::{Ageing, Quantiles},
        authority::AuthorityCode,
        notification::State,
    },
    ports::{MailboxReader, PageRequest, PortResult},
    usecase::mailbox::ageing,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    cli::help,
    directory,
    failure::{Failure, Outcome, Result},
    output,
    stack::StackArgs,
};

/// Unread notifications that are fetched at a time.
const PAGE: usize = 100;
/// Mailboxes that are read at once.
const CONCURRENCY: usize = 8;

/// Which mailboxes.
#[derive(Debug, Args)]
#[command(after_help = help!("  cpis ageing
  cpis ageing E06000001
  cpis ageing --json

Those whose oldest unread notification has lain longest come first. 30 DAYS counts the notifications of the last 30 days, READ \
those of them that were acknowledged and not actioned yet. Half were delivered or read within the first time, 95 % within the second. \
OLDEST is how long the oldest unread one has lain, however old it is.

Needs attention (status 3): something was escalated and is still unread, however old it is."))]
pub(crate) struct AgeingArgs {
    /// GSS code of one authority; left out, all that have had a notification
    code: Option<String>,
    #[command(flatten)]
    stack: StackArgs,
}

impl AgeingArgs {
    pub(crate) async fn run(self, json: bool) -> Result<Outcome> {
        let one = self.code.as_deref().map(AuthorityCode::parse).transpose();
        let one = one.map_err(|e| Failure::usage(e.to_string()))?;
        let stack = self.stack.open().await?;
        let codes = match &one {
            Some(code) => vec![code.clone()],
            None => directory::authorities_of(&stack).await?.into_iter().map(|authority| authority.code).collect(),
        };
        let tables = Tables { mailbox: stack.output("MailboxTable")?.to_owned(), ..Tables::default() };
        let (store, now) = (Dynamo::new(&stack.config, tables), Timestamp::now());
        let looked = stream::iter(&codes).map(|code| look(&store, code, now)).buffered(CONCURRENCY);
        let mut mailboxes: Vec<Mailbox> =
            looked.try_collect().await.map_err(|e| Failure::error(format!("cannot read the mailboxes: {e}")))?;
        mailboxes.retain(|mailbox| one.is_some() || mailbox.is_used());
        mailboxes.sort_by_key(|mailbox| std::cmp::Reverse(mailbox.report.oldest_unread_seconds));
        if json {
            output::json(&mailboxes)?
        } else {
            output::line(&table(&mailboxes))?
        }
        let late: Vec<_> = mailboxes.iter().filter(|mailbox| mailbox.escalated_unread).collect();
        for Mailbox { report, .. } in &late {
            output::note(format_args!("{} has not read what was escalated", report.authority));
        }
        Ok(if late.is_empty() { Outcome::Done } else { Outcome::NeedsAttention })
    }
}

/// What is told of an authority.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Mailbox {
    #[serde(flatten)]
    report: Ageing,
    /// Whether anything that was escalated is unread still, however old it is.
    escalated_unread: bool,
}

impl Mailbox {
    /// Whether there is anything to tell: of the last thirty days, or unread from before.
    fn is_used(&self) -> bool {
        self.report.notifications > 0 || self.report.oldest_unread_seconds.is_some()
    }
}

async fn look(store: &impl MailboxReader, code: &AuthorityCode, now: Timestamp) -> PortResult<Mailbox> {
    let report = ageing(store, code, now).await?;
    let escalated_unread = report.oldest_unread_seconds.is_some() && escalated_unread(store, code).await?;
    Ok(Mailbox { report, escalated_unread })
}

/// Whether anything unread was escalated. The oldest come first, so that it is found soon where there is any.
async fn escalated_unread(store: &impl MailboxReader, code: &AuthorityCode) -> PortResult<bool> {
    let mut page = PageRequest { limit: PAGE, after: None };
    loop {
        let found = store.notifications(code, Some(State::Unread), &page).await?;
        if found.items.iter().flatten().any(|held| held.escalated_at.is_some()) {
            return Ok(true);
        }
        page.after = found.next;
        if page.after.is_none() {
            return Ok(false);
        }
    }
}

fn table(mailboxes: &[Mailbox]) -> String {
    const HEADINGS: [&str; 9] = [
        "AUTHORITY",
        "30 DAYS",
        "UNREAD",
        "OLDEST",
        "READ",
        "ACTIONED",
        "ESCALATED",
        "DELIVERED p50/p95",
        "READ p50/p95",
    ];
    let row = |Mailbox { report, .. }: &Mailbox| {
        let oldest = report.oldest_unread_seconds.map_or_else(|| "-".to_owned(), lasted);
        let quantiles = |q: &Option<Quantiles>| {
            q.map_or_else(|| "-".to_owned(), |q| format!("{} / {}", lasted(q.p50), lasted(q.p95)))
        };
        [
            report.authority.to_string(),
            report.notifications.to_string(),
            report.unread.to_string(),
            oldest,
            report.acknowledged.to_string(),
            report.actioned.to_string(),
            report.escalated.to_string(),
            quantiles(&report.to_deliver),
            quantiles(&report.to_acknowledge),
        ]
    };
    output::table(HEADINGS, &mailboxes.iter().map(row).collect::<Vec<_>>())
}

/// A time to the unit that matters.
fn lasted(seconds: i64) -> String {
    output::ago(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use cpis::{
        domain::{
            notification::{Delivered, Notification, Taken},
            reading::Reading,
            ways_out::WaysOut,
        },
        memory::Register,
        ports::{Mailbox as _, MailboxMarks, MailboxWatch},
    };
    use serde_json::json;
    use uuid::Uuid;

    use super::*;

    const NOW: &str = "2026-11-22T12:00:00Z";

    fn delivered(authority: &str, days_ago: i64) -> Delivered {
        let at = NOW.parse::<Timestamp>().expect("valid") - SignedDuration::from_hours(24 * days_ago);
        let notification: Notification = serde_json::from_value(json!({
            "id": Uuid::new_v4(), "accessId": Uuid::nil(), "authority": authority, "at": at, "nhsNumber": "9990000018",
            "localIds": [], "viewer": {"name": "Sam Sample"}, "organisation": {"name": "Sample"}, "traceId": Uuid::nil(),
        }))
        .expect("a notification");
        Delivered::new(notification, at, &WaysOut::default(), &Reading::default())
    }

    /// How the mailbox of an authority looks that has these: days ago, whether escalated, whether read since.
    async fn mailbox(held: &[(i64, bool, bool)]) -> Mailbox {
        let (store, code) = (Register::default(), AuthorityCode::parse("E06000001").expect("valid"));
        let now = NOW.parse().expect("valid");
        for (days_ago, escalated, read) in held {
            let held = delivered(code.as_str(), *days_ago);
            store.deliver(&held).await.expect("delivered");
            if *escalated {
                assert!(store.escalate(&held, now, &[]).await.expect("escalated"));
            }
            if *read {
                let taken = Taken { at: now, by: "duty team".into() };
                let _ = store.mark(&code, held.notification.id, State::Acknowledged, &taken).await.expect("read");
            }
        }
        look(&store, &code, now).await.expect("a mailbox")
    }

    #[test]
    fn r85_r90_what_lies_for_longest_is_told_and_what_was_escalated_and_is_unread_needs_attention() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for (held, used, attention) in [
            (&[][..], false, false),
            // Everything is older than the report's thirty days: the worst mailbox of all.
            (&[(60, true, false)], true, true),
            (&[(60, false, false)], true, false),
            (&[(60, true, true)], false, false),
            (&[(2, true, false)], true, true),
            // What was escalated has been read, and what is unread was not escalated.
            (&[(2, true, true), (1, false, false)], true, false),
        ] {
            let found = runtime.block_on(mailbox(held));
            assert_eq!((found.is_used(), found.escalated_unread), (used, attention), "{held:?}");
        }
    }

    #[test]
    fn r90_a_report_is_one_line_of_the_table_and_fits_a_terminal() {
        let report = |to_deliver, to_acknowledge| Ageing {
            authority: AuthorityCode::parse("E06000001").expect("valid"),
            as_of: Timestamp::UNIX_EPOCH,
            since: Timestamp::UNIX_EPOCH,
            notifications: 41,
            unread: 2,
            acknowledged: 30,
            actioned: 9,
            escalated: 1,
            oldest_unread_seconds: Some(5_400),
            to_deliver: Some(to_deliver),
            to_acknowledge,
        };
        let quick = Quantiles { p50: 1, p95: 3 };
        let slow = Quantiles { p50: 7_199, p95: 7_199 };
        let reports = [report(quick, None), report(slow, Some(slow))];
        let table = table(&reports.map(|report| Mailbox { report, escalated_unread: true }));
        let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[1], "E06000001 41 2 90 min 30 9 1 1 s / 3 s -");
        assert_eq!(lines[2], "E06000001 41 2 90 min 30 9 1 119 min / 119 min 119 min / 119 min");
        assert!(table.lines().all(|line| line.len() <= 100), "{table}");
    }
}
