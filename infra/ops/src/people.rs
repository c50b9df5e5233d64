//! Invented children and their plans: each wholly told by a seed and a place in the range of test NHS numbers.

use cpis::domain::{nhs_number::check_digit, plan::PlanType, record::Column, record::RawRecord};
use jiff::{Span, civil::Date};

use crate::random::Random;

/// Nine-digit beginnings of the numbers 9990000000 to 9999999999, which are never issued.
const BEGINNINGS: u64 = 1_000_000;
/// How many of them belong to each authority: a 153rd.
const BLOCK: u64 = BEGINNINGS / 153;
/// Children in a block, at the least: one beginning in eleven has no check digit.
pub(crate) const BLOCK_CHILDREN: usize = 5_900;
/// Spreads neighbours over the range; has no factor in common with [`BEGINNINGS`], so that no two places meet.
const SPREAD: u64 = 618_033;

/// The ten digits of the number at a place; `None` where its beginning has no check digit.
fn number_at(place: u64) -> Option<String> {
    let nine = (999_000_000 + place * SPREAD % BEGINNINGS).to_string();
    check_digit(&nine).map(|digit| format!("{nine}{digit}"))
}

/// The children of an authority, in an order that the seed tells: first those of its own block of numbers, each once,
/// then, should that not be enough, those of the blocks behind it.
#[derive(Debug, Clone)]
pub(crate) struct Children {
    seed: u64,
    base: u64,
    turn: u64,
    step: u64,
}

impl Children {
    /// The children of the authority at this place among all of them.
    pub(crate) fn of(seed: u64, authority: usize) -> Self {
        let block = u64::try_from(authority).unwrap_or(0) % 153;
        let turn = u64::try_from(Random::of(&[seed, block, 0x7042]).below(6_535)).unwrap_or(0);
        Self { seed, base: block * BLOCK, turn, step: 0 }
    }
}

impl Iterator for Children {
    type Item = Child;

    fn next(&mut self) -> Option<Child> {
        loop {
            let step = self.step;
            if step == BEGINNINGS {
                return None;
            }
            self.step += 1;
            let within = if step < BLOCK { (self.turn + step) % BLOCK } else { step };
            let place = (self.base + within) % BEGINNINGS;
            if let Some(nhs_number) = number_at(place) {
                return Some(Child { seed: self.seed, place, nhs_number });
            }
        }
    }
}

/// Somebody with a plan: a child or, for an unborn child, its mother.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    seed: u64,
    /// Place in the range of numbers, a child's identity here.
    pub(crate) place: u64,
    nhs_number: String,
}

/// What became of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// It is running.
    Running,
    /// As a file says that comes some time after the first: most still run, some have ended, a few are withdrawn.
    Later,
}

impl Child {
    /// The record that the child's own authority uploads.
    pub(crate) fn record(&self, row: usize, today: Date, course: Course) -> RawRecord {
        self.as_known_to(row, today, course, self.kind())
    }

    /// The record that a second authority uploads, which looks after the child that another protects, or the reverse.
    pub(crate) fn second_record(&self, row: usize, today: Date, course: Course) -> RawRecord {
        let kind = match self.kind() {
            PlanType::ChildProtection => PlanType::LookedAfter,
            PlanType::LookedAfter => PlanType::ChildProtection,
            PlanType::Unborn => PlanType::Unborn,
        };
        self.as_known_to(row, today, course, kind)
    }

    fn random(&self, what: u64) -> Random {
        Random::of(&[self.seed, what, self.place])
    }

    /// What is drawn alike for siblings. Four places are a home; its first one to four belong to one family.
    fn family(&self, what: u64) -> Random {
        let home = self.place / 4;
        let siblings = *Random::of(&[self.seed, 0xfa1, home]).pick(&[1, 1, 1, 2, 2, 3, 4]);
        let member = self.place % 4;
        // Who is not of the first family of the four is an only child.
        Random::of(&[self.seed, what, home, if member < siblings { 0 } else { member }])
    }

    /// The end of 2020: of three plans, about two of looked-after children; unborn plans are few.
    fn kind(&self) -> PlanType {
        if self.random(0xb0).percent(4) {
            return PlanType::Unborn;
        }
        if self.family(0xfa2).percent(60) { PlanType::LookedAfter } else { PlanType::ChildProtection }
    }

    fn as_known_to(&self, row: usize, today: Date, course: Course, kind: PlanType) -> RawRecord {
        let mut own = self.random(0xc1);
        let (birth, start) = self.dates(today, kind);
        let mut record = RawRecord { row, ..RawRecord::default() };
        let mut set = |column: Column, text: String| record.fields[column as usize] = text;
        set(Column::NhsNumber, self.nhs_number.clone());
        if !own.percent(5) {
            set(Column::LocalId, format!("{}-{:06}", kind.code(), self.place));
        }
        set(Column::FamilyName, (*self.family(0xfa3).pick(&FAMILY_NAMES)).to_owned());
        let given = (0..=usize::from(own.percent(40))).map(|_| *own.pick(&GIVEN_NAMES));
        set(Column::GivenNames, given.collect::<Vec<_>>().join(" "));
        set(Column::BirthDate, birth.to_string());
        set(Column::PlanType, kind.code().to_owned());
        set(Column::StartDate, start.to_string());
        match (course, own.below(100)) {
            (Course::Later, 0..12) => set(Column::EndDate, between(&mut own, start, today).to_string()),
            (Course::Later, 12) => set(Column::DeleteDate, today.to_string()),
            _ => {}
        }
        record
    }

    /// Birth, at most 17 years ago (of a mother, 16 to 42), and start, at most 3 years ago (of an unborn plan, 8 months).
    fn dates(&self, today: Date, kind: PlanType) -> (Date, Date) {
        let mut own = self.random(0xda);
        let (youngest, oldest, longest) = match kind {
            PlanType::Unborn => (16 * 365 + 4, 42 * 365, 240),
            PlanType::ChildProtection | PlanType::LookedAfter => (1, 17 * 365, 3 * 365),
        };
        let birth = days_before(today, youngest + own.below(oldest - youngest));
        // Siblings' plans mostly start on the same day.
        let start = days_before(today, self.family(0xfa4).below(longest));
        (birth, if start < birth { birth } else { start })
    }
}

/// A date so many days before another.
pub(crate) fn days_before(day: Date, days: usize) -> Date {
    day.saturating_sub(Span::new().days(i64::try_from(days).unwrap_or(0)))
}

/// A date from the first to the last, both included.
fn between(random: &mut Random, first: Date, last: Date) -> Date {
    let days = first.until(last).map_or(0, |span| span.get_days());
    days_before(last, random.below(usize::try_from(days).unwrap_or(0) + 1))
}

const FAMILY_NAMES: [&str; 64] = [
    "Abernathy",
    "Ainscough",
    "Akande",
    "Appleyard",
    "Ashdown",
    "Baptiste",
    "Barraclough",
    "Begum",
    "Birtwistle",
    "Blenkinsop",
    "Bradshaw",
    "Calloway",
    "Carmody",
    "Chowdhury",
    "Clutterbuck",
    "Cockcroft",
    "Dalgleish",
    "Delacroix",
    "Dhillon",
    "Dunmore",
    "Eastwood",
    "Ellerby",
    "Farouk",
    "Fenwick",
    "Fothergill",
    "Garside",
    "Gawthorpe",
    "Greenhalgh",
    "Hargreaves",
    "Hebblethwaite",
    "Hussain",
    "Ibekwe",
    "Ingleby",
    "Jankowski",
    "Jowett",
    "Kaur",
    "Kershaw",
    "Kowalczyk",
    "Lightfoot",
    "Lofthouse",
    "Mbeki",
    "McAllister",
    "Micklethwaite",
    "Nwosu",
    "O'Dowd",
    "Oldroyd",
    "Openshaw",
    "Patel",
    "Pemberton",
    "Quigley",
    "Ramsbottom",
    "Rashid",
    "Rowbotham",
    "Satterthwaite",
    "Shackleton",
    "Sidhu",
    "Smith-Jones",
    "Threlfall",
    "Uttley",
    "Vasquez",
    "Wolstenholme",
    "Wrigglesworth",
    "Yusuf",
    "Zieliński",
];
const GIVEN_NAMES: [&str; 56] = [
    "Aaliyah", "Adam", "Aisha", "Alfie", "Amelia", "Anaya", "Archie", "Ayaan", "Beatrice", "Callum", "Chidi", "Chloe",
    "Daisy", "Dylan", "Elsie", "Emeka", "Erin", "Esme", "Ezra", "Faith", "Finley", "Freya", "George", "Grace", "Hamza",
    "Harper", "Imogen", "Isaac", "Jakub", "Jasmine", "Jude", "Kai", "Khadija", "Lacey", "Leo", "Lily", "Maja",
    "Maryam", "Mohammed", "Nathan", "Niamh", "Olivia", "Oscar", "Poppy", "Priya", "Reuben", "Rosie", "Ruby", "Samuel",
    "Siân", "Sofia", "Theo", "Toby", "Willow", "Zachary", "Zuzanna",
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use cpis::domain::record::PlanRecord;
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    const TODAY: Date = date(2026, 11, 22);

    fn checked(record: &RawRecord, today: Date) -> PlanRecord {
        PlanRecord::check(record, today).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    #[test]
    fn every_test_number_is_used_once_and_no_other() {
        let all: Vec<_> = Children::of(1, 0).map(|c| c.nhs_number).collect();
        assert_eq!(all.len(), 909_091, "so many of the million pass the check");
        assert!(all.iter().all(|n| n.starts_with("999")));
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    }

    #[test]
    fn the_blocks_of_two_authorities_do_not_meet_whatever_the_seeds() {
        let mut seen = HashSet::new();
        for authority in 0..153 {
            let block = Children::of(authority as u64 % 3, authority).take(BLOCK_CHILDREN);
            assert!(block.map(|c| c.nhs_number).all(|n| seen.insert(n)), "authority {authority}");
        }
    }

    #[test]
    fn the_mix_of_plans_is_realistic() {
        let records: Vec<_> = Children::of(1, 7).take(3_000).map(|c| c.record(1, TODAY, Course::Later)).collect();
        let mut kinds = BTreeMap::new();
        records.iter().for_each(|r| *kinds.entry(r.text(Column::PlanType)).or_insert(0) += 1);
        let within = |n: usize, from, to| assert!((from..to).contains(&n), "{n} of 3,000: {kinds:?}");
        within(kinds["LAC"], 1_600, 1_850);
        within(kinds["CPP"], 1_050, 1_300);
        within(kinds["UCP"], 80, 160);
        within(records.iter().filter(|r| !r.text(Column::EndDate).is_empty()).count(), 280, 440);
        within(records.iter().filter(|r| !r.text(Column::DeleteDate).is_empty()).count(), 10, 60);
        let families: BTreeMap<_, usize> = records.iter().fold(BTreeMap::new(), |mut found, r| {
            let place = r.text(Column::LocalId).split_once('-').and_then(|(_, n)| n.parse::<u64>().ok());
            if let Some(place) = place {
                *found.entry((place / 4, r.text(Column::FamilyName))).or_default() += 1;
            }
            found
        });
        within(families.values().filter(|n| **n > 1).sum(), 900, 2_100);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_record_is_accepted_on_its_day(seed: u64, authority in 0_usize..153, days in 0_i64..4_000, later: bool) {
            let today = date(2020, 1, 1).saturating_add(Span::new().days(days));
            let course = if later { Course::Later } else { Course::Running };
            for child in Children::of(seed, authority).take(40) {
                for record in [child.record(1, today, course), child.second_record(1, today, course)] {
                    let record = checked(&record, today);
                    prop_assert!(record.start <= today && record.start >= record.birth_date);
                    prop_assert_eq!(later || record.is_start(), true);
                }
            }
        }

        #[test]
        fn a_second_authority_knows_the_same_person_by_another_plan(seed: u64, authority in 0_usize..153) {
            for child in Children::of(seed, authority).take(20) {
                let [first, second] = [
                    child.record(1, TODAY, Course::Running),
                    child.second_record(1, TODAY, Course::Running),
                ];
                for column in [Column::NhsNumber, Column::FamilyName, Column::GivenNames, Column::BirthDate] {
                    prop_assert_eq!(first.text(column), second.text(column));
                }
                let unborn = first.text(Column::PlanType) == "UCP";
                prop_assert_eq!(first.text(Column::PlanType) == second.text(Column::PlanType), unborn);
            }
        }
    }
}
