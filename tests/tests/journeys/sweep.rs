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

    // Another access like it, three minutes old. Its place in the outbox is taken by something else first, so that the write
    // of it is a change, of which the stream brings the relay nothing: as if the record had been lost.
    let mut lost = stack.traced("AccessesTable", trace).await.remove(0);
    let (id, lost_trace) = (Uuid::new_v4().to_string(), Uuid::new_v4());
    lost["id"]["S"] = id.clone().into();
    lost["at"]["S"] = format!("{:.3}", Timestamp::now() - 3.minutes()).into();
    lost["traceId"]["S"] = lost_trace.to_string().into();
    let text = |name: &str| lost[name]["S"].as_str().unwrap_or_default().to_owned();
    let position = format!("{}#{}#{id}", text("at"), text("child"));
    lost["mark"] = json!({"S": "owed"});
    lost["at_child_id"] = json!({"S": position});
    let table = stack.output("OutboxTable");
    let entry = json!({"mark": lost["mark"], "at_child_id": lost["at_child_id"]});
    for item in [&entry, &lost] {
        stack.aws("DynamoDB_20120810.PutItem", json!({"TableName": table, "Item": item})).await;
    }

    let first = || async { council.mailed(lost_trace).await.into_iter().next() };
    let notification = eventually("the notification of a lost stream record", SWEPT, first).await;
    assert_eq!(notification["accessId"], id);
    let ask = json!({"TableName": table, "Key": entry, "ConsistentRead": true});
    let cleared = || async {
        let found = stack.aws("DynamoDB_20120810.GetItem", ask.clone()).await;
        found.get("Item").is_none().then_some(())
    };
    eventually("the entry being taken out", SWEPT, cleared).await;
    assert_eq!(council.mailed(lost_trace).await.len(), 1);
}
