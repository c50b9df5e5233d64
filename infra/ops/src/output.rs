//! What goes to stdout: tables for people, JSON for programs.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use serde::Serialize;

/// Writes a line.
pub(crate) fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Tells stderr what somebody should know. Where nobody listens any more, the work goes on.
pub(crate) fn note(text: impl std::fmt::Display) {
    tell(format_args!("note: {text}"));
}

/// Writes a line to stderr, as far as that works.
pub(crate) fn tell(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Writes a value as indented JSON.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    line(&serde_json::to_string_pretty(value)?)
}

/// A bar on stderr of how much is written of so much; only where that is a terminal. `to_stdout`: the data go there, and would be
/// mixed up with it on a terminal.
pub(crate) fn bar(length: usize, what: &str, to_stdout: bool) -> ProgressBar {
    if to_stdout && io::stdout().is_terminal() || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template(&format!("{{bar:30}} {{pos}} of {{len}} {what}  {{elapsed}}, {{eta}} left"));
    ProgressBar::new(length as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Rows under their headings, each column as wide as its widest cell; numbers stand on the right.
pub(crate) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|r| r[column].chars().count()).fold(headings[column].len(), usize::max);
    let widths: [usize; N] = std::array::from_fn(width);
    let numeric: [bool; N] = std::array::from_fn(|c| rows.iter().all(|r| r[c].bytes().all(|b| b.is_ascii_digit())));
    let cells = |row: [&str; N]| {
        let padded = (0..N).map(|c| match numeric[c] {
            true => format!("{:>1$}", row[c], widths[c]),
            false => format!("{:<1$}", row[c], widths[c]),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head = std::iter::once(cells(headings));
    let body = rows.iter().map(|r| cells(std::array::from_fn(|c| r[c].as_str())));
    head.chain(body).collect::<Vec<_>>().join("\n")
}

/// How long ago a moment was, to the unit that matters: `12 s`, `4 min`, `3 h`, `9 days`. The future counts as now.
pub(crate) fn ago(moment: Timestamp, now: Timestamp) -> String {
    match now.duration_since(moment).as_secs() {
        ..=-1 => "0 s".into(),
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7_199 => format!("{} min", s / 60),
        s @ 7_200..=172_799 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_for_terminals_alone() {
        // A test's stderr may be one, and a program's that reads our output is none.
        let bar = bar(3, "records", false);
        assert_eq!(bar.is_hidden(), !io::stderr().is_terminal());
        bar.finish_and_clear();
    }

    #[test]
    fn tables_align() {
        let rows = [["a".into(), "1".into(), "x".into()], ["long".into(), "10".into(), String::new()]];
        assert_eq!(table(["NAME", "N", "LAST"], &rows), "NAME   N  LAST\na      1  x\nlong  10");
    }

    #[test]
    fn ages() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().expect("valid");
        for (then, said) in [
            ("2026-11-22T12:00:05Z", "0 s"),
            ("2026-11-22T11:58:01Z", "119 s"),
            ("2026-11-22T11:58:00Z", "2 min"),
            ("2026-11-22T09:00:00Z", "3 h"),
            ("2026-11-13T12:00:00Z", "9 days"),
        ] {
            assert_eq!(ago(then.parse().expect("valid"), now), said);
        }
    }
}
