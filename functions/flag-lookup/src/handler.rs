//! Decode, call one use case, encode.

use std::time::Instant;

use cpis::{
    aws::Dynamo,
    domain::{access::Interaction, nhs_number::ChildKeySecret, time::milliseconds},
    lambda::{
        config::SystemClock,
        http::{Answer, Incoming, bad_header, no_such_path},
    },
    ports::{Clock, Stops},
    usecase::look_up::{self, LookUp, Seen},
    wire::{
        fhir::{self, Kind, Outcome, Searched},
        mailbox::receipt_path,
        search::{self, SearchError},
    },
};
use lambda_http::http::Method;
use uuid::Uuid;

/// The form that keeps the number out of URLs (FHIR R4, RESTful API, "search").
const FORM: &str = "application/x-www-form-urlencoded";

pub(crate) async fn handle(
    store: &Dynamo,
    stops: &impl Stops,
    secret: &ChildKeySecret,
    incoming: Incoming,
) -> Result<Answer, Answer> {
    let interaction = match (&incoming.method, incoming.route().as_slice()) {
        (&Method::GET, ["cpis", "FHIR", "R4", "metadata"]) => {
            return Ok(Answer::fhir(fhir::capability_statement(), "lookup.metadata"));
        }
        (&Method::GET, ["cpis", "FHIR", "R4", resource])
        | (&Method::POST, ["cpis", "FHIR", "R4", resource, "_search"]) => {
            interaction(resource).ok_or_else(no_such_path)?
        }
        _ => return Err(no_such_path()),
    };
    let number = search::patient_number(&parameters(&incoming)?).map_err(|e| bad_search(&e))?;
    let trace_id = incoming.uuid_header("TraceID")?.ok_or_else(|| bad_header("TraceID", "is missing; send a UUID"))?;
    let standing = incoming.health_standing();
    let ask = LookUp {
        caller: incoming.health_caller()?,
        standing: &standing,
        number: &number,
        // R19: left out means unscheduled, which the policy sees to.
        is_unscheduled: flag_header(&incoming, "IsUnscheduledAccessEvent", "left out it means true")?,
        // R40: left out means that nobody asked.
        consent: flag_header(&incoming, "PatientConsent", "left out it means false")? == Some(true),
        // R22: without an id every request is an access of its own.
        request_id: incoming.uuid_header("X-Request-ID")?.unwrap_or_else(Uuid::new_v4),
        trace_id,
    };
    search_for(store, stops, secret, interaction, &ask).await
}

async fn search_for(
    store: &Dynamo,
    stops: &impl Stops,
    secret: &ChildKeySecret,
    interaction: Interaction,
    ask: &LookUp<'_>,
) -> Result<Answer, Answer> {
    let (clock, began) = (SystemClock, Instant::now());
    let link = format!("/cpis/FHIR/R4/{}", interaction.name());
    if interaction == Interaction::AuditEvent {
        let seen = look_up::history(store, stops, secret, &clock, ask).await?;
        let store_ms = milliseconds(began.elapsed());
        let body = fhir::audit_event_bundle(&searched(ask, &seen, &link), &seen.shown, seen.total);
        return Ok(describe(Answer::fhir(body, disclosed(&seen)), &seen, store_ms));
    }
    let seen = look_up::plans(store, stops, secret, &clock, ask, interaction).await?;
    let store_ms = milliseconds(began.elapsed());
    let bundle = if interaction == Interaction::Flag { fhir::flag_bundle } else { fhir::care_team_bundle };
    let body = bundle(&searched(ask, &seen, &link), &seen.shown);
    Ok(describe(Answer::fhir(body, disclosed(&seen)), &seen, store_ms))
}

fn searched<'a, T>(ask: &LookUp<'a>, seen: &'a Seen<T>, self_link: &'a str) -> Searched<'a> {
    Searched { number: ask.number, child: &seen.access.child, now: SystemClock.now(), self_link }
}

fn disclosed<T>(seen: &Seen<T>) -> &'static str {
    if seen.shown.is_empty() { "lookup.nothing-held" } else { "lookup.disclosed" }
}

fn describe<T>(answer: Answer, seen: &Seen<T>, store_ms: f64) -> Answer {
    // R86: where the setting may ask whether those who are told have received it.
    let answer = match receipt_path(&seen.access) {
        Some(path) => answer.header("notification-receipt", path),
        None => answer,
    };
    answer
        .with("interaction", seen.access.interaction.name())
        .with("organisation", seen.access.organisation.code.as_str())
        .with("accessId", seen.access.id.to_string())
        .with("unscheduled", seen.access.unscheduled)
        .with("repeated", seen.repeated)
        .with("shown", seen.shown.len())
        .with("notificationsOwed", seen.access.owed.len())
        .with("storeMs", store_ms)
}

fn interaction(resource: &str) -> Option<Interaction> {
    [Interaction::CareTeam, Interaction::AuditEvent, Interaction::Flag].into_iter().find(|i| i.name() == resource)
}

/// The search parameters: the query's, and a posted form's.
fn parameters(incoming: &Incoming) -> Result<Vec<(String, String)>, Answer> {
    let mut parameters = incoming.query.clone();
    if incoming.method == Method::POST {
        let media_type = incoming.media_type()?.and_then(|value| value.split(';').next()).map(str::trim);
        if !media_type.is_some_and(|m| m.eq_ignore_ascii_case(FORM)) {
            let outcome = Outcome::new(Kind::UnsupportedMediaType, format!("send the search as {FORM}"));
            return Err(Answer::refusal(&outcome.at("http.Content-Type"), "lookup.bad-search"));
        }
        parameters.extend(search::parse_form(&incoming.body).map_err(|e| bad_search(&e))?);
    }
    Ok(parameters)
}

/// A header that is true, false or left out; anything else is refused (R19).
fn flag_header(incoming: &Incoming, name: &str, left_out: &str) -> Result<Option<bool>, Answer> {
    let Some(value) = incoming.headers.get(name) else { return Ok(None) };
    match value.as_bytes() {
        b"true" => Ok(Some(true)),
        b"false" => Ok(Some(false)),
        _ => Err(bad_header(name, &format!("is true or false; {left_out}"))),
    }
}

fn bad_search(error: &SearchError) -> Answer {
    let outcome = Outcome::new(Kind::InvalidSearch, error.to_string());
    let outcome = error.parameter().map_or(outcome.clone(), |parameter| outcome.at(parameter));
    Answer::refusal(&outcome, "lookup.bad-search")
}
