//! Entries of the directory: who takes part.

use serde::{Deserialize, Serialize};

use super::{
    authority::{Authority, Status},
    pilot::{Pilot, PilotError},
    setting::{Setting, SettingError},
};

/// An item of the directory's table: `kind` and `code` are its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Entry {
    /// A local authority.
    Authority(Authority),
    /// A health care organisation.
    Setting(Setting),
    /// A pilot.
    Pilot(Pilot),
}

/// Why an entry may not stand in the directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// A setting's fault.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A pilot's fault.
    #[error(transparent)]
    Pilot(#[from] PilotError),
}

impl Entry {
    /// The two parts of its key.
    #[must_use]
    pub fn key(&self) -> (&'static str, &str) {
        match self {
            Self::Authority(authority) => ("authority", authority.code.as_str()),
            Self::Setting(setting) => ("setting", &setting.code),
            Self::Pilot(pilot) => ("pilot", &pilot.code),
        }
    }

    /// Whether it is in use; a pilot's days alone say that, so it has no status.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match self {
            Self::Authority(authority) => Some(authority.status),
            Self::Setting(setting) => Some(setting.status),
            Self::Pilot(_) => None,
        }
    }

    /// The same with another status, where it has one.
    #[must_use]
    pub fn with_status(mut self, status: Option<Status>) -> Self {
        match (&mut self, status) {
            (Self::Authority(authority), Some(status)) => authority.status = status,
            (Self::Setting(setting), Some(status)) => setting.status = status,
            _ => {}
        }
        self
    }

    /// The same with what operators have set of the entry held: its status, and an authority's ways out.
    #[must_use]
    pub fn kept_from(self, held: &Self) -> Self {
        let mut kept = self.with_status(held.status());
        if let (Self::Authority(authority), Self::Authority(held)) = (&mut kept, held) {
            authority.ways_out.clone_from(&held.ways_out);
        }
        kept
    }

    /// Whether it may stand in the directory.
    ///
    /// # Errors
    /// [`EntryError`], with what to do.
    pub fn check(&self) -> Result<(), EntryError> {
        match self {
            Self::Authority(_) => Ok(()),
            Self::Setting(setting) => Ok(setting.check()?),
            Self::Pilot(pilot) => Ok(pilot.check()?),
        }
    }
}
