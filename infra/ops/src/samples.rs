//! The few settings and pilots that documentation, demonstrations and tests name: the same whatever the seed.

use cpis::domain::{
    authority::{AuthorityCode, AuthorityCodeError, Status},
    entry::Entry,
    pilot::Pilot,
    setting::{CareKind as Care, Oversight, Setting},
};
use jiff::civil::{Date, date};

use crate::settings::code;

/// Where the samples are: Hartlepool.
const AUTHORITY: &str = "E06000001";
const REGION: &str = "North East";

/// Name and care of each; their codes run from `ZX001`.
const SETTINGS: [(&str, &[Care]); 13] = [
    (
        "Sample Hospital",
        &[Care::EmergencyDepartment, Care::PaediatricWard, Care::Maternity, Care::CommunityPaediatrics],
    ),
    ("Sample Ambulance Control", &[Care::AmbulanceService, Care::Nhs111]),
    ("Sample Surgery", &[Care::GeneralPractice]),
    ("Sample Minor Injury Unit", &[Care::MinorInjuryUnit]),
    ("Sample Mental Health Crisis Team", &[Care::UnscheduledMentalHealth, Care::ScheduledMentalHealth]),
    ("Sample Dental Hospital", &[Care::EmergencyDentistry, Care::AppointmentDentistry]),
    ("Sample Sexual Health Clinic", &[Care::SexualHealth]),
    ("Sample Children's Centre", &[Care::CommunityPaediatrics]),
    ("Sample Young People's Clinic", &[Care::SexualHealth]),
    ("Sample Sexual Assault Referral Centre", &[Care::SexualAssaultReferral]),
    ("Sample Pregnancy Advice Service", &[Care::TerminationOfPregnancy]),
    ("Sample Urgent Dental Service", &[Care::EmergencyDentistry]),
    ("Sample National Oversight", &[]),
];

/// Job roles of the pilots, all clinical.
const JOB_ROLES: [&str; 8] = ["R0050", "R0110", "R0260", "R0620", "R8000", "R8001", "R8002", "R8003"];
/// First and last day of the first pilots (NHS Digital, data notification of the pilots; the days are ours).
const FIRST_PILOTS: (Date, Date) = (date(2020, 12, 1), date(2021, 2, 28));
/// Pilots that run today, so that they can be shown (ours).
const TODAYS_PILOTS: (Date, Date) = (date(2026, 1, 1), date(2029, 12, 31));

/// Settings and pilots.
///
/// # Errors
/// The authority's code is none.
pub(crate) fn samples() -> Result<Vec<Entry>, AuthorityCodeError> {
    let authority = AuthorityCode::parse(AUTHORITY)?;
    let setting = |(n, (name, care)): (usize, &(&str, &[Care]))| Setting {
        code: code(n),
        name: (*name).to_owned(),
        care: care.to_vec(),
        region: REGION.to_owned(),
        authority: authority.clone(),
        status: Status::Open,
        from: date(2015, 1, 5),
        until: None,
        oversight: care.is_empty().then_some(Oversight::National),
    };
    let settings = (1..).zip(&SETTINGS).map(setting).map(Entry::Setting);
    Ok(settings.chain(pilots().into_iter().map(Entry::Pilot)).collect())
}

/// The four of December 2020 to February 2021, and those of today.
fn pilots() -> Vec<Pilot> {
    let pilot = |name: &str, code: &str, days: (Date, Date), care: &[Care], organisations: &[&str]| Pilot {
        code: code.to_owned(),
        name: name.to_owned(),
        care: care.to_vec(),
        organisations: organisations.iter().map(|o| (*o).to_owned()).collect(),
        job_roles: JOB_ROLES.map(str::to_owned).to_vec(),
        from: days.0,
        until: days.1,
    };
    let mental_health = [Care::UnscheduledMentalHealth, Care::ScheduledMentalHealth];
    let sensitive = [Care::SexualHealth, Care::SexualAssaultReferral, Care::TerminationOfPregnancy];
    vec![
        pilot("Mental health", "2020-MENTAL-HEALTH", FIRST_PILOTS, &mental_health, &["ZX005"]),
        pilot(
            "Dentistry",
            "2020-DENTISTRY",
            FIRST_PILOTS,
            &[Care::EmergencyDentistry, Care::AppointmentDentistry],
            &["ZX006", "ZX00C"],
        ),
        pilot("Unscheduled sexual health", "2020-SEXUAL-HEALTH", FIRST_PILOTS, &[Care::SexualHealth], &["ZX007"]),
        pilot(
            "Community paediatrics",
            "2020-COMMUNITY-PAEDIATRICS",
            FIRST_PILOTS,
            &[Care::CommunityPaediatrics],
            &["ZX008", "ZX001"],
        ),
        pilot("Mental health, second pilot", "2026-MENTAL-HEALTH", TODAYS_PILOTS, &mental_health, &["ZX005"]),
        pilot("Sensitive care", "2026-SENSITIVE-CARE", TODAYS_PILOTS, &sensitive, &["ZX009", "ZX00A", "ZX00B"]),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cpis::domain::{
        caller::{HealthCaller, JobRole, Organisation, Person, Requester},
        policy::{Presentation, Question, Refusal, Ruling, rule},
        standing::HealthStanding,
    };

    use super::*;
    use crate::{entries::authorities, settings::RESERVED};

    #[test]
    fn samples_are_sound_and_keep_to_the_codes_reserved_for_them() {
        let found = samples().expect("valid");
        assert!(found.len() >= SETTINGS.len() && SETTINGS.len() <= RESERVED);
        for entry in &found {
            assert_eq!(entry.check(), Ok(()));
        }
        assert_eq!(found.iter().map(Entry::key).collect::<BTreeSet<_>>().len(), found.len());
        let named = authorities().expect("readable").into_iter().find(|a| a.code.as_str() == AUTHORITY);
        assert_eq!(named.map(|a| a.region).as_deref(), Some(REGION));
    }

    #[test]
    fn r39_the_four_first_pilots_cover_their_kinds_of_care() {
        let first: Vec<_> = pilots().into_iter().filter(|p| p.from == FIRST_PILOTS.0).collect();
        let care: BTreeSet<_> = first.iter().flat_map(|p| p.care.clone()).collect();
        let expected = [
            Care::CommunityPaediatrics,
            Care::AppointmentDentistry,
            Care::UnscheduledMentalHealth,
            Care::ScheduledMentalHealth,
            Care::EmergencyDentistry,
            Care::SexualHealth,
        ];
        assert_eq!((first.len(), care), (4, expected.into()));
        // Each organisation of a pilot gives care that the pilot is for.
        for pilot in pilots() {
            for code in &pilot.organisations {
                let gives = |e: &Entry| matches!(e, Entry::Setting(s) if s.code == *code && s.care.iter().any(|c| pilot.care.contains(c)));
                assert!(samples().expect("valid").iter().any(gives), "{}: {code}", pilot.code);
            }
        }
    }

    /// What somebody with a job role at an organisation of the samples may do on a day.
    fn on(today: Date, organisation: &str, role: &str, silent: bool) -> Result<Ruling, Refusal> {
        let setting = samples().expect("valid").into_iter().find_map(|entry| match entry {
            Entry::Setting(setting) if setting.code == organisation => Some(setting),
            _ => None,
        });
        let pilots = pilots().iter().filter_map(|pilot| pilot.part_of(organisation)).collect();
        let standing = HealthStanding { setting, pilots };
        let caller = HealthCaller {
            requester: Requester::Person(Person {
                user: "555000000001".into(),
                role_profile: "555000000002".into(),
                name: "Alex Example".into(),
                job_role: JobRole { code: role.into(), display: "Any".into() },
            }),
            organisation: Organisation { code: organisation.into(), name: "Sample".into() },
            activities: vec!["B0107".into(), "B0170".into()],
        };
        let is_unscheduled = if silent { Some(false) } else { None };
        rule(&Question { caller: &caller, standing: &standing, is_unscheduled, consent: true, today })
    }

    #[test]
    fn r39_inside_the_first_pilots_clinicians_see_and_outside_any_bound_nobody_does() {
        // Organisation, whether a silent read can be asked for, how the access is shown.
        for (organisation, scheduled, presentation) in [
            ("ZX005", true, Presentation::Full),
            ("ZX006", true, Presentation::Full),
            ("ZX007", false, Presentation::Generic),
            ("ZX008", true, Presentation::Full),
        ] {
            for day in [date(2020, 12, 1), date(2021, 1, 15), date(2021, 2, 28)] {
                let told = on(day, organisation, "R8001", false).expect("inside");
                assert_eq!((told.unscheduled, told.presentation), (true, presentation), "{organisation} {day}");
                let silent = on(day, organisation, "R8001", true).map(|ruling| ruling.unscheduled);
                let expected = if scheduled { Ok(false) } else { Err(Refusal::OnlyUnscheduledCare) };
                assert_eq!(silent, expected, "{organisation} {day}");
                for role in ["R8008", "R0670"] {
                    assert_eq!(on(day, organisation, role, false), Err(Refusal::PilotRole), "{organisation} {role}");
                }
            }
            for day in [date(2020, 11, 30), date(2021, 3, 1)] {
                assert_eq!(
                    on(day, organisation, "R8001", false),
                    Err(Refusal::PilotNotRunning),
                    "{organisation} {day}"
                );
            }
        }
        // A clinic that took no part, and a hospital, which gives unscheduled care everywhere.
        assert_eq!(on(date(2021, 1, 15), "ZX00A", "R8001", false), Err(Refusal::PilotNotRunning));
        assert_eq!(on(date(2021, 1, 15), "ZX003", "R0260", false), Err(Refusal::PilotNone));
        assert!(on(date(2021, 1, 15), "ZX001", "R8008", false).is_ok());
    }
}
