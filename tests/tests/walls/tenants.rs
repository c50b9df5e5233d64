//! Every endpoint, asked by everybody, of everybody's data: thousands of requests, made as API Gateway makes them. The real
//! authorizer judges the token, its policy is applied to the method, and what it lets through goes to the real function. A few
//! plain statements say who must be answered; all others must get nothing, and nobody a word of what is another's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
};

use cpis_tests::{
    binaries,
    dynamo::function_environment,
    events::{self, Request},
    issuer::Issuer,
    runtime_api::{Function, Outcome},
    world::{World, authority, authority_caller, csv, nhs_number, upload},
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::model::{Template, items, members, text};

/// Authorities: two that take part, one that did, one that never has.
const AUTHORITIES: [&str; 4] = ["E06000001", "E06000002", "E06000003", "E06000004"];
const FORMER: &str = AUTHORITIES[2];
const NEVER: &str = AUTHORITIES[3];
/// Ways to write another authority's code that must not be read as it.
const SPELLINGS: [&str; 3] = ["e06000002", "E06000002%20", "E06000001%2F..%2FE06000002"];
/// An organisation: code, kinds of care, first and last day, status in the directory.
type Organisation = (&'static str, &'static [&'static str], &'static str, Option<&'static str>, Option<&'static str>);
/// Three that take part, one closed, one that did, one that will; the last is not in the directory.
const ORGANISATIONS: [Organisation; 7] = [
    ("ZXA01", &["emergency-department"], "2020-01-01", None, Some("open")),
    ("ZXB01", &["general-practice"], "2020-01-01", None, Some("open")),
    ("ZXC01", &["emergency-department", "general-practice"], "2020-01-01", None, Some("open")),
    ("ZXD01", &["emergency-department"], "2020-01-01", None, Some("closed")),
    ("ZXE01", &["emergency-department"], "2020-01-01", Some("2021-02-28"), Some("open")),
    ("ZXF01", &["emergency-department"], "2999-01-01", None, Some("open")),
    ("ZXG01", &[], "", None, None),
];
/// What somebody may be allowed to do; every combination is tried.
const ACTIVITIES: [&str; 4] = ["B0107", "B0170", "R0001", "R5105"];
/// Where a setting sees whether its access was received.
const RECEIPTS: &str = "/cpis/receipts/{child}/{access}";
/// Where it is searched who looked at whom.
const AUDIT: &str = "/cpis/audit/accesses/_search";
/// Children of each authority, so that no one child gathers a long history.
const CHILDREN: usize = 40;
/// Requests in hand at once.
const AT_ONCE: usize = 4;

// --- who asks ------------------------------------------------------------------------------------------------------------

/// Who holds a token, as far as the statements below tell them apart.
#[derive(Debug, Clone, PartialEq)]
enum Who {
    /// No token, or one that is no good.
    Nobody,
    /// The system of an authority.
    Authority(&'static str),
    /// A person or device.
    Health { organisation: usize, activities: Vec<&'static str>, device: bool },
}

/// Whoever looks for an organisation; the name occurs nowhere else.
fn viewer(organisation: &str) -> String {
    format!("Jo Carter-{organisation}")
}

struct Caller {
    who: Who,
    what: String,
    token: Option<String>,
}

fn health(organisation: usize, activities: &[&str], device: bool) -> Value {
    let code = ORGANISATIONS[organisation].0;
    let organisation = json!({"code": code, "name": format!("Organisation {code}")});
    if device {
        let device = json!({"asid": "200000000001", "responsible": "Sam Sample"});
        return json!({"device": device, "organisation": organisation, "activities": activities});
    }
    json!({
        "person": {
            "user": "555000000001",
            "roleProfile": "555000000002",
            "name": viewer(code),
            "jobRole": {"code": "R0670", "display": "Midwife Sister/Charge Nurse"},
        },
        "organisation": organisation,
        "activities": activities,
    })
}

/// Everybody: nobody, each authority, and every combination of activities in every organisation.
async fn everybody(issuer: &Issuer) -> Vec<Caller> {
    let elsewhere = Issuer::start().await;
    let own = authority_caller(AUTHORITIES[0]);
    let nurse = health(0, &ACTIVITIES, false);
    let mut all = vec![];
    let mut nobody =
        |what: &str, token: Option<String>| all.push(Caller { who: Who::Nobody, what: what.into(), token });
    nobody("no token", None);
    nobody("no JWT", Some("not.a.token".into()));
    for (what, caller) in [("an authority's", &own), ("a nurse's", &nurse)] {
        nobody(&format!("{what} expired token"), Some(issuer.expired(caller)));
        nobody(&format!("{what} forged token"), Some(elsewhere.token(caller)));
        let mut parts: Vec<_> = issuer.token(caller).split('.').map(str::to_owned).collect();
        parts[2].clear();
        nobody(&format!("{what} token without its signature"), Some(parts.join(".")));
    }
    for code in AUTHORITIES {
        let token = Some(issuer.token(&authority_caller(code)));
        all.push(Caller { who: Who::Authority(code), what: format!("system of {code}"), token });
    }
    for (organisation, (code, ..)) in ORGANISATIONS.into_iter().enumerate() {
        for combination in 0..1_usize << ACTIVITIES.len() {
            let activities: Vec<_> =
                ACTIVITIES.into_iter().enumerate().filter(|(i, _)| combination >> i & 1 == 1).map(|(_, a)| a).collect();
            for device in [false, true] {
                // A device is asked like a person; some combinations show that.
                if device && ![0b0000, 0b0001, 0b0010, 0b0011, 0b1100].contains(&combination) {
                    continue;
                }
                let token = Some(issuer.token(&health(organisation, &activities, device)));
                let kind = if device { "device" } else { "person" };
                let what = format!("{kind} of {code} with {activities:?}");
                all.push(Caller {
                    who: Who::Health { organisation, activities: activities.clone(), device },
                    what,
                    token,
                });
            }
        }
    }
    all
}

// --- what is asked -------------------------------------------------------------------------------------------------------

/// A request of an endpoint.
struct Ask {
    /// Method and path as the API's routes have it.
    endpoint: (String, String),
    /// Whose data: an authority's code as it is written in the path, or that of the child looked up.
    of: &'static str,
    /// The header `IsUnscheduledAccessEvent`; of an audit search, what it is by.
    header: Option<&'static str>,
    /// The child or thing is one that nobody holds.
    unknown: bool,
}

impl Ask {
    fn is(&self, method: &str, path: &str) -> bool {
        self.endpoint.0 == method && self.endpoint.1 == path
    }

    fn fhir(&self) -> bool {
        self.endpoint.1.starts_with("/cpis/FHIR/R4/") && !self.endpoint.1.ends_with("/metadata")
    }
}

/// Every request of every endpoint.
fn everything(template: &Template) -> Vec<Ask> {
    let mut all = vec![];
    for (_, event) in template.events("Api") {
        let endpoint = (text(&event["Method"]).to_owned(), text(&event["Path"]).to_owned());
        let mut ask = |of, header, unknown| all.push(Ask { endpoint: endpoint.clone(), of, header, unknown });
        if endpoint.1.contains("{gss}") {
            for code in AUTHORITIES.into_iter().chain(SPELLINGS) {
                ask(code, None, false);
            }
            ask(AUTHORITIES[0], None, true);
        } else if endpoint.1.starts_with("/cpis/FHIR/R4/") && !endpoint.1.ends_with("/metadata") {
            for header in [None, Some("true"), Some("false")] {
                ask(AUTHORITIES[0], header, false);
            }
            ask(FORMER, None, false);
            ask(AUTHORITIES[0], None, true);
        } else if endpoint.1 == AUDIT {
            for by in ["child", "person", "organisation"] {
                ask(AUTHORITIES[0], Some(by), false);
            }
        } else {
            ask(AUTHORITIES[0], None, false);
        }
    }
    all
}

/// The endpoints are those of the API's document, so none is forgotten here.
fn documented() -> BTreeSet<(String, String)> {
    let document: Value = serde_yaml_ng::from_str(include_str!("../../../openapi.yaml")).expect("openapi.yaml");
    let methods = |(path, item): (&str, &Value)| {
        let methods: Vec<_> = members(item).map(|(method, _)| method.to_uppercase()).collect();
        methods.into_iter().filter(|m| ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&m.as_str())).map({
            let path = path.to_owned();
            move |method| (method, path.clone())
        })
    };
    members(&document["paths"]).flat_map(methods).collect()
}

// --- who must be answered: the statements ----------------------------------------------------------------------------------

#[derive(Debug, Clone, Copy, PartialEq)]
enum Due {
    /// 200, with the data where there are any.
    Answer,
    /// 404, to who may ask for what is not there.
    Nothing,
    /// 403.
    Refusal,
    /// 401.
    Token,
    /// Any refusal.
    Closed,
    /// Whatever it is, it holds nobody's data.
    NoData,
}

fn due(who: &Who, ask: &Ask) -> Due {
    // Two paths are open to all.
    if ask.endpoint.1 == "/_ping" || ask.endpoint.1 == "/_status" {
        return Due::Answer;
    }
    // Nothing else answers without a good token.
    if *who == Who::Nobody {
        return Due::Token;
    }
    // An authority's paths answer that authority's own system, while it takes part, and nobody else.
    if ask.endpoint.1.contains("{gss}") {
        return match who {
            _ if SPELLINGS.contains(&ask.of) => Due::Closed,
            Who::Authority(code) if *code == ask.of && ![FORMER, NEVER].contains(code) => {
                let one_thing = ask.is("GET", "/cpis/authorities/{gss}/uploads/{sequence}")
                    || ask.is("POST", "/cpis/authorities/{gss}/notifications/{id}/acknowledge")
                    || ask.is("POST", "/cpis/authorities/{gss}/notifications/{id}/action");
                if ask.unknown && one_thing { Due::Nothing } else { Due::Answer }
            }
            _ => Due::Refusal,
        };
    }
    // Health care's paths answer people and devices in health care.
    let Who::Health { organisation, activities, device } = who else { return Due::Refusal };
    let today = ["ZXA01", "ZXB01", "ZXC01"].contains(&ORGANISATIONS[*organisation].0);
    let holds = |activity| activities.contains(&activity);
    // Who looked at whom is for privacy officers and guardians, people of an organisation that takes part today, and only of their own.
    if ask.endpoint.1 == AUDIT {
        let officer = today && !device && (holds("R0001") || holds("R5105"));
        let own = ask.header != Some("organisation") || ORGANISATIONS[*organisation].0 == ORGANISATIONS[0].0;
        return if officer && own { Due::Answer } else { Due::Refusal };
    }
    // What the service can do is no secret to them.
    if ask.endpoint.1.ends_with("/metadata") {
        return Due::NoData;
    }
    // A child is shown to who may view it, in an organisation that takes part today …
    if !today || !(holds("B0107") || holds("B0170")) {
        return Due::Refusal;
    }
    // Whether an access was received is for the organisation that made it.
    if ask.endpoint.1 == RECEIPTS {
        return if *organisation == 0 { Due::Answer } else { Due::Nothing };
    }
    let care = ORGANISATIONS[*organisation].1;
    match ask.header {
        // … silently only where scheduled care is given, to who may view it so,
        Some("false") if !(holds("B0170") && care.contains(&"general-practice")) => Due::Refusal,
        // and as unscheduled care only where that is given; what is left unsaid contradicts nothing.
        Some("true") if !care.contains(&"emergency-department") => Due::Refusal,
        _ => Due::Answer,
    }
}

// --- the gateway -----------------------------------------------------------------------------------------------------------

/// What the authorizer said of a token: its policy's resources, and what it tells functions.
#[derive(Clone, PartialEq)]
enum Said {
    Unauthorized,
    Allows(Vec<String>, Value),
}

/// What stands before a function.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wall {
    /// The token is good.
    Token,
    /// The authorizer's policy allows the method.
    Policy,
}

/// API Gateway, as far as it decides who reaches what.
struct Gateway {
    authorizer: Function,
    functions: BTreeMap<String, Function>,
    /// Method, path, function, whether it is open to all.
    routes: Vec<(String, String, String, bool)>,
    remembered: Mutex<BTreeMap<String, Said>>,
}

impl Gateway {
    async fn start(world: &World, issuer: &Issuer, template: &Template) -> Self {
        let mut environment = function_environment(&world.proxy.url, &world.sqs);
        environment.extend(issuer.environment());
        let authorizer =
            Function::start(&binaries::function("authorizer"), &environment).await.expect("the authorizer starts");
        let mut functions = BTreeMap::new();
        let mut routes = vec![];
        for (name, event) in template.events("Api") {
            if !functions.contains_key(name) {
                functions.insert(name.to_owned(), world.start(name).await);
            }
            let [method, path] = ["Method", "Path"].map(|key| text(&event[key]).to_owned());
            routes.push((method, path, name.to_owned(), event["Auth"]["Authorizer"] == "NONE"));
        }
        Self { authorizer, functions, routes, remembered: Mutex::default() }
    }

    /// The status and body of a request.
    async fn call(&self, token: Option<&str>, request: &Request) -> (u64, String) {
        self.call_through(&[Wall::Token, Wall::Policy], token, request).await
    }

    /// The status and body of a request that has only these walls before the function.
    async fn call_through(&self, walls: &[Wall], token: Option<&str>, request: &Request) -> (u64, String) {
        let (method, path) = (request.method(), request.path());
        let Some((.., name, open)) = self.routes.iter().find(|r| r.0 == method && fits(&r.1, path)) else {
            return (404, String::new());
        };
        let mut event = request.event();
        if !open {
            let Some(token) = token else { return (401, String::new()) };
            let Said::Allows(resources, context) = self.remembered(token, method, path).await else {
                return (401, String::new());
            };
            if walls.contains(&Wall::Policy)
                && !resources.iter().any(|pattern| matches(pattern, &events::method_arn(method, path)))
            {
                return (403, String::new());
            }
            event["requestContext"]["authorizer"] = context;
        }
        let answer = self.functions[name].invoke_json(&event).await.json();
        (answer["statusCode"].as_u64().unwrap_or_default(), text(&answer["body"]).to_owned())
    }

    /// What the authorizer said of the token when it was first used, whatever for.
    async fn remembered(&self, token: &str, method: &str, path: &str) -> Said {
        if let Some(said) = self.remembered.lock().await.get(token) {
            return said.clone();
        }
        let said = self.asked(token, method, path).await;
        self.remembered.lock().await.insert(token.to_owned(), said.clone());
        said
    }

    async fn asked(&self, token: &str, method: &str, path: &str) -> Said {
        let reply = self.authorizer.invoke_json(&events::authorizer_event(token, method, path)).await;
        if let Outcome::Error(error) = &reply.outcome {
            let error = String::from_utf8_lossy(error);
            assert!(error.contains("\"Unauthorized\""), "API Gateway would answer 503: {error}");
            return Said::Unauthorized;
        }
        let answer = reply.json();
        let mut resources = vec![];
        for statement in items(&answer["policyDocument"]["Statement"]) {
            assert_eq!(statement["Effect"], "Allow", "{answer}");
            resources.extend(items(&statement["Resource"]).into_iter().map(|r| text(r).to_owned()));
        }
        Said::Allows(resources, answer["context"].clone())
    }
}

/// Whether a path is of a route; a parameter is one part of it, and not empty.
fn fits(route: &str, path: &str) -> bool {
    let (route, path): (Vec<_>, Vec<_>) = (route.split('/').collect(), path.split('/').collect());
    let part = |(wanted, found): (&&str, &&str)| wanted == found || (wanted.starts_with('{') && !found.is_empty());
    route.len() == path.len() && route.iter().zip(&path).all(part)
}

/// IAM's wildcards: `*` is any characters, slashes too.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text
            .strip_prefix(start)
            .is_some_and(|text| (0..=text.len()).any(|at| text.is_char_boundary(at) && matches(rest, &text[at..]))),
    }
}

// --- whose data are in an answer -------------------------------------------------------------------------------------------

/// Everybody's data, planted by their own uploads and look-ups.
struct Planted {
    world: World,
    /// Of each authority, a notification in its mailbox.
    notifications: BTreeMap<&'static str, String>,
    /// Child's key and id of an access by the first organisation.
    access: (String, String),
    next: AtomicU64,
}

/// Where an authority's children begin among the numbers.
fn first_child(code: &str) -> usize {
    AUTHORITIES.iter().position(|c| *c == code).unwrap_or(AUTHORITIES.len()) * CHILDREN
}

/// What occurs in nothing but this authority's data.
fn marks(code: &str) -> Vec<String> {
    let place = AUTHORITIES.iter().position(|c| *c == code).unwrap_or_default();
    let name = ["Quillfeather", "Thistlewhistle", "Marrowfinch", "Sedgewhimbrel"][place];
    vec![name.to_owned(), format!("CANARY-{code}-"), format!("Council {code}"), phone(code)]
}

fn phone(code: &str) -> String {
    format!("01632 9602{}", &code[code.len() - 2..])
}

fn canary_row(code: &str, child: usize) -> String {
    let number = nhs_number(first_child(code) + child);
    format!("{number},CANARY-{code}-{child},{},Alex,2015-03-04,CPP,2025-01-02,,", marks(code)[0])
}

impl Planted {
    async fn new(issuer: &Issuer, template: &Template) -> Self {
        let world = World::without_streams().await;
        AUTHORITIES[..3].iter().for_each(|code| world.dynamo.put("directory", &authority(code, "open")));
        for (code, care, from, until, status) in ORGANISATIONS {
            let Some(status) = status else { continue };
            let mut entry = json!({
                "kind": {"S": "setting"}, "code": {"S": code}, "name": {"S": format!("Organisation {code}")},
                "region": {"S": "London"}, "authority": {"S": "E09000001"}, "status": {"S": status}, "from": {"S": from},
                "care": {"L": care.iter().map(|kind| json!({"S": kind})).collect::<Vec<_>>()},
            });
            if let Some(until) = until {
                entry["until"] = json!({"S": until});
            }
            world.dynamo.put("directory", &entry);
        }
        let mut planted =
            Self { world, notifications: BTreeMap::new(), access: Default::default(), next: AtomicU64::new(1_000) };
        planted.plant(issuer, template).await;
        planted
    }

    /// Uploads, look-ups and notifications of the three authorities that take part; then one leaves.
    async fn plant(&mut self, issuer: &Issuer, template: &Template) {
        let gateway = Gateway::start(&self.world, issuer, template).await;
        let nurse = issuer.token(&health(0, &ACTIVITIES, false));
        for code in &AUTHORITIES[..3] {
            let rows: Vec<_> = (0..CHILDREN).map(|child| canary_row(code, child)).collect();
            let token = issuer.token(&authority_caller(code));
            let answer = gateway.call(Some(&token), &upload(code, 1, &phone(code), &csv(&rows))).await;
            assert!(answer.0 == 200 && answer.1.contains("CPF02"), "{answer:?}");
            let ask = Ask {
                endpoint: ("GET".into(), "/cpis/FHIR/R4/CareTeam".into()),
                of: code,
                header: None,
                unknown: false,
            };
            let answer = gateway.call(Some(&nurse), &self.request(&ask)).await;
            assert_eq!(answer.0, 200, "{answer:?}");
        }
        let records = self.world.owed_records();
        let relayed = self.world.start("asn-relay").await.invoke_json(&events::stream_event(&records)).await;
        assert!(relayed.answer().is_some(), "{relayed:?}");
        let sent = self.world.sqs.receive("asn");
        assert_eq!(sent.len(), 3, "a notification for each authority");
        let delivered = self.world.start("asn-delivery").await.invoke_json(&events::sqs_event("asn", &sent)).await;
        assert!(delivered.answer().is_some(), "{delivered:?}");
        for item in self.world.dynamo.scan("mailbox") {
            let code = AUTHORITIES.into_iter().find(|code| item["la"]["S"] == *code).expect("an authority");
            self.notifications.insert(code, text(&item["id"]["S"]).to_owned());
        }
        assert_eq!(self.notifications.len(), 3, "{:?}", self.world.dynamo.scan("mailbox"));
        let access = &self.world.dynamo.scan("accesses")[0];
        self.access = (text(&access["child"]["S"]).to_owned(), text(&access["id"]["S"]).to_owned());
        self.world.dynamo.put("directory", &authority(FORMER, "closed"));
    }

    fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A request with all that its endpoint needs, and with ids that are really there.
    fn request(&self, ask: &Ask) -> Request {
        let (method, route) = (ask.endpoint.0.as_str(), ask.endpoint.1.as_str());
        let other = AUTHORITIES[1];
        let id = self.notifications.get(if ask.unknown { other } else { ask.of });
        let id = id.or(self.notifications.get(other)).map_or("", String::as_str);
        let sequence = if ask.unknown { "77" } else { "1" };
        let path = route.replace("{gss}", ask.of).replace("{id}", id).replace("{sequence}", sequence);
        let path = path.replace("{child}", &self.access.0).replace("{access}", &self.access.1);
        let child = self.next() as usize % CHILDREN;
        let number = nhs_number(if ask.unknown { 2_000 } else { first_child(ask.of) } + child);
        let identifier = format!("https://fhir.nhs.uk/Id/nhs-number|{number}");
        let sequence = self.next();
        match (method, route) {
            ("POST", "/cpis/authorities/{gss}/uploads") => {
                upload(ask.of, sequence, &phone(ask.of), &csv(&[canary_row(ask.of, child)]))
            }
            ("POST", "/cpis/authorities/{gss}/plans") => {
                let record = json!({
                    "nhs_number": number, "local_id": format!("CANARY-{}-{child}", ask.of), "family_name": marks(ask.of)[0],
                    "given_names": ["Alex"], "birth_date": "2015-03-04", "plan_type": "LAC", "start_date": "2025-01-02",
                });
                let plan = json!({
                    "sequence": sequence, "created": "2026-01-01T08:00:00Z",
                    "authority": {"emergencyDutyTeamPhone": phone(ask.of)}, "record": record,
                });
                Request::new("POST", &path).body("application/json", plan.to_string())
            }
            ("GET", "/cpis/FHIR/R4/CareTeam" | "/cpis/FHIR/R4/AuditEvent" | "/cpis/FHIR/R4/Flag") => {
                headers(Request::new("GET", &path).query("patient:identifier", &identifier), ask)
            }
            ("POST", _) if route.ends_with("/_search") && ask.fhir() => {
                let form = format!("patient:identifier={}", identifier.replace('|', "%7C"));
                headers(Request::new("POST", &path).body("application/x-www-form-urlencoded", form), ask)
            }
            ("POST", AUDIT) => {
                let value = match ask.header {
                    Some("child") => number,
                    Some("person") => "555000000001".to_owned(),
                    _ => ORGANISATIONS[0].0.to_owned(),
                };
                let search = json!({ask.header.unwrap_or_default(): value});
                Request::new("POST", &path).body("application/json", search.to_string())
            }
            ("GET", _) => Request::new("GET", &path),
            ("POST", _) if route.starts_with("/cpis/authorities/{gss}/notifications/{id}/") => {
                Request::new("POST", &path)
            }
            ("PUT", "/cpis/authorities/{gss}/reading") => Request::new("PUT", &path).body("application/json", "{}"),
            _ => panic!("say how {method} {route} is called"),
        }
    }
}

fn headers(request: Request, ask: &Ask) -> Request {
    let request = request.header("TraceID", "6a1ad5b2-0a64-4c41-9b0c-0d5fcf8e6d11");
    ask.header.map_or(request.clone(), |value| request.header("IsUnscheduledAccessEvent", value))
}

/// What is wrong with an answer; `None` if nothing is.
fn wrong(caller: &Caller, ask: &Ask, status: u64, body: &str) -> Option<String> {
    let due = due(&caller.who, ask);
    let right = match due {
        Due::Answer => status == 200,
        Due::Nothing => status == 404,
        Due::Refusal => status == 403,
        Due::Token => status == 401,
        Due::Closed => (400..500).contains(&status),
        Due::NoData => status < 500,
    };
    if !right {
        return Some(format!("{status} where {due:?} is due"));
    }
    // Whose data this answer may hold.
    let may = match &caller.who {
        Who::Authority(own) => Some(*own),
        Who::Health { .. } if due == Due::Answer && ask.fhir() => Some(ask.of),
        _ => None,
    };
    let others = AUTHORITIES.into_iter().filter(|code| Some(*code) != may);
    if let Some(mark) = others.flat_map(marks).find(|mark| body.contains(mark.as_str())) {
        return Some(format!("{status} with {mark}, which is another's"));
    }
    if ask.endpoint.1 == AUDIT {
        let own = |code: &str| matches!(&caller.who, Who::Health { organisation, .. } if ORGANISATIONS[*organisation].0 == code);
        let others = ORGANISATIONS.iter().map(|organisation| organisation.0).filter(|code| !own(code));
        let mut marks = others.map(viewer);
        return marks
            .find(|mark| body.contains(mark.as_str()))
            .map(|mark| format!("{status} with {mark}, of another organisation"));
    }
    let figures = ["uploads", "ageing", "reading", "/ways"].iter().any(|part| ask.endpoint.1.contains(part));
    let lists = ask.endpoint.0 == "GET" && ask.endpoint.1.contains("{gss}") && !figures;
    let shows = lists || (ask.fhir() && !ask.unknown && !ask.endpoint.1.contains("AuditEvent"));
    let own = due == Due::Answer
        && shows
        && may.is_some_and(|code| !marks(code).iter().any(|mark| body.contains(mark.as_str())));
    own.then(|| format!("{status} without the data: {body}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r68_nobody_reaches_what_is_anothers() {
    let template = Template::load();
    let issuer = Issuer::start().await;
    let planted = Planted::new(&issuer, &template).await;
    // Started anew: none remembers the directory as it was.
    let gateway = Gateway::start(&planted.world, &issuer, &template).await;
    let (callers, asks) = (everybody(&issuer).await, everything(&template));
    let routes: BTreeSet<_> = gateway.routes.iter().map(|r| (r.0.clone(), r.1.clone())).collect();
    assert_eq!(routes, documented(), "openapi.yaml and template.yaml name other endpoints");
    let cells: Vec<_> = callers.iter().flat_map(|caller| asks.iter().map(move |ask| (caller, ask))).collect();
    let (gateway, planted) = (&gateway, &planted);
    let outcomes: Vec<_> = stream::iter(&cells)
        .map(|(caller, ask)| async move {
            let request = planted.request(ask);
            let (status, body) = gateway.call(caller.token.as_deref(), &request).await;
            let wrong = wrong(caller, ask, status, &body);
            (status, wrong.map(|w| format!("{} {:?} of {}, {:?}: {w}", caller.what, ask.endpoint, ask.of, ask.header)))
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let leaks: Vec<_> = outcomes.iter().filter_map(|(_, wrong)| wrong.clone()).collect();
    assert!(leaks.is_empty(), "{} of {} cells:\n{}", leaks.len(), cells.len(), leaks[..leaks.len().min(40)].join("\n"));
    let answered = outcomes.iter().filter(|(status, _)| *status == 200).count();
    assert!(cells.len() > 10_000 && answered > 1_000, "{} cells, {answered} answered", cells.len());
}

/// Each of the two walls holds without the other: the policy lets nobody into another's part of the API, and where it would,
/// the function refuses by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r68_the_policy_and_the_functions_each_refuse_by_themselves() {
    let template = Template::load();
    let issuer = Issuer::start().await;
    let planted = Planted::new(&issuer, &template).await;
    let gateway = Gateway::start(&planted.world, &issuer, &template).await;
    let asks = everything(&template);
    let everybody = everybody(&issuer).await;
    // Some of health care stand for all of it.
    let (health, others): (Vec<_>, Vec<_>) = everybody.iter().partition(|c| matches!(c.who, Who::Health { .. }));
    let holders = others.into_iter().filter(|c| c.who != Who::Nobody).chain(health.into_iter().step_by(23));
    let mut refused = 0;
    for caller in holders {
        let token = caller.token.as_deref();
        // What the service can do is in no function's keeping.
        let guarded = asks.iter().filter(|ask| !ask.endpoint.1.ends_with("/metadata"));
        for ask in guarded.filter(|ask| due(&caller.who, ask) == Due::Refusal) {
            let request = planted.request(ask);
            let answer = gateway.call_through(&[Wall::Token], token, &request).await;
            assert_eq!(answer.0, 403, "the function, asked by {}: {request:?}: {answer:?}", caller.what);
            assert_eq!(wrong(caller, ask, answer.0, &answer.1), None, "{}: {request:?}", caller.what);
            let own = match &caller.who {
                Who::Authority(code) => ask.endpoint.1.contains("{gss}") && ask.of == *code,
                _ => !ask.endpoint.1.contains("{gss}"),
            };
            let said = gateway.remembered(token.expect("a token"), request.method(), request.path()).await;
            let Said::Allows(resources, _) = said else { panic!("{} is refused", caller.what) };
            let allowed = resources.iter().any(|p| matches(p, &events::method_arn(request.method(), request.path())));
            assert_eq!(allowed, own, "the policy, asked by {}: {request:?}", caller.what);
            refused += 1;
        }
    }
    assert!(refused > 500, "{refused} refusals");
}

/// API Gateway asks the authorizer once and applies what it said to every path: so what it says must not depend on the path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r68_what_the_authorizer_says_of_a_token_does_not_depend_on_the_path() {
    let template = Template::load();
    let issuer = Issuer::start().await;
    let world = World::new().await;
    let gateway = Gateway::start(&world, &issuer, &template).await;
    for caller in everybody(&issuer).await.iter().step_by(7) {
        let Some(token) = &caller.token else { continue };
        let first = gateway.asked(token, "GET", "/cpis/FHIR/R4/metadata").await;
        for (method, path, ..) in &gateway.routes {
            let path = path.replace("{gss}", AUTHORITIES[1]).replace("{id}", "x").replace("{sequence}", "1");
            let said = gateway.asked(token, method, &path).await;
            assert!(said == first, "{} {method} {path}", caller.what);
        }
    }
}
