//! `cpis audit`: copies of the audit log and of its signed heads, and their check.

mod copy;
mod prove;
mod statements;
mod verify;

use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::{Args, Subcommand};
use cpis::domain::audit::Shard;

use crate::{
    cli::help,
    failure::{Failure, Outcome, Result, on_aws},
    output,
    stack::{Stack, StackArgs},
};

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
    #[command(flatten)]
    stack: StackArgs,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Write the log as lines of JSON, chain after chain
    #[command(after_help = help!("  cpis audit export --out audit.jsonl
  cpis audit export --shard 0a | jq 'select(.kind == \"look-up-refused\")'

With --out, a file that is there is continued behind its last entry: run the command again after it was broken off. Only \
one that was begun with the same --shard, or without, is continued rightly. The copy names staff and organisations: \
keep it as you would keep the log.

Each line has: shard, number, id, at, kind, actor, organisation, subject (the child's key, never the number), details, \
previous, hash."))]
    Export {
        /// One chain only, 00 to 0f
        #[arg(long, value_name = "SHARD", value_parser = shard)]
        shard: Option<Shard>,
        /// Write to this file, or continue it
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Fetch the signed heads from the archive, one a line
    #[command(after_help = help!("  cpis audit heads --out heads.jsonl

A file that is there is continued. Nothing of it holds personal data."))]
    Heads {
        /// Write to this file, or continue it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Print the public key that the heads are signed with, as PEM
    #[command(after_help = help!("  cpis audit key > audit-key.pem

Fetch it once, when the system is set up, and keep it where those who run the system cannot change it."))]
    Key,
    /// Show that the check finds every single changed bit of a copy
    #[command(after_help = help!("  cpis audit prove audit.jsonl

Flips each bit of the first 1,000 entries, one at a time, in memory, and checks that every flip is found and placed in the \
right entry. For whoever must be shown that the check can be relied on."))]
    Prove {
        /// The copy, as `cpis audit export` writes it
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Check a copy of the log, without the system
    #[command(after_help = help!("  cpis audit verify audit.jsonl
  cpis audit verify audit.jsonl --heads heads.jsonl --key audit-key.pem

Names the first entry that was changed, removed, inserted or put before its turn, and then ends with status 3. What was \
cut off at the end, and a log that was made anew as a whole, only the signed heads can tell: give them. Files are read \
in the order given, as one; chains may come in any order."))]
    Verify(verify::VerifyArgs),
}

fn shard(text: &str) -> std::result::Result<Shard, &'static str> {
    Shard::try_from(text.to_owned()).map_err(|_| "a shard is 00 to 0f")
}

impl AuditArgs {
    pub(crate) async fn run(self, json: bool) -> Result<Outcome> {
        match self.command {
            AuditCommand::Verify(args) => return args.run(json),
            AuditCommand::Prove { file } => return prove::run(&file, json),
            AuditCommand::Export { shard, out } => {
                let stack = self.stack.open().await?;
                copy::export(&stack.audit_log()?, shard, out.as_deref()).await?;
            }
            AuditCommand::Heads { out } => statements::fetch(&self.stack.open().await?, &out, json).await?,
            AuditCommand::Key => output::line(&public_key(&self.stack.open().await?).await?)?,
        }
        Ok(Outcome::Done)
    }
}

/// The public key as PEM, without the last line's end.
async fn public_key(stack: &Stack) -> Result<String> {
    let kms = aws_sdk_kms::Client::new(&stack.config);
    let call = kms.get_public_key().key_id(stack.output("AuditKey")?);
    let answer = call.send().await.map_err(on_aws("fetch the public key of the audit log"))?;
    let der = answer.public_key.ok_or_else(|| Failure::error("KMS gave no public key"))?;
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", lines.join("\n")))
}
