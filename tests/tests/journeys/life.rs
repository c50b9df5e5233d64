//! The life of a notification once it is delivered, on the live system: read, actioned, told in a digest, and known to have come.

use std::time::Duration;

use cpis_tests::{
    canary::Child,
    stack::{Council, Stack, eventually},
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

/// The mailboxes are watched every minute.
const WATCHED: Duration = Duration::from_secs(150);

fn steps(notification: &Value) -> Vec<&str> {
    notification["life"].as_array().into_iter().flatten().filter_map(|step| step["step"].as_str()).collect()
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn r86_r89_r90_a_notification_is_received_acknowledged_and_actioned() {
    let stack = Stack::open();
    let council = stack.council("E06000044");
    let child = Child::new(140);
    council.hold(&child, "CPP").await;
    let nurse = stack.nurse(&["B0107"]);
    let (trace, answer) = stack.look_up("CareTeam", &child, &nurse, 1).await;
    let receipt = answer.header("notification-receipt").expect("somebody is told").to_owned();
    let told = council.told(trace).await;
    assert_eq!(steps(&told), ["owed", "queued", "delivered"], "{told}");

    // The setting that raised it sees that it was received, and nothing more; another one sees nothing.
    let received = stack.get(&receipt).token(&nurse).send().await;
    received.expect(200);
    let expected = json!([{"authority": council.code, "received": true}]);
    assert_eq!((&received.json()["receipts"], &received.json()["accessId"]), (&expected, &told["accessId"]));
    stack
        .get(&receipt)
        .token(&stack.staff("ZX003", "R0260", &["B0170"]))
        .send()
        .await
        .refused(404, "RESOURCE_NOT_FOUND");
    stack.get(&receipt).token(&council.token).send().await.expect(403);

    let path = |step: &str| format!("notifications/{}/{step}", told["id"].as_str().unwrap_or_default());
    council.post(&path("acknowledge")).json(&json!({"by": "Duty team"})).send().await.expect(200);
    council.post(&path("acknowledge")).json(&json!({"by": "Another team"})).send().await.expect(200);
    let actioned = council.post(&path("action")).send().await;
    actioned.expect(200);
    let actioned = actioned.json();
    assert_eq!(steps(&actioned), ["owed", "queued", "delivered", "acknowledged", "actioned"]);
    assert_eq!((&actioned["acknowledgedBy"], &actioned["actionedBy"]), (&json!("Duty team"), &json!(council.code)));
    council.post(&path("acknowledge")).json(&json!({"by": ""})).send().await.refused(400, "BAD_REQUEST");

    let report = council.get("notifications/ageing").send().await;
    report.expect(200);
    let report = report.json();
    assert_eq!((&report["actioned"], &report["unread"]), (&json!(1), &json!(0)), "{report}");
    let seen = stack.cpis(&["ageing", council.code, "--json"]);
    assert_eq!((seen.status, &seen.json()[0]["actioned"]), (0, &json!(1)), "{:?}", seen.json());
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn r84_what_can_wait_goes_out_in_a_digest_and_is_read_with_it() {
    let stack = Stack::open();
    let council = stack.council("E06000045");
    let rules = json!({"cadence": "digest", "digestHour": 3});
    let put = |body: &Value| stack.call(Method::PUT, &council.path("reading")).token(&council.token).json(body);
    put(&json!({"digestHour": 24})).send().await.refused(400, "BAD_REQUEST");
    put(&rules).send().await.expect(200);
    assert_eq!(council.get("reading").send().await.json()["cadence"], "digest");

    // Put into the queue as the relay would: whether a look-up made now can wait depends on the time of day.
    let id = waiting(&stack, &council, Child::new(141)).await;
    let held = || async { of_id(&council, &id).await };
    let waits = eventually("the notification that can wait", WATCHED, held).await;
    assert!(waits["digestAt"].is_string() && waits["pushes"].is_null(), "{waits}");

    // Its hour comes.
    let table = stack.output("MailboxTable");
    let due = json!({
        "TableName": table, "Key": {"la": {"S": council.code}, "id": {"S": id}},
        "UpdateExpression": "SET digestAt = :at, wake_at = :at", "ConditionExpression": "attribute_exists(digestAt)",
        "ExpressionAttributeValues": {":at": {"S": "2026-01-01T03:00:00.000Z"}},
    });
    stack.aws("DynamoDB_20120810.UpdateItem", due).await;
    let digest = || async {
        let (items, _) = council.list("notifications", 100).await;
        items.into_iter().find(|item| item["kind"] == "digest")
    };
    let digest = eventually("the digest", WATCHED, digest).await;
    assert_eq!(digest["entries"].as_array().map(|e| e.iter().map(|e| &e["id"]).collect()), Some(vec![&json!(id)]));
    let path = format!("notifications/{}/acknowledge", digest["id"].as_str().unwrap_or_default());
    council.post(&path).send().await.expect(200);
    let (items, _) = council.list("notifications", 100).await;
    assert_eq!(items.len(), 2, "the access stands in the mailbox by itself too");
    assert!(items.iter().all(|item| item["state"] == "acknowledged"), "{items:?}");
}

/// An authority that is told of every access, as all are at first. The watch looks every minute who else saw the child.
#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn r83_the_third_organisation_in_a_week_cannot_wait() {
    let stack = Stack::open();
    let council = stack.council("E06000049");
    let child = Child::new(142);
    council.hold(&child, "CPP").await;
    for (organisations, are_third) in [(&["ZX001", "ZX002", "ZX001"][..], false), (&["ZX004"], true)] {
        let mut told = Vec::new();
        for organisation in organisations {
            let staff = stack.staff(organisation, "R8001", &["B0107"]);
            let (trace, _) = stack.look_up("CareTeam", &child, &staff, 1).await;
            told.push(council.told(trace).await["id"].as_str().expect("an id").to_owned());
        }
        for id in told {
            let weighed = || async { of_id(&council, &id).await.filter(|held| held["weighAt"].is_null()) };
            let weighed = eventually("the watch", WATCHED, weighed).await;
            let signals = weighed["signals"].as_array().expect("a list");
            assert_eq!(signals.contains(&json!("third-setting")), are_third, "{weighed}");
        }
    }
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn r73_an_authority_sees_where_its_notifications_go_and_cannot_send_them_elsewhere() {
    let stack = Stack::open();
    let (council, other) = (stack.council("E06000046"), stack.council("E06000047"));
    let set = ["ways", "set", council.code, "--second-mesh", "X26ABC2", "--because", "their request"];
    assert_eq!(stack.cpis(&set).status, 0);
    // The directory is remembered for some seconds.
    let shown = || async {
        let answer = council.get("ways").send().await;
        answer.expect(200);
        Some(answer.json()).filter(|ways| *ways == json!({"secondMesh": {"mailbox": "X26ABC2"}}))
    };
    eventually("what the operator set", WATCHED, shown).await;
    assert_eq!(other.get("ways").send().await.json(), json!({}));
    stack.get(&council.path("ways")).token(&other.token).send().await.expect(403);
    // No token sets an address: there is no such call.
    let url = json!({"webhook": {"url": "https://hooks.council.example/cpis"}});
    for method in [Method::PUT, Method::POST] {
        let refused = stack.call(method, &council.path("ways")).token(&council.token).json(&url).send().await;
        assert!((403..=404).contains(&refused.status), "{}", refused.status);
    }
    assert_eq!(council.get("ways").send().await.json(), json!({"secondMesh": {"mailbox": "X26ABC2"}}));
}

async fn of_id(council: &Council<'_>, id: &str) -> Option<Value> {
    let (items, _) = council.list("notifications", 100).await;
    items.into_iter().find(|item| item["id"] == id)
}

/// Sends a notification without any signal; its id.
async fn waiting(stack: &Stack, council: &Council<'_>, child: Child) -> String {
    let id = Uuid::new_v4().to_string();
    let told = json!({
        "id": id, "accessId": id, "authority": council.code, "at": "2026-01-01T12:00:00.000Z", "traceId": id, "kind": "access",
        "nhsNumber": child.number(), "localIds": [], "viewer": {"name": "Alex Example"},
        "organisation": {"code": "ZX001", "name": "Sample Hospital"}, "signals": [],
    });
    let send = json!({"QueueUrl": stack.output("AsnQueueUrl"), "MessageBody": told.to_string()});
    stack.aws("AmazonSQS.SendMessage", send).await;
    id
}
