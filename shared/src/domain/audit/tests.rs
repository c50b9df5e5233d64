use proptest::prelude::*;

use super::*;
use crate::domain::nhs_number::{ChildKeySecret, NhsNumber};

fn child() -> ChildKey {
    let number = NhsNumber::parse("9990000018").expect("valid");
    ChildKeySecret::new(&[1; 32]).expect("long enough").key_of(&number)
}

fn entry(id: u128) -> Entry {
    let actor = Actor { kind: ActorKind::Person, id: "555000000001".into(), name: "Alex Example".into() };
    let at = Timestamp::from_millisecond(1_790_000_000_123).expect("in range");
    Entry::new(Uuid::from_u128(id), at, kind::LOOK_UP, actor, "ZX001")
        .with("organisationName", "Sample Hospital é")
        .with("interaction", "CareTeam")
        .with("nothing", "")
}

/// The hash was computed by another program, from what `encoding.rs` says alone.
#[test]
fn r46_the_hash_is_that_of_the_documented_encoding() {
    let mut entry = entry(0x0d1f_7c1e_51c4_4d38_9f0b_27f9_d7a4_a018);
    entry.subject = serde_json::from_value("c".repeat(43).into()).expect("a key");
    let mut head = Head { shard: entry.shard(), number: 6, hash: Hash([0xab; 32]) };
    let chained = head.chain(entry);
    assert_eq!((chained.shard.to_string().as_str(), chained.number), ("08", 7));
    assert_eq!(chained.hash.to_string(), "507073ec71ac9b84d8cdf212c6015ed25956e60151c01a67c31f005736727f1e");
    assert!(chained.is_intact());
}

#[test]
fn r46_entries_are_chained_without_a_gap() {
    let mut head = Head::empty(Shard::try_from("0f".to_owned()).expect("a shard"));
    let chained: Vec<_> = (0..5).map(|n| head.chain(entry(n))).collect();
    assert_eq!(chained[0].previous, Hash::NONE);
    for (before, after) in chained.iter().zip(&chained[1..]) {
        assert_eq!((after.number, after.previous), (before.number + 1, before.hash));
    }
    assert_eq!((head.number, head.hash), (5, chained[4].hash));
}

type Change = fn(&mut Chained);

/// Every part of an entry and of its place is hashed.
#[test]
fn r46_a_change_of_any_part_shows() {
    let mut head = Head::empty(Shard(3));
    head.chain(entry(1));
    let whole = head.chain(entry(2).about(&child()));
    let changes: [(&str, Change); 15] = [
        ("shard", |e| e.shard = Shard(4)),
        ("number", |e| e.number += 1),
        ("previous", |e| e.previous = Hash::NONE),
        ("hash", |e| e.hash = Hash::NONE),
        ("id", |e| e.entry.id = Uuid::nil()),
        ("at", |e| e.entry.at += jiff::SignedDuration::from_millis(1)),
        ("kind", |e| e.entry.kind = kind::UPLOAD.into()),
        ("actor's kind", |e| e.entry.actor.kind = ActorKind::Device),
        ("actor's id", |e| e.entry.actor.id.push('0')),
        ("actor's name", |e| e.entry.actor.name.clear()),
        ("organisation", |e| e.entry.organisation.clear()),
        ("subject", |e| e.entry.subject = None),
        ("a detail's value", |e| drop(e.entry.details.insert("interaction".into(), "Flag".into()))),
        ("a detail less", |e| drop(e.entry.details.remove("interaction"))),
        ("text moved between fields", |e| {
            e.entry.actor.id.push('A');
            e.entry.actor.name.remove(0);
        }),
    ];
    for (what, change) in changes {
        let mut changed = whole.clone();
        change(&mut changed);
        assert!(!changed.is_intact(), "{what}");
    }
    assert!(whole.is_intact());
}

#[test]
fn r45_the_entry_of_a_look_up_tells_all_but_the_number() {
    use crate::domain::{
        access::Owed,
        caller::{JobRole, Organisation, Person},
        policy::Presentation,
        setting::CareKind,
    };
    let access = Access {
        child: child(),
        id: Uuid::from_u128(5),
        at: "2026-11-22T12:00:00Z".parse().expect("valid"),
        requester: Requester::Person(Person {
            user: "555000000001".into(),
            role_profile: "555000000002".into(),
            name: "Alex Example".into(),
            job_role: JobRole { code: "R0670".into(), display: "Midwife".into() },
        }),
        organisation: Organisation { code: "ZX001".into(), name: "Sample Hospital".into() },
        interaction: Interaction::Flag,
        unscheduled: true,
        disclosed: vec!["CPP#E06000001".into(), "LAC#E06000002".into()],
        owed: vec![Owed {
            authority: AuthorityCode::parse("E06000001").expect("valid"),
            local_ids: vec!["C-1".into()],
            signals: std::collections::BTreeSet::new(),
        }],
        nhs_number: Some(NhsNumber::parse("9990000018").expect("valid")),
        trace_id: Uuid::nil(),
        care: vec![CareKind::EmergencyDepartment, CareKind::Maternity],
        region: Some("London".into()),
        presentation: Presentation::Full,
        refused: None,
    };
    let entry = Entry::from(&access);
    let json = serde_json::to_value(&entry).expect("JSON");
    assert_eq!(
        json,
        serde_json::json!({
            "id": "00000000-0000-0000-0000-000000000005", "at": "2026-11-22T12:00:00.000Z", "kind": "look-up",
            "actor": {"kind": "person", "id": "555000000001", "name": "Alex Example"},
            "organisation": "ZX001", "subject": child().as_str(),
            "details": {
                "organisationName": "Sample Hospital", "interaction": "Flag", "unscheduled": "true",
                "disclosed": "CPP#E06000001,LAC#E06000002", "notified": "E06000001",
                "traceId": "00000000-0000-0000-0000-000000000000",
                "roleProfile": "555000000002", "jobRole": "R0670", "jobRoleName": "Midwife",
                "care": "emergency-department,maternity", "region": "London",
            },
        })
    );
    let refused = Entry::from(&Access { refused: Some("no-consent".into()), ..access });
    assert_eq!(serde_json::to_value(refused).expect("JSON")["details"]["refused"], "no-consent", "R43");
    assert!(!json.to_string().contains("9990000018"));
}

proptest! {
    #[test]
    fn hashes_are_read_as_they_are_written(bytes in any::<[u8; 32]>(), at in 0_usize..64, other in "[^0-9a-f]") {
        let text = Hash(bytes).to_string();
        prop_assert_eq!(Hash::parse(&text), Some(Hash(bytes)));
        prop_assert_eq!(Hash::parse(&text[1..]), None);
        let mut wrong = text;
        wrong.replace_range(at..=at, &other);
        prop_assert_eq!(Hash::parse(&wrong), None);
    }

    #[test]
    fn every_id_has_a_shard(id in any::<u128>()) {
        let shard = entry(id).shard();
        prop_assert!(shard.index() < usize::from(SHARDS));
        prop_assert_eq!(Shard::try_from(shard.to_string()), Ok(shard));
    }
}
