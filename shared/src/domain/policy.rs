//! Who may see what: the one policy of look-ups (R38). A table says it for each class of care, activity and kind of requester;
//! what stands around the table (membership, the header, pilots, consent) is said here too, and nowhere else.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{
    caller::{HealthCaller, Requester},
    pilot::is_clinical,
    setting::{CareClass, CareKind, Membership, Setting},
    standing::HealthStanding,
};

/// An RBAC activity that allows look-ups (R30).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Activity {
    /// View a record during unscheduled care.
    B0107,
    /// View a record during scheduled care.
    B0170,
}

impl Activity {
    /// Both.
    pub const ALL: [Self; 2] = [Self::B0107, Self::B0170];

    /// Its code in tokens.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::B0107 => "B0107",
            Self::B0170 => "B0170",
        }
    }
}

/// Who asks, as far as the policy tells them apart: by SDS job role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RoleClass {
    /// Somebody whose job role is clinical ([`super::pilot::CLINICAL_ROLES`]).
    Clinician,
    /// Somebody with any other job role.
    OtherStaff,
    /// A system, with a person who answers for it; it has no job role.
    Device,
}

impl RoleClass {
    /// Every class, in the order of the table's columns.
    pub const ALL: [Self; 3] = [Self::Clinician, Self::OtherStaff, Self::Device];

    /// The class of a requester.
    #[must_use]
    pub fn of(requester: &Requester) -> Self {
        match requester {
            Requester::Person(person) if is_clinical(&person.job_role.code) => Self::Clinician,
            Requester::Person(_) => Self::OtherStaff,
            Requester::Device(_) => Self::Device,
        }
    }
}

/// How an access is shown to whoever is told of it, and in the history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presentation {
    /// Who looked and for which organisation.
    #[default]
    Full,
    /// A generic label: no clinic, kind of care, name, id or telephone number (R41).
    Generic,
}

/// What a cell of the table allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cell {
    /// Nothing.
    No,
    /// The plans; the authority is told in full.
    Told,
    /// The plans; nobody is told where the caller asked for a silent read.
    Silent,
    /// The plans; the authority is told under a generic label.
    Generic,
}

/// A row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Class of the care given.
    pub care: CareClass,
    /// The activity by which it is asked.
    pub activity: Activity,
    /// What a clinician, other staff and a device may have, in this order.
    pub cells: [Cell; 3],
}

const fn row(care: CareClass, activity: Activity, cells: [Cell; 3]) -> Row {
    Row { care, activity, cells }
}

/// R38: the policy. What is not here is not allowed. `cpis policy` prints it.
#[rustfmt::skip] // One line a row, in columns.
pub const TABLE: [Row; 10] = {
    use Activity::{B0107, B0170};
    use CareClass::{PilotScheduled, PilotUnscheduled, Scheduled, Sensitive, Unscheduled};
    use Cell::{Generic, No, Silent, Told};
    [
        //  care              activity clinician other   device
        row(Unscheduled,      B0107, [Told,    Told,   Told]),
        row(Unscheduled,      B0170, [Told,    Told,   Told]),
        row(Scheduled,        B0107, [Told,    Told,   Told]),
        row(Scheduled,        B0170, [Silent,  Silent, Silent]),
        row(PilotUnscheduled, B0107, [Told,    No,     No]),
        row(PilotUnscheduled, B0170, [Told,    No,     No]),
        row(PilotScheduled,   B0107, [Told,    No,     No]),
        row(PilotScheduled,   B0170, [Silent,  No,     No]),
        row(Sensitive,        B0107, [Generic, No,     No]),
        row(Sensitive,        B0170, [No,      No,     No]),
    ]
};

/// What the table says.
#[must_use]
pub fn cell(care: CareClass, activity: Activity, role: RoleClass) -> Cell {
    let row = TABLE.iter().find(|row| row.care == care && row.activity == activity);
    row.map_or(Cell::No, |row| row.cells[role as usize])
}

/// A look-up, as far as the policy looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Who asks.
    pub caller: &'a HealthCaller,
    /// How the organisation stands in the directory.
    pub standing: &'a HealthStanding,
    /// The header `IsUnscheduledAccessEvent`, where it was sent (R19).
    pub is_unscheduled: Option<bool>,
    /// Whether the header `PatientConsent` says that the patient agreed to give their details (R40).
    pub consent: bool,
    /// Today, in England.
    pub today: Date,
}

/// What the policy allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruling {
    /// Whether the access is told to the authorities and shows in the history (R24).
    pub unscheduled: bool,
    /// How it is shown there.
    pub presentation: Presentation,
    /// The kinds of care on which the ruling rests.
    pub care: Vec<CareKind>,
}

/// Why a look-up is refused: nothing is disclosed, and the refusal is recorded (R43).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// R36.
    #[error(
        "the organisation is not in the directory, and an organisation that is not sees nothing; ask the service's operators"
    )]
    OrganisationUnknown,
    /// R36.
    #[error("the organisation is closed in the directory; ask the service's operators")]
    OrganisationClosed,
    /// R36.
    #[error("the organisation's first day of using the service is yet to come")]
    OrganisationNotYet,
    /// R36.
    #[error("the organisation's last day of using the service is over")]
    OrganisationFormer,
    /// R42.
    #[error("a device may ask only with the name of the person who answers for it")]
    NoResponsiblePerson,
    /// R30.
    #[error("the role holds neither B0107 (view, unscheduled care) nor B0170 (view, scheduled care)")]
    NoActivity,
    /// R30, R38.
    #[error(
        "IsUnscheduledAccessEvent false asks for a silent read, which needs activity B0170; leave the header out, \
         or send true, to look the child up with a notification"
    )]
    SilentWithoutActivity,
    /// R38.
    #[error(
        "IsUnscheduledAccessEvent false contradicts the directory: the organisation gives unscheduled care only; \
         leave the header out, or send true"
    )]
    OnlyUnscheduledCare,
    /// R38.
    #[error(
        "IsUnscheduledAccessEvent true contradicts the directory: the organisation gives scheduled care only; \
         send false for a silent read, or leave the header out to look the child up with a notification"
    )]
    OnlyScheduledCare,
    /// R38.
    #[error("the organisation gives no care in which children are looked up")]
    NoCare,
    /// R38.
    #[error("this kind of care needs activity B0107 (view, unscheduled care)")]
    ActivityNotEnough,
    /// R39.
    #[error("the organisation's kind of care is seen in pilots only, and the organisation is in none for it")]
    PilotNone,
    /// R39.
    #[error("the organisation's pilot does not run today")]
    PilotNotRunning,
    /// R39.
    #[error("the organisation's pilot is for clinical staff of the job roles that it names only")]
    PilotRole,
    /// R40.
    #[error(
        "in this kind of care a look-up must state that the patient consented to give their details: \
         send the header PatientConsent: true once they have"
    )]
    NoConsent,
}

impl Refusal {
    /// Every refusal.
    pub const ALL: [Self; 15] = [
        Self::OrganisationUnknown,
        Self::OrganisationClosed,
        Self::OrganisationNotYet,
        Self::OrganisationFormer,
        Self::NoResponsiblePerson,
        Self::NoActivity,
        Self::SilentWithoutActivity,
        Self::OnlyUnscheduledCare,
        Self::OnlyScheduledCare,
        Self::NoCare,
        Self::ActivityNotEnough,
        Self::PilotNone,
        Self::PilotNotRunning,
        Self::PilotRole,
        Self::NoConsent,
    ];

    /// Its stable code, for logs and the audit trail.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::OrganisationUnknown => "organisation-unknown",
            Self::OrganisationClosed => "organisation-closed",
            Self::OrganisationNotYet => "organisation-not-yet",
            Self::OrganisationFormer => "organisation-former",
            Self::NoResponsiblePerson => "no-responsible-person",
            Self::NoActivity => "no-activity",
            Self::SilentWithoutActivity => "silent-without-activity",
            Self::OnlyUnscheduledCare => "only-unscheduled-care",
            Self::OnlyScheduledCare => "only-scheduled-care",
            Self::NoCare => "no-care",
            Self::ActivityNotEnough => "activity-not-enough",
            Self::PilotNone => "pilot-none",
            Self::PilotNotRunning => "pilot-not-running",
            Self::PilotRole => "pilot-role",
            Self::NoConsent => "no-consent",
        }
    }

    /// The header that its sender has to mend, where there is one.
    #[must_use]
    pub const fn header(self) -> Option<&'static str> {
        match self {
            Self::SilentWithoutActivity | Self::OnlyUnscheduledCare | Self::OnlyScheduledCare => {
                Some("IsUnscheduledAccessEvent")
            }
            Self::NoConsent => Some("PatientConsent"),
            _ => None,
        }
    }
}

/// R36: the organisation's entry, where it may use the service on a day.
///
/// # Errors
/// [`Refusal`], where it may not.
pub fn member(standing: &HealthStanding, today: Date) -> Result<&Setting, Refusal> {
    let Some(setting) = &standing.setting else { return Err(Refusal::OrganisationUnknown) };
    match setting.membership_on(today) {
        Membership::Current => Ok(setting),
        Membership::Closed => Err(Refusal::OrganisationClosed),
        Membership::NotYet => Err(Refusal::OrganisationNotYet),
        Membership::Former => Err(Refusal::OrganisationFormer),
    }
}

/// Whether a look-up is allowed, and how it is told of (R38). What is left unsaid fails towards notifying.
///
/// # Errors
/// [`Refusal`], which says why.
pub fn rule(ask: &Question<'_>) -> Result<Ruling, Refusal> {
    // R42
    if matches!(&ask.caller.requester, Requester::Device(device) if device.responsible.trim().is_empty()) {
        return Err(Refusal::NoResponsiblePerson);
    }
    let setting = member(ask.standing, ask.today)?;
    let activity = activity(ask)?;
    let meant = meant(ask, setting)?;
    let admitted = admitted(ask, meant)?;
    let role = RoleClass::of(&ask.caller.requester);
    let allowed: Vec<_> = admitted
        .into_iter()
        .map(|kind| (kind, cell(kind.class_on(ask.today), activity, role)))
        .filter(|(_, cell)| *cell != Cell::No)
        .collect();
    if allowed.is_empty() {
        // In pilots only clinicians have a cell that allows something.
        return Err(if role == RoleClass::Clinician { Refusal::ActivityNotEnough } else { Refusal::PilotRole });
    }
    // R40
    if setting.is_sensitive() && !ask.consent {
        return Err(Refusal::NoConsent);
    }
    let silent = ask.is_unscheduled == Some(false) && allowed.iter().all(|(_, cell)| *cell == Cell::Silent);
    let generic = setting.is_sensitive() || allowed.iter().any(|(_, cell)| *cell == Cell::Generic);
    Ok(Ruling {
        unscheduled: !silent,
        presentation: if generic { Presentation::Generic } else { Presentation::Full },
        care: allowed.into_iter().map(|(kind, _)| kind).collect(),
    })
}

/// The activity by which it is asked: B0170 for a silent read, else B0107, or B0170 where that is all that is held (R30).
fn activity(ask: &Question<'_>) -> Result<Activity, Refusal> {
    let holds = |activity: Activity| ask.caller.activities.iter().any(|code| code == activity.code());
    match (holds(Activity::B0107), holds(Activity::B0170), ask.is_unscheduled) {
        (false, false, _) => Err(Refusal::NoActivity),
        (true, false, Some(false)) => Err(Refusal::SilentWithoutActivity),
        (_, true, Some(false)) | (false, true, _) => Ok(Activity::B0170),
        (true, _, _) => Ok(Activity::B0107),
    }
}

/// The kinds of care that the header can mean. Left out it contradicts nothing, whatever the organisation gives (R19).
fn meant(ask: &Question<'_>, setting: &Setting) -> Result<Vec<CareKind>, Refusal> {
    // R40: beside sensitive care, should that ever be, there is no other.
    let sensitive = setting.is_sensitive();
    let kinds: Vec<_> = setting.care.iter().copied().filter(|kind| kind.is_sensitive() == sensitive).collect();
    let unscheduled = |kind: &CareKind| kind.class_on(ask.today).is_unscheduled();
    let (open, booked): (Vec<_>, Vec<_>) = kinds.into_iter().partition(unscheduled);
    match ask.is_unscheduled {
        _ if open.is_empty() && booked.is_empty() => Err(Refusal::NoCare),
        Some(false) if booked.is_empty() => Err(Refusal::OnlyUnscheduledCare),
        Some(false) => Ok(booked),
        Some(true) if open.is_empty() => Err(Refusal::OnlyScheduledCare),
        None if open.is_empty() => Ok(booked),
        Some(true) | None => Ok(open),
    }
}

/// R39: of these kinds of care, those that see the register everywhere and those that a pilot lets the caller see it in.
fn admitted(ask: &Question<'_>, kinds: Vec<CareKind>) -> Result<Vec<CareKind>, Refusal> {
    let role = match &ask.caller.requester {
        Requester::Person(person) => Some(&person.job_role.code),
        Requester::Device(_) => None,
    };
    let judge = |kind: CareKind| {
        if !kind.class_on(ask.today).only_in_pilots() {
            return Ok(kind);
        }
        let parts: Vec<_> = ask.standing.pilots.iter().filter(|part| part.care.contains(&kind)).collect();
        let mut running = parts.iter().filter(|part| part.runs_on(ask.today)).peekable();
        match (parts.is_empty(), running.peek().is_none()) {
            (true, _) => Err(Refusal::PilotNone),
            (_, true) => Err(Refusal::PilotNotRunning),
            _ if running.any(|part| role.is_some_and(|role| part.job_roles.contains(role))) => Ok(kind),
            _ => Err(Refusal::PilotRole),
        }
    };
    let (admitted, refused): (Vec<_>, Vec<_>) = kinds.into_iter().map(judge).partition(Result::is_ok);
    // The refusal that came furthest tells most.
    let furthest =
        |r: &Refusal| [Refusal::PilotNone, Refusal::PilotNotRunning, Refusal::PilotRole].iter().position(|p| p == r);
    match refused.into_iter().filter_map(Result::err).max_by_key(furthest) {
        Some(refusal) if admitted.is_empty() => Err(refusal),
        _ => Ok(admitted.into_iter().flatten().collect()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use jiff::civil::date;

    use super::*;
    use crate::domain::{
        authority::{AuthorityCode, Status},
        caller::{Device, JobRole, Organisation, Person},
        pilot::PilotPart,
    };

    const TODAY: Date = date(2026, 11, 24);

    /// A look-up of the matrix, in plain words.
    #[derive(Debug, Clone, Copy)]
    struct Case {
        care: &'static [CareKind],
        organisation: &'static str,
        activities: &'static [&'static str],
        header: Option<bool>,
        who: &'static str,
        consent: bool,
        pilot: &'static str,
    }

    impl Case {
        fn caller(&self) -> HealthCaller {
            let person = |code: &str| {
                Requester::Person(Person {
                    user: "555000000001".into(),
                    role_profile: "555000000002".into(),
                    name: "Alex Example".into(),
                    job_role: JobRole { code: code.into(), display: "Any".into() },
                })
            };
            let device = |responsible: &str| {
                Requester::Device(Device { asid: "1".into(), responsible: responsible.into(), ..Device::default() })
            };
            let requester = match self.who {
                "nurse of the pilot" => person("R8001"),
                "another nurse" => person("R0620"),
                "clerk" => person("R8008"),
                "device" => device("Sam Sample"),
                _ => device(" "),
            };
            HealthCaller {
                requester,
                organisation: Organisation { code: "ZX001".into(), name: "Sample".into() },
                activities: self.activities.iter().map(|a| (*a).to_owned()).collect(),
            }
        }

        fn standing(&self) -> HealthStanding {
            let (from, until) = match self.organisation {
                "not yet" => (date(2026, 11, 25), None),
                "former" => (date(2020, 1, 1), Some(date(2026, 11, 23))),
                _ => (date(2026, 11, 24), Some(date(2026, 11, 24))),
            };
            let setting = Setting {
                code: "ZX001".into(),
                name: "Sample".into(),
                care: self.care.to_vec(),
                region: "London".into(),
                authority: AuthorityCode::parse("E09000001").expect("valid"),
                status: if self.organisation == "closed" { Status::Closed } else { Status::Open },
                from,
                until,
                oversight: None,
            };
            let (first, last) = match self.pilot {
                "over" => (date(2020, 12, 1), date(2021, 2, 28)),
                _ => (date(2026, 11, 1), date(2026, 11, 30)),
            };
            let part = PilotPart {
                code: "P".into(),
                care: if self.pilot == "of other care" { vec![CareKind::Camhs] } else { self.care.to_vec() },
                job_roles: vec!["R8001".into()],
                from: first,
                until: last,
            };
            HealthStanding {
                setting: (self.organisation != "unknown").then_some(setting),
                pilots: if self.pilot == "none" { vec![] } else { vec![part] },
            }
        }

        fn ruling(&self) -> Result<Ruling, Refusal> {
            let (caller, standing) = (self.caller(), self.standing());
            let Self { header, consent, .. } = *self;
            rule(&Question { caller: &caller, standing: &standing, is_unscheduled: header, consent, today: TODAY })
        }

        /// What must come of it, from a few plain statements: whether somebody is told, and under a generic label; or nothing.
        fn oracle(&self) -> Option<(bool, bool)> {
            let is = |kind: &CareKind, codes: &[&str]| codes.contains(&kind.code());
            let sensitive = ["sexual-health", "sexual-assault-referral", "termination-of-pregnancy"];
            let booked = [
                "general-practice",
                "camhs",
                "school-nursing",
                "health-visiting",
                "community-paediatrics",
                "appointment-dentistry",
                "scheduled-mental-health",
            ];
            let only_pilots = ["unscheduled-mental-health", "scheduled-mental-health", "emergency-dentistry"];
            let holds = |code| self.activities.contains(&code);
            let in_pilot = self.who == "nurse of the pilot" && self.pilot == "running";
            // An organisation that is unknown, closed, former or not yet there sees nothing; nor does a device nobody answers for.
            if self.organisation != "current" || self.who == "a device nobody answers for" {
                return None;
            }
            // Who holds neither activity sees nothing, and a silent read needs B0170.
            if !holds("B0107") && !holds("B0170") || self.header == Some(false) && !holds("B0170") {
                return None;
            }
            // Sensitive care: in the pilot, with B0107 and consent, not silently; always told, generically.
            if self.care.iter().any(|kind| is(kind, &sensitive)) {
                let allowed = in_pilot && self.consent && holds("B0107") && self.header != Some(false);
                return allowed.then_some((true, true));
            }
            // The header chooses among the kinds of care, and may not name one that is not given.
            let chosen = |kind: &&CareKind| match self.header {
                Some(scheduled) => is(kind, &booked) != scheduled,
                None => !is(kind, &booked) || self.care.iter().all(|k| is(k, &booked)),
            };
            // Of these, what is not in pilots only is for all who hold an activity, and the rest for the pilot.
            let seen = |kind: &CareKind| in_pilot || !is(kind, &only_pilots);
            self.care.iter().filter(chosen).any(seen).then_some((self.header != Some(false), false))
        }
    }

    const MIXTURES: [&[CareKind]; 7] = [
        &[CareKind::EmergencyDepartment, CareKind::Maternity, CareKind::CommunityPaediatrics],
        &[CareKind::UnscheduledMentalHealth, CareKind::ScheduledMentalHealth],
        &[CareKind::EmergencyDentistry, CareKind::AppointmentDentistry],
        &[CareKind::Nhs111, CareKind::EmergencyDentistry],
        &[CareKind::GeneralPractice, CareKind::SexualHealth],
        &[CareKind::EmergencyDepartment, CareKind::SexualAssaultReferral],
        &[],
    ];

    fn cases() -> Vec<Case> {
        const SINGLE: [[CareKind; 1]; 21] = {
            let mut single = [[CareKind::Camhs]; 21];
            let mut n = 0;
            while n < single.len() {
                single[n] = [CareKind::ALL[n]];
                n += 1;
            }
            single
        };
        static KINDS: [[CareKind; 1]; 21] = SINGLE;
        let mut cases = Vec::new();
        for care in KINDS.iter().map(|k| &k[..]).chain(MIXTURES) {
            for organisation in ["current", "unknown", "closed", "not yet", "former"] {
                for activities in [&["B0107"][..], &["B0170"], &["R0001", "B0107", "B0170"], &["R5105"], &[]] {
                    for header in [None, Some(true), Some(false)] {
                        for who in
                            ["nurse of the pilot", "another nurse", "clerk", "device", "a device nobody answers for"]
                        {
                            for pilot in ["none", "running", "over", "of other care"] {
                                for consent in [false, true] {
                                    cases.push(Case { care, organisation, activities, header, who, consent, pilot });
                                }
                            }
                        }
                    }
                }
            }
        }
        cases
    }

    #[test]
    fn r30_r36_r38_r39_r40_every_cell_of_the_matrix_is_as_the_plain_statements_say() {
        let mut seen = BTreeMap::new();
        for case in cases() {
            let ruling = case.ruling();
            let found = ruling.as_ref().ok().map(|r| (r.unscheduled, r.presentation == Presentation::Generic));
            assert_eq!(found, case.oracle(), "{case:?}: {ruling:?}");
            *seen.entry(ruling.map_or_else(Refusal::code, |_| "allowed")).or_insert(0_usize) += 1;
            // The care on which a ruling rests is care that the organisation gives.
            assert!(case.ruling().is_ok_and(|r| r.care.iter().all(|k| case.care.contains(k))) || found.is_none());
        }
        let refusals: BTreeSet<_> = Refusal::ALL.into_iter().map(Refusal::code).chain(["allowed"]).collect();
        assert_eq!(seen.keys().copied().collect::<BTreeSet<_>>(), refusals, "{seen:?}");
    }

    #[test]
    fn r38_a_refusal_says_why_and_which_header_to_mend() {
        let case = |care, activities, header| Case {
            care,
            organisation: "current",
            activities,
            header,
            who: "clerk",
            consent: false,
            pilot: "none",
        };
        for (care, activities, header, refusal) in [
            (&[CareKind::GeneralPractice][..], &["B0107", "B0170"][..], Some(true), Refusal::OnlyScheduledCare),
            (&[CareKind::EmergencyDepartment], &["B0107", "B0170"], Some(false), Refusal::OnlyUnscheduledCare),
            (&[CareKind::GeneralPractice], &["B0107"], Some(false), Refusal::SilentWithoutActivity),
        ] {
            let found = case(care, activities, header).ruling().expect_err("refused");
            assert_eq!((found, found.header()), (refusal, Some("IsUnscheduledAccessEvent")));
            assert!(found.to_string().contains("leave the header out"), "{found}");
        }
        let left_out = case(&[CareKind::GeneralPractice], &["B0170"], None).ruling().expect("no contradiction");
        assert!(left_out.unscheduled, "R19: it fails towards notifying");
    }

    #[test]
    fn r38_the_table_has_each_row_once_and_no_cell_is_of_no_effect() {
        let rows: BTreeSet<_> = TABLE.iter().map(|row| (row.care, row.activity)).collect();
        let all = CareClass::ALL.into_iter().flat_map(|care| Activity::ALL.map(|activity| (care, activity)));
        assert_eq!((TABLE.len(), rows), (10, all.collect()));
        let codes: BTreeSet<_> = Refusal::ALL.into_iter().map(Refusal::code).collect();
        let sentences: BTreeSet<_> = Refusal::ALL.iter().map(ToString::to_string).collect();
        assert_eq!((codes.len(), sentences.len()), (Refusal::ALL.len(), Refusal::ALL.len()));
    }
}
