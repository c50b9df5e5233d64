//! Table `directory`.

use super::{
    dynamo::{Dynamo, from_item, s},
    failure::failed,
    keys::{AUTHORITY, CODE, KIND},
};
use crate::{
    domain::authority::{Authority, AuthorityCode},
    ports::{Directory, PortResult},
};

impl Directory for Dynamo {
    async fn authority(&self, code: &AuthorityCode) -> PortResult<Option<Authority>> {
        const STEP: &str = "directory.get";
        let get = self.client.get_item().table_name(&self.tables.directory).consistent_read(true);
        let found = get.key(KIND, s(AUTHORITY)).key(CODE, s(code.as_str())).send().await.map_err(failed(STEP))?;
        found.item.map(|item| from_item(item, STEP)).transpose()
    }
}
