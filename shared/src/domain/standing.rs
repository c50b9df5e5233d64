//! How a caller stands in the directory, as the authorizer read it and passes it on beside the caller (R36).

use serde::{Deserialize, Serialize};

use super::{authority::Status, pilot::PilotPart, setting::Setting};

/// A caller's standing, of its own kind. It travels as JSON: `{"health": {…}}` or `{"authority": "open"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// Of a person or device in health care.
    Health(HealthStanding),
    /// Of an authority's system.
    Authority(AuthorityStanding),
}

/// The caller's organisation as the directory knows it. The default is one that it does not know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthStanding {
    /// Its entry; `None` where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<Setting>,
    /// Its parts in pilots, those that are over too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pilots: Vec<PilotPart>,
}

/// How an authority stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AuthorityStanding {
    /// It takes part.
    Open,
    /// It took part once.
    Closed,
    /// The directory does not know it.
    Unknown,
}

impl From<Option<Status>> for AuthorityStanding {
    fn from(status: Option<Status>) -> Self {
        match status {
            Some(Status::Open) => Self::Open,
            Some(Status::Closed) => Self::Closed,
            None => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_shape_that_functions_read() {
        let setting = json!({
            "code": "ZX001", "name": "Sample Hospital", "care": ["emergency-department"], "region": "London",
            "authority": "E09000001", "status": "open", "from": "2020-01-01"
        });
        let pilot = json!({
            "code": "P", "care": ["sexual-health"], "jobRoles": ["R8000"], "from": "2020-01-01", "until": "2020-02-01"
        });
        for text in [
            json!({"health": {}}),
            json!({"health": {"setting": setting, "pilots": [pilot]}}),
            json!({"authority": "open"}),
            json!({"authority": "unknown"}),
        ] {
            let standing: Standing = serde_json::from_value(text.clone()).expect("a standing");
            assert_eq!(serde_json::to_value(standing).expect("JSON"), text);
        }
    }
}
