//! The command line.

use clap::{Parser, Subcommand};

use crate::{
    ageing::AgeingArgs,
    audit::AuditArgs,
    directory::DirectoryArgs,
    dlq::DlqArgs,
    failure::{Outcome, Result},
    generate::GenerateArgs,
    limits::LimitsArgs,
    numbers::NumbersArgs,
    policy::PolicyArgs,
    status::StatusArgs,
    token::TokenArgs,
    ways::WaysArgs,
};

/// What every command's help ends with.
macro_rules! help {
    ($examples:literal) => {
        concat!(
            "Examples:\n",
            $examples,
            "\n\nExit status: 0 done and well, 1 an error, 2 wrong usage, 3 done, but something needs attention.\n",
            "Data goes to stdout, messages and progress to stderr."
        )
    };
}
pub(crate) use help;

/// Operates CP-IS: tokens, directory, synthetic data, status, dead letters
#[derive(Debug, Parser)]
#[command(
    name = "cpis",
    version,
    propagate_version = true,
    after_help = help!("  cpis status
  cpis dlq list
  cpis dlq replay --reason authority-closed --dry-run
  cpis generate --authority E06000001 --children 300 > plans.csv

Commands that need the deployed system find it by --stack (or CPIS_STACK), at AWS_ENDPOINT_URL if that is set, \
otherwise in the account and region of the AWS profile in use."),
)]
pub(crate) struct Cli {
    /// Print JSON for programs to read
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make an issuer's key, and tokens of that issuer, for tests and demonstrations
    Token(TokenArgs),
    /// Load, list, open and close authorities and health care settings
    Directory(DirectoryArgs),
    /// Print who may see what, from the table that look-ups ask
    #[command(after_help = help!("  cpis policy
  cpis policy --on 2021-01-15 --json"))]
    Policy(PolicyArgs),
    /// Write upload files of invented children
    Generate(GenerateArgs),
    /// Copy the audit log and its signed heads, and check a copy
    Audit(AuditArgs),
    /// Tell how the notifications are getting on
    Status(StatusArgs),
    /// Tell how long notifications lie in the authorities' mailboxes
    Ageing(AgeingArgs),
    /// List and replay notifications that could not be delivered
    Dlq(DlqArgs),
    /// Tell who is over their budget of look-ups, and end a stop
    Limits(LimitsArgs),
    /// Tell of NHS numbers that were superseded or became inactive
    Numbers(NumbersArgs),
    /// Set how an authority is told beside its mailbox: by webhook, by MESH
    Ways(WaysArgs),
}

impl Cli {
    /// Does what the command line says.
    pub(crate) async fn run(self) -> Result<Outcome> {
        match self.command {
            Command::Token(args) => args.run(self.json),
            Command::Directory(args) => args.run(self.json).await,
            Command::Policy(args) => args.run(self.json),
            Command::Generate(args) => args.run(self.json),
            Command::Audit(args) => args.run(self.json).await,
            Command::Status(args) => args.run(self.json).await,
            Command::Ageing(args) => args.run(self.json).await,
            Command::Dlq(args) => args.run(self.json).await,
            Command::Limits(args) => args.run(self.json).await,
            Command::Numbers(args) => args.run(self.json).await,
            Command::Ways(args) => args.run(self.json).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    #[test]
    fn the_definition_is_sound_and_every_command_has_examples_and_exit_statuses() {
        Cli::command().debug_assert();
        fn visit(command: &clap::Command) {
            if command.has_subcommands() {
                command.get_subcommands().filter(|c| c.get_name() != "help").for_each(visit);
            } else {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Examples:") && help.contains("Exit status:"), "{}", command.get_name());
            }
        }
        visit(&Cli::command());
    }

    #[test]
    fn command_lines_that_scripts_rely_on() {
        for line in [
            "token init --dir target/issuer",
            "token person --user 555000000001 --name Alex --org-code ZX001 --org-name Sample --job-role R0260 \
             --activity B0107 --activity B0170 --minutes 780 --issuer-dir d --issuer i --audience a",
            "token device --asid 200000000001 --org-code ZX002 --org-name Sample --responsible Sam --activity B0107 \
             --issuer-dir d --issuer i --audience a",
            "token device --asid 200000000001 --org-code ZX002 --org-name Sample --responsible Sam --activity B0107 \
             --location Street --lead-name Lee --lead-phone 01632 --issuer-dir d --issuer i --audience a",
            "token authority E06000001 --issuer-dir d --issuer i --audience a --json",
            "directory load",
            "directory load --seed 7 --settings 20 --reset --stack other",
            "directory open authority E06000001",
            "directory close authority E06000001",
            "directory list --kind setting --json",
            "directory list --kind pilot",
            "directory close setting ZX001 --by alex --because merged",
            "directory set setting ZX001 --name Sample --care maternity --care emergency-department --region London \
             --authority E09000001 --from 2026-01-01 --until 2026-12-31",
            "directory set setting ZX00D --oversight national",
            "directory set pilot 2026-TRIAL --name Trial --care sexual-health --organisation ZX009 --job-role R8001 \
             --from 2026-01-01 --until 2026-03-31",
            "directory set file entry.json --by alex",
            "policy --on 2021-01-15",
            "generate --authority E06000001 --children 300 --seed 1 --bad 12",
            "generate --authorities all --children 2000 --seed 1 --out dir --format json",
            "generate --register --children 2000 --out dir",
            "status --json",
            "limits show",
            "limits show --person 555000000001 --json",
            "limits clear --organisation ZX001 --because mended --by sam",
            "audit export --out audit.jsonl",
            "audit export --shard 0a",
            "audit heads --out heads.jsonl",
            "audit key --stack other",
            "audit prove audit.jsonl",
            "audit verify audit.jsonl more.jsonl --heads heads.jsonl --key key.pem --json",
            "dlq list",
            "dlq list --reason redriven --kind access --older-than 1h --newer-than 3d --each --json",
            "dlq show 6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f",
            "dlq show 6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f --reveal --because asked --by sam",
            "dlq replay --reason authority-closed --authority E06000001 --authority E06000002 --limit 5 --dry-run",
            "dlq replay --id 6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f --because mended --by sam --rate 5 --stop-after 3",
            "dlq replay --in-aws --rate 500 --because mended",
            "dlq discard --all --because mended",
            "dlq archive --older-than 10d --to file --because mended",
            "dlq restore file --limit 3 --because mended",
            "dlq --pushes list --each",
            "dlq replay --pushes --authority E06000001 --because mended",
            "numbers send changes.csv --because traced --by sam",
            "dlq --numbers list",
            "dlq --relay list --each",
            "dlq --ledger discard --all --because mended",
            "ways show E06000001 --json",
            "ways set E06000001 --webhook https://council.example/asn --mesh X26ABC1 --because asked --by sam",
            "ways set E06000001 --no-webhook --no-mesh --because asked",
            "ways key E06000001 --rotate --because asked",
        ] {
            let parsed = Cli::try_parse_from(["cpis"].into_iter().chain(line.split_whitespace()));
            assert!(parsed.is_ok(), "{line}: {}", parsed.err().map(|e| e.to_string()).unwrap_or_default());
        }
    }

    #[test]
    fn command_lines_that_are_refused() {
        for (line, kind) in [
            ("token authority W06000001 --issuer-dir d --issuer i --audience a", ErrorKind::ValueValidation),
            (
                "token authority E06000001 --issuer-dir d --issuer i --audience a --minutes 0",
                ErrorKind::ValueValidation,
            ),
            (
                "token person --user 1 --name N --org-code ZX001 --org-name S --job-role R0260 --activity nurse",
                ErrorKind::ValueValidation,
            ),
            // R28: the authorizer would refuse it.
            (
                "token authority E06000001 --issuer-dir d --issuer i --audience a --minutes 781",
                ErrorKind::ValueValidation,
            ),
            ("generate --children 10", ErrorKind::MissingRequiredArgument),
            ("generate --authority E06000001 --authorities all --children 10", ErrorKind::ArgumentConflict),
            ("generate --register --children 10", ErrorKind::MissingRequiredArgument),
            ("directory close region London", ErrorKind::InvalidValue),
            ("directory set setting ZX001 --care surgery", ErrorKind::ValueValidation),
            (
                "token device --asid 1 --org-code ZX002 --org-name S --responsible Sam --activity B0107 --lead-name Lee \
                 --issuer-dir d --issuer i --audience a",
                ErrorKind::MissingRequiredArgument,
            ),
            ("dlq replay --id 42", ErrorKind::ValueValidation),
            ("audit verify", ErrorKind::MissingRequiredArgument),
            ("audit verify a.jsonl --heads h.jsonl", ErrorKind::MissingRequiredArgument),
            ("audit export --shard 10", ErrorKind::ValueValidation),
            ("dlq replay --older-than 3w", ErrorKind::ValueValidation),
            ("dlq replay --because 999-000-0018", ErrorKind::ValueValidation),
            ("dlq replay --rate 0", ErrorKind::ValueValidation),
            ("dlq replay --in-aws --limit 3 --because mended", ErrorKind::ArgumentConflict),
            ("dlq replay --in-aws --dry-run", ErrorKind::ArgumentConflict),
            ("dlq show 6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f --reveal", ErrorKind::MissingRequiredArgument),
            ("dlq archive --all --because mended", ErrorKind::MissingRequiredArgument),
            ("dlq replay --in-aws --stop-after 3 --because mended", ErrorKind::ArgumentConflict),
            ("dlq --numbers --pushes list", ErrorKind::ArgumentConflict),
            ("dlq --relay --ledger list", ErrorKind::ArgumentConflict),
            ("dlq discard --all --ledger --numbers --because mended", ErrorKind::ArgumentConflict),
            ("dlq", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("limits show --person 1 --organisation ZX001", ErrorKind::ArgumentConflict),
        ] {
            let parsed = Cli::try_parse_from(["cpis"].into_iter().chain(line.split_whitespace()));
            assert_eq!(parsed.err().map(|e| e.kind()), Some(kind), "{line}");
        }
    }
}
