//! An upload file and its acknowledgement.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    authority::AuthorityCode,
    contact::Contact,
    plan::Plan,
    record::{Column, Detail, Problem, RawRecord, RecordCode},
};

/// The most records in one file, so that the answer comes within API Gateway's 29 seconds (R34).
pub const MAX_RECORDS: usize = 20_000;
/// The largest file once unpacked, in bytes (R34).
pub const MAX_FILE_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of an answer's rows as Lambda counts them, in JSON within JSON; beside them there is room for the rest of 6 MB (AWS Lambda
/// quotas, payload of a synchronous invocation: 6,291,456 bytes).
const MAX_ROWS_BYTES: usize = 5_500_000;
/// Bytes of the longest [`AlsoRejected`], counted so.
const MAX_BRIEF_BYTES: usize = 110;

/// What stands around the records of a file (R16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Whose file it says it is, where it says so. The path and the token say whose it is (R32).
    pub sender: Option<String>,
    /// The authority's own number of the file, each higher than the one before it, from 1 (R12).
    pub sequence: u64,
    /// When the sender made the file.
    pub created: Timestamp,
    /// The telephone numbers to ring about these children.
    pub contact: Contact,
}

/// A file whose envelope is in order; its records may still be anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadFile {
    /// The envelope.
    pub envelope: Envelope,
    /// SHA-256 of the file's content and envelope, in hex: the same sequence with another digest is refused (R13).
    pub digest: String,
    /// The records, or what is wrong with a row that is none.
    pub records: Vec<Result<RawRecord, RowProblem>>,
}

/// A row that could not be read as a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowProblem {
    /// Its place in the file, from 1.
    pub row: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// CP-ISUploadFileResponse (R14). CPF05 needs the Personal Demographics Service and cannot arise yet;
/// CPF06 waits for the first version of this API to be withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum FileCode {
    /// Corrupt or malformed: nothing was loaded.
    Cpf01,
    /// Every record was loaded.
    Cpf02,
    /// The valid records were loaded, the others rejected.
    Cpf03,
    /// No record was loaded.
    Cpf04,
}

impl FileCode {
    /// The code of a file that could be read (R14). A file without records has nothing left to load.
    #[must_use]
    pub const fn of(loaded: usize, rejected: usize) -> Self {
        match (loaded, rejected) {
            (_, 0) => Self::Cpf02,
            (0, _) => Self::Cpf04,
            _ => Self::Cpf03,
        }
    }

    /// The code as it is written, such as `CPF02`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpf01 => "CPF01",
            Self::Cpf02 => "CPF02",
            Self::Cpf03 => "CPF03",
            Self::Cpf04 => "CPF04",
        }
    }
}

/// A record that was not loaded, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Its place in the file, from 1.
    pub row: usize,
    /// The record code, that of the first problem.
    pub code: RecordCode,
    /// Every problem, at least one.
    pub problems: Vec<Problem>,
}

impl Rejected {
    /// A rejected record; `None` where there is no problem.
    #[must_use]
    pub fn new(row: usize, problems: Vec<Problem>) -> Option<Self> {
        let code = problems.first()?.detail.code();
        Some(Self { row, code, problems })
    }
}

/// A record that was not loaded, told in brief because the answer would be too long otherwise: its first fault, by code alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlsoRejected {
    /// Its place in the file, from 1.
    pub row: usize,
    /// The record code.
    pub code: RecordCode,
    /// What is wrong.
    pub detail: Detail,
    /// In which column; absent where the whole row is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<Column>,
}

impl AlsoRejected {
    fn of(rejected: &Rejected) -> Option<Self> {
        let Problem { detail, column, .. } = *rejected.problems.first()?;
        Some(Self { row: rejected.row, code: rejected.code, detail, column })
    }
}

/// The answer to an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgement {
    /// The file code.
    pub code: FileCode,
    /// The file's sequence, −1 where it could not be read.
    pub sequence: i64,
    /// The uploading authority.
    pub authority: AuthorityCode,
    /// When the file was processed.
    pub processed: Timestamp,
    /// Records in the file, −1 where it could not be read.
    pub records: i64,
    /// How many were loaded.
    pub loaded: usize,
    /// A row for each record that was not (R15).
    pub rejected: Vec<Rejected>,
    /// Those for which there was no more room in the answer, in brief (R34).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_rejected: Vec<AlsoRejected>,
    /// For a malformed file, what is wrong with it and how to mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Acknowledgement {
    /// The acknowledgement of a file that could be read.
    #[must_use]
    pub fn of(
        authority: AuthorityCode,
        sequence: u64,
        processed: Timestamp,
        records: usize,
        rejected: Vec<Rejected>,
    ) -> Self {
        let loaded = records - rejected.len();
        let code = FileCode::of(loaded, rejected.len());
        let (rejected, also_rejected) = that_fit(rejected);
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Self {
            code,
            sequence: signed(sequence),
            authority,
            processed,
            records: signed(records as u64),
            loaded,
            rejected,
            also_rejected,
            problem: None,
        }
    }

    /// How many of its records were not loaded.
    #[must_use]
    pub fn rejected_in_all(&self) -> usize {
        self.rejected.len() + self.also_rejected.len()
    }

    /// How many of its records named nobody who could be matched.
    #[must_use]
    pub fn unmatched(&self) -> u64 {
        let codes = self.rejected.iter().map(|r| r.code).chain(self.also_rejected.iter().map(|r| r.code));
        codes.filter(|code| code.is_unmatched()).count() as u64
    }

    /// The acknowledgement of a file that could not be read (CPF01).
    #[must_use]
    pub fn malformed(authority: AuthorityCode, sequence: Option<u64>, processed: Timestamp, problem: String) -> Self {
        Self {
            code: FileCode::Cpf01,
            sequence: sequence.and_then(|s| i64::try_from(s).ok()).unwrap_or(-1),
            authority,
            processed,
            records: -1,
            loaded: 0,
            rejected: Vec::new(),
            also_rejected: Vec::new(),
            problem: Some(problem),
        }
    }
}

/// Rows in full as long as those after them fit in brief: an answer that Lambda would not carry would be none, however often the file
/// was sent (R34). So many faults have few causes, and the first rows tell them.
fn that_fit(mut rejected: Vec<Rejected>) -> (Vec<Rejected>, Vec<AlsoRejected>) {
    let (mut room, mut left) = (MAX_ROWS_BYTES, rejected.len());
    let in_full = rejected.iter().position(|row| {
        left -= 1;
        room = room.saturating_sub(carried_bytes(row));
        room < left * MAX_BRIEF_BYTES
    });
    let others = rejected.split_off(in_full.unwrap_or(rejected.len()));
    (rejected, others.iter().filter_map(AlsoRejected::of).collect())
}

/// The bytes of a row in the answer that Lambda is handed: JSON, in a text of JSON, and a comma.
fn carried_bytes(row: &impl Serialize) -> usize {
    serde_json::to_string(row)
        .map_or(usize::MAX, |json| json.len() + json.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count() + 1)
}

/// What an authority sees of a file in the list of its uploads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadSummary {
    /// The file's sequence.
    pub sequence: u64,
    /// When its sender made it.
    pub created: Timestamp,
    /// When it was first received.
    pub received: Timestamp,
    /// Its code; absent while it is being processed, or where processing broke off: then send it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<FileCode>,
    /// Records in it.
    pub records: u64,
    /// Records loaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loaded: Option<u64>,
    /// Records that named nobody who could be matched; of a file from before this was counted, none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmatched: Option<u64>,
    /// When it was completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<Timestamp>,
    /// Digest of its content (R13).
    pub digest: String,
}

impl UploadSummary {
    /// When it was completed. Of a file from before this was kept, when it was received: processing takes seconds.
    #[must_use]
    pub fn completed_at(&self) -> Option<Timestamp> {
        self.completed.or_else(|| self.code.map(|_| self.received))
    }
}

/// What to do about a plan that could not be written because of what the register holds (R12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// The register holds something newer: leave it.
    Stale,
    /// The held end or deletion waited for this start: make it count, then the start itself is stale.
    Confirm(Box<Plan>),
    /// An end or deletion of a plan never uploaded: keep it aside, unseen, in case its start is still to come.
    Keep,
    /// The same, but a later one is already kept.
    UnknownPlan,
    /// Try the write again: the register changed in between.
    Again,
}

/// R12: what the register should hold is the state with the highest sequence, shown once any start has come.
/// It does not depend on the order in which files arrive. `starts` says whether the incoming record is a start.
#[must_use]
pub fn resolve(held: Option<&Plan>, sequence: u64, starts: bool) -> Resolution {
    match held {
        None if starts => Resolution::Again,
        None => Resolution::Keep,
        Some(held) if held.sequence <= sequence && !starts && !held.known => Resolution::Keep,
        Some(held) if held.sequence <= sequence => Resolution::Again,
        Some(held) if held.known => Resolution::Stale,
        Some(held) if starts => Resolution::Confirm(Box::new(Plan { known: true, ..held.clone() })),
        Some(_) => Resolution::UnknownPlan,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r14_file_codes() {
        for (loaded, rejected, code) in
            [(0, 0, FileCode::Cpf02), (3, 0, FileCode::Cpf02), (2, 1, FileCode::Cpf03), (0, 3, FileCode::Cpf04)]
        {
            assert_eq!(FileCode::of(loaded, rejected), code);
            assert_eq!(serde_json::to_value(code).expect("JSON"), code.name());
        }
    }

    fn rejected(row: usize, problems: usize, found: &str) -> Rejected {
        let text = "a text of the usual length, which says what was expected in this column";
        let problem = |_| Problem::in_column(Detail::DateUnreadable, Column::BirthDate, found, text, text);
        Rejected::new(row, (0..problems).map(problem).collect()).expect("a problem")
    }

    fn acknowledged(rejected: Vec<Rejected>) -> Acknowledgement {
        let authority = AuthorityCode::parse("E06000001").expect("a code");
        Acknowledgement::of(authority, 7, Timestamp::UNIX_EPOCH, MAX_RECORDS, rejected)
    }

    #[test]
    fn r34_every_rejected_record_is_told_of_and_lambda_can_carry_the_answer() {
        let control = "\u{1}".repeat(40);
        for (problems, found) in [(1, "x"), (2, "31/02/2020"), (4, ""), (9, "\"\\\"\\"), (9, control.as_str())] {
            let told = acknowledged((1..=MAX_RECORDS).map(|row| rejected(row, problems, found)).collect());
            assert_eq!((told.code, told.loaded, told.rejected_in_all()), (FileCode::Cpf04, 0, MAX_RECORDS));
            let rows: Vec<_> =
                told.rejected.iter().map(|r| r.row).chain(told.also_rejected.iter().map(|r| r.row)).collect();
            assert!(rows.iter().copied().eq(1..=MAX_RECORDS), "each once, in their order");
            assert!(!told.rejected.is_empty(), "the first are told in full");
            let answer = serde_json::to_string(&told).expect("JSON");
            let carried = serde_json::to_string(&answer).expect("JSON").len();
            assert!(carried < 6_000_000, "{carried} bytes for {problems} problems");
            assert_eq!(serde_json::from_str::<Acknowledgement>(&answer).expect("it"), told);
        }
    }

    #[test]
    fn r34_what_fits_is_told_in_full() {
        let told = acknowledged((1..=5_000).map(|row| rejected(row, 2, "31/02/2020")).collect());
        assert_eq!((told.rejected.len(), told.also_rejected.len()), (5_000, 0));
        let json = serde_json::to_value(&told).expect("JSON");
        assert!(json.get("alsoRejected").is_none(), "{}", json["code"]);
    }

    #[test]
    fn r34_no_brief_row_is_longer_than_is_counted_for_it() {
        for detail in Detail::ALL {
            for column in Column::ALL {
                let brief = AlsoRejected { row: MAX_RECORDS, code: detail.code(), detail, column: Some(column) };
                assert!(carried_bytes(&brief) <= MAX_BRIEF_BYTES, "{brief:?}: {}", carried_bytes(&brief));
            }
        }
    }
}
