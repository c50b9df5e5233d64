//! CSV as the world writes it (R17): byte order mark, any line end, quoted fields, columns in any order among others.

use std::io::Read;

use ::csv::{ByteRecord, Reader, ReaderBuilder};

use super::{Kind, Malformed, Records, Row, envelope::Parts, utf16};
use crate::domain::{
    record::{Column, Detail, Problem, RawRecord},
    upload::{MAX_RECORDS, RowProblem, UploadFile},
};

/// The most columns in a header.
const MAX_COLUMNS: usize = 200;

/// The bytes within which a header must end.
const MAX_HEADER: usize = 64 * 1024;
/// The most delimiters in a file: the reader keeps eight bytes for each in a row.
const MAX_DELIMITERS: usize = MAX_RECORDS * MAX_COLUMNS;

/// The columns that a header must name.
const MANDATORY: [Column; 6] =
    [Column::NhsNumber, Column::FamilyName, Column::GivenNames, Column::BirthDate, Column::PlanType, Column::StartDate];

/// A line of its own behind the file: where it is not the last row, a quotation mark was left open.
const END: &[u8] = b"\n\0";

pub(super) fn parse(query: &[(String, String)], body: &[u8]) -> Result<UploadFile, Malformed> {
    let parts = parts(query)?;
    let (envelope, declared) = parts.check("records")?;
    let records = records(body).map_err(|e| e.with_sequence(Some(envelope.sequence)))?;
    records.into_file(envelope, declared, "csv", body)
}

fn parts(query: &[(String, String)]) -> Result<Parts, Malformed> {
    let mut parts = Parts::default();
    let mut repeated = None;
    for (name, value) in query {
        let part = match name.as_str() {
            "authority" => &mut parts.sender,
            "sequence" => &mut parts.sequence,
            "created" => &mut parts.created,
            "records" => &mut parts.count,
            "emergencyDutyTeamPhone" => &mut parts.emergency_duty_team_phone,
            "officeHoursPhone" => &mut parts.office_hours_phone,
            _ => continue,
        };
        if part.is_some() {
            repeated.get_or_insert(name);
        }
        *part = Some(value.clone()).filter(|v| !v.trim().is_empty());
    }
    match repeated {
        Some(name) => Err(Malformed::file(format!("{name} is given more than once in the query; give it once"))),
        None => Ok(parts),
    }
}

fn records(body: &[u8]) -> Result<Records, Malformed> {
    let (delimiter, body) = dialect(body);
    let header = first_row(body, delimiter);
    // The gateway has made replacement characters of its byte order mark by now; its zero bytes are left.
    if header.iter().any(|name| name.contains(&0)) {
        return Err(utf16());
    }
    let layout = Layout::of(&header)?;
    if body.iter().filter(|b| **b == delimiter).count() > MAX_DELIMITERS {
        return Err(Malformed::new(Kind::TooLarge, "the file has too many fields; split the file"));
    }
    let mut reader = reader(body.chain(END), delimiter);
    let mut records = Records::default();
    let mut row = ByteRecord::new();
    let mut at_end = false;
    let mut header_seen = false;
    while read_row(&mut reader, &mut row) {
        at_end = row.len() == 1 && row[0] == END[1..];
        if at_end || row.iter().all(|f| f.trim_ascii().is_empty()) {
            continue;
        }
        if !std::mem::replace(&mut header_seen, true) {
            continue;
        }
        let place = records.next();
        records.push(layout.record(place, &row));
    }
    if !at_end {
        let problem = "a quotation mark is opened and never closed, so the rows after it cannot be told apart; \
                       close it and send the file again";
        return Err(Malformed::file(problem));
    }
    Ok(records)
}

/// The delimiter that makes the most of the header, and the content behind a first line `sep=;`.
fn dialect(body: &[u8]) -> (u8, &[u8]) {
    if let [b's', b'e', b'p', b'=', delimiter @ (b',' | b';' | b'\t'), rest @ ..] = body
        && rest.first().is_none_or(|b| matches!(b, b'\r' | b'\n'))
    {
        return (*delimiter, rest);
    }
    let known = |delimiter: &u8| {
        let header = first_row(body, *delimiter);
        header.iter().take(MAX_COLUMNS).filter(|h| column(h).is_some()).count()
    };
    // The last of equals wins.
    let delimiter = [b'\t', b';', b','].into_iter().max_by_key(known).unwrap_or(b',');
    (delimiter, body)
}

fn reader<R: Read>(content: R, delimiter: u8) -> Reader<R> {
    ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(content)
}

/// Reads the next row, `false` at the end. Reading bytes from memory cannot fail.
fn read_row<R: Read>(reader: &mut Reader<R>, row: &mut ByteRecord) -> bool {
    reader.read_byte_record(row).unwrap_or(false)
}

/// The first row that holds anything, if it begins within [`MAX_HEADER`].
fn first_row(body: &[u8], delimiter: u8) -> ByteRecord {
    let mut reader = reader(&body[..body.len().min(MAX_HEADER)], delimiter);
    let mut row = ByteRecord::new();
    while read_row(&mut reader, &mut row) {
        if row.iter().any(|f| !f.trim_ascii().is_empty()) {
            return row;
        }
    }
    ByteRecord::new()
}

fn column(header: &[u8]) -> Option<Column> {
    Column::from_header(std::str::from_utf8(header).ok().filter(|h| h.len() <= 64)?)
}

/// Where the columns are.
struct Layout {
    places: Vec<(usize, Column)>,
    width: usize,
}

impl Layout {
    fn of(header: &ByteRecord) -> Result<Self, Malformed> {
        let width = header.iter().rposition(|h| !h.trim_ascii().is_empty()).map_or(0, |last| last + 1);
        if width == 0 {
            return Err(Malformed::file(format!(
                "the file is empty; its first line names the columns: {}",
                names(&Column::ALL)
            )));
        }
        if width > MAX_COLUMNS {
            return Err(Malformed::file(format!("the header has {width} columns, at most {MAX_COLUMNS} are taken")));
        }
        let places: Vec<_> = header.iter().enumerate().filter_map(|(i, h)| Some((i, column(h)?))).collect();
        let count = |column| places.iter().filter(|(_, c)| *c == column).count();
        let missing: Vec<_> = MANDATORY.into_iter().filter(|c| count(*c) == 0).collect();
        let twice: Vec<_> = Column::ALL.into_iter().filter(|c| count(*c) > 1).collect();
        if !missing.is_empty() {
            let missing = names(&missing);
            let problem =
                format!("the header, the first line, lacks {missing}; name the columns and send the file again");
            return Err(Malformed::file(problem));
        }
        if !twice.is_empty() {
            let twice = names(&twice);
            return Err(Malformed::file(format!("the header names {twice} more than once; keep one column of each")));
        }
        Ok(Self { places, width })
    }

    fn record(&self, place: usize, row: &ByteRecord) -> Row {
        let used = row.len() - row.iter().skip(self.width).rev().take_while(|f| f.trim_ascii().is_empty()).count();
        if used != self.width {
            let (found, expected) = (format!("{used} fields"), format!("{} fields, as in the header", self.width));
            let mend = "put a field that holds a delimiter in quotation marks; leave no field out, even when empty";
            return Err(unreadable(place, &found, &expected, mend));
        }
        let mut record = RawRecord { row: place, ..RawRecord::default() };
        for (index, column) in &self.places {
            let Ok(text) = std::str::from_utf8(&row[*index]) else {
                let mend = "save the file as UTF-8 (in Excel: \"CSV UTF-8\"); it may be in Windows-1252";
                return Err(unreadable(place, "bytes that are no UTF-8", "text in UTF-8", mend));
            };
            text.clone_into(&mut record.fields[*column as usize]);
        }
        Ok(record)
    }
}

fn unreadable(row: usize, found: &str, expected: &str, mend: &str) -> RowProblem {
    RowProblem { row, problem: Problem::of_row(Detail::RowUnreadable, found, expected, mend) }
}

fn names(columns: &[Column]) -> String {
    columns.iter().map(|c| c.name()).collect::<Vec<_>>().join(", ")
}
