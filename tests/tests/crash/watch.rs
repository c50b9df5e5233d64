//! Mailboxes in which digests are due and notifications have lain unread for too long.

use cpis::domain::{
    authority::AuthorityCode,
    nhs_number::NhsNumber,
    notice::Digest,
    notification::{Content, Delivered, Notification, State, Taken},
    reading::{Cadence, Reading},
    time::sortable,
    ways_out::{WaysOut, Webhook},
};
use cpis_tests::{
    dynamo::attribute,
    world::{AUTHORITIES, World, authority, nhs_number},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Of each authority: three that lie unread, three that wait for a digest, a digest whose accesses have all been read, and a child
/// that three organisations have just seen.
pub(crate) fn fill(world: &World) {
    let long_ago: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a moment");
    let ways = WaysOut {
        webhook: Some(Webhook::at("https://council.example/asn")),
        second_webhook: Some(Webhook::at("https://duty.council.example/asn")),
        ..WaysOut::default()
    };
    // The other has no second contact, and chose no way out.
    for (code, ways) in AUTHORITIES.into_iter().zip([ways, WaysOut::default()]) {
        let mut entry = authority(code, "open");
        entry["waysOut"] = attribute(&serde_json::to_value(&ways).expect("JSON"));
        world.dynamo.put("directory", &entry);
        let daily = Reading { cadence: Cadence::Digest, ..Reading::default() };
        let of = |numbers: std::ops::Range<u32>, reading: &Reading| -> Vec<_> {
            numbers.map(|n| Delivered::new(notification(code, n, long_ago), long_ago, &ways, reading)).collect()
        };
        let taken = Taken { at: long_ago + SignedDuration::from_hours(1), by: "Duty team".into() };
        let mut read = of(6..8, &daily);
        let own = AuthorityCode::parse(code).expect("valid");
        let digest = Digest::of(&own, &read, long_ago).expect("not empty");
        for one in &mut read {
            *one = one.marked(State::Acknowledged, &taken).expect("news");
            one.digest = Some(digest.id);
        }
        let digest = Delivered::new(digest, long_ago, &ways, &Reading::default());
        let now = Timestamp::now();
        let seen =
            (20..23).map(|n| Delivered::new(seen_by(code, n, now), now, &WaysOut::default(), &Reading::default()));
        let all = of(0..3, &Reading::default()).into_iter().chain(of(3..6, &daily)).chain(read).chain([digest]);
        all.chain(seen).for_each(|held| world.dynamo.put("mailbox", &item(&held)));
    }
}

fn notification(code: &str, n: u32, at: Timestamp) -> Notification {
    let id = uuid::Uuid::new_v5(&uuid::Uuid::nil(), format!("{code}{n}").as_bytes());
    let notification = json!({
        "id": id, "accessId": id, "authority": code, "at": at, "nhsNumber": nhs_number(n as usize), "localIds": [],
        "viewer": {"name": "Jo Carter"}, "organisation": {"code": "ZX001", "name": "Sample Hospital"}, "traceId": id,
    });
    serde_json::from_value(notification).expect("a notification")
}

/// That the same child was seen by an organisation of this number.
fn seen_by(code: &str, n: u32, at: Timestamp) -> Notification {
    let mut seen = notification(code, n, at);
    if let Content::Access(told) = &mut seen.content {
        told.nhs_number = NhsNumber::parse(&nhs_number(20)).expect("valid");
        told.organisation.code = Some(format!("ZX0{n}"));
    }
    seen
}

/// An entry of the mailbox whose pushes have been queued.
fn item(held: &Delivered) -> Value {
    let mut item = attribute(&serde_json::to_value(held).expect("JSON"))["M"].take();
    let text = |text: String| json!({"S": text});
    item["la"] = text(held.notification.authority.to_string());
    item["state_at"] = text(format!("{}#{}", held.state.name(), sortable(held.notification.at)));
    if let Some(at) = held.wakes_at() {
        item["wake"] = text("due".into());
        item["wake_at"] = text(sortable(at));
    }
    item
}

/// Whether anything is left to do.
pub(crate) fn is_due(world: &World) -> bool {
    let now = sortable(Timestamp::now());
    let due =
        |item: &Value| item["wake"]["S"] == "due" && item["wake_at"]["S"].as_str().is_some_and(|at| at < now.as_str());
    world.dynamo.scan("mailbox").iter().any(due)
}

/// How many the operators were told of by the last call, whoever escalated them.
pub(crate) fn told(output: &str) -> Vec<u8> {
    let mut lines = output.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let done = lines.rfind(|line| line["event"] == "watch.done").expect("it says so");
    json!({"escalated": done["NotificationsEscalated"]}).to_string().into_bytes()
}
