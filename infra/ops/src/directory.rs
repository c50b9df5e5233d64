//! `cpis directory`: who takes part.

mod set;
mod table;

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand, ValueEnum};
use cpis::domain::{
    authority::{AuthorityCode, Status},
    entry::Entry,
};
use indicatif::{ProgressBar, ProgressStyle};

use self::{
    set::SetCommand,
    table::{Table, no_entry},
};
use crate::{
    cli::help,
    entries::authorities,
    failure::{Failure, Outcome, Result, on_file},
    output,
    samples::samples,
    settings::{MAX_SETTINGS, SETTINGS, settings},
    stack::StackArgs,
};

#[derive(Debug, Args)]
pub(crate) struct DirectoryArgs {
    #[command(subcommand)]
    command: DirectoryCommand,
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
    /// How many synthetic settings
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
        match self.command {
            DirectoryCommand::Load(args) => load(&table, wanted, args.reset, json).await?,
            DirectoryCommand::Set { set: command } => set(&table, command, json).await?,
            DirectoryCommand::Open(args) => set_status(&table, &args, Status::Open, json).await?,
            DirectoryCommand::Close(args) => set_status(&table, &args, Status::Closed, json).await?,
            DirectoryCommand::List { kind } => list(&table.entries(kind).await?, json)?,
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
        let settings = settings(self.seed, self.settings, &authorities);
        let samples = samples().map_err(|e| Failure::error(format!("the built-in settings: {e}")))?;
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
    put: Vec<Entry>,
    /// Entries whose status must be left alone.
    update: Vec<Entry>,
    /// How many of `put` are new.
    added: usize,
    unchanged: usize,
}

fn changes(held: Vec<Entry>, wanted: Vec<Entry>, reset: bool) -> Changes {
    let held: HashMap<_, _> = held.into_iter().map(|e| ((e.key().0, e.key().1.to_owned()), e)).collect();
    let mut changes = Changes::default();
    for entry in wanted {
        match held.get(&(entry.key().0, entry.key().1.to_owned())) {
            None => {
                changes.added += 1;
                changes.put.push(entry);
            }
            Some(held) if *held == entry => changes.unchanged += 1,
            Some(_) if reset => changes.put.push(entry),
            Some(held) if *held == entry.clone().kept_from(held) => changes.unchanged += 1,
            Some(_) => changes.update.push(entry),
        }
    }
    changes
}

async fn load(table: &Table, wanted: Vec<Entry>, reset: bool, json: bool) -> Result<()> {
    let changes = changes(table.entries(None).await?, wanted, reset);
    let updated = changes.put.len() - changes.added + changes.update.len();
    let bar = progress(changes.put.len() + changes.update.len());
    for batch in changes.put.chunks(25) {
        table.put(batch).await?;
        bar.inc(batch.len() as u64);
    }
    for entry in &changes.update {
        table.update(entry).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let (added, unchanged) = (changes.added, changes.unchanged);
    if json {
        output::json(&serde_json::json!({"added": added, "updated": updated, "unchanged": unchanged}))?;
    } else {
        output::line(&format!("added {added}, updated {updated}, unchanged {unchanged}"))?;
    }
    Ok(())
}

async fn set(table: &Table, command: SetCommand, json: bool) -> Result<()> {
    let (kind, code, whole) = command.target()?;
    let held = table.entry(kind, &code).await?;
    let entry = command.entry(held.as_ref(), whole)?;
    let done = match &held {
        Some(held) if *held == entry => "unchanged",
        Some(_) => "changed",
        None => "added",
    };
    if held.as_ref() != Some(&entry) {
        table.replace(held.as_ref(), &entry).await?;
    }
    if json {
        output::json(&serde_json::json!({"done": done, "entry": entry}))?;
    } else {
        output::line(&format!("{} {code}: {done}", kind.key()))?;
    }
    Ok(())
}

async fn set_status(table: &Table, args: &EntryArgs, status: Status, json: bool) -> Result<()> {
    let (kind, code) = (args.kind.key(), args.code.as_str());
    if table.entry(args.kind, code).await?.is_none() {
        return Err(no_entry(kind, code));
    }
    table.set_status(args.kind, code, status).await?;
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
        LoadArgs { seed: 1, settings: 5, file: None, reset: false }.entries().expect("entries")
    }

    #[test]
    fn loading_again_changes_nothing() {
        let first = changes(Vec::new(), wanted(), false);
        assert_eq!((first.put.len(), first.added, first.update.len(), first.unchanged), (177, 177, 0, 0));
        let again = changes(wanted(), wanted(), false);
        assert_eq!(again, Changes { unchanged: 177, ..Changes::default() });
    }

    #[test]
    fn what_an_operator_closed_stays_closed_unless_reset() {
        let mut held = wanted();
        held[0] = held[0].clone().with_status(Some(Status::Closed));
        assert_eq!(changes(held.clone(), wanted(), false), Changes { unchanged: 177, ..Changes::default() });
        let reset = changes(held, wanted(), true);
        assert_eq!((reset.put.as_slice(), reset.added, reset.unchanged), (&wanted()[..1], 0, 176));
    }

    #[test]
    fn a_new_name_is_written_without_touching_the_status() {
        let mut held = wanted();
        if let Entry::Authority(a) = &mut held[0] {
            a.name = "Old name".into();
            a.status = Status::Closed;
        }
        let found = changes(held, wanted(), false);
        assert_eq!((found.update.as_slice(), found.put.len(), found.unchanged), (&wanted()[..1], 0, 176));
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
