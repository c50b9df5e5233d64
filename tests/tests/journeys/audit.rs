//! The audit log: what was done is in it, its end is signed, and a copy can be checked without the system.

use std::{path::PathBuf, time::Duration};

use cpis_tests::{
    canary::Child,
    stack::{Stack, eventually},
};
use serde_json::{Value, json};

/// The stream brings it; where it does not, the sweep comes within three minutes.
const RECORDED: Duration = Duration::from_secs(200);

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("cpis-journey-{}-{name}", std::process::id()))
}

fn entries(file: &PathBuf) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("an entry")).collect()
}

/// R45, R47, R48
#[tokio::test]
#[ignore = "needs a running stack: make test"]
async fn what_was_done_is_in_the_log_and_a_copy_of_it_can_be_checked() {
    let stack = Stack::open();
    let council = stack.council("E06000025");
    let child = Child::new(110);
    council.hold(&child, "CPP").await;
    let nurse = stack.nurse(&["B0107"]);
    let (trace, _) = stack.look_up("CareTeam", &child, &nurse, 1).await;

    let [log, heads, key] = ["log", "heads", "key"].map(path);
    let text = |path: &PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
    let recorded = || async {
        let _ = std::fs::remove_file(&log);
        let _ = stack.done(&["audit", "export", "--out", &text(&log)]);
        let of = |e: &&Value| e["details"]["traceId"] == json!(trace.to_string());
        entries(&log).iter().find(of).cloned()
    };
    let entry = eventually("the look-up in the audit log", RECORDED, recorded).await;
    assert_eq!((&entry["kind"], &entry["details"]["disclosed"]), (&json!("look-up"), &json!("CPP#E06000025")));
    let all = std::fs::read_to_string(&log).expect("the copy");
    assert!(!all.contains(child.number().as_str()), "the log knows a child by key only");
    let upload = |e: &&Value| e["kind"] == "upload" && e["organisation"] == "E06000025";
    assert!(entries(&log).iter().any(|e| upload(&e)), "the upload is in the log");

    // An hour has passed, as far as the function is told.
    let function = stack.output("FunctionNames").split(',').find(|n| n.ends_with("audit-ledger")).map(str::to_owned);
    stack.invoke(&function.expect("audit-ledger"), &json!({"task": "state-heads"})).await;
    let _ = stack.done(&["audit", "heads", "--out", &text(&heads)]);
    let pem = stack.done(&["audit", "key"]).stdout;
    std::fs::write(&key, pem).expect("written");
    let _ = std::fs::remove_file(&log);
    let _ = stack.done(&["audit", "export", "--out", &text(&log)]);
    let (log, heads, key) = (text(&log), text(&heads), text(&key));
    let sealed = ["audit", "verify", &log, "--heads", &heads, "--key", &key, "--json"];
    let verified = stack.done(&sealed).json();
    assert_eq!(verified["whole"], true, "{verified}");
    assert!(verified["signedHeads"]["count"].as_u64() >= Some(1), "{verified}");

    let whole = std::fs::read_to_string(&log).expect("the copy");
    std::fs::write(&log, whole.replacen("CPP#E06000025", "CPP#E06000024", 1)).expect("written");
    let forged = stack.cpis(&sealed);
    assert_eq!((forged.status, &forged.json()["what"]), (3, &json!("changed")));
    let cut = whole.lines().count() / 2;
    let half: String = whole.lines().take(cut).map(|line| format!("{line}\n")).collect();
    std::fs::write(&log, half).expect("written");
    assert_eq!(stack.cpis(&sealed).status, 3, "the heads vouch for more");
    for file in [log, heads, key] {
        std::fs::remove_file(file).expect("removed");
    }
}

/// R48: every single bit of a log of 1,000 entries, by the optimised binary.
#[test]
#[ignore = "needs the release binaries: make test"]
fn r48_every_single_bit_flip_of_1000_entries_is_found_and_located() {
    use cpis::{
        domain::audit::{Actor, Entry, Head, Shard, kind},
        wire::audit::write,
    };
    let stack = Stack::open();
    let at = jiff::Timestamp::from_second(1_790_000_000).expect("in range");
    let mut heads: Vec<_> = Shard::all().map(Head::empty).collect();
    let mut log: Vec<_> = (0..1_000_u128)
        .map(|n| {
            let id = uuid::Uuid::from_u128(n.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
            let entry = Entry::new(id, at, kind::DIRECTORY_CHANGE, Actor::operator("Zoë"), "").with("code", "ZX001");
            heads[entry.shard().index()].chain(entry)
        })
        .collect();
    log.sort_by_key(|e| (e.shard, e.number));
    let text: String = log.iter().map(|e| write(e).expect("JSON") + "\n").collect();
    let file = path("proof");
    std::fs::write(&file, &text).expect("written");
    let proved = stack.done(&["audit", "prove", file.to_str().expect("UTF-8"), "--json"]).json();
    assert_eq!(proved, json!({"entries": 1_000, "flips": text.len() * 8, "missed": 0}));
    std::fs::remove_file(file).expect("removed");
}
