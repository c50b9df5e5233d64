//! Least privilege, proved: every function runs through all that it does, with a proxy in front of AWS that notes each call, and
//! its role in `template.yaml` must allow just that. What nobody can see here follows from the template itself: what an event
//! source does in the function's name, and the key behind encrypted tables and queues.

use std::collections::{BTreeMap, BTreeSet};

use cpis::domain::nhs_number::{ChildKeySecret, NhsNumber};
use cpis_tests::{
    binaries,
    dynamo::function_environment,
    events::{self, Request},
    issuer::Issuer,
    permissions::Permission,
    runtime_api::Function,
    world::{AUTHORITIES, World, authority, authority_caller, csv, look_up, nhs_number, nurse, row, upload},
};
use serde_json::{Map, Value, json};

use crate::{
    model::{Template, attribute_of, items, text},
    needed::{Observed, differences},
};

/// Of each function, what it was seen to call.
struct Seen {
    world: World,
    calls: BTreeMap<String, BTreeSet<Permission>>,
}

impl Seen {
    async fn start(&self, name: &str) -> Function {
        self.world.proxy.reset();
        self.world.start(name).await
    }

    fn note(&mut self, name: &str) {
        self.calls.entry(name.to_owned()).or_default().extend(self.world.proxy.permissions());
    }

    /// Makes these requests of a function; each must be answered with its status.
    async fn ask(&mut self, name: &str, requests: &[(Request, u64)]) -> Vec<Value> {
        let function = self.start(name).await;
        let mut answers = vec![];
        for (request, status) in requests {
            let answer = function.invoke_json(&request.event()).await.json();
            assert_eq!(answer["statusCode"], *status, "{name}: {request:?}: {answer}");
            answers.push(serde_json::from_str(text(&answer["body"])).unwrap_or_default());
        }
        self.note(name);
        answers
    }

    /// Gives these events to a function that reads batches; none of their records may fail.
    async fn feed(&mut self, name: &str, batches: &[Value]) {
        let function = self.start(name).await;
        for batch in batches {
            let answer = function.invoke_json(batch).await.json();
            assert_eq!(items(&answer["batchItemFailures"]).len(), 0, "{name}: {answer}");
        }
        self.note(name);
    }
}

/// Every function through all that it does.
async fn observe() -> Observed {
    let mut seen = Seen { world: World::new().await, calls: BTreeMap::new() };
    uploads(&mut seen).await;
    look_ups(&mut seen).await;
    searches(&mut seen).await;
    notifications(&mut seen).await;
    mailbox(&mut seen).await;
    notices(&mut seen).await;
    pushes(&mut seen).await;
    seen.ask("service-status", &[(Request::new("GET", "/_ping"), 200), (Request::new("GET", "/_status"), 200)]).await;
    tokens(&mut seen).await;
    Observed { environment: function_environment(&seen.world.proxy.url, &seen.world.sqs), calls: seen.calls }
}

/// First files of two authorities; then new plans, ends, withdrawals, faults and another telephone number; the same file again.
async fn uploads(seen: &mut Seen) {
    let first: Vec<String> = (0..12).map(|i| row(i, "CPP", ",")).collect();
    let mut second: Vec<String> = (12..20).map(|i| row(i, "LAC", ",")).collect();
    second.extend((2..5).map(|i| row(i, "CPP", "2025-11-01,")));
    second.extend((5..7).map(|i| row(i, "CPP", ",2025-11-01")));
    second.push(row(40, "CPP", "2025-11-01,"));
    second.push(row(8, "XYZ", ","));
    let file = |authority, sequence, phone, rows: &[String]| (upload(authority, sequence, phone, &csv(rows)), 200);
    let [one, other] = AUTHORITIES;
    let again = file(one, 2, "01632 960002", &second);
    let files = [file(one, 1, "01632 960001", &first), file(other, 1, "01632 960001", &first), again.clone(), again];
    seen.ask("plan-upload", &files).await;
    let path =
        |rest: &str| Request::new("GET", &format!("/cpis/authorities/{one}/{rest}")).caller(&authority_caller(one));
    let reads = ["uploads", "uploads/2", "plans"].map(|rest| (path(rest), 200));
    seen.ask("plan-reconcile", &reads).await;
}

async fn look_ups(seen: &mut Seen) {
    let ask = |resource, request: u32| {
        (look_up(resource, &nhs_number(0), &format!("0d1f7c1e-51c4-4d38-9f0b-27f9d7a4c{request:03}")), 200)
    };
    let metadata = Request::new("GET", "/cpis/FHIR/R4/metadata").caller(&nurse());
    // The second is the first again.
    let asked = [ask("CareTeam", 0), ask("CareTeam", 0), ask("Flag", 1), ask("AuditEvent", 2), (metadata, 200)];
    seen.ask("flag-lookup", &asked).await;
}

/// Searches by child, person and organisation, and one that is refused.
async fn searches(seen: &mut Seen) {
    let mut officer = nurse();
    officer["activities"] = json!(["R0001"]);
    let search = |caller: &Value, asked: Value| {
        Request::new("POST", "/cpis/audit/accesses/_search").body("application/json", asked.to_string()).caller(caller)
    };
    let organisation = officer["organisation"]["code"].clone();
    let subjects = [json!({"child": nhs_number(0)}), json!({"person": "1"}), json!({"organisation": organisation})];
    let mut asked = subjects.map(|subject| (search(&officer, subject), 200)).to_vec();
    asked.push((search(&nurse(), json!({"person": "1"})), 403));
    seen.ask("audit-search", &asked).await;
}

/// The stream, the sweep for what it lost, and the queue with good and hopeless messages. One authority has chosen a webhook, at an
/// address where nobody is.
async fn notifications(seen: &mut Seen) {
    seen.world.dynamo.put("directory", &chose_webhook());
    let owed = seen.world.dynamo.scan("outbox");
    let records = seen.world.owed_records();
    let [sweep, state_heads] = ["sweep", "state-heads"].map(|task| json!({"task": task}));
    let accesses = events::stream_event(&seen.world.access_records());
    let nights = events::stream_event(&events::nights(&seen.world.access_records()[0]));
    seen.feed("audit-ledger", &[accesses, nights, sweep, state_heads]).await;
    seen.feed("asn-relay", &[events::stream_event(&records)]).await;
    owed.iter().for_each(|entry| seen.world.dynamo.put("outbox", entry));
    seen.world.owe_since("2026-01-01T12:00:00.000Z");
    seen.feed("asn-relay", &[events::schedule_event()]).await;
    let sqs = &seen.world.sqs;
    let lost = sqs.messages("asn")[0].body.replace(AUTHORITIES[0], "E06000099");
    sqs.send("asn", &json!("not a notification").to_string(), Map::new());
    sqs.send("asn", &lost, Map::new());
    // One authority has chosen a digest, and is told of what can wait.
    seen.world.dynamo.put("mailbox", &chose_digest());
    sqs.send("asn", &can_wait(), Map::new());
    let function = seen.start("asn-delivery").await;
    for _ in 0..8 {
        loop {
            let batch = seen.world.sqs.receive("asn");
            if batch.is_empty() {
                break;
            }
            let answer = function.invoke_json(&events::sqs_event("asn", &batch)).await.json();
            let failed = events::failed_ids(Some(&answer), &batch);
            let done = batch.iter().filter(|m| !failed.contains(&m.id)).map(|m| m.receipt.as_str());
            seen.world.sqs.delete("asn", done);
        }
        seen.world.sqs.advance(3_600);
    }
    assert_eq!(seen.world.sqs.messages("asn-dlq").len(), 2, "the hopeless and the lost are set aside");
    seen.note("asn-delivery");
    watch(seen).await;
}

fn chose_digest() -> Value {
    json!({"la": {"S": AUTHORITIES[0]}, "id": {"S": "reading"}, "reading": {"M": {"cadence": {"S": "digest"}}}})
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

/// A digest and an escalation that are due, and an access of which it is to be seen who else saw the child.
async fn watch(seen: &mut Seen) {
    const LONG_AGO: &str = "2026-01-01T00:00:00.000Z";
    let (mut waits, mut unread) = (0, 0);
    for mut item in seen.world.dynamo.scan("mailbox") {
        if item.get("weighAt").is_some() {
            let mut other = item.clone();
            other["id"] = json!({"S": "0d1f7c1e-51c4-4d38-9f0b-27f9d7a4eeee"});
            seen.world.dynamo.put("mailbox", &other);
        }
        for name in ["digestAt", "escalateAt"] {
            if item.get(name).is_some() {
                *(if name == "digestAt" { &mut waits } else { &mut unread }) += 1;
                item[name] = json!({"S": LONG_AGO});
                item["wake_at"] = json!({"S": LONG_AGO});
            }
        }
        seen.world.dynamo.put("mailbox", &item);
    }
    assert!(waits > 0 && unread > 0, "{waits} wait for a digest, {unread} may be escalated");
    seen.feed("asn-watch", &[events::schedule_event()]).await;
    let digests = seen.world.dynamo.scan("mailbox").iter().filter(|item| item["kind"]["S"] == "digest").count();
    assert_eq!(digests, 1, "what waited is told together");
    assert!(
        seen.world.dynamo.scan("mailbox").iter().all(|item| item.get("weighAt").is_none()),
        "nothing is left to see"
    );
}

/// An authority that chose a webhook.
fn chose_webhook() -> Value {
    let mut entry = authority(AUTHORITIES[1], "open");
    entry["waysOut"] =
        json!({"M": {"webhook": {"M": {"url": {"S": "http://127.0.0.1:9/asn"}, "keys": {"L": [{"N": "1"}]}}}}});
    entry
}

/// The push queue with pushes to a receiver that is down and a hopeless message, and the sweep for what was never queued.
async fn pushes(seen: &mut Seen) {
    seen.world.proxy.keep_secret(r#"{"master": "a master secret of the tests"}"#);
    // What was queued before is given up by its age; what the sweep queues now is tried.
    seen.world.sqs.catch_up();
    seen.world.sqs.send("push", &json!("not a push").to_string(), Map::new());
    for mut item in seen.world.dynamo.scan("mailbox") {
        if item.get("pushes").is_some() {
            item["push"] = json!({"S": "due"});
            item["push_at"] = json!({"S": "2026-01-01T00:00:00.000Z"});
            seen.world.dynamo.put("mailbox", &item);
        }
    }
    let function = seen.start("asn-push").await;
    assert!(function.invoke_json(&events::schedule_event()).await.answer().is_some(), "{}", function.output());
    let batch = seen.world.sqs.receive("push");
    let answer = function.invoke_json(&events::sqs_event("push", &batch)).await.json();
    assert!(!items(&answer["batchItemFailures"]).is_empty(), "the receiver is down: {answer}");
    assert!(!seen.world.sqs.messages("push-dlq").is_empty());
    seen.note("asn-push");
}

/// A day's look, at which an authority's upload is overdue and a plan moved, and the queue with a changed number, a hopeless message
/// and one that fails until it is set aside.
async fn notices(seen: &mut Seen) {
    let function = seen.start("notices").await;
    let mut tomorrow = events::schedule_event();
    tomorrow["time"] = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(48)).to_string().into();
    let day = function.invoke_json(&tomorrow).await;
    assert!(day.answer().is_some(), "{}", function.output());
    let sqs = &seen.world.sqs;
    sqs.catch_up();
    sqs.send("number-changes", &json!({"nhsNumber": nhs_number(0), "change": "inactive"}).to_string(), Map::new());
    sqs.send("number-changes", "not a change", Map::new());
    let batch = sqs.receive("number-changes");
    let answer = function.invoke_json(&events::sqs_event("number-changes", &batch)).await.json();
    assert_eq!(items(&answer["batchItemFailures"]).len(), 0, "{answer}");
    let kinds: BTreeSet<_> =
        seen.world.dynamo.scan("outbox").iter().map(|e| text(&e["notice"]["M"]["kind"]["S"]).to_owned()).collect();
    assert!(["number-changed", "upload-overdue"].iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");
    assert_eq!(sqs.messages("number-changes-dlq").len(), 1, "the hopeless one is set aside");
    seen.world.dynamo.put("plans", &unreadable_plan());
    sqs.send("number-changes", &json!({"nhsNumber": nhs_number(90), "change": "inactive"}).to_string(), Map::new());
    let batch: Vec<_> =
        sqs.receive("number-changes").into_iter().filter(|m| m.body.contains(&nhs_number(90))).collect();
    let answer = function.invoke_json(&events::sqs_event("number-changes", &batch)).await.json();
    assert_eq!(items(&answer["batchItemFailures"]).len(), 1, "{answer}");
    seen.note("notices");
}

/// A plan that cannot be read, of a child of whom there is nothing else.
fn unreadable_plan() -> Value {
    let secret = ChildKeySecret::new(b"a secret of the tests, 32 bytes or more").expect("long enough");
    let child = secret.key_of(&NhsNumber::parse(&nhs_number(90)).expect("valid"));
    json!({"child": {"S": child.as_str()}, "plan": {"S": "CPP#E06000001"}, "la": {"S": "E06000009"}})
}

async fn mailbox(seen: &mut Seen) {
    let own = AUTHORITIES[0];
    let path = format!("/cpis/authorities/{own}/notifications");
    let list = Request::new("GET", &path).caller(&authority_caller(own));
    let unread = list.clone().query("state", "unread");
    let found = seen.ask("asn-mailbox", &[(list, 200), (unread, 200)]).await;
    let id = text(&found[0]["items"][0]["id"]).to_owned();
    let acknowledge = Request::new("POST", &format!("{path}/{id}/acknowledge")).caller(&authority_caller(own));
    // The second finds it acknowledged.
    seen.ask("asn-mailbox", &[(acknowledge.clone(), 200), (acknowledge, 200)]).await;
    let of = |method: &'static str, rest: &str| {
        Request::new(method, &format!("/cpis/authorities/{own}/{rest}")).caller(&authority_caller(own))
    };
    let action = Request::new("POST", &format!("{path}/{id}/action")).caller(&authority_caller(own));
    let access = &seen.world.dynamo.scan("accesses")[0];
    let [child, access] = ["child", "id"].map(|name| text(&access[name]["S"]).to_owned());
    let receipts = Request::new("GET", &format!("/cpis/receipts/{child}/{access}")).caller(&nurse());
    let asked = [
        (action, 200),
        (of("GET", "notifications/ageing"), 200),
        (of("GET", "reading"), 200),
        (of("PUT", "reading").body("application/json", "{}"), 200),
        (of("GET", "ways"), 200),
        (receipts, 200),
    ];
    seen.ask("asn-mailbox", &asked).await;
}

/// Tokens of an authority, of a nurse whose organisation nobody knows, and of one whose care is seen in pilots only.
async fn tokens(seen: &mut Seen) {
    let issuer = Issuer::start().await;
    let mut trial = nurse();
    trial["organisation"] = json!({"code": "ZXP01", "name": "Sample Clinic"});
    seen.world.dynamo.put(
        "directory",
        &json!({
            "kind": {"S": "setting"}, "code": {"S": "ZXP01"}, "name": {"S": "Sample Clinic"}, "region": {"S": "London"},
            "authority": {"S": AUTHORITIES[0]}, "status": {"S": "open"}, "from": {"S": "2020-01-01"},
            "care": {"L": [{"S": "unscheduled-mental-health"}]},
        }),
    );
    seen.world.proxy.reset();
    let mut environment = function_environment(&seen.world.proxy.url, &seen.world.sqs);
    environment.extend(issuer.environment());
    let function = Function::start(&binaries::function("authorizer"), &environment).await.expect("the authorizer");
    for caller in [authority_caller(AUTHORITIES[0]), nurse(), trial] {
        let event = events::authorizer_event(&issuer.token(&caller), "GET", "/cpis/FHIR/R4/metadata");
        let answer = function.invoke_json(&event).await.json();
        assert_eq!(answer["policyDocument"]["Statement"][0]["Effect"], "Allow", "{answer}");
    }
    seen.note("authorizer");
}

/// The template with each of its functions' permissions taken away, and with one more in each statement.
fn broken(template: &Template) -> Vec<(String, Template)> {
    let mut broken = vec![];
    for function in template.functions() {
        let role = attribute_of(&function.properties["Role"], "Arn").unwrap_or_default();
        for (p, policy) in items(template.property(role, "Policies")).into_iter().enumerate() {
            for (s, statement) in items(&policy["PolicyDocument"]["Statement"]).into_iter().enumerate() {
                let pointer = format!("/Resources/{role}/Properties/Policies/{p}/PolicyDocument/Statement/{s}/Action");
                let actions: Vec<_> = items(&statement["Action"]).into_iter().cloned().collect();
                let mut change = |actions: Vec<Value>| {
                    let mut changed = template.0.clone();
                    *changed.pointer_mut(&pointer).expect("the statement's actions") = actions.clone().into();
                    broken.push((format!("{pointer}: {actions:?}"), Template(changed)));
                };
                for gone in &actions {
                    change(actions.iter().filter(|a| *a != gone).cloned().collect());
                }
                change(actions.iter().cloned().chain([json!("dynamodb:DeleteItem")]).collect());
            }
        }
    }
    broken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r67_each_role_allows_just_what_its_function_was_seen_to_do() {
    let template = Template::load();
    let seen = observe().await;
    let found = differences(&template, &seen);
    assert!(found.is_empty(), "{}", found.join("\n"));
    let broken = broken(&template);
    assert!(broken.len() > 60, "{} ways to break the roles", broken.len());
    for (how, template) in broken {
        assert_eq!(differences(&template, &seen).len(), 1, "{how}");
    }
}
