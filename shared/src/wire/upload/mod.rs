//! An upload as it is sent: CSV, JSON or either of them packed with gzip.

mod csv;
mod envelope;
mod gzip;
mod json;

use sha2::{Digest, Sha256};

use crate::domain::{
    authority::AuthorityCode,
    record::RawRecord,
    upload::{Envelope, MAX_FILE_BYTES, MAX_RECORDS, RowProblem, UploadFile},
};

/// Why a file was refused as a whole: nothing of it was loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct Malformed {
    /// Which kind of refusal.
    pub kind: Kind,
    /// The file's sequence, where it could be read.
    pub sequence: Option<u64>,
    /// What is wrong and how to mend it; never repeats what the file holds.
    pub problem: String,
}

/// Kinds of refusal, one for each HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Neither CSV, JSON nor gzip, or in another encoding than UTF-8.
    UnsupportedMediaType,
    /// More than [`MAX_RECORDS`] records or [`MAX_FILE_BYTES`] bytes.
    TooLarge,
    /// Cannot be read.
    Malformed,
}

impl Malformed {
    fn new(kind: Kind, problem: impl Into<String>) -> Self {
        Self { kind, sequence: None, problem: problem.into() }
    }

    fn file(problem: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, problem)
    }

    fn with_sequence(self, sequence: Option<u64>) -> Self {
        Self { sequence: self.sequence.or(sequence), ..self }
    }
}

/// Reads a file of records; the query, already decoded, holds the envelope of a CSV file (R16, R17).
///
/// # Errors
/// The file cannot be read as a whole. A row that cannot be read is no error: it is in the file's records.
pub fn parse(media_type: Option<&str>, query: &[(String, String)], body: &[u8]) -> Result<UploadFile, Malformed> {
    open(media_type, body, |format, body| match format {
        Format::Csv => csv::parse(query, body),
        Format::Json => json::parse(json::Form::File, body),
    })
}

/// Reads a single plan, pushed by itself: a file of one record (R16).
///
/// # Errors
/// The body is not JSON, or its envelope cannot be read.
pub fn parse_single(media_type: Option<&str>, body: &[u8]) -> Result<UploadFile, Malformed> {
    open(media_type, body, |format, body| match format {
        Format::Csv => Err(Malformed::new(
            Kind::UnsupportedMediaType,
            "a single plan is sent as application/json; send CSV files to the uploads of the authority",
        )),
        Format::Json => json::parse(json::Form::Single, body),
    })
}

/// A file that says whose it is must say the same as the path to which it was sent: another council's would stand under the wrong
/// name.
///
/// # Errors
/// It says another code.
pub fn sent_by(file: UploadFile, authority: &AuthorityCode) -> Result<UploadFile, Malformed> {
    match &file.envelope.sender {
        Some(code) if code != authority.as_str() => {
            let problem = format!(
                "the envelope names another authority than {authority}, to which it was sent; nothing was loaded: send the file to \
                 the authority whose it is"
            );
            Err(Malformed::file(problem).with_sequence(Some(file.envelope.sequence)))
        }
        _ => Ok(file),
    }
}

#[derive(Clone, Copy)]
enum Format {
    Csv,
    Json,
}

fn open(
    media_type: Option<&str>,
    body: &[u8],
    read: impl FnOnce(Format, &[u8]) -> Result<UploadFile, Malformed>,
) -> Result<UploadFile, Malformed> {
    let format = match format_of(media_type.unwrap_or_default())? {
        Some(format) => format,
        None => {
            let unpacked = gzip::unpack(body)?;
            let first = without_bom(&unpacked).iter().find(|b| !b.is_ascii_whitespace());
            let format = if first == Some(&b'{') { Format::Json } else { Format::Csv };
            return read(format, plain(&unpacked)?);
        }
    };
    read(format, plain(body)?)
}

/// The format that a media type names; `None` is gzip.
fn format_of(media_type: &str) -> Result<Option<Format>, Malformed> {
    let unsupported = |found: &str| {
        let problem = format!("{found}; send text/csv, application/json or application/gzip, in UTF-8");
        Malformed::new(Kind::UnsupportedMediaType, problem)
    };
    let mut parts = media_type.split(';').map(str::trim);
    let format = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "text/csv" => Some(Format::Csv),
        "application/json" => Some(Format::Json),
        "application/gzip" | "application/x-gzip" => None,
        "" => return Err(unsupported("there is no Content-Type")),
        _ => return Err(unsupported("this Content-Type is not taken here")),
    };
    for (name, value) in parts.filter_map(|p| p.split_once('=')) {
        let charset = value.trim().trim_matches('"');
        let known = ["utf-8", "utf8", "us-ascii"].iter().any(|c| charset.eq_ignore_ascii_case(c));
        if name.trim().eq_ignore_ascii_case("charset") && !known {
            return Err(unsupported("the Content-Type names another charset than UTF-8"));
        }
    }
    Ok(format)
}

/// The content without a byte order mark, if it can be text in UTF-8 at all.
fn plain(body: &[u8]) -> Result<&[u8], Malformed> {
    if body.len() > MAX_FILE_BYTES {
        return Err(too_many_bytes());
    }
    match body {
        [0x1f, 0x8b, ..] => Err(Malformed::file("the body is packed with gzip; send it as application/gzip")),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(utf16()),
        _ => Ok(without_bom(body)),
    }
}

fn utf16() -> Malformed {
    Malformed::file("the file is in UTF-16; save it as UTF-8 (in Excel: \"CSV UTF-8\") and send it again")
}

fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

fn too_many_bytes() -> Malformed {
    let most = MAX_FILE_BYTES / (1024 * 1024);
    Malformed::new(Kind::TooLarge, format!("the file has more than {most} MB once unpacked; split the file"))
}

type Row = Result<RawRecord, RowProblem>;

/// The records found so far; those beyond [`MAX_RECORDS`] are only counted.
#[derive(Default)]
struct Records {
    kept: Vec<Row>,
    found: usize,
}

impl Records {
    /// The place of the record to come.
    fn next(&mut self) -> usize {
        self.found += 1;
        self.found
    }

    fn push(&mut self, row: Row) {
        if self.found <= MAX_RECORDS {
            self.kept.push(row);
        }
    }

    /// The file, if it has as many records as its envelope says: one that was cut off must not load by half (R16).
    fn into_file(self, envelope: Envelope, declared: usize, tag: &str, body: &[u8]) -> Result<UploadFile, Malformed> {
        let found = self.found;
        let sequence = Some(envelope.sequence);
        if found > MAX_RECORDS {
            let problem = format!("the file has {found} records, at most {MAX_RECORDS} are taken; split the file");
            return Err(Malformed::new(Kind::TooLarge, problem).with_sequence(sequence));
        }
        if found != declared {
            let problem = format!(
                "the envelope declares {declared} records, the file has {found}: it was cut off or miscounted, and \
                 nothing was loaded; send the whole file again"
            );
            return Err(Malformed::file(problem).with_sequence(sequence));
        }
        Ok(UploadFile { digest: digest(&envelope, tag, body), envelope, records: self.kept })
    }
}

/// R13: the digest of what was sent, whether packed or not.
fn digest(envelope: &Envelope, tag: &str, body: &[u8]) -> String {
    let contact = &envelope.contact;
    let office = contact.office_hours_phone.as_deref().unwrap_or_default();
    let head = format!(
        "{tag}\n{}\n{}\n{}\n{office}\n",
        envelope.sequence, envelope.created, contact.emergency_duty_team_phone
    );
    let hash = Sha256::new().chain_update(head).chain_update(body).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
