//! Decode, read or acknowledge, encode.

use cpis::{
    aws::Dynamo,
    domain::{authority::AuthorityCode, notification::State},
    lambda::{
        config::SystemClock,
        http::{Answer, Incoming, no_such_path, refuse},
    },
    ports::{Clock, MailboxReader},
    wire::fhir::{Kind, Outcome},
};
use lambda_http::http::Method;
use uuid::Uuid;

pub(crate) async fn handle(store: &Dynamo, incoming: Incoming) -> Result<Answer, Answer> {
    match (&incoming.method, incoming.route().as_slice()) {
        (&Method::GET, ["cpis", "authorities", code, "notifications"]) => {
            let authority = incoming.own_authority(code)?;
            let found = store.notifications(&authority, state(&incoming)?, &incoming.page()?).await?;
            Ok(Answer::page(&found, "mailbox.listed").with("authority", authority.as_str()))
        }
        (&Method::POST, ["cpis", "authorities", code, "notifications", id, "acknowledge"]) => {
            let authority = incoming.own_authority(code)?;
            acknowledge(store, &authority, id).await
        }
        _ => Err(no_such_path()),
    }
}

async fn acknowledge(store: &Dynamo, authority: &AuthorityCode, id: &str) -> Result<Answer, Answer> {
    let none = || refuse(Kind::NotFound, "the mailbox has no notification of this id", "mailbox.no-notification");
    let id = Uuid::try_parse(id).map_err(|_| none())?;
    let acknowledged = store.acknowledge(authority, id, SystemClock.now()).await?.ok_or_else(none)?;
    let answer = Answer::json(&acknowledged, "mailbox.acknowledged");
    Ok(answer.with("authority", authority.as_str()).with("asnId", id.to_string()))
}

fn state(incoming: &Incoming) -> Result<Option<State>, Answer> {
    let Some(name) = incoming.parameter("state")? else { return Ok(None) };
    State::from_name(name).map(Some).ok_or_else(|| {
        let outcome =
            Outcome::new(Kind::BadRequest, "state is unread or acknowledged; left out it means both").at("state");
        Answer::refusal(&outcome, "mailbox.bad-state")
    })
}
