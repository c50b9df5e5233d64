//! Counting, whatever the stream brings.

use proptest::prelude::*;

use super::*;
use crate::{
    domain::{
        audit::Chained,
        watch::{Code, Kind, Mark, Span, Window},
    },
    memory::Ledger,
    usecase::watch::Watch,
};

const BEGIN: i64 = 1_796_083_200;

/// Somebody looks a child up, so many seconds after an hour began.
fn look(number: usize, second: i64, child: usize) -> Access {
    let child = serde_json::from_value(serde_json::json!(format!("child-{child}"))).expect("a key");
    let Asked { caller, .. } = Asked::of(0);
    let person = serde_json::json!({"person": {"user": "555000000001", "roleProfile": "1", "name": "Alex Example",
        "jobRole": {"code": "R0260", "display": "General Medical Practitioner"}}});
    Access {
        child,
        id: Uuid::from_u128((number as u128 + 1) << 64),
        at: Timestamp::from_second(BEGIN + second).expect("in range"),
        requester: serde_json::from_value(person).expect("a requester"),
        organisation: caller.organisation,
        interaction: Interaction::CareTeam,
        unscheduled: false,
        disclosed: vec![],
        owed: vec![],
        nhs_number: None,
        trace_id: Uuid::nil(),
        care: vec![CareKind::GeneralPractice],
        region: None,
        presentation: Default::default(),
        refused: None,
    }
}

fn person() -> Subject {
    Subject::person("555000000001")
}

/// Brings batches to the watch; returns how many findings were said to be new.
fn bring(tally: &Tallies, log: &Ledger, batches: &[Vec<Access>]) -> usize {
    let register = register();
    let watch = Watch { tally, history: &register, log, codes: &Code::ALL };
    batches
        .iter()
        .map(|batch| {
            let watched = run(watch.accesses(batch));
            assert_eq!((watched.unfinished.len(), watched.error), (0, None));
            watched.findings.len()
        })
        .sum()
}

fn findings(log: &Ledger) -> BTreeMap<(String, String), Chained> {
    let key = |held: &Chained| (held.entry.details["who"].clone(), held.entry.details["code"].clone());
    log.all().into_iter().map(|held| (key(&held), held)).collect()
}

fn marks(tally: &Tallies) -> Vec<Vec<Mark>> {
    let second = u32::try_from(BEGIN).expect("in range");
    let subjects = [person(), Subject::organisation("ZX001")];
    let windows: Vec<_> = subjects
        .into_iter()
        .flat_map(|subject| {
            [Span::hour_of(second), Span::fortnight_of(second)].map(|span| Window { subject: subject.clone(), span })
        })
        .collect();
    run(tally.marks(&windows)).expect("read")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn r57_whatever_comes_again_or_in_another_order_counts_once(
        (order, cut) in (Just((0..200_usize).chain(0..200).collect::<Vec<_>>()).prop_shuffle(), 1_usize..60),
    ) {
        let all: Vec<_> = (0..200).map(|n| look(n, n as i64 * 12, n % 150)).collect();
        let (once, again) = (Tallies::default(), Tallies::default());
        let (log_once, log_again) = (Ledger::default(), Ledger::default());
        bring(&once, &log_once, std::slice::from_ref(&all));
        let batches: Vec<Vec<_>> = order.chunks(cut).map(|c| c.iter().map(|n| all[*n].clone()).collect()).collect();
        bring(&again, &log_again, &batches);
        prop_assert_eq!(marks(&once), marks(&again));
        prop_assert_eq!(marks(&once)[0].len(), 200);
        let codes = |log: &Ledger| findings(log).into_keys().collect::<Vec<_>>();
        prop_assert_eq!(codes(&log_once), codes(&log_again));
    }
}

#[test]
fn r57_a_refused_look_up_does_not_count() {
    let (tally, log) = (Tallies::default(), Ledger::default());
    let refused = |n| Access { refused: Some("over-budget".into()), ..look(n, n as i64, n) };
    bring(&tally, &log, &[(0..400).map(refused).collect()]);
    assert!(marks(&tally).concat().is_empty() && log.all().is_empty());
}

#[test]
fn r55_over_the_hard_limit_a_person_is_stopped_until_enough_is_an_hour_old_or_an_operator_clears_it() {
    let (tally, log) = (Tallies::default(), Ledger::default());
    let look = |n: usize| Access { disclosed: vec!["CPP#E06000001".into()], ..look(n, n as i64, n) };
    bring(&tally, &log, &[(0..179).map(look).collect()]);
    assert_eq!(run(tally.stops_of(&[person()])), Ok(vec![]));
    bring(&tally, &log, &[vec![look(179)]]);
    let stop = run(tally.stops_of(&[person()])).expect("read").remove(0);
    assert_eq!(stop.until.as_second(), BEGIN + 3_600, "when the first is an hour old");
    assert!(findings(&log).contains_key(&(person().to_string(), "stopped".into())));
    run(crate::ports::StopClearing::clear(&tally, &person(), look(179).at)).expect("cleared");
    bring(&tally, &log, &[vec![look(180)]]);
    let stop = run(tally.stops_of(&[person()])).expect("read").remove(0);
    assert_eq!(stop.until, look(179).at, "what came before it was cleared counts no more");
    assert_eq!(person().kind(), Kind::Person);
}

#[test]
fn r58_a_finding_is_told_once_and_names_no_child() {
    let (tally, log) = (Tallies::default(), Ledger::default());
    let batch: Vec<_> = (0..120).map(|n| look(n, n as i64 * 20, n)).collect();
    let told = bring(&tally, &log, &[batch.clone(), batch.clone()]);
    assert_eq!((told, log.all().len()), (findings(&log).len(), findings(&log).len()));
    assert!(told > 0);
    // A process that broke off before it noted what it had told: the log has it already.
    let other = Tallies::default();
    bring(&other, &log, &[batch]);
    assert_eq!(log.all().len(), told);
    for held in log.all() {
        assert_eq!((held.entry.kind.as_str(), held.entry.subject.as_ref()), ("finding", None));
        let text = serde_json::to_string(&held).expect("JSON");
        assert!(!text.contains("child-") && text.contains("\"from\"") && text.contains("\"count\""), "{text}");
    }
}
