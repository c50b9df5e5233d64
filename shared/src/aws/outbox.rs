//! Table `outbox`: a copy of each access whose notifications are still owed, and each notice that is. It is read whole and in
//! order of time, and an entry goes once its notifications are on their way.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{
    dynamo::{CONCURRENCY, Dynamo, Item, after, from_item, limit, next, s, start, to_item},
    failure::{failed, unreadable},
    keys::{AT, AT_CHILD_ID, LOOKED, MARK, OWED},
};
use crate::{
    domain::{
        access::Access,
        notification::{Notification, Owing},
        time::sortable,
    },
    ports::{LookLog, NoticeOutbox, Outbox, OutboxEntry, Page, PageRequest, PortResult},
};

/// Holds a notice; an access is the entry itself.
const NOTICE: &str = "notice";

/// The entry of an access.
pub(super) fn item(access: &Access, step: &'static str) -> PortResult<Item> {
    let position = Owing::Access(Box::new(access.clone())).position();
    to_item(access, [(MARK, s(OWED)), (AT_CHILD_ID, s(position))], step)
}

/// The entry of a notice.
fn notice_item(notice: &Notification, step: &'static str) -> PortResult<Item> {
    let held = serde_dynamo::to_attribute_value(notice).map_err(|_| unreadable(step))?;
    let position = Owing::Notice(Box::new(notice.clone())).position();
    let item = [(MARK, s(OWED)), (AT_CHILD_ID, s(position)), (NOTICE, held)];
    Ok(item.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn owing(mut item: Item, step: &'static str) -> PortResult<Owing> {
    match item.remove(NOTICE) {
        Some(notice) => {
            let notice = serde_dynamo::from_attribute_value(notice).map_err(|_| unreadable(step))?;
            Ok(Owing::Notice(Box::new(notice)))
        }
        None => Ok(Owing::Access(Box::new(from_item(item, step)?))),
    }
}

/// An entry, by its key even where nothing else of it can be read.
fn entry(item: Item, step: &'static str) -> OutboxEntry {
    let position = item.get(AT_CHILD_ID).and_then(|position| position.as_s().ok()).cloned().unwrap_or_default();
    OutboxEntry { position, owing: owing(item, step) }
}

/// Whether a new image of the outbox's stream is of something owed.
#[must_use]
pub fn is_of_something_owed(image: &serde_dynamo::Item) -> bool {
    !matches!(image.get(MARK), Some(serde_dynamo::AttributeValue::S(mark)) if mark == LOOKED)
}

/// The access in a stream record's new image.
///
/// # Errors
/// Where the image is not of the shape that [`crate::ports::AccessLog::record`] writes.
pub fn from_stream_image(image: serde_dynamo::Item) -> PortResult<Access> {
    serde_dynamo::from_item(image).map_err(|_| unreadable("outbox.stream"))
}

/// What is owed, from the new image of a record of the outbox's stream.
///
/// # Errors
/// Where the image is not of the shape that [`crate::ports::AccessLog::record`] or [`NoticeOutbox::owe`] writes.
pub fn owing_from_stream_image(image: serde_dynamo::Item) -> PortResult<Owing> {
    owing(image.into(), "outbox.stream")
}

impl NoticeOutbox for Dynamo {
    async fn owe(&self, notices: &[Notification]) -> PortResult<()> {
        const STEP: &str = "outbox.put";
        let items: Vec<_> = notices.iter().map(|notice| notice_item(notice, STEP)).collect::<PortResult<_>>()?;
        let puts = items.into_iter().map(|item| async move {
            let put = self.client.put_item().table_name(&self.tables.outbox).set_item(Some(item));
            put.send().await.map(drop).map_err(failed(STEP))
        });
        stream::iter(puts).buffer_unordered(CONCURRENCY).try_collect().await
    }
}

/// Place of the entry that says when notices were last looked for.
const NOTICES: &str = "notices";

impl LookLog for Dynamo {
    async fn note_look(&self, at: Timestamp) -> PortResult<()> {
        let put = self.client.put_item().table_name(&self.tables.outbox);
        let put = put.item(MARK, s(LOOKED)).item(AT_CHILD_ID, s(NOTICES)).item(AT, s(sortable(at)));
        put.send().await.map(drop).map_err(failed("outbox.put-look"))
    }

    async fn last_look(&self) -> PortResult<Option<Timestamp>> {
        const STEP: &str = "outbox.query-look";
        let query = self.client.query().table_name(&self.tables.outbox).consistent_read(true).limit(1);
        let query = query.key_condition_expression("mark = :looked");
        let found = query.expression_attribute_values(":looked", s(LOOKED)).send().await.map_err(failed(STEP))?;
        let at = |item: Item| item.get(AT)?.as_s().ok()?.parse().ok();
        let looked = found.items.unwrap_or_default().into_iter().next();
        looked.map(|item| at(item).ok_or_else(|| unreadable(STEP))).transpose()
    }
}

impl Outbox for Dynamo {
    async fn owed_before(&self, moment: Timestamp, page: &PageRequest) -> PortResult<Page<OutboxEntry>> {
        const STEP: &str = "outbox.query";
        let from = after(page.after.as_ref())?;
        let from = start(from.map(|[position]| [(MARK, s(OWED)), (AT_CHILD_ID, s(position))]));
        let query = self.client.query().table_name(&self.tables.outbox).consistent_read(true).limit(limit(page.limit));
        let found = query
            .key_condition_expression("mark = :owed AND at_child_id < :moment")
            .expression_attribute_values(":owed", s(OWED))
            .expression_attribute_values(":moment", s(sortable(moment)))
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(failed(STEP))?;
        let items = found.items.unwrap_or_default().into_iter().map(|item| entry(item, STEP));
        Ok(Page { items: items.collect(), next: next(found.last_evaluated_key, &[AT_CHILD_ID]) })
    }

    async fn settle(&self, owing: &[Owing]) -> PortResult<()> {
        // A call may name each key once, and the stream may bring a record twice.
        let positions: BTreeSet<_> = owing.iter().map(Owing::position).collect();
        let key = |position| Item::from([(MARK.to_owned(), s(OWED)), (AT_CHILD_ID.to_owned(), s(position))]);
        self.delete_each("outbox.batch-delete", &self.tables.outbox, positions.into_iter().map(key).collect()).await
    }
}
