//! Use cases over the ports in memory.

mod drills;
mod history;
mod mailboxes;
mod notices;
mod sensitive;
mod watch;

use std::{collections::BTreeMap, future::Future};

use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    deliver::{Failure, Outcome, handle},
    look_up::{self, LookUp, LookUpError},
    queued::{MAX_ATTEMPTS, Message},
    relay::{Relayed, relay, sweep},
    upload_plans::{UploadError, upload_plans},
};
use crate::{
    domain::{
        access::{Access, Interaction},
        authority::{Authority, AuthorityCode, Status},
        caller::{Device, HealthCaller, Organisation, Requester},
        contact::Contact,
        nhs_number::{ChildKey, ChildKeySecret, NhsNumber, check_digit},
        notification::Owing,
        plan::Plan,
        policy::{Presentation, Refusal},
        reading::Reading,
        record::{Detail, RawRecord},
        setting::{CareKind, Setting},
        standing::HealthStanding,
        upload::{Acknowledgement, Envelope, FileCode, UploadFile},
        watch::{Stop, Subject},
        ways_out::WaysOut,
    },
    memory::{Queue, Register, Sent, SetClock, Tallies},
    ports::{
        AccessHistory, AccessLog, Clock, ContactLog, Directory, MailboxReader, Outbox, PageRequest, PlanReader,
        PortError, PortResult, ReadingRules, Stops, Tally,
    },
};

const HARTLEPOOL: &str = "E06000001";
const BIRMINGHAM: &str = "E08000025";

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(work)
}

fn code(text: &str) -> AuthorityCode {
    AuthorityCode::parse(text).expect("valid")
}

fn number(index: usize) -> NhsNumber {
    let valid = (999_000_000_u32..).filter_map(|nine| {
        let nine = nine.to_string();
        check_digit(&nine).map(|digit| format!("{nine}{digit}"))
    });
    NhsNumber::parse(&valid.into_iter().nth(index).expect("enough")).expect("valid")
}

fn secret() -> ChildKeySecret {
    ChildKeySecret::new(&[7; 32]).expect("long enough")
}

fn clock() -> SetClock {
    SetClock::at("2026-11-22T12:00:00Z".parse().expect("valid"))
}

fn register() -> Register {
    let register = Register::default();
    for (authority, name) in [(HARTLEPOOL, "Hartlepool"), (BIRMINGHAM, "Birmingham")] {
        let (code, name) = (code(authority), name.to_owned());
        register.put_authority(Authority {
            code,
            name,
            region: "Any".into(),
            status: Status::Open,
            ways_out: WaysOut::default(),
        });
    }
    register
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Start,
    End,
    Delete,
}

fn record(row: usize, child: usize, kind: &str, change: Change) -> RawRecord {
    let day = |wanted| if change == wanted { "2026-05-01" } else { "" };
    let (end, delete) = (day(Change::End), day(Change::Delete));
    let number = number(child);
    let fields = [number.digits(), "C-1", "Sample", "Robin", "2015-06-01", kind, "2026-01-31", end, delete];
    RawRecord { row, fields: fields.map(str::to_owned) }
}

fn file(sequence: u64, phone: &str, records: &[(usize, Change)]) -> UploadFile {
    let records: Vec<_> =
        (1..).zip(records).map(|(row, (child, change))| Ok(record(row, *child, "CPP", *change))).collect();
    let contact = Contact { emergency_duty_team_phone: phone.into(), office_hours_phone: None };
    let digest = format!("{sequence} {phone} {records:?}");
    UploadFile {
        envelope: Envelope { sender: None, sequence, created: Timestamp::UNIX_EPOCH, contact },
        digest,
        records,
    }
}

fn upload(register: &Register, authority: &str, file: UploadFile) -> Result<Vec<u8>, UploadError> {
    run(upload_plans(register, &secret(), &clock(), &code(authority), file)).map(|answer| answer.bytes)
}

fn acknowledged(register: &Register, file: UploadFile) -> Acknowledgement {
    let answer = upload(register, HARTLEPOOL, file).expect("an answer");
    serde_json::from_slice(&answer).expect("an acknowledgement")
}

fn held(register: &Register, child: usize) -> Vec<Plan> {
    run(register.plans_of(&secret().key_of(&number(child)))).expect("plans")
}

fn details(acknowledgement: &Acknowledgement) -> Vec<(usize, Detail)> {
    acknowledgement.rejected.iter().map(|r| (r.row, r.problems[0].detail)).collect()
}

#[test]
fn r11_r14_valid_records_load_whatever_the_others_do() {
    let register = register();
    let first =
        acknowledged(&register, file(1, "020 7946 0001", &[(0, Change::Start), (1, Change::End), (0, Change::Start)]));
    assert_eq!((first.code, first.loaded, first.records), (FileCode::Cpf03, 1, 3));
    assert_eq!(details(&first), [(2, Detail::UnknownPlan), (3, Detail::DuplicateInFile)]);
    let second = acknowledged(&register, file(2, "020 7946 0001", &[(2, Change::Start)]));
    assert_eq!(second.code, FileCode::Cpf02);
    assert_eq!(held(&register, 0).len(), 1, "a child that a file does not name stays");
}

#[test]
fn r13_the_same_file_gets_the_same_answer_and_another_is_refused() {
    let register = register();
    let once = || file(1, "020 7946 0001", &[(0, Change::Start), (1, Change::End)]);
    let first = upload(&register, HARTLEPOOL, once()).expect("an answer");
    // Meanwhile the register has moved on, so that processing the file anew would be answered otherwise.
    upload(&register, HARTLEPOOL, file(2, "020 7946 0001", &[(1, Change::Start)])).expect("an answer");
    assert_eq!(upload(&register, HARTLEPOOL, once()).expect("an answer"), first);
    let other = upload(&register, HARTLEPOOL, file(1, "020 7946 0001", &[(3, Change::Start)]));
    assert!(matches!(other, Err(UploadError::SequenceReused)));
    assert!(held(&register, 3).is_empty());
}

#[test]
fn r29_closed_and_unknown_authorities_may_not_upload() {
    let register = register();
    let name = "Birmingham".to_owned();
    register.put_authority(Authority {
        code: code(BIRMINGHAM),
        name,
        region: "Any".into(),
        status: Status::Closed,
        ways_out: WaysOut::default(),
    });
    for authority in [BIRMINGHAM, "E99999999"] {
        let answer = upload(&register, authority, file(1, "020 7946 0001", &[(0, Change::Start)]));
        assert!(matches!(answer, Err(UploadError::AuthorityNotOpen)));
    }
    assert!(held(&register, 0).is_empty());
}

/// What look-ups depend on: of each child the state, and whether it is shown at all.
fn shape(register: &Register) -> BTreeMap<usize, (u64, bool, bool, String)> {
    let shape = |plan: &Plan| {
        let phone = plan.contact.emergency_duty_team_phone.clone();
        (plan.sequence, plan.end.is_some(), plan.deleted.is_some(), phone)
    };
    (0..3).filter_map(|c| held(register, c).first().filter(|p| p.known).map(|p| (c, shape(p)))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn r12_r33_in_whatever_order_files_arrive_the_register_ends_the_same(
        files in proptest::collection::vec(
            (proptest::collection::vec((0_usize..3, prop_oneof![Just(Change::Start), Just(Change::End), Just(Change::Delete)]), 1..4), 0_u8..2),
            1..7,
        ).prop_flat_map(|files| {
            let order: Vec<_> = (0..files.len()).collect();
            (Just(files), Just(order).prop_shuffle())
        }),
    ) {
        let (files, order) = files;
        let send = |register: &Register, n: usize| {
            let mut records = files[n].0.clone();
            records.sort_by_key(|r| r.0);
            records.dedup_by_key(|r| r.0);
            let phone = format!("020 7946 000{}", files[n].1);
            upload(register, HARTLEPOOL, file(n as u64 + 1, &phone, &records)).expect("an answer")
        };
        let (in_order, shuffled) = (register(), register());
        for n in 0..files.len() { send(&in_order, n); }
        for n in &order { send(&shuffled, *n); }
        prop_assert_eq!(shape(&in_order), shape(&shuffled));
    }
}

#[test]
fn r33_new_numbers_reach_plans_that_are_not_in_the_file() {
    let register = register();
    acknowledged(&register, file(1, "020 7946 0001", &[(0, Change::Start)]));
    acknowledged(&register, file(2, "020 7946 0002", &[(1, Change::Start)]));
    assert_eq!(held(&register, 0)[0].contact.emergency_duty_team_phone, "020 7946 0002");
    let due = |register: &Register| run(register.contact(&code(HARTLEPOOL))).expect("read").expect("there").spreads_due;
    assert_eq!(due(&register), 1, "once more with the next upload, as the index may have lagged");
    acknowledged(&register, file(3, "020 7946 0002", &[]));
    assert_eq!(due(&register), 0);
}

fn caller(activities: &[&str]) -> HealthCaller {
    HealthCaller {
        requester: Requester::Device(Device {
            asid: "200000000001".into(),
            responsible: "Sam Sample".into(),
            ..Device::default()
        }),
        organisation: Organisation { code: "ZX001".into(), name: "Sample Ambulance Control".into() },
        activities: activities.iter().map(|a| (*a).to_owned()).collect(),
    }
}

/// The caller's organisation, which gives this care.
fn standing(care: &[CareKind]) -> HealthStanding {
    let setting = Setting {
        code: "ZX001".into(),
        name: "Sample Ambulance Control".into(),
        care: care.to_vec(),
        region: "North East".into(),
        authority: code(HARTLEPOOL),
        status: Status::Open,
        from: jiff::civil::date(2020, 1, 1),
        until: None,
        oversight: None,
    };
    HealthStanding { setting: Some(setting), pilots: vec![] }
}

#[derive(Debug)]
struct Asked {
    caller: HealthCaller,
    standing: HealthStanding,
    number: NhsNumber,
    is_unscheduled: Option<bool>,
    consent: bool,
    request_id: Uuid,
}

impl Asked {
    fn of(child: usize) -> Self {
        let request_id = Uuid::from_u128(child as u128 + 1);
        Self {
            caller: caller(&["B0107"]),
            standing: standing(&[CareKind::AmbulanceService, CareKind::GeneralPractice]),
            number: number(child),
            is_unscheduled: None,
            consent: false,
            request_id,
        }
    }

    fn ask(&self) -> LookUp<'_> {
        let Self { caller, standing, number, .. } = self;
        LookUp {
            caller,
            standing,
            number,
            is_unscheduled: self.is_unscheduled,
            consent: self.consent,
            request_id: self.request_id,
            trace_id: Uuid::nil(),
        }
    }

    fn plans(&self, register: &Register) -> Result<look_up::Seen<Plan>, LookUpError> {
        self.plans_at(register, &clock())
    }

    fn plans_at(&self, register: &Register, clock: &SetClock) -> Result<look_up::Seen<Plan>, LookUpError> {
        run(look_up::plans(register, &Tallies::default(), &secret(), clock, &self.ask(), Interaction::CareTeam))
    }
}

fn owing(access: &Access) -> Owing {
    Owing::Access(Box::new(access.clone()))
}

fn owed(register: &Register) -> Vec<Access> {
    let all = PageRequest { limit: 1_000, after: None };
    let items = run(register.owed_before(Timestamp::MAX, &all)).expect("a page").items;
    let access = |owing| match owing {
        Owing::Access(access) => Some(*access),
        Owing::Notice(_) => None,
    };
    items.into_iter().filter_map(|entry| access(entry.owing.expect("readable"))).collect()
}

#[test]
fn r9_r24_plans_of_two_authorities_are_shown_and_both_are_told() {
    let register = register();
    for authority in [HARTLEPOOL, BIRMINGHAM] {
        upload(&register, authority, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
    }
    let seen = Asked::of(0).plans(&register).expect("an answer");
    assert_eq!((seen.shown.len(), seen.access.owed.len(), seen.repeated), (2, 2, false));
    assert_eq!(owed(&register)[0].notifications().len(), 2);
}

#[test]
fn r24_silent_and_empty_look_ups_are_recorded_and_owe_nothing() {
    let register = register();
    acknowledged(&register, file(1, "020 7946 0001", &[(0, Change::Start)]));
    let silent = Asked { caller: caller(&["B0170"]), is_unscheduled: Some(false), ..Asked::of(0) };
    assert_eq!(silent.plans(&register).expect("an answer").shown.len(), 1);
    let nothing = Asked::of(1).plans(&register).expect("an answer");
    assert_eq!((nothing.shown.len(), nothing.access.nhs_number), (0, None));
    assert!(owed(&register).is_empty());
    for asked in [silent, Asked::of(1)] {
        assert!(asked.plans(&register).expect("an answer").repeated, "it was recorded");
    }
}

#[test]
fn r43_a_refused_look_up_is_recorded_discloses_nothing_and_owes_nothing() {
    let register = register();
    acknowledged(&register, file(1, "020 7946 0001", &[(0, Change::Start)]));
    let stranger = Asked { standing: HealthStanding::default(), ..Asked::of(0) };
    let refused = || match stranger.plans(&register) {
        Err(LookUpError::Refused { why, access }) => (why, access),
        other => panic!("{other:?}"),
    };
    let (why, id) = refused();
    assert_eq!(why, Refusal::OrganisationUnknown);
    assert_eq!(refused(), (why, id), "a retry is the same refusal");
    let all = PageRequest { limit: 9, after: None };
    let trail = || run(register.accesses_of(&secret().key_of(&number(0)), &all)).expect("a page").items;
    let [record] = &trail()[..] else { panic!("{:?}", trail()) };
    assert_eq!((record.id, record.refused.as_deref()), (id, Some("organisation-unknown")));
    assert_eq!((&record.disclosed[..], &record.owed[..], &record.nhs_number), (&[][..], &[][..], &None));
    // The same request with its fault mended is an access of its own, and the refusal stands beside it.
    let mended = Asked::of(0).plans(&register).expect("an answer");
    assert_eq!((mended.repeated, mended.shown.len(), trail().len()), (false, 1, 2));
}

#[test]
fn r43_what_cannot_be_recorded_is_not_refused_but_failed() {
    let register = register();
    let stranger = Asked { standing: HealthStanding::default(), ..Asked::of(0) };
    let answer = run(look_up::plans(
        &Unrecordable(&register),
        &Tallies::default(),
        &secret(),
        &clock(),
        &stranger.ask(),
        Interaction::CareTeam,
    ));
    assert!(matches!(answer, Err(LookUpError::Port(_))));
}

#[test]
fn r8_withdrawn_plans_are_not_shown_and_their_names_are_gone() {
    let register = register();
    acknowledged(&register, file(1, "020 7946 0001", &[(0, Change::Start)]));
    acknowledged(&register, file(2, "020 7946 0001", &[(0, Change::Delete)]));
    assert!(Asked::of(0).plans(&register).expect("an answer").shown.is_empty());
    assert_eq!((held(&register, 0)[0].family_name.as_str(), held(&register, 0)[0].given_names.len()), ("", 0));
    acknowledged(&register, file(3, "020 7946 0001", &[(0, Change::Start)]));
    let again = Asked { request_id: Uuid::max(), ..Asked::of(0) };
    assert_eq!(again.plans(&register).expect("an answer").shown.len(), 1, "a later upload starts anew");
}

#[test]
fn r22_a_retry_is_the_same_access_and_what_is_new_by_then_is_told_too() {
    let register = register();
    upload(&register, HARTLEPOOL, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
    let asked = Asked::of(0);
    let first = asked.plans(&register).expect("an answer");
    let second = asked.plans(&register).expect("an answer");
    assert_eq!((second.repeated, second.access.id), (true, first.access.id));
    assert_eq!(owed(&register).len(), 1);
    upload(&register, BIRMINGHAM, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
    assert_eq!(asked.plans(&register).expect("an answer").shown.len(), 2);
    let told: Vec<_> =
        owed(&register).iter().flat_map(Access::notifications).map(|n| n.authority.to_string()).collect();
    assert_eq!(told.len(), 2, "each authority once: {told:?}");
}

/// Of what retries find, each plan is told of by the first that found it: what one retry recorded, the next need not.
#[test]
fn r22_retries_that_find_more_and_more_tell_each_authority_once() {
    let register = register();
    let asked = Asked::of(0);
    for code in [None, Some(HARTLEPOOL), Some(BIRMINGHAM)] {
        if let Some(code) = code {
            upload(&register, code, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
        }
        for _ in 0..2 {
            asked.plans(&register).expect("an answer");
        }
    }
    let told: Vec<_> =
        owed(&register).iter().flat_map(Access::notifications).map(|n| n.authority.to_string()).collect();
    assert_eq!(told, [HARTLEPOOL, BIRMINGHAM].map(str::to_owned), "each once");
}

#[test]
fn r22_each_retry_tells_only_those_whom_none_before_it_told() {
    for uploaders in [[HARTLEPOOL, BIRMINGHAM], [BIRMINGHAM, HARTLEPOOL]] {
        let (register, asked) = (register(), Asked::of(0));
        assert!(asked.plans(&register).expect("an answer").shown.is_empty(), "nothing is held yet");
        for (held, code) in (1..).zip(uploaders) {
            upload(&register, code, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
            for _ in 0..2 {
                assert_eq!(asked.plans(&register).expect("an answer").shown.len(), held);
            }
        }
        let mut told: Vec<_> =
            owed(&register).iter().flat_map(Access::notifications).map(|n| n.authority.to_string()).collect();
        told.sort_unstable();
        assert_eq!(told, [HARTLEPOOL, BIRMINGHAM], "each authority once");
    }
}

#[test]
fn r22_a_request_id_used_for_ever_does_not_hide_later_accesses() {
    let (register, clock) = (register(), clock());
    upload(&register, HARTLEPOOL, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
    let asked = Asked::of(0);
    for (wait, repeated, accesses) in [(0, false, 1), (60, true, 1), (840, false, 2), (60, true, 2), (86_400, false, 3)]
    {
        clock.advance(wait);
        assert_eq!(asked.plans_at(&register, &clock).expect("an answer").repeated, repeated, "after {wait} s");
        assert_eq!(owed(&register).len(), accesses, "after {wait} s");
    }
}

/// A register whose accesses cannot be recorded.
struct Unrecordable<'a>(&'a Register);

impl PlanReader for Unrecordable<'_> {
    async fn plans_of(&self, child: &ChildKey) -> PortResult<Vec<Plan>> {
        self.0.plans_of(child).await
    }
}

impl AccessLog for Unrecordable<'_> {
    async fn record(&self, _: &Access) -> PortResult<Option<Access>> {
        Err(PortError { step: "accesses.put", cause: "Timeout".into(), retryable: true })
    }
}

#[test]
fn r21_what_cannot_be_recorded_is_not_disclosed() {
    let register = register();
    acknowledged(&register, file(1, "020 7946 0001", &[(0, Change::Start)]));
    let asked = Asked::of(0);
    let answer = run(look_up::plans(
        &Unrecordable(&register),
        &Tallies::default(),
        &secret(),
        &clock(),
        &asked.ask(),
        Interaction::CareTeam,
    ));
    assert!(matches!(answer, Err(LookUpError::Port(_))));
}

#[test]
fn r20_r23_the_history_of_a_child_without_a_plan_is_empty_and_with_one_is_not() {
    let register = register();
    acknowledged(&register, file(1, "020 7946 0001", &[(0, Change::Start)]));
    Asked::of(0).plans(&register).expect("an answer");
    let history = |asked: &Asked| {
        run(look_up::history(&register, &Tallies::default(), &secret(), &clock(), &asked.ask())).expect("an answer")
    };
    let first = history(&Asked::of(0)).shown;
    assert_eq!(first.len(), 1);
    assert_eq!(history(&Asked::of(0)).shown, first, "a retry gets the same answer");
    acknowledged(&register, file(2, "020 7946 0001", &[(0, Change::Delete)]));
    assert_eq!(history(&Asked { request_id: Uuid::max(), ..Asked::of(0) }).shown.len(), 0);
}

#[test]
fn r26_what_the_queue_did_not_take_stays_owed_and_the_sweep_sends_it() {
    let (register, queue) = (register(), Queue::default());
    for authority in [HARTLEPOOL, BIRMINGHAM] {
        upload(&register, authority, file(1, "020 7946 0001", &[(0, Change::Start), (1, Change::Start)]))
            .expect("an answer");
    }
    let first = Asked::of(0).plans(&register).expect("an answer").access;
    let second = Asked::of(1).plans(&register).expect("an answer").access;
    // Of the four messages the second fails: the first access stays owed, and the second is not held up by it.
    queue.refuse_next([1]);
    let clock = clock();
    let (relayed, settled) = run(relay(&register, &queue, &clock, &[owing(&first), owing(&second)]));
    assert!(matches!(relayed[..], [Relayed::Failed(_), Relayed::Sent { notifications: 2 }]), "{relayed:?}");
    assert_eq!(settled, Ok(()));
    assert_eq!(owed(&register), [first]);

    assert_eq!(run(sweep(&register, &queue, &clock)).expect("swept").found, 0, "the stream's turn first");
    clock.advance(121);
    let swept = run(sweep(&register, &queue, &clock)).expect("swept");
    assert_eq!((swept.found, swept.sent, swept.failed), (1, 2, 0));
    assert!(owed(&register).is_empty());
    let ids: std::collections::BTreeSet<_> = queue
        .told()
        .iter()
        .map(|sent| match sent {
            Sent::Notification(asn) => asn.id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((queue.told().len(), ids.len()), (5, 4), "one was sent twice, under the same id");
}

#[test]
fn what_cannot_be_read_is_as_old_as_its_place_in_the_outbox_says_and_holds_nothing_up() {
    let (register, queue, clock) = (register(), Queue::default(), clock());
    upload(&register, HARTLEPOOL, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
    let well = Asked::of(0).plans(&register).expect("an answer").access;
    clock.advance(121);
    for position in ["2026-11-22T11:00:00.000Z#a#b", "2026-11-22T12:00:00.500Z#a#b"] {
        register.put_unreadable_owing(position);
    }
    for sent in [1, 0] {
        let swept = run(sweep(&register, &queue, &clock)).expect("swept");
        assert_eq!((swept.sent, swept.failed, swept.unreadable), (sent, 2, 2));
        assert_eq!(swept.oldest, "2026-11-22T11:00:00Z".parse().ok(), "sweep after sweep");
        assert_eq!(swept.unreadable_at.as_deref(), Some("2026-11-22T11:00:00.000Z#a#b"));
        assert_eq!(swept.error.expect("it is told").cause, "ItemUnreadable");
    }
    let [Sent::Notification(asn)] = &queue.told()[..] else { panic!("{:?}", queue.told()) };
    assert_eq!(**asn, well.notifications()[0]);
    // What stands there under no time at all is found, and counts as the oldest.
    register.put_unreadable_owing("1#");
    assert_eq!(run(sweep(&register, &queue, &clock)).expect("swept").oldest, Some(Timestamp::UNIX_EPOCH));
}

#[test]
fn r27_delivery_is_retried_set_aside_or_done() {
    let (register, clock) = (register(), clock());
    upload(&register, HARTLEPOOL, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
    let asn = Asked::of(0).plans(&register).expect("an answer").access.notifications().remove(0);
    let body = serde_json::to_string(&asn).expect("JSON");
    let deliver = |body: &str, attempts| {
        let queue = Queue::default();
        let message = Message { receipt: "r", body, attempts, sent_at: None, trace: None, attributes: vec![] };
        (run(handle(&register, &register, &queue, &queue, &clock, &message, 60)), queue.told())
    };
    let put = |status| {
        let name = "Hartlepool".to_owned();
        register.put_authority(Authority {
            code: code(HARTLEPOOL),
            name,
            region: "Any".into(),
            status,
            ways_out: WaysOut::default(),
        });
    };

    put(Status::Closed);
    for (attempts, seconds) in [(1, 60), (2, 120), (3, 240), (4, 480)] {
        let expected = vec![Sent::Postponed("r".into(), seconds)];
        assert_eq!(deliver(&body, attempts), (Outcome::Retry(Failure::AuthorityClosed), expected));
    }
    let (outcome, told) = deliver(&body, MAX_ATTEMPTS);
    assert_eq!(outcome, Outcome::SetAside(Failure::AuthorityClosed));
    let [Sent::SetAside(kept, why)] = &told[..] else { panic!("{told:?}") };
    assert_eq!((kept, why.reason.as_str(), why.authority.as_str()), (&body, "authority-closed", HARTLEPOOL));

    let (outcome, told) = deliver("{}", 1);
    assert_eq!((outcome, told.len()), (Outcome::SetAside(Failure::Unreadable), 1), "hopeless: at once");

    put(Status::Open);
    assert_eq!(deliver(&body, 6), (Outcome::Delivered, vec![]));
    assert_eq!(deliver(&body, 1), (Outcome::AlreadyDelivered, vec![]));
    let all = PageRequest { limit: 10, after: None };
    assert_eq!(run(register.notifications(&code(HARTLEPOOL), None, &all)).expect("a page").items.len(), 1);
}

#[test]
fn r27_what_cannot_be_set_aside_is_handed_out_again() {
    let (register, queue) = (register(), Queue::default());
    queue.refuse_next([0]);
    let message = Message { receipt: "r", body: "{}", attempts: 1, sent_at: None, trace: None, attributes: vec![] };
    let outcome = run(handle(&register, &register, &queue, &queue, &clock(), &message, 60));
    assert!(matches!(outcome, Outcome::Retry(Failure::Port(_))));
}

/// A directory whose entry of one authority nobody can read without panicking.
struct Cursed<'a>(&'a Register);

impl Directory for Cursed<'_> {
    async fn authority(&self, code: &AuthorityCode) -> PortResult<Option<Authority>> {
        assert_ne!(code.as_str(), BIRMINGHAM, "cursed");
        self.0.authority(code).await
    }
}

impl ReadingRules for Cursed<'_> {
    async fn reading(&self, code: &AuthorityCode) -> PortResult<Reading> {
        self.0.reading(code).await
    }
}

#[test]
fn r70_a_message_at_fault_is_set_aside_at_once_with_all_that_belongs_to_it() {
    let (register, clock) = (register(), clock());
    for authority in [HARTLEPOOL, BIRMINGHAM] {
        upload(&register, authority, file(1, "020 7946 0001", &[(0, Change::Start)])).expect("an answer");
    }
    let bodies = Asked::of(0).plans(&register).expect("an answer").access.notifications();
    let bodies: Vec<_> = bodies.iter().map(|asn| serde_json::to_string(asn).expect("JSON")).collect();
    let deliver = |body: &str| {
        let queue = Queue::default();
        let attributes = vec![("authority", BIRMINGHAM), ("kind", "access")];
        let message = Message { receipt: "r", body, attempts: 1, sent_at: None, trace: Some("Root=1"), attributes };
        (run(handle(&Cursed(&register), &register, &queue, &queue, &clock, &message, 60)), queue.told())
    };
    assert_eq!(deliver(&bodies[0]).0, Outcome::Delivered);
    for (body, failure) in [(bodies[1].as_str(), Failure::Panicked), ("not a notification", Failure::Unreadable)] {
        let (outcome, told) = deliver(body);
        assert_eq!(outcome, Outcome::SetAside(failure.clone()));
        let [Sent::SetAside(kept, why)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((kept.as_str(), why.reason.as_str(), why.attempts), (body, failure.code(), 1));
        assert_eq!((why.authority.as_str(), why.trace.as_deref()), (BIRMINGHAM, Some("Root=1")));
        assert_eq!(why.attributes["kind"], "access");
    }
}

/// Stops that cannot be read.
struct Unreadable;

impl Stops for Unreadable {
    async fn stops_of(&self, _: &[Subject]) -> PortResult<Vec<Stop>> {
        Err(PortError { step: "limits.get-stop", cause: "Timeout".into(), retryable: true })
    }
}

fn stopped(subject: &Subject) -> Tallies {
    let tallies = Tallies::default();
    run(tallies.stop(subject, clock().now() + jiff::SignedDuration::from_secs(90))).expect("stopped");
    tallies
}

#[test]
fn r55_over_the_budget_a_look_up_is_refused_and_recorded() {
    let register = register();
    acknowledged(&register, file(1, "020 7946 0001", &[(0, Change::Start)]));
    let asked = Asked::of(0);
    let tallies = stopped(&Subject::of(&asked.caller.requester));
    let clock = clock();
    let ask = asked.ask();
    for interaction in [Interaction::CareTeam, Interaction::Flag] {
        let answer = run(look_up::plans(&register, &tallies, &secret(), &clock, &ask, interaction));
        assert!(matches!(answer, Err(LookUpError::OverBudget { seconds: 91, .. })), "{answer:?}");
    }
    let answer = run(look_up::history(&register, &tallies, &secret(), &clock, &ask));
    assert!(matches!(answer, Err(LookUpError::OverBudget { .. })), "{answer:?}");
    let all = PageRequest { limit: 10, after: None };
    let recorded = run(register.accesses_of(&secret().key_of(&number(0)), &all)).expect("a page").items;
    assert_eq!(recorded.len(), 3);
    for access in recorded {
        assert_eq!((access.refused.as_deref(), access.disclosed.len(), access.owed.len()), (Some("over-budget"), 0, 0));
    }
    clock.advance(91);
    assert_eq!(
        run(look_up::plans(&register, &tallies, &secret(), &clock, &ask, Interaction::CareTeam))
            .expect("an answer")
            .shown
            .len(),
        1
    );
}

#[test]
fn r56_no_organisation_in_unscheduled_care_is_stopped_for_its_count_and_nobody_for_what_cannot_be_read() {
    let register = register();
    let tallies = stopped(&Subject::organisation("ZX001"));
    let scheduled = Asked { standing: standing(&[CareKind::GeneralPractice]), ..Asked::of(0) };
    let look = |asked: &Asked| {
        run(look_up::plans(&register, &tallies, &secret(), &clock(), &asked.ask(), Interaction::CareTeam))
    };
    assert!(look(&Asked::of(0)).is_ok(), "it gives unscheduled care too");
    let answer = look(&scheduled);
    assert!(matches!(answer, Err(LookUpError::OverBudget { .. })), "{answer:?}");
    let unread =
        run(look_up::plans(&register, &Unreadable, &secret(), &clock(), &scheduled.ask(), Interaction::CareTeam));
    assert!(unread.is_ok());
}
