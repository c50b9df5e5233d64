//! Drills: insiders and scrapers within a month of honest shifts, found by the very code that the function runs.

mod attacks;
mod month;

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use attacks::Drill;
use month::{Care, FEW, HOUR, Look, Month, WHOLE};

use crate::{
    domain::{
        access::{Access, Interaction},
        caller::{Device, JobRole, Organisation, Person, Requester},
        nhs_number::ChildKey,
        policy::Presentation,
        watch::{Code, Finding, Kind, Subject},
    },
    memory::{Ledger, Tallies},
    ports::{AccessHistory, Page, PageRequest, PortResult},
    usecase::watch::Watch,
};

/// Seeds for which everything must hold.
const SEEDS: std::ops::Range<u64> = 1..21;

fn access(look: &Look, number: u128) -> Access {
    let organisation = Organisation { code: format!("ZX{:03}", look.setting), name: "Sample".into() };
    let user = format!("{:012}", 555_000_000_000_u64 + u64::from(look.who));
    let requester = if look.care == Care::Ambulance {
        Requester::Device(Device {
            asid: "200000000001".into(),
            responsible: user,
            location: None,
            safeguarding_lead: None,
        })
    } else {
        let job_role = JobRole { code: "R0000".into(), display: "Sample".into() };
        Requester::Person(Person { user, role_profile: "1".into(), name: "Alex Example".into(), job_role })
    };
    Access {
        child: child(look.child),
        id: Uuid::from_u128(number << 64 | number),
        at: Timestamp::from_second(look.at.into()).expect("in range"),
        requester,
        organisation,
        interaction: Interaction::CareTeam,
        unscheduled: look.care.is_unscheduled(),
        disclosed: if look.hit { vec!["CPP#E06000001".into()] } else { vec![] },
        owed: vec![],
        nhs_number: None,
        trace_id: Uuid::nil(),
        care: vec![look.care.kind()],
        region: None,
        presentation: Presentation::Full,
        refused: None,
    }
}

fn child(number: u32) -> ChildKey {
    serde_json::from_value(json!(format!("child-{number}"))).expect("a key")
}

/// Everything looked up so far, by child.
#[derive(Default)]
struct Looked(HashMap<String, Vec<Access>>);

impl AccessHistory for Looked {
    async fn accesses_of(&self, child: &ChildKey, _: &PageRequest) -> PortResult<Page<Access>> {
        let items = self.0.get(child.as_str()).into_iter().flatten().rev().cloned().collect();
        Ok(Page { items, next: None })
    }
}

/// What came of a month.
struct Outcome {
    /// By which of its look-ups each drill was found.
    found: BTreeMap<Drill, usize>,
    /// What was found of honest people and organisations.
    honest: Vec<Finding>,
    shifts: usize,
}

/// Lets a month pass, with drills in it.
async fn pass(month: &Month, drills: &[Drill], seed: u64, codes: &[Code]) -> Outcome {
    let attacks: BTreeMap<_, _> = drills.iter().map(|drill| (*drill, drill.looks(month, seed))).collect();
    let mut looks: Vec<_> = month.looks.iter().chain(attacks.values().flatten()).copied().collect();
    looks.sort_by_key(|look| look.at);
    let (tally, log, mut history) = (Tallies::default(), Ledger::default(), Looked::default());
    let (mut so_far, mut outcome) = (BTreeMap::<u8, usize>::new(), Outcome::none(month.shifts));
    // Honest look-ups come in batches, as the stream brings them; a drill's one by one, so that it can be said by which.
    for (batch, number) in batches(&looks).zip(1_u128..) {
        let accesses: Vec<_> = batch.iter().zip(0_u128..).map(|(look, n)| access(look, number * 1_000 + n)).collect();
        for access in &accesses {
            history.0.entry(access.child.as_str().to_owned()).or_default().push(access.clone());
        }
        let watch = Watch { tally: &tally, history: &history, log: &log, codes };
        let watched = watch.accesses(&accesses).await;
        assert!(watched.unfinished.is_empty(), "{:?}", watched.error);
        let drill = batch[0].drill;
        *so_far.entry(drill).or_default() += batch.len();
        for finding in watched.findings {
            let caused = attacks.iter().find(|(drill, looks)| match batch[0].drill {
                0 => !drill.is_an_insider() && causes(looks, &finding),
                number => drill.number() == number,
            });
            let look = caused.map_or(0, |(drill, _)| so_far.get(&drill.number()).copied().unwrap_or_default());
            outcome.note(finding, caused.map(|(drill, _)| *drill), look);
        }
    }
    outcome
}

fn batches(looks: &[Look]) -> impl Iterator<Item = &[Look]> {
    looks.chunk_by(|a, b| a.drill == 0 && b.drill == 0 && a.at / HOUR == b.at / HOUR)
}

impl Outcome {
    fn none(shifts: usize) -> Self {
        Self { found: BTreeMap::new(), honest: Vec::new(), shifts }
    }

    fn note(&mut self, finding: Finding, drill: Option<Drill>, look: usize) {
        match drill {
            Some(drill) => {
                self.found.entry(drill).or_insert(look);
            }
            None => self.honest.push(finding),
        }
    }
}

/// Whether a finding of an organisation falls into a time at which a drill was under way there: an honest look-up may be the
/// one that is over its limit.
fn causes(looks: &[Look], finding: &Finding) -> bool {
    let subject = |look: &Look| Subject::organisation(&format!("ZX{:03}", look.setting));
    let from = finding.window.span.begins().saturating_sub(HOUR);
    let during = looks.iter().filter(|look| (from..finding.window.span.ends()).contains(&look.at));
    during.into_iter().any(|look| subject(look) == finding.window.subject)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// Every seed on as many threads as there are processors.
fn for_each_seed(seeds: std::ops::Range<u64>, test: impl Fn(u64) + Sync) {
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    test(seed);
                }
            });
        }
    });
}

#[test]
fn r55_r59_every_drill_is_found_in_time_and_honest_shifts_are_left_alone() {
    let totals = std::sync::Mutex::new((0, 0));
    for_each_seed(SEEDS, |seed| {
        let month = Month::of(seed, &WHOLE);
        let outcome = run(pass(&month, &Drill::ALL, seed, &Code::ALL));
        for drill in Drill::ALL {
            let by = outcome.found.get(&drill);
            assert!(by.is_some_and(|by| *by <= drill.bound()), "seed {seed}: {drill:?} was found by {by:?}");
        }
        let mut totals = totals.lock().expect("whole");
        totals.0 += outcome.honest.len();
        totals.1 += outcome.shifts;
    });
    let (flagged, shifts) = totals.into_inner().expect("whole");
    assert!(shifts >= 150_000, "{shifts} shifts prove nothing");
    assert!(flagged * 10_000 <= shifts, "{flagged} of {shifts} honest shifts were flagged");
}

#[test]
fn r55_r59_no_detector_can_be_done_without() {
    for (without, drill) in [
        (Code::Children, Drill::PatientReader),
        (Code::Misses, Drill::PatientGuesser),
        (Code::Pace, Drill::ScrapingDevice),
        (Code::Surge, Drill::QuietSpread),
        (Code::OddHours, Drill::InsiderAtNight),
        (Code::Unaccompanied, Drill::InsiderAtWork),
    ] {
        for_each_seed(1..3, |seed| {
            let month = Month::of(seed, &FEW);
            let by = |codes: &[Code]| run(pass(&month, &[drill], seed, codes)).found.get(&drill).copied();
            let rest: Vec<_> = Code::ALL.into_iter().filter(|code| *code != without).collect();
            let (with, lacking) = (by(&Code::ALL), by(&rest));
            assert!(with.is_some_and(|by| by <= drill.bound()), "{drill:?} is found by {with:?}");
            assert!(
                lacking.is_none_or(|by| by > drill.bound()),
                "{drill:?} is found by {lacking:?} without {without:?}"
            );
        });
    }
}

#[test]
fn r55_an_organisation_in_unscheduled_care_is_never_stopped() {
    let month = Month::of(1, &FEW);
    let (tally, log, history) = (Tallies::default(), Ledger::default(), Looked::default());
    let watch = Watch { tally: &tally, history: &history, log: &log, codes: &Code::ALL };
    let setting = month.a(Care::Emergency);
    // Christmas such as there never was: forty people, each at fifty children an hour.
    let looks = (0..2_000_u32).map(|n| Look {
        at: month::BEGIN + n * 9 / 5,
        who: n % 40,
        setting: setting.number,
        care: setting.care,
        child: n,
        hit: n % 25 == 0,
        drill: 0,
    });
    let accesses: Vec<_> = looks.zip(1_u128..).map(|(look, n)| access(&look, n)).collect();
    let found: Vec<_> =
        run(watch.accesses(&accesses)).findings.into_iter().map(|f| (f.window.subject.kind(), f.code)).collect();
    assert!(found.contains(&(Kind::Organisation, Code::Children)), "it is flagged: {found:?}");
    assert!(!found.iter().any(|(_, code)| *code == Code::Stopped), "and not stopped: {found:?}");
    let subject = Subject::organisation(&accesses[0].organisation.code);
    assert_eq!(run(crate::ports::Stops::stops_of(&tally, &[subject])).expect("read"), []);
}
