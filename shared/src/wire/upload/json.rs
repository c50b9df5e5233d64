//! JSON: a file of records or a single one. One pass, so that a bad record costs neither the others nor memory.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Malformed, Records, Row, envelope::Parts};
use crate::{
    domain::{
        record::{Column, Detail, Problem, RawRecord},
        upload::{RowProblem, UploadFile},
    },
    wire::strict::{Fault, Names, Unread},
};

/// The most fields in a record, known or not.
const MAX_FIELDS: usize = 100;

/// What the body holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `records` and their `count`.
    File,
    /// One `record`.
    Single,
}

pub(super) fn parse(form: Form, body: &[u8]) -> Result<UploadFile, Malformed> {
    let text = std::str::from_utf8(body).map_err(|e| {
        let at = e.valid_up_to() + 1;
        Malformed::file(format!("byte {at} of the body is no UTF-8 (it may be Windows-1252); send JSON in UTF-8"))
    })?;
    let mut document = Document { form, parts: Parts::default(), records: None, seen: Vec::new(), fault: None };
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = document.deserialize(&mut reader).and_then(|()| reader.end());
    let sequence = document.parts.sequence();
    document.finish(read, body).map_err(|e| e.with_sequence(sequence))
}

struct Document {
    form: Form,
    parts: Parts,
    records: Option<Records>,
    seen: Vec<&'static str>,
    fault: Option<String>,
}

impl Document {
    fn finish(mut self, read: serde_json::Result<()>, body: &[u8]) -> Result<UploadFile, Malformed> {
        read.map_err(|e| unreadable(&e))?;
        if let Some(fault) = self.fault {
            return Err(Malformed::file(fault));
        }
        if self.form == Form::Single {
            self.parts.count = Some("1".into());
        }
        let (envelope, declared) = self.parts.check("count")?;
        let list = if self.form == Form::Single { "record" } else { "records" };
        let records =
            self.records.ok_or_else(|| Malformed::file(format!("{list} is missing: give what is to be loaded")))?;
        records.into_file(envelope, declared, "json", body)
    }

    fn fail(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }

    /// Reads past a member that means nothing here, but for its being there once (R60).
    fn pass_over<'de, A: MapAccess<'de>>(
        &mut self,
        names: &mut Names,
        name: String,
        map: &mut A,
    ) -> Result<(), A::Error> {
        let fault = names.note(name).or(map.next_value_seed(Unread)?);
        if let Some(what) = fault {
            self.fail(format!("the body holds {what}; give each name once"));
        }
        Ok(())
    }

    /// Takes note of a name; a second one of the same is a fault.
    fn note(&mut self, name: &'static str) {
        if self.seen.contains(&name) {
            self.fail(format!("{name} is given more than once; give it once"));
        } else {
            self.seen.push(name);
        }
    }

    fn number<'de, A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<Option<String>, A::Error> {
        self.note(name);
        match map.next_value_seed(Any { row: None })? {
            Value::Number(Some(number)) => return Ok(Some(number.to_string())),
            Value::Null => {}
            other => self.fail(format!("{name} is {}; give a whole number from 0", other.what())),
        }
        Ok(None)
    }

    fn text<'de, A: MapAccess<'de>>(&mut self, name: &'static str, map: &mut A) -> Result<Option<String>, A::Error> {
        self.note(name);
        match map.next_value_seed(Any { row: None })? {
            Value::Text(text) => return Ok(Some(text).filter(|t| !t.trim().is_empty())),
            Value::Null => {}
            other => self.fail(format!("{name} is {}; give a text in quotation marks", other.what())),
        }
        Ok(None)
    }
}

/// The words of an error; the reader's own would repeat what it found, except where the form itself is broken.
fn unreadable(error: &serde_json::Error) -> Malformed {
    let (line, column) = (error.line(), error.column());
    if error.is_eof() {
        Malformed::file(format!(
            "the JSON ends at line {line}, column {column}, before it is complete; send the whole of it"
        ))
    } else if error.is_syntax() {
        Malformed::file(format!("the body is not valid JSON: {error}"))
    } else {
        Malformed::file(format!(
            "at line {line}, column {column} the JSON has another form than expected: the body and authority are \
             objects, records is a list"
        ))
    }
}

impl<'de> DeserializeSeed<'de> for &mut Document {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Document {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an upload")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut others = Names::default();
        while let Some(name) = map.next_key::<String>()? {
            match (name.as_str(), self.form) {
                ("sequence", _) => self.parts.sequence = self.number("sequence", &mut map)?,
                ("created", _) => self.parts.created = self.text("created", &mut map)?,
                ("count", Form::File) => self.parts.count = self.number("count", &mut map)?,
                ("authority", _) => {
                    self.note("authority");
                    map.next_value_seed(Authority(self))?;
                }
                ("records", Form::File) => {
                    self.note("records");
                    self.records = Some(map.next_value_seed(List)?);
                }
                ("record", Form::Single) => {
                    self.note("record");
                    let mut records = Records::default();
                    let row = map.next_value_seed(Any { row: Some(records.next()) })?.into_row(1);
                    records.push(row);
                    self.records = Some(records);
                }
                _ => self.pass_over(&mut others, name, &mut map)?,
            }
        }
        Ok(())
    }
}

struct Authority<'a>(&'a mut Document);

impl<'de> DeserializeSeed<'de> for Authority<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Authority<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an authority")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (document, mut others) = (self.0, Names::default());
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "code" => document.parts.sender = document.text("code", &mut map)?,
                "emergencyDutyTeamPhone" => {
                    document.parts.emergency_duty_team_phone = document.text("emergencyDutyTeamPhone", &mut map)?;
                }
                "officeHoursPhone" => {
                    document.parts.office_hours_phone = document.text("officeHoursPhone", &mut map)?;
                }
                _ => document.pass_over(&mut others, name, &mut map)?,
            }
        }
        Ok(())
    }
}

struct List;

impl<'de> DeserializeSeed<'de> for List {
    type Value = Records;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Records, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List {
    type Value = Records;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Records, A::Error> {
        let mut records = Records::default();
        while let Some(value) = list.next_element_seed(Any { row: Some(records.found + 1) })? {
            let row = records.next();
            records.push(value.into_row(row));
        }
        Ok(records)
    }
}

/// Any value; an object is read as the record of `row`, or passed over where there is none.
struct Any {
    row: Option<usize>,
}

enum Value {
    Null,
    Truth,
    /// A number, where it is whole and not negative.
    Number(Option<u64>),
    Text(String),
    /// A list, joined by spaces where it holds nothing but texts.
    List(Option<String>),
    Object(Option<Row>),
}

impl Value {
    const fn what(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Truth => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    fn into_row(self, row: usize) -> Row {
        match self {
            Self::Object(Some(record)) => record,
            other => Err(RowProblem {
                row,
                problem: Problem::of_row(
                    Detail::RowUnreadable,
                    other.what(),
                    "an object with the fields of a record",
                    "send each record as an object",
                ),
            }),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Any {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
        Ok(Value::Truth)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(Some(number)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(u64::try_from(number).ok()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Number(None))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut joined = Some(String::new());
        while let Some(value) = list.next_element_seed(Any { row: None })? {
            joined = match (joined, value) {
                (Some(joined), Value::Text(text)) if joined.is_empty() => Some(text),
                (Some(joined), Value::Text(text)) => Some(joined + " " + &text),
                _ => None,
            };
        }
        Ok(Value::List(joined))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let Some(row) = self.row else {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Object(None));
        };
        let mut record = Record { raw: RawRecord { row, ..RawRecord::default() }, seen: Vec::new(), problem: None };
        let (mut fields, mut others) = (0, Names::default());
        while let Some(name) = map.next_key_seed(Name { known: fields < MAX_FIELDS })? {
            fields += 1;
            match name {
                Field::Known(column) => record.set(column, map.next_value_seed(Any { row: None })?),
                Field::Other(name) => record.pass_over(others.note(name).or(map.next_value_seed(Unread)?)),
                Field::Beyond => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if fields > MAX_FIELDS {
            let expected = format!("at most {MAX_FIELDS} fields");
            record.fail(None, &format!("{fields} fields"), &expected, "send the fields of a record only");
        }
        Ok(Value::Object(Some(record.finish())))
    }
}

struct Record {
    raw: RawRecord,
    seen: Vec<Column>,
    problem: Option<Problem>,
}

impl Record {
    fn set(&mut self, column: Column, value: Value) {
        if self.seen.contains(&column) {
            return self.fail(Some(column), "the field twice", "each field once", "keep one of the two");
        }
        self.seen.push(column);
        let (expected, mend) = match column {
            Column::GivenNames => ("a text or a list of texts", "put each name in quotation marks"),
            _ => ("a text or null", "put the value in quotation marks"),
        };
        match value {
            Value::Null => {}
            Value::Text(text) => self.raw.fields[column as usize] = text,
            Value::List(Some(names)) if column == Column::GivenNames => self.raw.fields[column as usize] = names,
            other => self.fail(Some(column), other.what(), expected, mend),
        }
    }

    fn pass_over(&mut self, fault: Fault) {
        if let Some(what) = fault {
            self.fail(None, what, "each name once", "keep one of the two");
        }
    }

    /// Keeps the first problem.
    fn fail(&mut self, column: Option<Column>, found: &str, expected: &str, mend: &str) {
        self.problem.get_or_insert_with(|| match column {
            Some(column) => Problem::in_column(Detail::RowUnreadable, column, found, expected, mend),
            None => Problem::of_row(Detail::RowUnreadable, found, expected, mend),
        });
    }

    fn finish(self) -> Row {
        match self.problem {
            Some(problem) => Err(RowProblem { row: self.raw.row, problem }),
            None => Ok(self.raw),
        }
    }
}

/// The name of a field; not looked at unless `known`.
struct Name {
    known: bool,
}

/// What the name of a field means.
enum Field {
    Known(Column),
    Other(String),
    /// Not looked at: the record has too many fields.
    Beyond,
}

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Field;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Field, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Field, E> {
        if !self.known {
            return Ok(Field::Beyond);
        }
        let exact = Column::ALL.into_iter().find(|c| c.name() == name);
        let alike = || if name.len() <= 64 { Column::from_header(name) } else { None };
        Ok(exact.or_else(alike).map_or_else(|| Field::Other(name.to_owned()), Field::Known))
    }
}
