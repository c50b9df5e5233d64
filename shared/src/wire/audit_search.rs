//! Searches of accesses for an audit: from a form or JSON to what is asked; from what was found to JSON or CSV.

use jiff::Timestamp;
use serde::Deserialize;

use super::search::parse_form;
use crate::domain::{
    audit_search::Span,
    nhs_number::{ChildKey, NhsNumber, NhsNumberError},
};

/// The media type of a posted form.
pub const FORM: &str = "application/x-www-form-urlencoded";
/// The media type of JSON.
pub const JSON: &str = "application/json";

/// Entries in a page where the search does not say (R32).
const DEFAULT_LIMIT: usize = 100;
/// Entries in a page at the most (R32).
const MAX_LIMIT: usize = 1_000;
/// The longest body, in bytes.
const MAX_BODY: usize = 4_096;

/// Whose accesses are asked for, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Those to the child with this NHS number.
    Number(NhsNumber),
    /// Those to the child that an earlier answer named in this way.
    Child(ChildKey),
    /// Those by a person (SDS user id) or device (ASID).
    Person(String),
    /// Those on behalf of an organisation (ODS code).
    Organisation(String),
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Whose accesses.
    pub wanted: Wanted,
    /// Of which time.
    pub span: Span,
    /// `next` of the page before.
    pub cursor: Option<String>,
    /// How many at the most, 1 to 1,000.
    pub limit: usize,
}

/// Why a request was refused, and how to mend it. No message repeats a value, which might be a number (R31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The body is of another type.
    #[error("send the search as {FORM} or {JSON}")]
    MediaType,
    /// The body cannot be read.
    #[error(
        "the body is not a form or JSON object of at most 4,096 bytes with each of child, person, organisation, from, to, cursor and limit at most once, and nothing else"
    )]
    Unreadable,
    /// None or several of the three.
    #[error("name exactly one of child, person and organisation")]
    NotOne,
    /// Not an NHS number.
    #[error("child is neither an NHS number nor a child of an earlier answer: {0}")]
    Child(NhsNumberError),
    /// Not an id.
    #[error("person is the SDS user id of a person or the ASID of a device: 1 to 64 letters, digits and hyphens")]
    Person,
    /// Not a code.
    #[error("organisation is an ODS code: 1 to 16 letters and digits")]
    Organisation,
    /// Not a moment.
    #[error("from and to are moments with their zone, such as 2026-11-22T08:30:00Z")]
    Moment(&'static str),
    /// No time.
    #[error("from is not before to, so that nothing lies between them")]
    Span,
    /// Not a limit.
    #[error("limit is a whole number from 1 to 1000")]
    Limit,
}

impl AskError {
    /// The parameter to mend; `None` where the whole request is meant.
    #[must_use]
    pub const fn parameter(self) -> Option<&'static str> {
        match self {
            Self::MediaType | Self::Unreadable | Self::NotOne => None,
            Self::Child(_) => Some("child"),
            Self::Person => Some("person"),
            Self::Organisation => Some("organisation"),
            Self::Moment(name) => Some(name),
            Self::Span => Some("from"),
            Self::Limit => Some("limit"),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    child: Option<String>,
    person: Option<String>,
    organisation: Option<String>,
    from: Option<String>,
    to: Option<String>,
    cursor: Option<String>,
    limit: Option<serde_json::Value>,
}

/// Reads a request's body of this media type.
///
/// # Errors
/// See [`AskError`].
pub fn read(media_type: Option<&str>, body: &[u8]) -> Result<Asked, AskError> {
    let media_type = media_type.and_then(|value| value.split(';').next()).map(str::trim).unwrap_or_default();
    if body.len() > MAX_BODY {
        return Err(AskError::Unreadable);
    }
    if media_type.eq_ignore_ascii_case(JSON) {
        understood(serde_json::from_slice(body).map_err(|_| AskError::Unreadable)?)
    } else if media_type.eq_ignore_ascii_case(FORM) {
        understood(form(body)?)
    } else {
        Err(AskError::MediaType)
    }
}

fn form(body: &[u8]) -> Result<Sent, AskError> {
    let mut sent = Sent::default();
    for (name, value) in parse_form(body).map_err(|_| AskError::Unreadable)? {
        let field = match name.as_str() {
            "child" => &mut sent.child,
            "person" => &mut sent.person,
            "organisation" => &mut sent.organisation,
            "from" => &mut sent.from,
            "to" => &mut sent.to,
            "cursor" => &mut sent.cursor,
            "limit" if sent.limit.is_none() => {
                sent.limit = Some(value.parse::<usize>().map_err(|_| AskError::Limit)?.into());
                continue;
            }
            _ => return Err(AskError::Unreadable),
        };
        if field.replace(value).is_some() {
            return Err(AskError::Unreadable);
        }
    }
    Ok(sent)
}

fn understood(sent: Sent) -> Result<Asked, AskError> {
    let wanted = match (sent.child, sent.person, sent.organisation) {
        (Some(child), None, None) => child_of(&child)?,
        (None, Some(person), None) => Wanted::Person(code(person, 64, b"-").ok_or(AskError::Person)?),
        (None, None, Some(code_)) => {
            Wanted::Organisation(code(code_, 16, b"").ok_or(AskError::Organisation)?.to_ascii_uppercase())
        }
        _ => return Err(AskError::NotOne),
    };
    let span = Span::new(moment("from", sent.from)?, moment("to", sent.to)?).ok_or(AskError::Span)?;
    let limit = match sent.limit {
        None => DEFAULT_LIMIT,
        Some(limit) => {
            let limit = limit.as_u64().and_then(|limit| usize::try_from(limit).ok());
            limit.filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or(AskError::Limit)?
        }
    };
    Ok(Asked { wanted, span, cursor: sent.cursor, limit })
}

fn child_of(text: &str) -> Result<Wanted, AskError> {
    match ChildKey::parse(text) {
        Some(key) => Ok(Wanted::Child(key)),
        None => NhsNumber::parse(text).map(Wanted::Number).map_err(AskError::Child),
    }
}

fn code(text: String, longest: usize, more: &[u8]) -> Option<String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b));
    (plain && (1..=longest).contains(&text.len())).then_some(text)
}

fn moment(name: &'static str, text: Option<String>) -> Result<Option<Timestamp>, AskError> {
    text.map(|text| text.parse().map_err(|_| AskError::Moment(name))).transpose()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::nhs_number::ChildKeySecret;

    fn json(body: &str) -> Result<Asked, AskError> {
        read(Some(JSON), body.as_bytes())
    }

    fn form(body: &str) -> Result<Asked, AskError> {
        read(Some(FORM), body.as_bytes())
    }

    #[test]
    fn r51_a_search_names_one_child_person_or_organisation() {
        let number = NhsNumber::parse("9990000018").expect("valid");
        let key = ChildKeySecret::new(&[1; 32]).expect("long enough").key_of(&number);
        for (name, value, wanted) in [
            ("child", "999 000 0018", Wanted::Number(number)),
            ("child", key.as_str(), Wanted::Child(key.clone())),
            ("person", "555000000001", Wanted::Person("555000000001".into())),
            ("organisation", "zx001", Wanted::Organisation("ZX001".into())),
        ] {
            let expected = Asked { wanted, span: Span::new(None, None).expect("all"), cursor: None, limit: 100 };
            assert_eq!(json(&format!("{{\"{name}\": \"{value}\"}}")), Ok(expected.clone()), "{name}");
            assert_eq!(form(&format!("{name}={value}")), Ok(expected), "{name}");
        }
        let (from, to) = ("2015-01-01T00:00:00Z", "2026-11-24T09:00:00+01:00");
        let span = Span::new(from.parse().ok(), to.parse().ok()).expect("a span");
        let expected = Asked { wanted: Wanted::Person("5".into()), span, cursor: Some("abc".into()), limit: 7 };
        let sent =
            format!("{{\"person\": \"5\", \"from\": \"{from}\", \"to\": \"{to}\", \"cursor\": \"abc\", \"limit\": 7}}");
        assert_eq!(json(&sent), Ok(expected.clone()));
        let sent = format!("person=5&from={from}&to={}&cursor=abc&limit=7", to.replace('+', "%2B"));
        assert_eq!(read(Some("Application/x-www-form-urlencoded; charset=utf-8"), sent.as_bytes()), Ok(expected));
    }

    #[test]
    fn requests_that_are_refused() {
        for (body, error) in [
            ("", AskError::Unreadable),
            ("{}", AskError::NotOne),
            ("[]", AskError::Unreadable),
            ("{\"person\": \"5\", \"organisation\": \"ZX1\"}", AskError::NotOne),
            ("{\"person\": \"5\", \"person\": \"6\"}", AskError::Unreadable),
            ("{\"person\": 5}", AskError::Unreadable),
            ("{\"person\": \"5\", \"name\": \"x\"}", AskError::Unreadable),
            ("{\"person\": \"5\"} {}", AskError::Unreadable),
            ("{\"person\": \"\"}", AskError::Person),
            ("{\"person\": \"a b\"}", AskError::Person),
            ("{\"organisation\": \"ZX-1\"}", AskError::Organisation),
            ("{\"child\": \"9990000019\"}", AskError::Child(NhsNumberError::CheckDigit)),
            ("{\"person\": \"5\", \"from\": \"2026-11-22\"}", AskError::Moment("from")),
            ("{\"person\": \"5\", \"to\": \"2026-11-22T08:30:00\"}", AskError::Moment("to")),
            (
                "{\"person\": \"5\", \"from\": \"2026-11-22T08:30:00Z\", \"to\": \"2026-11-22T08:30:00Z\"}",
                AskError::Span,
            ),
            ("{\"person\": \"5\", \"limit\": 0}", AskError::Limit),
            ("{\"person\": \"5\", \"limit\": 1001}", AskError::Limit),
            ("{\"person\": \"5\", \"limit\": 1.5}", AskError::Limit),
            ("{\"person\": \"5\", \"limit\": \"7\"}", AskError::Limit),
        ] {
            assert_eq!(json(body), Err(error), "{body}");
            assert!(!error.to_string().contains("999000"), "R31: {error}");
        }
        for (body, error) in [
            ("", AskError::NotOne),
            ("person=5&person=5", AskError::Unreadable),
            ("person=5&limit=1&limit=1", AskError::Unreadable),
            ("person=5&limit=-1", AskError::Limit),
            ("person=5&limit=", AskError::Limit),
            ("person=5&name=x", AskError::Unreadable),
            ("person=%ff", AskError::Unreadable),
            ("child=&person=5", AskError::NotOne),
            // A plus that was not encoded is a space.
            ("person=5&from=2026-11-22T08:30:00+01:00", AskError::Moment("from")),
        ] {
            assert_eq!(form(body), Err(error), "{body}");
        }
        let long = format!("{{\"person\": \"{}\"}}", "5".repeat(MAX_BODY));
        assert_eq!(json(&long), Err(AskError::Unreadable));
        for media_type in [None, Some(""), Some("text/csv"), Some("application/jsonx")] {
            assert_eq!(read(media_type, b"{\"person\": \"5\"}"), Err(AskError::MediaType), "{media_type:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _refused_or_read = (read(Some(JSON), &body), read(Some(FORM), &body));
        }
    }
}
