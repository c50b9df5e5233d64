//! Which organisations saw a child lately, as each authority that is told of an access was told of them (R83).

use jiff::SignedDuration;

use super::*;
use crate::{
    domain::{access::Owed, signal::Signal},
    ports::Page,
};

/// What the queue is told of an access: its notification's signals, by authority.
fn signalled(register: &Register, access: &Access) -> BTreeMap<String, Vec<Signal>> {
    let queue = Queue::default();
    run(relay(register, &queue, &clock(), &[owing(access)])).1.expect("settled");
    let told = queue.told().into_iter().map(|sent| match sent {
        Sent::Notification(asn) => {
            let signals = asn.access().expect("an access").signals.iter().copied().collect();
            (asn.authority.to_string(), signals)
        }
        other => panic!("{other:?}"),
    });
    told.collect()
}

#[test]
fn r83_the_third_organisation_within_seven_days_is_a_signal_to_every_authority_that_was_told_of_all_three() {
    let register = register();
    upload(&register, HARTLEPOOL, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
    let first = Asked::of(0).plans(&register).expect("an answer").access;
    let noon = first.at;
    let look = |n: u128, organisation: &str, seconds: i64| {
        let mut access =
            Access { id: Uuid::from_u128(n), at: noon + SignedDuration::from_secs(seconds), ..first.clone() };
        access.organisation.code = organisation.into();
        access
    };
    let record = |access: &Access| {
        assert_eq!(run(register.record(access)), Ok(None));
        signalled(&register, access)
    };
    let (none, third) = (BTreeMap::from([(HARTLEPOOL.to_owned(), vec![])]), vec![Signal::ThirdSetting]);
    assert_eq!(signalled(&register, &first), none);
    for again in 1..40 {
        assert_eq!(record(&look(again, "ZX002", 60)), none, "the second organisation, however often");
    }
    // It makes no difference how the authority reads: this is before anybody asks.
    assert_eq!(record(&look(100, "ZX003", 86_400))[HARTLEPOOL], third);
    assert_eq!(record(&look(101, "ZX004", 7 * 86_400))[HARTLEPOOL], third);
    assert_eq!(record(&look(102, "ZX004", 7 * 86_400 + 61)), none, "after a week they do not count");
    // Another authority was not told of the first ones.
    let mut both = look(103, "ZX005", 86_500);
    both.owed.push(Owed { authority: code(BIRMINGHAM), ..both.owed[0].clone() });
    let told = record(&both);
    assert_eq!((&told[HARTLEPOOL], &told[BIRMINGHAM]), (&third, &vec![]));
    // Another child's do not count, nor those of which nobody was told, nor those whose organisation is not.
    let other = |n, organisation, seconds| {
        let child = secret().key_of(&number(1));
        Access { child, ..look(n, organisation, seconds) }
    };
    assert_eq!(record(&other(200, "ZX001", 0)), none);
    let silent = Access { owed: vec![], ..other(201, "ZX002", 1) };
    assert_eq!(run(register.record(&silent)), Ok(None));
    let generic = Access { presentation: Presentation::Generic, ..other(202, "ZX003", 2) };
    assert_eq!(record(&generic), none);
    assert_eq!(record(&other(203, "ZX004", 3)), none);
    assert_eq!(record(&other(204, "ZX005", 4))[HARTLEPOOL], third);
}

/// Whichever of the two is relayed first, and whosever clock is ahead: both are recorded before either is relayed, or one is
/// recorded when the other has been, and then it sees the other.
#[test]
fn r83_of_two_accesses_at_once_one_at_least_is_the_third() {
    for (one, two) in [(0, 0), (0, 5), (5, 0)] {
        let register = register();
        upload(&register, HARTLEPOOL, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
        let first = Asked::of(0).plans(&register).expect("an answer").access;
        let look = |n: u128, organisation: &str, seconds: i64| {
            let at = first.at + SignedDuration::from_secs(60 + seconds);
            let mut access = Access { id: Uuid::from_u128(n), at, ..first.clone() };
            access.organisation.code = organisation.into();
            assert_eq!(run(register.record(&access)), Ok(None));
            access
        };
        let second = look(2, "ZX002", one);
        let before = signalled(&register, &second);
        let third = look(3, "ZX003", two);
        assert_eq!(before[HARTLEPOOL], []);
        assert_eq!(signalled(&register, &third)[HARTLEPOOL], [Signal::ThirdSetting], "{one} {two}");
    }
}

#[test]
fn r83_an_access_whose_others_cannot_be_read_stays_owed_and_holds_nobody_up() {
    struct Blind<'a>(&'a Register, ChildKey);
    impl AccessHistory for Blind<'_> {
        async fn accesses_of(&self, child: &ChildKey, page: &PageRequest) -> PortResult<Page<Access>> {
            if *child == self.1 {
                return Err(PortError { step: "accesses.query", cause: "Timeout".into(), retryable: true });
            }
            self.0.accesses_of(child, page).await
        }
    }
    impl Outbox for Blind<'_> {
        async fn owed_before(&self, moment: Timestamp, page: &PageRequest) -> PortResult<Page<PortResult<Owing>>> {
            self.0.owed_before(moment, page).await
        }

        async fn settle(&self, owing: &[Owing]) -> PortResult<()> {
            self.0.settle(owing).await
        }
    }
    let (register, queue) = (register(), Queue::default());
    upload(&register, HARTLEPOOL, file(1, "020 7946 0001", &[(0, Change::Start), (1, Change::Start)]))
        .expect("an answer");
    let [first, second] = [0, 1].map(|child| Asked::of(child).plans(&register).expect("an answer").access);
    let blind = Blind(&register, first.child.clone());
    let (relayed, settled) = run(relay(&blind, &queue, &clock(), &[owing(&first), owing(&second)]));
    assert!(matches!(relayed[..], [Relayed::Failed(_), Relayed::Sent { notifications: 1 }]), "{relayed:?}");
    assert_eq!((settled, owed(&register)), (Ok(()), vec![first]));
}
