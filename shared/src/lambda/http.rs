//! HTTP at the edge: requests in, answers out, and the one place that turns failures into statuses.

use std::future::Future;

use base64::{Engine, engine::general_purpose::STANDARD};
use lambda_http::{
    Body, Error, LambdaEvent,
    aws_lambda_events::apigw::ApiGatewayProxyResponse,
    http::{HeaderMap, HeaderValue, Method, header},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    deadline::{time_left, within},
    event::{self, ProxyEvent, uuid},
    runtime::run,
    telemetry::{Event, Level},
};
use crate::{
    domain::{caller::Caller, standing::Standing},
    ports::{Page, PageRequest, PortError},
    usecase::{
        look_up::{LookUpError, OVER_BUDGET},
        search_audit::SearchAuditError,
        upload_plans::UploadError,
    },
    wire::fhir::{self, Kind, Outcome},
};

/// Seconds after which a busy caller should try again.
const RETRY_AFTER: u32 = 2;
/// Entries in a page where the caller does not say (R32).
const DEFAULT_LIMIT: usize = 100;
/// Entries in a page at the most (R32).
const MAX_LIMIT: usize = 1_000;

/// Headers that are read here; given twice they could be read in two ways, so they are refused (R60).
const ONCE: [&str; 7] = [
    "Content-Encoding",
    "Content-Type",
    "IsUnscheduledAccessEvent",
    "PatientConsent",
    "TraceID",
    "X-Correlation-ID",
    "X-Request-ID",
];

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
    /// How the caller stands in the directory, as the authorizer read it.
    pub standing: Option<Standing>,
}

/// What is answered, and what the log says of it.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    media_type: &'static str,
    body: Vec<u8>,
    headers: Vec<(&'static str, String)>,
    event: &'static str,
    fields: Map<String, Value>,
    level: Level,
}

impl Answer {
    /// An answer of a media type, logged under an event code.
    #[must_use]
    pub fn new(status: u16, media_type: &'static str, body: Vec<u8>, event: &'static str) -> Self {
        Self { status, media_type, body, headers: Vec::new(), event, fields: Map::new(), level: Level::Info }
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

    /// Adds a header, its name in lower case. A value that cannot be one is left out.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
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
    H: Fn(Incoming) -> F + Send + 'static,
    F: Future<Output = Result<Answer, Answer>> + Send + 'static,
{
    run(move |request: LambdaEvent<ProxyEvent>| {
        let answer = respond(service, request, &handle);
        async move { Ok(answer.await) }
    })
    .await
}

/// Answers one request.
fn respond<H, F>(
    service: &'static str,
    request: LambdaEvent<ProxyEvent>,
    handle: &H,
) -> impl Future<Output = ApiGatewayProxyResponse> + use<H, F>
where
    H: Fn(Incoming) -> F,
    F: Future<Output = Result<Answer, Answer>>,
{
    let event = Event::begin(service);
    let LambdaEvent { payload, context } = request;
    let headers = payload.header_map();
    let echoed = Echoed::of(headers.as_ref());
    let event = begin(event, &payload, &echoed);
    let left = time_left(&context);
    let answer = Incoming::of(payload, headers).map(handle);
    async move {
        let answer = match answer {
            Ok(answer) => within(left, answer).await.unwrap_or_else(|| Err(out_of_time())),
            Err(refusal) => Err(refusal),
        };
        finish(event, answer.unwrap_or_else(|refusal| refusal), &echoed)
    }
}

/// 503 for what would have taken longer than the function may (R21). Whatever was done of it is done, and the same request again is
/// safe.
fn out_of_time() -> Answer {
    refuse(Kind::Busy, "the service took too long to answer; try again", "request.out-of-time")
}

/// Answers one event of API Gateway without the runtime: status and body.
///
/// # Errors
/// The event cannot be read.
#[cfg(feature = "testing")]
pub async fn answer<H, F>(service: &'static str, event: Value, handle: H) -> Result<(i64, Vec<u8>), serde_json::Error>
where
    H: Fn(Incoming) -> F,
    F: Future<Output = Result<Answer, Answer>>,
{
    let request = LambdaEvent::new(serde_json::from_value(event)?, lambda_http::Context::default());
    let response = respond(service, request, &handle).await;
    Ok((response.status_code, response.body.map_or_else(Vec::new, |body| body.to_vec())))
}

/// Ids that the caller sent and gets back.
#[derive(Debug)]
struct Echoed(Vec<(&'static str, HeaderValue)>);

impl Echoed {
    /// Only what is plainly an id: anything else might be a number or a name (R31).
    fn of(headers: Option<&HeaderMap>) -> Self {
        let found = |name| {
            let mut values = headers?.get_all(name).iter();
            let value = values.next().filter(|value| uuid(value.as_bytes()).is_some())?;
            values.next().is_none().then(|| (name, value.clone()))
        };
        Self(["x-request-id", "x-correlation-id", "traceid"].into_iter().filter_map(found).collect())
    }
}

fn begin(event: Event, request: &ProxyEvent, echoed: &Echoed) -> Event {
    // Anything else might be somebody's number (R31).
    let known =
        ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"].into_iter().find(|m| *m == request.http_method);
    let mut event = event.with("method", known.unwrap_or("other"));
    if let Some(id) = request.request_id() {
        event = event.with("apiRequestId", id.to_string());
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

fn finish(event: Event, answer: Answer, echoed: &Echoed) -> ApiGatewayProxyResponse {
    let Answer { status, media_type, body, headers: more, event: code, fields, level } = answer;
    let event = event.with_all(fields).with("status", status).level(level);
    event.metric("Answers", "Count", 1).metric("Failures", "Count", u8::from(status >= 500)).emit(code);
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(status, 408 | 429 | 503) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER));
    }
    for (name, value) in more {
        HeaderValue::try_from(value).into_iter().for_each(|value| drop(headers.insert(name, value)));
    }
    for (name, value) in &echoed.0 {
        headers.insert(*name, value.clone());
    }
    let mut response = event::response(status, headers);
    // Text where it is text, or the gateway would have to be told to decode it.
    let body = String::from_utf8(body).map_or_else(|e| Body::Binary(e.into_bytes()), Body::Text);
    response.is_base64_encoded = matches!(body, Body::Binary(_));
    response.body = Some(body);
    response
}

impl Incoming {
    fn of(request: ProxyEvent, headers: Option<HeaderMap>) -> Result<Self, Answer> {
        let headers =
            headers.ok_or_else(|| refuse(Kind::Precondition, "a header cannot be read", "request.bad-header"))?;
        // R60
        if let Some(name) = ONCE.into_iter().find(|name| headers.get_all(*name).iter().nth(1).is_some()) {
            return Err(bad_header(name, "is given more than once; send it once"));
        }
        let method = request.http_method.parse().map_err(|_| no_such_path())?;
        let (caller, standing) = (context(&request, "caller"), context(&request, "standing"));
        let query = request.query();
        let path = request.path.split('/').filter(|p| !p.is_empty()).map(str::to_owned).collect();
        let body = match request.body {
            None => Vec::new(),
            Some(text) if request.is_base64_encoded => STANDARD
                .decode(text)
                .map_err(|_| refuse(Kind::BadRequest, "the body cannot be read", "request.unreadable"))?,
            Some(text) => text.into_bytes(),
        };
        Ok(Self { method, path, query, headers, body, caller, standing })
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

    /// The `Content-Type` of a body that is as it says, not packed for the journey: packed files have a type of their own.
    ///
    /// # Errors
    /// 415 for a `Content-Encoding`.
    pub fn media_type(&self) -> Result<Option<&str>, Answer> {
        match self.headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"" | b"identity") => Ok(self.header("Content-Type")),
            Some(_) => {
                let problem = "send the body without Content-Encoding; a file may be sent as application/gzip";
                let outcome = Outcome::new(Kind::UnsupportedMediaType, problem).at("http.Content-Encoding");
                Err(Answer::refusal(&outcome, "request.refused-encoding"))
            }
        }
    }

    /// A parameter of the query, which may be given once.
    ///
    /// # Errors
    /// 400 where it is there more than once (R60).
    pub fn parameter(&self, name: &'static str) -> Result<Option<&str>, Answer> {
        let mut values = self.query.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let value = values.next();
        if values.next().is_none() {
            return Ok(value);
        }
        let outcome = Outcome::new(Kind::BadRequest, format!("{name} is given more than once; give it once"));
        Err(Answer::refusal(&outcome.at(name), "request.repeated-parameter"))
    }

    /// `limit` and `cursor` (R32).
    ///
    /// # Errors
    /// 400 for a limit that is not a number from 1 to 1,000.
    pub fn page(&self) -> Result<PageRequest, Answer> {
        let whole = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let limit = match self.parameter("limit")? {
            None => DEFAULT_LIMIT,
            Some(text) => whole(text).filter(|limit| (1..=MAX_LIMIT).contains(limit)).ok_or_else(|| {
                let outcome = Outcome::new(Kind::BadRequest, "limit is a whole number from 1 to 1000").at("limit");
                Answer::refusal(&outcome, "request.bad-page")
            })?,
        };
        Ok(PageRequest { limit, after: self.parameter("cursor")?.map(str::to_owned) })
    }

    /// A header that must hold a UUID where it is sent.
    ///
    /// # Errors
    /// 400 `PRECONDITION_FAILED` (R19).
    pub fn uuid_header(&self, name: &'static str) -> Result<Option<Uuid>, Answer> {
        let Some(value) = self.headers.get(name) else { return Ok(None) };
        uuid(value.as_bytes()).map(Some).ok_or_else(|| bad_header(name, "is not a UUID"))
    }
}

/// What the authorizer passes on under a name, as JSON in a text.
fn context<T: DeserializeOwned>(request: &ProxyEvent, name: &str) -> Option<T> {
    serde_json::from_str(request.authorizer(name)?).ok()
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
        let text = error.to_string();
        match error {
            LookUpError::Refused { why, access } => super::callers::refused(why).with("accessId", access.to_string()),
            LookUpError::OverBudget { seconds, access } => refuse(Kind::Throttled, &text, "lookup.over-budget")
                .header("retry-after", seconds.to_string())
                .with("accessId", access.to_string())
                .with("reason", OVER_BUDGET),
            LookUpError::Port(error) => error.into(),
        }
    }
}

impl From<SearchAuditError> for Answer {
    fn from(error: SearchAuditError) -> Self {
        match error {
            SearchAuditError::Refused(why) => {
                refuse(Kind::Forbidden, &why.to_string(), "audit.refused").with("reason", why.code())
            }
            SearchAuditError::Port(error) => error.into(),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "6a1ad5b2-0a64-4c41-9b0c-0d5fcf8e6d11";

    fn incoming(part: Value) -> Result<Incoming, Answer> {
        let mut event = json!({"httpMethod": "GET", "path": "/cpis//authorities/E06000001/uploads/"});
        if let (Value::Object(event), Value::Object(part)) = (&mut event, part) {
            event.extend(part);
        }
        let event: ProxyEvent = serde_json::from_value(event).expect("an event");
        let headers = event.header_map();
        Incoming::of(event, headers)
    }

    fn refused<T>(found: Result<T, Answer>) -> (u16, &'static str) {
        found.map_err(|answer| (answer.status, answer.event)).err().expect("refused")
    }

    #[test]
    fn r60_a_header_that_is_read_is_given_once() {
        for name in ONCE {
            for values in [json!([ID, ID]), json!(["true", "false"]), json!(["", ""])] {
                let twice = incoming(json!({"multiValueHeaders": {name.to_lowercase(): values}}));
                assert_eq!(refused(twice), (400, "request.bad-header"), "{name}");
            }
            assert!(incoming(json!({"headers": {name: ID}, "multiValueHeaders": {name: [ID]}})).is_ok(), "{name}");
        }
        assert!(incoming(json!({"multiValueHeaders": {"Accept": ["text/csv", "application/json"]}})).is_ok());
    }

    #[test]
    fn r60_a_parameter_that_is_read_is_given_once() {
        let query = |name: &str, values: Value| json!({"multiValueQueryStringParameters": {name: values}});
        for name in ["limit", "cursor"] {
            let twice = incoming(query(name, json!(["7", "7"]))).expect("read").page();
            assert_eq!(refused(twice), (400, "request.repeated-parameter"), "{name}");
        }
        for limit in ["", "0", "1001", "+7", " 7", "7.0", "-1", "٧", "99999999999999999999999"] {
            let page = incoming(query("limit", json!([limit]))).expect("read").page();
            assert_eq!(refused(page), (400, "request.bad-page"), "{limit:?}");
        }
        let page = incoming(query("limit", json!(["7"]))).expect("read").page().expect("a page");
        assert_eq!((page.limit, page.after), (7, None));
    }

    #[test]
    fn a_body_comes_as_its_type_says() {
        let media_type = |encoding: &str| {
            let part = json!({"headers": {"content-type": "text/csv", "content-encoding": encoding}});
            incoming(part).expect("read").media_type().map(|t| t.map(str::to_owned))
        };
        assert_eq!(media_type("identity").expect("taken").as_deref(), Some("text/csv"));
        for encoding in ["gzip", "br", "identity, gzip", "GZIP"] {
            assert_eq!(refused(media_type(encoding)), (415, "request.refused-encoding"), "{encoding}");
        }
    }

    #[test]
    fn r19_a_uuid_has_one_form() {
        let header =
            |value: &str| incoming(json!({"headers": {"TraceID": value}})).expect("read").uuid_header("TraceID");
        assert_eq!(header(ID).expect("a UUID"), Uuid::try_parse(ID).ok());
        assert!(header(&ID.to_uppercase()).is_ok());
        let (simple, braced, urn) = (ID.replace('-', ""), format!("{{{ID}}}"), format!("urn:uuid:{ID}"));
        let (long, two) = (format!("{ID}0"), format!("{ID}, {ID}"));
        for wrong in ["", "x", &simple, &braced, &urn, &long, &two, &ID.replace('6', "g"), &ID[1..]] {
            assert_eq!(refused(header(wrong)), (400, "request.bad-header"), "{wrong:?}");
        }
    }

    #[test]
    fn a_request_is_read_whatever_its_bytes() {
        let read = incoming(json!({"headers": {"User-Agent": "J\u{f6}rg"}, "body": "YQ==", "isBase64Encoded": true}));
        let read = read.expect("read");
        assert_eq!((read.route(), &read.body[..]), (vec!["cpis", "authorities", "E06000001", "uploads"], &b"a"[..]));
        for (part, refusal) in [
            (json!({"body": "Y", "isBase64Encoded": true}), (400, "request.unreadable")),
            (json!({"headers": {"X": "a\r\nb"}}), (400, "request.bad-header")),
            (json!({"httpMethod": "GE T"}), (404, "request.no-such-path")),
        ] {
            assert_eq!(refused(incoming(part.clone())), refusal, "{part}");
        }
    }

    #[test]
    fn ids_are_echoed_where_they_are_plainly_that() {
        let echoed = |values: Value| {
            let event = json!({"httpMethod": "GET", "path": "/", "multiValueHeaders": {"X-Correlation-ID": values}});
            let event: ProxyEvent = serde_json::from_value(event).expect("an event");
            Echoed::of(event.header_map().as_ref()).0.len()
        };
        assert_eq!((echoed(json!([ID])), echoed(json!([ID, ID])), echoed(json!(["9990000018"]))), (1, 0, 0));
    }

    #[test]
    fn fuzz_events() {
        let seeds = [
            json!({"httpMethod": "GET", "path": "/cpis/FHIR/R4/Flag", "headers": {"TraceID": ID}, "multiValueHeaders": {"TraceID": [ID]},
                "queryStringParameters": null, "multiValueQueryStringParameters": {"limit": ["7"], "cursor": ["x"]}}),
            json!({"httpMethod": "POST", "path": "/", "body": "YQ==", "isBase64Encoded": true,
                "requestContext": {"authorizer": {"caller": "{\"authority\":\"E06000001\"}"}}}),
        ];
        let seeds = seeds.map(|seed| seed.to_string());
        crate::fuzz::run("event", "read", &seeds.each_ref().map(|seed| seed.as_bytes()), |input| {
            let Ok(event) = serde_json::from_slice::<ProxyEvent>(input) else { return "no event".into() };
            let headers = event.header_map();
            let incoming = match Incoming::of(event, headers) {
                Ok(incoming) => incoming,
                Err(answer) => {
                    assert!((400..500).contains(&answer.status));
                    return answer.event.into();
                }
            };
            assert!(ONCE.iter().all(|name| incoming.headers.get_all(*name).iter().count() <= 1));
            for answer in [incoming.page().err(), incoming.uuid_header("TraceID").err(), incoming.media_type().err()] {
                assert!(answer.is_none_or(|answer| (400..500).contains(&answer.status)));
            }
            "read".into()
        });
    }
}
