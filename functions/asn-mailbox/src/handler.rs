//! Decode, read or mark, encode.

use cpis::{
    aws::Dynamo,
    domain::{
        authority::AuthorityCode,
        contact::date_in_england,
        nhs_number::ChildKey,
        notification::{State, Taken, notification_id},
    },
    lambda::{
        config::SystemClock,
        http::{Answer, Incoming, no_such_path, refuse},
        telemetry::{Event, Level},
    },
    ports::{AccessReader, Clock, Directory, MailboxReader, ReadingRules, Unreadable},
    usecase::mailbox,
    wire::{
        fhir::{Kind, Outcome},
        mailbox::{BodyError, Entry, Receipt, entries, reading, taken_by},
    },
};
use lambda_http::http::Method;
use uuid::Uuid;

pub(crate) const SERVICE: &str = "asn-mailbox";

pub(crate) async fn handle(store: &Dynamo, incoming: Incoming) -> Result<Answer, Answer> {
    match (&incoming.method, incoming.route().as_slice()) {
        (&Method::GET, ["cpis", "receipts", child, access]) => receipts(store, &incoming, child, access).await,
        (method, ["cpis", "authorities", code, rest @ ..]) => {
            let authority = incoming.own_authority(code)?;
            let answer = match (method, rest) {
                (&Method::GET, ["notifications"]) => list(store, &incoming, &authority).await,
                (&Method::GET, ["notifications", "ageing"]) => ageing(store, &authority).await,
                (&Method::POST, ["notifications", id, "acknowledge"]) => {
                    mark(store, &incoming, &authority, id, State::Acknowledged).await
                }
                (&Method::POST, ["notifications", id, "action"]) => {
                    mark(store, &incoming, &authority, id, State::Actioned).await
                }
                (&Method::GET, ["reading"]) => {
                    Ok(Answer::json(&store.reading(&authority).await?, "mailbox.reading-shown"))
                }
                (&Method::PUT, ["reading"]) => set_reading(store, &incoming, &authority).await,
                (&Method::GET, ["ways"]) => ways(store, &authority).await,
                _ => Err(no_such_path()),
            };
            answer.map(|answer| answer.with("authority", authority.as_str()))
        }
        _ => Err(no_such_path()),
    }
}

async fn list(store: &Dynamo, incoming: &Incoming, authority: &AuthorityCode) -> Result<Answer, Answer> {
    let (found, unreadable) = mailbox::list(store, authority, state(incoming)?, &incoming.page()?).await?;
    unreadable.iter().for_each(log_unreadable);
    Ok(Answer::page(&entries(&found), "mailbox.listed").with("unreadable", unreadable.len()))
}

/// The authority does not see it: an operator must.
fn log_unreadable(unreadable: &Unreadable) {
    let event = Event::begin(SERVICE).failed(&unreadable.error).level(Level::Error);
    let event = event.with("authority", unreadable.authority.as_str()).with("asnId", unreadable.id.as_str());
    event.metric("MailboxUnreadable", "Count", 1).emit("mailbox.unreadable");
}

async fn ageing(store: &Dynamo, authority: &AuthorityCode) -> Result<Answer, Answer> {
    Ok(Answer::json(&mailbox::ageing(store, authority, SystemClock.now()).await?, "mailbox.ageing"))
}

async fn mark(
    store: &Dynamo,
    incoming: &Incoming,
    authority: &AuthorityCode,
    id: &str,
    state: State,
) -> Result<Answer, Answer> {
    let none = || refuse(Kind::NotFound, "the mailbox has no notification of this id", "mailbox.no-notification");
    let id = Uuid::try_parse(id).map_err(|_| none())?;
    let by = taken_by(&incoming.body).map_err(|e| bad_body(&e))?.unwrap_or_else(|| authority.to_string());
    let taken = Taken { at: SystemClock.now(), by };
    let marked = mailbox::mark(store, authority, id, state, &taken).await?.ok_or_else(none)?;
    let event = if state == State::Actioned { "mailbox.actioned" } else { "mailbox.acknowledged" };
    Ok(Answer::json(&Entry::from(&marked), event).with("asnId", id.to_string()))
}

async fn set_reading(store: &Dynamo, incoming: &Incoming, authority: &AuthorityCode) -> Result<Answer, Answer> {
    let reading = reading(&incoming.body).map_err(|e| bad_body(&e))?;
    let request = incoming.uuid_header("X-Request-ID")?.unwrap_or_else(Uuid::new_v4);
    mailbox::set_reading(store, authority, &reading, request, SystemClock.now()).await?;
    Ok(Answer::json(&reading, "mailbox.reading-set"))
}

/// R73: to be seen, and set by operators alone: what a token could set would outlive it. Of the keys that sign it has the numbers.
async fn ways(store: &Dynamo, authority: &AuthorityCode) -> Result<Answer, Answer> {
    let ways = store.authority(authority).await?.map(|entry| entry.ways_out).unwrap_or_default();
    Ok(Answer::json(&ways, "mailbox.ways-shown"))
}

/// R86: for the organisation that made the access, and it alone; for anybody else there is no such access.
async fn receipts(store: &Dynamo, incoming: &Incoming, child: &str, id: &str) -> Result<Answer, Answer> {
    let none = || refuse(Kind::NotFound, "your organisation made no such access", "receipt.no-access");
    let (caller, _) = incoming.member(date_in_england(SystemClock.now()))?;
    if !caller.may_view() {
        return Err(refuse(Kind::Forbidden, "the token has neither B0107 nor B0170", "receipt.refused"));
    }
    let child = ChildKey::parse(child).ok_or_else(none)?;
    let id = Uuid::try_parse(id).map_err(|_| none())?;
    let access = store.access(&child, id).await?.ok_or_else(none)?;
    if access.organisation.code != caller.organisation.code {
        return Err(none());
    }
    let mut receipts = Vec::with_capacity(access.owed.len());
    for owed in &access.owed {
        let held = store.notification(&owed.authority, notification_id(access.id, &owed.authority)).await?;
        receipts.push(Receipt { authority: &owed.authority, received: held.is_some() });
    }
    let answer = Answer::json(&serde_json::json!({"accessId": access.id, "receipts": receipts}), "receipt.shown");
    Ok(answer.with("accessId", id.to_string()).with("organisation", caller.organisation.code.as_str()))
}

fn bad_body(error: &BodyError) -> Answer {
    let outcome = Outcome::new(Kind::BadRequest, error.to_string());
    let outcome = match error {
        BodyError::Member { member, .. } => outcome.at(*member),
        _ => outcome,
    };
    Answer::refusal(&outcome, "mailbox.bad-body")
}

fn state(incoming: &Incoming) -> Result<Option<State>, Answer> {
    let Some(name) = incoming.parameter("state")? else { return Ok(None) };
    State::from_name(name).map(Some).ok_or_else(|| {
        let sentence = "state is unread, acknowledged or actioned; left out it means all";
        Answer::refusal(&Outcome::new(Kind::BadRequest, sentence).at("state"), "mailbox.bad-state")
    })
}
