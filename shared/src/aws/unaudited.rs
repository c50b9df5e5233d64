//! The mark on accesses that the audit log lacks, and the sparse index of those that have it (R49).

use jiff::Timestamp;
use uuid::Uuid;

use super::{
    dynamo::{Dynamo, after, from_item, limit, next, s, start},
    failure::failed,
    keys::{AT, CHILD, DUE, ID, LEDGER, UNAUDITED},
};
use crate::{
    domain::{access::Access, nhs_number::ChildKey, time::sortable},
    ports::{Page, PageRequest, PortResult, Unaudited},
};

impl Unaudited for Dynamo {
    async fn unaudited_before(&self, moment: Timestamp, page: &PageRequest) -> PortResult<Page<PortResult<Access>>> {
        const STEP: &str = "accesses.unaudited.query";
        let from = after(page.after.as_ref())?;
        let from = start(from.map(|[at, child, id]| [(LEDGER, s(DUE)), (AT, s(at)), (CHILD, s(child)), (ID, s(id))]));
        let query = self.client.query().table_name(&self.tables.accesses).index_name(UNAUDITED);
        let found = query
            .limit(limit(page.limit))
            .key_condition_expression("ledger = :due AND #at < :moment")
            .expression_attribute_names("#at", AT)
            .expression_attribute_values(":due", s(DUE))
            .expression_attribute_values(":moment", s(sortable(moment)))
            .set_exclusive_start_key(from)
            .send()
            .await
            .map_err(failed(STEP))?;
        let items = found.items.unwrap_or_default().into_iter().map(|item| from_item(item, STEP));
        Ok(Page { items: items.collect(), next: next(found.last_evaluated_key, &[AT, CHILD, ID]) })
    }

    /// An access that was never recorded has no mark to clear, and none is made up.
    async fn audited(&self, accesses: &[(ChildKey, Uuid)]) -> PortResult<()> {
        let clear = format!("UPDATE \"{}\" REMOVE {LEDGER} WHERE {CHILD} = ? AND {ID} = ?", self.tables.accesses);
        let key = |(child, id): &(ChildKey, Uuid)| [s(child.as_str()), s(*id)];
        self.execute_each("accesses.batch-update", &clear, accesses, key).await
    }
}
