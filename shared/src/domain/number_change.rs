//! A change of an NHS number, as it is told to us, and who is told of it (R88).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{
    authority::AuthorityCode,
    contact::date_in_england,
    nhs_number::{ChildKeySecret, NhsNumber},
    notice::{NumberChange, NumberChanged, notice},
    notification::{Content, Notification},
    plan::Plan,
};

/// A change that the Personal Demographics Service made. Nothing but these members may stand in a message: one that is not known
/// could be how its sender says that there was an adoption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Message {
    nhs_number: NhsNumber,
    change: NumberChange,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    new_number: Option<NhsNumber>,
    /// It must be said where there is a new number to tell: silence is no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adopted: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
}

/// A change of an NHS number. After an adoption it holds no new number, whatever was told (R88).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Message", into = "Message")]
pub struct NumberChangeTold {
    number: NhsNumber,
    change: NumberChange,
    new_number: Option<NhsNumber>,
    adopted: bool,
    /// The sender's own id of the change, for whoever follows it up.
    pub id: Option<Uuid>,
}

/// Why a change cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoChange {
    /// A number is told to have changed into itself.
    #[error("the new number is the old one")]
    SameNumber,
    /// There is a new number, and no word on whether the child was adopted (R88).
    #[error("it does not say whether the child was adopted")]
    AdoptionUnsaid,
}

/// A message without any new number in it, for whoever keeps what could not be read: it may be about an adopted child (R88). What is
/// no JSON comes back as it is.
#[must_use]
pub fn without_new_number(body: &str) -> String {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.retain(|name, _| !name.eq_ignore_ascii_case("newNumber"));
                members.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let Ok(mut value) = serde_json::from_str::<Value>(body) else { return body.to_owned() };
    let whole = value.clone();
    strip(&mut value);
    if value == whole { body.to_owned() } else { value.to_string() }
}

impl NumberChangeTold {
    /// A change.
    ///
    /// # Errors
    /// [`NoChange::SameNumber`]
    pub fn new(
        number: NhsNumber,
        change: NumberChange,
        new_number: Option<NhsNumber>,
        adopted: bool,
        id: Option<Uuid>,
    ) -> Result<Self, NoChange> {
        if new_number.as_ref() == Some(&number) {
            return Err(NoChange::SameNumber);
        }
        // R88: from here on nobody can tell it any more.
        Ok(Self { number, change, new_number: new_number.filter(|_| !adopted), adopted, id })
    }

    /// The number that changed.
    #[must_use]
    pub const fn number(&self) -> &NhsNumber {
        &self.number
    }

    /// R88: a notice to each authority that has plans under the number which are neither withdrawn nor past. What it tells makes its
    /// id, so that the same change, told again, is the same notice (R87).
    #[must_use]
    pub fn notices(&self, plans: &[Plan], secret: &ChildKeySecret, now: Timestamp) -> Vec<Notification> {
        let today = date_in_england(now);
        let held: Vec<_> = plans.iter().filter(|plan| plan.visible_on(today).is_ok()).collect();
        let mut authorities: Vec<_> = held.iter().map(|plan| &plan.authority).collect();
        authorities.sort();
        authorities.dedup();
        let local_ids = |authority: &AuthorityCode| {
            let own = held.iter().filter(|plan| plan.authority == *authority);
            let mut ids: Vec<_> = own.filter_map(|plan| plan.local_id.clone()).collect();
            ids.sort();
            ids.dedup();
            ids
        };
        // By their keys: ids stand in logs and paths, and ten digits can all be tried (R31).
        let key = |number: &NhsNumber| secret.key_of(number).as_str().to_owned();
        let new = self.new_number.as_ref().map(key).unwrap_or_default();
        let change = match self.change {
            NumberChange::Superseded => "superseded",
            NumberChange::Inactive => "inactive",
        };
        let what = format!("{}|{change}|{new}", key(&self.number));
        let told = |authority: &AuthorityCode| {
            let content = Content::NumberChanged(NumberChanged {
                nhs_number: self.number.clone(),
                local_ids: local_ids(authority),
                change: self.change,
                new_number: self.new_number.clone(),
            });
            notice(authority, content.kind(), &what, now, content.clone())
        };
        authorities.into_iter().map(told).collect()
    }
}

impl TryFrom<Message> for NumberChangeTold {
    type Error = NoChange;

    fn try_from(told: Message) -> Result<Self, NoChange> {
        let Message { nhs_number, change, new_number, adopted, id } = told;
        if new_number.is_some() && adopted.is_none() {
            return Err(NoChange::AdoptionUnsaid);
        }
        Self::new(nhs_number, change, new_number, adopted.unwrap_or(false), id)
    }
}

impl From<NumberChangeTold> for Message {
    fn from(told: NumberChangeTold) -> Self {
        let NumberChangeTold { number, change, new_number, adopted, id } = told;
        Self { nhs_number: number, change, new_number, adopted: Some(adopted), id }
    }
}
