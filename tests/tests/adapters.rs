//! One contract for every adapter: what the ports promise, run in memory and on DynamoDB.

#[path = "adapters/audit.rs"]
mod audit;
#[path = "adapters/limits.rs"]
mod limits;
#[path = "adapters/mailboxes.rs"]
mod mailboxes;
#[path = "adapters/pushes.rs"]
mod pushes;
#[path = "adapters/status.rs"]
mod status;

use std::collections::BTreeSet;

use cpis::{
    aws::{Dynamo, Tables, config},
    domain::{
        access::{Access, Interaction, Owed},
        audit_search::{AuditSearch, Reach, Span, Subject},
        authority::{Authority, AuthorityCode, Status},
        caller::{Device, JobRole, Organisation, Person, Requester},
        contact::Contact,
        entry::Entry,
        nhs_number::{ChildKey, ChildKeySecret, NhsNumber},
        notice::{MatchRateLow, NumberChange, NumberChanged, PlanMoved, UploadOverdue, notice},
        notification::{Content, Delivered, Notification, Owing},
        pilot::Pilot,
        plan::{Plan, PlanType},
        policy::Presentation,
        reading::Reading,
        record::{Detail, Problem},
        setting::{CareKind, Oversight, Setting},
        upload::{Acknowledgement, Rejected, UploadSummary},
        ways_out::WaysOut,
    },
    memory::{Register, Tallies},
    ports::{
        AccessHistory, AccessLog, AccessSearch, AuthorityList, ContactLog, Directory, Guard, Mailbox, MailboxReader,
        NoticeOutbox, Outbox, OutboxEntry, Page, PageRequest, PlanReader, PlanRegister, PlanWrite, PlanWriter,
        PortResult, SettingDirectory, Standing, UploadLog, UploadReader,
    },
};
use jiff::{Timestamp, civil::date};
use serde_json::json;
use uuid::Uuid;

trait Store:
    PlanReader
    + PlanWriter
    + PlanRegister
    + UploadLog
    + UploadReader
    + ContactLog
    + AccessLog
    + AccessHistory
    + AccessSearch
    + Outbox
    + NoticeOutbox
    + cpis::ports::LookLog
    + AuthorityList
    + Mailbox
    + MailboxReader
    + cpis::ports::AccessReader
    + cpis::ports::MailboxMarks
    + cpis::ports::MailboxWatch
    + cpis::ports::ReadingRules
    + cpis::ports::ReadingRulesWriter
    + cpis::ports::AuditLog
    + cpis::ports::AuditReader
    + cpis::ports::Statements
    + cpis::ports::Unaudited
    + cpis::ports::PushOutbox
    + cpis::ports::PushLog
    + cpis::ports::Circuits
    + Directory
    + SettingDirectory
{
}

impl Store for Register {}
impl Store for Dynamo {}

/// Puts into a store what no code of ours has written, and none can read.
trait Spoiler {
    /// An entry of the outbox, at a position.
    fn owe(&self, position: &str);

    /// A notification in a mailbox, in the place of the one that is there.
    fn spoil(&self, held: &Delivered);
}

impl Spoiler for Register {
    fn owe(&self, position: &str) {
        self.put_unreadable_owing(position);
    }

    fn spoil(&self, held: &Delivered) {
        Self::spoil(self, &held.notification.authority, held.notification.id);
    }
}

impl Spoiler for cpis_tests::dynamo::Dynamo {
    fn owe(&self, position: &str) {
        self.put("outbox", &json!({"mark": {"S": "owed"}, "at_child_id": {"S": position}, "child": {"N": "1"}}));
    }

    fn spoil(&self, held: &Delivered) {
        let Notification { authority, id, .. } = &held.notification;
        let key = json!({"la": {"S": authority.as_str()}, "id": {"S": id.to_string()}});
        let mut item = self.get("mailbox", &key).expect("delivered");
        item["deliveredAt"] = json!({"N": "1"});
        item["pushes"] = json!({"S": "nonsense"});
        self.put("mailbox", &item);
    }
}

fn open() -> Authority {
    Authority {
        code: la(0),
        name: "Hartlepool".into(),
        region: "North East".into(),
        status: Status::Open,
        ways_out: WaysOut::default(),
    }
}

/// A setting with everything that an entry can have.
fn hospital() -> Setting {
    Setting {
        code: "ZX001".into(),
        name: "Sample Hospital".into(),
        care: vec![CareKind::EmergencyDepartment, CareKind::Maternity],
        region: "North East".into(),
        authority: la(0),
        status: Status::Open,
        from: date(2020, 1, 1),
        until: Some(date(2030, 12, 31)),
        oversight: Some(Oversight::National),
    }
}

fn pilot(code: &str) -> Pilot {
    Pilot {
        code: code.into(),
        name: "Sample".into(),
        care: vec![CareKind::SexualHealth],
        organisations: vec!["ZX001".into(), "ZX002".into()],
        job_roles: vec!["R8001".into()],
        from: date(2026, 1, 1),
        until: date(2026, 12, 31),
    }
}

#[tokio::test]
async fn in_memory() {
    let register = Register::default();
    register.put_authority(open());
    register.put_setting(hospital());
    ["B-SECOND", "A-FIRST"].into_iter().for_each(|code| register.put_pilot(pilot(code)));
    contract(&register, &register).await;
    limits::contract(&Tallies::default()).await;
}

#[tokio::test]
async fn on_dynamodb() {
    let server = cpis_tests::dynamo::Dynamo::start().await;
    server.put("directory", &cpis_tests::world::authority(la(0).as_str(), "open"));
    for entry in [Entry::Setting(hospital()), Entry::Pilot(pilot("B-SECOND")), Entry::Pilot(pilot("A-FIRST"))] {
        let entry = serde_json::to_value(entry).expect("JSON");
        server.put("directory", &cpis_tests::dynamo::attribute(&entry)["M"]);
    }
    let dynamo = dynamodb(&server.url);
    contract(&dynamo, &server).await;
    limits::contract(&dynamo).await;
}

/// The register in the tables of a DynamoDB.
fn dynamodb(url: &str) -> Dynamo {
    let config = config::load(config::Patience::Long).into_builder();
    let credentials = aws_sdk_dynamodb::config::Credentials::new("test", "test", None, None, "test");
    let config = config
        .endpoint_url(url)
        .region(aws_sdk_dynamodb::config::Region::new("eu-west-2"))
        .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(credentials))
        .build();
    let tables = Tables {
        plans: "plans".into(),
        accesses: "accesses".into(),
        outbox: "outbox".into(),
        uploads: "uploads".into(),
        mailbox: "mailbox".into(),
        directory: "directory".into(),
        limits: "limits".into(),
        audit: "audit".into(),
    };
    Dynamo::new(&config, tables)
}

async fn contract(store: &impl Store, spoiler: &impl Spoiler) {
    plans_are_guarded(store).await;
    plans_are_listed_by_authority(store).await;
    contacts_only_go_forward(store).await;
    uploads_keep_their_first_answer(store).await;
    uploads_are_listed_newest_first(store).await;
    numbers_of_the_latest_upload_stand(store).await;
    accesses_are_recorded_once(store).await;
    accesses_are_read_newest_first(store).await;
    accesses_are_found_by_child_person_and_organisation(store).await;
    a_search_misses_nothing_while_accesses_are_made(store).await;
    a_search_passes_over_any_number_that_may_not_be_seen(store).await;
    the_outbox_holds_what_is_owed(store).await;
    an_unreadable_entry_says_since_when_it_is_owed(store, spoiler).await;
    notifications_are_delivered_once(store).await;
    an_access_is_read_back_by_itself(store).await;
    cursors_of_other_lists_are_refused(store).await;
    the_directory_knows_what_was_put_there(store).await;
    pushes::contract(store, spoiler).await;
    mailboxes::contract(store, spoiler).await;
    audit::contract(store).await;
}

fn la(n: u32) -> AuthorityCode {
    AuthorityCode::parse(&format!("E{:08}", 6_000_001 + n)).expect("valid")
}

fn number(n: usize) -> NhsNumber {
    NhsNumber::parse(&cpis_tests::world::nhs_number(n)).expect("valid")
}

fn child(n: usize) -> ChildKey {
    ChildKeySecret::new(&[3; 32]).expect("long enough").key_of(&number(n))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).expect("in range")
}

fn phones(emergency: &str) -> Contact {
    Contact { emergency_duty_team_phone: emergency.into(), office_hours_phone: Some("020 7946 0009".into()) }
}

fn plan(n: usize, authority: u32, sequence: u64, known: bool) -> Plan {
    Plan {
        nhs_number: number(n),
        authority: la(authority),
        authority_name: "Sample".into(),
        plan_type: PlanType::ChildProtection,
        local_id: Some(format!("C-{n}")),
        family_name: "Sample".into(),
        given_names: vec!["Robin".into(), "Lee".into()],
        birth_date: date(2015, 6, 1),
        start: date(2026, 1, 31),
        end: (!known).then(|| date(2026, 5, 1)),
        deleted: None,
        contact: phones("020 7946 0001"),
        contact_sequence: sequence,
        sequence,
        known,
        updated: at(0),
    }
}

/// Every entry of a list, read in pages of this size.
async fn all<T, F: Future<Output = PortResult<Page<T>>>>(limit: usize, read: impl Fn(PageRequest) -> F) -> Vec<T> {
    let mut request = PageRequest { limit, after: None };
    let mut found = Vec::new();
    loop {
        let page = read(request.clone()).await.expect("a page");
        assert!(page.items.len() <= limit);
        found.extend(page.items);
        request.after = page.next;
        if request.after.is_none() {
            return found;
        }
    }
}

async fn plans_are_guarded(store: &impl Store) {
    let key = child(1);
    let write = async |sequence, known, guard| {
        store.write_plan(&key, &plan(1, 1, sequence, known), guard).await.expect("an answer") == PlanWrite::Written
    };
    assert!(!write(5, false, Guard::StartedAndNothingNewer).await, "nothing is held");
    assert!(write(5, false, Guard::Absent).await);
    assert!(!write(5, false, Guard::Absent).await);
    assert!(!write(6, false, Guard::StartedAndNothingNewer).await, "no start has come");
    assert!(!write(6, true, Guard::StillAwaiting(4)).await);
    assert!(!write(4, true, Guard::NothingNewer).await, "something newer is held");
    assert!(write(5, true, Guard::StillAwaiting(5)).await);
    assert!(!write(5, true, Guard::StillAwaiting(5)).await, "it awaits no more");
    assert!(write(5, true, Guard::NothingNewer).await, "the same again");
    assert!(write(6, true, Guard::StartedAndNothingNewer).await);
    let refused = store.write_plan(&key, &plan(1, 1, 4, true), Guard::NothingNewer).await.expect("an answer");
    assert_eq!(refused, PlanWrite::Refused(Some(Box::new(plan(1, 1, 6, true)))), "what is held is told");
    let absent = store.write_plan(&child(2), &plan(2, 1, 1, false), Guard::StartedAndNothingNewer).await;
    assert_eq!(absent.expect("an answer"), PlanWrite::Refused(None));
    assert_eq!(store.plans_of(&key).await.expect("plans"), [plan(1, 1, 6, true)]);
    assert_eq!(store.plans_of(&child(2)).await.expect("plans"), []);
}

async fn plans_are_listed_by_authority(store: &impl Store) {
    for n in 100..123 {
        store.write_plan(&child(n), &plan(n, 2, 1, true), Guard::NothingNewer).await.expect("an answer");
    }
    let authority = la(2);
    let held = all(10, async |page| store.plans_held(&authority, &page).await).await;
    let mut found: Vec<_> = held.iter().map(|(key, plan)| (key.clone(), plan.nhs_number.clone())).collect();
    let mut expected: Vec<_> = (100..123).map(|n| (child(n), number(n))).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

async fn contacts_only_go_forward(store: &impl Store) {
    let key = child(200);
    store.write_plan(&key, &plan(200, 3, 5, true), Guard::NothingNewer).await.expect("an answer");
    let id = plan(200, 3, 5, true).id();
    for (sequence, phone, expected) in [(4, "old", "020 7946 0001"), (7, "new", "new"), (6, "older", "new")] {
        store.write_contact(&key, &id, &phones(phone), sequence).await.expect("an answer");
        let held = store.plans_of(&key).await.expect("plans").remove(0);
        assert_eq!(held.contact.emergency_duty_team_phone, expected);
    }
    store.write_contact(&child(201), &id, &phones("new"), 9).await.expect("an answer");
    assert_eq!(store.plans_of(&child(201)).await.expect("plans"), [], "no plan is made up");
}

fn upload(sequence: u64, digest: &str) -> UploadSummary {
    UploadSummary {
        sequence,
        created: at(1),
        received: at(2),
        code: None,
        records: 3,
        loaded: None,
        unmatched: None,
        completed: None,
        digest: digest.into(),
    }
}

/// A record that names nobody.
fn unmatched() -> Rejected {
    let problem = Problem::of_row(Detail::NhsNumberInvalid, "a number", "another", "trace it");
    Rejected::new(2, vec![problem]).expect("a problem")
}

async fn uploads_keep_their_first_answer(store: &impl Store) {
    let authority = la(4);
    let digest = "d1".to_owned();
    assert_eq!(store.upload(&authority, 1).await.expect("read"), None);
    assert_eq!(store.begin(&authority, &upload(1, "d1")).await.expect("begun"), Standing::Begun);
    let unfinished = Standing::Unfinished { digest: digest.clone() };
    assert_eq!(store.begin(&authority, &upload(1, "d2")).await.expect("held"), unfinished);
    // Larger than an item may be, and of a kind that hardly packs.
    let answer: Vec<u8> =
        (0_u64..120_000).flat_map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7).to_le_bytes()).collect();
    let acknowledgement = Acknowledgement::of(authority.clone(), 1, at(3), 3, vec![unmatched()]);
    assert_eq!(store.complete(&authority, &acknowledgement, &answer).await.expect("kept"), answer);
    assert_eq!(store.complete(&authority, &acknowledgement, b"another").await.expect("kept"), answer);
    let completed = Standing::Completed { digest, answer };
    assert_eq!(store.begin(&authority, &upload(1, "d1")).await.expect("held"), completed);
    assert_eq!(store.upload(&authority, 1).await.expect("read"), Some(completed));
    let listed = all(5, async |page| store.uploads(&authority, &page).await).await;
    let summaries: Vec<_> = listed.iter().map(|u| (u.code, u.loaded, u.unmatched, u.completed)).collect();
    assert_eq!(summaries, [(Some(acknowledgement.code), Some(2), Some(1), Some(at(3)))]);
    assert!(
        store.complete(&authority, &Acknowledgement { sequence: 9, ..acknowledgement }, b"x").await.is_err(),
        "never begun"
    );
}

async fn uploads_are_listed_newest_first(store: &impl Store) {
    let authority = la(5);
    for sequence in [2, 10, 9, 1, 100] {
        store.begin(&authority, &upload(sequence, "d")).await.expect("begun");
    }
    let listed = all(2, async |page| store.uploads(&authority, &page).await).await;
    assert_eq!(listed.iter().map(|u| u.sequence).collect::<Vec<_>>(), [100, 10, 9, 2, 1]);
}

async fn numbers_of_the_latest_upload_stand(store: &impl Store) {
    let authority = la(6);
    assert_eq!(store.contact(&authority).await.expect("read"), None);
    let mut standings = Vec::new();
    for (sequence, phone) in [(5, "a"), (4, "b"), (7, "a"), (9, "c"), (8, "d")] {
        let standing = store.advance_contact(&authority, &phones(phone), sequence).await.expect("kept");
        standings.push((standing.contact.emergency_duty_team_phone.clone(), standing.sequence, standing.spreads_due));
    }
    let expected = [("a", 5, 0), ("a", 5, 0), ("a", 7, 0), ("c", 9, 2), ("c", 9, 2)];
    assert_eq!(standings, expected.map(|(phone, sequence, due)| (phone.to_owned(), sequence, due)));
    let standing = store.contact(&authority).await.expect("read").expect("there");
    store.contact_spread(&authority, &standing).await.expect("noted");
    store.contact_spread(&authority, &standing).await.expect("an outdated note changes nothing");
    assert_eq!(store.contact(&authority).await.expect("read").expect("there").spreads_due, 1);
}

fn access(n: usize, id: u128, second: i64) -> Access {
    Access {
        child: child(n),
        id: Uuid::from_u128(id),
        at: at(second),
        requester: Requester::Device(Device {
            asid: "200000000001".into(),
            responsible: "Sam Sample".into(),
            ..Device::default()
        }),
        organisation: Organisation { code: "ZX001".into(), name: "Sample Hospital".into() },
        interaction: Interaction::CareTeam,
        unscheduled: true,
        disclosed: vec!["CPP#E06000001".into()],
        owed: vec![Owed { authority: la(7), local_ids: vec!["C-1".into()], signals: BTreeSet::new() }],
        nhs_number: Some(number(n)),
        trace_id: Uuid::from_u128(9),
        care: vec![CareKind::AmbulanceService],
        region: Some("North East".into()),
        presentation: Presentation::Full,
        refused: None,
    }
}

async fn accesses_are_recorded_once(store: &impl Store) {
    let first = access(300, 1, 10);
    assert_eq!(store.record(&first).await.expect("recorded"), None);
    let again = Access { at: at(11), disclosed: vec![], ..first.clone() };
    assert_eq!(store.record(&again).await.expect("held"), Some(first));
    // Tried at once, as a client does that hears nothing: it is recorded once, and every other try is told what is held.
    for owed in [vec![], access(304, 2, 10).owed] {
        let id = 2 + owed.len() as u128;
        let access = &Access { owed, ..access(304, id, 10) };
        let tries = (0..8).map(|_| async move { settled(store, access).await });
        let tries = futures_util::future::join_all(tries).await;
        assert_eq!(tries.iter().filter(|earlier| earlier.is_none()).count(), 1, "{tries:?}");
        assert!(tries.iter().flatten().all(|earlier| earlier == access));
        let key = child(304);
        let read = all(9, async |page| store.accesses_of(&key, &page).await).await;
        assert_eq!(read.iter().filter(|a| a.id == access.id).count(), 1);
    }
}

/// Records an access, again where that must be tried again: transactions that meet may ask for it.
async fn settled(store: &impl Store, access: &Access) -> Option<Access> {
    loop {
        match store.record(access).await {
            Ok(earlier) => return earlier,
            Err(error) => assert!(error.retryable, "{error}"),
        }
    }
}

async fn accesses_are_read_newest_first(store: &impl Store) {
    for id in 0..7_u32 {
        // Milliseconds matter, and a moment without any must not sort after one with.
        let moment = at(20) + jiff::SignedDuration::from_millis(i64::from(id) * 250);
        let access = Access { at: moment, owed: vec![], ..access(301, u128::from(id), 0) };
        store.record(&access).await.expect("recorded");
    }
    let key = child(301);
    let read = all(3, async |page| store.accesses_of(&key, &page).await).await;
    assert_eq!(read.iter().map(|a| a.id.as_u128()).collect::<Vec<_>>(), [6, 5, 4, 3, 2, 1, 0]);
}

fn person(user: &str) -> Requester {
    let job_role = JobRole { code: "R8001".into(), display: "Nurse Access Role".into() };
    Requester::Person(Person { user: user.into(), role_profile: "1".into(), name: "Alex Example".into(), job_role })
}

fn search(subject: Subject, own: &str, national: bool) -> AuditSearch {
    let span = Span::new(None, None).expect("all time");
    AuditSearch { subject, span, reach: Reach { own: own.into(), national } }
}

/// Ids of what a search finds, read in pages of this size.
async fn found(store: &impl Store, search: &AuditSearch, limit: usize) -> Vec<u128> {
    let read = all(limit, async |page| store.search(search, &page).await).await;
    read.iter().map(|access| access.id.as_u128()).collect()
}

/// R51, R52
async fn accesses_are_found_by_child_person_and_organisation(store: &impl Store) {
    // Two children, two people and two organisations, every moment twice: 16 accesses over eight milliseconds.
    let made = |n: u32| {
        let [first, second, third] = [1, 2, 4].map(|bit| n & bit > 0);
        let moment = at(2_000) + jiff::SignedDuration::from_millis(i64::from(n / 2));
        let organisation = Organisation { code: if second { "ZX51B" } else { "ZX51A" }.into(), name: "Any".into() };
        let requester = if third {
            person("555000000051")
        } else {
            let (asid, responsible) = ("200000000051".into(), "Sam Sample".into());
            Requester::Device(Device { asid, responsible, ..Device::default() })
        };
        let child = child(if first { 310 } else { 311 });
        let presentation = if n.is_multiple_of(5) { Presentation::Generic } else { Presentation::Full };
        let access = access(310, u128::from(5_100 + n), 0);
        Access { child, at: moment, requester, organisation, presentation, owed: vec![], ..access }
    };
    let accesses: Vec<_> = (0..16).map(made).collect();
    for access in &accesses {
        store.record(access).await.expect("recorded");
    }
    let subjects = [
        Subject::Child(child(310)),
        Subject::Person("555000000051".into()),
        Subject::Person("200000000051".into()),
        Subject::Organisation("ZX51A".into()),
        Subject::Organisation("ZX51C".into()),
    ];
    for subject in subjects {
        for (own, national) in [("ZX51A", false), ("ZX51B", false), ("ZX51C", false), ("ZX51C", true)] {
            for (from, to) in [(None, None), (Some(2), None), (None, Some(6)), (Some(2), Some(6)), (Some(90), None)] {
                let moment = |ms: i64| at(2_000) + jiff::SignedDuration::from_millis(ms);
                let span = Span::new(from.map(moment), to.map(moment)).expect("a span");
                let search = AuditSearch { span, ..search(subject.clone(), own, national) };
                let mut expected: Vec<_> = accesses.iter().filter(|access| search.finds(access)).collect();
                expected.sort_by_key(|access| std::cmp::Reverse(access.at));
                for limit in [3, 100] {
                    let read = all(limit, async |page| store.search(&search, &page).await).await;
                    let moments = |accesses: &[&Access]| accesses.iter().map(|a| a.at).collect::<Vec<_>>();
                    assert_eq!(moments(&read.iter().collect::<Vec<_>>()), moments(&expected), "{search:?} by {limit}");
                    let ids = |mut accesses: Vec<&Access>| {
                        accesses.sort_by_key(|access| access.id);
                        accesses.into_iter().cloned().collect::<Vec<_>>()
                    };
                    assert_eq!(ids(read.iter().collect()), ids(expected.clone()), "{search:?} by {limit}");
                }
            }
        }
    }
}

/// R32: what is recorded between two pages moves no other access from one page to the next.
async fn a_search_misses_nothing_while_accesses_are_made(store: &impl Store) {
    let make = |id: u128, second: i64| {
        let organisation = Organisation { code: "ZX52".into(), name: "Any".into() };
        Access { requester: person("555000000052"), organisation, owed: vec![], ..access(312, id, second) }
    };
    for id in 0..9 {
        store.record(&make(5_200 + id, 3_000 + i64::try_from(id).expect("small"))).await.expect("recorded");
    }
    for (n, subject) in
        [Subject::Child(child(312)), Subject::Person("555000000052".into()), Subject::Organisation("ZX52".into())]
            .into_iter()
            .enumerate()
    {
        let before: Vec<_> = found(store, &search(subject.clone(), "ZX52", false), 100).await;
        let search = search(subject, "ZX52", false);
        let later = std::sync::atomic::AtomicU32::new(0);
        let read = all(2, async |page| {
            let found = store.search(&search, &page).await;
            let one = later.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let id = 5_300 + 100 * u128::try_from(n).expect("small") + u128::from(one);
            store
                .record(&make(id, 3_100 + 100 * i64::try_from(n).expect("small") + i64::from(one)))
                .await
                .expect("recorded");
            found
        })
        .await;
        assert_eq!(read.iter().map(|a| a.id.as_u128()).collect::<Vec<_>>(), before, "{search:?}");
    }
}

/// More than DynamoDB reads in one call.
async fn a_search_passes_over_any_number_that_may_not_be_seen(store: &impl Store) {
    let make = |id: u32| {
        let code = if id.is_multiple_of(255) { "ZX53A" } else { "ZX53B" };
        let organisation = Organisation { code: code.into(), name: "Any".into() };
        let requester = person("555000000053");
        let access = access(313, 53_000 + u128::from(id), 4_000 + i64::from(id));
        Access { requester, organisation, owed: vec![], ..access }
    };
    for id in 0..1_030 {
        store.record(&make(id)).await.expect("recorded");
    }
    let own = search(Subject::Person("555000000053".into()), "ZX53A", false);
    for limit in [2, 5] {
        assert_eq!(found(store, &own, limit).await, [1_020, 765, 510, 255, 0].map(|id| 53_000 + id), "by {limit}");
    }
    let page = PageRequest { limit: 5, after: None };
    assert_eq!(store.search(&own, &page).await.expect("a page").items.len(), 5, "one page, though it takes two calls");
}

/// What an entry of the outbox says is owed, and since when it says so.
fn readable(entry: OutboxEntry) -> Owing {
    let owing = entry.owing.expect("readable");
    assert_eq!((Owing::since(&entry.position), &entry.position), (owing.at(), &owing.position()));
    owing
}

/// One that cannot be read stands in its place all the same, and hides no other.
async fn an_unreadable_entry_says_since_when_it_is_owed(store: &impl Store, spoiler: &impl Spoiler) {
    let others = [access(360, 1, 2_000), access(360, 2, 2_020)];
    for access in &others {
        store.record(access).await.expect("recorded");
    }
    let unreadable = Owing::Access(Box::new(access(360, 3, 2_010))).position();
    spoiler.owe(&unreadable);
    for limit in [1, 9] {
        let found = all(limit, async |page| store.owed_before(at(3_000), &page).await).await;
        let since: Vec<_> = found.iter().map(|entry| (Owing::since(&entry.position), entry.owing.is_ok())).collect();
        assert_eq!(since, [(at(2_000), true), (at(2_010), false), (at(2_020), true)], "by {limit}");
        let error = found[1].owing.clone().expect_err("unreadable");
        assert_eq!((&found[1].position, error.cause.as_str(), error.retryable), (&unreadable, "ItemUnreadable", false));
    }
    store.settle(&others.map(|access| Owing::Access(Box::new(access)))).await.expect("settled");
    let found = all(9, async |page| store.owed_before(at(3_000), &page).await).await;
    assert_eq!(
        found.into_iter().map(|entry| entry.position).collect::<Vec<_>>(),
        [unreadable],
        "nothing takes it away"
    );
}

async fn the_outbox_holds_what_is_owed(store: &impl Store) {
    let owed = async |limit, moment| {
        let found = all(limit, async |page| store.owed_before(moment, &page).await).await;
        found.into_iter().map(readable).collect::<Vec<_>>()
    };
    let everything = || owed(2, at(1_000));
    store.settle(&everything().await).await.expect("settled");
    for id in 0..5_u32 {
        store.record(&access(302, u128::from(id), 900 + i64::from(id))).await.expect("recorded");
    }
    store.record(&Access { owed: vec![], ..access(302, 99, 900) }).await.expect("recorded");
    let ids = |found: Vec<Owing>| found.iter().map(|owing| owing.notifications()[0].at).collect::<Vec<_>>();
    let seconds = |of: &[i64]| of.iter().map(|second| at(900 + second)).collect::<Vec<_>>();
    assert_eq!(ids(everything().await), seconds(&[0, 1, 2, 3, 4]));
    assert_eq!(ids(owed(9, at(902)).await), seconds(&[0, 1]));
    let entry = |id: u32| access(302, u128::from(id), 900 + i64::from(id));
    let owing = |access| Owing::Access(Box::new(access));
    for _ in 0..2 {
        store.settle(&[owing(entry(1)), owing(entry(3))]).await.expect("settled");
        assert_eq!(ids(everything().await), seconds(&[0, 2, 4]));
    }
    let never = Access { child: child(399), ..entry(0) };
    let both = [owing(entry(0)), owing(never)];
    store.settle(&both).await.expect("one that was never recorded hinders no other");
    assert_eq!(ids(everything().await), seconds(&[2, 4]));
    let unknown = child(399);
    assert_eq!(all(9, async |page| store.accesses_of(&unknown, &page).await).await, [], "no access is made up");
    notices_are_owed_beside_accesses(store, &everything().await).await;
    r95_when_notices_were_last_looked_for_is_remembered_beside(store, &everything().await).await;
}

async fn r95_when_notices_were_last_looked_for_is_remembered_beside(store: &impl Store, owed: &[Owing]) {
    assert_eq!(store.last_look().await, Ok(None));
    for second in [10, 20] {
        store.note_look(at(second)).await.expect("noted");
        assert_eq!(store.last_look().await, Ok(Some(at(second))));
    }
    let found = all(3, async |page| store.owed_before(at(1_000), &page).await).await;
    assert_eq!(found.into_iter().map(readable).collect::<Vec<_>>(), owed, "it is nothing owed");
}

/// One of each kind that is owed as it stands.
fn notices() -> [Notification; 4] {
    let told = |n: i64, content: Content| notice(&la(30), content.kind(), &n.to_string(), at(902 + n), content.clone());
    let changed = NumberChanged {
        nhs_number: number(400),
        local_ids: vec!["C-400".into()],
        change: NumberChange::Superseded,
        new_number: Some(number(401)),
    };
    let overdue = UploadOverdue { latest_sequence: Some(7), latest_at: Some(at(1)), due: at(2) };
    let low = MatchRateLow { day: date(2026, 5, 1), records: 20, matched: 18, required_percent: 95 };
    let moved = PlanMoved {
        nhs_number: number(402),
        local_ids: vec![],
        plan_type: PlanType::LookedAfter,
        other_authority: la(31),
        other_name: "Sample".into(),
        other_start: date(2026, 5, 1),
    };
    [
        told(0, Content::NumberChanged(changed)),
        told(1, Content::UploadOverdue(overdue)),
        told(2, Content::MatchRateLow(low)),
        told(3, Content::PlanMoved(moved)),
    ]
}

/// R87, R94: owed twice, a notice is one entry; it is read back as it was owed, in its place among accesses, and settled like them.
async fn notices_are_owed_beside_accesses(store: &impl Store, accesses: &[Owing]) {
    let everything = async || {
        let found = all(3, async |page| store.owed_before(at(1_000), &page).await).await;
        found.into_iter().map(readable).collect::<Vec<_>>()
    };
    let notices = notices();
    for _ in 0..2 {
        store.owe(&notices).await.expect("owed");
    }
    store.owe(&[]).await.expect("nothing is owed as well");
    let owing = notices.map(|notice| Owing::Notice(Box::new(notice)));
    let mut expected: Vec<_> = accesses.iter().chain(&owing).cloned().collect();
    expected.sort_by_key(Owing::position);
    assert_eq!(everything().await, expected);
    assert_ne!(expected.last(), accesses.last(), "they stand in order of time");
    for _ in 0..2 {
        store.settle(&[owing[1].clone(), accesses[0].clone()]).await.expect("settled");
        expected.retain(|entry| ![&owing[1], &accesses[0]].contains(&entry));
        assert_eq!(everything().await, expected);
    }
    store.settle(&expected).await.expect("settled");
    assert_eq!(everything().await, []);
}

fn delivered(authority: u32, n: u128, second: i64) -> Delivered {
    let owed = vec![Owed { authority: la(authority), local_ids: vec!["C-1".into()], signals: BTreeSet::new() }];
    let notification = Access { owed, ..access(303, n, second) }.notifications().remove(0);
    let delivered = Delivered::new(notification, at(second + 1), &WaysOut::default(), &Reading::default());
    Delivered { escalate_at: None, weigh_at: None, queued_at: Some(at(second)), ..delivered }
}

async fn notifications_are_delivered_once(store: &impl Store) {
    let first = delivered(8, 1, 30);
    assert!(store.deliver(&first).await.expect("delivered"));
    assert!(!store.deliver(&Delivered { delivered_at: at(99), ..first.clone() }).await.expect("held"));
    let authority = la(8);
    assert_eq!(all(9, async |page| store.notifications(&authority, None, &page).await).await, [Ok(first)]);
    let other = la(9);
    assert_eq!(all(9, async |page| store.notifications(&other, None, &page).await).await, []);
}

async fn an_access_is_read_back_by_itself(store: &impl Store) {
    let recorded = access(350, 1, 10);
    store.record(&recorded).await.expect("recorded");
    assert_eq!(store.access(&child(350), recorded.id).await.expect("read"), Some(recorded.clone()));
    assert_eq!(store.access(&child(351), recorded.id).await.expect("read"), None, "of another child");
    assert_eq!(store.access(&child(350), Uuid::max()).await.expect("read"), None);
}

/// R32
async fn cursors_of_other_lists_are_refused(store: &impl Store) {
    for cursor in ["", "x", "not a cursor", "YXx8fHx8fHx8YQ"] {
        let page = PageRequest { limit: 5, after: Some(cursor.to_owned()) };
        let bad = |result: PortResult<()>| result.expect_err("refused").is_bad_cursor();
        assert!(bad(store.plans_held(&la(2), &page).await.map(drop)), "{cursor}");
        assert!(bad(store.uploads(&la(5), &page).await.map(drop)), "{cursor}");
        assert!(bad(store.notifications(&la(10), None, &page).await.map(drop)), "{cursor}");
    }
}

async fn the_directory_knows_what_was_put_there(store: &impl Store) {
    assert_eq!(store.authority(&la(0)).await.expect("read").map(|a| a.status), Some(Status::Open));
    assert_eq!(store.authority(&la(99)).await.expect("read"), None);
    let listed = store.authorities().await.expect("read");
    let listed: Vec<_> = listed.into_iter().map(|entry| entry.expect("readable").code).collect();
    assert_eq!(listed, [la(0)], "authorities, and no setting or pilot");
    assert_eq!(store.setting("ZX001").await.expect("read"), Some(hospital()));
    for code in ["ZX002", "", "E06000001", "zx001", "ZX001 "] {
        assert_eq!(store.setting(code).await.expect("read"), None, "{code}");
    }
    let mut pilots = store.pilots().await.expect("read");
    pilots.sort_by(|a, b| a.code.cmp(&b.code));
    assert_eq!(pilots, [pilot("A-FIRST"), pilot("B-SECOND")]);
}
