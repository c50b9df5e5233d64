//! Health care settings: what care an organisation gives, and whether it may use the service.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::authority::{AuthorityCode, Status};

/// How a kind of care stands towards the register. The rows of the policy's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CareClass {
    /// Whoever needs it comes unannounced: each look-up is told to the child's authority.
    Unscheduled,
    /// By appointment or as a list of patients: a look-up may be silent.
    Scheduled,
    /// Unscheduled, and so far in pilots only.
    PilotUnscheduled,
    /// Scheduled, and so far in pilots only.
    PilotScheduled,
    /// What nobody may learn that a person went to; in pilots only.
    Sensitive,
}

impl CareClass {
    /// Every class, in the order of the policy's table.
    pub const ALL: [Self; 5] =
        [Self::Unscheduled, Self::Scheduled, Self::PilotUnscheduled, Self::PilotScheduled, Self::Sensitive];

    /// Whether patients come unannounced. Sensitive care counts as such whatever it is, so that it always notifies.
    #[must_use]
    pub const fn is_unscheduled(self) -> bool {
        matches!(self, Self::Unscheduled | Self::PilotUnscheduled | Self::Sensitive)
    }

    /// Whether it is seen inside a pilot only (R39).
    #[must_use]
    pub const fn only_in_pilots(self) -> bool {
        matches!(self, Self::PilotUnscheduled | Self::PilotScheduled | Self::Sensitive)
    }
}

/// A kind of care (R37). Sources: NHS England, introductory guidance for integrated care boards (unscheduled settings, and the
/// scheduled ones of 2023); NHS Digital, data notification of the pilots of 2020. Which are sensitive is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)] // Their names say it.
pub enum CareKind {
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
    UnscheduledMentalHealth,
    ScheduledMentalHealth,
    EmergencyDentistry,
    SexualHealth,
    SexualAssaultReferral,
    TerminationOfPregnancy,
}

/// From this day scheduled settings take part, those that had been in pilots too (NHS England, introductory guidance; the day is ours).
const SCHEDULED_FROM: Date = Date::constant(2023, 1, 1);

impl CareKind {
    /// Every kind.
    pub const ALL: [Self; 21] = [
        Self::EmergencyDepartment,
        Self::UrgentTreatmentCentre,
        Self::WalkInCentre,
        Self::MinorInjuryUnit,
        Self::GpOutOfHours,
        Self::Nhs111,
        Self::AmbulanceService,
        Self::Maternity,
        Self::PaediatricWard,
        Self::GeneralPractice,
        Self::Camhs,
        Self::SchoolNursing,
        Self::HealthVisiting,
        Self::CommunityPaediatrics,
        Self::AppointmentDentistry,
        Self::UnscheduledMentalHealth,
        Self::ScheduledMentalHealth,
        Self::EmergencyDentistry,
        Self::SexualHealth,
        Self::SexualAssaultReferral,
        Self::TerminationOfPregnancy,
    ];

    /// What the kind is on a day.
    #[must_use]
    pub fn class_on(self, day: Date) -> CareClass {
        match self {
            Self::EmergencyDepartment
            | Self::UrgentTreatmentCentre
            | Self::WalkInCentre
            | Self::MinorInjuryUnit
            | Self::GpOutOfHours
            | Self::Nhs111
            | Self::AmbulanceService
            | Self::Maternity
            | Self::PaediatricWard => CareClass::Unscheduled,
            Self::GeneralPractice
            | Self::Camhs
            | Self::SchoolNursing
            | Self::HealthVisiting
            | Self::CommunityPaediatrics
            | Self::AppointmentDentistry => {
                if day >= SCHEDULED_FROM {
                    CareClass::Scheduled
                } else {
                    CareClass::PilotScheduled
                }
            }
            Self::UnscheduledMentalHealth | Self::EmergencyDentistry => CareClass::PilotUnscheduled,
            Self::ScheduledMentalHealth => CareClass::PilotScheduled,
            Self::SexualHealth | Self::SexualAssaultReferral | Self::TerminationOfPregnancy => CareClass::Sensitive,
        }
    }

    /// Whether nobody may learn that a person went there (R40). Never changes with time.
    #[must_use]
    pub const fn is_sensitive(self) -> bool {
        matches!(self, Self::SexualHealth | Self::SexualAssaultReferral | Self::TerminationOfPregnancy)
    }

    /// Its code, such as `emergency-department`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::EmergencyDepartment => "emergency-department",
            Self::UrgentTreatmentCentre => "urgent-treatment-centre",
            Self::WalkInCentre => "walk-in-centre",
            Self::MinorInjuryUnit => "minor-injury-unit",
            Self::GpOutOfHours => "gp-out-of-hours",
            Self::Nhs111 => "nhs111",
            Self::AmbulanceService => "ambulance-service",
            Self::Maternity => "maternity",
            Self::PaediatricWard => "paediatric-ward",
            Self::GeneralPractice => "general-practice",
            Self::Camhs => "camhs",
            Self::SchoolNursing => "school-nursing",
            Self::HealthVisiting => "health-visiting",
            Self::CommunityPaediatrics => "community-paediatrics",
            Self::AppointmentDentistry => "appointment-dentistry",
            Self::UnscheduledMentalHealth => "unscheduled-mental-health",
            Self::ScheduledMentalHealth => "scheduled-mental-health",
            Self::EmergencyDentistry => "emergency-dentistry",
            Self::SexualHealth => "sexual-health",
            Self::SexualAssaultReferral => "sexual-assault-referral",
            Self::TerminationOfPregnancy => "termination-of-pregnancy",
        }
    }

    /// The kind that a code means.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Whose audit trail an organisation's officers may search, beside its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oversight {
    /// Everybody's.
    National,
}

/// A health care organisation as the directory knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// ODS code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Kinds of care it gives; none for one that only oversees.
    pub care: Vec<CareKind>,
    /// Its region, one of the nine of England.
    pub region: String,
    /// The nearest authority.
    pub authority: AuthorityCode,
    /// Whether it may use the service.
    pub status: Status,
    /// First day on which it may.
    pub from: Date,
    /// Last day on which it may; without one, no end is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
    /// Whether it oversees others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oversight: Option<Oversight>,
}

/// Whether an organisation may use the service on a day (R36).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// It may.
    Current,
    /// An operator has closed it.
    Closed,
    /// Its first day is yet to come.
    NotYet,
    /// Its last day is over.
    Former,
}

/// Why an entry may not stand in the directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// Its code is none.
    #[error("an ODS code is 3 to 10 capital letters and digits")]
    Code,
    /// It gives no care, and oversees nobody.
    #[error("{0} gives no kind of care")]
    NoCare(String),
    /// Sensitive care beside other care (R40).
    #[error(
        "{0} gives sexual health, sexual assault referral or termination of pregnancy beside other care; \
         give the clinic an ODS code and entry of its own, so that what is shown of its look-ups can be told apart"
    )]
    SensitiveBesideOther(String),
    /// Its last day comes before its first.
    #[error("the last day of {0} comes before its first")]
    Days(String),
}

/// Whether a text can be an ODS code: 3 to 10 capital letters and digits. Nothing else is looked for in the directory.
#[must_use]
pub fn is_ods_code(text: &str) -> bool {
    (3..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

impl Setting {
    /// Whether it may use the service on a day (R36).
    #[must_use]
    pub fn membership_on(&self, day: Date) -> Membership {
        match self.status {
            Status::Closed => Membership::Closed,
            Status::Open if day < self.from => Membership::NotYet,
            Status::Open if self.until.is_some_and(|last| day > last) => Membership::Former,
            Status::Open => Membership::Current,
        }
    }

    /// Whether any care it gives is sensitive (R40). One kind is enough: what cannot be told apart is all protected.
    #[must_use]
    pub fn is_sensitive(&self) -> bool {
        self.care.iter().any(|kind| kind.is_sensitive())
    }

    /// Whether the entry may stand in the directory.
    ///
    /// # Errors
    /// [`SettingError`], with what to do.
    pub fn check(&self) -> Result<(), SettingError> {
        let name = || self.code.clone();
        if !is_ods_code(&self.code) {
            return Err(SettingError::Code);
        }
        if self.care.is_empty() && self.oversight.is_none() {
            return Err(SettingError::NoCare(name()));
        }
        if self.is_sensitive() && (self.care.len() > 1 || self.oversight.is_some()) {
            return Err(SettingError::SensitiveBesideOther(name()));
        }
        if self.until.is_some_and(|last| last < self.from) {
            return Err(SettingError::Days(name()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn setting(care: &[CareKind]) -> Setting {
        Setting {
            code: "ZX001".into(),
            name: "Sample Hospital".into(),
            care: care.to_vec(),
            region: "London".into(),
            authority: AuthorityCode::parse("E09000001").expect("valid"),
            status: Status::Open,
            from: date(2026, 2, 1),
            until: Some(date(2026, 2, 28)),
            oversight: None,
        }
    }

    #[test]
    fn r36_first_and_last_day_count_and_closed_is_closed() {
        let open = setting(&[CareKind::Maternity]);
        for (day, expected) in [
            (date(2026, 1, 31), Membership::NotYet),
            (date(2026, 2, 1), Membership::Current),
            (date(2026, 2, 28), Membership::Current),
            (date(2026, 3, 1), Membership::Former),
        ] {
            assert_eq!(open.membership_on(day), expected, "{day}");
            assert_eq!(Setting { status: Status::Closed, ..open.clone() }.membership_on(day), Membership::Closed);
        }
        assert_eq!(Setting { until: None, ..open }.membership_on(Date::MAX), Membership::Current);
    }

    #[test]
    fn r37_the_kinds_of_care_and_when_they_joined() {
        let count = |day, class| CareKind::ALL.iter().filter(|kind| kind.class_on(day) == class).count();
        let (pilots, today) = (date(2021, 1, 15), date(2026, 11, 24));
        assert_eq!((count(pilots, CareClass::Unscheduled), count(today, CareClass::Unscheduled)), (9, 9));
        assert_eq!((count(pilots, CareClass::Scheduled), count(today, CareClass::Scheduled)), (0, 6));
        assert_eq!((count(pilots, CareClass::PilotScheduled), count(today, CareClass::PilotScheduled)), (7, 1));
        assert_eq!((count(today, CareClass::PilotUnscheduled), count(today, CareClass::Sensitive)), (2, 3));
        for kind in CareKind::ALL {
            assert_eq!(kind.class_on(today) == CareClass::Sensitive, kind.is_sensitive());
            assert_eq!(serde_json::to_value(kind).expect("JSON"), kind.code());
            assert_eq!(CareKind::from_code(kind.code()), Some(kind));
        }
    }

    #[test]
    fn r40_sensitive_care_stands_alone() {
        assert_eq!(setting(&[CareKind::SexualHealth]).check(), Ok(()));
        assert_eq!(setting(&[CareKind::EmergencyDepartment, CareKind::Maternity]).check(), Ok(()));
        for other in CareKind::ALL.into_iter().filter(|kind| *kind != CareKind::SexualHealth) {
            let mixed = setting(&[other, CareKind::SexualHealth]);
            let error = mixed.check().expect_err("a mixture").to_string();
            assert!(error.contains("ODS code and entry of its own"), "{error}");
            assert!(mixed.is_sensitive(), "should one be there all the same, all of it is protected");
        }
        let overseer = Setting { oversight: Some(Oversight::National), ..setting(&[]) };
        assert_eq!((overseer.check(), setting(&[]).check()), (Ok(()), Err(SettingError::NoCare("ZX001".into()))));
        let swapped = Setting { until: Some(date(2026, 1, 1)), ..setting(&[CareKind::Maternity]) };
        assert_eq!(swapped.check(), Err(SettingError::Days("ZX001".into())));
    }

    #[test]
    fn ods_codes() {
        for (text, expected) in [("ZX001", true), ("RXX01", true), ("", false), ("zx001", false), ("ZX 01", false)] {
            assert_eq!(is_ods_code(text), expected, "{text}");
        }
        assert!(!is_ods_code("ABCDEFGHIJK") && !is_ods_code("ZXÉ01"));
    }
}
