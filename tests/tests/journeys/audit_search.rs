//! Officers search who looked at whom; nobody else does, and each search leaves its own trace.

use cpis_tests::{
    canary::{Child, VIEWER},
    stack::{Answer, Call, Stack, encode, eventually},
};
use serde_json::{Value, json};
use uuid::Uuid;

use std::time::Duration;

const PATH: &str = "/cpis/audit/accesses/_search";

fn search(stack: &Stack, token: &str, asked: &Value) -> Call {
    stack.post(PATH).token(token).json(asked)
}

async fn found(stack: &Stack, token: &str, asked: Value) -> Answer {
    let answer = search(stack, token, &asked).send().await;
    answer.expect(200);
    answer
}

fn items(answer: &Answer) -> Vec<Value> {
    answer.json()["items"].as_array().cloned().unwrap_or_default()
}

fn ids(items: &[Value]) -> Vec<String> {
    items.iter().map(|item| item["id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The token of somebody at an organisation of the directory.
fn person(stack: &Stack, organisation: &str, activities: &[&str]) -> String {
    let user = Uuid::new_v4().as_u128().to_string();
    let mut arguments = vec!["token", "person", "--user", &user, "--name", VIEWER, "--job-role", "R8001"];
    arguments.extend(["--org-code", organisation, "--org-name", "Sample"]);
    activities.iter().for_each(|activity| arguments.extend(["--activity", activity]));
    stack.done(&arguments).stdout
}

/// A look-up; its trace, whatever is answered.
async fn looked_up(stack: &Stack, child: &Child, token: &str, headers: &[(&str, &str)], status: u16) -> Uuid {
    let trace = Uuid::new_v4();
    let call = stack.search("CareTeam", &child.number()).token(token).header("TraceID", trace);
    headers.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await.expect(status);
    trace
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn an_officer_finds_who_looked_and_who_was_refused() {
    let stack = Stack::open();
    let council = stack.council("E06000030");
    let child = Child::new(190);
    council.hold(&child, "CPP").await;
    let nurse = stack.nurse(&["B0107"]);
    let traces = [
        looked_up(&stack, &child, &nurse, &[], 200).await,
        looked_up(&stack, &child, &nurse, &[("IsUnscheduledAccessEvent", "false")], 403).await,
        looked_up(&stack, &child, &nurse, &[], 200).await,
    ];
    let officer = stack.nurse(&["R0001"]);
    let by_child = found(&stack, &officer, json!({"child": child.number()})).await;
    let all = items(&by_child);
    let outcomes: Vec<_> = all.iter().map(|item| item["outcome"].as_str().unwrap_or_default()).collect();
    assert_eq!(outcomes, ["disclosed", "refused", "disclosed"], "{by_child:?}");
    assert_eq!(all[1]["refused"], "silent-without-activity");
    assert!(all.iter().zip(traces.iter().rev()).all(|(item, trace)| item["traceId"] == trace.to_string()));
    assert_eq!((&all[0]["viewer"]["name"], &all[0]["organisation"]["code"]), (&json!(VIEWER), &json!("ZX001")));
    assert_eq!(all[0]["notified"], json!(["E06000030"]));
    assert!(!String::from_utf8_lossy(&by_child.body).contains(&child.number()), "no answer holds a number");

    // The same by the child's key, by person and by organisation, in JSON and as a form.
    let (key, user, first) = (&all[0]["child"], &all[0]["viewer"]["id"], &all[2]["at"]);
    for asked in [
        json!({"child": key}),
        json!({"person": user}),
        json!({"organisation": "ZX001", "from": first, "limit": 1000}),
        json!({"person": user, "from": "2015-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}),
    ] {
        let mut items = items(&found(&stack, &officer, asked.clone()).await);
        items.retain(|item| item["child"] == *key);
        assert_eq!(ids(&items), ids(&all), "{asked}");
    }
    let form = format!("child={}", encode(key.as_str().unwrap_or_default()));
    let form = stack.post(PATH).token(&officer).body("application/x-www-form-urlencoded", form).send().await;
    assert_eq!(ids(&items(&form)), ids(&all), "{form:?}");
    assert_eq!(items(&found(&stack, &officer, json!({"person": user, "to": first})).await), [] as [Value; 0]);
    pages_and_tables(&stack, &officer, &child, &all).await;
    every_search_is_audited(&stack, key).await;
}

async fn pages_and_tables(stack: &Stack, officer: &str, child: &Child, all: &[Value]) {
    let one = found(stack, officer, json!({"child": child.number(), "limit": 2})).await;
    let next = one.json()["next"].clone();
    assert_eq!(ids(&items(&one)), ids(&all[..2]));
    let two = found(stack, officer, json!({"child": child.number(), "limit": 2, "cursor": next})).await;
    assert_eq!((ids(&items(&two)), two.json().get("next")), (ids(&all[2..]), None), "{two:?}");
    // A cursor is good for its own search and its own officer.
    let other = stack.nurse(&["R0001"]);
    for (token, asked) in [
        (&other[..], json!({"child": child.number(), "cursor": next})),
        (officer, json!({"organisation": "ZX001", "cursor": next})),
        (officer, json!({"child": child.number(), "cursor": "bm90IG9uZQ"})),
    ] {
        search(stack, token, &asked).send().await.refused(400, "BAD_REQUEST");
    }
    let table = async |asked: Value| {
        let answer = search(stack, officer, &asked).header("Accept", "text/csv").send().await;
        answer.expect(200);
        let lines = String::from_utf8_lossy(&answer.body).lines().map(str::to_owned).collect::<Vec<_>>();
        (answer, lines)
    };
    let (first, lines) = table(json!({"child": child.number(), "limit": 2})).await;
    assert_eq!(first.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    assert!(lines.len() == 3 && lines[0].starts_with("\"at\",\"outcome\""), "{lines:?}");
    let next = first.header("next-cursor").expect("a cursor");
    let (second, lines) = table(json!({"child": child.number(), "limit": 2, "cursor": next})).await;
    assert_eq!(second.header("content-type"), Some("text/csv; charset=utf-8; header=absent"));
    assert!(lines.len() == 1 && lines[0].contains(all[2]["id"].as_str().unwrap_or_default()), "{lines:?}");
    assert_eq!(second.header("next-cursor"), None);
}

/// Each of the searches above for the child, and no number in any.
async fn every_search_is_audited(stack: &Stack, key: &Value) {
    let audited = stack.scan("AuditTable", &[]).await;
    let of_child = audited.iter().filter(|item| {
        item["kind"]["S"] == "audit-search"
            && item["subject"]["S"] == *key
            && item["details"]["M"]["by"]["S"] == "child"
    });
    let shown: Vec<_> = of_child.map(|item| item["details"]["M"]["shown"]["S"].as_str().unwrap_or_default()).collect();
    // By number, by key, as a form, and two pages twice.
    assert_eq!(shown.len(), 7, "{shown:?}");
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn nobody_else_searches_and_each_attempt_is_recorded() {
    let stack = Stack::open();
    let (child, asked) = (Child::new(191), |child: &Child| json!({"child": child.number()}));
    let council = stack.authority_token("E06000031");
    for (who, token) in [
        ("a nurse", person(&stack, "ZX001", &["B0107", "B0170"])),
        ("nobody in particular", person(&stack, "ZX001", &["B0001"])),
        ("an officer of an organisation that is not in the directory", person(&stack, "ZX0ZY", &["R0001", "R5105"])),
    ] {
        let answer = search(&stack, &token, &asked(&child)).send().await;
        assert_eq!(answer.status, 403, "{who}: {answer:?}");
        answer.refused(403, "ACCESS_DENIED");
        // What is wrong with the search is not for them.
        search(&stack, &token, &json!({})).send().await.refused(403, "ACCESS_DENIED");
    }
    search(&stack, &council, &asked(&child)).send().await.expect(403);
    stack.post(PATH).json(&asked(&child)).send().await.expect(401);
    let guardian = person(&stack, "ZX002", &["R5105"]);
    search(&stack, &guardian, &json!({"organisation": "ZX001"})).send().await.refused(403, "ACCESS_DENIED");

    let officer = person(&stack, "ZX002", &["R0001"]);
    let audited = stack.scan("AuditTable", &[]).await;
    let refused: Vec<_> = audited.iter().filter(|item| item["kind"]["S"] == "audit-search-refused").collect();
    for why in ["not-an-officer", "organisation-unknown", "other-organisation"] {
        assert!(refused.iter().any(|item| item["details"]["M"]["refused"]["S"] == why), "{why}: {refused:?}");
    }
    for (body, status, code) in [
        (json!({}), 400, "INVALID_SEARCH_DATA"),
        (json!({"child": "9990000019"}), 400, "INVALID_SEARCH_DATA"),
        (json!({"child": child.number(), "person": "1"}), 400, "INVALID_SEARCH_DATA"),
        (json!({"person": "1", "from": "yesterday"}), 400, "INVALID_SEARCH_DATA"),
        (json!({"person": "1", "name": "x"}), 400, "INVALID_SEARCH_DATA"),
    ] {
        search(&stack, &officer, &body).send().await.refused(status, code);
    }
    let form = stack.post(PATH).token(&officer).body("text/plain", "child=1").send().await;
    form.refused(415, "UNSUPPORTED_MEDIA_TYPE");
    let url = stack.post(&format!("{PATH}?child={}", child.number())).token(&officer).json(&asked(&child)).send().await;
    url.refused(400, "BAD_REQUEST");
    search(&stack, &officer, &asked(&child)).send().await.expect(200);
}

/// Sample Young People's Clinic gives sexual health care, in a pilot that runs.
#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn officers_see_their_own_and_oversight_sees_all_but_whose_clinic_it_was() {
    let stack = Stack::open();
    let council = stack.council("E06000032");
    let child = Child::new(192);
    council.hold(&child, "CPP").await;
    let (nurse, clinician) = (person(&stack, "ZX001", &["B0107"]), person(&stack, "ZX009", &["B0107"]));
    looked_up(&stack, &child, &nurse, &[], 200).await;
    looked_up(&stack, &child, &clinician, &[], 403).await;
    let consented = looked_up(&stack, &child, &clinician, &[("PatientConsent", "true")], 200).await;
    let by_child = json!({"child": child.number()});

    let hospital = items(&found(&stack, &person(&stack, "ZX001", &["R0001"]), by_child.clone()).await);
    assert_eq!(hospital.iter().map(|item| &item["organisation"]["code"]).collect::<Vec<_>>(), ["ZX001"]);
    let clinic = items(&found(&stack, &person(&stack, "ZX009", &["R5105"]), by_child.clone()).await);
    assert_eq!(clinic.iter().map(|item| &item["organisation"]["code"]).collect::<Vec<_>>(), ["ZX009", "ZX009"]);
    assert_eq!((&clinic[0]["traceId"], &clinic[1]["refused"]), (&json!(consented.to_string()), &json!("no-consent")));

    let national = person(&stack, "ZX00D", &["R5105"]);
    let answer = found(&stack, &national, by_child).await;
    let outcomes: Vec<_> = items(&answer).iter().map(|item| item["outcome"].clone()).collect();
    assert_eq!(outcomes, ["disclosed", "refused", "disclosed"], "{answer:?}");
    let text = String::from_utf8_lossy(&answer.body);
    let user = clinic[0]["viewer"]["id"].as_str().unwrap_or_default();
    for told in ["ZX009", "Young People", "sexual", "no-consent", user, &consented.to_string()] {
        assert!(!text.contains(told), "{told} in {text}");
    }
    for asked in [json!({"person": user}), json!({"organisation": "ZX009"})] {
        assert_eq!(items(&found(&stack, &national, asked.clone()).await), [] as [Value; 0], "{asked}");
    }
    let hospital = || async {
        let found = found(&stack, &national, json!({"organisation": "ZX001", "limit": 1000})).await;
        items(&found).into_iter().find(|item| item["child"] == clinic[0]["child"])
    };
    eventually("the hospital's look-up", Duration::from_secs(5), hospital).await;
}
