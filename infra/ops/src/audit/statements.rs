//! The signed statements: fetched from the archive, and checked.

use std::{fs::OpenOptions, io::Write, path::Path};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::STANDARD};
use cpis::domain::audit::{
    Head,
    statement::{Signed, Statement, name},
};

use super::copy::lines;
use crate::{
    failure::{Failure, Result, on_aws, on_file},
    output,
    stack::Stack,
};

/// Fetches what the file does not have yet, and adds it.
pub(super) async fn fetch(stack: &Stack, out: &Path, json: bool) -> Result<()> {
    let bucket = stack.output("AuditBucket")?;
    let s3 = stack.s3();
    let held = if out.exists() { read(out)?.len() as u64 } else { 0 };
    let mut file = OpenOptions::new().append(true).create(true).open(out).map_err(on_file(out))?;
    let mut sequence = held + 1;
    loop {
        let found = match s3.get_object().bucket(bucket).key(name(sequence)).send().await {
            Ok(found) => found,
            Err(error) if error.as_service_error().is_some_and(|e| e.is_no_such_key()) => break,
            Err(error) => return Err(on_aws("fetch a signed head of the audit log")(error)),
        };
        let body = found.body.collect().await.map_err(|e| Failure::error(format!("a signed head broke off: {e}")))?;
        let body = body.to_vec();
        // What came short would spoil the file for every later run.
        if serde_json::from_slice::<Signed>(&body).is_err() {
            return Err(Failure::error(format!("signed head {sequence} did not come whole: run this again")));
        }
        file.write_all(&[body.as_slice(), b"\n"].concat())?;
        sequence += 1;
    }
    let (added, total) = (sequence - 1 - held, sequence - 1);
    match json {
        true => Ok(output::json(&serde_json::json!({"added": added, "total": total}))?),
        false => Ok(output::line(&format!("added {added}, {total} in all"))?),
    }
}

/// The statements of a file, as they stand there.
fn read(path: &Path) -> Result<Vec<Signed>> {
    let mut found = Vec::new();
    lines(path, |line| found.push(serde_json::from_slice::<Signed>(line).ok()))?;
    let place = |at: usize| format!("{}: line {} is no signed head", path.display(), at + 1);
    found.into_iter().enumerate().map(|(at, s)| s.ok_or_else(|| Failure::error(place(at)))).collect()
}

/// R47: statements that one key signed, each of which follows the one before.
#[derive(Debug)]
pub(super) struct Statements(Vec<Signed>);

impl Statements {
    /// Reads and checks them.
    ///
    /// # Errors
    /// A text that says which is not as it was, and why.
    pub(super) fn check(heads: &Path, key: &Path) -> Result<std::result::Result<Self, String>> {
        let pem = std::fs::read_to_string(key).map_err(on_file(key))?;
        let key = public_key(&pem).ok_or_else(|| {
            Failure::error(format!("{}: no public key in PEM, as `cpis audit key` prints it", key.display()))
        })?;
        let statements = read(heads)?;
        Ok(judge(&statements, &key).map(|()| Self(statements)))
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// When the last was made.
    pub(super) fn latest(&self) -> Option<jiff::Timestamp> {
        self.0.last().map(|signed| signed.statement.at)
    }

    /// Every head that one of them vouches for.
    pub(super) fn heads(&self) -> impl Iterator<Item = Head> {
        self.0.iter().flat_map(|signed| signed.statement.heads.iter().copied())
    }
}

/// The DER in a PEM.
fn public_key(pem: &str) -> Option<Vec<u8>> {
    let body = pem.split_once("-----BEGIN PUBLIC KEY-----")?.1.split_once("-----END PUBLIC KEY-----")?.0;
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}

fn judge(statements: &[Signed], key: &[u8]) -> std::result::Result<(), String> {
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key);
    let mut before: Option<&Statement> = None;
    for Signed { statement, signature, .. } in statements {
        let place = statement.sequence;
        let signature = STANDARD.decode(signature).unwrap_or_default();
        if key.verify(&statement.bytes(), &signature).is_err() {
            return Err(format!("signed head {place} was changed, or signed with another key"));
        }
        if !statement.follows(before) {
            let missing = before.map_or(1, |before| before.sequence + 1);
            return Err(format!("signed head {missing} is missing: {place} does not follow"));
        }
        before = Some(statement);
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
    };
    use cpis::domain::audit::{Hash, Shard};

    use super::*;

    /// A key to sign with, as KMS would.
    pub(in super::super) fn signer() -> EcdsaKeyPair {
        EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("a key")
    }

    pub(in super::super) fn sign(key: &EcdsaKeyPair, statement: Statement) -> Signed {
        let signature = key.sign(&SystemRandom::new(), &statement.bytes()).expect("signed");
        Signed { statement, key: "key".into(), signature: STANDARD.encode(signature) }
    }

    pub(in super::super) fn pem(key: &EcdsaKeyPair) -> String {
        use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().expect("DER");
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der.as_ref()))
    }

    fn statements(key: &EcdsaKeyPair) -> Vec<Signed> {
        let mut made: Vec<Signed> = Vec::new();
        for hour in 1..=4_u64 {
            let heads = Shard::all().map(|shard| Head { shard, number: hour, hash: Hash([7; 32]) }).collect();
            let at = jiff::Timestamp::from_second(1_790_000_000 + 3_600 * hour as i64).expect("in range");
            let previous = made.last().map_or(Hash::NONE, |before| before.statement.hash());
            made.push(sign(key, Statement { sequence: hour, at, heads, previous }));
        }
        made
    }

    #[test]
    fn r47_r48_statements_that_were_tampered_with_are_named() {
        let key = signer();
        let der = public_key(&pem(&key)).expect("a key");
        let sound = statements(&key);
        assert_eq!(judge(&sound, &der), Ok(()));
        let found = |change: &dyn Fn(&mut Vec<Signed>)| {
            let mut changed = sound.clone();
            change(&mut changed);
            judge(&changed, &der).expect_err("found")
        };
        assert!(found(&|s| s[1].statement.heads[3].number += 1).starts_with("signed head 2 was changed"));
        assert!(found(&|s| s[2].signature = s[1].signature.clone()).starts_with("signed head 3 was changed"));
        assert!(found(&|s| drop(s.remove(1))).starts_with("signed head 2 is missing"));
        assert!(found(&|s| drop(s.remove(0))).starts_with("signed head 1 is missing"));
        assert!(found(&|s| s.swap(1, 2)).starts_with("signed head 2 is missing"));
        assert!(judge(&sound, &public_key(&pem(&signer())).expect("a key")).is_err(), "another key");
    }
}
