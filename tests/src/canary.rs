//! Invented people whose particulars occur nowhere else, and a search for whatever of them should not have been written.

use std::{
    path::Path,
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::world::check_digit;

/// Family names of the children.
const FAMILY_NAMES: [&str; 3] = ["Quillfeather", "Thistlewhistle", "Marrowfinch"];
/// Given names of the children.
const GIVEN_NAMES: [[&str; 2]; 3] =
    [["Zephyrine", "Isoldewyn"], ["Bartholomy", "Xanthabel"], ["Ottolinda", "Peregrinus"]];
/// Birth dates of the children: year, month, day.
const BIRTH_DATES: [(u16, u8, u8); 3] = [(2013, 2, 17), (2015, 8, 29), (2018, 11, 3)];
/// Name of whoever looks a child up.
pub const VIEWER: &str = "Wilhelmina Canarywell";
/// The first of the numbers that bulk files use; those before it are for single children.
const BULK: u64 = 999_800_000;
/// How many numbers' stems a run of the journeys may use, so that one after it has children of its own.
const RUN: u64 = 1_000;

/// A child of the journeys.
#[derive(Debug, Clone, Copy)]
pub struct Child {
    stem: u64,
    person: usize,
}

impl Child {
    /// The `index`-th child of this run, up to 899; each journey takes its own.
    ///
    /// # Panics
    /// There are not so many.
    #[must_use]
    pub fn new(index: usize) -> Self {
        static FIRST: OnceLock<u64> = OnceLock::new();
        let first = *FIRST.get_or_init(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
            999_000_000 + now % ((BULK - 999_000_000) / RUN) * RUN
        });
        Self::from(first..first + RUN).nth(index).unwrap_or_else(|| panic!("no child {index}"))
    }

    /// Children of a file too large for [`Self::new`]; the same ones each time.
    pub fn bulk() -> impl Iterator<Item = Self> {
        Self::from(BULK..1_000_000_000)
    }

    fn from(stems: std::ops::Range<u64>) -> impl Iterator<Item = Self> {
        let valid = stems.filter(|stem| check_digit(*stem).is_some());
        valid.enumerate().map(|(n, stem)| Self { stem, person: n % FAMILY_NAMES.len() })
    }

    /// Ten digits.
    #[must_use]
    pub fn number(&self) -> String {
        format!("{}{}", self.stem, check_digit(self.stem).unwrap_or_default())
    }

    /// Family name.
    #[must_use]
    pub fn family_name(&self) -> &'static str {
        FAMILY_NAMES[self.person]
    }

    /// Given names, separated by a space.
    #[must_use]
    pub fn given_names(&self) -> String {
        GIVEN_NAMES[self.person].join(" ")
    }

    /// Birth date, `YYYY-MM-DD`.
    #[must_use]
    pub fn birth_date(&self) -> String {
        let (year, month, day) = BIRTH_DATES[self.person];
        format!("{year}-{month:02}-{day:02}")
    }

    /// Birth date, `DD/MM/YYYY`.
    #[must_use]
    pub fn birth_date_with_slashes(&self) -> String {
        let (year, month, day) = BIRTH_DATES[self.person];
        format!("{day:02}/{month:02}/{year}")
    }

    /// A running plan's record, as JSON uploads have it.
    #[must_use]
    pub fn record(&self, plan_type: &str) -> Value {
        json!({
            "nhs_number": self.number(),
            "local_id": format!("CASE-{}", self.stem),
            "family_name": self.family_name(),
            "given_names": self.given_names(),
            "birth_date": self.birth_date(),
            "plan_type": plan_type,
            "start_date": "2026-01-31",
        })
    }
}

/// Something that should not have been written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// What it is, such as `NHS number`.
    pub what: String,
    /// Where, and the words around it.
    pub place: String,
}

/// What to search for.
#[derive(Debug)]
pub struct Search {
    /// Lower-case words, each with what it is.
    words: Vec<(&'static str, String)>,
}

impl Search {
    /// For children, whoever looks them up, tokens, and these secrets, each as it is and as JSON writes it.
    #[must_use]
    pub fn new(secrets: &[String]) -> Self {
        let mut words = Vec::new();
        let mut add = |what, word: &str| words.push((what, word.to_lowercase()));
        FAMILY_NAMES.iter().for_each(|name| add("family name", name));
        GIVEN_NAMES.iter().flatten().for_each(|name| add("given name", name));
        VIEWER.split(' ').for_each(|name| add("viewer's name", name));
        for (year, month, day) in BIRTH_DATES {
            add("birth date", &format!("{year}-{month:02}-{day:02}"));
            add("birth date", &format!("{day:02}/{month:02}/{year}"));
            add("birth date", &format!("{day:02}%2f{month:02}%2f{year}"));
            add("birth date", &format!("{year}{month:02}{day:02}"));
        }
        // How the Base64 of a token's parts begins: `{"typ"`, `{"alg"`, `{"iss"`.
        ["eyJ0eXAi", "eyJhbGci", "eyJpc3Mi"].iter().for_each(|beginning| add("token", beginning));
        for secret in secrets {
            add("secret", secret);
            add("secret", Value::from(secret.as_str()).to_string().trim_matches('"'));
        }
        Self { words }
    }

    /// Searches a text; `place` says where it is from.
    #[must_use]
    pub fn text(&self, place: &str, text: &str) -> Vec<Leak> {
        let found = text.lines().zip(1..).flat_map(|(line, number)| {
            let lower = line.to_lowercase();
            let mut hits: Vec<_> = self
                .words
                .iter()
                .filter_map(|(what, word)| Some((*what, lower.find(word)?)))
                .chain(nhs_numbers(&lower).map(|at| ("NHS number", at)))
                .collect();
            hits.dedup();
            let leak = |(what, at): (&str, usize)| {
                let around: String = lower.chars().skip(at.saturating_sub(60)).take(140).collect();
                Leak { what: what.to_owned(), place: format!("{place}:{number}: …{around}…") }
            };
            hits.into_iter().map(leak).collect::<Vec<_>>()
        });
        found.collect()
    }

    /// Searches every file under a directory; how many lines there were, too.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn directory(&self, directory: &Path) -> std::io::Result<(usize, Vec<Leak>)> {
        let (mut lines, mut leaks) = (0, Vec::new());
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            if path.is_dir() {
                let (more, found) = self.directory(&path)?;
                lines += more;
                leaks.extend(found);
            } else {
                let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
                lines += text.lines().count();
                leaks.extend(self.text(&path.display().to_string(), &text));
            }
        }
        Ok((lines, leaks))
    }
}

/// Where valid NHS numbers from 999 000 0000 on stand by themselves, written together or in groups, plain or escaped for a
/// URL. Ten digits in the middle of a longer word, as in a UUID or a hash, are none.
fn nhs_numbers(text: &str) -> impl Iterator<Item = usize> {
    let separators = ["", " ", "-", "+", "%20", "\u{a0}"];
    text.match_indices("999").filter_map(move |(at, _)| {
        let before = &text[..at];
        let escaped = before.len() >= 3 && before.is_char_boundary(at - 3) && before[at - 3..].starts_with('%');
        let joined = before.chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric() || c == '.');
        (escaped || !joined).then_some(())?;
        let fits = |separator: &&str| {
            let mut rest = &text[at..];
            let mut digits = String::new();
            for (length, separator) in [(3, *separator), (3, *separator), (4, "")] {
                let group = rest.get(..length).filter(|g| g.bytes().all(|b| b.is_ascii_digit()))?;
                digits.push_str(group);
                rest = rest[length..].strip_prefix(separator)?;
            }
            let ends = !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
            let digits: u64 = digits.parse().ok()?;
            (ends && check_digit(digits / 10) == Some(digits % 10)).then_some(())
        };
        separators.iter().any(|separator| fits(separator).is_some()).then_some(at)
    })
}
