//! Ways in which a record of an upload can be wrong.

use cpis::domain::record::{Column, Detail, MAX_TEXT, RawRecord};
use jiff::{Span, civil::Date};

use crate::people::days_before;

/// Ways in which a record can be wrong, in the order in which files get them: those first that the published record codes
/// and details name. `stale` is not among them: it needs a later file, not a wrong record.
pub(crate) const FAULTS: [Detail; 18] = [
    Detail::NhsNumberInvalid,
    Detail::NhsNumberOldStyle,
    Detail::MissingStart,
    Detail::EndBeforeStart,
    Detail::EndAndDelete,
    Detail::StartInFuture,
    Detail::BirthDateInFuture,
    Detail::Aged18OrOver,
    Detail::UnknownPlanType,
    Detail::DuplicateInFile,
    Detail::UnknownPlan,
    Detail::DateUnreadable,
    Detail::MissingBirthDate,
    Detail::MissingFamilyName,
    Detail::MissingGivenNames,
    Detail::TooLong,
    Detail::ControlCharacter,
    Detail::RowUnreadable,
];

/// A row of a file.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Its record.
    pub(crate) record: RawRecord,
    /// What is wrong with it. A row that cannot be read at all has a good record, to be written as none.
    pub(crate) fault: Option<Detail>,
}

/// Spoils a running plan's record in one way and no other. A duplicate is one of `last`, an earlier record.
pub(crate) fn spoil(mut record: RawRecord, fault: Detail, last: Option<&RawRecord>, today: Date) -> Row {
    let mut set = |column: Column, text: String| record.fields[column as usize] = text;
    if matches!(fault, Detail::BirthDateInFuture | Detail::Aged18OrOver | Detail::UnknownPlanType) {
        // A mother may be grown up, a child may not: with her record there would be another fault or none.
        set(Column::PlanType, "CPP".into());
        set(Column::BirthDate, days_before(today, 3_000).to_string());
    }
    let (past, future) = (days_before(today, 1), today.saturating_add(Span::new().days(40)));
    match fault {
        Detail::NhsNumberInvalid => with_wrong_digit(&mut record.fields[Column::NhsNumber as usize]),
        Detail::NhsNumberOldStyle => set(Column::NhsNumber, "LAKE/123/45".into()),
        Detail::MissingStart => set(Column::StartDate, String::new()),
        Detail::EndBeforeStart => {
            set(Column::StartDate, today.to_string());
            set(Column::EndDate, past.to_string());
        }
        Detail::EndAndDelete => {
            set(Column::EndDate, today.to_string());
            set(Column::DeleteDate, today.to_string());
        }
        Detail::StartInFuture => set(Column::StartDate, future.to_string()),
        Detail::BirthDateInFuture => set(Column::BirthDate, future.to_string()),
        Detail::Aged18OrOver => set(Column::BirthDate, days_before(today, 19 * 366).to_string()),
        Detail::UnknownPlanType => set(Column::PlanType, "CIN".into()),
        Detail::DuplicateInFile => {
            let row = record.row;
            record = RawRecord { row, ..last.unwrap_or(&record).clone() };
        }
        Detail::UnknownPlan => set(Column::EndDate, today.to_string()),
        Detail::DateUnreadable => set(Column::StartDate, "31/02/2024".into()),
        Detail::MissingBirthDate => set(Column::BirthDate, String::new()),
        Detail::MissingFamilyName => set(Column::FamilyName, String::new()),
        Detail::MissingGivenNames => set(Column::GivenNames, String::new()),
        Detail::TooLong => set(Column::LocalId, "x".repeat(MAX_TEXT + 1)),
        Detail::ControlCharacter => record.fields[Column::FamilyName as usize].push_str("\u{7}son"),
        Detail::RowUnreadable | Detail::Stale => {}
    }
    Row { record, fault: Some(fault) }
}

/// Faults that only the file or the register gives away.
#[cfg(test)]
pub(crate) const NEEDS_THE_FILE: [Detail; 3] = [Detail::DuplicateInFile, Detail::UnknownPlan, Detail::RowUnreadable];

/// Makes the last digit another one: a single wrong digit is always found.
fn with_wrong_digit(number: &mut String) {
    let last = number.pop().and_then(|c| c.to_digit(10)).unwrap_or(0);
    number.push(char::from_digit((last + 1) % 10, 10).unwrap_or('0'));
}

#[cfg(test)]
mod tests {
    use cpis::domain::record::PlanRecord;
    use jiff::civil::date;

    use super::*;
    use crate::people::{Children, Course};

    #[test]
    fn each_fault_is_found_and_no_other_with_it() {
        let today = date(2026, 11, 22);
        let mut children = Children::of(1, 0);
        let last = children.next().expect("a child").record(1, today, Course::Running);
        for child in children.take(300) {
            for fault in FAULTS {
                let spoiled = spoil(child.record(2, today, Course::Running), fault, Some(&last), today);
                let checked = PlanRecord::check(&spoiled.record, today);
                let found = checked.as_ref().err().map(|p| p.iter().map(|p| p.detail).collect::<Vec<_>>());
                let seen_in_the_record_alone = !NEEDS_THE_FILE.contains(&fault);
                assert_eq!(found, seen_in_the_record_alone.then(|| vec![fault]));
                match (fault, checked) {
                    (Detail::DuplicateInFile, Ok(r)) => assert_eq!(r.nhs_number.digits(), last.text(Column::NhsNumber)),
                    (Detail::UnknownPlan, Ok(r)) => assert!(!r.is_start()),
                    _ => {}
                }
            }
        }
    }
}
