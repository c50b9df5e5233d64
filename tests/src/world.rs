//! A small world to run functions in, and the requests that its people make. Everybody in it is invented.

use crate::{
    binaries,
    dynamo::{Dynamo, function_environment},
    events::{Request, insert_record},
    proxy::Proxy,
    runtime_api::Function,
    sqs::Sqs,
};
use serde_json::{Value, json};

/// The authority that uploads, and another.
pub const AUTHORITIES: [&str; 2] = ["E06000001", "E06000002"];
/// First of the numbers that are never issued.
const FIRST_NUMBER: u64 = 999_000_000;

/// DynamoDB, SQS and a proxy in front of both.
pub struct World {
    /// The tables.
    pub dynamo: Dynamo,
    /// The queues.
    pub sqs: Sqs,
    /// What functions talk to.
    pub proxy: Proxy,
}

impl World {
    /// Empty tables and queues, but for a directory with [`AUTHORITIES`].
    pub async fn new() -> Self {
        Self::with(Dynamo::start().await).await
    }

    /// As [`World::new`], for many writes: no table has a stream.
    pub async fn without_streams() -> Self {
        Self::with(Dynamo::start_without_streams().await).await
    }

    async fn with(dynamo: Dynamo) -> Self {
        let sqs = Sqs::start().await;
        let proxy = Proxy::start(&dynamo.url, &sqs.url).await;
        for code in AUTHORITIES {
            dynamo.put("directory", &authority(code, "open"));
        }
        Self { dynamo, sqs, proxy }
    }

    /// Starts a function whose calls go through the proxy.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start(&self, name: &str) -> Function {
        self.start_with(name, &[]).await
    }

    /// As [`World::start`], with more environment variables.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start_with(&self, name: &str, more: &[(&str, &str)]) -> Function {
        let mut env = function_environment(&self.proxy.url, &self.sqs);
        env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Function::start(&binaries::function(name), &env).await.unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// What the stream of the outbox would bring of all that is in it.
    #[must_use]
    pub fn owed_records(&self) -> Vec<Value> {
        let entries = self.dynamo.scan("outbox");
        entries.iter().enumerate().map(|(number, entry)| insert_record(number, &outbox_key(entry), entry)).collect()
    }

    /// What the stream of accesses would bring of all of them.
    #[must_use]
    pub fn access_records(&self) -> Vec<Value> {
        let key = |access: &Value| json!({"child": access["child"], "id": access["id"]});
        let accesses = self.dynamo.scan("accesses");
        accesses.iter().enumerate().map(|(number, access)| insert_record(number, &key(access), access)).collect()
    }

    /// Makes all that is in the outbox owed since a moment, such as `2026-01-01T12:00:00.000Z`.
    ///
    /// # Panics
    /// An entry names no access.
    pub fn owe_since(&self, moment: &str) {
        for mut entry in self.dynamo.scan("outbox") {
            self.dynamo.delete("outbox", &outbox_key(&entry));
            let [child, id] =
                ["child", "id"].map(|name| entry[name]["S"].as_str().unwrap_or_else(|| panic!("no {name}")));
            entry["at_child_id"] = json!({"S": format!("{moment}#{child}#{id}")});
            entry["at"] = json!({"S": moment});
            self.dynamo.put("outbox", &entry);
        }
    }

    /// What an operator is told of the queues: the outputs of a stack that has them.
    #[must_use]
    pub fn queue_outputs(&self) -> Vec<(&'static str, String)> {
        QUEUES.iter().map(|(output, queue)| (*output, self.sqs.queue_url(queue))).collect()
    }

    /// Copies every item of these tables from another world.
    pub fn copy(&self, tables: &[&str], from: &Self) {
        for table in tables {
            from.dynamo.scan(table).iter().for_each(|item| self.dynamo.put(table, item));
        }
    }
}

/// The stack's outputs that name queues, and the queues.
const QUEUES: [(&str, &str); 8] = [
    ("AsnQueueUrl", "asn"),
    ("AsnDlqUrl", "asn-dlq"),
    ("PushQueueUrl", "push"),
    ("PushDlqUrl", "push-dlq"),
    ("NumberChangesQueueUrl", "number-changes"),
    ("NumberChangesDlqUrl", "number-changes-dlq"),
    ("RelayDlqUrl", "relay-dlq"),
    ("LedgerDlqUrl", "ledger-dlq"),
];

/// The key of an entry of the outbox.
#[must_use]
pub fn outbox_key(entry: &Value) -> Value {
    json!({"mark": entry["mark"], "at_child_id": entry["at_child_id"]})
}

/// An authority's directory entry, `open` or `closed`.
#[must_use]
pub fn authority(code: &str, status: &str) -> Value {
    json!({
        "kind": {"S": "authority"},
        "code": {"S": code},
        "name": {"S": format!("Council {code}")},
        "region": {"S": "Sample Region"},
        "status": {"S": status},
    })
}

/// What the directory says of an organisation that takes part: it has an emergency department and a general practice.
#[must_use]
pub fn setting(organisation: &Value) -> Value {
    json!({
        "code": organisation["code"],
        "name": organisation["name"],
        "care": ["emergency-department", "general-practice"],
        "region": "Sample Region",
        "authority": AUTHORITIES[0],
        "status": "open",
        "from": "2020-01-01",
    })
}

/// The `index`-th valid NHS number from 999 000 0000 on; about 909,000 there are.
///
/// # Panics
/// There is no such number.
#[must_use]
pub fn nhs_number(index: usize) -> String {
    // Ten of eleven stems have a check digit, so the search starts where it cannot have passed the index.
    let passed = index - index / 11;
    let mut found = (FIRST_NUMBER..).take(passed).filter(|stem| check_digit(*stem).is_some()).count();
    for stem in FIRST_NUMBER + passed as u64..1_000_000_000 {
        if let Some(digit) = check_digit(stem) {
            if found == index {
                return format!("{stem}{digit}");
            }
            found += 1;
        }
    }
    panic!("no number {index}")
}

/// The first `count` valid NHS numbers from 999 000 0000 on.
pub fn nhs_numbers(count: usize) -> impl Iterator<Item = String> {
    (FIRST_NUMBER..1_000_000_000).filter_map(|stem| Some(format!("{stem}{}", check_digit(stem)?))).take(count)
}

/// The check digit (modulus 11) of nine digits; `None` where there is none.
pub(crate) fn check_digit(stem: u64) -> Option<u64> {
    let digit = |place: u32| stem / 10_u64.pow(place) % 10;
    let sum: u64 = (0..9).map(|place| digit(place) * (u64::from(place) + 2)).sum();
    match 11 - sum % 11 {
        11 => Some(0),
        10 => None,
        digit => Some(digit),
    }
}

/// A system of the authority, as the authorizer passes it on.
#[must_use]
pub fn authority_caller(code: &str) -> Value {
    json!({"authority": code, "sub": format!("{code}-system")})
}

/// A nurse of an emergency department whose look-ups raise notifications.
#[must_use]
pub fn nurse() -> Value {
    json!({
        "sub": "555000000001",
        "person": {
            "user": "555000000001",
            "roleProfile": "555000000002",
            "name": "Jo Carter",
            "jobRole": {"code": "R0670", "display": "Midwife Sister/Charge Nurse"},
        },
        "organisation": {"code": "RXX01", "name": "Fairfield Emergency Department"},
        "activities": ["B0107"],
    })
}

/// A row of a file: the child of that index with a plan of that kind; `change` is the columns `end_date,delete_date`.
#[must_use]
pub fn row(index: usize, kind: &str, change: &str) -> String {
    row_of(&nhs_number(index), index, kind, change)
}

fn row_of(number: &str, index: usize, kind: &str, change: &str) -> String {
    let day = index % 28 + 1;
    format!("{number},case-{index},Testperson{index},Alex Sam,2015-03-{day:02},{kind},2025-01-{day:02},{change}")
}

/// A file of these rows.
#[must_use]
pub fn csv(rows: &[String]) -> String {
    let header = "nhs_number,local_id,family_name,given_names,birth_date,plan_type,start_date,end_date,delete_date";
    format!("{header}\n{}\n", rows.join("\n"))
}

/// A file of `count` children, each with a child protection plan.
#[must_use]
pub fn large_csv(count: usize) -> String {
    let rows: Vec<String> = nhs_numbers(count).enumerate().map(|(i, number)| row_of(&number, i, "CPP", ",")).collect();
    csv(&rows)
}

/// The upload of a file; `phone` is the emergency duty team's.
#[must_use]
pub fn upload(authority: &str, sequence: u64, phone: &str, csv: &str) -> Request {
    let rows = csv.lines().count() - 1;
    Request::new("POST", &format!("/cpis/authorities/{authority}/uploads"))
        .query("sequence", &sequence.to_string())
        .query("created", "2026-01-01T08:00:00Z")
        .query("records", &rows.to_string())
        .query("emergencyDutyTeamPhone", phone)
        .header("Accept", "application/json")
        .body("text/csv", csv)
        .caller(&authority_caller(authority))
}

/// The nurse's look-up of a child; the same `request` id is the same look-up.
#[must_use]
pub fn look_up(resource: &str, number: &str, request: &str) -> Request {
    Request::new("GET", &format!("/cpis/FHIR/R4/{resource}"))
        .query("patient:identifier", &format!("https://fhir.nhs.uk/Id/nhs-number|{number}"))
        .header("TraceID", "6a1ad5b2-0a64-4c41-9b0c-0d5fcf8e6d11")
        .header("X-Request-ID", request)
        .header("Accept", "application/fhir+json")
        .caller(&nurse())
}
