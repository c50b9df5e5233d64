//! An access whose stream record was lost.

use std::time::Duration;

use cpis_tests::{
    canary::Child,
    stack::{Stack, eventually},
};
use jiff::{Timestamp, ToSpan};
use serde_json::json;
use uuid::Uuid;

/// The sweep comes every minute.
const SWEPT: Duration = Duration::from_secs(100);

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn the_sweep_relays_what_the_stream_did_not() {
    let stack = Stack::open();
    let council = stack.council("E06000024");
    let child = Child::new(100);
    council.hold(&child, "CPP").await;
    let (trace, _) = stack.look_up("CareTeam", &child, &stack.nurse(&["B0107"]), 1).await;
    council.told(trace).await;

    // Another access like it, three minutes old. It is written without its mark, which is then put on by an update, so that
    // the stream brings the relay nothing: as if the record had been lost.
    let mut lost = stack.traced("AccessesTable", trace).await.remove(0);
    let (id, lost_trace) = (Uuid::new_v4().to_string(), Uuid::new_v4());
    lost["id"]["S"] = id.clone().into();
    lost["at"]["S"] = format!("{:.3}", Timestamp::now() - 3.minutes()).into();
    lost["traceId"]["S"] = lost_trace.to_string().into();
    lost.as_object_mut().and_then(|item| item.remove("outbox"));
    let key = json!({"child": lost["child"], "id": {"S": id}});
    let table = stack.output("AccessesTable");
    stack.aws("DynamoDB_20120810.PutItem", json!({"TableName": table, "Item": lost})).await;
    let mark = json!({
        "TableName": table, "Key": key, "UpdateExpression": "SET outbox = :owed",
        "ExpressionAttributeValues": {":owed": {"S": "owed"}},
    });
    stack.aws("DynamoDB_20120810.UpdateItem", mark).await;

    let first = || async { council.mailed(lost_trace).await.into_iter().next() };
    let notification = eventually("the notification of a lost stream record", SWEPT, first).await;
    assert_eq!(notification["accessId"], id);
    let cleared = || async {
        let access = stack.traced("AccessesTable", lost_trace).await.remove(0);
        access.get("outbox").is_none().then_some(())
    };
    eventually("the mark being cleared", SWEPT, cleared).await;
    assert_eq!(council.mailed(lost_trace).await.len(), 1);
}
