//! What goes through the wire: together, every call that a function makes, and the operator's commands.

use super::super::*;
use super::commands::{self, Arguments, Desk};
use cpis::domain::nhs_number::{ChildKeySecret, NhsNumber};
use cpis_tests::{
    events::Request,
    issuer::Issuer,
    receiver::Receiver,
    world::{authority, authority_caller, nurse},
};

/// Long before any test runs.
const LONG_AGO: &str = "2026-01-01T00:00:00.000Z";
/// The one authority has both of what a receiver may do: this one answers, and the other authority's does not at first.
const ANSWERS: &str = "/answers";
const DOWN_AT_FIRST: &str = "/down-at-first";

/// What somebody does, from a world in which it can begin to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scene {
    /// What is also broken off by kill -9.
    Of(Scenario),
    /// A request to a function.
    Ask(&'static str, Asked),
    /// The stream brings what is found out by who else looked: the same child in three nights.
    Nights,
    /// The heads of the audit log are signed and put away.
    StateHeads,
    /// The queue brings a change of a number that fails until somebody mends what is in its way.
    FailingNumber,
    /// The queue brings what one authority gets in a digest and the other by a webhook too.
    DeliveryAsChosen,
    /// A digest and an escalation are due.
    Watch,
    /// The queue brings pushes: one hopeless, one to a receiver that is down at first.
    Push,
    /// The sweep queues pushes that are owed.
    PushSweep,
    /// The authorizer is asked whether the holder of a token may come in.
    Authorize(Holder),
    /// An operator's command.
    Cpis(Arguments),
}

/// What is asked of a function by HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Notifications,
    Unread,
    Acknowledge,
    Action,
    Ageing,
    Reading,
    SetReading,
    Receipt,
    Uploads,
    OneUpload,
    Plans,
    Status,
    AccessesOfChild,
    AccessesOfPerson,
    AccessesOfOrganisation,
}

/// Whose token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Authority,
    Nurse,
    /// Of an organisation whose care is seen in pilots only.
    Pilot,
}

/// All of them.
pub(super) fn all() -> Vec<Scene> {
    OF_FUNCTIONS.iter().copied().chain(commands::ALL.iter().copied().map(Scene::Cpis)).collect()
}

const OF_FUNCTIONS: &[Scene] = &[
    Scene::Of(Scenario::Upload),
    Scene::Of(Scenario::LookUp("CareTeam")),
    Scene::Of(Scenario::LookUp("Flag")),
    Scene::Of(Scenario::LookUp("AuditEvent")),
    Scene::Of(Scenario::Relay),
    Scene::Of(Scenario::Sweep),
    Scene::Of(Scenario::Delivery),
    Scene::Of(Scenario::Ledger),
    Scene::Of(Scenario::LedgerSweep),
    Scene::Of(Scenario::Day),
    Scene::Of(Scenario::Numbers),
    Scene::Nights,
    Scene::StateHeads,
    Scene::FailingNumber,
    Scene::DeliveryAsChosen,
    Scene::Watch,
    Scene::Push,
    Scene::PushSweep,
    Scene::Ask("asn-mailbox", Asked::Notifications),
    Scene::Ask("asn-mailbox", Asked::Unread),
    Scene::Ask("asn-mailbox", Asked::Acknowledge),
    Scene::Ask("asn-mailbox", Asked::Action),
    Scene::Ask("asn-mailbox", Asked::Ageing),
    Scene::Ask("asn-mailbox", Asked::Reading),
    Scene::Ask("asn-mailbox", Asked::SetReading),
    Scene::Ask("asn-mailbox", Asked::Receipt),
    Scene::Ask("plan-reconcile", Asked::Uploads),
    Scene::Ask("plan-reconcile", Asked::OneUpload),
    Scene::Ask("plan-reconcile", Asked::Plans),
    Scene::Ask("service-status", Asked::Status),
    Scene::Ask("audit-search", Asked::AccessesOfChild),
    Scene::Ask("audit-search", Asked::AccessesOfPerson),
    Scene::Ask("audit-search", Asked::AccessesOfOrganisation),
    Scene::Authorize(Holder::Authority),
    Scene::Authorize(Holder::Nurse),
    Scene::Authorize(Holder::Pilot),
];

/// What has happened before.
pub(super) struct Before {
    /// Notifications are in the queue.
    pub(super) queued: World,
    /// And then they were delivered, and the audit log was written.
    pub(super) delivered: World,
}

/// A world, and who is in it besides.
pub(super) struct Stage {
    pub(super) world: World,
    receiver: Option<Receiver>,
    issuer: Option<Issuer>,
    pub(super) desk: Option<Desk>,
}

impl Before {
    pub(super) async fn new() -> Self {
        let queued = before().await;
        let delivered = Scenario::Delivery.begin(&queued).await;
        delivered.copy(&["plans", "uploads", "accesses"], &queued);
        // One authority has chosen a digest of what can wait.
        chooses_digest(&delivered);
        delivered.sqs.send("asn", &can_wait(), Map::new());
        Scenario::Delivery.finish(&delivered, delivered.start("asn-delivery").await).await;
        Scenario::Ledger.finish(&delivered, delivered.start("audit-ledger").await).await;
        Self { queued, delivered }
    }
}

/// The first authority wants a digest of what can wait.
fn chooses_digest(world: &World) {
    let digest = json!({"cadence": {"S": "digest"}});
    let entry = json!({"la": {"S": AUTHORITIES[0]}, "id": {"S": "reading"}, "reading": {"M": digest}});
    world.dynamo.put("mailbox", &entry);
}

/// An authority that chose a webhook.
pub(super) fn with_webhook(code: &str, url: &str) -> Value {
    let mut entry = authority(code, "open");
    let webhook = json!({"url": {"S": url}, "keys": {"L": [{"N": "1"}]}});
    entry["waysOut"] = json!({"M": {"webhook": {"M": webhook}}});
    entry
}

/// A notification without a signal, whatever the time is.
fn can_wait() -> String {
    let id = "0d1f7c1e-51c4-4d38-9f0b-27f9d7a4dddd";
    let told = json!({
        "id": id, "accessId": id, "authority": AUTHORITIES[0], "at": "2026-01-01T12:00:00.000Z", "traceId": id, "kind": "access",
        "nhsNumber": nhs_number(0), "localIds": [], "viewer": {"name": "Alex Example"}, "organisation": {"name": "Any"},
        "signals": [],
    });
    told.to_string()
}

impl Scene {
    /// The function, or the command.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Of(scenario) => scenario.function(),
            Self::Ask(function, _) => function,
            Self::Nights | Self::StateHeads => "audit-ledger",
            Self::FailingNumber => "notices",
            Self::DeliveryAsChosen => "asn-delivery",
            Self::Watch => "asn-watch",
            Self::Push | Self::PushSweep => "asn-push",
            Self::Authorize(_) => "authorizer",
            Self::Cpis(_) => super::CPIS,
        }
    }

    /// A world in which it can begin.
    pub(super) async fn begin(self, before: &Before) -> Stage {
        let world = match self {
            Self::Of(scenario) => scenario.begin(&before.queued).await,
            _ => World::new().await,
        };
        let mut stage = Stage { world, receiver: None, issuer: None, desk: None };
        let world = &stage.world;
        match self {
            Self::Of(_) => {}
            Self::Ask(..) => world.copy(&["plans", "uploads", "accesses", "mailbox", "audit"], &before.delivered),
            Self::Nights => world.copy(&["accesses"], &before.delivered),
            Self::StateHeads => world.copy(&["audit"], &before.delivered),
            Self::FailingNumber => {
                world.dynamo.put("plans", &unreadable_plan());
                let change = json!({"nhsNumber": nhs_number(90), "change": "inactive"});
                world.sqs.send("number-changes", &change.to_string(), Map::new());
            }
            Self::DeliveryAsChosen => {
                chooses_digest(world);
                world.dynamo.put("directory", &with_webhook(AUTHORITIES[1], "http://127.0.0.1:9/asn"));
                world.sqs.send("asn", &can_wait(), Map::new());
                let asn = before.queued.sqs.messages("asn");
                asn.iter().for_each(|m| world.sqs.send("asn", &m.body, m.attributes.clone()));
            }
            Self::Watch => begin_watch(world, &before.delivered),
            Self::Push | Self::PushSweep => stage.receiver = Some(self.begin_pushes(world, before).await),
            Self::Authorize(_) => {
                world.dynamo.put("directory", &pilots_only());
                stage.issuer = Some(Issuer::start().await);
            }
            Self::Cpis(arguments) => stage.desk = Some(Desk::begin(world, before, arguments).await),
        }
        stage
    }

    /// Both authorities choose a webhook, and are delivered what pushes come from.
    async fn begin_pushes(self, world: &World, before: &Before) -> Receiver {
        let receiver = Receiver::start().await;
        receiver.answer(DOWN_AT_FIRST, 503);
        // A push is given up by its age.
        world.sqs.catch_up();
        for (code, path) in AUTHORITIES.into_iter().zip([ANSWERS, DOWN_AT_FIRST]) {
            world.dynamo.put("directory", &with_webhook(code, &format!("{}{path}", receiver.url)));
        }
        let asn = before.queued.sqs.messages("asn");
        asn.iter().for_each(|m| world.sqs.send("asn", &m.body, m.attributes.clone()));
        Scenario::Delivery.finish(world, world.start("asn-delivery").await).await;
        if self == Self::PushSweep {
            let queued: Vec<_> = world.sqs.messages("push");
            assert!(!queued.is_empty(), "delivery queues pushes");
            world.sqs.create("push", 180, Some(("push-dlq", 1_000)));
            for mut item in world.dynamo.scan("mailbox") {
                if item.get("pushes").is_some() {
                    item["push"] = json!({"S": "due"});
                    item["push_at"] = json!({"S": LONG_AGO});
                    world.dynamo.put("mailbox", &item);
                }
            }
        } else {
            world.sqs.send("push", &json!("not a push").to_string(), Map::new());
        }
        world.proxy.reset();
        receiver
    }

    /// What its process is told besides.
    pub(super) fn environment(self, stage: &Stage) -> Vec<(String, String)> {
        let mut environment = stage.issuer.as_ref().map(Issuer::environment).unwrap_or_default();
        environment.push(("PUSH_CLAIM_SECONDS".to_owned(), "0".to_owned()));
        environment
    }

    /// One try by a function. `None`: it must be tried again.
    pub(super) async fn attempt(self, stage: &Stage, function: &Function) -> Option<Vec<u8>> {
        let world = &stage.world;
        match self {
            // What could not be cleared of its mark is found by the next minute's sweep.
            Self::Of(Scenario::Relay) => {
                let mut done = Scenario::Relay.attempt(world, function).await;
                if done.is_some() && !world.dynamo.scan("outbox").is_empty() {
                    done = Scenario::Sweep.attempt(world, function).await;
                }
                done
            }
            Self::Of(scenario) => scenario.attempt(world, function).await,
            Self::Ask(_, asked) => answered(function, &asked.event(world)).await,
            Self::Nights => {
                batch_done(function, &events::stream_event(&events::nights(&world.access_records()[0]))).await
            }
            Self::StateHeads => batch_done(function, &json!({"task": "state-heads"})).await,
            Self::FailingNumber => {
                let done = deliver(world, function, "number-changes").await;
                let plan = unreadable_plan();
                world.dynamo.delete("plans", &json!({"child": plan["child"], "plan": plan["plan"]}));
                done
            }
            Self::DeliveryAsChosen => deliver(world, function, "asn").await,
            Self::Watch => batch_done(function, &events::schedule_event()).await,
            // The schedule calls again for as long as anything is owed.
            Self::PushSweep => {
                let done = batch_done(function, &events::schedule_event()).await;
                done.filter(|_| pushes_owed(world) == 0)
            }
            Self::Push => {
                let done = deliver(world, function, "push").await;
                stage.receiver.as_ref().expect("a receiver").answer(DOWN_AT_FIRST, 204);
                done
            }
            Self::Authorize(holder) => {
                let token = stage.issuer.as_ref().expect("an issuer").token(&holder.caller());
                let event = events::authorizer_event(&token, "GET", "/cpis/FHIR/R4/metadata");
                let reply = function.invoke_json(&event).await;
                let policy = reply.answer().map(|_| reply.json())?;
                Some(json!([policy["policyDocument"], policy["context"]["standing"]]).to_string().into_bytes())
            }
            Self::Cpis(_) => unreachable!("no function"),
        }
    }

    /// All that must be the same in the end.
    pub(super) fn end(self, stage: &Stage, answer: &[u8]) -> Value {
        let world = &stage.world;
        let of = |scenario: Scenario| scenario.end(world, answer);
        match self {
            Self::Of(scenario) => of(scenario),
            Self::Ask(_, Asked::Ageing) => json!(parse(answer)["states"]),
            // Each search is told of, one that was not answered too.
            Self::Ask("audit-search", _) => timeless(parse(answer)),
            Self::Ask("service-status", _) => parse(answer)["status"].clone(),
            // The entry of the audit log that tells of it has the moment in its hash.
            Self::Ask(_, Asked::SetReading) => of(Scenario::Upload),
            Self::Ask(..) => json!({"world": of(Scenario::Day), "answer": timeless(parse(answer))}),
            Self::Nights => of(Scenario::Ledger),
            // Each time that heads are stated is told of, one that was not answered too.
            Self::StateHeads => {
                let mut log = of(Scenario::Ledger)["tables"]["audit"].as_array().cloned().unwrap_or_default();
                log.retain(|entry| entry["kind"]["S"] == "look-up");
                log.into()
            }
            Self::FailingNumber => of(Scenario::Numbers),
            Self::DeliveryAsChosen => delivered_as_chosen(world),
            Self::Watch => watched(world),
            Self::Push => pushed(stage),
            Self::PushSweep => {
                let bodies = world.sqs.messages("push").into_iter().map(|message| message.body);
                json!({"queued": bodies.collect::<BTreeSet<_>>(), "owed": pushes_owed(world)})
            }
            Self::Authorize(_) => parse(answer),
            Self::Cpis(_) => unreachable!("no function"),
        }
    }
}

/// Each access, whether it is in a digest and whether it was escalated, and what is in digests, each time that it is: how they are
/// divided among digests depends on what could be read in which minute.
fn watched(world: &World) -> Value {
    let (mut held, mut told) = (Vec::new(), Vec::new());
    for mut item in world.dynamo.scan("mailbox").into_iter().map(timeless) {
        if item["kind"]["S"] == "digest" {
            let entries = item["entries"]["L"].as_array().expect("a digest is never empty").iter();
            told.extend(entries.map(|entry| entry["M"]["id"]["S"].as_str().expect("an id").to_owned()));
            continue;
        }
        if let Some(digest) = item.get_mut("digest") {
            *digest = true.into();
        }
        held.push(item);
    }
    assert!(!told.is_empty(), "there is a digest");
    held.sort_by_key(Value::to_string);
    told.sort();
    json!({"held": held, "told": told})
}

/// What is in the mailbox, and whether each push of it is queued or still owed, so that the sweep finds it.
fn delivered_as_chosen(world: &World) -> Value {
    let queued: Vec<String> = world.sqs.messages("push").into_iter().map(|message| message.body).collect();
    let held = world.dynamo.scan("mailbox").into_iter().map(timeless).map(|mut item| {
        let fields = item.as_object_mut().expect("an item");
        let is_owed = fields.remove("push").is_some();
        fields.remove("push_at");
        let id = fields["id"]["S"].as_str().expect("an id");
        let goes_out = fields.contains_key("pushes") && (is_owed || queued.iter().any(|body| body.contains(id)));
        json!([item, goes_out])
    });
    held.collect()
}

fn pushes_owed(world: &World) -> usize {
    world.dynamo.scan("mailbox").iter().filter(|item| item.get("push").is_some()).count()
}

/// Who was sent what, and how it stands in the mailboxes.
fn pushed(stage: &Stage) -> Value {
    let received = stage.receiver.as_ref().expect("a receiver").received();
    // Those sent while the receiver was down are among those sent later.
    let ids: BTreeSet<_> = received.iter().map(|push| format!("{} {}", push.path, push.header("webhook-id"))).collect();
    let states = stage.world.dynamo.scan("mailbox").into_iter().filter(|item| item.get("pushes").is_some());
    let states: Vec<_> = states.map(|item| item["pushes"]["M"]["webhook"]["M"]["state"].clone()).collect();
    json!({"ids": ids, "states": states, "dead": stage.world.sqs.messages("push-dlq").len().min(1)})
}

/// What waited for a digest and what was left unread is due, and who else saw a child is to be seen.
fn begin_watch(world: &World, delivered: &World) {
    let (mut waits, mut unread) = (0, 0);
    for mut item in delivered.dynamo.scan("mailbox") {
        if item.get("weighAt").is_some() {
            let mut other = item.clone();
            other["id"] = json!({"S": "0d1f7c1e-51c4-4d38-9f0b-27f9d7a4eeee"});
            world.dynamo.put("mailbox", &other);
        }
        for (name, count) in [("digestAt", &mut waits), ("escalateAt", &mut unread)] {
            if item.get(name).is_some() {
                *count += 1;
                item[name] = json!({"S": LONG_AGO});
                item["wake_at"] = json!({"S": LONG_AGO});
            }
        }
        world.dynamo.put("mailbox", &item);
    }
    assert!(waits > 0 && unread > 0, "{waits} wait for a digest, {unread} may be escalated");
}

/// A plan that cannot be read, of a child of whom there is nothing else.
fn unreadable_plan() -> Value {
    let secret = ChildKeySecret::new(b"a secret of the tests, 32 bytes or more").expect("long enough");
    let child = secret.key_of(&NhsNumber::parse(&nhs_number(90)).expect("valid"));
    json!({"child": {"S": child.as_str()}, "plan": {"S": "CPP#E06000001"}, "la": {"S": "E06000009"}})
}

/// An organisation of which only pilots see anything.
fn pilots_only() -> Value {
    json!({
        "kind": {"S": "setting"}, "code": {"S": "ZXP01"}, "name": {"S": "Sample Clinic"}, "region": {"S": "London"},
        "authority": {"S": AUTHORITIES[0]}, "status": {"S": "open"}, "from": {"S": "2020-01-01"},
        "care": {"L": [{"S": "unscheduled-mental-health"}]},
    })
}

impl Holder {
    fn caller(self) -> Value {
        let mut caller = match self {
            Self::Authority => return authority_caller(AUTHORITIES[0]),
            Self::Nurse | Self::Pilot => nurse(),
        };
        if self == Self::Pilot {
            caller["organisation"] = json!({"code": "ZXP01", "name": "Sample Clinic"});
        }
        caller
    }
}

impl Asked {
    fn event(self, world: &World) -> Value {
        let own = AUTHORITIES[0];
        let of = |method: &'static str, rest: &str| {
            Request::new(method, &format!("/cpis/authorities/{own}/{rest}")).caller(&authority_caller(own))
        };
        let request = match self {
            Self::Notifications => of("GET", "notifications"),
            Self::Unread => of("GET", "notifications").query("state", "unread"),
            Self::Acknowledge => of("POST", &format!("notifications/{}/acknowledge", a_notification(world))),
            Self::Action => of("POST", &format!("notifications/{}/action", a_notification(world))),
            Self::Ageing => of("GET", "notifications/ageing"),
            Self::Reading => of("GET", "reading"),
            Self::SetReading => of("PUT", "reading").header("X-Request-ID", REQUEST).body("application/json", "{}"),
            Self::Receipt => {
                let access = &world.dynamo.scan("accesses")[0];
                let [child, access] = ["child", "id"].map(|name| access[name]["S"].as_str().expect("a text"));
                Request::new("GET", &format!("/cpis/receipts/{child}/{access}")).caller(&nurse())
            }
            Self::Uploads => of("GET", "uploads"),
            Self::OneUpload => of("GET", "uploads/1"),
            Self::Plans => of("GET", "plans"),
            Self::Status => Request::new("GET", "/_status"),
            Self::AccessesOfChild => search(&json!({"child": nhs_number(0)})),
            Self::AccessesOfPerson => search(&json!({"person": nurse()["sub"]})),
            Self::AccessesOfOrganisation => search(&json!({"organisation": nurse()["organisation"]["code"]})),
        };
        request.event()
    }
}

fn search(asked: &Value) -> Request {
    let mut officer = nurse();
    officer["activities"] = json!(["R0001"]);
    Request::new("POST", "/cpis/audit/accesses/_search").body("application/json", asked.to_string()).caller(&officer)
}

/// The id of a notification in the first authority's mailbox.
fn a_notification(world: &World) -> String {
    let mailbox = world.dynamo.scan("mailbox").into_iter();
    let own = mailbox.filter(|item| item["la"]["S"] == AUTHORITIES[0] && item.get("state").is_some());
    own.filter_map(|item| item["id"]["S"].as_str().map(str::to_owned)).min().expect("a notification")
}
