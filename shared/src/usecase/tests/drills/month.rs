//! A month of honest shifts: December, with Christmas. The same for the same seed, whatever version of any library is linked.
//!
//! Settings of twelve kinds, each with its staff on a rota; attendances through the day and the week, three times as many from
//! Christmas Eve to the end of the year; families looked up together; wards with patients who stay; midwives, health visitors
//! and therapists with patients of their own; people who stay late, do an extra shift, or have two jobs. Four look-ups in a
//! hundred find a plan.

use std::collections::HashMap;

use crate::domain::setting::CareKind;

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn of(seed: u64, part: u64) -> Self {
        let mut random = Self(seed ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93));
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, not including, `end`.
    pub(super) fn below(&mut self, end: u32) -> u32 {
        u32::try_from(((self.next() >> 32) * u64::from(end)) >> 32).unwrap_or(0)
    }

    pub(super) fn chance(&mut self, percent: f64) -> bool {
        f64::from(self.below(1_000_000)) < percent * 10_000.0
    }

    pub(super) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(u32::try_from(from.len()).unwrap_or(0)) as usize)
    }

    /// Poisson (Knuth).
    fn poisson(&mut self, mean: f64) -> u32 {
        let (limit, mut product, mut count) = ((-mean.min(600.0)).exp(), 1.0, 0);
        loop {
            product *= f64::from(self.below(1_000_000) + 1) / 1_000_000.0;
            if product <= limit {
                return count;
            }
            count += 1;
        }
    }
}

/// What kind of setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Care {
    Emergency,
    Urgent,
    Minor,
    OutOfHours,
    Nhs111,
    Ambulance,
    Maternity,
    Ward,
    HealthVisiting,
    Camhs,
    SchoolNursing,
    Practice,
}

impl Care {
    pub(super) const fn kind(self) -> CareKind {
        match self {
            Self::Emergency => CareKind::EmergencyDepartment,
            Self::Urgent => CareKind::UrgentTreatmentCentre,
            Self::Minor => CareKind::MinorInjuryUnit,
            Self::OutOfHours => CareKind::GpOutOfHours,
            Self::Nhs111 => CareKind::Nhs111,
            Self::Ambulance => CareKind::AmbulanceService,
            Self::Maternity => CareKind::Maternity,
            Self::Ward => CareKind::PaediatricWard,
            Self::HealthVisiting => CareKind::HealthVisiting,
            Self::Camhs => CareKind::Camhs,
            Self::SchoolNursing => CareKind::SchoolNursing,
            Self::Practice => CareKind::GeneralPractice,
        }
    }

    pub(super) const fn is_unscheduled(self) -> bool {
        !matches!(self, Self::HealthVisiting | Self::Camhs | Self::SchoolNursing | Self::Practice)
    }
}

/// A look-up of the simulation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Seconds since 1970.
    pub(super) at: u32,
    pub(super) who: u32,
    /// Number of the setting.
    pub(super) setting: u32,
    pub(super) care: Care,
    pub(super) child: u32,
    pub(super) hit: bool,
    /// The drill to which it belongs; 0 for an honest one.
    pub(super) drill: u8,
}

pub(super) const HOUR: u32 = 3_600;
pub(super) const DAY: u32 = 24 * HOUR;
/// 1 December 2026, 00:00 in London, a Tuesday.
pub(super) const BEGIN: u32 = 1_796_083_200;
pub(super) const DAYS: u32 = 31;

/// A setting and who works there.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) number: u32,
    pub(super) care: Care,
    pub(super) staff: Vec<u32>,
}

/// Kind, how many of it, staff of each, attendances a day.
type Mix = [(Care, u32, u32, f64); 12];

/// The whole: some 9,000 shifts.
pub(super) const WHOLE: Mix = [
    (Care::Emergency, 2, 45, 58.0),
    (Care::Urgent, 3, 12, 24.0),
    (Care::Minor, 4, 5, 8.0),
    (Care::OutOfHours, 3, 12, 16.0),
    (Care::Nhs111, 1, 40, 100.0),
    (Care::Ambulance, 1, 10, 40.0),
    (Care::Maternity, 4, 12, 0.0),
    (Care::Ward, 3, 16, 0.0),
    (Care::HealthVisiting, 3, 10, 0.0),
    (Care::Camhs, 2, 8, 0.0),
    (Care::SchoolNursing, 3, 6, 0.0),
    (Care::Practice, 20, 6, 8.0),
];

/// One setting of each kind, for what needs no more.
pub(super) const FEW: Mix = [
    (Care::Emergency, 1, 45, 58.0),
    (Care::Urgent, 1, 12, 24.0),
    (Care::Minor, 1, 5, 8.0),
    (Care::OutOfHours, 1, 12, 16.0),
    (Care::Nhs111, 0, 60, 220.0),
    (Care::Ambulance, 1, 10, 60.0),
    (Care::Maternity, 1, 12, 0.0),
    (Care::Ward, 1, 16, 0.0),
    (Care::HealthVisiting, 1, 10, 0.0),
    (Care::Camhs, 1, 8, 0.0),
    (Care::SchoolNursing, 1, 6, 0.0),
    (Care::Practice, 1, 6, 10.0),
];

/// A month.
#[derive(Debug)]
pub(super) struct Month {
    pub(super) settings: Vec<Setting>,
    /// In order of time.
    pub(super) looks: Vec<Look>,
    /// How many shifts were worked.
    pub(super) shifts: usize,
    /// When each person is at work: start and end.
    pub(super) rota: HashMap<u32, Vec<(u32, u32)>>,
}

impl Month {
    pub(super) fn of(seed: u64, mix: &Mix) -> Self {
        let mut maker = Maker { random: Random::of(seed, 1), looks: Vec::new(), children: 1_000, rota: HashMap::new() };
        let mut settings = Vec::new();
        let mut person = 0;
        for (care, count, staff, a_day) in mix {
            for _ in 0..*count {
                let number = u32::try_from(settings.len()).unwrap_or(0) + 1;
                let mut setting = Setting { number, care: *care, staff: (person + 1..=person + staff).collect() };
                person += staff;
                // Some of an emergency department's doctors do out of hours shifts elsewhere too: two jobs, one person.
                if *care == Care::OutOfHours {
                    setting.staff.extend([1, 2].map(|n| n + number));
                }
                maker.work(&setting, *a_day);
                settings.push(setting);
            }
        }
        let Maker { mut looks, rota, .. } = maker;
        looks.sort_by_key(|look| (look.at, look.who, look.child));
        let shifts = rota.values().map(Vec::len).sum();
        Self { settings, looks, shifts, rota }
    }

    pub(super) fn a(&self, care: Care) -> &Setting {
        self.settings.iter().find(|s| s.care == care).unwrap_or(&self.settings[0])
    }
}

struct Maker {
    random: Random,
    looks: Vec<Look>,
    children: u32,
    rota: HashMap<u32, Vec<(u32, u32)>>,
}

/// Children who belong together, and whether a plan is held.
#[derive(Debug, Clone)]
struct Family {
    children: Vec<u32>,
    hit: bool,
}

/// Weekday of a day of the month, 0 for Monday.
fn weekday(day: u32) -> u32 {
    (day + 1) % 7
}

/// How many more come: by weekday, and from Christmas Eve on.
fn busy(day: u32) -> f64 {
    let week = [1.15, 1.0, 0.95, 0.95, 1.0, 1.0, 1.05][weekday(day) as usize];
    if day >= 23 { week * 3.0 } else { week }
}

/// Of a hundred children, how many come in each hour of the day: few at night, most in the early evening.
const ROUND_THE_CLOCK: [u32; 24] = [3, 2, 2, 1, 1, 1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 6, 7, 8, 8, 7, 6, 5, 4, 3];
const BY_DAY: [u32; 24] = [0, 0, 0, 0, 0, 0, 0, 0, 5, 9, 9, 8, 7, 7, 7, 8, 9, 9, 8, 7, 4, 3, 0, 0];
const OUT_OF_HOURS: [u32; 24] = [4, 3, 2, 2, 1, 2, 3, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 14, 14, 12, 9, 6];
const OFFICE: [u32; 24] = [0, 0, 0, 0, 0, 0, 0, 0, 2, 15, 15, 12, 6, 6, 14, 14, 12, 4, 0, 0, 0, 0, 0, 0];

impl Maker {
    fn family(&mut self) -> Family {
        let size = match self.random.below(100) {
            0..85 => 1,
            85..94 => 2,
            94..98 => 3,
            _ => 4,
        };
        let first = self.children;
        self.children += size;
        Family { children: (first..first + size).collect(), hit: self.random.chance(4.0) }
    }

    fn families(&mut self, count: u32) -> Vec<Family> {
        (0..count).map(|_| self.family()).collect()
    }

    fn work(&mut self, setting: &Setting, a_day: f64) {
        match setting.care {
            Care::Emergency | Care::Nhs111 | Care::Ambulance => self.attendances(setting, a_day, &ROUND_THE_CLOCK),
            Care::Urgent | Care::Minor => self.attendances(setting, a_day, &BY_DAY),
            Care::OutOfHours => self.attendances(setting, a_day, &OUT_OF_HOURS),
            Care::Practice => self.attendances(setting, a_day, &OFFICE),
            Care::Ward => self.ward(setting),
            Care::Maternity => self.midwives(setting),
            Care::HealthVisiting => self.visitors(setting),
            Care::Camhs => self.therapists(setting),
            Care::SchoolNursing => self.school_nurses(setting),
        }
    }

    /// Everybody's shifts: two days, two nights and four days off; days only; evenings and nights; or office hours.
    fn shifts(&mut self, setting: &Setting) -> Vec<(u32, u32, u32)> {
        let mut shifts = Vec::new();
        for day in 0..DAYS {
            for (n, who) in setting.staff.iter().enumerate() {
                let turn = (day + u32::try_from(n).unwrap_or(0)) % 8;
                let at = |from: u32, to: u32| (*who, BEGIN + day * DAY + from * HOUR, BEGIN + day * DAY + to * HOUR);
                // Now and then somebody does a shift that is not theirs.
                let extra = self.random.chance(2.0);
                let shift = match setting.care {
                    Care::Emergency | Care::Nhs111 | Care::Ambulance | Care::Ward => match turn {
                        0 | 1 => Some(at(8, 20)),
                        2 | 3 => Some(at(20, 32)),
                        _ if extra => Some(at(12, 20)),
                        _ => None,
                    },
                    Care::Urgent | Care::Minor => (turn < 4 || extra).then(|| at(8, 22)),
                    Care::OutOfHours => match turn {
                        0 | 4 => Some(at(18, 24)),
                        2 => Some(at(24, 32)),
                        _ => None,
                    },
                    _ => (weekday(day) < 5).then(|| at(9, 17)),
                };
                shifts.extend(shift);
            }
        }
        for (who, from, to) in &shifts {
            self.rota.entry(*who).or_default().push((*from, *to));
        }
        shifts
    }

    fn look(&mut self, setting: &Setting, who: u32, at: u32, family: &Family) {
        let mut at = at;
        for child in &family.children {
            let (care, hit) = (setting.care, family.hit);
            let look = Look { at, who, setting: setting.number, care, child: *child, hit, drill: 0 };
            self.looks.push(look);
            // The history too, or the record once more.
            if self.random.chance(20.0) {
                let again = at + 20 + self.random.below(1_800);
                self.looks.push(Look { at: again, ..look });
            }
            at += 20 + self.random.below(60);
        }
    }

    /// Somebody who is at work then, if anybody is.
    fn on_duty(&mut self, shifts: &[(u32, u32, u32)], at: u32) -> Option<u32> {
        let there: Vec<_> = shifts.iter().filter(|(_, from, to)| (*from..*to).contains(&at)).map(|s| s.0).collect();
        self.random.pick(&there).copied()
    }

    /// Those who come unannounced, or by a day's appointment: whoever is there sees them, and often a second one later on.
    fn attendances(&mut self, setting: &Setting, a_day: f64, hours: &[u32; 24]) {
        let shifts = self.shifts(setting);
        let mut known: Vec<Family> = Vec::new();
        let regular = self.family();
        for day in 0..DAYS {
            let mut by_day: Vec<_> =
                shifts.iter().filter(|(_, from, _)| *from / DAY + 1 >= BEGIN / DAY + day).copied().collect();
            by_day.retain(|(_, from, _)| *from < BEGIN + (day + 2) * DAY);
            let total: u32 = hours.iter().sum();
            for (hour, weight) in (0_u32..).zip(hours) {
                let mean = a_day * busy(day) * f64::from(*weight) / f64::from(total);
                for _ in 0..self.random.poisson(mean) {
                    let at = BEGIN + day * DAY + hour * HOUR + self.random.below(HOUR);
                    let again = self.random.chance(3.0).then(|| self.random.pick(&known).cloned()).flatten();
                    let family = again.unwrap_or_else(|| self.family());
                    self.attend(setting, &by_day, at, &family);
                    known.push(family);
                }
            }
            // One child comes every week.
            if day % 7 == setting.number % 7 {
                let at = BEGIN + day * DAY + (9 + self.random.below(10)) * HOUR;
                self.attend(setting, &by_day, at, &regular);
            }
            let from = known.len().saturating_sub(400);
            known.drain(..from);
        }
    }

    fn attend(&mut self, setting: &Setting, shifts: &[(u32, u32, u32)], at: u32, family: &Family) {
        let Some(first) = self.on_duty(shifts, at) else { return };
        self.look(setting, first, at, family);
        let later = at + 1_200 + self.random.below(5_400);
        if self.random.chance(if setting.care == Care::Emergency { 60.0 } else { 30.0 })
            && let Some(second) = self.on_duty(shifts, later)
        {
            self.look(setting, second, later, family);
        }
    }

    /// Twelve beds; whoever is on duty goes round them at the beginning of the shift.
    fn ward(&mut self, setting: &Setting) {
        let shifts = self.shifts(setting);
        let mut beds: Vec<(Family, u32)> = (0..12).map(|_| self.patient()).collect();
        for turn in 0..DAYS * 2 {
            let begins = BEGIN + turn * 12 * HOUR + 8 * HOUR;
            for bed in &mut beds {
                if bed.1 == 0 {
                    *bed = self.patient();
                }
                bed.1 -= 1;
            }
            let nurses: Vec<_> = shifts.iter().filter(|(_, from, _)| *from == begins).map(|s| s.0).collect();
            for (n, (family, _)) in beds.iter().enumerate() {
                let Some(nurse) = nurses.get(n % nurses.len().max(1)) else { continue };
                let at = begins + self.random.below(HOUR);
                self.look(setting, *nurse, at, family);
                if self.random.chance(30.0) {
                    let at = at + HOUR + self.random.below(8 * HOUR);
                    self.look(setting, *nurse, at, family);
                }
            }
        }
    }

    /// Somebody who stays for one to fourteen half days.
    fn patient(&mut self) -> (Family, u32) {
        let family = self.family();
        (Family { children: family.children[..1].to_vec(), ..family }, 1 + self.random.below(14))
    }

    /// Each with two dozen mothers, seen every week or two; on call every eighth night, when one or other is in labour.
    fn midwives(&mut self, setting: &Setting) {
        let shifts = self.shifts(setting);
        let mut own: HashMap<u32, Vec<Family>> = setting.staff.iter().map(|who| (*who, self.families(24))).collect();
        own.values_mut().flatten().for_each(|mother| mother.children.truncate(1));
        for (who, from, _) in shifts {
            let day = (from - BEGIN) / DAY;
            let mothers: Vec<_> = own[&who].iter().skip((day as usize * 5) % 20).take(5).cloned().collect();
            for mother in mothers {
                let at = from + self.random.below(8 * HOUR);
                self.look(setting, who, at, &mother);
            }
            if (day + who).is_multiple_of(8) && self.random.chance(50.0) {
                let night = BEGIN + day * DAY + 20 * HOUR + self.random.below(10 * HOUR);
                let Some(mother) = self.random.pick(&own[&who]).cloned() else { continue };
                self.look(setting, who, night, &mother);
                if self.random.chance(10.0) {
                    self.look(setting, who, night + DAY, &mother);
                }
            }
        }
    }

    /// Forty families each, four visits a day, four of them every week; now and then an evening's work over the notes.
    fn visitors(&mut self, setting: &Setting) {
        let shifts = self.shifts(setting);
        let own: HashMap<u32, Vec<Family>> = setting.staff.iter().map(|who| (*who, self.families(40))).collect();
        for (who, from, to) in shifts {
            let day = (from - BEGIN) / DAY;
            let weekly = own[&who][weekday(day) as usize % 4].clone();
            let mut seen = vec![weekly];
            seen.extend((0..3).filter_map(|_| self.random.pick(&own[&who]).cloned()));
            for (n, family) in (0_u32..).zip(&seen) {
                let at = from + n * 2 * HOUR + self.random.below(HOUR);
                self.look(setting, who, at, family);
            }
            self.stay_late(setting, who, to, &seen);
        }
    }

    /// Patients of one's own, each on a day of the week.
    fn therapists(&mut self, setting: &Setting) {
        let shifts = self.shifts(setting);
        let own: HashMap<u32, Vec<Family>> = setting.staff.iter().map(|who| (*who, self.families(25))).collect();
        for (who, from, to) in shifts {
            let day = weekday((from - BEGIN) / DAY) as usize;
            let seen = own[&who][day * 5..day * 5 + 5].to_vec();
            for (n, patient) in (0_u32..).zip(&seen) {
                let at = from + n * 90 * 60 + self.random.below(1_800);
                self.look(setting, who, at, patient);
            }
            self.stay_late(setting, who, to, &seen);
        }
    }

    /// Some children a day, and once a month the list of a class within an hour.
    fn school_nurses(&mut self, setting: &Setting) {
        let shifts = self.shifts(setting);
        let school = self.families(150);
        for (who, from, to) in shifts {
            let day = (from - BEGIN) / DAY;
            let mut seen = Vec::new();
            for _ in 0..3 {
                let Some(family) = self.random.pick(&school).cloned() else { continue };
                let at = from + self.random.below(7 * HOUR);
                self.look(setting, who, at, &family);
                seen.push(family);
            }
            if day == 1 + who % 20 {
                for n in 0..30 {
                    let child = self.family();
                    let child = Family { children: child.children[..1].to_vec(), ..child };
                    self.look(setting, who, from + 4 * HOUR + n * 110, &child);
                }
            }
            self.stay_late(setting, who, to, &seen);
        }
    }

    /// One shift in a hundred has its notes written in the evening.
    fn stay_late(&mut self, setting: &Setting, who: u32, to: u32, seen: &[Family]) {
        if self.random.chance(1.0) {
            let evening = to + 4 * HOUR + self.random.below(2 * HOUR);
            let families: Vec<_> = (0..2).filter_map(|_| self.random.pick(seen).cloned()).collect();
            for (n, family) in (0_u32..).zip(&families) {
                self.look(setting, who, evening + n * 600, family);
            }
        }
    }
}
