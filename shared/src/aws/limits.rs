//! Table `limits`: what is counted of each subject, and who is stopped. DynamoDB forgets each item some time after its `expires`;
//! nothing depends on when.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    primitives::Blob,
    types::{AttributeValue, ReturnValue},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{
    dynamo::{Dynamo, Item, n, s},
    failure::{failed, unreadable},
    keys::{SPAN, STOP, SUBJECT},
};
use crate::{
    domain::watch::{Code, Mark, Stop, Subject, Window},
    ports::{PortResult, StopClearing, Stops, Tallied, Tally},
};

/// Items read at once.
const CONCURRENCY: usize = 16;
/// A set of marks; DynamoDB adds to it what is not in it yet, whoever else does so at the same moment.
const MARKS: &str = "marks";
/// A set of the codes that have been told.
const TOLD: &str = "told";
/// Seconds since 1970.
const UNTIL: &str = "until";
/// Milliseconds since 1970.
const CLEARED: &str = "cleared";
/// How long an ended stop is kept, in seconds: what was cleared must be known for as long as it may count.
const STOPS_KEPT: i64 = 7 * 24 * 3_600;

impl Tally for Dynamo {
    async fn add(&self, window: &Window, marks: &[Mark]) -> PortResult<Tallied> {
        const STEP: &str = "limits.add";
        if marks.is_empty() {
            return self.window(window).await;
        }
        // A set that names a member twice is refused.
        let marks: BTreeSet<_> = marks.iter().map(Mark::to_bytes).collect();
        let added = marks.into_iter().map(Blob::new).collect();
        let update = self.client.update_item().table_name(&self.tables.limits).set_key(Some(key(window)));
        let update = update
            .update_expression("ADD #marks :marks SET #expires = :expires")
            .condition_expression("attribute_not_exists(#marks) OR size(#marks) < :capacity")
            .expression_attribute_names("#marks", MARKS)
            .expression_attribute_names("#expires", "expires")
            .expression_attribute_values(":marks", AttributeValue::Bs(added))
            .expression_attribute_values(":expires", n(window.span.forgotten()))
            .expression_attribute_values(":capacity", n(window.span.capacity()))
            .return_values(ReturnValue::AllNew);
        match update.send().await {
            Ok(answer) => tallied(&answer.attributes.unwrap_or_default()),
            Err(error) if is_refused(error.as_service_error()) => self.window(window).await,
            Err(error) => Err(failed(STEP)(error)),
        }
    }

    async fn marks(&self, windows: &[Window]) -> PortResult<Vec<Vec<Mark>>> {
        let reads: Vec<_> = windows.iter().map(|window| self.window(window)).collect();
        stream::iter(reads).buffered(CONCURRENCY).map_ok(|tallied| tallied.marks).try_collect().await
    }

    async fn tell(&self, window: &Window, code: Code) -> PortResult<()> {
        let update = self.client.update_item().table_name(&self.tables.limits).set_key(Some(key(window)));
        let update = update.update_expression("ADD #told :told").expression_attribute_names("#told", TOLD);
        let update = update.expression_attribute_values(":told", AttributeValue::Ss(vec![code.as_str().to_owned()]));
        update.send().await.map(drop).map_err(failed("limits.tell"))
    }

    async fn stop(&self, subject: &Subject, until: Timestamp) -> PortResult<()> {
        let update = self.client.update_item().table_name(&self.tables.limits).set_key(Some(stop_key(subject)));
        let update = update
            .update_expression("SET #until = :until, #expires = :expires")
            .condition_expression("attribute_not_exists(#until) OR #until < :until")
            .expression_attribute_names("#until", UNTIL)
            .expression_attribute_names("#expires", "expires")
            .expression_attribute_values(":until", n(until.as_second()))
            .expression_attribute_values(":expires", n(until.as_second() + STOPS_KEPT));
        match update.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_refused(error.as_service_error()) => Ok(()),
            Err(error) => Err(failed("limits.stop")(error)),
        }
    }
}

impl Stops for Dynamo {
    async fn stops_of(&self, subjects: &[Subject]) -> PortResult<Vec<Stop>> {
        let reads: Vec<_> = subjects.iter().map(|subject| self.stop_of(subject)).collect();
        let found: Vec<_> = stream::iter(reads).buffered(CONCURRENCY).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }
}

impl StopClearing for Dynamo {
    async fn clear(&self, subject: &Subject, now: Timestamp) -> PortResult<()> {
        let update = self.client.update_item().table_name(&self.tables.limits).set_key(Some(stop_key(subject)));
        let update = update
            .update_expression("SET #until = :now, #cleared = :cleared, #expires = :expires")
            .expression_attribute_names("#until", UNTIL)
            .expression_attribute_names("#cleared", CLEARED)
            .expression_attribute_names("#expires", "expires")
            .expression_attribute_values(":now", n(now.as_second()))
            .expression_attribute_values(":cleared", n(now.as_millisecond()))
            .expression_attribute_values(":expires", n(now.as_second() + STOPS_KEPT));
        update.send().await.map(drop).map_err(failed("limits.clear"))
    }
}

impl Dynamo {
    async fn window(&self, window: &Window) -> PortResult<Tallied> {
        const STEP: &str = "limits.get";
        let get = self.client.get_item().table_name(&self.tables.limits).set_key(Some(key(window)));
        let found = get.consistent_read(true).send().await.map_err(failed(STEP))?;
        tallied(&found.item.unwrap_or_default())
    }

    async fn stop_of(&self, subject: &Subject) -> PortResult<Option<Stop>> {
        const STEP: &str = "limits.get-stop";
        let get = self.client.get_item().table_name(&self.tables.limits).set_key(Some(stop_key(subject)));
        let Some(item) = get.send().await.map_err(failed(STEP))?.item else { return Ok(None) };
        let number = |name| item.get(name).and_then(|value| value.as_n().ok()).and_then(|text| text.parse().ok());
        let until =
            number(UNTIL).and_then(|second| Timestamp::from_second(second).ok()).ok_or_else(|| unreadable(STEP))?;
        let cleared = number(CLEARED).and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Ok(Some(Stop { subject: subject.clone(), until, cleared }))
    }
}

fn key(window: &Window) -> Item {
    [(SUBJECT.to_owned(), s(window.subject.as_str())), (SPAN.to_owned(), s(window.span.key()))].into()
}

fn stop_key(subject: &Subject) -> Item {
    [(SUBJECT.to_owned(), s(subject.as_str())), (SPAN.to_owned(), s(STOP))].into()
}

fn is_refused(error: Option<&UpdateItemError>) -> bool {
    error.is_some_and(UpdateItemError::is_conditional_check_failed_exception)
}

fn tallied(item: &Item) -> PortResult<Tallied> {
    let marks = item.get(MARKS).and_then(|value| value.as_bs().ok()).map(Vec::as_slice).unwrap_or_default();
    let marks = marks.iter().map(|bytes| Mark::of_bytes(bytes.as_ref()).ok_or_else(|| unreadable("limits.mark")));
    let mut marks: Vec<_> = marks.collect::<PortResult<_>>()?;
    marks.sort_unstable();
    let told = item.get(TOLD).and_then(|value| value.as_ss().ok()).cloned().unwrap_or_default();
    Ok(Tallied { marks, told })
}
