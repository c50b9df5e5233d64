//! One record of an upload: from the sender's texts to a [`PlanRecord`], or to what is wrong with them and how to mend it.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{
    nhs_number::{NhsNumber, NhsNumberError},
    plan::{PlanId, PlanType, is_18_on},
};

/// A record as it came, with every field still text; an absent field is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawRecord {
    /// Its place in the file, the first record being 1 (a header line does not count).
    pub row: usize,
    /// Texts by column, in the order of [`Column::ALL`].
    pub fields: [String; Column::ALL.len()],
}

/// The columns of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    /// Ten digits.
    NhsNumber,
    /// The authority's own case id, optional.
    LocalId,
    /// Family name.
    FamilyName,
    /// Given names, separated by spaces.
    GivenNames,
    /// Birth date.
    BirthDate,
    /// `CPP`, `LAC` or `UCP`.
    PlanType,
    /// First day of the plan.
    StartDate,
    /// Last day of the plan, where it has ended.
    EndDate,
    /// Day of withdrawal, where it was uploaded in error.
    DeleteDate,
}

impl Column {
    /// Every column, in the order in which files usually have them.
    pub const ALL: [Self; 9] = [
        Self::NhsNumber,
        Self::LocalId,
        Self::FamilyName,
        Self::GivenNames,
        Self::BirthDate,
        Self::PlanType,
        Self::StartDate,
        Self::EndDate,
        Self::DeleteDate,
    ];

    /// The name in a CSV header, in JSON and in acknowledgements.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NhsNumber => "nhs_number",
            Self::LocalId => "local_id",
            Self::FamilyName => "family_name",
            Self::GivenNames => "given_names",
            Self::BirthDate => "birth_date",
            Self::PlanType => "plan_type",
            Self::StartDate => "start_date",
            Self::EndDate => "end_date",
            Self::DeleteDate => "delete_date",
        }
    }

    /// The column that a header names; case, spaces, hyphens and underscores do not count (R17).
    #[must_use]
    pub fn from_header(header: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| letters(c.name()).eq(letters(header)))
    }
}

fn letters(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase)
}

/// What is wrong with a record, finer than its code. The record codes are those of the Child Protection
/// Domain Message Specification; the details are this project's (R5, R15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detail {
    /// Not an NHS number.
    NhsNumberInvalid,
    /// A pre-1996 number.
    NhsNumberOldStyle,
    /// No family name.
    MissingFamilyName,
    /// No given name.
    MissingGivenNames,
    /// No birth date.
    MissingBirthDate,
    /// No start date.
    MissingStart,
    /// Not a date.
    DateUnreadable,
    /// A text longer than [`MAX_TEXT`].
    TooLong,
    /// A text with control characters in it.
    ControlCharacter,
    /// The plan ends before it starts.
    EndBeforeStart,
    /// Both an end and a deletion.
    EndAndDelete,
    /// The plan starts after today.
    StartInFuture,
    /// The birth date is after today.
    BirthDateInFuture,
    /// The person is 18 or older.
    #[serde(rename = "aged-18-or-over")]
    Aged18OrOver,
    /// None of CPP, LAC, UCP.
    UnknownPlanType,
    /// The file has another record of the same plan.
    DuplicateInFile,
    /// An end or deletion of a plan that was never uploaded.
    UnknownPlan,
    /// The register holds something newer.
    Stale,
    /// The row could not be read as a record at all.
    RowUnreadable,
}

impl Detail {
    /// Every detail.
    pub const ALL: [Self; 19] = [
        Self::NhsNumberInvalid,
        Self::NhsNumberOldStyle,
        Self::MissingFamilyName,
        Self::MissingGivenNames,
        Self::MissingBirthDate,
        Self::MissingStart,
        Self::DateUnreadable,
        Self::TooLong,
        Self::ControlCharacter,
        Self::EndBeforeStart,
        Self::EndAndDelete,
        Self::StartInFuture,
        Self::BirthDateInFuture,
        Self::Aged18OrOver,
        Self::UnknownPlanType,
        Self::DuplicateInFile,
        Self::UnknownPlan,
        Self::Stale,
        Self::RowUnreadable,
    ];

    /// The record code that this detail stands under (R15).
    #[must_use]
    pub const fn code(self) -> RecordCode {
        match self {
            Self::NhsNumberInvalid => RecordCode::Cpr01,
            Self::NhsNumberOldStyle => RecordCode::Cpr04,
            _ => RecordCode::Cpr07,
        }
    }
}

/// CP-ISUploadRecordResponse (R15). CPR02, CPR03 and CPR05 need the Personal Demographics Service and cannot arise yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordCode {
    /// No such NHS number.
    Cpr01,
    /// Old-style NHS number.
    Cpr04,
    /// Not loaded, for the reason that the detail gives.
    Cpr07,
}

impl RecordCode {
    /// Whether the record names nobody whom the Personal Demographics Service knows: CPR01 to CPR05.
    #[must_use]
    pub const fn is_unmatched(self) -> bool {
        match self {
            Self::Cpr01 | Self::Cpr04 => true,
            Self::Cpr07 => false,
        }
    }
}

/// The longest text in a field, in characters.
pub const MAX_TEXT: usize = 200;

/// One thing that is wrong with a record, told so that its sender can mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub detail: Detail,
    /// In which column; absent where the whole row is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<Column>,
    /// What the field held, cut to 40 characters.
    pub found: String,
    /// What it should hold.
    pub expected: String,
    /// What to do.
    pub mend: String,
}

impl Problem {
    /// A problem with one field.
    #[must_use]
    pub fn in_column(detail: Detail, column: Column, found: &str, expected: &str, mend: &str) -> Self {
        Self::new(detail, Some(column), found, expected, mend)
    }

    /// A problem with the row as a whole.
    #[must_use]
    pub fn of_row(detail: Detail, found: &str, expected: &str, mend: &str) -> Self {
        Self::new(detail, None, found, expected, mend)
    }

    fn new(detail: Detail, column: Option<Column>, found: &str, expected: &str, mend: &str) -> Self {
        let found = found.chars().take(40).collect();
        Self { detail, column, found, expected: expected.into(), mend: mend.into() }
    }
}

/// A record whose every field is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRecord {
    /// Its place in the file.
    pub row: usize,
    /// The child's number; for an unborn plan the mother's.
    pub nhs_number: NhsNumber,
    /// The authority's own case id.
    pub local_id: Option<String>,
    /// Family name.
    pub family_name: String,
    /// Given names, at least one.
    pub given_names: Vec<String>,
    /// Birth date; for an unborn plan the mother's.
    pub birth_date: Date,
    /// Kind of plan.
    pub plan_type: PlanType,
    /// First day.
    pub start: Date,
    /// Last day.
    pub end: Option<Date>,
    /// Day of withdrawal.
    pub deleted: Option<Date>,
}

impl PlanRecord {
    /// Whether the record starts or renews a plan, rather than ending or withdrawing one.
    #[must_use]
    pub fn is_start(&self) -> bool {
        self.end.is_none() && self.deleted.is_none()
    }

    /// The key under which a file may have one record only.
    #[must_use]
    pub fn plan_of(&self, authority: &super::authority::AuthorityCode) -> (NhsNumber, PlanId) {
        (self.nhs_number.clone(), PlanId { plan_type: self.plan_type, authority: authority.clone() })
    }

    /// Checks a record against the rules of the day on which it is received (R1, R2, R5).
    ///
    /// # Errors
    /// Every problem found, never an empty list.
    pub fn check(raw: &RawRecord, today: Date) -> Result<Self, Vec<Problem>> {
        let mut read = Reader { raw, problems: Vec::new() };
        read.lengths();
        let nhs_number = read.nhs_number();
        let plan_type = read.plan_type();
        let family_name = read.required(Column::FamilyName, Detail::MissingFamilyName);
        let given_names = read.required(Column::GivenNames, Detail::MissingGivenNames);
        let birth_date = read.required_date(Column::BirthDate, Detail::MissingBirthDate);
        let start = read.required_date(Column::StartDate, Detail::MissingStart);
        let end = read.date(Column::EndDate);
        let deleted = read.date(Column::DeleteDate);
        read.dates_agree(today, plan_type, birth_date, start, end, deleted);
        let Reader { problems, .. } = read;
        let parts = (nhs_number, plan_type, family_name, given_names, birth_date, start);
        match parts {
            (Some(nhs_number), Some(plan_type), Some(family_name), Some(given), Some(birth_date), Some(start))
                if problems.is_empty() =>
            {
                Ok(Self {
                    row: raw.row,
                    nhs_number,
                    local_id: Some(raw.text(Column::LocalId)).filter(|t| !t.is_empty()).map(str::to_owned),
                    family_name,
                    given_names: given.split_whitespace().map(str::to_owned).collect(),
                    birth_date,
                    plan_type,
                    start,
                    end,
                    deleted,
                })
            }
            _ => Err(problems),
        }
    }
}

impl RawRecord {
    /// The trimmed text of a column.
    #[must_use]
    pub fn text(&self, column: Column) -> &str {
        self.fields[column as usize].trim()
    }
}

struct Reader<'a> {
    raw: &'a RawRecord,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn fail(&mut self, detail: Detail, column: Column, expected: &str, mend: &str) {
        let found = self.raw.text(column);
        self.problems.push(Problem::in_column(detail, column, found, expected, mend));
    }

    fn lengths(&mut self) {
        for column in Column::ALL {
            let text = self.raw.text(column);
            if text.chars().nth(MAX_TEXT).is_some() {
                self.fail(Detail::TooLong, column, "at most 200 characters", "shorten the text");
            } else if text.chars().any(is_control) {
                self.fail(Detail::ControlCharacter, column, "one line of text", "take the control characters out");
            } else if text.contains(char::REPLACEMENT_CHARACTER) {
                // The gateway puts it where bytes are no UTF-8: the name would be stored wrong, and match nobody.
                let mend = "save the file as UTF-8 (in Excel: \"CSV UTF-8\"); it may be in Windows-1252";
                self.fail(Detail::RowUnreadable, column, "text in UTF-8", mend);
            }
        }
    }

    fn nhs_number(&mut self) -> Option<NhsNumber> {
        let error = match NhsNumber::parse(self.raw.text(Column::NhsNumber)) {
            Ok(number) => return Some(number),
            Err(error) => error,
        };
        let (detail, mend) = match error {
            NhsNumberError::OldStyle => {
                (Detail::NhsNumberOldStyle, "trace the person's ten-digit NHS number in the demographics service")
            }
            NhsNumberError::Length | NhsNumberError::CheckDigit => (
                Detail::NhsNumberInvalid,
                "check the number in the case record, or trace it anew; digits are easily swapped",
            ),
        };
        self.fail(detail, Column::NhsNumber, &format!("10 digits with a valid check digit; {error}"), mend);
        None
    }

    fn plan_type(&mut self) -> Option<PlanType> {
        let found = PlanType::from_code(self.raw.text(Column::PlanType));
        if found.is_none() {
            self.fail(Detail::UnknownPlanType, Column::PlanType, "CPP, LAC or UCP", "use one of the three codes");
        }
        found
    }

    fn required(&mut self, column: Column, missing: Detail) -> Option<String> {
        let text = self.raw.text(column);
        if text.is_empty() {
            self.fail(missing, column, "a value", "fill the field in");
            return None;
        }
        Some(text.to_owned())
    }

    fn required_date(&mut self, column: Column, missing: Detail) -> Option<Date> {
        self.required(column, missing).and_then(|_| self.date(column))
    }

    fn date(&mut self, column: Column) -> Option<Date> {
        let text = self.raw.text(column);
        if text.is_empty() {
            return None;
        }
        let date = parse_date(text);
        if date.is_none() {
            let expected = "a date as YYYY-MM-DD or DD/MM/YYYY, 1900 to 2999";
            self.fail(Detail::DateUnreadable, column, expected, "write the date in one of the two forms");
        }
        date
    }

    fn dates_agree(
        &mut self,
        today: Date,
        plan_type: Option<PlanType>,
        birth: Option<Date>,
        start: Option<Date>,
        end: Option<Date>,
        deleted: Option<Date>,
    ) {
        let starts = end.is_none() && deleted.is_none();
        let not_after_today = format!("a date not after {today}");
        if birth.is_some_and(|b| b > today) {
            self.fail(Detail::BirthDateInFuture, Column::BirthDate, &not_after_today, "correct the birth date");
        } else if starts
            && plan_type.is_some_and(|t| t != PlanType::Unborn)
            && birth.is_some_and(|b| is_18_on(b, today))
        {
            // An end or a withdrawal is still taken: what was uploaded in error must not be kept for that (R8).
            let mend = "correct the birth date; plans end by themselves at 18 and need no record";
            self.fail(Detail::Aged18OrOver, Column::BirthDate, "the birth date of somebody under 18", mend);
        }
        if start.is_some_and(|s| s > today) {
            self.fail(
                Detail::StartInFuture,
                Column::StartDate,
                &not_after_today,
                "upload the plan once it has started",
            );
        }
        if let (Some(start), Some(end)) = (start, end)
            && end < start
        {
            let expected = format!("a date not before the start, {start}");
            self.fail(Detail::EndBeforeStart, Column::EndDate, &expected, "correct the start date or the end date");
        }
        if end.is_some() && deleted.is_some() {
            let mend = "give the end date for a plan that has ended, the delete date for one uploaded in error";
            self.fail(Detail::EndAndDelete, Column::DeleteDate, "an end date or a delete date, not both", mend);
        }
    }
}

/// Control characters, and those that turn the direction of writing and make a name look like another (Unicode TR 36).
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// R17: `YYYY-MM-DD` or `DD/MM/YYYY`, years 1900 to 2999. Nothing else is guessed at.
#[must_use]
pub fn parse_date(text: &str) -> Option<Date> {
    let numbers = |separator: char| -> Option<[&str; 3]> {
        let parts: Vec<_> = text.split(separator).collect();
        let all_digits = parts.iter().all(|p| p.bytes().all(|b| b.is_ascii_digit()));
        all_digits.then(|| parts.try_into().ok()).flatten()
    };
    let [year, month, day] = match (numbers('-'), numbers('/')) {
        (Some([year, month, day]), _) if month.len() == 2 && day.len() == 2 => [year, month, day],
        (_, Some([day, month, year])) if day.len() <= 2 && month.len() <= 2 => [year, month, day],
        _ => return None,
    };
    if year.len() != 4 || !(1900..3000).contains(&year.parse::<i16>().ok()?) {
        return None;
    }
    Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    const TODAY: Date = date(2026, 11, 22);

    fn raw(changes: &[(Column, &str)]) -> RawRecord {
        let good = ["9990000018", "C-1", "Sample", "Robin Lee", "2015-06-01", "CPP", "2024-01-31", "", ""];
        let mut record = RawRecord { row: 7, fields: good.map(str::to_owned) };
        for (column, text) in changes {
            record.fields[*column as usize] = (*text).to_owned();
        }
        record
    }

    #[test]
    fn a_good_record() {
        let record = PlanRecord::check(&raw(&[]), TODAY).expect("valid");
        assert_eq!((record.row, record.given_names.len(), record.start), (7, 2, date(2024, 1, 31)));
        assert_eq!(record.local_id.as_deref(), Some("C-1"));
        assert!(record.is_start());
    }

    #[test]
    fn r5_r15_every_detail_with_its_code_and_column() {
        use Column::{BirthDate, DeleteDate, EndDate, FamilyName, GivenNames, LocalId, StartDate};
        let long = "x".repeat(201);
        for (changes, detail, column, code) in [
            (&[(Column::NhsNumber, "9990000019")][..], Detail::NhsNumberInvalid, Column::NhsNumber, RecordCode::Cpr01),
            (&[(Column::NhsNumber, "")], Detail::NhsNumberInvalid, Column::NhsNumber, RecordCode::Cpr01),
            (&[(Column::NhsNumber, "ABCD/12345")], Detail::NhsNumberOldStyle, Column::NhsNumber, RecordCode::Cpr04),
            (&[(FamilyName, " ")], Detail::MissingFamilyName, FamilyName, RecordCode::Cpr07),
            (&[(GivenNames, "")], Detail::MissingGivenNames, GivenNames, RecordCode::Cpr07),
            (&[(BirthDate, "")], Detail::MissingBirthDate, BirthDate, RecordCode::Cpr07),
            (&[(StartDate, "")], Detail::MissingStart, StartDate, RecordCode::Cpr07),
            (&[(StartDate, "31/02/2024")], Detail::DateUnreadable, StartDate, RecordCode::Cpr07),
            (&[(LocalId, &long)], Detail::TooLong, LocalId, RecordCode::Cpr07),
            (&[(FamilyName, "a\u{0}b")], Detail::ControlCharacter, FamilyName, RecordCode::Cpr07),
            (&[(GivenNames, "a\u{202e}b")], Detail::ControlCharacter, GivenNames, RecordCode::Cpr07),
            (&[(FamilyName, "Sampl\u{fffd}")], Detail::RowUnreadable, FamilyName, RecordCode::Cpr07),
            (&[(EndDate, "2024-01-30")], Detail::EndBeforeStart, EndDate, RecordCode::Cpr07),
            (
                &[(EndDate, "2024-02-01"), (DeleteDate, "2024-02-01")],
                Detail::EndAndDelete,
                DeleteDate,
                RecordCode::Cpr07,
            ),
            (&[(StartDate, "2026-11-23")], Detail::StartInFuture, StartDate, RecordCode::Cpr07),
            (&[(BirthDate, "2026-11-23")], Detail::BirthDateInFuture, BirthDate, RecordCode::Cpr07),
            (&[(BirthDate, "2008-11-22")], Detail::Aged18OrOver, BirthDate, RecordCode::Cpr07),
            (&[(Column::PlanType, "CIN")], Detail::UnknownPlanType, Column::PlanType, RecordCode::Cpr07),
        ] {
            let problems = PlanRecord::check(&raw(changes), TODAY).expect_err("a fault");
            let found: Vec<_> = problems.iter().map(|p| (p.detail, p.column, p.detail.code())).collect();
            assert_eq!(found, [(detail, Some(column), code)]);
            assert!(problems.iter().all(|p| !p.expected.is_empty() && !p.mend.is_empty()));
        }
    }

    #[test]
    fn r5_every_fault_of_a_record_is_told_at_once() {
        let problems = PlanRecord::check(&RawRecord::default(), TODAY).expect_err("all is missing");
        assert_eq!(problems.len(), 6);
    }

    #[test]
    fn r5_what_was_uploaded_in_error_can_be_withdrawn_at_any_age() {
        let grown_up = (Column::BirthDate, "2008-11-22");
        for (column, text) in [(Column::DeleteDate, "2026-11-22"), (Column::EndDate, "2026-11-21")] {
            let record = PlanRecord::check(&raw(&[grown_up, (column, text)]), TODAY);
            assert!(record.is_ok_and(|record| !record.is_start()), "{column:?}");
        }
    }

    #[test]
    fn r7_the_mother_of_an_unborn_child_may_be_grown_up() {
        let unborn = raw(&[(Column::PlanType, "ucp"), (Column::BirthDate, "1990-01-01")]);
        assert!(PlanRecord::check(&unborn, TODAY).is_ok());
    }

    #[test]
    fn r17_dates_in_two_forms_and_no_other() {
        for (text, expected) in [
            ("2024-02-29", Some(date(2024, 2, 29))),
            ("29/02/2024", Some(date(2024, 2, 29))),
            ("1/2/2024", Some(date(2024, 2, 1))),
            ("2023-02-29", None),
            ("2024-2-1", None),
            ("12/31/2024", None),
            ("01/02/24", None),
            ("20240229", None),
            ("1899-12-31", None),
            ("+024-01-01", None),
            ("2024-01-01T00:00:00Z", None),
        ] {
            assert_eq!(parse_date(text), expected, "{text}");
        }
    }

    #[test]
    fn r17_headers_as_people_write_them() {
        for header in ["nhs_number", "NHS Number", "nhs-number", "NHSNumber", " NHS NUMBER "] {
            assert_eq!(Column::from_header(header), Some(Column::NhsNumber), "{header}");
        }
        assert_eq!(Column::from_header("notes"), None);
    }

    proptest! {
        #[test]
        fn any_texts_are_a_record_or_a_list_of_problems(fields in proptest::array::uniform9(".{0,12}")) {
            let result = PlanRecord::check(&RawRecord { row: 1, fields }, TODAY);
            prop_assert!(result.map_or_else(|p| !p.is_empty(), |_| true));
        }

        #[test]
        fn r17_both_forms_mean_the_same_day(year in 1900_i16..3000, month in 1_i8..=12, day in 1_i8..=28) {
            let expected = Some(date(year, month, day));
            prop_assert_eq!(parse_date(&format!("{year}-{month:02}-{day:02}")), expected);
            prop_assert_eq!(parse_date(&format!("{day}/{month}/{year}")), expected);
        }
    }
}
