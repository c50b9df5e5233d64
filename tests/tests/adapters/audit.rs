//! The audit log: gapless chains, each id once, whoever appends at the same time.

use std::collections::HashSet;

use cpis::{
    domain::audit::{
        Actor, Chained, Entry, Hash, Head, Shard, kind,
        statement::{Signed, Statement},
        verify::Verifier,
    },
    ports::PortResult,
};
use futures_util::future::try_join_all;
use uuid::Uuid;

use super::{Access, Store, access, all, at, child};

pub(super) async fn contract(store: &impl Store) {
    entries_are_chained_and_read_in_order(store).await;
    an_id_is_in_the_log_once(store).await;
    many_append_at_once(store).await;
    accesses_are_marked_until_they_are_in_the_log(store).await;
    statements_are_kept_once_and_in_order(store).await;
}

fn entry(n: u128) -> Entry {
    Entry::new(Uuid::from_u128(n), at(0), kind::FINDING, Actor::system("tests"), "ZX001").with("n", n).about(&child(1))
}

/// The whole log, found to be without a fault.
async fn log(store: &impl Store) -> Vec<Chained> {
    let mut log = Vec::new();
    for shard in Shard::all() {
        let mut behind = 0;
        loop {
            let found = store.entries(shard, behind, 7).await.expect("entries");
            let Some(last) = found.last() else { break };
            assert!(found.len() <= 7);
            behind = last.number;
            log.extend(found);
        }
    }
    let mut verifier = Verifier::new(store.heads().await.expect("heads"));
    log.iter().for_each(|e| verifier.push(Some(e.clone())));
    let verified = verifier.finish().expect("a sound log");
    assert_eq!(verified.heads, store.heads().await.expect("heads"));
    log
}

/// R46
async fn entries_are_chained_and_read_in_order(store: &impl Store) {
    assert_eq!(store.heads().await.expect("heads"), Shard::all().map(Head::empty).collect::<Vec<_>>());
    store.append(&[]).await.expect("nothing to append");
    // More of one chain than one transaction takes.
    let entries: Vec<_> = (0..100).map(|n| entry(n << 8 | 5)).chain((0..20).map(|n| entry(n << 8 | 6))).collect();
    store.append(&entries).await.expect("appended");
    let log = log(store).await;
    assert_eq!(log.iter().map(|e| e.entry.clone()).collect::<Vec<_>>(), entries);
    assert_eq!((log[0].number, log[0].previous, log[99].number, log[100].number), (1, Hash::NONE, 100, 1));
}

/// R45
async fn an_id_is_in_the_log_once(store: &impl Store) {
    let before = log(store).await;
    let again = [entry(3 << 8 | 5).with("other", "words"), entry(7 << 8 | 6)];
    store.append(&again).await.expect("left as they are");
    assert_eq!(log(store).await, before);
    let mixed = [entry(500 << 8 | 5), entry(2 << 8 | 5), entry(501 << 8 | 5), entry(500 << 8 | 5)];
    store.append(&mixed).await.expect("appended");
    let ids: Vec<_> = log(store).await.iter().map(|e| e.entry.id).filter(|id| id.as_u128() >> 8 >= 500).collect();
    assert_eq!(ids, [mixed[0].id, mixed[2].id]);
}

/// R45, R46: every entry comes from three appenders, in batches that overlap.
async fn many_append_at_once(store: &impl Store) {
    let before = log(store).await.len();
    let batch = |appender: u128| {
        let entries: Vec<_> = (0..12).map(|n| entry((1_000 + appender * 4 + n) << 8 | (n % 3))).collect();
        async move { store.append(&entries).await }
    };
    try_join_all((0..16).map(batch)).await.expect("all appended");
    let log = log(store).await;
    let ids: HashSet<_> = log.iter().map(|e| e.entry.id).collect();
    assert_eq!(ids.len(), log.len());
    let mut wanted = HashSet::new();
    (0..16_u128).for_each(|a| wanted.extend((0..12).map(|n| entry((1_000 + a * 4 + n) << 8 | (n % 3)).id)));
    assert_eq!(log.len(), before + wanted.len());
    assert!(wanted.is_subset(&ids));
}

/// R49
async fn accesses_are_marked_until_they_are_in_the_log(store: &impl Store) {
    let due = async |limit, moment| {
        let found = all(limit, async |page| store.unaudited_before(moment, &page).await).await;
        found.into_iter().collect::<PortResult<Vec<_>>>().expect("readable")
    };
    let before: Vec<_> = due(50, at(100_000)).await.iter().map(|a| (a.child.clone(), a.id)).collect();
    assert!(!before.is_empty(), "every access is marked");
    store.audited(&before).await.expect("cleared");
    for id in 0..5_u32 {
        // Those that owe nothing too.
        let access = Access { owed: vec![], ..access(601, u128::from(id), 2_000 + i64::from(id)) };
        store.record(&access).await.expect("recorded");
    }
    let ids = |found: Vec<Access>| found.iter().map(|a| a.id.as_u128()).collect::<Vec<_>>();
    assert_eq!(ids(due(2, at(100_000)).await), [0, 1, 2, 3, 4]);
    assert_eq!(ids(due(9, at(2_002)).await), [0, 1]);
    let key = |id| (child(601), Uuid::from_u128(id));
    for _ in 0..2 {
        store.audited(&[key(1), key(3), (child(699), Uuid::nil())]).await.expect("cleared");
        assert_eq!(ids(due(9, at(100_000)).await), [0, 2, 4]);
    }
    assert_eq!(store.record(&access(601, 1, 9_000)).await.expect("held").map(|a| a.at), Some(at(2_001)));
    assert_eq!(ids(due(9, at(100_000)).await), [0, 2, 4], "a retry marks nothing anew");
}

/// R47
async fn statements_are_kept_once_and_in_order(store: &impl Store) {
    let statement = |sequence, at, previous| Signed {
        statement: Statement { sequence, at, heads: Shard::all().map(Head::empty).collect(), previous },
        key: "key".into(),
        signature: format!("signature {sequence}"),
    };
    assert_eq!(store.latest_statement().await.expect("read"), None);
    let first = statement(1, at(1), Hash::NONE);
    assert!(!store.add_statement(&statement(2, at(1), Hash::NONE)).await.expect("an answer"), "there is no first");
    assert!(store.add_statement(&first).await.expect("an answer"));
    assert!(!store.add_statement(&statement(1, at(9), Hash::NONE)).await.expect("an answer"), "another was faster");
    assert_eq!(store.latest_statement().await.expect("read"), Some((first.clone(), false)));
    for _ in 0..2 {
        store.statement_archived(1).await.expect("noted");
        assert_eq!(store.latest_statement().await.expect("read"), Some((first.clone(), true)));
    }
    let second = statement(2, at(2), first.statement.hash());
    assert!(store.add_statement(&second).await.expect("an answer"));
    assert_eq!(store.latest_statement().await.expect("read"), Some((second, false)));
}
