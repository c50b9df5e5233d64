//! Table `mailbox`: what is delivered, and what its authority does with it.

use aws_sdk_dynamodb::{operation::update_item::builders::UpdateItemFluentBuilder, types::AttributeValue};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{
    dynamo::{Dynamo, Item, after, from_item, limit, next, s, start, to_item},
    failure::failed,
    keys::{AT, BY_STATE, BY_TIME, DUE, ID, LA, PUSH, PUSH_AT, READING, STATE_AT, WAKE, WAKE_AT},
};
#[cfg(feature = "testing")]
use crate::simulation::{self, Bug};
use crate::{
    domain::{
        authority::AuthorityCode,
        notification::{Delivered, State, Taken},
        reading::Reading,
        time::sortable,
    },
    ports::{
        Mailbox, MailboxMarks, MailboxReader, Page, PageRequest, PortError, PortResult, ReadingRules,
        ReadingRulesWriter, Unreadable,
    },
};

/// How often a mark is tried that another one came before.
const MAX_RACES: usize = 4;

fn state_at(state: State, at: Timestamp) -> String {
    format!("{}#{}", state.name(), sortable(at))
}

/// A new entry, with what its indexes go by.
pub(super) fn item(delivered: &Delivered, step: &'static str) -> PortResult<Item> {
    let (la, at) = (&delivered.notification.authority, delivered.notification.at);
    let keys = [(LA, s(la.as_str())), (STATE_AT, s(state_at(delivered.state, at)))];
    let mut item = to_item(delivered, keys, step)?;
    let mut mark = |name: &str, at_name: &str, at: Timestamp| {
        item.insert(name.to_owned(), s(DUE));
        item.insert(at_name.to_owned(), s(sortable(at)));
    };
    if !delivered.pushes.is_empty() {
        // R73: the write that delivers also says that pushes are owed.
        mark(PUSH, PUSH_AT, delivered.delivered_at);
    }
    if let Some(at) = delivered.wakes_at() {
        // R84, R85: and when it is to be looked at again.
        mark(WAKE, WAKE_AT, at);
    }
    Ok(item)
}

impl Mailbox for Dynamo {
    async fn deliver(&self, delivered: &Delivered) -> PortResult<bool> {
        const STEP: &str = "mailbox.put";
        let put = self.client.put_item().table_name(&self.tables.mailbox).set_item(Some(item(delivered, STEP)?));
        let put = put.condition_expression("attribute_not_exists(la)");
        #[cfg(feature = "testing")]
        let put = if simulation::has(Bug::DeliversOverWhatIsThere) { put.set_condition_expression(None) } else { put };
        match put.send().await {
            Ok(_) => Ok(true),
            Err(e) if e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => Ok(false),
            Err(error) => Err(failed(STEP)(error)),
        }
    }
}

/// What an item holds, or where the item is that cannot be read: its key can.
pub(super) fn read<T: DeserializeOwned>(item: Item, step: &'static str) -> Result<T, Unreadable> {
    let text = |name| item.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default();
    let (authority, id) = (text(LA), text(ID));
    from_item(item, step).map_err(|error| Unreadable { authority, id, error })
}

/// Which part of a mailbox is listed.
enum Part {
    All,
    Of(State),
    Since(Timestamp),
}

impl MailboxReader for Dynamo {
    async fn notifications(
        &self,
        authority: &AuthorityCode,
        state: Option<State>,
        page: &PageRequest,
    ) -> PortResult<Page<Result<Delivered, Unreadable>>> {
        self.listed(authority, &state.map_or(Part::All, Part::Of), page).await
    }

    async fn notification(&self, authority: &AuthorityCode, id: Uuid) -> PortResult<Option<Delivered>> {
        self.mailbox_item(authority, s(id)).await
    }

    async fn notifications_since(
        &self,
        authority: &AuthorityCode,
        from: Timestamp,
        page: &PageRequest,
    ) -> PortResult<Page<Result<Delivered, Unreadable>>> {
        self.listed(authority, &Part::Since(from), page).await
    }
}

impl MailboxMarks for Dynamo {
    async fn mark(
        &self,
        authority: &AuthorityCode,
        id: Uuid,
        state: State,
        taken: &Taken,
    ) -> PortResult<Option<Delivered>> {
        const STEP: &str = "mailbox.update";
        for _ in 0..MAX_RACES {
            let Some(held) = self.notification(authority, id).await? else { return Ok(None) };
            let Some(marked) = held.marked(state, taken) else { return Ok(Some(held)) };
            match self.update_marks(&held, &marked).send().await {
                Ok(_) => return Ok(Some(marked)),
                // Somebody was faster: theirs stands, and ours is seen anew.
                Err(e) if e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => {}
                Err(error) => return Err(failed(STEP)(error)),
            }
        }
        Err(PortError { step: STEP, cause: "Raced".into(), retryable: true })
    }
}

impl ReadingRules for Dynamo {
    async fn reading(&self, authority: &AuthorityCode) -> PortResult<Reading> {
        /// The item, besides its key.
        #[derive(serde::Deserialize)]
        struct Held {
            reading: Reading,
        }
        let held: Option<Held> = self.mailbox_item(authority, s(READING)).await?;
        Ok(held.map(|held| held.reading).unwrap_or_default())
    }
}

impl ReadingRulesWriter for Dynamo {
    async fn set_reading(&self, authority: &AuthorityCode, reading: &Reading) -> PortResult<()> {
        const STEP: &str = "mailbox.put-reading";
        let held = std::collections::BTreeMap::from([("reading", reading)]);
        let item = to_item(&held, [(LA, s(authority.as_str())), (ID, s(READING))], STEP)?;
        let put = self.client.put_item().table_name(&self.tables.mailbox).set_item(Some(item));
        put.send().await.map(drop).map_err(failed(STEP))
    }
}

impl Dynamo {
    /// An item of an authority's part of the table.
    async fn mailbox_item<T: DeserializeOwned>(
        &self,
        authority: &AuthorityCode,
        id: AttributeValue,
    ) -> PortResult<Option<T>> {
        const STEP: &str = "mailbox.get";
        let get = self.client.get_item().table_name(&self.tables.mailbox).consistent_read(true);
        let found = get.key(LA, s(authority.as_str())).key(ID, id).send().await.map_err(failed(STEP))?;
        found.item.map(|item| from_item(item, STEP)).transpose()
    }

    /// Changes an item of an authority's part of the table.
    pub(super) fn update_mailbox(&self, authority: &AuthorityCode, id: AttributeValue) -> UpdateItemFluentBuilder {
        let update = self.client.update_item().table_name(&self.tables.mailbox);
        update.key(LA, s(authority.as_str())).key(ID, id)
    }

    /// Writes what a mark changed, unless another one came before it. Nothing wakes it any more.
    fn update_marks(&self, held: &Delivered, marked: &Delivered) -> UpdateItemFluentBuilder {
        let Delivered { state, acknowledged_at, acknowledged_by, actioned_at, actioned_by, .. } = marked;
        let times = [("acknowledgedAt", acknowledged_at), ("actionedAt", actioned_at)];
        let names = [("acknowledgedBy", acknowledged_by), ("actionedBy", actioned_by)];
        let times = times.into_iter().filter_map(|(name, at)| Some((name, at.as_ref()?.to_string())));
        let names = names.into_iter().filter_map(|(name, by)| Some((name, by.clone()?)));
        let mut set = "SET #state = :state, state_at = :state_at".to_owned();
        let mut update = self.update_mailbox(&held.notification.authority, s(held.notification.id));
        for (name, value) in times.chain(names) {
            set.push_str(&format!(", {name} = :{name}"));
            update = update.expression_attribute_values(format!(":{name}"), s(value));
        }
        update
            .update_expression(format!("{set} REMOVE digestAt, escalateAt, weighAt, {WAKE}, {WAKE_AT}"))
            .condition_expression("#state = :seen")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":state", s(state.name()))
            .expression_attribute_values(":seen", s(held.state.name()))
            .expression_attribute_values(":state_at", s(state_at(*state, held.notification.at)))
    }

    async fn listed(
        &self,
        authority: &AuthorityCode,
        part: &Part,
        page: &PageRequest,
    ) -> PortResult<Page<Result<Delivered, Unreadable>>> {
        const STEP: &str = "mailbox.query";
        let from = after::<2>(page.after.as_ref())?;
        let la = || s(authority.as_str());
        let query = self.client.query().table_name(&self.tables.mailbox).consistent_read(true).limit(limit(page.limit));
        let query = query.expression_attribute_values(":la", la());
        // The sort key of the one index is made from that of the other, so one cursor serves both.
        let (query, sort) = match part {
            Part::All => (query.index_name(BY_TIME).key_condition_expression("la = :la"), AT),
            Part::Since(from) => {
                let query = query.index_name(BY_TIME).key_condition_expression("la = :la AND #at >= :from");
                let query = query.expression_attribute_names("#at", AT);
                (query.expression_attribute_values(":from", s(sortable(*from))), AT)
            }
            Part::Of(state) => (
                query
                    .index_name(BY_STATE)
                    .key_condition_expression("la = :la AND begins_with(state_at, :state)")
                    .expression_attribute_values(":state", s(format!("{}#", state.name()))),
                STATE_AT,
            ),
        };
        let from = start(from.map(|[sorted_by, id]| [(LA, la()), (sort, s(sorted_by)), (ID, s(id))]));
        let found = query.set_exclusive_start_key(from).send().await.map_err(failed(STEP))?;
        let items = found.items.unwrap_or_default().into_iter().map(|item| read(item, STEP));
        Ok(Page { items: items.collect(), next: next(found.last_evaluated_key, &[sort, ID]) })
    }
}
