//! Pilots: kinds of care that see the register for a while, at some organisations, by clinical staff.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::setting::{CareKind, is_ods_code};

/// SDS job roles that count as clinical (R39). Source: the national RBAC database's job roles that care for patients; the choice is
/// ours, and a role that is not here is not clinical.
pub const CLINICAL_ROLES: [(&str, &str); 13] = [
    ("R0050", "Consultant"),
    ("R0110", "Specialist Registrar"),
    ("R0260", "General Medical Practitioner"),
    ("R0270", "Salaried General Practitioner"),
    ("R0620", "Staff Nurse"),
    ("R0670", "Midwife - Sister/Charge Nurse"),
    ("R0680", "Midwife"),
    ("R0690", "Community Practitioner"),
    ("R0700", "Community Nurse"),
    ("R8000", "Clinical Practitioner Access Role"),
    ("R8001", "Nurse Access Role"),
    ("R8002", "Midwife Access Role"),
    ("R8003", "Health Professional Access Role"),
];

/// Whether a job role is clinical.
#[must_use]
pub fn is_clinical(role: &str) -> bool {
    CLINICAL_ROLES.iter().any(|(code, _)| *code == role)
}

/// A pilot as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pilot {
    /// Its code, such as `2020-DENTISTRY`.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Kinds of care that take part.
    pub care: Vec<CareKind>,
    /// ODS codes of the organisations that take part.
    pub organisations: Vec<String>,
    /// SDS job roles that take part, clinical ones alone.
    pub job_roles: Vec<String>,
    /// First day.
    pub from: Date,
    /// Last day.
    pub until: Date,
}

/// What an organisation's part in a pilot allows: the pilot without the other organisations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PilotPart {
    /// Code of the pilot.
    pub code: String,
    /// Kinds of care that take part.
    pub care: Vec<CareKind>,
    /// SDS job roles that take part.
    pub job_roles: Vec<String>,
    /// First day.
    pub from: Date,
    /// Last day.
    pub until: Date,
}

/// Why a pilot may not stand in the directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PilotError {
    /// One of its bounds is empty.
    #[error("the pilot {0} needs a code, at least one kind of care, organisation and job role")]
    Empty(String),
    /// A job role is not clinical.
    #[error("the pilot {0} names the job role {1}, which is not clinical; pilots are for clinical staff only")]
    NotClinical(String, String),
    /// An organisation's code is none.
    #[error("the pilot {0} names an organisation whose code is not an ODS code")]
    Organisation(String),
    /// The last day comes before the first.
    #[error("the last day of the pilot {0} comes before its first")]
    Days(String),
}

impl Pilot {
    /// The part that an organisation has in it; `None` where it has none.
    #[must_use]
    pub fn part_of(&self, organisation: &str) -> Option<PilotPart> {
        let Self { code, care, job_roles, from, until, .. } = self;
        self.organisations.iter().any(|o| o == organisation).then(|| PilotPart {
            code: code.clone(),
            care: care.clone(),
            job_roles: job_roles.clone(),
            from: *from,
            until: *until,
        })
    }

    /// Whether the entry may stand in the directory.
    ///
    /// # Errors
    /// [`PilotError`].
    pub fn check(&self) -> Result<(), PilotError> {
        let name = || self.code.clone();
        if [&self.organisations, &self.job_roles].iter().any(|l| l.is_empty())
            || self.care.is_empty()
            || self.code.is_empty()
        {
            return Err(PilotError::Empty(name()));
        }
        if let Some(role) = self.job_roles.iter().find(|role| !is_clinical(role)) {
            return Err(PilotError::NotClinical(name(), role.clone()));
        }
        if !self.organisations.iter().all(|o| is_ods_code(o)) {
            return Err(PilotError::Organisation(name()));
        }
        if self.until < self.from { Err(PilotError::Days(name())) } else { Ok(()) }
    }
}

impl PilotPart {
    /// Whether the pilot runs on a day; its first and last day count.
    #[must_use]
    pub fn runs_on(&self, day: Date) -> bool {
        (self.from..=self.until).contains(&day)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn pilot() -> Pilot {
        Pilot {
            code: "2020-DENTISTRY".into(),
            name: "Dentistry".into(),
            care: vec![CareKind::EmergencyDentistry, CareKind::AppointmentDentistry],
            organisations: vec!["ZX001".into(), "ZX002".into()],
            job_roles: vec!["R8000".into()],
            from: date(2020, 12, 1),
            until: date(2021, 2, 28),
        }
    }

    #[test]
    fn r39_a_pilot_is_for_its_organisations_on_its_days() {
        let part = pilot().part_of("ZX002").expect("it takes part");
        assert_eq!((part.code.as_str(), pilot().part_of("ZX003")), ("2020-DENTISTRY", None));
        let runs = |year, month, day| part.runs_on(date(year, month, day));
        assert_eq!(
            (runs(2020, 11, 30), runs(2020, 12, 1), runs(2021, 2, 28), runs(2021, 3, 1)),
            (false, true, true, false)
        );
    }

    #[test]
    fn r39_a_pilot_names_clinical_roles_only_and_every_bound() {
        assert_eq!(pilot().check(), Ok(()));
        let clerk = Pilot { job_roles: vec!["R8000".into(), "R8008".into()], ..pilot() };
        assert_eq!(clerk.check(), Err(PilotError::NotClinical("2020-DENTISTRY".into(), "R8008".into())));
        for (wrong, expected) in [
            (Pilot { care: vec![], ..pilot() }, PilotError::Empty("2020-DENTISTRY".into())),
            (Pilot { organisations: vec![], ..pilot() }, PilotError::Empty("2020-DENTISTRY".into())),
            (Pilot { job_roles: vec![], ..pilot() }, PilotError::Empty("2020-DENTISTRY".into())),
            (Pilot { organisations: vec!["?".into()], ..pilot() }, PilotError::Organisation("2020-DENTISTRY".into())),
            (Pilot { until: date(2020, 11, 30), ..pilot() }, PilotError::Days("2020-DENTISTRY".into())),
        ] {
            assert_eq!(wrong.check(), Err(expected));
        }
    }
}
