//! Decode, call one use case, encode.

use cpis::{
    aws::Dynamo,
    domain::{
        audit_search::{AuditSearch, Subject},
        caller::HealthCaller,
        nhs_number::ChildKeySecret,
        time::sortable,
    },
    lambda::{
        config::SystemClock,
        http::{Answer, Incoming, no_such_path, refuse},
        sealed::Sealer,
    },
    ports::{Clock, PageRequest, PortError},
    usecase::search_audit::{self, Officer},
    wire::{
        audit_search::{self as wire, AskError, Asked, Listed, Row, Wanted},
        fhir::{Kind, Outcome},
    },
};
use lambda_http::http::Method;
use uuid::Uuid;

/// The type of an answer that is a table; its parameter says whether there is a heading (RFC 4180 section 3).
const CSV: [&str; 2] = ["text/csv; charset=utf-8; header=absent", "text/csv; charset=utf-8; header=present"];
/// Where a table's next page begins.
const NEXT: &str = "next-cursor";

pub(crate) struct Service {
    pub(crate) store: Dynamo,
    pub(crate) secret: ChildKeySecret,
    pub(crate) sealer: Sealer,
}

pub(crate) async fn handle(service: &Service, incoming: Incoming) -> Result<Answer, Answer> {
    match (&incoming.method, incoming.route().as_slice()) {
        (&Method::POST, ["cpis", "audit", "accesses", "_search"]) => search(service, &incoming).await,
        _ => Err(no_such_path()),
    }
}

async fn search(service: &Service, incoming: &Incoming) -> Result<Answer, Answer> {
    let (caller, standing) = (incoming.health_caller()?, incoming.health_standing());
    let as_csv = wants_csv(incoming.header("Accept"));
    let format = if as_csv { "csv" } else { "json" };
    let officer = Officer { caller, standing: &standing, search_id: Uuid::new_v4(), format };
    // Who may not search is told nothing of what is wrong with the search.
    let asked = asked(incoming);
    let subject = asked.as_ref().ok().map(|asked| subject(&asked.wanted, &service.secret));
    let reach = search_audit::admit(&service.store, &SystemClock, &officer, subject.as_ref()).await?;
    let (asked, Some(subject)) = (asked?, subject) else { return Err(bad_search(AskError::NotOne)) };
    let search = AuditSearch { subject, span: asked.span, reach };
    let seal = Seal { sealer: &service.sealer, whose: whose(&search, caller) };
    let page = PageRequest { limit: asked.limit, after: seal.open(asked.cursor.as_deref())? };
    let found = search_audit::search(&service.store, &SystemClock, &officer, &search, &page).await?;
    let rows: Vec<_> = found.items.iter().map(|(access, presentation)| Row::new(access, *presentation)).collect();
    let (shown, next) = (rows.len(), seal.seal(found.next.as_deref())?);
    let answer = if as_csv {
        let first = page.after.is_none();
        let answer = Answer::new(200, CSV[usize::from(first)], wire::csv(&rows, first), "audit.searched");
        next.into_iter().fold(answer, |answer, next| answer.header(NEXT, next))
    } else {
        let complete_until = sortable(search.complete_until(SystemClock.now()));
        Answer::json(&Listed { items: rows, next, complete_until }, "audit.searched")
    };
    let answer = answer.with("by", search.subject.kind()).with("organisation", caller.organisation.code.as_str());
    Ok(answer.with("searchId", officer.search_id.to_string()).with("items", shown).with("format", format))
}

/// What is asked. Only in the body: a number in a URL ends up in other people's logs.
fn asked(incoming: &Incoming) -> Result<Asked, Answer> {
    if !incoming.query.is_empty() {
        let why = "send the search in the body; a query would put it into logs";
        return Err(refuse(Kind::BadRequest, why, "audit.bad-search"));
    }
    wire::read(incoming.header("Content-Type"), &incoming.body).map_err(bad_search)
}

fn bad_search(error: AskError) -> Answer {
    let kind = if error == AskError::MediaType { Kind::UnsupportedMediaType } else { Kind::InvalidSearch };
    let outcome = Outcome::new(kind, error.to_string());
    let outcome = error.parameter().map_or(outcome.clone(), |parameter| outcome.at(parameter));
    Answer::refusal(&outcome, "audit.bad-search")
}

fn subject(wanted: &Wanted, secret: &ChildKeySecret) -> Subject {
    match wanted {
        Wanted::Number(number) => Subject::Child(secret.key_of(number)),
        Wanted::Child(key) => Subject::Child(key.clone()),
        Wanted::Person(id) => Subject::Person(id.clone()),
        Wanted::Organisation(code) => Subject::Organisation(code.clone()),
    }
}

/// The search and whoever makes it: what a cursor is good for (R32).
fn whose(search: &AuditSearch, caller: &HealthCaller) -> String {
    format!("{search:?} {}", caller.requester.identity())
}

struct Seal<'a> {
    sealer: &'a Sealer,
    whose: String,
}

impl Seal<'_> {
    fn open(&self, cursor: Option<&str>) -> Result<Option<String>, PortError> {
        cursor.map(|cursor| self.sealer.open(cursor, &self.whose)).transpose()
    }

    fn seal(&self, next: Option<&str>) -> Result<Option<String>, PortError> {
        next.map(|next| self.sealer.seal(next, &self.whose)).transpose()
    }
}

/// Whether a table is asked for, before JSON or instead of it.
fn wants_csv(accept: Option<&str>) -> bool {
    let types = accept.unwrap_or_default().split(',').filter_map(|part| part.split(';').next());
    let known = |media_type: &&str| ["text/csv", "application/json"].iter().any(|k| media_type.eq_ignore_ascii_case(k));
    types.map(str::trim).find(known).is_some_and(|media_type| media_type.eq_ignore_ascii_case("text/csv"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_a_table_gets_one() {
        for (accept, expected) in [
            (None, false),
            (Some("*/*"), false),
            (Some("application/json, text/csv"), false),
            (Some("text/html, Text/CSV;q=0.9, application/json;q=0.8"), true),
            (Some("text/csv; header=present"), true),
        ] {
            assert_eq!(wants_csv(accept), expected, "{accept:?}");
        }
    }
}
