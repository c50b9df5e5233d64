//! HTTP at the edge: requests in, answers out, and the one place that turns failures into statuses.

use std::future::Future;

use lambda_http::{
    Body, Error, Request, RequestExt, Response,
    http::{HeaderMap, HeaderValue, Method, header},
    service_fn,
};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::telemetry::{Event, Level};
use crate::{
    domain::{authority::AuthorityCode, caller::Caller, caller::HealthCaller},
    ports::{Page, PageRequest, PortError},
    usecase::{look_up::LookUpError, upload_plans::UploadError},
    wire::fhir::{self, Kind, Outcome},
};

/// Seconds after which a busy caller should try again.
const RETRY_AFTER: u32 = 2;
/// Entries in a page where the caller does not say (R32).
const DEFAULT_LIMIT: usize = 100;
/// Entries in a page at the most (R32).
const MAX_LIMIT: usize = 1_000;

/// A request, decoded.
#[derive(Debug)]
pub struct Incoming {
    /// Its method.
    pub method: Method,
    /// The parts of its path, stage left out.
    pub path: Vec<String>,
    /// Its query, decoded.
    pub query: Vec<(String, String)>,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
    /// Who asks, as the authorizer says.
    pub caller: Option<Caller>,
}

/// What is answered, and what the log says of it.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    media_type: &'static str,
    body: Vec<u8>,
    event: &'static str,
    fields: Map<String, Value>,
    level: Level,
}

impl Answer {
    /// An answer of a media type, logged under an event code.
    #[must_use]
    pub fn new(status: u16, media_type: &'static str, body: Vec<u8>, event: &'static str) -> Self {
        Self { status, media_type, body, event, fields: Map::new(), level: Level::Info }
    }

    /// A FHIR resource.
    #[must_use]
    pub fn fhir(body: Vec<u8>, event: &'static str) -> Self {
        Self::new(200, fhir::MEDIA_TYPE, body, event)
    }

    /// JSON.
    #[must_use]
    pub fn json(value: &impl Serialize, event: &'static str) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(200, "application/json", body, event),
            Err(_) => {
                Self::refusal(&Outcome::new(Kind::Internal, "the answer could not be written"), "answer.unwritten")
            }
        }
    }

    /// A part of a list (R32).
    #[must_use]
    pub fn page<T: Serialize>(page: &Page<T>, event: &'static str) -> Self {
        let count = page.items.len();
        let mut body = serde_json::json!({"items": page.items});
        if let Some(next) = &page.next {
            body["next"] = next.as_str().into();
        }
        Self::json(&body, event).with("items", count)
    }

    /// A refusal or failure.
    #[must_use]
    pub fn refusal(outcome: &Outcome, event: &'static str) -> Self {
        let level = if outcome.kind.status() >= 500 { Level::Error } else { Level::Warn };
        let body = fhir::operation_outcome(outcome);
        let answer = Self::new(outcome.kind.status(), fhir::MEDIA_TYPE, body, event);
        Self { level, ..answer }.with("outcome", outcome.kind.spine_code())
    }

    /// With another status.
    #[must_use]
    pub fn status(self, status: u16) -> Self {
        Self { status, level: Level::Warn, ..self }
    }

    /// Adds a field to the log line. No identifier of a child (R31).
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.into(), value.into());
        self
    }
}

/// Runs a function that answers requests, with one log line for each.
///
/// # Errors
/// The runtime's own, on which the process ends.
pub async fn serve<H, F>(service: &'static str, handle: H) -> Result<(), Error>
where
    H: Fn(Incoming) -> F,
    F: Future<Output = Result<Answer, Answer>> + Send,
{
    let handle = &handle;
    lambda_http::run(service_fn(move |request: Request| {
        let event = Event::begin(service);
        let echoed = Echoed::of(request.headers());
        let event = begin(event, &request, &echoed);
        let incoming = Incoming::of(request);
        let answer = incoming.map(handle);
        async move {
            let answer = match answer {
                Ok(answer) => answer.await.unwrap_or_else(|refusal| refusal),
                Err(refusal) => refusal,
            };
            Ok::<_, Error>(finish(event, answer, &echoed))
        }
    }))
    .await
}

/// Ids that the caller sent and gets back.
#[derive(Debug)]
struct Echoed(Vec<(&'static str, HeaderValue)>);

impl Echoed {
    /// Only what is plainly an id: anything else might be a number or a name (R31).
    fn of(headers: &HeaderMap) -> Self {
        let plain = |value: &&HeaderValue| Uuid::try_parse_ascii(value.as_bytes()).is_ok();
        let found = |name| headers.get(name).filter(plain).map(|value| (name, value.clone()));
        Self(["x-request-id", "x-correlation-id", "traceid"].into_iter().filter_map(found).collect())
    }
}

fn begin(event: Event, request: &Request, echoed: &Echoed) -> Event {
    let mut event = event.with("method", request.method().as_str());
    if let Some(context) = request.lambda_context_ref() {
        event = event.with("lambdaRequestId", context.request_id.as_str());
        event = event.with("xrayTraceId", context.xray_trace_id.clone());
    }
    for (name, value) in &echoed.0 {
        let name = match *name {
            "x-request-id" => "requestId",
            "x-correlation-id" => "correlationId",
            _ => "traceId",
        };
        event = event.with(name, value.to_str().unwrap_or_default());
    }
    event
}

fn finish(event: Event, answer: Answer, echoed: &Echoed) -> Response<Body> {
    let Answer { status, media_type, body, event: code, fields, level } = answer;
    let event = event.with_all(fields).with("status", status).level(level);
    event.metric("Answers", "Count", 1).metric("Failures", "Count", u8::from(status >= 500)).emit(code);
    // Text where it is text, or the gateway would have to be told to decode it.
    let body = String::from_utf8(body).map_or_else(|e| Body::Binary(e.into_bytes()), Body::Text);
    let mut response = Response::new(body);
    *response.status_mut() = status.try_into().unwrap_or(lambda_http::http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(status, 408 | 429 | 503) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
    }
    for (name, value) in &echoed.0 {
        headers.insert(*name, value.clone());
    }
    response
}

impl Incoming {
    fn of(request: Request) -> Result<Self, Answer> {
        let caller = request
            .request_context_ref()
            .and_then(|context| context.authorizer().and_then(|a| a.fields.get("caller").cloned()))
            .and_then(|caller| serde_json::from_str(caller.as_str()?).ok());
        let query = request.query_string_parameters();
        let query = query.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect();
        let body = match body {
            Body::Empty => Vec::new(),
            Body::Text(text) => text.into_bytes(),
            Body::Binary(bytes) => bytes,
            _ => return Err(refuse(Kind::BadRequest, "the body cannot be read", "request.unreadable")),
        };
        Ok(Self { method: parts.method, path, query, headers: parts.headers, body, caller })
    }

    /// The path's parts as texts, to match on.
    #[must_use]
    pub fn route(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }

    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A parameter of the query.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The authority whose path this is, which must be the caller's own (R29).
    ///
    /// # Errors
    /// 403 for anybody else, and for a path whose code is none.
    pub fn own_authority(&self, code: &str) -> Result<AuthorityCode, Answer> {
        match &self.caller {
            Some(Caller::Authority(own)) if own.authority.as_str() == code => Ok(own.authority.clone()),
            _ => Err(refuse(
                Kind::Forbidden,
                "the token is not of the authority in the path; use your own authority's code and token",
                "request.refused-tenant",
            )),
        }
    }

    /// Who asks, in health care.
    ///
    /// # Errors
    /// 403 for an authority's token.
    pub fn health_caller(&self) -> Result<&HealthCaller, Answer> {
        match &self.caller {
            Some(Caller::Health(caller)) => Ok(caller),
            _ => Err(refuse(
                Kind::Forbidden,
                "the token is not of a person or device in a health care organisation",
                "request.refused-tenant",
            )),
        }
    }

    /// `limit` and `cursor` (R32).
    ///
    /// # Errors
    /// 400 for a limit that is not a number from 1 to 1,000.
    pub fn page(&self) -> Result<PageRequest, Answer> {
        let limit = match self.parameter("limit") {
            None => DEFAULT_LIMIT,
            Some(text) => text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(|| {
                let outcome = Outcome::new(Kind::BadRequest, "limit is a whole number from 1 to 1000").at("limit");
                Answer::refusal(&outcome, "request.bad-page")
            })?,
        };
        Ok(PageRequest { limit, after: self.parameter("cursor").map(str::to_owned) })
    }

    /// A header that must hold a UUID where it is sent.
    ///
    /// # Errors
    /// 400 `PRECONDITION_FAILED` (R19).
    pub fn uuid_header(&self, name: &'static str) -> Result<Option<Uuid>, Answer> {
        let Some(value) = self.headers.get(name) else { return Ok(None) };
        Uuid::try_parse_ascii(value.as_bytes()).map(Some).map_err(|_| bad_header(name, "is not a UUID"))
    }
}

/// A refusal with a sentence for the caller.
#[must_use]
pub fn refuse(kind: Kind, diagnostics: &str, event: &'static str) -> Answer {
    Answer::refusal(&Outcome::new(kind, diagnostics), event)
}

/// 400 `PRECONDITION_FAILED` for a header (R19).
#[must_use]
pub fn bad_header(name: &str, problem: &str) -> Answer {
    let outcome = Outcome::new(Kind::Precondition, format!("header {name} {problem}")).at(format!("http.{name}"));
    Answer::refusal(&outcome, "request.bad-header")
}

/// 404 for a path or method that a function does not know.
#[must_use]
pub fn no_such_path() -> Answer {
    refuse(Kind::NotFound, "there is nothing at this path; see the API document", "request.no-such-path")
}

impl From<PortError> for Answer {
    fn from(error: PortError) -> Self {
        if error.is_bad_cursor() {
            let outcome = Outcome::new(Kind::BadRequest, "cursor is not the next of this list; begin anew without it");
            return Self::refusal(&outcome.at("cursor"), "request.bad-page");
        }
        // Whether or not it can succeed soon, the caller's way out is the same: nothing is lost, try again (R21).
        refuse(Kind::Busy, "the service cannot answer at this moment; try again", "step.failed")
            .with("step", error.step)
            .with("cause", error.cause)
            .with("retryable", error.retryable)
    }
}

impl From<LookUpError> for Answer {
    fn from(error: LookUpError) -> Self {
        match error {
            LookUpError::Refused(why) => refuse(Kind::Forbidden, &why.to_string(), "lookup.refused"),
            LookUpError::Port(error) => error.into(),
        }
    }
}

impl From<UploadError> for Answer {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Port(error) => error.into(),
            UploadError::AuthorityNotOpen => refuse(
                Kind::Forbidden,
                "the authority is not open in the directory; ask the service's operators",
                "upload.refused-authority",
            ),
            UploadError::SequenceReused => refuse(
                Kind::Conflict,
                "this sequence was used before, for a file with other content; send the file under the next sequence",
                "upload.refused-sequence",
            ),
        }
    }
}
