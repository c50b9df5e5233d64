//! `cpis limits`: who is stopped, what is counted of somebody, and ending a stop.

use aws_sdk_dynamodb::types::AttributeValue;
use clap::{Args, Subcommand};
use cpis::{
    aws::{Dynamo, Tables},
    domain::{
        audit::{Entry, kind},
        setting::is_ods_code,
        watch::{Limits, Mark, Span, Stop, Subject, Window, most_children, most_misses},
    },
    ports::{AuditLog, PortError, StopClearing, Stops, Tally},
};
use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    cli::help,
    failure::{Failure, Outcome, Result, on_aws},
    operator::Operator,
    output,
    stack::{Stack, StackArgs},
};

#[derive(Debug, Args)]
pub(crate) struct LimitsArgs {
    #[command(subcommand)]
    command: LimitsCommand,
    #[command(flatten)]
    stack: StackArgs,
}

#[derive(Debug, Subcommand)]
enum LimitsCommand {
    /// Tell who is stopped, or what was counted of somebody in the last hour
    #[command(after_help = help!("  cpis limits show
  cpis limits show --person 555000000001
  cpis limits show --organisation ZX001 --json

Needs attention (status 3): somebody is stopped now."))]
    Show {
        #[command(flatten)]
        who: Who,
    },
    /// End somebody's stop; what they looked up until now counts towards no further one
    #[command(after_help = help!("  cpis limits clear --person 555000000001 --because 'a ward was moved in the night, INC-20261122'

Looking up works again within 5 seconds. It goes into the audit log first, with who did it and why."))]
    Clear {
        #[command(flatten)]
        who: Who,
        #[command(flatten)]
        operator: Operator,
    },
}

/// Of whom.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Who {
    /// A person, by SDS user id
    #[arg(long, value_name = "USER")]
    person: Option<String>,
    /// A device, as a finding or `cpis limits show` names it: device:ASID:…
    #[arg(long, value_name = "SUBJECT")]
    device: Option<String>,
    /// An organisation, by ODS code
    #[arg(long, value_name = "CODE")]
    organisation: Option<String>,
}

impl Who {
    fn subject(&self) -> Result<Option<Subject>> {
        match self {
            Self { person: Some(user), .. } if is_id(user) => Ok(Some(Subject::person(user))),
            Self { person: Some(_), .. } => Err(Failure::usage("--person is an SDS user id: digits")),
            Self { organisation: Some(code), .. } if is_ods_code(code) => Ok(Some(Subject::organisation(code))),
            Self { organisation: Some(_), .. } => Err(Failure::usage("--organisation is an ODS code")),
            Self { device: Some(text), .. } => match Subject::parse(text).filter(|_| text.starts_with("device:")) {
                Some(subject) => Ok(Some(subject)),
                None => Err(Failure::usage("--device is as a finding names it: device:ASID:…")),
            },
            _ => Ok(None),
        }
    }
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// What is told of a subject.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Standing {
    who: Subject,
    stopped_until: Option<Timestamp>,
    cleared: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<Counts>,
}

/// What was counted within an hour, at the most, of this hour and the one before; with the limits.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    children: usize,
    soft: usize,
    hard: Option<usize>,
    misses_in_a_row: usize,
    misses_soft: usize,
    misses_hard: Option<usize>,
}

impl Counts {
    fn of(subject: &Subject, marks: &[Mark]) -> Self {
        let limits = Limits::of(subject, marks);
        Self {
            children: most_children(marks, 0).0.count,
            soft: limits.children.soft,
            hard: limits.children.hard,
            misses_in_a_row: most_misses(marks, 0).count,
            misses_soft: limits.misses.soft,
            misses_hard: limits.misses.hard,
        }
    }
}

impl Standing {
    fn of(stop: Stop, now: Timestamp) -> Self {
        let stopped_until = stop.seconds_left(now).map(|_| stop.until);
        Self { who: stop.subject, stopped_until, cleared: stop.cleared, counts: None }
    }
}

impl LimitsArgs {
    pub(crate) async fn run(self, json: bool) -> Result<Outcome> {
        // What the arguments alone can tell is told before anything is called.
        let (who, operator) = match &self.command {
            LimitsCommand::Show { who } => (who.subject()?, None),
            LimitsCommand::Clear { who, operator } => (who.subject()?, Some(operator)),
        };
        let told = operator.map(|operator| Ok::<_, Failure>((operator.actor()?, operator.because("clearing a stop")?)));
        let told = told.transpose()?;
        if told.is_some() && who.is_none() {
            return Err(Failure::usage("say whose stop: --person, --device or --organisation"));
        }
        let stack = self.stack.open().await?;
        let tables = Tables { limits: stack.output("LimitsTable")?.to_owned(), ..Tables::default() };
        let limits = Dynamo::new(&stack.config, tables);
        let now = Timestamp::now();
        match (who, told) {
            (Some(subject), Some((actor, why))) => {
                let entry = Entry::new(Uuid::new_v4(), now, kind::LIMITS_CHANGE, actor, "");
                let entry = entry.with("change", "stop-cleared").with("who", &subject).with("why", why);
                let told = stack.audit_log()?.append(&[entry]).await;
                told.map_err(|e| {
                    Failure::error(format!("cannot write to the audit log, and nothing is done untold: {e}"))
                })?;
                limits.clear(&subject, now).await.map_err(failed)?;
                print(&[Standing::of(Stop { subject, until: now, cleared: Some(now) }, now)], json)?;
                Ok(Outcome::Done)
            }
            (Some(subject), None) => show(&[counted(&limits, subject, now).await?], json),
            (None, _) => show(&stopped(&stack, &limits, now).await?, json),
        }
    }
}

fn show(found: &[Standing], json: bool) -> Result<Outcome> {
    print(found, json)?;
    Ok(if found.iter().any(|s| s.stopped_until.is_some()) { Outcome::NeedsAttention } else { Outcome::Done })
}

fn failed(error: PortError) -> Failure {
    Failure::error(format!("cannot use the table of limits: {error}"))
}

/// One subject, with what was counted of it.
async fn counted(limits: &Dynamo, subject: Subject, now: Timestamp) -> Result<Standing> {
    let hour = Span::hour_of(u32::try_from(now.as_second()).unwrap_or_default());
    let window = |span| Window { subject: subject.clone(), span };
    let marks = limits.marks(&[window(hour.before()), window(hour)]).await.map_err(failed)?.concat();
    let stops = limits.stops_of(std::slice::from_ref(&subject)).await.map_err(failed)?;
    let counts = Some(Counts::of(&subject, &marks));
    let none = Standing { who: subject, stopped_until: None, cleared: None, counts: None };
    let standing = stops.into_iter().next().map_or(none, |stop| Standing::of(stop, now));
    Ok(Standing { counts, ..standing })
}

/// Everybody who is stopped now.
async fn stopped(stack: &Stack, limits: &Dynamo, now: Timestamp) -> Result<Vec<Standing>> {
    let scan = stack.dynamodb().scan().table_name(stack.output("LimitsTable")?);
    let scan = scan
        .filter_expression("#span = :stop AND #until > :now")
        .projection_expression("#subject")
        .expression_attribute_names("#span", "span")
        .expression_attribute_names("#until", "until")
        .expression_attribute_names("#subject", "subject")
        .expression_attribute_values(":stop", AttributeValue::S("stop".into()))
        .expression_attribute_values(":now", AttributeValue::N(now.as_second().to_string()));
    let mut pages = scan.into_paginator().items().send();
    let mut subjects = Vec::new();
    while let Some(item) = pages.next().await {
        let item = item.map_err(on_aws("read the table of limits"))?;
        let subject = item.get("subject").and_then(|value| value.as_s().ok()).and_then(|text| Subject::parse(text));
        subjects.extend(subject);
    }
    let stops = limits.stops_of(&subjects).await.map_err(failed)?;
    let standings = stops.into_iter().map(|stop| Standing::of(stop, now));
    Ok(standings.filter(|standing| standing.stopped_until.is_some()).collect())
}

fn print(found: &[Standing], json: bool) -> Result<()> {
    if json {
        return Ok(output::json(&found)?);
    }
    if found.is_empty() {
        return Ok(output::line("nobody is stopped")?);
    }
    let time = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
    let of = |count: usize, soft: usize, hard: Option<usize>| {
        let hard = hard.map_or_else(|| "never stopped".to_owned(), |hard| format!("stopped from {hard}"));
        format!("{count} (flagged from {soft}, {hard})")
    };
    let row = |s: &Standing| {
        let counts = s.counts.as_ref();
        let children = counts.map_or_else(|| "-".into(), |c| of(c.children, c.soft, c.hard));
        let misses = counts.map_or_else(|| "-".into(), |c| of(c.misses_in_a_row, c.misses_soft, c.misses_hard));
        [s.who.to_string(), time(s.stopped_until), time(s.cleared), children, misses]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    let headings = ["WHO", "STOPPED UNTIL", "CLEARED", "CHILDREN IN AN HOUR", "MISSES IN A ROW"];
    Ok(output::line(&output::table(headings, &rows))?)
}

#[cfg(test)]
mod tests {
    use cpis::domain::watch::{HOUR, Traits, Volume};

    use super::*;

    fn who(person: Option<&str>, device: Option<&str>, organisation: Option<&str>) -> Who {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Who { person: own(person), device: own(device), organisation: own(organisation) }
    }

    #[test]
    fn who_is_meant() {
        let text = |who: Who| who.subject().map(|s| s.map(|s| s.to_string()));
        assert!(text(who(None, None, None)).is_ok_and(|s| s.is_none()));
        for (who, subject) in [
            (who(Some("555000000001"), None, None), "person:555000000001"),
            (who(None, Some("device:200000000001:0011223344556677"), None), "device:200000000001:0011223344556677"),
            (who(None, None, Some("ZX001")), "organisation:ZX001"),
        ] {
            assert_eq!(text(who).ok().flatten().as_deref(), Some(subject));
        }
        for who in [who(Some("Alex"), None, None), who(None, Some("person:1"), None), who(None, None, Some("Z X"))] {
            assert!(text(who).is_err());
        }
    }

    #[test]
    fn r55_counts_are_told_with_their_limits() {
        let traits = Traits { unscheduled: true, volume: Volume::Unit, ..Traits::default() };
        let marks: Vec<_> = (0..7).map(|n| Mark { at: HOUR + n, id: 0, child: u64::from(n), traits }).collect();
        let counts = Counts::of(&Subject::person("1"), &marks);
        assert_eq!((counts.children, counts.soft, counts.hard), (7, 90, Some(300)));
        assert_eq!(Counts::of(&Subject::organisation("ZX001"), &marks).hard, None);
    }
}
