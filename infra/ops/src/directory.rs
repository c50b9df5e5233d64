//! `cpis directory`: who takes part.

mod set;
mod table;
mod trail;

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use cpis::{
    domain::{
        authority::{Authority, AuthorityCode, Status},
        entry::Entry,
    },
    ports::AuditLog,
};
use indicatif::{ProgressBar, ProgressStyle};

use self::{
    set::SetCommand,
    table::{Table, no_entry},
    trail::{Change, Trail},
};
use crate::{
    cli::help,
    entries::authorities,
    failure::{Failure, Outcome, Result, on_file},
    operator::Operator,
    output,
    samples::samples,
    settings::{MAX_SETTINGS, SETTINGS, settings},
    stack::{Stack, StackArgs},
};

#[derive(Debug, Args)]
pub(crate) struct DirectoryArgs {
    #[command(subcommand)]
    command: DirectoryCommand,
    #[command(flatten)]
    operator: Operator,
    #[command(flatten)]
    stack: StackArgs,
}

#[derive(Debug, Subcommand)]
enum DirectoryCommand {
    /// Load every authority of England and a synthetic set of settings, or the entries of a file
    #[command(after_help = help!("  cpis directory load
  cpis directory load --settings 50 --seed 7
  cpis directory list --json > directory.json && cpis directory load --file directory.json

Loading again changes nothing, and leaves open what is open and closed what is closed. Nothing is ever removed."))]
    Load(LoadArgs),
    /// Add an entry, or change it
    Set {
        #[command(subcommand)]
        set: SetCommand,
    },
    /// Open an entry: uploads, look-ups and notifications flow again
    #[command(after_help = help!("  cpis directory open authority E06000001"))]
    Open(EntryArgs),
    /// Close an entry: its callers are refused, and notifications to it wait and then go to the dead letters
    #[command(after_help = help!("  cpis directory close authority E06000001"))]
    Close(EntryArgs),
    /// List the entries
    #[command(after_help = help!("  cpis directory list --kind authority
  cpis directory list --json"))]
    List {
        /// Those of one kind only
        #[arg(long)]
        kind: Option<Kind>,
    },
}

#[derive(Debug, Args)]
struct LoadArgs {
    /// Seed of the synthetic settings; the same seed always gives the same ones
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many settings, all of them synthetic: some that everybody knows, the others made from the seed
    #[arg(long, value_name = "N", default_value_t = SETTINGS, conflicts_with = "file")]
    settings: usize,
    /// Load these entries instead: a JSON list as `cpis directory list --json` prints it
    #[arg(long)]
    file: Option<PathBuf>,
    /// Set open and closed as well, undoing what operators opened and closed
    #[arg(long)]
    reset: bool,
}

#[derive(Debug, Args)]
struct EntryArgs {
    /// Kind of the entry
    kind: Kind,
    /// Its code: GSS code of an authority, ODS code of a setting
    code: String,
}

/// Kinds of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Authority,
    Setting,
    Pilot,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Authority, Self::Setting, Self::Pilot];

    const fn key(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Setting => "setting",
            Self::Pilot => "pilot",
        }
    }

    const fn of(entry: &Entry) -> Self {
        match entry {
            Entry::Authority(_) => Self::Authority,
            Entry::Setting(_) => Self::Setting,
            Entry::Pilot(_) => Self::Pilot,
        }
    }
}

/// The authorities that the directory of a stack has.
pub(crate) async fn authorities_of(stack: &Stack) -> Result<Vec<Authority>> {
    let table = Table { client: stack.dynamodb(), name: stack.output("DirectoryTable")?.to_owned() };
    let authority = |entry| match entry {
        Entry::Authority(authority) => Some(authority),
        _ => None,
    };
    Ok(table.entries(Some(Kind::Authority)).await?.into_iter().filter_map(authority).collect())
}

impl DirectoryArgs {
    pub(crate) async fn run(self, json: bool) -> Result<Outcome> {
        // What the arguments alone can tell is told before anything is called.
        let wanted = match &self.command {
            DirectoryCommand::Load(args) => args.entries()?,
            DirectoryCommand::Open(args) | DirectoryCommand::Close(args) => args.check().map(|()| Vec::new())?,
            DirectoryCommand::List { .. } | DirectoryCommand::Set { .. } => Vec::new(),
        };
        let stack = self.stack.open().await?;
        let table = Table { client: stack.dynamodb(), name: stack.output("DirectoryTable")?.to_owned() };
        if let DirectoryCommand::List { kind } = self.command {
            list(&table.entries(kind).await?, json)?;
            return Ok(Outcome::Done);
        }
        let mut trail = Trail::new(stack.audit_log()?, self.operator.actor()?, self.operator.why());
        match self.command {
            DirectoryCommand::Load(args) => load(&table, &mut trail, wanted, args.reset, json).await?,
            DirectoryCommand::Set { set: command } => set(&table, &mut trail, command, json).await?,
            DirectoryCommand::Open(args) => set_status(&table, &mut trail, &args, Status::Open, json).await?,
            DirectoryCommand::Close(args) => set_status(&table, &mut trail, &args, Status::Closed, json).await?,
            DirectoryCommand::List { .. } => {}
        }
        Ok(Outcome::Done)
    }
}

impl LoadArgs {
    fn entries(&self) -> Result<Vec<Entry>> {
        if let Some(file) = &self.file {
            return from_file(file);
        }
        if self.settings > MAX_SETTINGS {
            return Err(Failure::usage(format!("--settings takes at most {MAX_SETTINGS}")));
        }
        let authorities = authorities()?;
        let samples = samples().map_err(|e| Failure::error(format!("the built-in settings: {e}")))?;
        let known = samples.iter().filter(|entry| matches!(entry, Entry::Setting(_))).count();
        let settings = settings(self.seed, self.settings.saturating_sub(known), &authorities);
        let entries = authorities.into_iter().map(Entry::Authority).chain(samples);
        Ok(entries.chain(settings.into_iter().map(Entry::Setting)).collect())
    }
}

fn from_file(file: &Path) -> Result<Vec<Entry>> {
    let content = fs::read(file).map_err(on_file(file))?;
    let entries: Vec<Entry> = serde_json::from_slice(&content).map_err(|e| {
        Failure::error(format!(
            "{}: {e}; it should hold a list as `cpis directory list --json` prints it",
            file.display()
        ))
    })?;
    if let Some(error) = entries.iter().find_map(|e| e.check().err()) {
        return Err(Failure::error(format!("{}: {error}", file.display())));
    }
    let mut keys = HashSet::new();
    match entries.iter().find(|e| !keys.insert(e.key())) {
        Some(entry) => Err(Failure::error(format!("{}: two entries have the code {}", file.display(), entry.key().1))),
        None => Ok(entries),
    }
}

impl EntryArgs {
    fn check(&self) -> Result<()> {
        match self.kind {
            Kind::Authority => AuthorityCode::parse(&self.code).map(drop).map_err(|e| Failure::usage(e.to_string())),
            Kind::Setting => Ok(()),
            Kind::Pilot => Err(Failure::usage(
                "a pilot is not opened or closed: its days say when it runs; change them with `cpis directory set`",
            )),
        }
    }
}

/// What a load has to write.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    /// Entries that the directory lacks, or that are to be as they are wanted in every respect.
    put: Vec<Change>,
    /// Entries of which must be left alone what operators set.
    update: Vec<Change>,
    unchanged: usize,
}

fn changes(held: Vec<Entry>, wanted: Vec<Entry>, reset: bool) -> Changes {
    let mut held: HashMap<_, _> = held.into_iter().map(|e| ((e.key().0, e.key().1.to_owned()), e)).collect();
    let mut changes = Changes::default();
    for wanted in wanted {
        match held.remove(&(wanted.key().0, wanted.key().1.to_owned())) {
            Some(held) if held == wanted => changes.unchanged += 1,
            Some(held) if !reset => match wanted.kept_from(&held) {
                wanted if held == wanted => changes.unchanged += 1,
                wanted => changes.update.push(Change { held: Some(held), wanted }),
            },
            held => changes.put.push(Change { held, wanted }),
        }
    }
    changes
}

async fn load<L: AuditLog>(
    table: &Table,
    trail: &mut Trail<L>,
    wanted: Vec<Entry>,
    reset: bool,
    json: bool,
) -> Result<()> {
    let Changes { put, update, unchanged } = changes(table.entries(None).await?, wanted, reset);
    let added = put.iter().filter(|change| change.held.is_none()).count();
    let updated = put.len() + update.len() - added;
    let bar = progress(put.len() + update.len());
    let write = async {
        for batch in put.chunks(25) {
            table.put(batch.iter().map(|change| &change.wanted)).await?;
            bar.inc(batch.len() as u64);
        }
        for change in &update {
            table.update(&change.wanted).await?;
            bar.inc(1);
        }
        Ok(())
    };
    if !put.is_empty() || !update.is_empty() {
        trail.of(&[&put[..], &update].concat(), write).await?;
    }
    bar.finish_and_clear();
    if json {
        output::json(&serde_json::json!({"added": added, "updated": updated, "unchanged": unchanged}))?;
    } else {
        output::line(&format!("added {added}, updated {updated}, unchanged {unchanged}"))?;
    }
    Ok(())
}

async fn set<L: AuditLog>(table: &Table, trail: &mut Trail<L>, command: SetCommand, json: bool) -> Result<()> {
    let (kind, code, whole) = command.target()?;
    let held = table.entry(kind, &code).await?;
    let wanted = command.entry(held.as_ref(), whole)?;
    let done = match &held {
        Some(held) if *held == wanted => "unchanged",
        Some(_) => "changed",
        None => "added",
    };
    let change = Change { held, wanted };
    if change.held.as_ref() != Some(&change.wanted) {
        let write = table.replace(change.held.as_ref(), &change.wanted);
        trail.of(std::slice::from_ref(&change), write).await?;
    }
    if json {
        output::json(&serde_json::json!({"done": done, "entry": change.wanted}))?;
    } else {
        output::line(&format!("{} {code}: {done}", kind.key()))?;
    }
    Ok(())
}

async fn set_status<L: AuditLog>(
    table: &Table,
    trail: &mut Trail<L>,
    args: &EntryArgs,
    status: Status,
    json: bool,
) -> Result<()> {
    let (kind, code) = (args.kind.key(), args.code.as_str());
    let held = table.entry(args.kind, code).await?.ok_or_else(|| no_entry(kind, code))?;
    // Told and written even where it is so already: what is asked for is on record.
    let change = Change { wanted: held.clone().with_status(Some(status)), held: Some(held) };
    trail.of(std::slice::from_ref(&change), table.set_status(args.kind, code, status)).await?;
    if json {
        output::json(&serde_json::json!({"kind": kind, "code": code, "status": status}))?;
    } else {
        output::line(&format!("{kind} {code} is {}", name(status)))?;
    }
    Ok(())
}

const fn name(status: Status) -> &'static str {
    match status {
        Status::Open => "open",
        Status::Closed => "closed",
    }
}

fn list(entries: &[Entry], json: bool) -> Result<()> {
    if json {
        return Ok(output::json(&entries)?);
    }
    let no_region = String::new();
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let (kind, code) = entry.key();
            let (title, region) = match entry {
                Entry::Authority(a) => (&a.name, &a.region),
                Entry::Setting(s) => (&s.name, &s.region),
                Entry::Pilot(p) => (&p.name, &no_region),
            };
            [kind, code, entry.status().map_or("", name), region, title].map(str::to_owned)
        })
        .collect();
    Ok(output::line(&output::table(["KIND", "CODE", "STATUS", "REGION", "NAME"], &rows))?)
}

/// A bar on stderr where that is a terminal.
fn progress(entries: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} entries  {elapsed}");
    ProgressBar::new(entries as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Vec<Entry> {
        LoadArgs { seed: 1, settings: 18, file: None, reset: false }.entries().expect("entries")
    }

    fn change(held: &Entry, wanted: &Entry) -> Vec<Change> {
        vec![Change { held: Some(held.clone()), wanted: wanted.clone() }]
    }

    #[test]
    fn loading_again_changes_nothing() {
        let first = changes(Vec::new(), wanted(), false);
        assert_eq!((first.put.len(), first.update.len(), first.unchanged), (177, 0, 0));
        assert!(first.put.iter().all(|change| change.held.is_none()));
        let again = changes(wanted(), wanted(), false);
        assert_eq!(again, Changes { unchanged: 177, ..Changes::default() });
    }

    #[test]
    fn what_an_operator_closed_stays_closed_unless_reset() {
        let mut held = wanted();
        held[0] = held[0].clone().with_status(Some(Status::Closed));
        assert_eq!(changes(held.clone(), wanted(), false), Changes { unchanged: 177, ..Changes::default() });
        let reset = changes(held.clone(), wanted(), true);
        assert_eq!((reset.put, reset.update.len(), reset.unchanged), (change(&held[0], &wanted()[0]), 0, 176));
    }

    #[test]
    fn a_new_name_is_written_without_touching_the_status() {
        let mut held = wanted();
        if let Entry::Authority(a) = &mut held[0] {
            a.name = "Old name".into();
            a.status = Status::Closed;
        }
        let closed = wanted()[0].clone().with_status(Some(Status::Closed));
        let found = changes(held.clone(), wanted(), false);
        assert_eq!((found.update, found.put.len(), found.unchanged), (change(&held[0], &closed), 0, 176));
    }

    #[test]
    fn a_file_is_what_list_prints() {
        let file = std::env::temp_dir().join(format!("cpis-directory-{}.json", uuid::Uuid::new_v4()));
        let args = LoadArgs { seed: 1, settings: 0, file: Some(file.clone()), reset: false };
        fs::write(&file, serde_json::to_vec(&wanted()).expect("JSON")).expect("written");
        assert_eq!(args.entries().expect("read"), wanted());
        let twice = [wanted(), wanted()].concat();
        fs::write(&file, serde_json::to_vec(&twice).expect("JSON")).expect("written");
        assert!(args.entries().expect_err("twice").to_string().contains("E06000001"));
        fs::remove_file(&file).expect("removed");
    }
}
