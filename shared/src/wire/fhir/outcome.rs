//! OperationOutcome: what went wrong, and who mends it how; or advice beside an answer.

use serde_json::{Value, json};

/// Code system of the Spine's error codes.
pub const SPINE_CODES: &str = "https://fhir.nhs.uk/R4/CodeSystem/Spine-ErrorOrWarningCode";
const PROFILE: &str = "https://fhir.hl7.org.uk/StructureDefinition/UKCore-OperationOutcome";

/// What kind of refusal or failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The search parameters are wrong.
    InvalidSearch,
    /// A header is missing or wrong.
    Precondition,
    /// Anything else in the request is wrong.
    BadRequest,
    /// No valid token.
    Unauthenticated,
    /// A valid token that does not allow this.
    Forbidden,
    /// No such thing at this path.
    NotFound,
    /// The path takes another method.
    MethodNotAllowed,
    /// It contradicts what was accepted before.
    Conflict,
    /// The body is too large.
    TooLarge,
    /// The body is of a type that is not read.
    UnsupportedMediaType,
    /// Too many requests.
    Throttled,
    /// It failed here; trying again does not help.
    Internal,
    /// It failed here; trying again may help.
    Busy,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 13] = [
        Self::InvalidSearch,
        Self::Precondition,
        Self::BadRequest,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Throttled,
        Self::Internal,
        Self::Busy,
    ];

    /// HTTP status, FHIR issue type, Spine code and its display.
    const fn row(self) -> (u16, &'static str, &'static str, &'static str) {
        match self {
            Self::InvalidSearch => (400, "invalid", "INVALID_SEARCH_DATA", "Search data is invalid"),
            Self::Precondition => (400, "invalid", "PRECONDITION_FAILED", "Required condition was not fulfilled"),
            Self::BadRequest => (400, "invalid", "BAD_REQUEST", "Bad request"),
            Self::Unauthenticated => (401, "login", "ACCESS_DENIED", "Access denied"),
            Self::Forbidden => (403, "forbidden", "ACCESS_DENIED", "Access denied"),
            Self::NotFound => (404, "not-found", "RESOURCE_NOT_FOUND", "Resource not found"),
            Self::MethodNotAllowed => (405, "not-supported", "UNSUPPORTED_SERVICE", "Unsupported service"),
            Self::Conflict => (409, "conflict", "CONFLICTING_VALUES", "Conflicting values"),
            Self::TooLarge => (413, "too-long", "PAYLOAD_TOO_LARGE", "Payload too large"),
            Self::UnsupportedMediaType => (415, "not-supported", "UNSUPPORTED_MEDIA_TYPE", "Unsupported media type"),
            Self::Throttled => (429, "throttled", "TOO_MANY_REQUESTS", "Too many requests"),
            Self::Internal => (500, "exception", "SERVER_ERROR", "Server error"),
            Self::Busy => (503, "transient", "SERVICE_UNAVAILABLE", "Service unavailable"),
        }
    }

    /// The HTTP status to answer with.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().0
    }

    /// The Spine code, such as `INVALID_SEARCH_DATA`.
    #[must_use]
    pub const fn spine_code(self) -> &'static str {
        self.row().2
    }
}

/// A refusal or failure, told to the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Of what kind.
    pub kind: Kind,
    /// What is wrong and what to do, in a sentence. Never a value from the request (R31).
    pub diagnostics: String,
    /// The parameter, header or element to mend, such as `patient:identifier`.
    pub expression: Option<String>,
}

impl Outcome {
    /// An outcome that points at nothing in particular.
    #[must_use]
    pub fn new(kind: Kind, diagnostics: impl Into<String>) -> Self {
        Self { kind, diagnostics: diagnostics.into(), expression: None }
    }

    /// The same, pointing at what to mend.
    #[must_use]
    pub fn at(self, expression: impl Into<String>) -> Self {
        Self { expression: Some(expression.into()), ..self }
    }
}

/// The OperationOutcome of a refusal or failure, as compact JSON.
#[must_use]
pub fn operation_outcome(outcome: &Outcome) -> Vec<u8> {
    let (_, issue_type, code, display) = outcome.kind.row();
    let mut issue = json!({
        "severity": if outcome.kind == Kind::Internal { "fatal" } else { "error" },
        "code": issue_type,
        "details": {"coding": [{"system": SPINE_CODES, "code": code, "display": display}]},
        "diagnostics": outcome.diagnostics,
    });
    if let Some(expression) = &outcome.expression {
        issue["expression"] = json!([expression]);
    }
    json!({"resourceType": "OperationOutcome", "meta": {"profile": [PROFILE]}, "issue": [issue]})
        .to_string()
        .into_bytes()
}

/// Advice beside an answer: an OperationOutcome of one informational issue for each sentence, at least one.
pub(super) fn advice(id: &str, sentences: &[String]) -> Value {
    let issues: Vec<_> = sentences
        .iter()
        .map(|sentence| json!({"severity": "information", "code": "informational", "diagnostics": sentence}))
        .collect();
    json!({"resourceType": "OperationOutcome", "id": id, "meta": {"profile": [PROFILE]}, "issue": issues})
}
