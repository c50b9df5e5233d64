//! Decode, call one use case, encode.

use cpis::{
    aws::Dynamo,
    domain::{authority::AuthorityCode, nhs_number::ChildKeySecret, upload::Acknowledgement},
    lambda::{
        config::SystemClock,
        http::{Answer, Incoming, no_such_path, refuse},
    },
    ports::Clock,
    usecase::upload_plans::upload_plans,
    wire::{
        fhir,
        upload::{self, Kind, Malformed},
    },
};
use lambda_http::http::Method;

const JSON: &str = "application/json";

pub(crate) async fn handle(store: &Dynamo, secret: &ChildKeySecret, incoming: Incoming) -> Result<Answer, Answer> {
    let (code, single) = match (&incoming.method, incoming.route().as_slice()) {
        (&Method::POST, ["cpis", "authorities", code, "uploads"]) => (incoming.own_authority(code)?, false),
        (&Method::POST, ["cpis", "authorities", code, "plans"]) => (incoming.own_authority(code)?, true),
        _ => return Err(no_such_path()),
    };
    let media_type = incoming.media_type()?;
    let file = if single {
        upload::parse_single(media_type, &incoming.body)
    } else {
        upload::parse(media_type, &incoming.query, &incoming.body)
    };
    let file = file.and_then(|file| upload::sent_by(file, &code)).map_err(|malformed| refused(&code, &malformed))?;
    let sequence = file.envelope.sequence;
    let answer = upload_plans(store, secret, &SystemClock, &code, file).await?;
    let described = Answer::new(200, JSON, answer.bytes, event(answer.acknowledgement.as_ref()))
        .with("authority", code.as_str())
        .with("sequence", sequence);
    Ok(match answer.acknowledgement {
        Some(acknowledgement) => describe(described, &acknowledgement),
        None => described,
    })
}

fn event(acknowledgement: Option<&Acknowledgement>) -> &'static str {
    if acknowledgement.is_some() { "upload.processed" } else { "upload.answered-again" }
}

fn describe(answer: Answer, acknowledgement: &Acknowledgement) -> Answer {
    answer
        .with("code", acknowledgement.code.name())
        .with("records", acknowledgement.records)
        .with("loaded", acknowledgement.loaded)
        .with("rejected", acknowledgement.rejected_in_all())
}

/// A file that cannot be read is acknowledged as CPF01 (R14); one of the wrong type or size is refused before that.
fn refused(code: &AuthorityCode, malformed: &Malformed) -> Answer {
    let answer = match malformed.kind {
        Kind::UnsupportedMediaType => {
            refuse(fhir::Kind::UnsupportedMediaType, &malformed.problem, "upload.refused-media-type")
        }
        Kind::TooLarge => refuse(fhir::Kind::TooLarge, &malformed.problem, "upload.refused-size"),
        Kind::Malformed => {
            let now = SystemClock.now();
            let problem = malformed.problem.clone();
            let body = Acknowledgement::malformed(code.clone(), malformed.sequence, now, problem);
            Answer::json(&body, "upload.malformed").status(400)
        }
    };
    answer.with("authority", code.as_str())
}
