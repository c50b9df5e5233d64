//! The targets: every parser that faces a caller, with what it promises of any input (R63). Those of tokens are the authorizer's.

use std::io::Write;

use ::csv::{Terminator, WriterBuilder};
use flate2::{Compression, write::GzEncoder};
use jiff::civil::date;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::*;
use crate::{
    domain::{
        nhs_number::{NhsNumber, check_digit},
        notification::Notification,
        record::{Column, PlanRecord, RawRecord},
        upload::{Envelope, UploadFile},
    },
    wire::{
        audit_search, search,
        strict::{self, StrictError},
        upload::{Malformed, parse, parse_single},
    },
};

/// A refusal's words: a sentence, on one line, without any number of the input's.
fn explained(message: &str) {
    assert!(!message.is_empty() && message.len() < 1_000, "{message:?}");
    assert!(!message.chars().any(char::is_control), "{message:?}");
    let longest = message.split(|c: char| !c.is_ascii_digit()).map(str::len).max();
    assert!(longest.is_none_or(|digits| digits < 9), "a number in {message:?}");
}

/// The words without their numbers, so that each way is one.
fn way(message: &str) -> String {
    message.chars().filter(|c| !c.is_ascii_digit()).take(60).collect()
}

#[test]
fn fuzz_nhs_numbers() {
    let seeds: [&[u8]; 4] = [b"9990000018", b"999 000 0018", b"999-000-0026", b"ABC/1234"];
    run("nhs-number", "read", &seeds, |input| match NhsNumber::parse(&String::from_utf8_lossy(input)) {
        Ok(number) => {
            let digits = number.digits();
            assert_eq!(digits.len(), 10);
            assert_eq!(check_digit(&digits[..9]).map(|d| d + b'0'), digits.bytes().last());
            let grouped = format!(" {} {}-{} ", &digits[..3], &digits[3..6], &digits[6..]);
            assert_eq!(NhsNumber::parse(&grouped).as_ref(), Ok(&number));
            assert!(!format!("{number:?}").contains(digits));
            "read".into()
        }
        Err(error) => {
            explained(&error.to_string());
            format!("{error:?}")
        }
    });
}

fn encoded(pairs: &[(String, String)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    pairs.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect::<Vec<_>>().join("&")
}

#[test]
fn fuzz_searches() {
    let seeds: [&[u8]; 4] = [
        b"patient%3Aidentifier=https%3A%2F%2Ffhir.nhs.uk%2FId%2Fnhs-number%7C9990000018",
        b"patient:identifier=https://fhir.nhs.uk/Id/nhs-number|999+000+0018&_format=json",
        b"_include=AuditEvent:entity-type=http://terminology.hl7.org/CodeSystem/v3-RoleClass|ASSIGNED&_count=1",
        b"patient=1&subject=2",
    ];
    run("search", "read", &seeds, |input| {
        let pairs = match search::parse_form(input) {
            Ok(pairs) => pairs,
            Err(error) => {
                explained(&error.to_string());
                return format!("form {error:?}");
            }
        };
        // A name may be empty, but then a pair of two empty texts is nothing.
        let named: Vec<_> =
            pairs.iter().filter(|(name, value)| !(name.is_empty() && value.is_empty())).cloned().collect();
        if encoded(&named).len() <= 4_096 {
            assert_eq!(search::parse_form(encoded(&named).as_bytes()), Ok(named));
        }
        match search::patient_number(&pairs) {
            Ok(number) => {
                let token = pairs.iter().find(|(name, _)| name == search::PATIENT).map(|(_, value)| value.as_str());
                let digits: String = token.unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
                assert_eq!(digits, number.digits(), "a number that is not the search's");
                "read".into()
            }
            Err(error) => {
                explained(&error.to_string());
                format!("{error:?}")
            }
        }
    });
}

#[test]
fn fuzz_searches_of_accesses() {
    let seeds: [&[u8]; 4] = [
        br#"{"child":"9990000018","from":"2026-01-01T00:00:00Z","limit":7}"#,
        br#"{"organisation":"ZX001","to":"2026-01-01T00:00:00+01:00","cursor":"x"}"#,
        b"person=555000000001&limit=10",
        b"child=999+000+0018&from=2026-01-01T00:00:00Z",
    ];
    run("search-of-accesses", "read", &seeds, |input| {
        let results =
            [audit_search::JSON, audit_search::FORM].map(|media_type| audit_search::read(Some(media_type), input));
        let mut ways = String::new();
        for result in results {
            match result {
                Ok(asked) => {
                    assert!((1..=1_000).contains(&asked.limit));
                    return "read".into();
                }
                Err(error) => {
                    // Its bounds are in the words.
                    explained(&error.to_string());
                    ways += &format!("{error:?} ");
                }
            }
        }
        ways
    });
}

/// What holds for any file that was read.
fn in_order(file: &UploadFile) -> String {
    assert!(file.digest.len() == 64 && file.digest.bytes().all(|b| b.is_ascii_hexdigit()));
    let mut ways = std::collections::BTreeSet::new();
    for (place, record) in file.records.iter().enumerate() {
        let raw = match record {
            Ok(raw) => raw,
            Err(problem) => {
                assert_eq!(problem.row, place + 1);
                assert!(!problem.problem.mend.is_empty() && problem.problem.found.chars().count() <= 40);
                ways.insert(format!("{:?}", problem.problem.detail));
                continue;
            }
        };
        assert_eq!(raw.row, place + 1);
        match PlanRecord::check(raw, date(2026, 11, 22)) {
            Ok(record) => assert!(!record.given_names.is_empty() && !record.family_name.is_empty()),
            Err(problems) => {
                assert!(!problems.is_empty() && problems.iter().all(|p| !p.mend.is_empty() && !p.expected.is_empty()));
                ways.extend(problems.iter().map(|p| format!("{:?}", p.detail)));
            }
        }
    }
    if ways.is_empty() { "read".into() } else { format!("{ways:?}") }
}

fn refused(malformed: &Malformed) -> String {
    explained(&malformed.problem);
    format!("{:?} {}", malformed.kind, way(&malformed.problem))
}

fn envelope(envelope: &Envelope, records: usize) -> Vec<(String, String)> {
    let mut pairs = vec![
        ("sequence".to_owned(), envelope.sequence.to_string()),
        ("created".to_owned(), envelope.created.to_string()),
        ("records".to_owned(), records.to_string()),
        ("emergencyDutyTeamPhone".to_owned(), envelope.contact.emergency_duty_team_phone.clone()),
    ];
    pairs
        .extend(envelope.contact.office_hours_phone.iter().map(|phone| ("officeHoursPhone".to_owned(), phone.clone())));
    pairs
}

/// The records, where each could be read.
fn all(file: &UploadFile) -> Option<Vec<&RawRecord>> {
    file.records.iter().map(|record| record.as_ref().ok()).collect()
}

fn as_csv(records: &[&RawRecord]) -> Vec<u8> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(Column::ALL.map(Column::name)).expect("memory");
    records.iter().for_each(|record| writer.write_record(&record.fields).expect("memory"));
    writer.into_inner().expect("memory")
}

fn as_json(file: &Envelope, records: &[&RawRecord]) -> Vec<u8> {
    let object = |record: &&RawRecord| -> Value {
        Column::ALL.into_iter().map(|c| (c.name().to_owned(), json!(record.fields[c as usize]))).collect()
    };
    json!({
        "sequence": file.sequence,
        "created": file.created.to_string(),
        "count": records.len(),
        "authority": {
            "emergencyDutyTeamPhone": file.contact.emergency_duty_team_phone,
            "officeHoursPhone": file.contact.office_hours_phone,
        },
        "records": records.iter().map(object).collect::<Vec<_>>(),
    })
    .to_string()
    .into_bytes()
}

/// Written again, the file is read as the same; but for rows that hold nothing, which CSV cannot tell from empty lines.
fn read_back(file: &UploadFile) {
    let Some(records) = all(file) else { return };
    let again = parse(Some("application/json"), &[], &as_json(&file.envelope, &records)).expect("read back");
    assert_eq!((&again.records, &again.envelope), (&file.records, &file.envelope));
    if records.iter().all(|record| record.fields.iter().any(|field| !field.trim_ascii().is_empty())) {
        let pairs = envelope(&file.envelope, records.len());
        let again = parse(Some("text/csv"), &pairs, &as_csv(&records)).expect("read back");
        assert_eq!((&again.records, &again.envelope), (&file.records, &file.envelope));
    }
}

#[test]
fn fuzz_csv() {
    const QUERY: &str =
        "sequence=7&created=2026-11-22T08%3A30%3A00Z&records=1&emergencyDutyTeamPhone=020%207946%200001\n";
    const HEADER: &str =
        "nhs_number,local_id,family_name,given_names,birth_date,plan_type,start_date,end_date,delete_date\n";
    const ROW: &str = "9990000018,C-1,Sample,Robin Lee,2015-06-01,CPP,2024-01-31,,\n";
    let quoted = format!(
        "{QUERY}\u{feff}{HEADER}9990000018,\"C \"\"1\"\"\",\"Sam\nple\",\"Robin, Lee\",01/06/2015,lac,2024-01-31,2024-02-01,\n"
    );
    let semicolons = format!("{QUERY}sep=;\r\n{HEADER}{ROW}").replacen(HEADER, &HEADER.replace(',', ";"), 1);
    let seeds = [format!("{QUERY}{HEADER}{ROW}"), quoted, semicolons, format!("{QUERY}{HEADER}")];
    let seeds: Vec<&[u8]> = seeds.iter().map(String::as_bytes).collect();
    run("csv", "read", &seeds, |input| {
        let end = input.iter().position(|b| *b == b'\n').unwrap_or(input.len());
        let Ok(query) = search::parse_form(&input[..end]) else { return "no query".into() };
        let body = input.get(end + 1..).unwrap_or_default();
        match parse(Some("text/csv"), &query, body) {
            Ok(file) => {
                let declared =
                    query.iter().find(|(name, _)| name == "records").and_then(|(_, n)| n.trim().parse().ok());
                assert_eq!(Some(file.records.len()), declared);
                read_back(&file);
                in_order(&file)
            }
            Err(malformed) => refused(&malformed),
        }
    });
}

#[test]
fn fuzz_json() {
    let record = json!({"nhs_number": "9990000018", "local_id": "C-1", "family_name": "Sample", "given_names": ["Robin", "Lee"],
        "birth_date": "2015-06-01", "plan_type": "CPP", "start_date": "2024-01-31", "notes": [{"a": 1.5}, null]});
    let head = json!({"sequence": 7, "created": "2026-11-22T08:30:00Z", "authority": {"emergencyDutyTeamPhone": "020 7946 0001"}});
    let with = |more: Value| {
        let mut body = head.clone();
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body.to_string()
    };
    let seeds = [
        with(json!({"count": 1, "records": [record]})),
        with(json!({"count": 0, "records": [], "x": {"y": [[[{}]]]}})),
        with(json!({"record": record})),
        with(json!({"count": 2, "records": [record, 7]})),
    ];
    let seeds: Vec<&[u8]> = seeds.iter().map(String::as_bytes).collect();
    run("json", "read, refused", &seeds, |input| {
        let file = parse(Some("application/json"), &[], input);
        let single = parse_single(Some("application/json"), input);
        // No text is both a file and a single plan's.
        assert!(file.is_err() || single.is_err());
        if file.is_ok() || single.is_ok() {
            assert_ne!(strict::value(input.strip_prefix(b"\xef\xbb\xbf").unwrap_or(input)), Err(StrictError::NotJson));
        }
        let ways = [file, single].map(|read| match read {
            Ok(file) => {
                read_back(&file);
                in_order(&file)
            }
            Err(malformed) => {
                refused(&malformed);
                "refused".to_owned()
            }
        });
        ways.join(", ")
    });
}

#[test]
fn fuzz_gzip() {
    let packed = |content: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).expect("memory");
        encoder.finish().expect("memory")
    };
    let json = json!({"sequence": 7, "created": "2026-11-22T08:30:00Z", "authority": {"emergencyDutyTeamPhone": "020 7946 0001"},
        "count": 0, "records": []});
    let json = json.to_string();
    let seeds = [packed(json.as_bytes()), packed(b""), [packed(b"{"), packed(b"}")].concat(), packed(&packed(b"x"))];
    let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
    run("gzip", "read", &seeds, |input| {
        // What is packed is read as what is not.
        let whole = parse(Some("application/gzip"), &[], &packed(input));
        if input.first() == Some(&b'{') {
            assert_eq!(whole, parse(Some("application/json"), &[], input));
        }
        match parse(Some("application/gzip"), &[], input) {
            Ok(file) => in_order(&file),
            Err(malformed) => refused(&malformed),
        }
    });
}

#[test]
fn fuzz_strict_json() {
    let seeds: [&[u8]; 3] = [br#"{"a":[1,2.5,-3,null,true],"b":{"a":"\u00e9"}}"#, br#"{"a":1,"a":2}"#, b"[[[[]]]]"];
    run("strict-json", "read", &seeds, |input| {
        let lenient = serde_json::from_slice::<Value>(input);
        match strict::value(input) {
            Ok(value) => {
                assert_eq!(lenient.ok().as_ref(), Some(&value));
                assert!(strict::value(value.to_string().as_bytes()).is_ok());
                "read".into()
            }
            Err(StrictError::NotJson) => {
                assert!(lenient.is_err());
                "not JSON".into()
            }
            Err(StrictError::Repeated) => "repeated".into(),
        }
    });
}

#[test]
fn fuzz_messages_of_the_queue() {
    let message = json!({
        "id": "4f1dd6c2-6c06-5b1c-8a58-2b3f64f6c9a1", "accessId": "66d4d6c1-2b51-5c0c-9a74-3ad7f2cc0f0e", "authority": "E06000001",
        "at": "2026-11-21T23:15:00.250Z", "nhsNumber": "9990000018", "localIds": ["HP-1"],
        "viewer": {"name": "Alex Example", "jobRole": {"code": "R0670", "display": "Midwife - Sister/Charge Nurse"}},
        "organisation": {"code": "ZX001", "name": "Sample Hospital"}, "traceId": "0f0b3f0e-5d0c-4c57-9f0a-3a6a6a1f2b11"
    });
    let message = message.to_string();
    run("message", "read", &[message.as_bytes(), b"{}", b"null"], |input| {
        let text = String::from_utf8_lossy(input);
        match serde_json::from_str::<Notification>(&text) {
            Ok(notification) => {
                let again = serde_json::to_string(&notification).expect("JSON");
                let read = serde_json::from_str::<Notification>(&again).expect("read back");
                assert_eq!(serde_json::to_string(&read).expect("JSON"), again);
                "read".into()
            }
            Err(error) => format!("{:?}", error.classify()),
        }
    });
}
