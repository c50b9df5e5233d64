//! Who runs a command that leaves a trace, and why.

use clap::Args;
use cpis::domain::audit::Actor;

use crate::failure::{Failure, Result};

/// The most characters of a reason.
const MAX_REASON: usize = 500;
/// Digits of an NHS number: so many in a row have no place in a reason.
const NHS_NUMBER: usize = 10;

/// Who and why, of every command that changes or reveals something; both go into the audit log.
#[derive(Debug, Clone, Args)]
pub(crate) struct Operator {
    /// Why this is done, for the audit log; no names and numbers of children
    #[arg(long, value_name = "TEXT", value_parser = reason, global = true)]
    because: Option<String>,
    /// Who does it, for the audit log; by default the name of this account
    #[arg(long, value_name = "NAME", env = "CPIS_OPERATOR", global = true)]
    by: Option<String>,
}

impl Operator {
    /// Why.
    ///
    /// # Errors
    /// It was not said; `doing` completes "… needs --because".
    pub(crate) fn because(&self, doing: &str) -> Result<&str> {
        let why = self.because.as_deref();
        why.ok_or_else(|| Failure::usage(format!("{doing} needs --because TEXT: why, for the audit log")))
    }

    /// Why, where it was said.
    pub(crate) fn why(&self) -> Option<&str> {
        self.because.as_deref()
    }

    /// Who.
    ///
    /// # Errors
    /// It was not said, and this account has no name.
    pub(crate) fn actor(&self) -> Result<Actor> {
        let account = ["USER", "LOGNAME", "USERNAME"].iter().filter_map(|name| std::env::var(name).ok());
        let mut names = self.by.clone().into_iter().chain(account).filter(|name| !name.trim().is_empty());
        let name = names.next().or_else(owner);
        let name = name.ok_or_else(|| Failure::usage("say who you are with --by NAME: this account has no name"))?;
        Ok(Actor::operator(&name))
    }
}

/// The number of the account that this process runs as, where it has no name: that of what it owns.
fn owner() -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let own = std::fs::metadata("/proc/self").ok()?;
    Some(format!("uid {}", own.uid()))
}

/// A reason that may stand in the log for ever.
fn reason(text: &str) -> std::result::Result<String, String> {
    let text = text.trim();
    let digits = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
    let longest =
        digits.fold((0, 0), |(most, run), c| if c.is_ascii_digit() { (most.max(run + 1), run + 1) } else { (most, 0) });
    match text.chars().count() {
        0 => Err("say why".into()),
        count if count > MAX_REASON => Err(format!("{count} characters are too many: {MAX_REASON} at most")),
        _ if text.chars().any(char::is_control) => Err("one line of plain text".into()),
        _ if longest.0 >= NHS_NUMBER => Err("this looks like an NHS number: the audit log may not hold any".into()),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r31_reasons_that_may_stand_in_the_log() {
        for text in ["mended the directory", " INC-20261122 ", "ticket 123456789, closed", "über"] {
            assert_eq!(reason(text), Ok(text.trim().to_owned()));
        }
        let long = "x".repeat(MAX_REASON + 1);
        for text in ["", "  ", "two\nlines", "child 9990000018", "999 000 0018", "999-000-0018", &long] {
            assert!(reason(text).is_err(), "{text}");
        }
    }

    #[test]
    fn who_and_why() {
        let operator = |because: Option<&str>, by: Option<&str>| Operator {
            because: because.map(str::to_owned),
            by: by.map(str::to_owned),
        };
        let named = operator(Some("mended"), Some("sam"));
        assert_eq!(named.because("a replay").ok(), Some("mended"));
        assert_eq!(named.actor().ok(), Some(Actor::operator("sam")));
        assert!(operator(None, Some(" ")).actor().is_ok_and(|a| !a.id.trim().is_empty()), "the account's name");
        let refused = operator(None, None).because("a replay").expect_err("no reason");
        assert_eq!(refused.to_string(), "a replay needs --because TEXT: why, for the audit log");
    }
}
