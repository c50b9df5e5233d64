//! What the directory holds, and the authorities that it starts with.

use cpis::domain::{
    authority::{Authority, AuthorityCode, Status},
    ways_out::WaysOut,
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};

/// An item of the directory's table: `kind` and `code` are its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum Entry {
    /// A local authority.
    Authority(Authority),
    /// A health care setting.
    Setting(Setting),
}

/// A health care setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    /// ODS code.
    pub(crate) code: String,
    /// Its name.
    pub(crate) name: String,
    /// Kinds of care it gives, at least one.
    pub(crate) care: Vec<Care>,
    /// Region of the authority.
    pub(crate) region: String,
    /// The nearest authority.
    pub(crate) authority: AuthorityCode,
    /// Whether it may use the service.
    pub(crate) status: Status,
    /// Since when it may.
    pub(crate) from: Date,
}

/// Kinds of care that use CP-IS: NHS England's introductory guidance, unscheduled settings and the scheduled ones from 2023.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Care {
    EmergencyDepartment,
    UrgentTreatmentCentre,
    WalkInCentre,
    MinorInjuryUnit,
    GpOutOfHours,
    Nhs111,
    AmbulanceService,
    Maternity,
    PaediatricWard,
    GeneralPractice,
    Camhs,
    SchoolNursing,
    HealthVisiting,
    CommunityPaediatrics,
    AppointmentDentistry,
}

impl Entry {
    /// The two parts of its key.
    pub(crate) fn key(&self) -> (&'static str, &str) {
        match self {
            Self::Authority(a) => ("authority", a.code.as_str()),
            Self::Setting(s) => ("setting", &s.code),
        }
    }

    /// Whether it is in use.
    pub(crate) fn status(&self) -> Status {
        match self {
            Self::Authority(a) => a.status,
            Self::Setting(s) => s.status,
        }
    }

    /// The same with another status.
    pub(crate) fn with_status(mut self, status: Status) -> Self {
        match &mut self {
            Self::Authority(a) => a.status = status,
            Self::Setting(s) => s.status = status,
        }
        self
    }
}

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
