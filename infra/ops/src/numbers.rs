//! `cpis numbers`: changes of NHS numbers, where no feed of the Personal Demographics Service brings them.

use std::path::{Path, PathBuf};

use aws_sdk_sqs::types::{MessageAttributeValue, SendMessageBatchRequestEntry};
use clap::{Args, Subcommand};
use cpis::{
    domain::{
        audit::{Entry, kind},
        nhs_number::NhsNumber,
        notice::NumberChange,
        number_change::NumberChangeTold,
    },
    ports::AuditLog,
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

/// Messages in one call (SQS: `SendMessageBatch`).
const BATCH: usize = 10;
/// The columns, in any order. All must be there: a file that does not say who was adopted must not pass for one that says nobody.
const COLUMNS: [&str; 4] = ["nhs_number", "change", "new_number", "adopted"];

#[derive(Debug, Args)]
pub(crate) struct NumbersArgs {
    #[command(subcommand)]
    command: NumbersCommand,
    #[command(flatten)]
    stack: StackArgs,
}

#[derive(Debug, Subcommand)]
enum NumbersCommand {
    /// Tell of NHS numbers that were superseded or became inactive; authorities that hold plans under them are told
    #[command(after_help = help!("  cpis numbers send changes.csv --because 'tracing results of 3 May'

FILE is CSV with the columns nhs_number, change (superseded or inactive), new_number (may be empty) and adopted (true or false). \
A new number is never passed on after an adoption. Rows that are wrong are told, by row and reason, and the others are sent. \
Sending a file again changes nothing.

Needs attention (status 3): rows were not sent."))]
    Send {
        /// The changes
        file: PathBuf,
        #[command(flatten)]
        operator: Operator,
    },
}

/// A row that is not sent. It says nothing of what stands in it (R31).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Rejected {
    /// From 1, the heading not counted.
    row: usize,
    reason: &'static str,
}

/// What a file tells.
#[derive(Debug, Default)]
struct Changes {
    good: Vec<NumberChangeTold>,
    rejected: Vec<Rejected>,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    sent: usize,
    rejected: &'a [Rejected],
}

impl NumbersArgs {
    pub(crate) async fn run(self, json: bool) -> Result<Outcome> {
        let NumbersCommand::Send { file, operator } = &self.command;
        let why = operator.because("sending changes of numbers")?;
        let changes = read(file)?;
        let stack = self.stack.open().await?;
        tell(&stack, &changes, operator, why).await?;
        send(&stack, &changes.good).await?;
        let report = Report { sent: changes.good.len(), rejected: &changes.rejected };
        if json {
            output::json(&report)?;
        } else {
            output::line(&format!("{} changes sent", report.sent))?;
            for Rejected { row, reason } in report.rejected {
                output::line(&format!("row {row} not sent: {reason}"))?;
            }
        }
        Ok(if changes.rejected.is_empty() { Outcome::Done } else { Outcome::NeedsAttention })
    }
}

fn read(file: &Path) -> Result<Changes> {
    let bytes = std::fs::read(file).map_err(crate::failure::on_file(file))?;
    parse(&bytes).map_err(|problem| Failure::error(format!("{}: {problem}", file.display())))
}

fn parse(bytes: &[u8]) -> std::result::Result<Changes, &'static str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(bytes);
    let headings = reader.byte_headers().map_err(|_| "is not CSV")?.clone();
    let place = |column: &str| headings.iter().position(|heading| heading.eq_ignore_ascii_case(column.as_bytes()));
    let places: Option<Vec<_>> = COLUMNS.iter().map(|column| place(column)).collect();
    let places = places.filter(|_| headings.len() == COLUMNS.len());
    let places = places.ok_or("its columns must be nhs_number, change, new_number and adopted, and no others")?;
    let mut changes = Changes::default();
    for (row, record) in (1..).zip(reader.into_byte_records()) {
        let record = record.map_err(|_| "is not CSV").ok().filter(|record| record.len() == COLUMNS.len());
        let fields: Option<Vec<_>> =
            record.as_ref().and_then(|r| places.iter().map(|at| std::str::from_utf8(r.get(*at)?).ok()).collect());
        match fields.as_deref().map_or(Err("does not have its four fields"), change) {
            Ok(change) => changes.good.push(change),
            Err(reason) => changes.rejected.push(Rejected { row, reason }),
        }
    }
    Ok(changes)
}

fn change(fields: &[&str]) -> std::result::Result<NumberChangeTold, &'static str> {
    let [number, change, new, adopted] = fields else { return Err("does not have its four fields") };
    let number = NhsNumber::parse(number).map_err(|_| "nhs_number is no NHS number")?;
    let change = match *change {
        "superseded" => NumberChange::Superseded,
        "inactive" => NumberChange::Inactive,
        _ => return Err("change is neither superseded nor inactive"),
    };
    let new = (!new.is_empty()).then(|| NhsNumber::parse(new)).transpose();
    let new = new.map_err(|_| "new_number is no NHS number")?;
    let adopted = match *adopted {
        "true" => true,
        "false" => false,
        _ => return Err("adopted is neither true nor false"),
    };
    // By it the change is followed up, should it become a dead letter.
    let id = Some(Uuid::new_v4());
    NumberChangeTold::new(number, change, new, adopted, id).map_err(|_| "new_number is the same as nhs_number")
}

/// R45: the audit log first; nothing is sent untold.
async fn tell(stack: &Stack, changes: &Changes, operator: &Operator, why: &str) -> Result<()> {
    let entry = Entry::new(Uuid::new_v4(), Timestamp::now(), kind::NUMBER_CHANGES, operator.actor()?, "")
        .with("changes", changes.good.len())
        .with("rejected", changes.rejected.len())
        .with("why", why);
    let told = stack.audit_log()?.append(&[entry]).await;
    told.map_err(|e| Failure::error(format!("cannot write to the audit log, and nothing is done untold: {e}")))
}

async fn send(stack: &Stack, changes: &[NumberChangeTold]) -> Result<()> {
    let (sqs, url) = (stack.sqs(), stack.output("NumberChangesQueueUrl")?);
    let mut unsent = 0;
    for batch in changes.chunks(BATCH) {
        let entries = batch.iter().enumerate().map(entry).collect::<Result<Vec<_>>>()?;
        let sent = sqs.send_message_batch().queue_url(url).set_entries(Some(entries)).send().await;
        // Only what the queue says it has, it has.
        unsent += batch.len() - sent.map_err(on_aws("send to the queue; send the file again"))?.successful().len();
    }
    if unsent > 0 {
        return Err(Failure::error(format!(
            "the queue did not take {unsent} of {} changes; send the file again: what was sent twice changes nothing",
            changes.len()
        )));
    }
    Ok(())
}

fn entry((number, change): (usize, &NumberChangeTold)) -> Result<SendMessageBatchRequestEntry> {
    let body = serde_json::to_string(change).map_err(|e| Failure::error(e.to_string()))?;
    let kind = MessageAttributeValue::builder().data_type("String").string_value(kind::NUMBER_CHANGES).build();
    let kind = kind.map_err(|e| Failure::error(e.to_string()))?;
    let entry = SendMessageBatchRequestEntry::builder().id(number.to_string()).message_body(body);
    entry.message_attributes("kind", kind).build().map_err(|e| Failure::error(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "9990000018";
    const NEW: &str = "9990000026";

    #[test]
    fn r88_good_rows_are_sent_and_bad_ones_told_by_row_and_reason() {
        let file = format!(
            "\u{feff}Adopted,new_number,NHS_NUMBER,change\r\nfalse,{NEW},{OLD},superseded\n false ,,{OLD},inactive\n\
             false,{NEW},9990000019,superseded\nfalse,12,{OLD},superseded\nfalse,,{OLD},lost\n,,{OLD},inactive\n\
             no,,{OLD},inactive\nfalse,{OLD},{OLD},superseded\nfalse,{OLD}\ntrue,{NEW},{OLD},superseded\n"
        );
        let changes = parse(file.as_bytes()).expect("CSV");
        let rows: Vec<_> = changes.rejected.iter().map(|r| r.row).collect();
        assert_eq!(rows, [3, 4, 5, 6, 7, 8, 9]);
        assert!(changes.rejected.iter().all(|r| !r.reason.contains("999")));
        let sent: Vec<_> = changes.good.iter().map(|c| serde_json::to_string(c).expect("JSON")).collect();
        assert_eq!(sent.iter().map(|body| body.contains(NEW)).collect::<Vec<_>>(), [true, false, false], "{sent:?}");
    }

    #[test]
    fn r88_a_file_that_does_not_say_who_was_adopted_is_refused() {
        for headings in [
            "nhs_number,change,new_number",
            "nhs_number,change,new_number,adoption",
            "nhs_number,change,new_number,adopted,adopted",
            "nhs_number,change,new_number,new_number",
            "",
        ] {
            assert!(parse(format!("{headings}\n{OLD},inactive,,\n").as_bytes()).is_err(), "{headings}");
        }
    }
}
