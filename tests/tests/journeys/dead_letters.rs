//! A delivery that keeps failing, and the operator who mends it.

use std::time::Duration;

use cpis_tests::{
    canary::{Child, Search},
    stack::{Council, Stack, eventually},
};
use serde_json::{Value, json};
use uuid::Uuid;

const CODE: &str = "E06000023";
/// Five tries, with waits of 1, 2, 4 and 8 seconds between them, and each as late as a busy machine makes it.
const SET_ASIDE: Duration = Duration::from_secs(180);

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn a_closed_authority_is_told_once_it_is_open_again() {
    let stack = Stack::open();
    let council = stack.council(CODE);
    let child = Child::new(90);
    council.hold(&child, "CPP").await;
    let _ = stack.done(&["directory", "close", "authority", CODE]);
    council
        .post("plans")
        .json(&json!({"sequence": council.next(), "created": "2026-11-22T08:30:00Z",
        "authority": {"emergencyDutyTeamPhone": "020 7946 0101"}, "record": child.record("CPP")}))
        .send()
        .await
        .refused(403, "ACCESS_DENIED");
    let nurse = stack.nurse(&["B0107"]);
    let (trace, _) = stack.look_up("CareTeam", &child, &nurse, 1).await;

    let letter = || async { set_aside(&stack, trace).await };
    let letter = eventually("the notification in the dead-letter queue", SET_ASIDE, letter).await;
    tells_why(&letter, trace);
    assert_eq!(dead(&stack), 1);
    assert_eq!(stack.cpis(&["status"]).status, 3, "dead letters need attention");

    let dry = stack.done(&["dlq", "replay", "--authority", CODE, "--dry-run", "--json"]).json();
    assert_eq!((&dry["dryRun"], &dry["replayed"]["total"]), (&json!(true), &json!(1)), "{dry}");
    assert_eq!(dead(&stack), 1, "a dry run changes nothing");
    assert_eq!(stack.traced("MailboxTable", trace).await, [] as [Value; 0]);

    let _ = stack.done(&["directory", "open", "authority", CODE]);
    // It may wait in S3 meanwhile.
    let place = format!("s3://{}/letters/{trace}", stack.output("AuditBucket"));
    let kept = ["dlq", "archive", "--authority", CODE, "--to", &place, "--because", "closed until May", "--json"];
    assert_eq!(stack.done(&kept).json()["archived"]["total"], 1);
    assert_eq!(dead(&stack), 0);
    let back = stack.done(&["dlq", "restore", &place, "--because", "open again", "--json"]).json();
    assert_eq!((&back["restored"]["total"], dead(&stack)), (&json!(1), 1), "{back}");
    // With a token of its own: the gateway may remember of the other that its authority is closed.
    let council = stack.council(CODE);
    let replay = stack.done(&["dlq", "replay", "--authority", CODE, "--because", "opened again", "--json"]).json();
    assert_eq!((&replay["dryRun"], &replay["replayed"]["total"]), (&json!(false), &json!(1)), "{replay}");
    delivered_once(&stack, &council, &child, &nurse, trace).await;
}

async fn delivered_once(stack: &Stack, council: &Council<'_>, child: &Child, nurse: &str, trace: Uuid) {
    let notification = council.told(trace).await;
    assert_eq!(notification["nhsNumber"], child.number());
    let (later, _) = stack.look_up("CareTeam", child, nurse, 1).await;
    council.told(later).await;
    assert_eq!(council.mailed(trace).await.len(), 1);
    assert_eq!(dead(stack), 0);
    assert!(set_aside(stack, trace).await.is_none());
    let well = || async { (stack.cpis(&["status", "--json"]).status == 0).then_some(()) };
    eventually("a status without findings", Duration::from_secs(60), well).await;
}

/// How many dead letters of the authority the operator's command lists.
fn dead(stack: &Stack) -> u64 {
    // What another journey looks at is out of sight for a moment, and the command says so.
    let mut lists = (0..10).map(|_| stack.cpis(&["dlq", "list", "--json"])).filter(|list| list.status == 0);
    let list = lists.next().expect("a list of all").json();
    let groups = list["groups"].as_array().cloned().unwrap_or_default();
    let ours = groups.iter().filter(|group| group["reason"] == "authority-closed" && group["authority"] == CODE);
    ours.filter_map(|group| group["count"].as_u64()).sum()
}

/// The dead letter of a look-up, left where it is.
async fn set_aside(stack: &Stack, trace: Uuid) -> Option<Value> {
    let ask = json!({
        "QueueUrl": stack.output("AsnDlqUrl"), "MaxNumberOfMessages": 10, "VisibilityTimeout": 0,
        "MessageAttributeNames": ["All"], "AttributeNames": ["All"],
    });
    let found = stack.aws("AmazonSQS.ReceiveMessage", ask).await;
    let letters = found["Messages"].as_array().cloned().unwrap_or_default();
    letters.into_iter().find(|m| m["MessageAttributes"]["traceId"]["StringValue"] == trace.to_string())
}

/// The letter's attributes tell the operator what happened, and nothing of the child.
fn tells_why(letter: &Value, trace: Uuid) {
    let attributes = &letter["MessageAttributes"];
    let texts = ["reason", "authority", "attempts", "traceId"].map(|name| attributes[name]["StringValue"].clone());
    assert_eq!(texts, [json!("authority-closed"), json!(CODE), json!("5"), json!(trace.to_string())], "{attributes}");
    let search = Search::new(&[]);
    assert_eq!(search.text("attributes", &format!("{attributes}\n{}", letter["Attributes"])), []);
    assert_ne!(search.text("body", letter["Body"].as_str().unwrap_or_default()), [], "the body is about the child");
}
