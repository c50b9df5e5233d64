//! Who uses the system: authorities that upload, nurses who look up, clerks who read mailboxes, and the operator.

use std::{collections::BTreeMap, sync::atomic::Ordering, time::Duration};

use cpis_tests::{
    events::Request,
    world::{AUTHORITIES, authority, authority_caller, csv, look_up, nhs_number, nurse, row, upload},
};
use futures_util::future::join;
use serde_json::{Value, json};
use tokio::time::sleep;
use uuid::Uuid;

use super::{
    faults::Fault,
    functions::{Functions, Reply},
    history::{Change, Expected, Upload, Visit},
    invariants::{self, Invariant},
    wire::milliseconds,
    world::{CALM_FROM, Ended, World},
};

/// Children that there are.
pub(crate) const CHILDREN: usize = 2;
/// Files of each authority.
const FILES: u64 = 2;
/// Look-ups, their retries not counted.
const VISITS: usize = 5;
/// How often a nurse tries while things go wrong. Then she waits until they do not.
const PATIENCE: usize = 5;
/// People do what they do in this time, in milliseconds.
const BUSY: u64 = CALM_FROM - 120_000;

/// Writes the authorities' files.
pub(crate) fn write_files(world: &World) {
    for (number, authority) in AUTHORITIES.into_iter().enumerate() {
        for sequence in 1..=FILES {
            let mut changes = BTreeMap::new();
            for child in 0..CHILDREN {
                if world.chance(|rng| rng.permille(650)) {
                    let start = sequence == 1 || world.chance(|rng| rng.permille(600));
                    changes.insert(child, if start { Change::Start } else { Change::Withdrawal });
                }
            }
            // An empty file is none.
            changes.entry(0).or_insert(Change::Start);
            let phone = format!("0163296{:04}", number * 100 + usize::try_from(sequence).expect("few"));
            let (sent, acknowledged) = (None, None);
            let file = Upload { authority, sequence, phone, changes, sent, acknowledged };
            world.history().uploads.push(file);
        }
    }
}

fn event_of(file: &Upload) -> Value {
    let rows: Vec<String> = file
        .changes
        .iter()
        .map(|(child, change)| row(*child, "CPP", if *change == Change::Start { "," } else { ",2026-05-01" }))
        .collect();
    upload(file.authority, file.sequence, &file.phone, &csv(&rows)).event()
}

/// Sends a file until it is acknowledged.
pub(crate) async fn send_file(world: &World, functions: &Functions, place: usize) {
    let (event, name, first) = {
        let file = &world.history().uploads[place];
        (event_of(file), format!("{} file {}", file.authority, file.sequence), file.sequence == 1)
    };
    sleep(milliseconds(world.between(0, if first { 60_000 } else { BUSY }))).await;
    loop {
        world.note(|| format!("{name} is sent"));
        let now = world.elapsed();
        let calm = !world.weather().is_rough();
        world.history().uploads[place].sent.get_or_insert(now);
        let send = functions.upload(event.clone());
        let replies = if world.strikes(Fault::Impatience) {
            let (one, other) = join(send, functions.upload(event.clone())).await;
            vec![one, other]
        } else {
            vec![send.await]
        };
        for reply in &replies {
            acknowledged(world, place, &name, reply);
        }
        at_last(world, &name, calm, world.history().uploads[place].acknowledged.is_some());
        if world.history().uploads[place].acknowledged.is_some() && !world.chance(|rng| rng.permille(200)) {
            return;
        }
        sleep(milliseconds(world.between(500, 30_000))).await;
    }
}

/// Judges whether somebody got an answer of those who may wait for one until nothing goes wrong any more, and no longer.
fn at_last(world: &World, name: &str, was_calm: bool, answered: bool) {
    if was_calm && !answered {
        world.history().violated(Invariant::Answered, format!("{name}: no answer, and nothing goes wrong any more"));
    }
}

fn acknowledged(world: &World, place: usize, name: &str, reply: &Reply) {
    world.note(|| format!("{name}: {}", status(reply)));
    let Some((code, body)) = reply else { return };
    let now = world.elapsed();
    let mut history = world.history();
    match code {
        200 => match history.uploads[place].acknowledged.clone() {
            None => history.uploads[place].acknowledged = Some((now, body.clone())),
            Some((_, first)) if first == *body => {}
            Some(_) => history.violated(Invariant::UploadsStay, format!("{name} was acknowledged in two ways (R13)")),
        },
        // 403: while the authority is closed.
        403 | 503 => {}
        other => history.violated(Invariant::Answered, format!("{name} was answered with {other}: {body}")),
    }
}

fn status(reply: &Reply) -> String {
    reply.as_ref().map_or_else(|| "no answer".into(), |(status, _)| status.to_string())
}

/// A look-up of a nurse, tried again until it is answered, and now and then once more.
pub(crate) async fn visit(world: &World, functions: &Functions, number: usize) {
    sleep(milliseconds(world.between(0, BUSY))).await;
    let child = usize::try_from(world.between(0, CHILDREN as u64 - 1)).expect("few");
    let silent = world.chance(|rng| rng.permille(300));
    let resource = world.chance(|rng| *rng.pick(&["CareTeam", "CareTeam", "Flag", "AuditEvent"]));
    look(world, functions, number, child, silent, resource).await;
}

/// Numbers of visits.
pub(crate) fn visits() -> std::ops::Range<usize> {
    0..VISITS
}

async fn look(world: &World, functions: &Functions, number: usize, child: usize, silent: bool, resource: &str) {
    let trace = Uuid::from_u128(0x6a1a_d5b2_0000_4000_8000_0000_0000_0000 + number as u128).to_string();
    let name = format!("visit {number} ({resource}, child {child}{})", if silent { ", silent" } else { "" });
    let event = ask(resource, child, silent, &trace);
    world.history().visits.insert(trace.clone(), Visit { child, silent, shown: Default::default() });
    let mut answered = false;
    for _ in 0..PATIENCE {
        answered |= look_once(world, functions, &name, &event, (&trace, resource)).await;
        if answered && !world.chance(|rng| rng.permille(400)) {
            return;
        }
        sleep(milliseconds(world.between(500, 40_000))).await;
    }
    if !answered {
        sleep(milliseconds((CALM_FROM + 1).saturating_sub(world.elapsed()))).await;
        look_once(world, functions, &name, &event, (&trace, resource)).await;
    }
}

/// One try; whether it was answered.
async fn look_once(
    world: &World,
    functions: &Functions,
    name: &str,
    event: &Value,
    (trace, resource): (&str, &str),
) -> bool {
    world.note(|| name.to_owned());
    let (began, calm) = (world.elapsed(), !world.weather().is_rough());
    let once = functions.look_up(event.clone());
    let replies = if world.strikes(Fault::Impatience) {
        let (one, other) = join(once, functions.look_up(event.clone())).await;
        vec![one, other]
    } else {
        vec![once.await]
    };
    let mut answered = false;
    for reply in replies {
        world.note(|| format!("{name}: {}", status(&reply)));
        answered |= seen(world, trace, resource, began, reply);
    }
    at_last(world, name, calm, answered);
    answered
}

/// What a nurse, who may look with and without being told of, asks.
fn ask(resource: &str, child: usize, silent: bool, trace: &str) -> Value {
    let mut caller = nurse();
    caller["activities"] = json!(["B0107", "B0170"]);
    let request: Request = look_up(resource, &nhs_number(child), trace).caller(&caller);
    let mut event = request.event();
    let mut set = |name: &str, value: &str| {
        event["headers"][name] = value.into();
        event["multiValueHeaders"][name] = json!([value]);
    };
    set("TraceID", trace);
    set("IsUnscheduledAccessEvent", if silent { "false" } else { "true" });
    event
}

/// Judges an answer at the moment at which it leaves; whether it is one.
fn seen(world: &World, trace: &str, resource: &str, began: u64, reply: Reply) -> bool {
    let Some((status, body)) = reply else { return false };
    match status {
        200 => {}
        503 => return false,
        other => {
            let what = format!("a look-up was answered with {other}: {body}");
            world.history().violated(Invariant::Answered, what);
            return false;
        }
    }
    invariants::on_any_answer(world, trace);
    match resource {
        "AuditEvent" => invariants::on_history(world, trace, &body),
        _ => invariants::on_plans(world, trace, began, &body),
    }
    true
}

/// An authority's clerk, who reads the mailbox and acknowledges some of what is in it.
pub(crate) async fn clerk(world: &World, functions: &Functions, code: &'static str) {
    while !world.over.load(Ordering::Relaxed) {
        sleep(milliseconds(world.between(40_000, 240_000))).await;
        let path = format!("/cpis/authorities/{code}/notifications");
        let list = Request::new("GET", &path).query("state", "unread").caller(&authority_caller(code)).event();
        let Some((200, body)) = functions.mailbox(list).await else { continue };
        let unread: Value = serde_json::from_str(&body).expect("JSON");
        for item in unread["items"].as_array().into_iter().flatten() {
            let id = item["id"].as_str().expect("an id").to_owned();
            invariants::on_unread(world, code, &id);
            if world.heads() {
                acknowledge(world, functions, code, &id).await;
            }
        }
    }
}

async fn acknowledge(world: &World, functions: &Functions, code: &str, id: &str) {
    let path = format!("/cpis/authorities/{code}/notifications/{id}/acknowledge");
    let event = Request::new("POST", &path).caller(&authority_caller(code)).event();
    let Some((200, body)) = functions.mailbox(event).await else { return };
    world.note(|| format!("{code} acknowledged {id}"));
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    let at = answer["acknowledgedAt"].as_str().unwrap_or("never").to_owned();
    let mut history = world.history();
    let first = history.acknowledged.entry((code.to_owned(), id.to_owned())).or_insert_with(|| at.clone()).clone();
    if first != at {
        let what = format!("{code} {id} was acknowledged at {first} and then at {at}");
        history.violated(Invariant::AcknowledgementsStay, what);
    }
}

/// Opens every authority, and closes one for a while.
pub(crate) async fn directory(world: &World) {
    for code in AUTHORITIES {
        world.tables.put("directory", &authority(code, "open"));
    }
    if world.heads() {
        return;
    }
    world.weather().count(Fault::ClosedAuthority);
    let code = world.chance(|rng| *rng.pick(&AUTHORITIES));
    sleep(milliseconds(world.between(60_000, 240_000))).await;
    world.note(|| format!("{code} is closed"));
    world.tables.put("directory", &authority(code, "closed"));
    sleep(milliseconds(world.between(120_000, CALM_FROM - 250_000))).await;
    world.note(|| format!("{code} is open again"));
    world.tables.put("directory", &authority(code, "open"));
}

/// The operator, who replays dead letters: in the middle of everything too, and not always to the end.
pub(crate) async fn operator(world: &World, functions: &Functions) {
    let mut runs = 0;
    while !world.over.load(Ordering::Relaxed) {
        sleep(milliseconds(world.between(15_000, 90_000))).await;
        let letters = world.queues().messages("asn-dlq").count();
        if letters == 0 {
            continue;
        }
        if world.weather().is_rough() {
            world.weather().count(Fault::LiveReplay);
        }
        runs += 1;
        world.note(|| format!("replay {runs} of {letters} letters"));
        // Slowly, so that letters go in many windows, with live traffic between them; or as fast as it can.
        let rate = world.heads().then(|| u32::try_from(world.between(1, 5)).expect("few"));
        let ended = functions.replay(Uuid::from_u128(u128::from(world.seed) << 64 | runs), rate).await;
        match ended {
            Ended::Done(done) => world.note(|| format!("replay {runs}: {done:?}")),
            Ended::Crashed => world.weather().count(Fault::KilledReplay),
            Ended::TimedOut => {
                world.history().violated(Invariant::Answered, format!("replay {runs} does not end"));
            }
        }
    }
}

/// When all is quiet: what every child's look-up shows.
pub(crate) async fn final_visits(world: &World, functions: &Functions) {
    for child in 0..CHILDREN {
        look(world, functions, VISITS + child, child, true, "CareTeam").await;
        for code in AUTHORITIES {
            let now = world.elapsed();
            let either = world.history().expected(code, child, now, now) == Expected::Either;
            if either {
                let what = format!("{code} does not know whether its file on child {child} was loaded");
                world.history().violated(Invariant::Answered, what);
            }
        }
    }
}

/// How long a moment is.
pub(crate) const MOMENT: Duration = Duration::from_secs(20);
