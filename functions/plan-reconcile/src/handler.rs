//! Decode, read, encode.

use cpis::{
    aws::Dynamo,
    domain::{contact::date_in_england, plan::Plan},
    lambda::{
        config::SystemClock,
        http::{Answer, Incoming, no_such_path, refuse},
    },
    ports::{Clock, Page, PlanRegister, Standing, UploadReader},
    wire::fhir::Kind,
};
use lambda_http::http::Method;
use serde_json::Value;

pub(crate) async fn handle(store: &Dynamo, incoming: Incoming) -> Result<Answer, Answer> {
    if incoming.method != Method::GET {
        return Err(no_such_path());
    }
    match incoming.route().as_slice() {
        ["cpis", "authorities", code, "uploads"] => {
            let authority = incoming.own_authority(code)?;
            Ok(Answer::page(&store.uploads(&authority, &incoming.page()?).await?, "reconcile.uploads-listed"))
        }
        ["cpis", "authorities", code, "uploads", sequence] => {
            let authority = incoming.own_authority(code)?;
            // `parse` alone would take a leading plus sign.
            let digits = Some(sequence).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
            let sequence = digits
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| refuse(Kind::NotFound, "a sequence is a number", "reconcile.no-upload"))?;
            answered(store.upload(&authority, sequence).await?)
        }
        ["cpis", "authorities", code, "plans"] => {
            let authority = incoming.own_authority(code)?;
            let held = store.plans_held(&authority, &incoming.page()?).await?;
            let items = held.items.into_iter().map(|(_, plan)| reconciled(&plan)).collect();
            Ok(Answer::page(&Page { items, next: held.next }, "reconcile.plans-listed"))
        }
        _ => Err(no_such_path()),
    }
}

/// The acknowledgement of an upload, byte for byte as it was first given (R13).
fn answered(standing: Option<Standing>) -> Result<Answer, Answer> {
    match standing {
        Some(Standing::Completed { answer, .. }) => {
            Ok(Answer::new(200, "application/json", answer, "reconcile.upload-read"))
        }
        Some(_) => Err(refuse(
            Kind::Conflict,
            "the upload is being processed, or broke off; if this stays so, send the same file again",
            "reconcile.upload-unfinished",
        )),
        None => Err(refuse(Kind::NotFound, "no upload of this sequence was received", "reconcile.no-upload")),
    }
}

/// A plan as its authority sees it: what it uploaded, and how that stands today.
fn reconciled(plan: &Plan) -> Value {
    let today = date_in_england(SystemClock.now());
    let mut item = serde_json::to_value(plan).unwrap_or_default();
    if let Value::Object(fields) = &mut item {
        fields.remove("known");
        fields.remove("contactSequence");
        fields.insert("visible".into(), plan.visible_on(today).is_ok().into());
        fields.insert("active".into(), plan.active_on(today).into());
    }
    item
}
