//! Table `mailbox`.

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    dynamo::{Dynamo, after, from_item, limit, next, s, start, to_item},
    failure::failed,
    keys::{AT, BY_STATE, BY_TIME, DUE, ID, LA, PUSH, PUSH_AT, STATE_AT},
};
#[cfg(feature = "testing")]
use crate::simulation::{self, Bug};
use crate::{
    domain::{
        authority::AuthorityCode,
        notification::{Delivered, State},
        time::sortable,
    },
    ports::{Mailbox, MailboxReader, Page, PageRequest, PortResult},
};

fn state_at(state: State, at: Timestamp) -> String {
    format!("{}#{}", state.name(), sortable(at))
}

impl Mailbox for Dynamo {
    async fn deliver(&self, delivered: &Delivered) -> PortResult<bool> {
        const STEP: &str = "mailbox.put";
        let (la, at) = (&delivered.notification.authority, delivered.notification.at);
        let keys = [(LA, s(la.as_str())), (STATE_AT, s(state_at(delivered.state, at)))];
        let mut item = to_item(delivered, keys, STEP)?;
        if !delivered.pushes.is_empty() {
            // R73: the write that delivers also says that pushes are owed.
            item.insert(PUSH.to_owned(), s(DUE));
            item.insert(PUSH_AT.to_owned(), s(sortable(delivered.delivered_at)));
        }
        let put = self.client.put_item().table_name(&self.tables.mailbox).set_item(Some(item));
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

impl MailboxReader for Dynamo {
    async fn notifications(
        &self,
        authority: &AuthorityCode,
        state: Option<State>,
        page: &PageRequest,
    ) -> PortResult<Page<Delivered>> {
        const STEP: &str = "mailbox.query";
        let from = after::<2>(page.after.as_ref())?;
        let la = || s(authority.as_str());
        let query = self.client.query().table_name(&self.tables.mailbox).consistent_read(true).limit(limit(page.limit));
        let query = query.expression_attribute_values(":la", la());
        // The sort key of the one index is made from that of the other, so one cursor serves both.
        let (query, sort) = match state {
            None => (query.index_name(BY_TIME).key_condition_expression("la = :la"), AT),
            Some(state) => (
                query
                    .index_name(BY_STATE)
                    .key_condition_expression("la = :la AND begins_with(state_at, :state)")
                    .expression_attribute_values(":state", s(format!("{}#", state.name()))),
                STATE_AT,
            ),
        };
        let from = start(from.map(|[sorted_by, id]| [(LA, la()), (sort, s(sorted_by)), (ID, s(id))]));
        let found = query.set_exclusive_start_key(from).send().await.map_err(failed(STEP))?;
        let items = found.items.unwrap_or_default().into_iter().map(|item| from_item(item, STEP));
        Ok(Page { items: items.collect::<PortResult<_>>()?, next: next(found.last_evaluated_key, &[sort, ID]) })
    }

    async fn acknowledge(&self, authority: &AuthorityCode, id: Uuid, at: Timestamp) -> PortResult<Option<Delivered>> {
        let Some(held) = self.notification(authority, id).await? else { return Ok(None) };
        if held.state == State::Acknowledged {
            return Ok(Some(held));
        }
        let update = self.client.update_item().table_name(&self.tables.mailbox);
        let result = update
            .key(LA, s(authority.as_str()))
            .key(ID, s(id))
            .update_expression("SET #state = :state, acknowledgedAt = :at, state_at = :state_at")
            .condition_expression("#state = :unread")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":state", s(State::Acknowledged.name()))
            .expression_attribute_values(":unread", s(State::Unread.name()))
            .expression_attribute_values(":at", s(at.to_string()))
            .expression_attribute_values(":state_at", s(state_at(State::Acknowledged, held.notification.at)))
            .send()
            .await;
        match result {
            Ok(_) => Ok(Some(Delivered { state: State::Acknowledged, acknowledged_at: Some(at), ..held })),
            // Somebody was faster: theirs stands.
            Err(e) if e.as_service_error().is_some_and(|e| e.is_conditional_check_failed_exception()) => {
                self.notification(authority, id).await
            }
            Err(error) => Err(failed("mailbox.update")(error)),
        }
    }
}

impl Dynamo {
    async fn notification(&self, authority: &AuthorityCode, id: Uuid) -> PortResult<Option<Delivered>> {
        const STEP: &str = "mailbox.get";
        let get = self.client.get_item().table_name(&self.tables.mailbox).consistent_read(true);
        let found = get.key(LA, s(authority.as_str())).key(ID, s(id)).send().await.map_err(failed(STEP))?;
        found.item.map(|item| from_item(item, STEP)).transpose()
    }
}
