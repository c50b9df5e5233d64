//! Every person in the repository is invented: NHS numbers come from 999 000 0000 to 999 999 9999, which are never issued.

use cpis::domain::nhs_number::NhsNumber;

use super::{Source, sources};

/// The lines that hold ten digits which could be somebody's NHS number.
fn real_numbers(source: &Source) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    // The digits themselves are not repeated: they may be somebody's.
    lines
        .filter(|(_, line)| candidates(line).any(|c| is_real(&c)))
        .map(|(i, _)| format!("{}:{}", source.path, i + 1))
        .collect()
}

fn is_real(digits: &str) -> bool {
    !digits.starts_with("999") && NhsNumber::parse(digits).is_ok()
}

/// Ten digits that stand alone, together or as 3 3 4 with spaces or hyphens; the fraction of a number is none.
fn candidates(line: &str) -> impl Iterator<Item = String> {
    let bytes = line.as_bytes();
    (0..bytes.len()).filter_map(|start| {
        let alone = start == 0 || !(bytes[start - 1].is_ascii_alphanumeric() || bytes[start - 1] == b'_');
        let fraction = start > 1 && bytes[start - 1] == b'.' && bytes[start - 2].is_ascii_digit();
        if !alone || fraction {
            return None;
        }
        together(&bytes[start..]).or_else(|| grouped(&bytes[start..]))
    })
}

fn together(bytes: &[u8]) -> Option<String> {
    let digits = bytes.get(..10).filter(|d| d.iter().all(u8::is_ascii_digit))?;
    ends(bytes, 10).then(|| String::from_utf8_lossy(digits).into_owned())
}

fn grouped(bytes: &[u8]) -> Option<String> {
    let text = bytes.get(..12)?;
    let separator = *text.get(3).filter(|b| matches!(b, b' ' | b'-'))?;
    let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_digit).collect();
    let in_place = text[7] == separator && digits.len() == 10;
    (in_place && ends(bytes, 12)).then(|| String::from_utf8_lossy(&digits).into_owned())
}

fn ends(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_none_or(|b| !(b.is_ascii_alphanumeric() || *b == b'_'))
}

#[test]
fn nobody_real_is_named() {
    let found: Vec<_> = sources().iter().flat_map(real_numbers).collect();
    assert!(found.is_empty(), "NHS numbers that may be somebody's (or ten digits that look so):\n{}", found.join("\n"));
}

#[test]
fn a_real_number_is_found_and_others_are_not() {
    // In two halves, so that this file does not hold it.
    let digits = format!("40000{}", "00004");
    assert!(NhsNumber::parse(&digits).is_ok());
    let (a, b, c) = (&digits[..3], &digits[3..6], &digits[6..]);
    for text in [
        digits.clone(),
        format!("é\"{digits}\","),
        format!("|{digits}\n"),
        format!("{a} {b} {c}"),
        format!("nhs-number/{a}-{b}-{c}."),
        format!("9990000018,{digits}"),
    ] {
        assert_eq!(real_numbers(&Source::planted("x.csv", &format!("\n{text}"))), ["x.csv:2"], "{text}");
    }
    for text in [
        "9990000018".to_owned(),
        "999 000 0018".into(),
        format!("1{digits}"),
        format!("{digits}0"),
        format!("a{digits}"),
        format!("0.{digits}"),
        format!("{a} {b}-{c}"),
        format!("{}5", &digits[..9]),
    ] {
        assert_eq!(real_numbers(&Source::planted("x.csv", &text)), [""; 0], "{text}");
    }
}
