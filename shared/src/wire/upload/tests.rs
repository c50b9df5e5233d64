use std::io::Write;

use ::csv::{QuoteStyle, Terminator, WriterBuilder};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::record::{Column, Detail};

const HEADER: &str =
    "nhs_number,local_id,family_name,given_names,birth_date,plan_type,start_date,end_date,delete_date\n";
const ROW: &str = "9990000018,C-1,Sample,Robin Lee,2015-06-01,CPP,2024-01-31,,\n";
const FIELDS: [&str; 9] = ["9990000018", "C-1", "Sample", "Robin Lee", "2015-06-01", "CPP", "2024-01-31", "", ""];

fn query(count: usize) -> Vec<(String, String)> {
    [
        ("sequence", "7"),
        ("created", "2026-11-22T08:30:00+00:00"),
        ("records", &count.to_string()),
        ("emergencyDutyTeamPhone", "020 7946 0001"),
        ("officeHoursPhone", "+44 (20) 7946-0002"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

fn csv_file(count: usize, body: impl AsRef<[u8]>) -> Result<UploadFile, Malformed> {
    parse(Some("text/csv; charset=utf-8"), &query(count), body.as_ref())
}

fn json_file(body: &Value) -> Result<UploadFile, Malformed> {
    parse(Some("application/json"), &[], body.to_string().as_bytes())
}

fn document(records: Value) -> Value {
    json!({
        "sequence": 7,
        "created": "2026-11-22T08:30:00Z",
        "count": records.as_array().map_or(0, Vec::len),
        "authority": {"emergencyDutyTeamPhone": "020 7946 0001", "officeHoursPhone": "+44 (20) 7946-0002"},
        "records": records,
    })
}

fn record() -> Value {
    let mut record: Value = Column::ALL.into_iter().map(|c| (c.name().to_owned(), json!(FIELDS[c as usize]))).collect();
    record["given_names"] = json!(["Robin", "Lee"]);
    record
}

fn packed(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).expect("memory");
    encoder.finish().expect("memory")
}

fn good() -> RawRecord {
    RawRecord { row: 1, fields: FIELDS.map(str::to_owned) }
}

/// The problem of the row that is none, with everybody else's rows read.
fn only_problem(file: &UploadFile) -> &RowProblem {
    let mut problems = file.records.iter().filter_map(|r| r.as_ref().err());
    let problem = problems.next().expect("a row that cannot be read");
    assert!(problems.next().is_none());
    assert_eq!(problem.problem.detail, Detail::RowUnreadable);
    assert!(!problem.problem.expected.is_empty() && !problem.problem.mend.is_empty());
    problem
}

#[test]
fn r16_the_envelope_of_both_forms() {
    let csv = csv_file(1, format!("{HEADER}{ROW}")).expect("a file");
    let json = json_file(&document(json!([record()]))).expect("a file");
    assert_eq!((csv.envelope.sequence, csv.envelope.created), (7, "2026-11-22T08:30:00Z".parse().expect("a time")));
    assert_eq!(csv.envelope.contact.emergency_duty_team_phone, "020 7946 0001");
    assert_eq!(csv.envelope.contact.office_hours_phone.as_deref(), Some("+44 (20) 7946-0002"));
    assert_eq!(json.envelope, csv.envelope);
    assert_eq!((&csv.records, &json.records), (&vec![Ok(good())], &vec![Ok(good())]));
}

#[test]
fn r16_a_zone_is_needed_only_where_hours_are_given() {
    for (text, moment) in [
        ("2026-11-22", Some("2026-11-22T00:00:00Z")),
        ("2026-07-31", Some("2026-07-30T23:00:00Z")),
        ("2026-07-31T08:30:00+01:00", Some("2026-07-31T07:30:00Z")),
        ("2026-07-31T08:30:00", None),
        ("2026-07-31 08:30", None),
        ("2026-02-30", None),
        ("31/07/2026", None),
        ("20260731", None),
    ] {
        let mut body = document(json!([record()]));
        body["created"] = text.into();
        let created = json_file(&body).ok().map(|file| file.envelope.created.to_string());
        assert_eq!(created.as_deref(), moment, "{text}");
    }
}

#[test]
fn r16_a_file_is_loaded_only_for_the_authority_that_it_names() {
    let hartlepool = AuthorityCode::parse("E06000001").expect("a code");
    for (named, taken) in
        [(None, true), (Some("E06000001"), true), (Some(" "), true), (Some("E06000002"), false), (Some("x"), false)]
    {
        let mut body = document(json!([record()]));
        body["authority"]["code"] = named.into();
        let json = sent_by(json_file(&body).expect("a file"), &hartlepool);
        let mut envelope = query(1);
        envelope.extend(named.map(|code| ("authority".to_owned(), code.to_owned())));
        let csv = parse(Some("text/csv"), &envelope, format!("{HEADER}{ROW}").as_bytes()).expect("a file");
        let csv = sent_by(csv, &hartlepool);
        for file in [json, csv] {
            let refused = file.err().map(|malformed| (malformed.kind, malformed.sequence));
            assert_eq!(refused, (!taken).then_some((Kind::Malformed, Some(7))), "{named:?}");
        }
    }
}

#[test]
fn r17_csv_as_the_world_writes_it() {
    let semicolons = format!("{HEADER}{ROW}").replace(',', ";");
    let body = format!("{HEADER}{ROW}");
    for (why, body) in [
        ("plain", body.clone()),
        ("no line end at the end", body.trim_end().to_owned()),
        ("byte order mark", format!("\u{feff}{body}")),
        ("CRLF", body.replace('\n', "\r\n")),
        ("CR", body.replace('\n', "\r")),
        ("semicolons", semicolons.clone()),
        ("Excel's first line", format!("sep=;\r\n{semicolons}")),
        ("tabs", body.replace(',', "\t")),
        ("blank lines", format!("\n\n{HEADER}\n  \n{ROW},,,,,,,,\n\n")),
        ("trailing commas", format!("{},,\n{},,\n", HEADER.trim_end(), ROW.trim_end())),
        ("trailing commas in the header only", format!("{},,\n{ROW}", HEADER.trim_end())),
        ("trailing commas in the row only", format!("{HEADER}{},, \n", ROW.trim_end())),
        (
            "headers as people write them",
            body.replacen("nhs_number", "NHS Number", 1).replacen("family_name", "FamilyName", 1),
        ),
        ("quoted throughout", body.lines().map(|l| format!("\"{}\"\n", l.replace(',', "\",\""))).collect()),
        ("an extra column", body.replacen("local_id", "notes,local_id", 1).replacen("C-1", "\"a, b\",C-1", 1)),
        (
            "a line end in an extra column",
            body.replacen("local_id", "notes,local_id", 1).replacen("C-1", "\"a\r\nb\",C-1", 1),
        ),
    ] {
        let file = csv_file(1, &body).unwrap_or_else(|e| panic!("{why}: {e}"));
        assert_eq!(file.records, [Ok(good())], "{why}");
    }
}

#[test]
fn r17_columns_that_may_be_left_out() {
    let body = "start_date,plan_type,birth_date,given_names,family_name,nhs_number\n2024-01-31,CPP,2015-06-01,Robin,\
                \"O\"\"Sample\",9990000018\n";
    let file = csv_file(1, body).expect("a file");
    let record = file.records[0].as_ref().expect("a record");
    assert_eq!((record.text(Column::FamilyName), record.text(Column::EndDate)), ("O\"Sample", ""));
}

#[test]
fn a_bad_csv_row_costs_that_row_only() {
    let latin = b"9990000018,C-1,Sampl\xe9,Robin,2015-06-01,CPP,2024-01-31,,\n";
    for (bad, found) in [
        (&b"9990000018,C-1,Sample\n"[..], "3 fields"),
        (b"9990000018,C-1,Sample,Robin,2015-06-01,CPP,2024-01-31,,,x\n", "10 fields"),
        (b"9990000018,C-1,Sample,Robin,2015-06-01,CPP,2024-01-31,\n", "8 fields"),
        (latin, "bytes that are no UTF-8"),
    ] {
        let body = [HEADER.as_bytes(), ROW.as_bytes(), bad, ROW.as_bytes()].concat();
        let file = csv_file(3, body).expect("a file");
        let problem = only_problem(&file);
        assert_eq!((problem.row, problem.problem.found.as_str()), (2, found));
        assert_eq!(file.records[2].as_ref().map(|r| r.row), Ok(3));
    }
}

#[test]
fn r16_r17_csv_files_that_are_refused_whole() {
    let body = format!("{HEADER}{ROW}");
    let wide = ["x,"; 201].concat() + "x\n";
    for (count, body, says) in [
        (2, body.clone(), "declares 2 records, the file has 1"),
        (1, format!("{body}{ROW}"), "declares 1 records, the file has 2"),
        (1, String::new(), "is empty"),
        (1, " \n,,\n".into(), "is empty"),
        (1, ROW.into(), "lacks nhs_number, family_name"),
        (1, body.replacen("start_date", "begin", 1), "lacks start_date;"),
        (1, body.replacen("local_id", "NHS-Number", 1), "nhs_number more than once"),
        (1, body.replacen("C-1", "\"C-1", 1), "quotation mark"),
        (1, wide, "202 columns"),
    ] {
        let refusal = csv_file(count, &body).expect_err(says);
        assert_eq!((refusal.kind, refusal.sequence), (Kind::Malformed, Some(7)), "{says}");
        assert!(refusal.problem.contains(says), "{says}: {refusal}");
        assert!(!refusal.problem.contains("Sample") && !refusal.problem.contains("999"), "{refusal}");
    }
    let utf16: Vec<u8> = [0xff, 0xfe].into_iter().chain(body.bytes().flat_map(|b| [b, 0])).collect();
    assert!(csv_file(1, &utf16).expect_err("UTF-16").problem.contains("UTF-16"));
    let through_the_gateway = String::from_utf8_lossy(&utf16).into_owned();
    for body in [&through_the_gateway[..], through_the_gateway.trim_start_matches('\u{fffd}')] {
        assert!(csv_file(1, body).expect_err("UTF-16").problem.contains("UTF-16"));
    }
    assert!(csv_file(1, packed(body.as_bytes())).expect_err("packed").problem.contains("application/gzip"));
}

#[test]
fn r16_r33_faults_of_the_envelope() {
    let body = format!("{HEADER}{ROW}");
    for (name, value, sequence) in [
        ("sequence", "", None),
        ("sequence", "0", None),
        ("sequence", "-1", None),
        ("sequence", "+1", None),
        ("sequence", "7.0", None),
        ("sequence", "9007199254740993", None),
        ("sequence", "99999999999999999999999", None),
        ("created", "", Some(7)),
        ("created", "2026-11-22T08:30:00", Some(7)),
        ("created", "2026-11-22T08:30:00 00:00", Some(7)),
        ("records", "", Some(7)),
        ("records", "-1", Some(7)),
        ("records", "many", Some(7)),
        ("records", "9990000018", Some(7)),
        ("emergencyDutyTeamPhone", "", Some(7)),
        ("emergencyDutyTeamPhone", "1234", Some(7)),
        ("emergencyDutyTeamPhone", "- - - -", Some(7)),
        ("emergencyDutyTeamPhone", " 44 20 7946 0001", Some(7)),
        ("emergencyDutyTeamPhone", "020 7946 0001 ext. 3", Some(7)),
        ("officeHoursPhone", "0123456789012345678901234567890", Some(7)),
        ("officeHoursPhone", "٠١٢٣٤٥٦", Some(7)),
    ] {
        let mut query = query(1);
        query.iter_mut().filter(|(n, _)| n == name).for_each(|(_, v)| value.clone_into(v));
        let refusal = parse(Some("text/csv"), &query, body.as_bytes()).expect_err(name);
        assert_eq!((refusal.kind, refusal.sequence), (Kind::Malformed, sequence), "{name}={value}");
        assert!(refusal.problem.starts_with(name), "{refusal}");
    }
    let highest = [query(1)[1..].to_vec(), vec![("sequence".into(), "9007199254740992".into())]].concat();
    assert!(parse(Some("text/csv"), &highest, body.as_bytes()).is_ok());
    let twice = [query(1), query(1)].concat();
    assert!(parse(Some("text/csv"), &twice, body.as_bytes()).expect_err("twice").problem.contains("more than once"));
    let without_office: Vec<_> = query(1).into_iter().filter(|(n, _)| n != "officeHoursPhone").collect();
    let file = parse(Some("text/csv"), &without_office, body.as_bytes()).expect("optional");
    assert_eq!(file.envelope.contact.office_hours_phone, None);
}

#[test]
fn a_file_without_records_is_in_order() {
    assert_eq!(csv_file(0, HEADER).expect("a file").records, []);
    assert_eq!(json_file(&document(json!([]))).expect("a file").records, []);
}

#[test]
fn a_bad_json_record_costs_that_record_only() {
    let with = |name: &str, value: Value| {
        let mut record = record();
        record[name] = value;
        record
    };
    let many: serde_json::Map<_, _> = (0..101).map(|n| (format!("x{n}"), json!(0))).collect();
    for (bad, column, found) in [
        (json!(5), None, "a number"),
        (json!(null), None, "null"),
        (json!("Sample"), None, "a text"),
        (json!([record()]), None, "a list"),
        (Value::Object(many), None, "101 fields"),
        (with("nhs_number", json!(9_990_000_018_u64)), Some(Column::NhsNumber), "a number"),
        (with("start_date", json!(1e300)), Some(Column::StartDate), "a number"),
        (with("start_date", json!(-5)), Some(Column::StartDate), "a number"),
        (with("family_name", json!(["Sample"])), Some(Column::FamilyName), "a list"),
        (with("given_names", json!(["Robin", 5])), Some(Column::GivenNames), "a list"),
        (with("local_id", json!({"id": [true, {"a": 1}]})), Some(Column::LocalId), "an object"),
        (with("end_date", json!(false)), Some(Column::EndDate), "true or false"),
        (with("NHS number", json!("")), Some(Column::NhsNumber), "the field twice"),
    ] {
        let file = json_file(&document(json!([record(), bad, record()]))).expect("a file");
        let problem = only_problem(&file);
        assert_eq!((problem.row, problem.problem.column, problem.problem.found.as_str()), (2, column, found));
        assert_eq!(file.records[2].as_ref().map(|r| r.row), Ok(3));
    }
}

#[test]
fn r17_json_records_as_they_are_sent() {
    let mut renamed = record();
    renamed["endDate"] = renamed["end_date"].take();
    renamed.as_object_mut().expect("an object").remove("end_date");
    for (why, key, value) in [
        ("names in one text", "given_names", json!("Robin Lee")),
        ("null is empty", "end_date", json!(null)),
        ("unknown fields do not count", "notes", json!([{"a": [1e5]}])),
    ] {
        let mut record = record();
        record[key] = value;
        assert_eq!(json_file(&document(json!([record]))).expect(why).records, [Ok(good())], "{why}");
    }
    assert_eq!(json_file(&document(json!([renamed]))).expect("a file").records, [Ok(good())]);
}

#[test]
fn r16_json_files_that_are_refused_whole() {
    let body = document(json!([record()]));
    // The sequence first, as senders write it: the test's own writer sorts the names.
    let text = body.to_string().replacen(",\"sequence\":7", "", 1).replacen('{', "{\"sequence\":7,", 1);
    let without = |name: &str| {
        let mut body = body.clone();
        body.as_object_mut().expect("an object").remove(name);
        body.to_string()
    };
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (body, says, sequence) in [
        (String::new(), "ends at line 1", None),
        (text[..text.len() - 2].to_owned(), "before it is complete", Some(7)),
        (format!("{text}{text}"), "not valid JSON", Some(7)),
        ("[]".into(), "another form", None),
        ("\"Sample\"".into(), "another form", None),
        (without("sequence"), "sequence is missing", None),
        (without("created"), "created is missing", Some(7)),
        (without("count"), "count is missing", Some(7)),
        (without("records"), "records is missing", Some(7)),
        (without("authority"), "emergencyDutyTeamPhone is missing", Some(7)),
        (text.replacen("\"count\":1", "\"count\":2", 1), "declares 2 records, the file has 1", Some(7)),
        (text.replacen("\"count\":1", "\"count\":\"1\"", 1), "count is a text", Some(7)),
        (text.replacen("\"count\":1", "\"count\":1,\"count\":1", 1), "count is given more than once", Some(7)),
        (text.replacen("\"sequence\":7", "\"sequence\":7.5", 1), "sequence is a number", None),
        (text.replacen("\"sequence\":7", "\"sequence\":1e999", 1), "number out of range", None),
        (text.replacen("\"Sample\"", "\"\\ud800\"", 1), "not valid JSON", None),
        (text.replacen("\"Sample\"", "\"Sam\nple\"", 1), "not valid JSON", None),
        (text.replacen("\"Sample\"", &deep, 1), "recursion limit", None),
    ] {
        let refusal = parse(Some("application/json"), &[], body.as_bytes()).expect_err(says);
        assert_eq!(refusal.kind, Kind::Malformed, "{says}");
        assert!(refusal.problem.contains(says), "{says}: {refusal}");
        assert!(!refusal.problem.contains("Sample") && !refusal.problem.contains("999000"), "{refusal}");
        if let Some(sequence) = sequence {
            assert_eq!(refusal.sequence, Some(sequence), "{says}");
        }
    }
    let latin = text.replacen("Sample", "Sampl\u{1}", 1).into_bytes();
    let latin: Vec<_> = latin.into_iter().map(|b| if b == 1 { 0xe9 } else { b }).collect();
    assert!(parse(Some("application/json"), &[], &latin).expect_err("latin").problem.contains("no UTF-8"));
}

#[test]
fn r60_a_name_that_is_there_twice_is_refused_where_nobody_reads_it_too() {
    let body = document(json!([record(), record()])).to_string();
    let with = |member: &str| body.replacen('{', &format!("{{{member},"), 1);
    let deep = format!("\"x\":{}{}", "[".repeat(200), "]".repeat(200));
    for (member, says) in [
        (r#""x":1,"x":1"#, "names a member twice"),
        (r#""x":1,"\u0078":1"#, "names a member twice"),
        (r#""x":[{"y":{"a":1,"a":1}}]"#, "names a member twice"),
        (r#""sequence":7"#, "sequence is given more than once"),
        (&deep, "recursion limit"),
    ] {
        let refusal = parse(Some("application/json"), &[], with(member).as_bytes()).expect_err(says);
        assert_eq!(refusal.kind, Kind::Malformed, "{member}");
        assert!(refusal.problem.contains(says), "{member}: {refusal}");
    }
    let authority = body.replacen("\"authority\":{", r#""authority":{"x":1,"x":2,"#, 1);
    assert!(parse(Some("application/json"), &[], authority.as_bytes()).expect_err("twice").problem.contains("twice"));
    assert!(
        parse(Some("application/json"), &[], with(r#""x":{"a":{"a":1}},"y":[{"a":1},{"a":1}]"#).as_bytes()).is_ok()
    );

    // In a record it costs that record.
    for (member, found) in [
        (r#""x":1,"x":1"#, "an object that names a member twice"),
        (r#""x":{"a":1,"a":1}"#, "an object that names a member twice"),
        (r#""plan_type":"LAC""#, "the field twice"),
        (r#""PlanType":"LAC""#, "the field twice"),
    ] {
        let body = body.replacen("\"records\":[{", &format!("\"records\":[{{{member},"), 1);
        let file = parse(Some("application/json"), &[], body.as_bytes()).expect("a file");
        let problem = only_problem(&file);
        assert_eq!((problem.row, problem.problem.found.as_str()), (1, found), "{member}");
    }
}

#[test]
fn a_single_plan() {
    let mut body = document(json!([]));
    let fields = body.as_object_mut().expect("an object");
    fields.remove("records");
    fields.remove("count");
    fields.insert("record".into(), record());
    let single = |body: &Value| parse_single(Some("application/json"), body.to_string().as_bytes());
    let file = single(&body).expect("a plan");
    assert_eq!((file.envelope.sequence, &file.records), (7, &vec![Ok(good())]));
    assert_eq!(parse_single(Some("application/gzip"), &packed(body.to_string().as_bytes())), Ok(file));

    body["record"] = json!("Sample");
    assert_eq!(only_problem(&single(&body).expect("a plan")).row, 1);
    body.as_object_mut().expect("an object").remove("record");
    assert!(single(&body).expect_err("none").problem.contains("record is missing"));
    let refusal = parse_single(Some("text/csv"), HEADER.as_bytes()).expect_err("CSV");
    assert_eq!(refusal.kind, Kind::UnsupportedMediaType);
}

#[test]
fn media_types() {
    let body = format!("{HEADER}{ROW}");
    for media_type in ["text/csv", "Text/CSV;charset=UTF-8", "text/csv; header=present; charset=\"us-ascii\""] {
        assert!(parse(Some(media_type), &query(1), body.as_bytes()).is_ok(), "{media_type}");
    }
    for media_type in [
        None,
        Some(""),
        Some("text/plain"),
        Some("text/csv; charset=windows-1252"),
        Some("application/json;charset=utf-16"),
    ] {
        let refusal = parse(media_type, &query(1), body.as_bytes()).expect_err("another type");
        assert_eq!(refusal.kind, Kind::UnsupportedMediaType, "{media_type:?}");
    }
}

#[test]
fn r13_one_content_has_one_digest() {
    let body = format!("{HEADER}{ROW}");
    let json = document(json!([record()])).to_string();
    let zip = |content: &str| parse(Some("application/gzip"), &query(1), &packed(content.as_bytes())).expect("a file");
    let plain = csv_file(1, &body).expect("a file");
    assert_eq!(zip(&body), plain);
    assert_eq!(zip(&format!("\u{feff} \n{json}")).records, [Ok(good())]);
    assert_eq!(zip(&json).digest, parse(Some("application/json"), &[], json.as_bytes()).expect("a file").digest);
    let members = [packed(HEADER.as_bytes()), packed(ROW.as_bytes())].concat();
    assert_eq!(parse(Some("application/x-gzip"), &query(1), &members), Ok(plain.clone()));

    assert!(plain.digest.len() == 64 && plain.digest.bytes().all(|b| b.is_ascii_hexdigit()));
    let mut other_phone = query(1);
    other_phone[3].1 = "020 7946 0003".into();
    for other in [
        parse(Some("text/csv"), &other_phone, body.as_bytes()),
        csv_file(1, body.replacen("C-1", "C-2", 1)),
        csv_file(1, format!("{body}\n")),
    ] {
        assert_ne!(other.expect("a file").digest, plain.digest);
    }
}

#[test]
fn r34_gzip_within_bounds() {
    let bomb = packed(&vec![b' '; MAX_FILE_BYTES + 1]);
    assert!(bomb.len() < MAX_FILE_BYTES / 20);
    let whole = packed(format!("{HEADER}{ROW}").as_bytes());
    let mut wrong_sum = whole.clone();
    let sum = wrong_sum.len() - 8;
    wrong_sum[sum] ^= 1;
    for (why, body, kind) in [
        ("a bomb", bomb.clone(), Kind::TooLarge),
        ("a bomb behind an innocent member", [whole.clone(), bomb].concat(), Kind::TooLarge),
        ("cut off", whole[..whole.len() - 1].to_vec(), Kind::Malformed),
        ("cut off in the content", whole[..30].to_vec(), Kind::Malformed),
        ("followed by something", [&whole[..], b"more"].concat(), Kind::Malformed),
        ("wrong checksum", wrong_sum, Kind::Malformed),
        ("no gzip", HEADER.into(), Kind::Malformed),
        ("nothing", Vec::new(), Kind::Malformed),
        ("packed twice", packed(&whole), Kind::Malformed),
    ] {
        let refusal = parse(Some("application/gzip"), &query(1), &body).expect_err(why);
        assert_eq!(refusal.kind, kind, "{why}: {refusal}");
    }
    let large = vec![b' '; MAX_FILE_BYTES + 1];
    assert_eq!(csv_file(1, large).expect_err("large").kind, Kind::TooLarge);
}

#[test]
fn r34_too_many_records_are_counted_and_not_kept() {
    let rows = HEADER.to_owned() + &ROW.repeat(MAX_RECORDS);
    assert_eq!(csv_file(MAX_RECORDS, &rows).expect("a file").records.len(), MAX_RECORDS);
    let more = csv_file(MAX_RECORDS + 1, rows + ROW).expect_err("one more");
    assert_eq!((more.kind, more.sequence), (Kind::TooLarge, Some(7)));
    assert!(more.problem.contains("20001 records") && more.problem.contains("split"), "{more}");
    let json = document(json!(vec![0; MAX_RECORDS + 1]));
    assert_eq!(json_file(&json).expect_err("one more").kind, Kind::TooLarge);
    for commas in [format!("{HEADER}{}", ",".repeat(5_000_000)), ",".repeat(5_000_000)] {
        assert!(csv_file(1, commas).is_err());
    }
    let mut records = Records::default();
    (0..=MAX_RECORDS).for_each(|_| {
        let row = records.next();
        records.push(Ok(RawRecord { row, ..RawRecord::default() }));
    });
    assert_eq!((records.found, records.kept.len()), (MAX_RECORDS + 1, MAX_RECORDS));
}

/// Texts as they occur in files: names with accents, quotation marks, delimiters and line ends among them.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[A-Za-z0-9/-]{0,10}", 1 => "[ \"',;\té\r\n\u{feff}-]{0,6}", 1 => ".{0,8}"]
}

/// The middle columns are random, the first is not: a row without a single value is no row.
fn rows() -> impl Strategy<Value = Vec<[String; 9]>> {
    let row = proptest::array::uniform9(field()).prop_map(|mut fields| {
        "9990000018".clone_into(&mut fields[0]);
        fields
    });
    proptest::collection::vec(row, 0..12)
}

fn expected(rows: &[[String; 9]]) -> Vec<Row> {
    rows.iter().enumerate().map(|(i, fields)| Ok(RawRecord { row: i + 1, fields: fields.clone() })).collect()
}

proptest! {
    #[test]
    fn r17_whatever_a_writer_writes_is_read_back(
        rows in rows(),
        order in Just(Column::ALL.to_vec()).prop_shuffle(),
        delimiter in prop::sample::select(b",;\t".to_vec()),
        end in prop::sample::select(vec![Terminator::CRLF, Terminator::Any(b'\n'), Terminator::Any(b'\r')]),
        quotes in prop::sample::select(vec![QuoteStyle::Always, QuoteStyle::Necessary, QuoteStyle::NonNumeric]),
        bom: bool,
    ) {
        let mut content = if bom { b"\xef\xbb\xbf".to_vec() } else { Vec::new() };
        let mut writer = WriterBuilder::new().delimiter(delimiter).terminator(end).quote_style(quotes).from_writer(&mut content);
        writer.write_record(order.iter().map(|c| c.name())).expect("memory");
        for row in &rows {
            writer.write_record(order.iter().map(|c| &row[*c as usize])).expect("memory");
        }
        drop(writer);
        prop_assert_eq!(csv_file(rows.len(), &content).expect("a file").records, expected(&rows));
    }

    #[test]
    fn r17_json_is_read_back(rows in rows()) {
        let records: Vec<Value> = rows
            .iter()
            .map(|row| Column::ALL.into_iter().map(|c| (c.name().to_owned(), json!(row[c as usize]))).collect())
            .collect();
        prop_assert_eq!(json_file(&document(json!(records))).expect("a file").records, expected(&rows));
    }

    #[test]
    fn any_bytes_are_a_file_or_a_refusal(
        media_type in prop::sample::select(vec!["text/csv", "application/json", "application/gzip"]),
        body in prop::collection::vec(any::<u8>(), 0..300),
        pack: bool,
    ) {
        for body in [body.clone(), [HEADER.as_bytes(), &body].concat()] {
            let body = if pack { packed(&body) } else { body };
            if let Err(refusal) = parse(Some(media_type), &query(1), &body) {
                prop_assert!(!refusal.problem.is_empty());
            }
            let _ = parse_single(Some(media_type), &body);
        }
    }

    #[test]
    fn json_with_a_byte_changed_is_a_file_or_a_refusal(at: prop::sample::Index, byte: u8) {
        let mut body = document(json!([record(), record()])).to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(file) = parse(Some("application/json"), &[], &body) {
            prop_assert_eq!(file.records.len(), 2);
        }
    }

    #[test]
    fn r16_a_file_cut_anywhere_never_loses_a_whole_row_unseen(at: prop::sample::Index) {
        let body = format!("{HEADER}{ROW}{ROW}{ROW}");
        let cut = at.index(body.len());
        if let Ok(file) = csv_file(3, &body[..cut]) {
            prop_assert!(cut > body.len() - ROW.len());
            prop_assert_eq!(file.records.len(), 3);
        }
    }
}
