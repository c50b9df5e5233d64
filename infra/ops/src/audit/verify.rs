//! The check of a copy, without the system (R48).

use std::path::PathBuf;

use clap::Args;
use cpis::{
    domain::audit::verify::{Fault, Verified, Verifier},
    wire::audit::read,
};
use serde_json::json;

use super::{copy::lines, statements::Statements};
use crate::{
    failure::{Outcome, Result},
    output,
};

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The copy, as `cpis audit export` writes it
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Signed heads that it must lead to, as `cpis audit heads` writes them
    #[arg(long, value_name = "FILE", requires = "key")]
    heads: Option<PathBuf>,
    /// The public key of the signed heads, in PEM
    #[arg(long, value_name = "PEM", requires = "heads")]
    key: Option<PathBuf>,
}

impl VerifyArgs {
    pub(super) fn run(self, json: bool) -> Result<Outcome> {
        let statements = match (&self.heads, &self.key) {
            (Some(heads), Some(key)) => match Statements::check(heads, key)? {
                Ok(statements) => Some(statements),
                Err(what) => return tampered(json, &what, json!({"whole": false, "heads": what})),
            },
            _ => None,
        };
        let mut verifier = Verifier::new(statements.iter().flat_map(Statements::heads));
        // The first line of each file, counted over all of them.
        let (mut begins, mut line) = (Vec::new(), 0_u64);
        for file in &self.files {
            begins.push(line);
            lines(file, |bytes| {
                line += 1;
                verifier.push(read(bytes));
            })?;
        }
        match verifier.finish() {
            Ok(verified) => whole(json, &verified, statements.as_ref()),
            Err(fault) => {
                let (file, fault) = self.placed(&begins, fault);
                let text = format!("{file}: {fault}");
                let id = fault.id.map(|id| id.to_string());
                let what = format!("{:?}", fault.what).to_lowercase();
                let (shard, number, line) = (fault.shard, fault.number, fault.line);
                let fields = json!({
                    "whole": false, "what": what, "file": file, "line": line, "shard": shard, "number": number, "id": id,
                });
                tampered(json, &text, fields)
            }
        }
    }

    /// The file in which a fault shows, and the fault with its line there.
    fn placed(&self, begins: &[u64], fault: Fault) -> (String, Fault) {
        let at = begins.iter().rposition(|begin| *begin < fault.line).unwrap_or(0);
        let begin = begins.get(at).copied().unwrap_or(0);
        (self.files[at].display().to_string(), Fault { line: fault.line - begin, ..fault })
    }
}

fn whole(json: bool, verified: &Verified, statements: Option<&Statements>) -> Result<Outcome> {
    let entries = verified.entries;
    let heads = statements.map(|s| (s.count(), s.latest().map(|at| at.to_string()).unwrap_or_default()));
    if json {
        let heads = heads.map(|(count, latest)| json!({"count": count, "latest": latest}));
        output::json(&json!({"whole": true, "entries": entries, "signedHeads": heads}))?;
    } else {
        let led = match heads {
            Some((count, latest)) => format!("leads to all of {count} signed heads, the last of {latest}"),
            None => "give --heads and --key to see whether it is complete and not made anew".into(),
        };
        output::line(&format!("whole: {entries} entries; {led}"))?;
    }
    Ok(Outcome::Done)
}

fn tampered(json: bool, text: &str, fields: serde_json::Value) -> Result<Outcome> {
    if json {
        output::json(&fields)?
    } else {
        output::line(&format!("NOT WHOLE: {text}"))?
    }
    Ok(Outcome::NeedsAttention)
}

#[cfg(test)]
mod tests {
    use cpis::{
        domain::audit::{Actor, Chained, Entry, Hash, Head, Shard, kind, statement::Statement},
        wire::audit::write,
    };
    use uuid::Uuid;

    use super::{super::statements::tests, *};

    fn log() -> Vec<Chained> {
        let at = jiff::Timestamp::from_second(1_790_000_000).expect("in range");
        let mut heads: Vec<_> = Shard::all().map(Head::empty).collect();
        let entries = (0..60).map(|n| Entry::new(Uuid::from_u128(n), at, kind::REPLAY, Actor::operator("sam"), ""));
        let mut log: Vec<_> = entries.map(|e| heads[e.shard().index()].chain(e)).collect();
        log.sort_by_key(|e| (e.shard, e.number));
        log
    }

    /// R48
    #[test]
    fn files_are_checked_as_one_against_signed_heads() {
        let dir = std::env::temp_dir().join(format!("cpis-audit-{}", Uuid::new_v4()));
        std::fs::create_dir(&dir).expect("made");
        let path = |name: &str| dir.join(name);
        let put = |name: &str, entries: &[Chained]| {
            let text: String = entries.iter().map(|e| write(e).expect("JSON") + "\n").collect();
            std::fs::write(path(name), text).expect("written");
        };
        let log = log();
        let key = tests::signer();
        let mut heads: Vec<_> = Shard::all().map(Head::empty).collect();
        log.iter().for_each(|e| heads[e.shard.index()] = Head { shard: e.shard, number: e.number, hash: e.hash });
        let at = jiff::Timestamp::from_second(1_790_003_600).expect("in range");
        let signed = tests::sign(&key, Statement { sequence: 1, at, heads, previous: Hash::NONE });
        std::fs::write(path("heads"), write(&signed).expect("JSON") + "\n").expect("written");
        std::fs::write(path("key"), tests::pem(&key)).expect("written");
        let run = |files: &[&str], signed: bool| {
            let args = VerifyArgs {
                files: files.iter().map(|name| path(name)).collect(),
                heads: signed.then(|| path("heads")),
                key: signed.then(|| path("key")),
            };
            args.run(true).expect("an outcome")
        };
        put("a", &log[..20]);
        put("b", &log[20..]);
        assert_eq!(run(&["a", "b"], true), Outcome::Done);
        assert_eq!(run(&["a"], false), Outcome::Done);
        assert_eq!(run(&["a"], true), Outcome::NeedsAttention, "the heads vouch for more");
        put("b", &log[21..]);
        assert_eq!(run(&["a", "b"], false), Outcome::NeedsAttention);
        std::fs::write(path("b"), "no entry\n").expect("written");
        assert_eq!(run(&["a", "b"], false), Outcome::NeedsAttention);
        std::fs::write(path("key"), tests::pem(&tests::signer())).expect("written");
        put("b", &log[20..]);
        assert_eq!(run(&["a", "b"], true), Outcome::NeedsAttention, "signed with another key");
        std::fs::remove_dir_all(&dir).expect("removed");
    }
}
