//! The authorities that the directory starts with.

use cpis::domain::{
    authority::{Authority, AuthorityCode, Status},
    ways_out::WaysOut,
};
use serde::Deserialize;

use crate::failure::{Failure, Result};

/// The upper-tier local authorities of England in being today, by code. Source: Office for National Statistics, names
/// and codes of counties and unitary authorities.
pub(crate) fn authorities() -> Result<Vec<Authority>> {
    #[derive(Deserialize)]
    struct Row {
        code: AuthorityCode,
        name: String,
        region: String,
    }
    let mut reader = csv::Reader::from_reader(include_str!("../data/authorities.csv").as_bytes());
    let rows = reader.deserialize::<Row>().map(|row| {
        let Row { code, name, region } = row?;
        Ok(Authority { code, name, region, status: Status::Open, ways_out: WaysOut::default() })
    });
    rows.collect::<csv::Result<_>>().map_err(|e| Failure::error(format!("the built-in table of authorities: {e}")))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use cpis::domain::entry::Entry;

    use super::*;

    #[test]
    fn the_153_authorities_of_the_nine_regions() {
        let found = authorities().expect("readable");
        assert_eq!(found.len(), 153);
        assert_eq!(found.iter().map(|a| &a.code).collect::<BTreeSet<_>>().len(), 153);
        assert!(found.iter().all(|a| a.name.trim() == a.name && !a.name.is_empty() && a.status == Status::Open));
        let mut regions = BTreeMap::new();
        found.iter().for_each(|a| *regions.entry(a.region.as_str()).or_insert(0) += 1);
        let expected = [
            ("East Midlands", 10),
            ("East of England", 11),
            ("London", 33),
            ("North East", 12),
            ("North West", 24),
            ("South East", 19),
            ("South West", 15),
            ("West Midlands", 14),
            ("Yorkshire and The Humber", 15),
        ];
        assert_eq!(regions.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_item_is_what_the_functions_read() {
        let hartlepool = authorities().expect("readable").remove(0);
        let item: std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue> =
            serde_dynamo::to_item(Entry::Authority(hartlepool.clone())).expect("an item");
        let text = |name: &str| item[name].as_s().map(String::as_str);
        assert_eq!((text("kind"), text("code")), (Ok("authority"), Ok("E06000001")));
        assert_eq!((text("name"), text("status")), (Ok("Hartlepool"), Ok("open")));
        assert_eq!(serde_dynamo::from_item::<_, Authority>(item.clone()).expect("an authority"), hartlepool);
        assert_eq!(serde_dynamo::from_item::<_, Entry>(item).expect("an entry"), Entry::Authority(hartlepool));
    }
}
