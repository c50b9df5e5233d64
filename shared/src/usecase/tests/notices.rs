//! What authorities are told besides accesses, and how often.

use jiff::{SignedDuration, civil::date};

use super::*;
use crate::{
    domain::{
        notice::NumberChange,
        notification::{Content, Notification},
        plan::PlanType,
        record::{Detail, Problem},
        upload::{Acknowledgement, Rejected, UploadSummary},
    },
    ports::{Guard, NoticeOutbox, PlanWriter, UploadLog},
    usecase::{
        daily_notices::{Found, daily_notices},
        number_changes::{self, number_changed},
    },
};

/// A quarter past six in the morning, after the last Sunday in October.
const MORNING: &str = "2026-11-22T06:15:00Z";

fn moment(text: &str) -> Timestamp {
    text.parse().expect("valid")
}

fn look(register: &Register, now: &str) -> Found {
    run(daily_notices(register, moment(now))).expect("a look")
}

/// What is owed besides accesses.
fn notices(register: &Register) -> Vec<Notification> {
    let all = PageRequest { limit: 1_000, after: None };
    let items = run(register.owed_before(Timestamp::MAX, &all)).expect("a page").items;
    let owing = items.into_iter().map(|entry| entry.owing.expect("readable"));
    owing.filter_map(|owing| if let Owing::Notice(notice) = owing { Some(*notice) } else { None }).collect()
}

/// Relays and delivers all that is owed; how much of it was new to its mailbox.
fn deliver_all(register: &Register) -> usize {
    let queue = Queue::default();
    let all = PageRequest { limit: 1_000, after: None };
    let owing = run(register.owed_before(Timestamp::MAX, &all)).expect("a page").items;
    let owing: Vec<_> = owing.into_iter().map(|entry| entry.owing.expect("readable")).collect();
    run(relay(register, &queue, &clock(), &owing)).1.expect("settled");
    let bodies = queue.told().into_iter().map(|sent| match sent {
        Sent::Notification(notification) => serde_json::to_string(&notification).expect("JSON"),
        other => panic!("{other:?}"),
    });
    let deliver = |body: String| {
        let message =
            Message { receipt: "r", body: &body, attempts: 1, sent_at: None, trace: None, attributes: vec![] };
        run(handle(register, register, &queue, &queue, &clock(), &message, 60)) == Outcome::Delivered
    };
    bodies.filter(|body| deliver(body.clone())).count()
}

/// A file of so many records, of which so many name nobody, completed at a moment.
fn complete(register: &Register, authority: &str, sequence: u64, at: &str, (records, unmatched): (usize, usize)) {
    let summary = UploadSummary {
        sequence,
        created: moment(at),
        received: moment(at),
        code: None,
        records: records as u64,
        loaded: None,
        unmatched: None,
        completed: None,
        digest: "d".into(),
    };
    let rejected = |row, detail| Rejected::new(row, vec![Problem::of_row(detail, "a", "b", "c")]).expect("a problem");
    // One that was rejected for another reason counts as matched.
    let other = (records > unmatched).then(|| rejected(records, Detail::Stale));
    let rejected = (1..=unmatched).map(|row| rejected(row, Detail::NhsNumberInvalid)).chain(other).collect();
    let acknowledgement = Acknowledgement::of(code(authority), sequence, moment(at), records, rejected);
    run(register.begin(&code(authority), &summary)).expect("begun");
    run(register.complete(&code(authority), &acknowledgement, b"{}")).expect("completed");
}

/// R91
#[test]
fn r91_an_upload_is_overdue_after_26_hours_and_not_before() {
    for (latest, overdue) in [
        ("2026-11-21T04:15:00Z", false),
        ("2026-11-21T04:14:59.999Z", true),
        ("2026-11-22T06:00:00Z", false),
        ("2026-10-01T00:00:00Z", true),
    ] {
        let register = register();
        complete(&register, BIRMINGHAM, 1, MORNING, (1, 0));
        complete(&register, HARTLEPOOL, 7, latest, (1, 0));
        let found = look(&register, MORNING).overdue;
        assert_eq!(found.len(), usize::from(overdue), "{latest}");
        if let Some(notice) = found.first() {
            assert_eq!(notice.authority, code(HARTLEPOOL));
            let Content::UploadOverdue(told) = &notice.content else { panic!("{notice:?}") };
            let due = moment(latest) + SignedDuration::from_hours(24);
            assert_eq!((told.latest_sequence, told.latest_at, told.due), (Some(7), Some(moment(latest)), due));
        }
        assert_eq!(notices(&register), found, "what was found is owed");
    }
}

/// R87, R91
#[test]
fn r91_a_gap_is_told_once_and_the_next_gap_again() {
    let register = register();
    complete(&register, BIRMINGHAM, 1, "2026-12-30T00:00:00Z", (1, 0));
    complete(&register, HARTLEPOOL, 7, "2026-11-20T00:00:00Z", (1, 0));
    let days = [MORNING, "2026-11-23T06:15:00Z", "2026-11-24T06:15:00Z"];
    let ids: Vec<_> = days.map(|day| look(&register, day).overdue[0].id).to_vec();
    assert_eq!(ids, [ids[0]; 3], "found again, it is the same");
    assert_eq!(notices(&register).len(), 3, "it is owed each time");
    assert_eq!(deliver_all(&register), 1, "and told once");
    // A file that was begun and broke off ends no gap.
    let begun = UploadSummary {
        sequence: 8,
        created: moment(MORNING),
        received: moment("2026-11-24T06:00:00Z"),
        code: None,
        records: 1,
        loaded: None,
        unmatched: None,
        completed: None,
        digest: "d".into(),
    };
    run(register.begin(&code(HARTLEPOOL), &begun)).expect("begun");
    assert_eq!(look(&register, "2026-11-24T06:15:00Z").overdue[0].id, ids[0]);
    complete(&register, HARTLEPOOL, 9, "2026-11-24T08:00:00Z", (1, 0));
    assert_eq!(look(&register, "2026-11-25T06:15:00Z").overdue.len(), 0);
    let next = look(&register, "2026-11-26T06:15:00Z").overdue.remove(0);
    assert_ne!(next.id, ids[0]);
    assert_eq!(deliver_all(&register), 1);
}

/// R91
#[test]
fn r91_who_never_uploaded_is_told_so_and_who_is_closed_is_not() {
    let register = register();
    register.put_authority(Authority {
        code: code(BIRMINGHAM),
        name: "Birmingham".into(),
        region: "Any".into(),
        status: Status::Closed,
        ways_out: WaysOut::default(),
    });
    let found = look(&register, MORNING);
    let [notice] = &found.overdue[..] else { panic!("{found:?}") };
    assert_eq!((found.authorities, &notice.authority), (1, &code(HARTLEPOOL)));
    let Content::UploadOverdue(told) = &notice.content else { panic!("{notice:?}") };
    assert_eq!((told.latest_sequence, told.latest_at), (None, None));
    assert_eq!(look(&register, "2026-11-25T06:15:00Z").overdue[0].id, notice.id);
}

/// R92
#[test]
fn r92_a_day_s_match_rate_is_low_below_95_of_a_hundred_of_20_records_or_more() {
    for (files, low) in [
        (&[("2026-11-21T09:00:00Z", (1_000, 50))][..], None),
        (&[("2026-11-21T09:00:00Z", (1_000, 51))], Some((1_000, 949))),
        (&[("2026-11-21T09:00:00Z", (20, 1))], None),
        (&[("2026-11-21T09:00:00Z", (20, 2))], Some((20, 18))),
        (&[("2026-11-21T09:00:00Z", (19, 19))], None),
        // Files of a day count together; those of the days around it do not.
        (&[("2026-11-21T00:00:00Z", (10, 1)), ("2026-11-21T23:59:59Z", (10, 1))], Some((20, 18))),
        (&[("2026-11-20T23:59:59Z", (100, 99)), ("2026-11-22T00:00:00Z", (100, 99))], None),
        (&[("2026-11-20T23:59:59Z", (100, 99)), ("2026-11-21T12:00:00Z", (100, 5))], None),
    ] {
        let register = register();
        for (sequence, (at, records)) in (1..).zip(files) {
            complete(&register, HARTLEPOOL, sequence, at, *records);
        }
        let found = look(&register, MORNING).match_rate_low;
        let told = found.first().map(|notice| match &notice.content {
            Content::MatchRateLow(told) => {
                assert_eq!((told.day, told.required_percent), (date(2026, 11, 21), 95));
                (told.records, told.matched)
            }
            other => panic!("{other:?}"),
        });
        assert_eq!(told, low, "{files:?}");
        let again = look(&register, "2026-11-22T20:00:00Z").match_rate_low;
        assert_eq!(again.first().map(|n| n.id), found.first().map(|n| n.id), "the same day, the same notice");
    }
}

/// R92: the day is that of the calendar in England, an hour ahead in summer.
#[test]
fn r92_the_day_is_englands() {
    let register = register();
    complete(&register, HARTLEPOOL, 1, "2026-07-01T23:30:00Z", (100, 50));
    assert_eq!(look(&register, "2026-07-02T06:15:00Z").match_rate_low.len(), 0, "it was the 2nd there");
    assert_eq!(look(&register, "2026-07-03T06:15:00Z").match_rate_low.len(), 1);
}

/// R91: however many files there are, the reading ends where none can count, and misses none that does.
#[test]
fn r91_r92_the_latest_file_is_found_among_many() {
    let register = register();
    complete(&register, BIRMINGHAM, 1, MORNING, (1, 0));
    for sequence in 1..=250 {
        complete(&register, HARTLEPOOL, sequence, "2026-11-01T00:00:00Z", (100, 100));
    }
    assert_eq!(look(&register, MORNING).overdue.len(), 1);
    // A file whose sequence is low, but that was completed last, within the pages that are read.
    complete(&register, HARTLEPOOL, 400, "2026-11-21T12:00:00Z", (100, 0));
    let found = look(&register, MORNING);
    assert_eq!((found.overdue.len(), found.match_rate_low.len()), (0, 0));
}

fn plan(authority: &str, kind: PlanType, start: jiff::civil::Date) -> Plan {
    Plan {
        nhs_number: number(0),
        authority: code(authority),
        authority_name: format!("Council {authority}"),
        plan_type: kind,
        local_id: Some(format!("C-{authority}")),
        family_name: "Sample".into(),
        given_names: vec!["Robin".into()],
        birth_date: date(2015, 6, 1),
        start,
        end: None,
        deleted: None,
        contact: Contact { emergency_duty_team_phone: "020 7946 0001".into(), office_hours_phone: None },
        contact_sequence: 1,
        sequence: 1,
        known: true,
        updated: Timestamp::UNIX_EPOCH,
    }
}

fn hold(register: &Register, plan: &Plan) {
    run(register.write_plan(&secret().key_of(&plan.nhs_number), plan, Guard::NothingNewer)).expect("written");
}

/// R93
#[test]
fn r93_the_authority_with_the_older_plan_is_told_that_it_moved() {
    let (older, later) = (date(2024, 1, 1), date(2026, 3, 1));
    let cpp = PlanType::ChildProtection;
    let ended = |plan: Plan| Plan { end: Some(date(2026, 11, 21)), ..plan };
    for (plans, told) in [
        (vec![plan(HARTLEPOOL, cpp, older), plan(BIRMINGHAM, cpp, later)], Some(HARTLEPOOL)),
        (vec![plan(HARTLEPOOL, cpp, later), plan(BIRMINGHAM, cpp, older)], Some(BIRMINGHAM)),
        (vec![plan(HARTLEPOOL, cpp, older), plan(BIRMINGHAM, cpp, older)], None),
        (vec![plan(HARTLEPOOL, cpp, older), plan(BIRMINGHAM, PlanType::LookedAfter, later)], None),
        (vec![ended(plan(HARTLEPOOL, cpp, older)), plan(BIRMINGHAM, cpp, later)], None),
        (vec![plan(HARTLEPOOL, cpp, older), ended(plan(BIRMINGHAM, cpp, later))], None),
        (vec![plan(HARTLEPOOL, cpp, older), Plan { known: false, ..plan(BIRMINGHAM, cpp, later) }], None),
        (vec![plan(HARTLEPOOL, cpp, older), Plan { deleted: Some(later), ..plan(BIRMINGHAM, cpp, later) }], None),
        // Of somebody who has turned 18 nothing is held any more.
        (
            [(HARTLEPOOL, older), (BIRMINGHAM, later)]
                .map(|(la, start)| Plan { birth_date: date(2008, 11, 22), ..plan(la, cpp, start) })
                .to_vec(),
            None,
        ),
    ] {
        let register = register();
        plans.iter().for_each(|plan| hold(&register, plan));
        let found = look(&register, MORNING).moved;
        assert_eq!(found.first().map(|n| n.authority.as_str()), told, "{plans:?}");
        assert!(found.len() <= 1);
        if let Some(notice) = found.first() {
            let Content::PlanMoved(moved) = &notice.content else { panic!("{notice:?}") };
            assert_eq!((moved.other_start, moved.local_ids.len()), (later, 1));
            assert_ne!(moved.other_authority, notice.authority);
            assert_eq!(
                look(&register, "2026-11-29T06:15:00Z").moved[0].id,
                notice.id,
                "the same pair, the same notice"
            );
        }
    }
}

/// R93: plans of one child under two children's numbers, and many of one authority, tell nobody.
#[test]
fn r93_of_many_plans_those_that_two_authorities_hold_are_found() {
    let register = register();
    let valid =
        (999_000_000_u32..).filter_map(|nine| check_digit(&nine.to_string()).map(|digit| format!("{nine}{digit}")));
    for (child, digits) in valid.take(2_500).enumerate() {
        let nhs_number = NhsNumber::parse(&digits).expect("valid");
        let of = |la, start| Plan { nhs_number: nhs_number.clone(), ..plan(la, PlanType::Unborn, start) };
        hold(&register, &of(HARTLEPOOL, date(2024, 1, 1)));
        if child % 1_000 == 7 {
            hold(&register, &of(BIRMINGHAM, date(2025, 1, 1)));
        }
    }
    let mut found: Vec<_> = look(&register, MORNING)
        .moved
        .into_iter()
        .map(|notice| match notice.content {
            Content::PlanMoved(moved) => moved.nhs_number,
            other => panic!("{other:?}"),
        })
        .collect();
    found.sort();
    assert_eq!(found, [7, 1_007, 2_007].map(number));
}

/// A register of which one authority's uploads and plans cannot be read.
struct Broken<'a>(&'a Register);

fn broken<T>(authority: &AuthorityCode) -> Option<PortResult<T>> {
    let error = || PortError { step: "table.query", cause: "Broken".into(), retryable: true };
    (authority.as_str() == BIRMINGHAM).then(|| Err(error()))
}

impl crate::ports::AuthorityList for Broken<'_> {
    async fn authorities(&self) -> PortResult<Vec<PortResult<Authority>>> {
        self.0.authorities().await
    }
}

impl crate::ports::UploadReader for Broken<'_> {
    async fn uploads(
        &self,
        authority: &AuthorityCode,
        page: &PageRequest,
    ) -> PortResult<crate::ports::Page<UploadSummary>> {
        match broken(authority) {
            Some(error) => error,
            None => self.0.uploads(authority, page).await,
        }
    }

    async fn upload(&self, authority: &AuthorityCode, sequence: u64) -> PortResult<Option<crate::ports::Standing>> {
        self.0.upload(authority, sequence).await
    }
}

impl crate::ports::PlanRegister for Broken<'_> {
    async fn plans_held(
        &self,
        authority: &AuthorityCode,
        page: &PageRequest,
    ) -> PortResult<crate::ports::Page<(ChildKey, Plan)>> {
        match broken(authority) {
            Some(error) => error,
            None => self.0.plans_held(authority, page).await,
        }
    }
}

impl PlanReader for Broken<'_> {
    async fn plans_of(&self, child: &ChildKey) -> PortResult<Vec<Plan>> {
        self.0.plans_of(child).await
    }
}

impl NoticeOutbox for Broken<'_> {
    async fn owe(&self, notices: &[Notification]) -> PortResult<()> {
        self.0.owe(notices).await
    }
}

impl crate::ports::LookLog for Broken<'_> {
    async fn note_look(&self, at: Timestamp) -> PortResult<()> {
        self.0.note_look(at).await
    }

    async fn last_look(&self) -> PortResult<Option<Timestamp>> {
        self.0.last_look().await
    }
}

/// R95
#[test]
fn r95_a_look_counts_that_left_nothing_undone() {
    use crate::ports::LookLog;
    let register = register();
    run(daily_notices(&Broken(&register), moment(MORNING))).expect("a look");
    assert_eq!(run(register.last_look()), Ok(None));
    look(&register, MORNING);
    assert_eq!(run(register.last_look()), Ok(Some(moment(MORNING))));
}

/// R87
#[test]
fn r87_one_authoritys_failure_hurts_no_other() {
    let register = register();
    let found = run(daily_notices(&Broken(&register), moment(MORNING))).expect("a look");
    assert_eq!(found.overdue.iter().map(|n| n.authority.as_str()).collect::<Vec<_>>(), [HARTLEPOOL]);
    let failed: Vec<_> = found.failed.iter().map(|(code, _)| code.as_ref().map(AuthorityCode::as_str)).collect();
    assert_eq!(failed, [Some(BIRMINGHAM); 2], "its uploads and its plans");
}

/// Handles a change of the first child's number.
fn change(register: &Register, queue: &Queue, body: &str, attempts: u32) -> number_changes::Outcome {
    let sent_at = Some(moment("2026-11-22T11:00:00Z"));
    let message = Message { receipt: "r", body, attempts, sent_at, trace: Some("Root=1"), attributes: vec![] };
    run(number_changed(register, queue, &secret(), &clock(), &message, 60))
}

fn body(more: &serde_json::Value) -> String {
    let mut body = serde_json::json!({"nhsNumber": number(0).digits(), "change": "superseded"});
    let fields = body.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    body.to_string()
}

/// R88
#[test]
fn r88_each_authority_that_holds_a_plan_is_told_once_with_the_new_number() {
    let (register, queue) = (register(), Queue::default());
    let start = date(2024, 1, 1);
    hold(&register, &plan(HARTLEPOOL, PlanType::ChildProtection, start));
    hold(&register, &plan(HARTLEPOOL, PlanType::LookedAfter, start));
    hold(&register, &plan(BIRMINGHAM, PlanType::LookedAfter, start));
    let body = body(&serde_json::json!({"newNumber": number(1).digits(), "adopted": false}));
    for _ in 0..2 {
        assert_eq!(change(&register, &queue, &body, 1), number_changes::Outcome::Owed(2));
    }
    let owed = notices(&register);
    assert_eq!(owed.iter().map(|n| n.authority.as_str()).collect::<Vec<_>>(), [HARTLEPOOL, BIRMINGHAM]);
    for notice in &owed {
        let Content::NumberChanged(told) = &notice.content else { panic!("{notice:?}") };
        assert_eq!((&told.nhs_number, told.change), (&number(0), NumberChange::Superseded));
        assert_eq!(told.new_number, Some(number(1)));
        assert_eq!(told.local_ids, [format!("C-{}", notice.authority)]);
    }
    assert_eq!(deliver_all(&register), 2);
    // Told again a day later, by another message, and even under another id of its sender's.
    let again = body.replace('}', r#","id":"0d1f7c1e-51c4-4d38-9f0b-27f9d7a4a001"}"#);
    let sent_at = Some(moment("2026-11-23T11:00:00Z"));
    let message = Message { receipt: "r", body: &again, attempts: 1, sent_at, trace: None, attributes: vec![] };
    run(number_changed(&register, &queue, &secret(), &clock(), &message, 60));
    assert_eq!((notices(&register).len(), deliver_all(&register)), (2, 0));
    // Another change is another notice.
    change(&register, &queue, &body.replace("superseded", "inactive"), 1);
    assert_eq!(deliver_all(&register), 2);
}

/// R88
#[test]
fn r88_who_holds_nothing_any_more_is_not_told() {
    let held = plan(HARTLEPOOL, PlanType::ChildProtection, date(2024, 1, 1));
    for (plan, told) in [
        (held.clone(), 1),
        (Plan { end: Some(date(2025, 11, 22)), ..held.clone() }, 1),
        (Plan { end: Some(date(2025, 11, 21)), ..held.clone() }, 0),
        (Plan { deleted: Some(date(2026, 1, 1)), ..held.clone() }, 0),
        (Plan { known: false, ..held.clone() }, 0),
        (Plan { birth_date: date(2008, 11, 23), ..held.clone() }, 1),
        (Plan { birth_date: date(2008, 11, 22), ..held.clone() }, 0),
        (Plan { nhs_number: number(5), ..held }, 0),
    ] {
        let register = register();
        hold(&register, &plan);
        let outcome = change(&register, &Queue::default(), &body(&serde_json::json!({})), 1);
        assert_eq!(outcome, number_changes::Outcome::Owed(told), "{plan:?}");
        assert_eq!(notices(&register).len(), told);
    }
}

/// R88: neither outbox, queue nor mailbox ever holds the new number, and the id does not depend on it either.
#[test]
fn r88_after_an_adoption_nothing_holds_the_new_number() {
    let mut ids = Vec::new();
    for new in [number(1), number(2)] {
        let (register, queue) = (register(), Queue::default());
        hold(&register, &plan(HARTLEPOOL, PlanType::LookedAfter, date(2024, 1, 1)));
        let more = serde_json::json!({"newNumber": new.digits(), "adopted": true});
        assert_eq!(change(&register, &queue, &body(&more), 1), number_changes::Outcome::Owed(1));
        let owed = notices(&register);
        assert!(!serde_json::to_string(&owed).expect("JSON").contains(new.digits()));
        ids.push(owed[0].id);
        deliver_all(&register);
        let page = PageRequest { limit: 10, after: None };
        let held = run(register.notifications(&code(HARTLEPOOL), None, &page)).expect("a page").items;
        let [Ok(held)] = &held[..] else { panic!("{held:?}") };
        assert!(!serde_json::to_string(held).expect("JSON").contains(new.digits()));
        // Nor does the dead-letter queue, where the change can only be set aside.
        let failing = Failing;
        let message = Message {
            receipt: "r",
            body: &body(&more),
            attempts: MAX_ATTEMPTS,
            sent_at: None,
            trace: None,
            attributes: vec![],
        };
        run(number_changed(&failing, &queue, &secret(), &clock(), &message, 60));
        let told = queue.told();
        let [Sent::SetAside(kept, why)] = &told[..] else { panic!("{told:?}") };
        assert_eq!(why.reason, "step-failed");
        assert!(kept.contains(number(0).digits()) && !kept.contains(new.digits()), "{kept}");
        assert!(
            serde_json::from_str::<crate::domain::number_change::NumberChangeTold>(kept).is_ok(),
            "it can be sent back"
        );
    }
    assert_eq!(ids[0], ids[1]);
}

/// A register that does not answer.
struct Failing;

impl PlanReader for Failing {
    async fn plans_of(&self, _: &ChildKey) -> PortResult<Vec<Plan>> {
        Err(PortError { step: "plans.query", cause: "Broken".into(), retryable: true })
    }
}

impl NoticeOutbox for Failing {
    async fn owe(&self, _: &[Notification]) -> PortResult<()> {
        panic!("nothing is known to owe");
    }
}

/// R70, R88
#[test]
fn r70_what_tells_of_no_change_is_set_aside_at_once_and_what_fails_is_tried_again() {
    let register = register();
    let good = body(&serde_json::json!({}));
    for bad in [
        "not a change".to_owned(),
        "{}".to_owned(),
        good.replace("superseded", "lost"),
        good.replace(number(0).digits(), "9990000019"),
        body(&serde_json::json!({"newNumber": number(0).digits()})),
        body(&serde_json::json!({"newNumber": "9990000019"})),
        // Whether the child was adopted must be said where there is a new number.
        body(&serde_json::json!({"newNumber": number(1).digits()})),
        // What could mean an adoption, and is not understood, must not pass for none.
        body(&serde_json::json!({"newNumber": number(1).digits(), "adoption": true})),
        body(&serde_json::json!({"newNumber": number(1).digits(), "adopted": "yes"})),
        body(&serde_json::json!({"newNumber": number(1).digits(), "adopted": null})),
    ] {
        let queue = Queue::default();
        let outcome = change(&register, &queue, &bad, 1);
        assert_eq!(outcome, number_changes::Outcome::SetAside(number_changes::Failure::Unreadable), "{bad}");
        let told = queue.told();
        let [Sent::SetAside(kept, why)] = &told[..] else { panic!("{told:?}") };
        assert_eq!((why.reason.as_str(), why.trace.as_deref()), ("unreadable", Some("Root=1")));
        // The dead letter holds no new number either: what could not be read may be of an adopted child.
        assert!(!kept.contains(number(1).digits()) && !kept.contains("newNumber"), "{kept}");
        let fields = |text: &str| serde_json::from_str::<serde_json::Map<_, _>>(text).ok();
        let expected = fields(&bad).map(|mut all: serde_json::Map<String, serde_json::Value>| {
            all.remove("newNumber");
            all
        });
        assert_eq!(fields(kept), expected);
        assert!(expected.is_some() || *kept == bad, "{kept}");
    }
    assert_eq!(notices(&register), []);
    let queue = Queue::default();
    for attempts in 1..=4 {
        let message = Message { receipt: "r", body: &good, attempts, sent_at: None, trace: None, attributes: vec![] };
        let outcome = run(number_changed(&Failing, &queue, &secret(), &clock(), &message, 60));
        assert!(matches!(outcome, number_changes::Outcome::Retry(_)), "{outcome:?}");
    }
    let waits: Vec<_> =
        queue.told().into_iter().map(|sent| if let Sent::Postponed(_, s) = sent { s } else { 0 }).collect();
    assert_eq!(waits, [60, 120, 240, 480]);
}
