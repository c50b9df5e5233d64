//! Table `accesses`, searched for an audit.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    dynamo::{Dynamo, Item, after, from_item, limit, s},
    failure::failed,
    keys::{AT, BY_ORGANISATION, BY_PERSON, BY_TIME, CHILD, ID, ORGANISATION_CODE, PERSON},
};
use crate::{
    domain::{
        access::Access,
        audit_search::{AuditSearch, Subject},
        time::sortable,
    },
    ports::{AccessSearch, Page, PageRequest, PortResult},
};

/// How many items a call reads where some of them may be passed over: about a megabyte, the most that DynamoDB gives.
const READ_AT_ONCE: usize = 1_000;
/// Calls for one page at the most, so that an answer comes in time however much is passed over.
const CALLS: usize = 20;

/// What passes over other organisations' accesses. It reads the code from the access itself, as DynamoDB filters by no
/// attribute that is in the index's key.
const OWN: &str = "#organisation.#code = :own";
/// What passes over those in other organisations' sensitive care (R52).
const OWN_OR_NOT_SENSITIVE: &str =
    "#organisation.#code = :own OR attribute_not_exists(presentation) OR presentation <> :generic";

/// The place of an access within its index, beside the index's own key.
type Place = [String; 3];

impl AccessSearch for Dynamo {
    async fn search(&self, search: &AuditSearch, page: &PageRequest) -> PortResult<Page<Access>> {
        let wanted = page.limit.clamp(1, READ_AT_ONCE);
        let mut from: Option<Place> = after(page.after.as_ref())?;
        let mut items: Vec<Access> = Vec::new();
        for _ in 0..CALLS {
            let (found, next) = self.search_once(search, wanted, from).await?;
            items.extend(found);
            from = next;
            if items.len() > wanted {
                items.truncate(wanted);
                from = items.last().map(place);
            }
            if from.is_none() || items.len() == wanted {
                break;
            }
        }
        Ok(Page { items, next: from.map(|place| cursor(&place)) })
    }
}

impl Dynamo {
    /// One call: what it found, and where the rest begins.
    async fn search_once(
        &self,
        search: &AuditSearch,
        wanted: usize,
        from: Option<Place>,
    ) -> PortResult<(Vec<Access>, Option<Place>)> {
        const STEP: &str = "accesses.search";
        let (index, key, value) = match &search.subject {
            Subject::Child(child) => (BY_TIME, CHILD, child.as_str()),
            Subject::Person(person) => (BY_PERSON, PERSON, person.as_str()),
            Subject::Organisation(code) => (BY_ORGANISATION, ORGANISATION_CODE, code.as_str()),
        };
        let [first, last] = search.span.bounds();
        let from = from.map(|[at, child, id]| -> Item {
            HashMap::from([(AT, at), (CHILD, child), (ID, id), (key, value.to_owned())].map(|(k, v)| (k.into(), s(v))))
        });
        let query = self.client.query().table_name(&self.tables.accesses).index_name(index);
        let query = query
            .consistent_read(index == BY_TIME)
            .key_condition_expression("#key = :key AND #at BETWEEN :first AND :last")
            .expression_attribute_names("#key", key)
            .expression_attribute_names("#at", AT)
            .expression_attribute_values(":key", s(value))
            .expression_attribute_values(":first", s(first))
            .expression_attribute_values(":last", s(last))
            .scan_index_forward(false)
            .set_exclusive_start_key(from);
        let query = match filter(search) {
            None => query.limit(limit(wanted)),
            Some(condition) => query
                .limit(limit(READ_AT_ONCE))
                .filter_expression(condition)
                .expression_attribute_names("#organisation", "organisation")
                .expression_attribute_names("#code", "code")
                .expression_attribute_values(":own", s(&search.reach.own)),
        };
        let query = if filter(search) == Some(OWN_OR_NOT_SENSITIVE) {
            query.expression_attribute_values(":generic", s("generic"))
        } else {
            query
        };
        let found = query.send().await.map_err(failed(STEP))?;
        let next = found.last_evaluated_key.map(|key| [AT, CHILD, ID].map(|name| text(&key, name)));
        let items = found.items.unwrap_or_default().into_iter().map(|item| from_item(item, STEP));
        Ok((items.collect::<PortResult<_>>()?, next))
    }
}

/// What passes over those that may not be seen ([`AuditSearch::view`]); `None` where all of them may.
fn filter(search: &AuditSearch) -> Option<&'static str> {
    match &search.subject {
        Subject::Organisation(code) if *code == search.reach.own => None,
        Subject::Child(_) if search.reach.national => None,
        _ if search.reach.national => Some(OWN_OR_NOT_SENSITIVE),
        _ => Some(OWN),
    }
}

fn text(item: &Item, name: &str) -> String {
    item.get(name).and_then(|value| value.as_s().ok()).cloned().unwrap_or_default()
}

fn place(access: &Access) -> Place {
    [sortable(access.at), access.child.as_str().to_owned(), access.id.to_string()]
}

fn cursor(place: &Place) -> String {
    URL_SAFE_NO_PAD.encode(place.join("|"))
}
