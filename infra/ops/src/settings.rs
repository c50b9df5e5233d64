//! Invented health care settings in the mix of kinds that use the service.

use cpis::domain::{
    authority::{Authority, Status},
    setting::{CareKind as Care, Setting},
};
use jiff::civil::date;

use crate::random::Random;

/// Settings that used the service at the end of 2020 (CP-IS newsletter).
pub(crate) const SETTINGS: usize = 1_187;

/// A kind of setting: how many there are of it among [`SETTINGS`], what it is called, and the care it gives.
struct Kind {
    share: usize,
    name: &'static str,
    care: &'static [Care],
}

const fn kind(share: usize, name: &'static str, care: &'static [Care]) -> Kind {
    Kind { share, name, care }
}

/// The mix. The kinds are the service's; how many there are of each is estimated.
const KINDS: [Kind; 16] = [
    kind(120, "General Hospital", &[Care::EmergencyDepartment, Care::PaediatricWard, Care::Maternity]),
    kind(50, "Royal Infirmary", &[Care::EmergencyDepartment, Care::PaediatricWard]),
    kind(165, "Urgent Treatment Centre", &[Care::UrgentTreatmentCentre]),
    kind(60, "Walk-in Centre", &[Care::WalkInCentre]),
    kind(130, "Minor Injury Unit", &[Care::MinorInjuryUnit]),
    kind(110, "GP Out of Hours Service", &[Care::GpOutOfHours]),
    kind(12, "NHS 111 Centre", &[Care::Nhs111]),
    kind(10, "Ambulance Service", &[Care::AmbulanceService]),
    kind(120, "Maternity Unit", &[Care::Maternity]),
    kind(60, "Children's Hospital", &[Care::PaediatricWard]),
    kind(150, "Surgery", &[Care::GeneralPractice]),
    kind(60, "Child and Adolescent Mental Health Service", &[Care::Camhs]),
    kind(45, "School Nursing Service", &[Care::SchoolNursing]),
    kind(45, "Health Visiting Service", &[Care::HealthVisiting]),
    kind(35, "Community Paediatrics", &[Care::CommunityPaediatrics]),
    kind(15, "Dental Practice", &[Care::AppointmentDentistry]),
];

const FIRST: [&str; 24] = [
    "Alder", "Amber", "Barrow", "Birch", "Bramble", "Cinder", "Clover", "Damson", "Elder", "Fallow", "Fern", "Gorse",
    "Hazel", "Heather", "Juniper", "Larch", "Linnet", "Meadow", "Otter", "Rowan", "Sorrel", "Thistle", "Willow",
    "Wren",
];
const SECOND: [&str; 16] = [
    "beck", "bourne", "combe", "croft", "dale", "fold", "garth", "holme", "hythe", "leigh", "mere", "stowe", "thorpe",
    "wade", "wick", "worth",
];

/// Codes from `ZX001` that are kept for the settings of [`crate::samples`].
pub(crate) const RESERVED: usize = 35;
/// The most settings that the other codes of five characters beginning with `ZX` can name.
pub(crate) const MAX_SETTINGS: usize = 36 * 36 * 36 - 1 - RESERVED;

/// The `n`th code, from 1: `ZX001` … `ZX009`, `ZX00A` … `ZXZZZ`.
pub(crate) fn code(n: usize) -> String {
    let digit = |n: usize| char::from(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[n % 36]);
    ["ZX".to_owned(), [digit(n / 1296), digit(n / 36), digit(n)].iter().collect()].concat()
}

/// The kind of each of `count` settings: the mix to within one of each, the rarest not lost to rounding.
fn kinds(count: usize) -> Vec<&'static Kind> {
    let mut reached = 0;
    KINDS
        .iter()
        .flat_map(|kind| {
            let from = reached * count / SETTINGS;
            reached += kind.share;
            std::iter::repeat_n(kind, reached * count / SETTINGS - from)
        })
        .collect()
}

/// `count` settings near these authorities, the same for the same seed. One in a hundred is closed.
pub(crate) fn settings(seed: u64, count: usize, authorities: &[Authority]) -> Vec<Setting> {
    let mut random = Random::of(&[seed, 0x5e77]);
    let mut kinds = kinds(count);
    random.shuffle(&mut kinds);
    kinds.into_iter().zip(RESERVED + 1..).map(|(kind, n)| setting(&mut random, n, kind, authorities)).collect()
}

fn setting(random: &mut Random, n: usize, kind: &Kind, authorities: &[Authority]) -> Setting {
    let authority = random.pick(authorities);
    let place = [*random.pick(&FIRST), *random.pick(&SECOND)].concat();
    // From the first settings to join, in 2015, to the end of 2023.
    let days = i64::try_from(random.below(9 * 365)).unwrap_or(0);
    let from = date(2015, 1, 5).saturating_add(jiff::Span::new().days(days));
    Setting {
        code: code(n),
        name: format!("{place} {}", kind.name),
        care: kind.care.to_vec(),
        region: authority.region.clone(),
        authority: authority.code.clone(),
        status: if random.percent(1) { Status::Closed } else { Status::Open },
        from,
        until: None,
        oversight: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use cpis::domain::setting::CareClass;

    use super::*;
    use crate::entries::authorities;

    fn all(seed: u64, count: usize) -> Vec<Setting> {
        settings(seed, count, &authorities().expect("readable"))
    }

    #[test]
    fn as_many_settings_as_asked_for_in_the_mix_of_kinds() {
        assert_eq!(KINDS.iter().map(|k| k.share).sum::<usize>(), SETTINGS);
        let found = all(1, SETTINGS);
        assert_eq!(found.len(), SETTINGS);
        let mut care: HashMap<Care, usize> = HashMap::new();
        found.iter().flat_map(|s| &s.care).for_each(|c| *care.entry(*c).or_default() += 1);
        assert_eq!(care.len(), 15, "every kind of care");
        assert_eq!((care[&Care::EmergencyDepartment], care[&Care::Maternity], care[&Care::Nhs111]), (170, 240, 12));
        let unscheduled =
            found.iter().filter(|s| s.care[0].class_on(date(2026, 1, 1)) == CareClass::Unscheduled).count();
        assert_eq!(unscheduled, 837);
        for count in [0, 1, 20, 5_000] {
            assert_eq!(all(1, count).len(), count);
        }
    }

    #[test]
    fn codes_are_invented_unique_and_of_five_characters() {
        let codes: BTreeSet<_> = all(1, 2_000).into_iter().map(|s| s.code).collect();
        assert_eq!(codes.len(), 2_000);
        assert!(codes.iter().all(|c| c.len() == 5 && c.starts_with("ZX")));
        assert_eq!(
            [code(1), code(RESERVED), code(RESERVED + 1), code(RESERVED + MAX_SETTINGS)],
            ["ZX001", "ZX00Z", "ZX010", "ZXZZZ"]
        );
        assert!(all(1, 100).iter().all(|s| s.code.as_str() > "ZX00Z" && s.check() == Ok(())));
    }

    #[test]
    fn settings_are_spread_over_the_country_and_lie_in_their_authoritys_region() {
        let known: HashMap<_, _> =
            authorities().expect("readable").into_iter().map(|a| (a.code.clone(), a.region)).collect();
        let found = all(1, SETTINGS);
        assert!(found.iter().all(|s| known[&s.authority] == s.region));
        assert_eq!(found.iter().map(|s| &s.region).collect::<BTreeSet<_>>().len(), 9);
        let closed = found.iter().filter(|s| s.status == Status::Closed).count();
        assert!((1..=30).contains(&closed), "{closed}");
    }

    #[test]
    fn the_same_seed_gives_the_same_settings_and_another_gives_others() {
        assert_eq!(all(1, 100), all(1, 100));
        assert_ne!(all(1, 100), all(2, 100));
    }
}
