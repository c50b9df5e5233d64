//! `cpis directory set`: one entry, added or changed.

use std::{fs, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use cpis::domain::{
    authority::{AuthorityCode, Status},
    entry::Entry,
    pilot::Pilot,
    setting::{CareKind, Oversight, Setting},
};
use jiff::civil::Date;

use super::Kind;
use crate::{
    cli::help,
    failure::{Failure, Result, on_file},
};

#[derive(Debug, Subcommand)]
pub(super) enum SetCommand {
    /// Add a health care setting, or change what is given of one
    #[command(after_help = help!("  cpis directory set setting ZX020 --name 'Sample Hospital' --care emergency-department --care maternity \\
      --region London --authority E09000001 --from 2026-01-01 --because 'joins the service'
  cpis directory set setting ZX020 --until 2026-12-31 --because 'merges with ZX021'"))]
    Setting(Box<SettingArgs>),
    /// Add a pilot, or change what is given of one
    #[command(after_help = help!("  cpis directory set pilot 2026-TRIAL --name 'Trial' --care sexual-health --organisation ZX009 \\
      --job-role R8001 --from 2026-01-01 --until 2026-03-31
  cpis directory set pilot 2026-TRIAL --until 2026-02-28 --because 'ends early'"))]
    Pilot(PilotArgs),
    /// Add or replace the entry in a file, as `cpis directory list --json` prints one
    #[command(after_help = help!("  cpis directory set file entry.json --because 'letter of 3 March'"))]
    File {
        /// A file with one entry as JSON
        path: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct SettingArgs {
    /// ODS code
    code: String,
    /// Its name
    #[arg(long)]
    name: Option<String>,
    /// Kind of care, such as emergency-department; repeat for several, which replace those held. `cpis policy` lists them
    #[arg(long, value_name = "KIND", value_parser = care)]
    care: Vec<CareKind>,
    /// Region, one of the nine of England
    #[arg(long)]
    region: Option<String>,
    /// GSS code of the nearest authority
    #[arg(long, value_name = "CODE", value_parser = AuthorityCode::parse)]
    authority: Option<AuthorityCode>,
    /// Whether it may use the service
    #[arg(long)]
    status: Option<OpenOrClosed>,
    /// First day on which it may
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// Last day on which it may, or `none`
    #[arg(long, value_name = "DATE", value_parser = date_or_none)]
    until: Option<Limit>,
    /// Whom its officers may audit beside itself
    #[arg(long)]
    oversight: Option<Overseen>,
}

#[derive(Debug, Args)]
pub(super) struct PilotArgs {
    /// Its code, such as 2026-TRIAL
    code: String,
    /// Its name
    #[arg(long)]
    name: Option<String>,
    /// Kind of care that takes part; repeat for several, which replace those held
    #[arg(long, value_name = "KIND", value_parser = care)]
    care: Vec<CareKind>,
    /// ODS code of an organisation that takes part; repeat for several, which replace those held
    #[arg(long = "organisation", value_name = "CODE")]
    organisations: Vec<String>,
    /// SDS code of a clinical job role that takes part; repeat for several, which replace those held
    #[arg(long = "job-role", value_name = "CODE")]
    job_roles: Vec<String>,
    /// First day
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// Last day
    #[arg(long, value_name = "DATE")]
    until: Option<Date>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OpenOrClosed {
    Open,
    Closed,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Overseen {
    National,
    None,
}

/// A last day, or that there is none.
#[derive(Debug, Clone, Copy)]
struct Limit(Option<Date>);

fn date_or_none(text: &str) -> std::result::Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    text.parse().map(|date| Limit(Some(date))).map_err(|_| "a date such as 2026-12-31, or none".to_owned())
}

fn care(code: &str) -> std::result::Result<CareKind, String> {
    CareKind::from_code(code).ok_or_else(|| {
        let known: Vec<_> = CareKind::ALL.into_iter().map(CareKind::code).collect();
        format!("the kinds of care are {}", known.join(", "))
    })
}

impl SetCommand {
    /// The key of the entry, and the entry where that is known without what is held.
    pub(super) fn target(&self) -> Result<(Kind, String, Option<Entry>)> {
        match self {
            Self::Setting(args) => Ok((Kind::Setting, args.code.clone(), None)),
            Self::Pilot(args) => Ok((Kind::Pilot, args.code.clone(), None)),
            Self::File { path } => {
                let content = fs::read(path).map_err(on_file(path))?;
                let entry: Entry = serde_json::from_slice(&content).map_err(|e| {
                    let path = path.display();
                    Failure::error(format!(
                        "{path}: {e}; it should hold one entry as `cpis directory list --json` prints it"
                    ))
                })?;
                let kind = Kind::of(&entry);
                let code = entry.key().1.to_owned();
                Ok((kind, code, Some(entry)))
            }
        }
    }

    /// The entry as it is to be, from the one held and what is given.
    ///
    /// # Errors
    /// Where a new entry lacks something, or the entry may not stand in the directory.
    pub(super) fn entry(self, held: Option<&Entry>, whole: Option<Entry>) -> Result<Entry> {
        let entry = match (self, held) {
            (Self::Setting(args), Some(Entry::Setting(held))) => Entry::Setting(args.change(held.clone())),
            (Self::Setting(args), _) => Entry::Setting(args.anew()?),
            (Self::Pilot(args), Some(Entry::Pilot(held))) => Entry::Pilot(args.change(held.clone())),
            (Self::Pilot(args), _) => Entry::Pilot(args.anew()?),
            (Self::File { .. }, _) => whole.ok_or_else(|| Failure::error("the file holds no entry"))?,
        };
        entry.check().map_err(|e| Failure::usage(e.to_string()))?;
        Ok(entry)
    }
}

fn needed<T>(value: Option<T>, code: &str, option: &str) -> Result<T> {
    value.ok_or_else(|| Failure::usage(format!("{code} is not in the directory yet, and a new entry needs {option}")))
}

impl SettingArgs {
    fn anew(self) -> Result<Setting> {
        let code = self.code.clone();
        let setting = Setting {
            name: needed(self.name.clone(), &code, "--name")?,
            care: vec![],
            region: needed(self.region.clone(), &code, "--region")?,
            authority: needed(self.authority.clone(), &code, "--authority")?,
            status: Status::Open,
            from: needed(self.from, &code, "--from")?,
            until: None,
            oversight: None,
            code,
        };
        Ok(self.change(setting))
    }

    fn change(self, held: Setting) -> Setting {
        Setting {
            name: self.name.unwrap_or(held.name),
            care: if self.care.is_empty() { held.care } else { self.care },
            region: self.region.unwrap_or(held.region),
            authority: self.authority.unwrap_or(held.authority),
            status: match self.status {
                Some(OpenOrClosed::Open) => Status::Open,
                Some(OpenOrClosed::Closed) => Status::Closed,
                None => held.status,
            },
            from: self.from.unwrap_or(held.from),
            until: self.until.map_or(held.until, |Limit(until)| until),
            oversight: match self.oversight {
                Some(Overseen::National) => Some(Oversight::National),
                Some(Overseen::None) => None,
                None => held.oversight,
            },
            code: held.code,
        }
    }
}

impl PilotArgs {
    fn anew(self) -> Result<Pilot> {
        let code = self.code.clone();
        let pilot = Pilot {
            name: needed(self.name.clone(), &code, "--name")?,
            care: vec![],
            organisations: vec![],
            job_roles: vec![],
            from: needed(self.from, &code, "--from")?,
            until: needed(self.until, &code, "--until")?,
            code,
        };
        Ok(self.change(pilot))
    }

    fn change(self, held: Pilot) -> Pilot {
        let or = |given: Vec<String>, held| if given.is_empty() { held } else { given };
        Pilot {
            name: self.name.unwrap_or(held.name),
            care: if self.care.is_empty() { held.care } else { self.care },
            organisations: or(self.organisations, held.organisations),
            job_roles: or(self.job_roles, held.job_roles),
            from: self.from.unwrap_or(held.from),
            until: self.until.unwrap_or(held.until),
            code: held.code,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        set: SetCommand,
    }

    fn entry(line: &str, held: Option<&Entry>) -> Result<Entry> {
        let set = Line::try_parse_from(["set"].into_iter().chain(line.split_whitespace())).expect("parses").set;
        let (_, _, whole) = set.target()?;
        set.entry(held, whole)
    }

    fn said(result: Result<Entry>) -> String {
        result.expect_err("refused").to_string()
    }

    #[test]
    fn r36_what_is_not_given_stays_as_it_is() {
        let new = entry(
            "setting ZX020 --name Sample --care maternity --region London --authority E09000001 --from 2026-01-01",
            None,
        )
        .expect("a setting");
        let changed = entry("setting ZX020 --until 2026-12-31", Some(&new)).expect("a setting");
        let Entry::Setting(changed) = changed else { panic!("{changed:?}") };
        assert_eq!((changed.name.as_str(), changed.until), ("Sample", Some("2026-12-31".parse().expect("a date"))));
        assert_eq!(changed.care, [CareKind::Maternity]);
        let closed = entry("setting ZX020 --until none --status closed", Some(&Entry::Setting(changed)));
        assert_eq!(closed.expect("a setting"), new.with_status(Some(Status::Closed)));
    }

    #[test]
    fn what_a_new_entry_needs_and_what_may_not_stand_is_said() {
        assert!(said(entry("setting ZX020 --name Sample --care maternity", None)).contains("--region"));
        let whole = "--name Sample --region London --authority E09000001 --from 2026-01-01";
        assert!(said(entry(&format!("setting ZX020 {whole}"), None)).contains("no kind of care"));
        let mixed = format!("setting ZX020 --care maternity --care sexual-health {whole}");
        assert!(said(entry(&mixed, None)).contains("ODS code and entry of its own"), "R40");
        let pilot = "pilot T --name T --care sexual-health --organisation ZX020 --from 2026-01-01 --until 2026-02-01";
        assert!(entry(&format!("{pilot} --job-role R8001"), None).is_ok());
        assert!(said(entry(&format!("{pilot} --job-role R8008"), None)).contains("clinical staff only"), "R39");
    }

    #[test]
    fn a_file_holds_one_entry() {
        let file = std::env::temp_dir().join(format!("cpis-entry-{}.json", uuid::Uuid::new_v4()));
        let line = format!("file {}", file.display());
        let pilot = crate::samples::samples().expect("valid").pop().expect("one");
        fs::write(&file, serde_json::to_vec(&pilot).expect("JSON")).expect("written");
        assert_eq!(entry(&line, None).expect("read"), pilot);
        fs::write(&file, "[]").expect("written");
        assert!(said(entry(&line, None)).contains("cpis directory list --json"));
        fs::remove_file(&file).expect("removed");
    }
}
