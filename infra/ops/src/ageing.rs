//! `cpis ageing`: how long notifications lie in the authorities' mailboxes.

use clap::Args;
use cpis::{
    aws::{Dynamo, Tables},
    domain::{
        ageing::{Ageing, Quantiles},
        authority::AuthorityCode,
    },
    usecase::mailbox::ageing,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use crate::{
    cli::help,
    directory,
    failure::{Failure, Outcome, Result},
    output,
    stack::StackArgs,
};

/// Mailboxes that are read at once.
const CONCURRENCY: usize = 8;

/// Which mailboxes.
#[derive(Debug, Args)]
#[command(after_help = help!("  cpis ageing
  cpis ageing E06000001
  cpis ageing --json

Those whose oldest unread notification has lain longest come first. Needs attention (status 3): something was escalated and is
still unread in the last thirty days."))]
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
        let reports = stream::iter(&codes).map(|code| ageing(&store, code, now)).buffered(CONCURRENCY);
        let mut reports: Vec<_> =
            reports.try_collect().await.map_err(|e| Failure::error(format!("cannot read the mailboxes: {e}")))?;
        reports.retain(|report: &Ageing| one.is_some() || report.notifications + report.unread > 0);
        reports.sort_by_key(|report| std::cmp::Reverse(report.oldest_unread_seconds));
        if json {
            output::json(&reports)?
        } else {
            output::line(&table(&reports))?
        }
        let late = reports.iter().any(|report| report.escalated > 0 && report.unread > 0);
        Ok(if late { Outcome::NeedsAttention } else { Outcome::Done })
    }
}

fn table(reports: &[Ageing]) -> String {
    const HEADINGS: [&str; 8] = [
        "AUTHORITY",
        "IN 30 DAYS",
        "UNREAD",
        "ACKNOWLEDGED",
        "ACTIONED",
        "ESCALATED",
        "OLDEST UNREAD",
        "TO DELIVER, READ",
    ];
    let row = |report: &Ageing| {
        let oldest = report.oldest_unread_seconds.map_or_else(|| "-".to_owned(), lasted);
        let quantiles = |q: &Option<Quantiles>| q.map_or_else(|| "-".to_owned(), |q| lasted(q.p95));
        [
            report.authority.to_string(),
            report.notifications.to_string(),
            report.unread.to_string(),
            report.acknowledged.to_string(),
            report.actioned.to_string(),
            report.escalated.to_string(),
            oldest,
            format!("p95 {}, {}", quantiles(&report.to_deliver), quantiles(&report.to_acknowledge)),
        ]
    };
    output::table(HEADINGS, &reports.iter().map(row).collect::<Vec<_>>())
}

/// A time to the unit that matters.
fn lasted(seconds: i64) -> String {
    output::ago(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r90_a_report_is_one_line_of_the_table() {
        let report = Ageing {
            authority: AuthorityCode::parse("E06000001").expect("valid"),
            as_of: Timestamp::UNIX_EPOCH,
            since: Timestamp::UNIX_EPOCH,
            notifications: 41,
            unread: 2,
            acknowledged: 30,
            actioned: 9,
            escalated: 1,
            oldest_unread_seconds: Some(5_400),
            to_deliver: Some(Quantiles { p50: 1, p95: 3 }),
            to_acknowledge: None,
        };
        let table = table(&[report]);
        let line = table.lines().nth(1).expect("a line").split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(line, "E06000001 41 2 30 9 1 90 min p95 3 s, -");
    }
}
