//! `cpis dlq`: notifications that could not be delivered.

mod archive;
mod deleting;
mod discard;
mod filter;
mod in_aws;
mod letter;
mod place;
mod progress;
mod replay;
mod report;
mod restore;
mod returned;
mod run;
mod show;
#[cfg(feature = "testing")]
pub mod simulation;
mod sweep;
mod tally;
mod trail;

use aws_sdk_sqs::Client;
use clap::{Args, Subcommand};
use cpis::ports::AuditLog;
use jiff::Timestamp;

use crate::{
    cli::help,
    failure::{Failure, Outcome, Result},
    operator::Operator,
    output,
    stack::{Stack, StackArgs},
};
use discard::Discard;
use filter::Filter;
use letter::Letter;
use place::Place;
use replay::Replay;
use report::Report;
use restore::Restore;
use run::{Run, Selection, Work};
use show::ShowArgs;
pub(crate) use tally::{DeadLetters, table};
use trail::{ARCHIVE, DISCARD, Deed, REPLAY, RESTORE, Trail};

/// The most letters a second that can be asked for: more than there are queues for.
const MOST_RATE: i64 = 100_000;

#[derive(Debug, Args)]
pub(crate) struct DlqArgs {
    #[command(subcommand)]
    command: DlqCommand,
    /// Those of pushes by webhook and MESH instead; their notifications are in the mailboxes
    #[arg(long, global = true)]
    pushes: bool,
    /// Those of changes of NHS numbers instead
    #[arg(long, global = true, conflicts_with = "pushes")]
    numbers: bool,
    /// What asn-relay gave up of its stream instead, which the sweep has relayed: to list, show and discard
    #[arg(long, global = true, conflicts_with_all = ["pushes", "numbers"])]
    relay: bool,
    /// What audit-ledger gave up of its stream instead, which the sweep has written: to list, show and discard
    #[arg(long, global = true, conflicts_with_all = ["pushes", "numbers", "relay"])]
    ledger: bool,
    #[command(flatten)]
    stack: StackArgs,
}

#[derive(Debug, Subcommand)]
enum DlqCommand {
    /// Count the dead letters by reason, authority, kind and age, leaving them where they are
    #[command(after_help = help!("  cpis dlq list
  cpis dlq list --authority E06000001 --older-than 1h --each
  cpis dlq --pushes list
  cpis dlq list --json

A queue of more than about 120,000 letters cannot be seen through, as SQS lets no more be held at once; then it says how many were \
not looked at, and the exit status is 3, as where another command holds some.
Reasons: authority-closed, authority-unknown, step-failed (a table or queue did not answer), unreadable, panicked (its \
delivery crashed), and redriven: the queue itself set the message aside because deliveries ended without a word. Nothing \
that identifies a child is shown."))]
    List {
        #[command(flatten)]
        filter: Filter,
        /// Name each letter on a line: id, reason, authority, kind, age; with --json, each is a line of JSON
        #[arg(long)]
        each: bool,
    },
    /// Show one dead letter, without what tells of the child
    #[command(after_help = help!("  cpis dlq show 6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f
  cpis dlq show 6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f --reveal --because 'the authority asks whom to call, INC-17'

`cpis dlq list --each` names the ids. --reveal is written to the audit log before anything is shown; where that \
cannot be done, nothing is. Status 3: there is no such letter."))]
    Show(ShowArgs),
    /// Send dead letters back for delivery, all or some
    #[command(after_help = help!("  cpis dlq replay --dry-run
  cpis dlq replay --reason authority-closed --authority E06000001 --because 'opened again'
  cpis dlq replay --id 6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f --because 'INC-17'
  cpis dlq replay --limit 10 --rate 5 --because 'try whether it works again'
  cpis dlq replay --in-aws --because 'DynamoDB answers again'

Filters of different kinds must all fit; of one kind given several times, one must. A letter is deleted only once \
the queue has taken it and the audit log has it. Ending the command at any moment loses nothing: run it again, and a \
notification that was sent twice reaches its mailbox once. A letter that comes back while the command runs is left where \
it is, and the exit status is 3; when a tenth of what was sent and no fewer than --stop-after come back, it stops.
An authority's letters go from the oldest to the newest, where the queue has no more than 1,600 letters (at a --rate: no more than go \
within 30 seconds); in a longer one within each 480 as they are received. Where the queue does not take one, those behind it wait for the \
next run, unless it can never be taken.
With --in-aws SQS moves the letters by itself, all of them: it knows no filter and no order, gives each message a new id, keeps \
the reason of the old failure on it, and does not stop when they come back. The audit log then has who, why and how many, but no \
outcome of each letter. Ctrl-C cancels the move."))]
    Replay(ReplayArgs),
    /// Delete dead letters for good
    #[command(after_help = help!("  cpis dlq discard --reason unreadable --dry-run
  cpis dlq discard --id 6f1d2c1e-7b0a-5c39-8f6e-0d6a1c3b5e7f --because 'sent by a test, INC-17'
  cpis dlq discard --all --because 'a copy of the test system'

An authority is then never told: `cpis dlq archive` keeps what may still be wanted."))]
    Discard(DiscardArgs),
    /// Move dead letters to a file or to S3, for as long as they cannot be delivered
    #[command(after_help = help!("  cpis dlq archive --authority E06000001 --older-than 10d --to e06000001.letters --because 'closed until May'
  cpis dlq archive --all --to letters.jsonl --because 'the queue keeps them for 14 days only'
  cpis dlq archive --all --to s3://our-letters/2026 --because 'the queue keeps them for 14 days only'

The file holds children's NHS numbers: only its owner may read it. Each letter is a line of JSON with its checksum and \
all its attributes, and is on the disk before it is deleted from the queue. An archive that is there is written on. After a \
killed run a letter may stand there twice; `cpis dlq restore` restores it once. In S3 each window of letters is an object, \
never written over: use a bucket that is encrypted by a key of your own, and that nobody but the operators may read."))]
    Archive(ArchiveArgs),
    /// Put archived dead letters back into the dead-letter queue
    #[command(after_help = help!("  cpis dlq restore letters.jsonl --dry-run
  cpis dlq restore letters.jsonl --authority E06000001 --because 'open again'
  cpis dlq restore s3://our-letters/2026 --because 'open again'

The archive is checked to its end before anything is sent, and is left as it is. A letter that is in the queue already is \
left out. Then `cpis dlq replay`."))]
    Restore(RestoreArgs),
}

#[derive(Debug, Args)]
struct ReplayArgs {
    #[command(flatten)]
    selection: Selection,
    /// Send so many a second at the most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_RATE))]
    rate: Option<u32>,
    /// Stop when so many come back, and a tenth of those sent
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    stop_after: u64,
    /// Let AWS move them, all of them (StartMessageMoveTask)
    #[arg(long, conflicts_with_all = ["dry_run", "limit", "each", "stop_after"])]
    in_aws: bool,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Debug, Args)]
struct DiscardArgs {
    #[command(flatten)]
    selection: Selection,
    /// Every letter, where no filter is given
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Debug, Args)]
struct ArchiveArgs {
    #[command(flatten)]
    selection: Selection,
    /// Every letter, where no filter is given
    #[arg(long)]
    all: bool,
    /// The file, where one that is there must be such an archive and is written on; or s3://BUCKET/PREFIX
    #[arg(long, value_name = "PLACE", value_parser = Place::parse)]
    to: Place,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Debug, Args)]
struct RestoreArgs {
    /// The archive: a file, or s3://BUCKET/PREFIX
    #[arg(value_name = "PLACE", value_parser = Place::parse)]
    from: Place,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    operator: Operator,
}

impl DlqArgs {
    pub(crate) async fn run(self, json: bool) -> Result<Outcome> {
        self.command.check()?;
        let (queue, letters) = self.queues();
        if queue.is_none() && !self.command.only_looks_or_discards() {
            return Err(Failure::usage(
                "--relay and --ledger hold places in a stream, and nothing to send: list, show or discard them",
            ));
        }
        let stack = self.stack.open().await?;
        let sqs = stack.sqs();
        let queue = queue.map(|queue| stack.output(queue)).transpose()?.unwrap_or_default();
        let letters = stack.output(letters)?;
        let context = Context { sqs: &sqs, stack: &stack, queue, letters, json };
        match self.command {
            DlqCommand::List { filter, each } => context.list(&filter, each).await,
            DlqCommand::Show(args) => args.run(&sqs, context.letters, async || context.log(), json).await,
            DlqCommand::Replay(args) if args.in_aws => context.replay_in_aws(&args).await,
            DlqCommand::Replay(args) => context.replay(&args).await,
            DlqCommand::Discard(args) => context.discard(&args).await,
            DlqCommand::Archive(args) => context.archive(&args).await,
            DlqCommand::Restore(args) => context.restore(&args).await,
        }
    }
}

impl DlqArgs {
    /// The stack's outputs of the queue that letters came from, where they can go back, and of the dead-letter queue.
    fn queues(&self) -> (Option<&'static str>, &'static str) {
        match self {
            Self { pushes: true, .. } => (Some("PushQueueUrl"), "PushDlqUrl"),
            Self { numbers: true, .. } => (Some("NumberChangesQueueUrl"), "NumberChangesDlqUrl"),
            Self { relay: true, .. } => (None, "RelayDlqUrl"),
            Self { ledger: true, .. } => (None, "LedgerDlqUrl"),
            _ => (Some("AsnQueueUrl"), "AsnDlqUrl"),
        }
    }
}

impl DlqCommand {
    fn only_looks_or_discards(&self) -> bool {
        matches!(self, Self::List { .. } | Self::Show(_) | Self::Discard(_))
    }

    /// What can be told to be wrong before anything is asked of AWS.
    fn check(&self) -> Result<()> {
        let all_or_some = |all: bool, selection: &Selection| match (all, selection.filter.is_empty()) {
            (false, true) => Err(Failure::usage("say which letters by a filter, or --all")),
            (true, false) => Err(Failure::usage("--all means every letter: leave out --all, or the filters")),
            _ => Ok(()),
        };
        let reason = |selection: &Selection, operator: &Operator, deed: Deed| match selection.dry_run {
            true => Ok(()),
            false => operator.because(deed.name).map(drop),
        };
        match self {
            Self::List { .. } | Self::Show(_) => Ok(()),
            Self::Replay(args) if args.in_aws && !args.selection.filter.is_empty() => {
                let filter = args.selection.filter.describe();
                Err(Failure::usage(format!("--in-aws moves every letter, and so forbids a filter ({filter})")))
            }
            Self::Replay(args) if args.in_aws && args.rate.is_some_and(|rate| rate > in_aws::MOST) => {
                Err(Failure::usage(format!("--in-aws moves no more than {} a second", in_aws::MOST)))
            }
            Self::Replay(args) => reason(&args.selection, &args.operator, REPLAY),
            Self::Discard(args) => {
                all_or_some(args.all, &args.selection).and(reason(&args.selection, &args.operator, DISCARD))
            }
            Self::Archive(args) => {
                all_or_some(args.all, &args.selection).and(reason(&args.selection, &args.operator, ARCHIVE))
            }
            Self::Restore(args) => reason(&args.selection, &args.operator, RESTORE),
        }
    }
}

/// Where a command works, and how it tells of it.
struct Context<'a> {
    sqs: &'a Client,
    stack: &'a Stack,
    /// The queue that a replay sends to.
    queue: &'a str,
    /// The dead-letter queue.
    letters: &'a str,
    json: bool,
}

impl Context<'_> {
    async fn list(&self, filter: &Filter, each: bool) -> Result<Outcome> {
        let found = DeadLetters::look(self.sqs, self.letters, filter, shower(each, self.json)).await?;
        found.notes().iter().for_each(output::note);
        match (self.json, each) {
            (true, true) => output::line(&serde_json::to_string(&found).map_err(std::io::Error::from)?)?,
            (true, false) => output::json(&found)?,
            (false, _) if found.total() == 0 => {
                output::line(if found.is_whole() { "no dead letters" } else { "no dead letters seen" })?;
            }
            (false, _) => {
                output::line(&table(found.groups(), Timestamp::now()))?;
                output::line(&format!("{} in all: {}", found.total(), found.ages()))?;
            }
        }
        Ok(if found.is_whole() { Outcome::Done } else { Outcome::NeedsAttention })
    }

    async fn replay(&self, args: &ReplayArgs) -> Result<Outcome> {
        let replay = Replay::new(self.sqs, self.queue, args.rate, args.stop_after);
        let trail = self.trail(&args.selection, REPLAY, &args.operator)?;
        self.act(&args.selection, REPLAY, trail, replay).await
    }

    async fn replay_in_aws(&self, args: &ReplayArgs) -> Result<Outcome> {
        let (actor, why) = (args.operator.actor()?, args.operator.because(REPLAY.name)?);
        let trail = Trail::new(self.log()?, REPLAY, actor, why, "all, in AWS".into());
        let queues = (self.letters, self.queue);
        in_aws::replay(self.sqs, queues, args.rate, trail, self.json).await
    }

    async fn discard(&self, args: &DiscardArgs) -> Result<Outcome> {
        let trail = self.trail(&args.selection, DISCARD, &args.operator)?;
        self.act(&args.selection, DISCARD, trail, Discard::new(self.sqs, self.letters)).await
    }

    async fn archive(&self, args: &ArchiveArgs) -> Result<Outcome> {
        let trail = self.trail(&args.selection, ARCHIVE, &args.operator)?;
        let Some(trail) = trail else {
            // Nothing is done to a letter, and no archive opened.
            return self.act(&args.selection, ARCHIVE, trail, Discard::new(self.sqs, self.letters)).await;
        };
        let trail = trail.with_place(args.to.to_string());
        self.act(&args.selection, ARCHIVE, Some(trail), args.to.archive(self.stack)?).await
    }

    async fn restore(&self, args: &RestoreArgs) -> Result<Outcome> {
        let trail = self.trail(&args.selection, RESTORE, &args.operator)?;
        let mut show = shower(args.selection.each, self.json);
        let restore = Restore {
            selection: &args.selection,
            sqs: self.sqs,
            queue: self.letters,
            from: args.from.open(self.stack).await?,
            trail: trail.map(|trail| trail.with_place(args.from.to_string())),
            show: &mut show,
        };
        self.tell(&restore.through().await?, RESTORE, args.selection.each)
    }

    /// Does something to the letters that are meant.
    async fn act(
        &self,
        selection: &Selection,
        deed: Deed,
        trail: Option<Trail<impl AuditLog>>,
        work: impl Work,
    ) -> Result<Outcome> {
        let mut show = shower(selection.each, self.json);
        let run = Run::new(selection, (self.sqs, self.letters), work, trail, &mut show).await?;
        self.tell(&run.through().await?, deed, selection.each)
    }

    fn tell(&self, report: &Report, deed: Deed, each: bool) -> Result<Outcome> {
        report.print(deed, self.json, each)
    }

    fn trail(
        &self,
        selection: &Selection,
        deed: Deed,
        operator: &Operator,
    ) -> Result<Option<Trail<impl AuditLog + use<>>>> {
        if selection.dry_run {
            return Ok(None);
        }
        let (actor, why) = (operator.actor()?, operator.because(deed.name)?);
        let limit = selection.limit.map(|n| format!(" limit={n}")).unwrap_or_default();
        let filter = selection.filter.describe() + &limit;
        Ok(Some(Trail::new(self.log()?, deed, actor, why, filter)))
    }

    /// The audit log.
    fn log(&self) -> Result<impl AuditLog + use<>> {
        self.stack.audit_log()
    }
}

/// Shows letters on lines of their own, where that was asked for.
fn shower(each: bool, json: bool) -> impl FnMut(&Letter) -> Result<()> {
    let now = Timestamp::now();
    move |letter| {
        if !each {
            return Ok(());
        }
        let line = if json { serde_json::to_string(letter).map_err(std::io::Error::from)? } else { letter.line(now) };
        Ok(output::line(&line)?)
    }
}
