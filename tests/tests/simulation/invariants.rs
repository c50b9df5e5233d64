//! What must be true, whatever goes wrong.

use std::collections::{BTreeMap, BTreeSet};

use cpis::domain::{authority::AuthorityCode, notification::notification_id};
use cpis_tests::world::{AUTHORITIES, outbox_key};
use serde_json::Value;

use super::{
    history::{Expected, Violation},
    world::World,
};

/// What must be true. Each deliberate bug is one that breaks one of these, and must be caught by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invariant {
    /// Each alerting access ends as exactly one notification for each owed authority; a silent one as none.
    ToldOnce,
    /// Nothing is disclosed that was not recorded.
    Recorded,
    /// An acknowledged upload is never un-seen, and never acknowledged in two ways.
    UploadsStay,
    /// What an authority acknowledged stays acknowledged.
    AcknowledgementsStay,
    /// Once faults stop the queues drain.
    Drains,
    /// Whoever asks is answered as documented, and once faults stop at once.
    Answered,
    /// Nothing panics. No bug counts as caught by a panic: it might be the simulation's own.
    Panics,
}

use Invariant::{AcknowledgementsStay, Drains, Recorded, ToldOnce, UploadsStay};

/// Judges an answer of any kind to a look-up, at the moment at which it leaves: it is on record.
pub(crate) fn on_any_answer(world: &World, trace: &str) {
    if records(world, trace).is_empty() {
        world.history().violated(Recorded, format!("{trace}: a look-up was answered and is not recorded (R21)"));
    }
}

/// Judges a history of accesses at the moment at which it leaves: each of them is on record, and so is that there is a plan, which
/// is why the history is shown.
pub(crate) fn on_history(world: &World, trace: &str, body: &str) {
    let bundle: Value = serde_json::from_str(body).expect("JSON");
    let entries = bundle["entry"].as_array().into_iter().flatten().map(|entry| &entry["resource"]);
    let listed: Vec<_> = entries.filter(|r| r["resourceType"] == "AuditEvent").map(|r| &r["id"]).collect();
    if !listed.is_empty() && recorded(world, trace).is_empty() {
        let what = format!("{trace}: a history was shown, and it is not recorded whose plans that discloses (R21)");
        world.history().violated(Recorded, what);
    }
    let accesses = world.tables.scan("accesses");
    for id in listed {
        if !accesses.iter().any(|access| access["id"]["S"] == *id) {
            world.history().violated(Recorded, format!("{trace}: the history has {id}, of which there is no record"));
        }
    }
}

/// Judges the plans in the answer to a look-up that began at a moment, at the moment at which it leaves.
pub(crate) fn on_plans(world: &World, trace: &str, began: u64, body: &str) {
    let shown: BTreeSet<&'static str> = AUTHORITIES.into_iter().filter(|code| body.contains(code)).collect();
    let recorded = recorded(world, trace);
    let now = world.elapsed();
    let mut history = world.history();
    let visit = history.visits.get_mut(trace).expect("a visit");
    visit.shown.extend(&shown);
    let child = visit.child;
    for code in AUTHORITIES {
        let is_shown = shown.contains(code);
        if is_shown && !recorded.contains(code) {
            history.violated(Recorded, format!("{trace}: the plan of {code} was disclosed and not recorded (R21)"));
        }
        match history.expected(code, child, began, now) {
            Expected::Shown if !is_shown => {
                let what = format!("{trace}: the acknowledged plan of child {child} from {code} was not shown");
                history.violated(UploadsStay, what);
            }
            Expected::NotShown if is_shown => {
                let what = format!("{trace}: child {child} has no plan from {code}, and one was shown");
                history.violated(UploadsStay, what);
            }
            _ => {}
        }
    }
}

/// Judges an entry of a mailbox's list of what is unread.
pub(crate) fn on_unread(world: &World, authority: &str, id: &str) {
    let mut history = world.history();
    if history.acknowledged.contains_key(&(authority.to_owned(), id.to_owned())) {
        history.violated(AcknowledgementsStay, format!("{authority} {id} was acknowledged and is unread again"));
    }
}

/// Judges the tables when all is quiet.
pub(crate) fn in_the_end(world: &World) {
    let found = [
        (ToldOnce, told_once(world)),
        (ToldOnce, told_of_what_was_shown(world)),
        (AcknowledgementsStay, stays_acknowledged(world)),
        (Drains, drained(world)),
    ];
    let found = found.into_iter().flat_map(|(of, found)| found.into_iter().map(move |what| Violation::new(of, what)));
    world.history().violations.extend(found);
}

/// The records of a look-up.
fn records(world: &World, trace: &str) -> Vec<Value> {
    let mut accesses = world.tables.scan("accesses");
    accesses.retain(|access| text(access, "traceId") == trace);
    accesses
}

/// Authorities whose plans the records of a look-up say were disclosed.
fn recorded(world: &World, trace: &str) -> BTreeSet<String> {
    let ours = records(world, trace).into_iter();
    let plans = ours.flat_map(|access| access["disclosed"]["L"].as_array().cloned().unwrap_or_default());
    plans.filter_map(|plan| Some(plan["S"].as_str()?.rsplit('#').next()?.to_owned())).collect()
}

/// By access: what is owed, against what is in the mailboxes.
fn told_once(world: &World) -> Vec<String> {
    let mut owed: BTreeMap<(String, String), u32> = BTreeMap::new();
    for access in world.tables.scan("accesses") {
        let id = text(&access, "id").parse().expect("an id");
        for to in access["owed"]["L"].as_array().into_iter().flatten() {
            let code = text(&to["M"], "authority");
            let authority = AuthorityCode::parse(code).expect("a code");
            owed.insert((code.to_owned(), notification_id(id, &authority).to_string()), 0);
        }
    }
    let mut found = Vec::new();
    for item in world.tables.scan("mailbox") {
        let key = (text(&item, "la").to_owned(), text(&item, "id").to_owned());
        match owed.get_mut(&key) {
            Some(count) => *count += 1,
            None => found.push(format!("{key:?} was told of an access that owes it nothing")),
        }
    }
    found.extend(
        owed.iter().filter(|(_, n)| **n != 1).map(|(key, n)| format!("{key:?} was told {n} times of an access")),
    );
    found
}

/// By look-up, however often it was tried: who was told, against what was shown.
fn told_of_what_was_shown(world: &World) -> Vec<String> {
    let mut told: BTreeMap<(String, String), u32> = BTreeMap::new();
    for item in world.tables.scan("mailbox") {
        *told.entry((text(&item, "traceId").to_owned(), text(&item, "la").to_owned())).or_default() += 1;
    }
    let mut found = Vec::new();
    for (trace, visit) in &world.history().visits {
        for code in AUTHORITIES {
            let times = told.get(&(trace.clone(), code.to_owned())).copied().unwrap_or(0);
            let right = match (visit.silent, visit.shown.contains(code)) {
                (true, _) => times == 0,
                (false, true) => times == 1,
                // Recorded, perhaps, and then the answer was lost.
                (false, false) => times <= 1,
            };
            if !right {
                let kind = if visit.silent { "a silent" } else { "an alerting" };
                found.push(format!("{trace}: {code} was told {times} times of {kind} look-up"));
            }
        }
    }
    found
}

fn stays_acknowledged(world: &World) -> Vec<String> {
    let mailbox = world.tables.scan("mailbox");
    let state = |code: &str, id: &str| {
        let item = mailbox.iter().find(|item| text(item, "la") == code && text(item, "id") == id)?;
        Some((text(item, "state").to_owned(), text(item, "acknowledgedAt").to_owned()))
    };
    let history = world.history();
    let wrong = history
        .acknowledged
        .iter()
        .filter(|((code, id), at)| state(code, id) != Some(("acknowledged".to_owned(), (*at).clone())));
    wrong.map(|((code, id), at)| format!("{code} {id}, acknowledged at {at}, is {:?}", state(code, id))).collect()
}

/// What is still on its way; nothing, once the system has drained.
pub(crate) fn drained(world: &World) -> Vec<String> {
    let outbox = world.tables.scan("outbox").into_iter().map(|entry| format!("still owed: {}", outbox_key(&entry)));
    let queues = world.queues();
    let queued = ["asn", "asn-dlq"].into_iter().flat_map(|queue| {
        let of = queues.messages(queue).map(move |m| format!("still in {queue}: message {}", m.id));
        of.collect::<Vec<_>>()
    });
    outbox.chain(queued).collect()
}

fn text<'v>(item: &'v Value, name: &str) -> &'v str {
    item[name]["S"].as_str().unwrap_or_default()
}
