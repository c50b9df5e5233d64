//! Table `directory`.

use serde::de::DeserializeOwned;

use super::{
    dynamo::{Dynamo, from_item, s},
    failure::failed,
    keys::{AUTHORITY, CODE, KIND, PILOT, SETTING},
};
use crate::{
    domain::{
        authority::{Authority, AuthorityCode},
        pilot::Pilot,
        setting::{Setting, is_ods_code},
    },
    ports::{AuthorityList, Directory, PortResult, SettingDirectory},
};

impl Directory for Dynamo {
    async fn authority(&self, code: &AuthorityCode) -> PortResult<Option<Authority>> {
        self.entry(AUTHORITY, code.as_str()).await
    }
}

impl SettingDirectory for Dynamo {
    async fn setting(&self, code: &str) -> PortResult<Option<Setting>> {
        // The code comes from a token's claims: what can be no code is no key either.
        if is_ods_code(code) { self.entry(SETTING, code).await } else { Ok(None) }
    }

    async fn pilots(&self) -> PortResult<Vec<Pilot>> {
        self.entries(PILOT).await?.into_iter().collect()
    }
}

impl AuthorityList for Dynamo {
    async fn authorities(&self) -> PortResult<Vec<PortResult<Authority>>> {
        self.entries(AUTHORITY).await
    }
}

impl Dynamo {
    /// Every entry of a kind.
    async fn entries<T: DeserializeOwned>(&self, kind: &str) -> PortResult<Vec<PortResult<T>>> {
        const STEP: &str = "directory.query";
        let query = self.client.query().table_name(&self.tables.directory).consistent_read(true);
        let query = query.key_condition_expression("#kind = :kind").expression_attribute_names("#kind", KIND);
        let mut pages = query.expression_attribute_values(":kind", s(kind)).into_paginator().items().send();
        let mut entries = Vec::new();
        while let Some(item) = pages.next().await {
            entries.push(from_item(item.map_err(failed(STEP))?, STEP));
        }
        Ok(entries)
    }

    async fn entry<T: DeserializeOwned>(&self, kind: &str, code: &str) -> PortResult<Option<T>> {
        const STEP: &str = "directory.get";
        let get = self.client.get_item().table_name(&self.tables.directory).consistent_read(true);
        let found = get.key(KIND, s(kind)).key(CODE, s(code)).send().await.map_err(failed(STEP))?;
        found.item.map(|item| from_item(item, STEP)).transpose()
    }
}
