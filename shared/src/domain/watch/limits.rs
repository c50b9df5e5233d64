//! How much is too much: one table.

use super::{Kind, Mark, SURGE_LEAST, Subject, Traits};
use crate::domain::{access::Access, caller::Requester, setting::CareKind};

/// How many children organisations of a kind see. Larger ones sort after smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Volume {
    /// A unit that sees some in an hour: walk-in centre, minor injuries, out of hours, a practice, a team.
    #[default]
    Unit,
    /// A hospital: emergency department, wards, maternity.
    Hospital,
    /// A region: NHS 111, ambulance control.
    Region,
}

impl Volume {
    pub(super) const fn of_number(number: u8) -> Self {
        match number {
            2 => Self::Region,
            1 => Self::Hospital,
            _ => Self::Unit,
        }
    }
}

/// A bound from which a finding is made, and one from which look-ups are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// From this many on it is a finding.
    pub soft: usize,
    /// From this many on further look-ups are refused; `None` where they never are.
    pub hard: Option<usize>,
}

/// What a subject may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Different children within 60 minutes.
    pub children: Budget,
    /// Different children within 60 minutes, in a row, for whom nothing is held.
    pub misses: Budget,
    /// Different children within a minute.
    pub pace: usize,
}

const fn limits(children: (usize, Option<usize>), misses: (usize, Option<usize>), pace: usize) -> Limits {
    let (c, m) = (children, misses);
    Limits { children: Budget { soft: c.0, hard: c.1 }, misses: Budget { soft: m.0, hard: m.1 }, pace }
}

/// R55, R56: who has which limits, and why.
pub const LIMITS: [(&str, Limits, &str); 7] = [
    (
        "person, unscheduled care",
        limits((90, Some(300)), (60, Some(200)), 30),
        "The busiest at a front desk meets some 15 children an hour, thrice as many at Christmas; 300 is one every 12 seconds for a whole hour, \
         which nobody reads.",
    ),
    (
        "person, scheduled care",
        limits((90, Some(180)), (60, Some(120)), 30),
        "A school nurse goes through the list of a class, of 30, in an hour; nobody waits at the door, so that a stop does less harm.",
    ),
    (
        "device",
        limits((450, Some(1_800)), (450, None), 60),
        "An ambulance control's system asks for everybody who takes calls there; 1,800 is one every 2 seconds for a whole hour.",
    ),
    (
        "organisation, unscheduled care of a region",
        limits((450, None), (300, None), 100),
        "NHS 111 takes some 350,000 calls about children a month in 12 centres: 40 an hour, six times as many at the peak of Christmas.",
    ),
    (
        "organisation, unscheduled care of a hospital",
        limits((250, None), (150, None), 60),
        "Emergency departments make 315,000 look-ups a month, 2.5 an hour each; the largest at the peak of Christmas some 60.",
    ),
    (
        "organisation, other unscheduled care",
        limits((150, None), (100, None), 40),
        "Centres and out of hours services see fewer than hospitals.",
    ),
    (
        "organisation, scheduled care",
        limits((200, Some(600)), (120, Some(400)), 60),
        "Several teams at their lists at once.",
    ),
];

impl Limits {
    /// Those of a subject whose marks these are.
    #[must_use]
    pub fn of(subject: &Subject, marks: &[Mark]) -> Self {
        let unscheduled = marks.iter().any(|mark| mark.traits.unscheduled);
        let volume = marks.iter().map(|mark| mark.traits.volume).max().unwrap_or_default();
        let row = match (subject.kind(), unscheduled, volume) {
            (Kind::Person, true, _) => 0,
            (Kind::Person, false, _) => 1,
            (Kind::Device, ..) => 2,
            (Kind::Organisation, true, Volume::Region) => 3,
            (Kind::Organisation, true, Volume::Hospital) => 4,
            (Kind::Organisation, true, Volume::Unit) => 5,
            (Kind::Organisation, false, _) => 6,
        };
        LIMITS[row].1
    }
}

impl Limits {
    /// With fewer marks than this nothing can be found.
    #[must_use]
    pub fn least(&self) -> usize {
        self.children.soft.min(self.misses.soft).min(self.pace).min(SURGE_LEAST)
    }
}

/// What an access was like, as far as counting goes.
pub(super) fn traits(access: &Access) -> Traits {
    let midwifery = access.care.iter().all(|kind| *kind == CareKind::Maternity) && !access.care.is_empty();
    Traits {
        hit: !access.disclosed.is_empty(),
        unscheduled: access.unscheduled,
        caseload: !access.unscheduled || midwifery || is_midwife(&access.requester),
        volume: access.care.iter().map(|kind| volume(*kind)).max().unwrap_or_default(),
    }
}

/// A midwife's mothers come back to her; nobody else in unscheduled care has patients of their own. In a hospital that has an
/// emergency department too, the job role tells who is one (SDS: R0670 is "Midwife - Sister/Charge Nurse").
fn is_midwife(requester: &Requester) -> bool {
    matches!(requester, Requester::Person(person) if person.job_role.display.to_ascii_lowercase().contains("midwi"))
}

const fn volume(kind: CareKind) -> Volume {
    match kind {
        CareKind::EmergencyDepartment | CareKind::Maternity | CareKind::PaediatricWard => Volume::Hospital,
        CareKind::Nhs111 | CareKind::AmbulanceService => Volume::Region,
        _ => Volume::Unit,
    }
}
