//! Those whom the drills are about. Each looks children up in the last week but one, at times that the seed tells.

use super::month::{BEGIN, Care, DAY, HOUR, Look, Month, Random};

/// Who is after what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Drill {
    /// A school nurse looks up the children of somebody she knows, in the middle of the night.
    InsiderAtNight,
    /// An emergency department's nurse does so on her own shifts.
    InsiderAtWork,
    /// A person's token, five look-ups a second, guessing numbers.
    Scraper,
    /// A device, the same.
    ScrapingDevice,
    /// A person's token, seventy look-ups an hour, guessing.
    PatientGuesser,
    /// A person's token, a hundred look-ups an hour, of children taken from a list, many of them known.
    PatientReader,
    /// Fifty people of a hospital, five look-ups a second in all.
    Spread,
    /// Fifty people of a hospital, five hundred look-ups an hour in all.
    SlowSpread,
    /// Fifty people of a minor injury unit, ninety look-ups an hour in all, of children taken from a list.
    QuietSpread,
}

impl Drill {
    pub(super) const ALL: [Self; 9] = [
        Self::InsiderAtNight,
        Self::InsiderAtWork,
        Self::Scraper,
        Self::ScrapingDevice,
        Self::PatientGuesser,
        Self::PatientReader,
        Self::Spread,
        Self::SlowSpread,
        Self::QuietSpread,
    ];

    /// By which look-up it must be found.
    pub(super) const fn bound(self) -> usize {
        match self {
            Self::InsiderAtNight | Self::InsiderAtWork => 20,
            Self::Scraper | Self::ScrapingDevice | Self::PatientReader => 100,
            // A lucky guess begins the count anew.
            Self::PatientGuesser => 200,
            Self::Spread | Self::SlowSpread | Self::QuietSpread => 500,
        }
    }

    pub(super) const fn is_an_insider(self) -> bool {
        matches!(self, Self::InsiderAtNight | Self::InsiderAtWork)
    }

    pub(super) const fn number(self) -> u8 {
        self as u8 + 1
    }

    /// Its look-ups, as many as the bound allows and some more.
    pub(super) fn looks(self, month: &Month, seed: u64) -> Vec<Look> {
        let mut random = Random::of(seed, 100 + u64::from(self.number()));
        match self {
            Self::InsiderAtNight => at_night(self, month, &mut random),
            Self::InsiderAtWork => at_work(self, month, &mut random),
            _ => self.scrape(month, &mut random),
        }
    }

    fn look(self, month: &Month) -> Look {
        let care = match self {
            Self::InsiderAtNight => Care::SchoolNursing,
            Self::ScrapingDevice => Care::Ambulance,
            Self::QuietSpread => Care::Minor,
            _ => Care::Emergency,
        };
        let setting = month.a(care);
        Look { at: 0, who: setting.staff[3], setting: setting.number, care, child: 0, hit: false, drill: self.number() }
    }

    /// For which setting a look-up is made. Who is patient spreads them, so that no setting sees many; a device may be of a
    /// setting that has only just joined.
    fn setting(self, month: &Month, n: u32) -> u32 {
        const SPREAD: [Care; 4] = [Care::Emergency, Care::Urgent, Care::Minor, Care::OutOfHours];
        match self {
            Self::PatientGuesser | Self::PatientReader => month.a(SPREAD[n as usize % SPREAD.len()]).number,
            Self::ScrapingDevice => 999,
            _ => self.look(month).setting,
        }
    }

    fn scrape(self, month: &Month, random: &mut Random) -> Vec<Look> {
        let first = self.look(month);
        // How many people, how many look-ups an hour in all, and how many of a hundred children are known.
        let (people, an_hour, known) = match self {
            Self::Spread => (50, 18_000, 0.3),
            Self::SlowSpread => (50, 500, 0.3),
            Self::QuietSpread => (50, 90, 8.0),
            Self::PatientGuesser => (1, 70, 0.3),
            Self::PatientReader => (1, 100, 30.0),
            _ => (1, 18_000, 0.3),
        };
        // The drills follow each other, so that no two of one hospital are within the same hour; each begins wherever in an
        // hour it may.
        let day = 14 + u32::from(self.number());
        let begins = BEGIN + day * DAY + random.below(20 * HOUR);
        let pace = 3_600_000 / an_hour;
        (0..u32::try_from(self.bound()).unwrap_or(0) + 20)
            .map(|n| Look {
                setting: self.setting(month, n),
                at: begins + u32::try_from(u64::from(n) * pace / 1_000).unwrap_or(0),
                // People who never worked there before: stolen cards, or accounts made for it.
                who: 900_000 + u32::from(self.number()) * 1_000 + n % people,
                child: 5_000_000 + u32::from(self.number()) * 10_000 + n,
                hit: random.chance(known),
                ..first
            })
            .collect()
    }
}

/// Two to four children, some of whom are looked up twice.
fn family(drill: Drill, random: &mut Random) -> Vec<u32> {
    let first = 6_000_000 + u32::from(drill.number()) * 100;
    (first..first + 2 + random.below(3)).collect()
}

fn visit(first: Look, family: &[u32], begins: u32, random: &mut Random) -> Vec<Look> {
    let mut at = begins;
    let mut looks = Vec::new();
    for child in family {
        looks.push(Look { at, child: *child, hit: true, ..first });
        at += 30 + random.below(60);
        if random.chance(20.0) {
            looks.push(Look { at, child: *child, hit: true, ..first });
            at += 30;
        }
    }
    looks
}

/// Every night, or every second or third.
fn at_night(drill: Drill, month: &Month, random: &mut Random) -> Vec<Look> {
    let (first, family) = (drill.look(month), family(drill, random));
    let mut day = 15;
    let mut looks = Vec::new();
    while day < 30 {
        let begins = BEGIN + day * DAY + HOUR + random.below(3 * HOUR);
        looks.extend(visit(first, &family, begins, random));
        day += 1 + random.below(3);
    }
    looks
}

/// On her shifts, once in each, by day or in the evening, after one of her patients.
fn at_work(drill: Drill, month: &Month, random: &mut Random) -> Vec<Look> {
    let (first, family) = (drill.look(month), family(drill, random));
    let mut looks = Vec::new();
    for (from, to) in month.rota.get(&first.who).into_iter().flatten().filter(|(from, _)| *from > BEGIN + 10 * DAY) {
        let busy = |look: &&Look| (10..22).contains(&(look.at % DAY / HOUR));
        let own = month.looks.iter().filter(|look| look.who == first.who && (*from..to - HOUR).contains(&look.at));
        let patients = own.filter(busy);
        if let Some(patient) = random.pick(&patients.collect::<Vec<_>>()) {
            looks.extend(visit(first, &family, patient.at + 300 + random.below(900), random));
        }
    }
    looks
}
