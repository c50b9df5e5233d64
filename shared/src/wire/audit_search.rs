//! Searches of accesses for an audit: from a form or JSON to what is asked; from what was found to JSON or CSV.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{csv_export::CsvExport, search::parse_form, strict};
use crate::domain::{
    access::Access,
    audit_search::Span,
    caller::{JobRole, Organisation, Requester},
    nhs_number::{ChildKey, NhsNumber, NhsNumberError},
    notification::{GENERIC_PERSON, GENERIC_PLACE},
    policy::Presentation,
    setting::{CareKind, is_ods_code},
    time::sortable,
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
    #[error("organisation is an ODS code: 3 to 10 letters and digits")]
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
        let sent = strict::value(body).ok().filter(serde_json::Value::is_object).ok_or(AskError::Unreadable)?;
        understood(serde_json::from_value(sent).map_err(|_| AskError::Unreadable)?)
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
        (None, Some(person), None) => Wanted::Person(Some(person).filter(|id| is_id(id)).ok_or(AskError::Person)?),
        (None, None, Some(code)) => {
            let code = Some(code.to_ascii_uppercase()).filter(|code| is_ods_code(code));
            Wanted::Organisation(code.ok_or(AskError::Organisation)?)
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

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn moment(name: &'static str, text: Option<String>) -> Result<Option<Timestamp>, AskError> {
    text.map(|text| text.parse().map_err(|_| AskError::Moment(name))).transpose()
}

/// Who looked, as an officer reads it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Viewer<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    job_role: Option<&'a JobRole>,
}

/// On whose behalf.
#[derive(Debug, Serialize)]
struct Place<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    name: &'a str,
}

/// An access, as an officer reads it. A child is known by its key: who has the number can search by it, and who has not learns
/// none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row<'a> {
    id: Uuid,
    at: String,
    child: &'a str,
    search: &'static str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<&'a str>,
    unscheduled: bool,
    plans: &'a [String],
    notified: Vec<&'a str>,
    viewer: Viewer<'a>,
    organisation: Place<'a>,
    care: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<Uuid>,
}

impl<'a> Row<'a> {
    /// Of an access, shown so. R52: generically shown it tells nothing of who looked and where, but the region.
    #[must_use]
    pub fn new(access: &'a Access, presentation: Presentation) -> Self {
        let full = presentation == Presentation::Full;
        let outcome = match (&access.refused, access.disclosed.is_empty()) {
            (Some(_), _) => "refused",
            (None, true) => "nothing-held",
            (None, false) => "disclosed",
        };
        Self {
            id: access.id,
            at: sortable(access.at),
            child: access.child.as_str(),
            search: access.interaction.name(),
            outcome,
            // Some reasons are given in one kind of care only.
            refused: access.refused.as_deref().filter(|_| full),
            unscheduled: access.unscheduled,
            plans: &access.disclosed,
            notified: access.owed.iter().map(|owed| owed.authority.as_str()).collect(),
            viewer: if full { viewer(&access.requester) } else { GENERIC_VIEWER },
            organisation: if full { place(&access.organisation) } else { Place { code: None, name: GENERIC_PLACE } },
            care: access.care.iter().filter(|_| full).map(|kind| CareKind::code(*kind)).collect(),
            region: access.region.as_deref(),
            trace_id: full.then_some(access.trace_id),
        }
    }

    /// The row's cells, in the order of [`COLUMNS`].
    fn cells(&self) -> [String; 18] {
        let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
        let (viewer, organisation) = (&self.viewer, &self.organisation);
        [
            self.at.clone(),
            self.outcome.to_owned(),
            text(self.refused),
            self.search.to_owned(),
            if self.unscheduled { "unscheduled" } else { "scheduled" }.to_owned(),
            self.child.to_owned(),
            viewer.kind.to_owned(),
            text(viewer.id),
            viewer.name.to_owned(),
            text(viewer.job_role.map(|role| role.code.as_str())),
            text(viewer.job_role.map(|role| role.display.as_str())),
            text(organisation.code),
            organisation.name.to_owned(),
            self.care.join(" "),
            text(self.region),
            self.plans.join(" "),
            self.notified.join(" "),
            self.id.to_string(),
        ]
    }
}

const GENERIC_VIEWER: Viewer<'_> = Viewer { kind: "withheld", id: None, name: GENERIC_PERSON, job_role: None };

fn viewer(requester: &Requester) -> Viewer<'_> {
    let (kind, job_role) = match requester {
        Requester::Person(person) => ("person", Some(&person.job_role)),
        Requester::Device(_) => ("device", None),
    };
    Viewer { kind, id: Some(requester.id()), name: requester.name(), job_role }
}

fn place(organisation: &Organisation) -> Place<'_> {
    Place { code: Some(&organisation.code), name: &organisation.name }
}

/// A page of a search, as JSON has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed<'a> {
    /// The accesses, newest first.
    pub items: Vec<Row<'a>>,
    /// Where the rest begins; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Accesses before this moment are all found; later ones may still be on their way.
    pub complete_until: String,
}

/// The columns of the CSV.
pub const COLUMNS: [&str; 18] = [
    "at",
    "outcome",
    "refused",
    "search",
    "care_type",
    "child",
    "viewer",
    "viewer_id",
    "viewer_name",
    "job_role_code",
    "job_role",
    "organisation_code",
    "organisation",
    "care",
    "region",
    "plans",
    "notified",
    "access_id",
];

/// Rows as CSV; with the heading only where they are the first, so that pages put together are one file.
#[must_use]
pub fn csv(rows: &[Row<'_>], first: bool) -> Vec<u8> {
    let mut export = CsvExport::default();
    if first {
        export.row(COLUMNS);
    }
    for row in rows {
        export.row(row.cells().iter().map(String::as_str));
    }
    export.into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::{
        access::{Interaction, Owed},
        authority::AuthorityCode,
        caller::{Device, Person, SafeguardingLead},
        nhs_number::ChildKeySecret,
    };

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
            ("[null, \"5\", null, null, null, null, null]", AskError::Unreadable),
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

    /// An access of which every word occurs nowhere else.
    fn access(words: &[String; 8], device: bool, refused: bool) -> Access {
        let [a, b, c, d, e, f, g, h] = words.clone();
        let requester = if device {
            let lead = Some(SafeguardingLead { name: c, phone: d });
            Requester::Device(Device { asid: a, responsible: b, location: Some(e), safeguarding_lead: lead })
        } else {
            Requester::Person(Person { user: a, role_profile: b, name: c, job_role: JobRole { code: d, display: e } })
        };
        let number = NhsNumber::parse("9990000018").expect("valid");
        Access {
            child: ChildKeySecret::new(&[1; 32]).expect("long enough").key_of(&number),
            id: Uuid::from_u128(1),
            at: "2026-11-22T12:00:00.250Z".parse().expect("valid"),
            requester,
            organisation: Organisation { code: f, name: g },
            interaction: Interaction::CareTeam,
            unscheduled: true,
            disclosed: vec!["CPP#E06000001".into()],
            owed: vec![Owed {
                authority: AuthorityCode::parse("E06000001").expect("valid"),
                local_ids: vec![h],
                signals: std::collections::BTreeSet::new(),
            }],
            nhs_number: Some(number),
            trace_id: Uuid::from_u128(0x7777),
            care: vec![CareKind::SexualHealth],
            region: Some("North East".into()),
            presentation: Presentation::Generic,
            refused: refused.then(|| "no-consent".into()),
        }
    }

    fn words() -> [String; 8] {
        ["5550", "profile", "Alex Example", "R8001", "Nurse", "ZX001", "Sample Hospital", "C-1"].map(str::to_owned)
    }

    #[test]
    fn what_an_officer_reads() {
        let access = access(&words(), false, false);
        let row = serde_json::to_value(Row::new(&access, Presentation::Full)).expect("JSON");
        let expected = serde_json::json!({
            "id": "00000000-0000-0000-0000-000000000001", "at": "2026-11-22T12:00:00.250Z", "child": access.child,
            "search": "CareTeam", "outcome": "disclosed", "unscheduled": true, "plans": ["CPP#E06000001"],
            "notified": ["E06000001"], "organisation": {"code": "ZX001", "name": "Sample Hospital"},
            "viewer": {"kind": "person", "id": "5550", "name": "Alex Example",
                "jobRole": {"code": "R8001", "display": "Nurse"}},
            "care": ["sexual-health"], "region": "North East", "traceId": "00000000-0000-0000-0000-000000007777"
        });
        assert_eq!(row, expected);
        let refused = Access { disclosed: vec![], refused: Some("no-consent".into()), ..access.clone() };
        let row = serde_json::to_value(Row::new(&refused, Presentation::Full)).expect("JSON");
        assert_eq!((&row["outcome"], &row["refused"]), (&"refused".into(), &"no-consent".into()));
        let nothing = Access { disclosed: vec![], ..access.clone() };
        let row = serde_json::to_value(Row::new(&nothing, Presentation::Full)).expect("JSON");
        assert_eq!((&row["outcome"], row.get("refused")), (&"nothing-held".into(), None));

        let rows = [Row::new(&access, Presentation::Full)];
        let table = String::from_utf8(csv(&rows, true)).expect("UTF-8");
        let expected = format!(
            "\"2026-11-22T12:00:00.250Z\",\"disclosed\",\"\",\"CareTeam\",\"unscheduled\",\"{}\",\"person\",\"5550\",\
             \"Alex Example\",\"R8001\",\"Nurse\",\"ZX001\",\"Sample Hospital\",\"sexual-health\",\"North East\",\
             \"CPP#E06000001\",\"E06000001\",\"00000000-0000-0000-0000-000000000001\"\r\n",
            access.child.as_str(),
        );
        assert_eq!(table.split_once("\r\n").map(|(_, rest)| rest), Some(expected.as_str()));
        assert_eq!(csv(&rows, false), expected.into_bytes(), "a later page has no heading");
    }

    proptest! {
        #[test]
        fn r52_a_generic_label_tells_nothing_of_who_and_where(
            seeds in proptest::array::uniform8("[A-Za-z0-9=+@ ]{0,12}"), device in any::<bool>(), refused in any::<bool>(),
        ) {
            // Marked, so that none is part of anything else.
            let mut n = 0;
            let words = seeds.map(|seed| { n += 1; format!("{seed}~{n}~") });
            let access = access(&words, device, refused);
            let label = |presentation| {
                let rows = [Row::new(&access, presentation)];
                let json = serde_json::to_string(&rows).expect("JSON");
                json + &String::from_utf8(csv(&rows, true)).expect("UTF-8")
            };
            let generic = label(Presentation::Generic);
            for word in words.iter().map(String::as_str).chain(["sexual", "no-consent", "7777", "9990000018"]) {
                prop_assert!(!generic.contains(word), "{} in {}", word, generic);
            }
            prop_assert!(generic.contains("North East") && generic.contains(GENERIC_PLACE), "{}", generic);
            // Told in full, an officer sees whom to ask, but never the child's number or case.
            let full = label(Presentation::Full);
            prop_assert!(full.contains("~1~") && full.contains("~6~"), "{}", full);
            prop_assert!(!full.contains("9990000018") && !full.contains("~8~"), "{}", full);
        }

        #[test]
        fn no_bytes_do_harm(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _refused_or_read = (read(Some(JSON), &body), read(Some(FORM), &body));
        }
    }
}
