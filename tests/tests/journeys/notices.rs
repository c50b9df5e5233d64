//! What an authority is told besides accesses: an NHS number that changed.

use cpis_tests::{
    canary::Child,
    stack::{Council, Stack, eventually},
};
use serde_json::Value;
use std::time::Duration;
use uuid::Uuid;

/// From the command to the mailbox, by two queues and a stream.
const TOLD: Duration = Duration::from_secs(60);

/// The notices of changed numbers in a mailbox.
async fn changed(council: &Council<'_>) -> Vec<Value> {
    let (items, _) = council.list("notifications", 1_000).await;
    items.into_iter().filter(|item| item["kind"] == "number-changed").collect()
}

#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn r88_a_changed_number_is_told_once_and_no_new_number_after_an_adoption() {
    let stack = Stack::open();
    let council = stack.council("E06000040");
    let (child, new, adopted, hidden) = (Child::new(160), Child::new(161), Child::new(162), Child::new(163));
    council.hold(&child, "CPP").await;
    council.hold(&adopted, "LAC").await;
    let file = std::env::temp_dir().join(format!("changes-{}.csv", Uuid::new_v4()));
    let row = |old: &Child, new: &Child, adopted| format!("{},superseded,{},{adopted}\n", old.number(), new.number());
    let rows = [
        "nhs_number,change,new_number,adopted\n".to_owned(),
        row(&child, &new, false),
        row(&adopted, &hidden, true),
        "no number,superseded,,false\n".to_owned(),
    ];
    std::fs::write(&file, rows.concat()).expect("written");
    let path = file.to_str().expect("a path");
    for _ in 0..2 {
        let sent = stack.cpis(&["numbers", "send", path, "--because", "a journey", "--by", "tests", "--json"]);
        let said = &sent.stdout;
        assert_eq!(sent.status, 3, "one row is wrong: {said}");
        assert!(said.contains("\"row\": 3") && !said.contains("no number"), "{said}");
        let both = || async { Some(changed(&council).await).filter(|told| told.len() == 2) };
        eventually("two notices of changed numbers", TOLD, both).await;
    }
    std::fs::remove_file(&file).expect("removed");
    // What is owed for a look-up after them is behind any second ones.
    let (later, _) = stack.look_up("CareTeam", &child, &stack.nurse(&["B0107"]), 1).await;
    council.told(later).await;
    let told = changed(&council).await;
    let of = |child: &Child| told.iter().filter(|n| n["nhsNumber"] == child.number()).collect::<Vec<_>>();
    let ([named], [unnamed]) = (&of(&child)[..], &of(&adopted)[..]) else { panic!("{told:?}") };
    assert_eq!((&named["change"], &named["newNumber"]), (&"superseded".into(), &new.number().into()));
    assert_eq!(unnamed.get("newNumber"), None);
    for table in ["OutboxTable", "MailboxTable"] {
        let held = Value::from(stack.scan(table, &[]).await).to_string();
        assert!(!held.contains(&hidden.number()), "{table} holds what nobody may be told");
    }
}
