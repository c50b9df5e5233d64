//! What an authority's system reads from its mailbox and writes to it, as JSON.

use serde::{Deserialize, Serialize};

use super::strict::{self, StrictError};
use crate::{
    domain::{
        access::Access,
        authority::AuthorityCode,
        notification::{Delivered, Step},
        reading::Reading,
    },
    ports::Page,
};

/// The longest name of who took a step, in characters.
const LONGEST_NAME: usize = 100;

/// A notification with its life (R89).
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    #[serde(flatten)]
    delivered: &'a Delivered,
    life: Vec<Step>,
}

impl<'a> From<&'a Delivered> for Entry<'a> {
    fn from(delivered: &'a Delivered) -> Self {
        Self { delivered, life: delivered.life() }
    }
}

/// A page of notifications with their lives.
#[must_use]
pub fn entries(page: &Page<Delivered>) -> Page<Entry<'_>> {
    Page { items: page.items.iter().map(Entry::from).collect(), next: page.next.clone() }
}

/// Whether an authority has received what an access owes it, and nothing more (R86).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt<'a> {
    /// Whom the access owes a notification.
    pub authority: &'a AuthorityCode,
    /// Whether it is in the authority's mailbox.
    pub received: bool,
}

/// The path under which the setting that raised an access sees whether it was received (R86); none where nobody was owed.
#[must_use]
pub fn receipt_path(access: &Access) -> Option<String> {
    (!access.owed.is_empty()).then(|| format!("/cpis/receipts/{}/{}", access.child.as_str(), access.id))
}

/// Why a body cannot be used, and the member at fault.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is no JSON.
    #[error("the body is {0}")]
    Json(#[from] StrictError),
    /// A member is wrong.
    #[error("{member} is {expected}")]
    Member {
        /// Which one.
        member: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// It has not the members that it may have.
    #[error("{0}")]
    Shape(&'static str),
}

/// Who took a step, where the body says so: `{"by": "Duty team, north"}`. An empty body says nothing.
///
/// # Errors
/// See [`BodyError`].
pub fn taken_by(body: &[u8]) -> Result<Option<String>, BodyError> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct By {
        by: Option<String>,
    }
    if body.is_empty() {
        return Ok(None);
    }
    let read: By = serde_json::from_value(strict::value(body)?)
        .map_err(|_| BodyError::Shape("the body may hold one member, by: a text that says who took the step"))?;
    let plain = |name: &String| {
        let length = name.chars().count();
        (1..=LONGEST_NAME).contains(&length) && !name.chars().any(char::is_control) && name.trim() == name
    };
    match read.by {
        Some(name) if !plain(&name) => {
            Err(BodyError::Member { member: "by", expected: "1 to 100 characters without line breaks" })
        }
        by => Ok(by),
    }
}

/// An authority's own rules of reading (R84, R85).
///
/// # Errors
/// See [`BodyError`].
pub fn reading(body: &[u8]) -> Result<Reading, BodyError> {
    const SHAPE: &str =
        "the body may hold cadence (every-access or digest), digestHour, unreadMinutes and urgentUnreadMinutes";
    let body = strict::value(body)?;
    // A list would be read as the members in their order, and an empty one as nothing but defaults.
    let members = body.is_object().then_some(body).ok_or(BodyError::Shape(SHAPE))?;
    let reading: Reading = serde_json::from_value(members).map_err(|_| BodyError::Shape(SHAPE))?;
    reading.check().map_err(|(member, expected)| BodyError::Member { member, expected })?;
    Ok(reading)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::reading::Cadence;

    #[test]
    fn r89_who_took_a_step_is_a_short_plain_text() {
        assert_eq!(taken_by(b""), Ok(None));
        assert_eq!(taken_by(b"{}"), Ok(None));
        assert_eq!(taken_by(r#"{"by":"Duty team, nörd"}"#.as_bytes()), Ok(Some("Duty team, nörd".into())));
        let long = format!(r#"{{"by":"{}"}}"#, "x".repeat(101));
        for bad in [r#"{"by":""}"#, r#"{"by":" x"}"#, r#"{"by":"a\nb"}"#, &long] {
            assert!(matches!(taken_by(bad.as_bytes()), Err(BodyError::Member { member: "by", .. })), "{bad}");
        }
        for bad in [r#"{"by":1}"#, r#"{"who":"x"}"#, "[1]", "3"] {
            assert!(matches!(taken_by(bad.as_bytes()), Err(BodyError::Shape(_))), "{bad}");
        }
        assert_eq!(taken_by(b"{"), Err(BodyError::Json(StrictError::NotJson)));
        assert_eq!(taken_by(br#"{"by":"a","by":"b"}"#), Err(BodyError::Json(StrictError::Repeated)));
    }

    #[test]
    fn r84_r85_rules_of_reading_are_read_strictly() {
        let daily = Reading { cadence: Cadence::Digest, digest_hour: 7, ..Reading::default() };
        assert_eq!(reading(br#"{"cadence":"digest","digestHour":7}"#), Ok(daily));
        assert_eq!(reading(b"{}"), Ok(Reading::default()));
        for (bad, member) in [(r#"{"digestHour":24}"#, "digestHour"), (r#"{"unreadMinutes":1}"#, "unreadMinutes")] {
            let error = reading(bad.as_bytes()).expect_err("refused");
            assert!(matches!(error, BodyError::Member { member: at, .. } if at == member), "{error}");
        }
        for bad in [r#"{"digesthour":7}"#, "[]", r#"["digest",7]"#, "null"] {
            assert!(matches!(reading(bad.as_bytes()), Err(BodyError::Shape(_))), "{bad}");
        }
    }
}
