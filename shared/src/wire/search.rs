//! FHIR search parameters of the look-ups: from a query or a posted form to the child's number (R18).

use percent_encoding::percent_decode_str;

use crate::domain::nhs_number::{NhsNumber, NhsNumberError};

/// Identifier system of NHS numbers.
pub const NHS_NUMBER_SYSTEM: &str = "https://fhir.nhs.uk/Id/nhs-number";
/// The search parameter that every look-up needs.
pub const PATIENT: &str = "patient:identifier";
/// The one inclusion that may be asked for. Answers always include what their entries refer to.
pub const INCLUDE: &str = "AuditEvent:entity-type=http://terminology.hl7.org/CodeSystem/v3-RoleClass|ASSIGNED";

/// The most parameters in a form or query.
const MAX_PAIRS: usize = 16;
/// The longest form, in bytes; a search needs fewer than 400.
const MAX_FORM: usize = 4_096;

/// Why a search was refused, and how to mend it. No message repeats a value, which might be a number (R31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SearchError {
    /// The form is longer than a search can be.
    #[error("the form is longer than 4,096 bytes; send just {PATIENT}")]
    FormTooLong,
    /// The form is not percent-encoded UTF-8.
    #[error("the form is not percent-encoded UTF-8 (application/x-www-form-urlencoded); encode | as %7C and : as %3A")]
    FormUnreadable,
    /// Too many parameters.
    #[error("more than 16 parameters; send just {PATIENT}")]
    TooManyParameters,
    /// No patient.
    #[error("{PATIENT} is missing; send {PATIENT}={NHS_NUMBER_SYSTEM}|<10 digits>")]
    Missing,
    /// The patient is given more than once, or as a list.
    #[error("{PATIENT} is given more than once; search for one child at a time")]
    Repeated,
    /// Another parameter is given more than once (R60).
    #[error("a parameter is given more than once; give each once")]
    RepeatedOther,
    /// No identifier system.
    #[error("{PATIENT} lacks the identifier system; send {NHS_NUMBER_SYSTEM}|<10 digits>")]
    NoSystem,
    /// Another identifier system.
    #[error("{PATIENT} has an identifier system other than {NHS_NUMBER_SYSTEM}")]
    UnknownSystem,
    /// Not an NHS number.
    #[error("{PATIENT} does not hold an NHS number: {0}")]
    Number(NhsNumberError),
    /// An inclusion that there is none of.
    #[error("_include may only be {INCLUDE}")]
    Include,
    /// A format that answers do not come in.
    #[error("_format may only be json or application/fhir+json")]
    Format,
    /// A limit on the number of entries.
    #[error("_count is not supported: an answer is never cut, lest a plan be missed; leave it out")]
    Count,
    /// The patient under another name.
    #[error("the search parameter is {PATIENT}, spelt so; no other way to name a child is supported")]
    OtherName,
    /// Any other parameter.
    #[error("a parameter is not supported; a search takes {PATIENT}, and may have _format and _include")]
    Unsupported,
}

impl SearchError {
    /// The parameter to mend; `None` where the whole search is meant.
    #[must_use]
    pub const fn parameter(self) -> Option<&'static str> {
        match self {
            Self::FormTooLong
            | Self::FormUnreadable
            | Self::TooManyParameters
            | Self::RepeatedOther
            | Self::Unsupported => None,
            Self::Include => Some("_include"),
            Self::Format => Some("_format"),
            Self::Count => Some("_count"),
            _ => Some(PATIENT),
        }
    }
}

/// Reads a body of type `application/x-www-form-urlencoded` into its pairs, in their order.
///
/// # Errors
/// Where it is too long, has too many pairs, or is not percent-encoded UTF-8 free of control characters.
pub fn parse_form(body: &[u8]) -> Result<Vec<(String, String)>, SearchError> {
    if body.len() > MAX_FORM {
        return Err(SearchError::FormTooLong);
    }
    let text = std::str::from_utf8(body).map_err(|_| SearchError::FormUnreadable)?.trim_ascii_end();
    let mut pairs = text.split('&').filter(|pair| !pair.is_empty());
    let decoded = pairs
        .by_ref()
        .take(MAX_PAIRS)
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect::<Result<_, _>>()?;
    if pairs.next().is_some() { Err(SearchError::TooManyParameters) } else { Ok(decoded) }
}

fn decode(text: &str) -> Result<String, SearchError> {
    let whole = |escape: &str| escape.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    if !text.split('%').skip(1).all(whole) {
        return Err(SearchError::FormUnreadable);
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| SearchError::FormUnreadable)?;
    if decoded.chars().any(char::is_control) { Err(SearchError::FormUnreadable) } else { Ok(decoded.into_owned()) }
}

/// The child that a search is for: exactly one, by NHS number; every other parameter must be one that is understood,
/// so that nobody reads an answer as narrower or wider than it is (FHIR R4 search, "handling: strict").
///
/// # Errors
/// See [`SearchError`].
pub fn patient_number(params: &[(String, String)]) -> Result<NhsNumber, SearchError> {
    if params.len() > MAX_PAIRS {
        return Err(SearchError::TooManyParameters);
    }
    let mut token = None;
    for (index, (name, value)) in params.iter().enumerate() {
        let repeated = params[..index].iter().any(|(before, _)| before == name);
        match name.as_str() {
            PATIENT if repeated => return Err(SearchError::Repeated),
            _ if repeated => return Err(SearchError::RepeatedOther),
            PATIENT => token = Some(value.as_str()),
            "_include" if value == INCLUDE => {}
            "_include" => return Err(SearchError::Include),
            // A `+` that was sent as it is arrives as a space.
            "_format"
                if matches!(
                    value.as_str(),
                    "json" | "application/json" | "application/fhir+json" | "application/fhir json"
                ) => {}
            "_format" => return Err(SearchError::Format),
            "_count" => return Err(SearchError::Count),
            "patient" | "subject" | "subject:identifier" | "identifier" | "patient.identifier"
            | "subject.identifier" => {
                return Err(SearchError::OtherName);
            }
            _ => return Err(SearchError::Unsupported),
        }
    }
    number(token.ok_or(SearchError::Missing)?)
}

fn number(token: &str) -> Result<NhsNumber, SearchError> {
    if token.is_empty() {
        return Err(SearchError::Missing);
    }
    if token.contains(',') {
        return Err(SearchError::Repeated);
    }
    match token.split_once('|') {
        None | Some(("", _)) => Err(SearchError::NoSystem),
        Some((NHS_NUMBER_SYSTEM, value)) => NhsNumber::parse(value).map_err(SearchError::Number),
        Some(_) => Err(SearchError::UnknownSystem),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "https://fhir.nhs.uk/Id/nhs-number|9990000018";

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn r18_searches_that_are_understood() {
        for params in [
            &[(PATIENT, TOKEN)][..],
            &[(PATIENT, "https://fhir.nhs.uk/Id/nhs-number|999 000 0018")],
            &[(PATIENT, TOKEN), ("_format", "application/fhir json")],
            &[("_format", "json"), ("_include", INCLUDE), (PATIENT, TOKEN)],
        ] {
            assert_eq!(
                patient_number(&pairs(params)).map(|n| n.digits().to_owned()),
                Ok("9990000018".into()),
                "{params:?}"
            );
        }
    }

    #[test]
    fn r60_searches_that_are_refused() {
        for (params, error) in [
            (&[][..], SearchError::Missing),
            (&[(PATIENT, "")], SearchError::Missing),
            (&[(PATIENT, TOKEN), (PATIENT, TOKEN)], SearchError::Repeated),
            (&[(PATIENT, &format!("{TOKEN},{TOKEN}"))], SearchError::Repeated),
            (&[(PATIENT, "9990000018")], SearchError::NoSystem),
            (&[(PATIENT, "|9990000018")], SearchError::NoSystem),
            (&[(PATIENT, "http://fhir.nhs.uk/Id/nhs-number|9990000018")], SearchError::UnknownSystem),
            (
                &[(PATIENT, "https://fhir.nhs.uk/Id/nhs-number|9990000019")],
                SearchError::Number(NhsNumberError::CheckDigit),
            ),
            (&[(PATIENT, "https://fhir.nhs.uk/Id/nhs-number|")], SearchError::Number(NhsNumberError::Length)),
            (
                &[(PATIENT, "https://fhir.nhs.uk/Id/nhs-number|9990000018|x")],
                SearchError::Number(NhsNumberError::Length),
            ),
            (&[(PATIENT, TOKEN), ("_include", "*")], SearchError::Include),
            (&[(PATIENT, TOKEN), ("_format", "xml")], SearchError::Format),
            (&[(PATIENT, TOKEN), ("_count", "1")], SearchError::Count),
            (&[("patient", TOKEN)], SearchError::OtherName),
            (&[(PATIENT, TOKEN), ("status", "active")], SearchError::Unsupported),
            (&[(PATIENT, TOKEN), ("_format", "json"), ("_format", "json")], SearchError::RepeatedOther),
            (&[(PATIENT, TOKEN), ("_include", INCLUDE), ("_include", "*")], SearchError::RepeatedOther),
            (&[("x", "y"); 17], SearchError::TooManyParameters),
        ] {
            let found = patient_number(&pairs(params)).expect_err("refused");
            assert_eq!(found, error, "{params:?}");
            assert!(!found.to_string().contains("999000001"), "R31: {found}");
        }
    }

    #[test]
    fn forms() {
        let encoded = b"patient%3Aidentifier=https%3A%2F%2Ffhir.nhs.uk%2FId%2Fnhs-number%7C9990000018\r\n";
        assert_eq!(parse_form(encoded), Ok(pairs(&[(PATIENT, TOKEN)])));
        let bare = format!("{PATIENT}={TOKEN}&_include={INCLUDE}&&x");
        assert_eq!(parse_form(bare.as_bytes()), Ok(pairs(&[(PATIENT, TOKEN), ("_include", INCLUDE), ("x", "")])));
        assert_eq!(parse_form(b""), Ok(vec![]));
        assert_eq!(parse_form(b"a=1+2"), Ok(pairs(&[("a", "1 2")])));
        for hostile in
            [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%ff", b"\xff=1", b"a=%00", b"a=%0D%0Ab", b"a=%c3%28", b"a=%\xc3\xa9"]
        {
            assert_eq!(parse_form(hostile), Err(SearchError::FormUnreadable), "{hostile:?}");
        }
        assert_eq!(parse_form(&[b'a'; MAX_FORM + 1]), Err(SearchError::FormTooLong));
        assert_eq!(parse_form("a=1&".repeat(17).as_bytes()), Err(SearchError::TooManyParameters));
        assert_eq!(parse_form("a=1&".repeat(16).as_bytes()).map(|p| p.len()), Ok(16));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(names in proptest::collection::vec(("[^\\pC]{1,9}", "[^\\pC]{0,20}"), 0..9)) {
            use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let form: Vec<_> = names.iter().map(|(n, v)| format!("{}={}", encode(n), encode(v))).collect();
            prop_assert_eq!(parse_form(form.join("&").as_bytes()), Ok(names));
        }

        #[test]
        fn no_bytes_do_harm(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(pairs) = parse_form(&body) {
                prop_assert!(pairs.iter().all(|(n, v)| !n.chars().chain(v.chars()).any(char::is_control)));
                let _refused_or_read = patient_number(&pairs);
            }
        }
    }
}
