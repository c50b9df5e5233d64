//! Hostile uploads: files and single plans.

use std::io::Write;

use cpis_tests::{
    events::Request,
    world::{World, authority_caller, nurse},
};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;

use super::*;

const OWN: &str = "E06000001";
const HEADER: &str =
    "nhs_number,local_id,family_name,given_names,birth_date,plan_type,start_date,end_date,delete_date\n";
const CSV: &str = "text/csv";
const JSON: &str = "application/json";
const GZIP: &str = "application/gzip";
/// Time at which every file was made.
const CREATED: &str = "2026-01-31T08:30:00Z";
const PHONE: &str = "020 7946 0001";

fn row() -> String {
    format!("{NUMBER},C-1,{NAME},Robin Lee,2019-06-01,CPP,2026-01-31,,\n")
}

fn file() -> String {
    format!("{HEADER}{}", row())
}

fn to(path: &str) -> Request {
    Request::new("POST", &format!("/cpis/authorities/{OWN}/{path}")).caller(&authority_caller(OWN))
}

/// The upload of a file with this envelope; a value of `None` leaves the part out.
fn upload(sequence: &str, changes: &[(&str, Option<&str>)]) -> Request {
    let parts = [("sequence", sequence), ("created", CREATED), ("records", "1"), ("emergencyDutyTeamPhone", PHONE)];
    let request = parts.into_iter().filter(|(name, _)| changes.iter().all(|(other, _)| other != name));
    let request = request.fold(to("uploads"), |request, (name, value)| request.query(name, value));
    changes.iter().fold(request, |request, (name, value)| match value {
        Some(value) => request.query(name, value),
        None => request,
    })
}

fn csv(body: impl Into<Vec<u8>>) -> Request {
    upload("7", &[]).body(CSV, body)
}

fn good() -> Request {
    upload("9", &[]).body(CSV, file())
}

fn record() -> Value {
    json!({"nhs_number": NUMBER, "local_id": "C-1", "family_name": NAME, "given_names": ["Robin", "Lee"],
        "birth_date": "2019-06-01", "plan_type": "CPP", "start_date": "2026-01-31"})
}

fn document() -> Value {
    json!({"sequence": 7, "created": CREATED, "count": 1, "authority": {"emergencyDutyTeamPhone": PHONE}, "records": [record()]})
}

fn packed(content: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content.as_ref()).expect("memory");
    encoder.finish().expect("memory")
}

fn nested(open: &str, close: &str, depth: usize) -> String {
    format!("{}{}", open.repeat(depth), close.repeat(depth))
}

fn envelopes() -> Vec<Case> {
    let mut cases = Vec::new();
    let long = "9".repeat(100_000);
    for (name, values) in [
        (
            "sequence",
            &[
                "",
                " ",
                "0",
                "-1",
                "+1",
                "1.0",
                "1e3",
                "0x1",
                "NaN",
                "9007199254740993",
                "99999999999999999999999999",
                "\u{661}",
                "1\0",
                "1;2",
                "1,2",
                "' OR 1=1",
                &long,
            ][..],
        ),
        (
            "created",
            &[
                "",
                "now",
                "0",
                "2026-01-32",
                "2026-01-31T08:30:00",
                "2026-02-30T08:30:00Z",
                "2026-13-01T00:00:00Z",
                "2026-01-31T25:00:00Z",
                "31/01/2026",
                "1769848200",
                "9999999999999-01-01T00:00:00Z",
                "-2026-01-31T08:30:00",
                "2026-01-31T08:30:00 00:00",
                "2026-01-31T08:30:00Z\0",
                &long,
            ],
        ),
        ("records", &["", "-1", "+1", "1.0", "many", "2", "0", "18446744073709551616", "\u{661}", &long]),
        (
            "emergencyDutyTeamPhone",
            &[
                "",
                "1234",
                "-----",
                "0800 SOCIAL",
                "020 7946 0001 ext. 2",
                "020 7946 0001\r\n",
                "\u{660}\u{661}\u{662}\u{663}\u{664}",
                "tel:02079460001",
                "<b>02079460001</b>",
                "=02079460001",
                "0123456789012345678901234567890",
                &long,
            ],
        ),
        ("officeHoursPhone", &["12", "office", "020 7946 0001\u{202e}", "' OR 1=1", &long]),
    ] {
        for value in values {
            let request = upload("7", &[(name, Some(value))]).body(CSV, file());
            cases.push(case(format!("{name} {value:.40?}"), &request, Expected::Malformed));
        }
        let twice = upload("7", &[]).query("officeHoursPhone", PHONE).query(name, "1").body(CSV, file());
        cases.push(case(format!("{name} twice"), &twice, Expected::Malformed));
        if name != "officeHoursPhone" {
            let request = upload("7", &[(name, None)]).body(CSV, file());
            cases.push(case(format!("no {name}"), &request, Expected::Malformed));
        }
    }
    cases
}

fn files_of_csv() -> Vec<Case> {
    let (file, row) = (file(), row());
    let wide = |count: usize| format!("{}{HEADER}{row}", "x,".repeat(count));
    let utf16 = |mark: [u8; 2], first: usize| -> Vec<u8> {
        mark.into_iter().chain(file.bytes().flat_map(|b| if first == 0 { [b, 0] } else { [0, b] })).collect()
    };
    let mut cases = Vec::new();
    for (name, body) in [
        ("nothing", String::new()),
        ("line ends alone", "\r\n\r\n\n\n".into()),
        ("NUL alone", "\0".into()),
        ("no header", row.clone()),
        ("a header alone", HEADER.into()),
        ("a header that lacks a column", file.replacen("birth_date", "born", 1)),
        ("a column twice", file.replacen("local_id", "NHS number", 1)),
        ("201 columns more", wide(201)),
        ("10,000 columns", wide(10_000)),
        ("a header of a megabyte", format!("{}{file}", "x".repeat(1 << 20))),
        ("five million commas", ",".repeat(5_000_000)),
        ("a quotation mark left open", file.replacen("C-1", "\"C-1", 1)),
        ("a quotation mark left open in the header", file.replacen("local_id", "\"local_id", 1)),
        ("a quotation mark at the end", format!("{file}\"")),
        ("quotation marks within quotation marks", file.replacen("C-1", "\"\"\"\"\"C-1", 1)),
        ("two rows for one", format!("{file}{row}")),
        ("cut off in the row", file[..file.len() - 30].to_owned() + "\n" + &row),
        ("another delimiter", file.replace(',', "|")),
        ("delimiters mixed", file.replacen(HEADER, &HEADER.replace(',', ";"), 1).replacen(';', ",", 4)),
        ("line ends of another kind", file.replace('\n', "\u{2028}")),
        ("a formula for a header", format!("=cmd|'/c calc'!A0,{file}").replacen("nhs_number", "x", 1)),
        ("a script for a header", "<script>alert(1)</script>\n1\n".into()),
        ("a chunk's size before", format!("1f4\r\n{file}\r\n0\r\n\r\n")),
        ("XML", "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>".into()),
        ("JSON", document().to_string()),
        ("HTML", "<html><body>401</body></html>".into()),
        ("a part of a form", format!("--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n{file}\r\n--x--")),
    ] {
        cases.push(case(format!("CSV: {name}"), &csv(body), Expected::Malformed));
    }
    for (name, body) in [
        ("UTF-16, low byte first", utf16([0xff, 0xfe], 0)),
        ("UTF-16, high byte first", utf16([0xfe, 0xff], 1)),
        ("a workbook", [&b"PK\x03\x04"[..], &[0; 100]].concat()),
        ("bytes at random", (0..2_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
        ("0xff alone", vec![0xff; 1_000]),
    ] {
        cases.push(case(
            format!("CSV in gzip: {name}"),
            &upload("7", &[]).body(GZIP, packed(&body)),
            Expected::Malformed,
        ));
        cases.push(case(format!("CSV: {name}"), &csv(body), Expected::Malformed));
    }
    let fields = csv(format!("{HEADER}{}", ",".repeat(5_000_000)));
    cases.push(case("CSV: five million fields in a row", &fields, TOO_LARGE));
    cases.push(case("CSV: 20,001 rows", &csv(format!("{HEADER}{}", row.repeat(20_001))), TOO_LARGE));
    cases
}

/// Rows that are rejected, each by itself, in files that are in order.
fn rows() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut sequence = 100;
    let mut add = |name: &str, body: Vec<u8>, media_type| {
        sequence += 1;
        let request = upload(&sequence.to_string(), &[]).body(media_type, body);
        cases.push(case(format!("a row with {name}"), &request, Expected::Rejected));
    };
    let long = "x".repeat(1 << 20);
    for (name, old, new) in [
        ("a field too few", "C-1,", ""),
        ("a field too many", "C-1", "C-1,C-2"),
        ("a cell of a megabyte", "C-1", &long[..]),
        ("NUL", "C-1", "C\0-1"),
        ("an escape sequence", "C-1", "\u{1b}[2J"),
        ("a line end in a cell", "C-1", "\"C\n-1\""),
        ("a mark that turns the writing", "Robin", "\u{202e}niboR"),
        ("letters that were no UTF-8", "Robin", "R\u{fffd}bin"),
        ("a wrong number", "018", "019"),
        ("a number with a point", NUMBER, "9990000018.0"),
        ("a number as a spreadsheet writes it", NUMBER, "9.99E+09"),
        ("a formula for a number", NUMBER, "\"=SUM(9990000018,0)\""),
        ("an old-style number", NUMBER, "ABC/1234"),
        ("no name", NAME, ""),
        ("a name of spaces", NAME, "   "),
        ("a date that is none", "2019-06-01", "2019-02-29"),
        ("a date of zeros", "2019-06-01", "0000-00-00"),
        ("a date far off", "2019-06-01", "9999-12-31"),
        ("a date as Americans write it", "2019-06-01", "06/30/2019"),
        ("a date as a number", "2019-06-01", "43617"),
        ("a date before there were any", "2019-06-01", "-001-01-01"),
        ("a date with a time", "2019-06-01", "2019-06-01T00:00:00Z"),
        ("a grown-up", "2019-06-01", "1950-06-01"),
        ("a kind of plan in small letters and more", "CPP", "cpp; drop table"),
        ("an end before the start", "2026-01-31,,", "2026-01-31,2020-01-01,"),
        ("an end and a withdrawal", "2026-01-31,,", "2026-01-31,2026-02-01,2026-02-01"),
    ] {
        let body = format!("{HEADER}{}", row().replacen(old, new, 1));
        add(name, body.clone().into_bytes(), CSV);
        add(&format!("{name}, packed"), packed(body), GZIP);
    }
    let mut latin = file().replacen("Robin", "R~bin", 1).into_bytes();
    latin.iter_mut().filter(|b| **b == b'~').for_each(|b| *b = 0xf3);
    add("Latin 1", latin.clone(), CSV);
    add("Latin 1, packed", packed(latin), GZIP);
    cases
}

/// JSON texts that cannot be read as a file, for both the list and the single plan.
fn texts_of_json() -> Vec<(String, String)> {
    let good = document().to_string();
    let with = |member: &str| good.replacen('{', &format!("{{{member},"), 1);
    let instead = |old: &str, new: &str| {
        assert!(good.contains(old), "{old}");
        good.replacen(old, new, 1)
    };
    [
        ("nothing", String::new()),
        ("a space", " ".into()),
        ("null", "null".into()),
        ("true", "true".into()),
        ("a number", "7".into()),
        ("a text", format!("\"{NAME}\"")),
        ("a list", format!("[{good}]")),
        ("an empty object", "{}".into()),
        ("two objects", format!("{good}{good}")),
        ("something behind", format!("{good}x")),
        ("NUL behind", format!("{good}\0")),
        ("cut off", good[..good.len() - 2].into()),
        ("two byte order marks", format!("\u{feff}\u{feff}{good}")),
        ("a comment", instead("{", "{/* x */")),
        ("a comma too many", format!("{},}}", &good[..good.len() - 1])),
        ("single quotation marks", good.replace('"', "'")),
        ("names without quotation marks", good.replace("\"sequence\"", "sequence")),
        ("NaN", instead("\"sequence\":7", "\"sequence\":NaN")),
        ("infinity", instead("\"sequence\":7", "\"sequence\":1e999")),
        ("half a surrogate pair", instead(NAME, r"\ud800")),
        ("a surrogate pair turned round", instead(NAME, r"\udc00\ud800")),
        ("half an escape", instead(NAME, r"\u12")),
        ("an unknown escape", instead(NAME, r"\x41")),
        ("NUL in a text", instead(NAME, "a\0b")),
        ("a line end in a text", instead(NAME, "a\nb")),
        ("200 lists", with(&format!("\"x\":{}", nested("[", "]", 200)))),
        ("100,000 lists", with(&format!("\"x\":{}", nested("[", "]", 100_000)))),
        ("100,000 objects", with(&format!("\"x\":{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000)))),
        ("100,000 lists that are not closed", "[".repeat(100_000)),
        ("a million commas", with(&format!("\"x\":[{}]", ",".repeat(1_000_000)))),
        ("an object of 100,000 members", {
            let members: Vec<_> = (0..100_000).map(|n| format!("\"{n}\":0")).collect();
            with(&format!("\"x\":{{{}}}", members.join(",")))
        }),
        ("the sequence twice", with("\"sequence\":7")),
        ("two sequences", with("\"sequence\":8")),
        ("the sequence escaped too", with(r#""\u0073equence":8"#)),
        ("the authority twice", with("\"authority\":{}")),
        ("another member twice", with("\"x\":1,\"x\":1")),
        ("a member twice deep down", with("\"x\":[[{\"y\":{\"z\":1,\"z\":2}}]]")),
        ("a phone twice", instead("\"authority\":{", "\"authority\":{\"emergencyDutyTeamPhone\":\"020 7946 0002\",")),
        ("another member of the authority twice", instead("\"authority\":{", "\"authority\":{\"x\":1,\"x\":2,")),
        ("no sequence", {
            let mut body = document();
            body.as_object_mut().expect("an object").remove("sequence");
            body.to_string()
        }),
        ("sequence null", instead("\"sequence\":7", "\"sequence\":null")),
        ("sequence in a text", instead("\"sequence\":7", "\"sequence\":\"7\"")),
        ("sequence with a point", instead("\"sequence\":7", "\"sequence\":7.0")),
        ("sequence with an exponent", instead("\"sequence\":7", "\"sequence\":7e0")),
        ("sequence negative", instead("\"sequence\":7", "\"sequence\":-7")),
        ("sequence zero", instead("\"sequence\":7", "\"sequence\":0")),
        ("sequence minus zero", instead("\"sequence\":7", "\"sequence\":-0")),
        ("sequence of 400 digits", instead("\"sequence\":7", &format!("\"sequence\":{}", "9".repeat(400)))),
        ("sequence in a list", instead("\"sequence\":7", "\"sequence\":[7]")),
        ("sequence true", instead("\"sequence\":7", "\"sequence\":true")),
        ("created a number", instead(&format!("\"created\":\"{CREATED}\""), "\"created\":1769848200")),
        ("created without a zone", instead(CREATED, "2026-01-31T08:30:00")),
        ("created on a day that is none", instead(CREATED, "2026-02-30T08:30:00Z")),
        ("authority a text", instead(&format!("{{\"emergencyDutyTeamPhone\":\"{PHONE}\"}}"), "\"E06000001\"")),
        ("authority null", instead(&format!("{{\"emergencyDutyTeamPhone\":\"{PHONE}\"}}"), "null")),
        ("a phone that is a number", instead(&format!("\"{PHONE}\""), "2079460001")),
        ("a phone with letters", instead(PHONE, "ring the office")),
        ("a phone with a line end", instead(PHONE, r"020 7946 0001\r\n")),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .to_vec()
}

fn files_of_json() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, text) in texts_of_json() {
        let single =
            text.replacen("\"records\":[", "\"record\":", 1).replacen("}]", "}", 1).replacen("\"count\":1,", "", 1);
        cases.push(case(format!("JSON: {name}"), &to("uploads").body(JSON, text.clone()), Expected::Malformed));
        cases.push(case(
            format!("JSON packed: {name}"),
            &to("uploads").body(GZIP, packed(format!("{{{text}"))),
            Expected::Malformed,
        ));
        cases.push(case(format!("plan: {name}"), &to("plans").body(JSON, single), Expected::Malformed));
    }
    let good = document();
    for (name, member, value) in [
        ("count too high", "count", json!(2)),
        ("count zero", "count", json!(0)),
        ("count negative", "count", json!(-1)),
        ("count with a point", "count", json!(1.0)),
        ("count in a text", "count", json!("1")),
        ("count null", "count", json!(null)),
        ("records null", "records", json!(null)),
        ("records an object", "records", json!({"0": record()})),
        ("records a text", "records", json!(NAME)),
        ("records a number", "records", json!(1)),
    ] {
        let mut body = good.clone();
        body[member] = value;
        cases.push(case(format!("JSON: {name}"), &to("uploads").body(JSON, body.to_string()), Expected::Malformed));
    }
    let mut many = good;
    many["records"] = json!(vec![0; 20_001]);
    cases.push(case("JSON: 20,001 records", &to("uploads").body(JSON, many.to_string()), TOO_LARGE));
    let latin: Vec<u8> = document()
        .to_string()
        .replacen("Robin", "R~bin", 1)
        .bytes()
        .map(|b| if b == b'~' { 0xf3 } else { b })
        .collect();
    cases.push(case("JSON packed: Latin 1", &to("uploads").body(GZIP, packed(latin)), Expected::Malformed));
    cases
}

/// Records that are rejected, each by itself.
fn records() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut sequence = 1_000;
    let mut add = |name: &str, record: &str| {
        for single in [false, true] {
            sequence += 1;
            let authority = format!("\"authority\":{{\"emergencyDutyTeamPhone\":\"{PHONE}\"}}");
            let head = format!("{{\"sequence\":{sequence},\"created\":\"{CREATED}\",{authority}");
            let (path, body) = if single {
                ("plans", format!("{head},\"record\":{record}}}"))
            } else {
                ("uploads", format!("{head},\"count\":1,\"records\":[{record}]}}"))
            };
            cases.push(case(format!("{path}: a record {name}"), &to(path).body(JSON, body), Expected::Rejected));
        }
    };
    let good = record().to_string();
    for (name, text) in
        [("null", "null"), ("true", "true"), ("a number", "7"), ("a list", "[]"), ("a text", "\"x\""), ("empty", "{}")]
    {
        add(&format!("that is {name}"), text);
    }
    for (name, old, new) in [
        ("whose number is a number", format!("\"{NUMBER}\""), NUMBER.to_owned()),
        ("whose number is huge", format!("\"{NUMBER}\""), "1e300".into()),
        ("whose number is a list", format!("\"{NUMBER}\""), format!("[\"{NUMBER}\"]")),
        ("whose name is an object", format!("\"{NAME}\""), "{\"a\":{\"b\":[]}}".into()),
        ("whose name is true", format!("\"{NAME}\""), "true".into()),
        ("whose name has NUL", NAME.to_owned(), "a\\u0000b".into()),
        ("whose name is 10,000 letters", NAME.to_owned(), "x".repeat(10_000)),
        ("whose given names are numbers", "[\"Robin\",\"Lee\"]".into(), "[1,2]".into()),
        ("whose given names are lists", "[\"Robin\",\"Lee\"]".into(), "[[\"Robin\"]]".into()),
        ("whose date is a number", "\"2019-06-01\"".into(), "20190601".into()),
        ("whose date is no day", "2019-06-01".into(), "2019-06-31".into()),
        ("whose date is in year 0", "2019-06-01".into(), "0000-01-01".into()),
        ("whose kind is null", "\"CPP\"".into(), "null".into()),
        ("with a field twice", "{".into(), "{\"plan_type\":\"LAC\",".into()),
        ("with a field under two names", "{".into(), "{\"planType\":\"LAC\",".into()),
        ("with an unknown field twice", "{".into(), "{\"x\":1,\"x\":2,".into()),
        ("with a field twice deep down", "{".into(), "{\"x\":[{\"a\":1,\"a\":2}],".into()),
        ("with 101 fields", "{".into(), format!("{{{}", (0..101).map(|n| format!("\"x{n}\":0,")).collect::<String>())),
        (
            "with 100,000 fields",
            "{".into(),
            format!("{{{}", (0..100_000).map(|n| format!("\"x{n}\":0,")).collect::<String>()),
        ),
    ] {
        assert!(good.contains(&old), "{name}");
        add(name, &good.replacen(&old, &new, 1));
    }
    cases
}

fn packages() -> Vec<Case> {
    let whole = packed(file());
    let changed = |at: usize, bits: u8| {
        let mut body = whole.clone();
        body[at] ^= bits;
        body
    };
    let mut header_only = packed("");
    header_only.truncate(10);
    let bomb = packed(vec![b' '; (32 << 20) + 1]);
    let mut cases = Vec::new();
    for (name, body, expected) in [
        ("nothing", vec![], Expected::Malformed),
        ("one byte", vec![0x1f], Expected::Malformed),
        ("the magic number alone", vec![0x1f, 0x8b], Expected::Malformed),
        ("a head alone", header_only, Expected::Malformed),
        ("nothing, packed", packed(""), Expected::Malformed),
        ("not packed", file().into_bytes(), Expected::Malformed),
        ("another packing (zip)", b"PK\x03\x04\x14\0".to_vec(), Expected::Malformed),
        ("another packing (zstd)", vec![0x28, 0xb5, 0x2f, 0xfd, 0, 0], Expected::Malformed),
        ("another packing (bzip2)", b"BZh91AY&SY".to_vec(), Expected::Malformed),
        ("packed twice", packed(&whole), Expected::Malformed),
        ("packed ten times", (0..10).fold(whole.clone(), |body, _| packed(body)), Expected::Malformed),
        ("cut off at the end", whole[..whole.len() - 1].to_vec(), Expected::Malformed),
        ("cut off before its sum", whole[..whole.len() - 8].to_vec(), Expected::Malformed),
        ("cut off in the middle", whole[..whole.len() / 2].to_vec(), Expected::Malformed),
        ("a wrong sum", changed(whole.len() - 8, 1), Expected::Malformed),
        ("a wrong length", changed(whole.len() - 1, 1), Expected::Malformed),
        ("another method", changed(2, 1), Expected::Malformed),
        ("reserved flags", changed(3, 0xe0), Expected::Malformed),
        ("a name that never ends", changed(3, 8), Expected::Malformed),
        ("a bit flipped within", changed(20, 4), Expected::Malformed),
        ("something behind", [&whole[..], b"more"].concat(), Expected::Malformed),
        ("NUL behind", [&whole[..], &[0; 512]].concat(), Expected::Malformed),
        ("half a member behind", [&whole[..], &whole[..20]].concat(), Expected::Malformed),
        ("two files in two members", [&whole[..], &whole[..]].concat(), Expected::Malformed),
        ("a bomb", bomb.clone(), TOO_LARGE),
        ("a bomb behind a good member", [&whole[..], &bomb].concat(), TOO_LARGE),
        ("a bomb of zeros", packed(vec![0; 64 << 20]), TOO_LARGE),
        ("a bomb of lists", packed("[".repeat(1 << 20)), Expected::Malformed),
        ("a thousand empty members", packed("").repeat(1_000), Expected::Malformed),
    ] {
        let file = upload("7", &[]).body(GZIP, body.clone());
        cases.push(case(format!("uploads: gzip: {name}"), &file, expected));
        // What can be unpacked and is not JSON is taken for CSV, which a single plan cannot be.
        let is_text = ["nothing, packed", "two files in two members", "a bomb of lists", "a thousand empty members"];
        let expected = if is_text.contains(&name) { OTHER_TYPE } else { expected };
        cases.push(case(format!("plans: gzip: {name}"), &to("plans").body(GZIP, body), expected));
    }
    cases.push(case("packed, said to be CSV", &csv(whole.clone()), Expected::Malformed));
    cases.push(case("packed, said to be JSON", &to("uploads").body(JSON, whole), Expected::Malformed));
    cases
}

fn types_and_paths() -> Vec<Case> {
    let mut cases = Vec::new();
    for media_type in [
        "",
        " ",
        "text",
        "text/",
        "/csv",
        "text/plain",
        "text/csv2",
        "text/csv, application/json",
        "application/xml",
        "text/html",
        "application/json+x",
        "application/fhir+json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/mixed",
        "application/octet-stream",
        "application/zip",
        "application/vnd.ms-excel",
        "text/csv; charset=utf-16",
        "text/csv; charset=windows-1252",
        "text/csv; charset=utf-8; charset=utf-7",
        "application/json;charset=\"iso-8859-1\"",
        "*/*",
        "text/csv\u{e9}",
        NAME,
    ] {
        for path in ["uploads", "plans"] {
            let request = if path == "uploads" { upload("7", &[]) } else { to("plans") };
            cases.push(case(format!("{path} as {media_type:?}"), &request.body(media_type, file()), OTHER_TYPE));
        }
    }
    cases.push(case("a plan as CSV", &to("plans").body(CSV, file()), OTHER_TYPE));
    cases.push(case("no type and no body", &upload("7", &[]), OTHER_TYPE));
    for encoding in ["gzip", "br", "compress", "identity, gzip", "utf-8", "\u{1f600}"] {
        let request = csv(file()).header("Content-Encoding", encoding);
        cases.push(case(format!("said to be packed as {encoding}"), &request, OTHER_TYPE));
    }
    let mut broken = csv(file()).event();
    broken["isBase64Encoded"] = json!(true);
    cases.push(Case { name: "a body that is no Base64".into(), event: broken, expected: BAD_REQUEST });
    for (method, path) in [
        ("PUT", "uploads"),
        ("DELETE", "uploads"),
        ("PATCH", "plans"),
        ("GET", "uploads/1/records"),
        ("POST", "uploads/1"),
        ("POST", "plans/1"),
        ("POST", "uploads%00"),
        ("POST", "uploads;x"),
        ("POST", "Uploads"),
        ("POST", ""),
        ("POST", "../E06000002/uploads"),
    ] {
        let request = Request::new(method, &format!("/cpis/authorities/{OWN}/{path}")).caller(&authority_caller(OWN));
        cases.push(case(format!("{method} {path:?}"), &request.body(CSV, file()), NOT_FOUND));
    }
    for code in [
        "E06000002",
        "e06000001",
        "E06000001 ",
        "E06000001%20",
        "E0600001",
        "*",
        "E06000001%00",
        "%2E%2E",
        NUMBER,
        "\u{1f600}",
    ] {
        let path = format!("/cpis/authorities/{code}/uploads");
        let request = Request::new("POST", &path).caller(&authority_caller(OWN)).body(CSV, file());
        cases.push(case(format!("for the authority {code:?}"), &request, FORBIDDEN));
    }
    cases.push(case("from a nurse", &csv(file()).caller(&nurse()), FORBIDDEN));
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r60_r63_hostile_uploads() {
    let world = World::new().await;
    let any = [of_any(&to("uploads").query("sequence", "7")), headers_of(&to("plans"))].concat();
    let cases: Vec<Case> =
        [any, envelopes(), files_of_csv(), rows(), files_of_json(), records(), packages(), types_and_paths()]
            .into_iter()
            .flatten()
            .collect();
    assert!(cases.len() >= 500, "{} requests", cases.len());
    refused(world.start("plan-upload").await, &cases, &good()).await;
    assert_eq!(world.dynamo.scan("plans").len(), 1, "just the good request loaded anything");
}
