//! `cpis generate`: upload files of invented children.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{ArgGroup, Args, ValueEnum};
use cpis::domain::{
    authority::{Authority, AuthorityCode},
    contact::date_in_england,
    record::{Column, Detail, RawRecord},
    upload::MAX_RECORDS,
};
use indicatif::ProgressBar;
use jiff::{Timestamp, civil::Date};

use crate::{
    cli::help,
    entries::authorities,
    failure::{Failure, Outcome, Result, on_file},
    output,
    people::{BLOCK_CHILDREN, Child, Children, Course},
    random::Random,
    spoil::{FAULTS, Row, spoil},
};

/// Of so many records of a file, one is of a child whom the authority before it in the list knows too.
const SHARED_EVERY: usize = 50;
/// The most of those, so that they stay within the other authority's own block.
const MAX_SHARED: usize = 5_000;
/// The most records for one authority alone.
const MAX_CHILDREN: usize = 850_000;

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("whose").args(["authority", "authorities", "register"]).required(true),
    after_help = help!("  cpis generate --authority E06000001 --children 300 --seed 1 --bad 12 > plans.csv
  cpis generate --authority E06000001 --children 300 --follow-up --sequence 2 --json > next.json
  cpis generate --register --children 200000 --out register/

The same arguments give the same bytes on the same day; name the day with --today to have them on another. \
Every NHS number lies between 9990000000 and 9999999999, which are never issued. Two authorities have numbers in \
common only for the children that both know, one record in 50, while neither has more than 5,900. \
A JSON file holds its own envelope; that of a CSV file goes into the query of its upload, and is shown on stderr."),
)]
pub(crate) struct GenerateArgs {
    /// One authority's file, on stdout
    #[arg(long, value_name = "CODE", value_parser = AuthorityCode::parse)]
    authority: Option<AuthorityCode>,
    /// A file for each of these authorities, separated by commas, or `all`
    #[arg(long, value_name = "CODES", value_delimiter = ',', requires = "out")]
    authorities: Vec<String>,
    /// A file for each authority of England: the same as --authorities all
    #[arg(long, requires = "out")]
    register: bool,
    /// Records in all, shared out unevenly among several authorities
    #[arg(long, value_name = "N")]
    children: usize,
    /// Seed: another seed, other people
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// So many of each file's records are wrong, each in another way in turn
    #[arg(long, value_name = "K", default_value_t = 0)]
    bad: usize,
    /// Format of the file
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Directory for the files of several authorities; made if missing
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The day on which the file is made [default: today in England]
    #[arg(long, value_name = "YYYY-MM-DD")]
    today: Option<Date>,
    /// A later file about the same children: of a hundred plans 12 have ended, 1 is withdrawn
    #[arg(long)]
    follow_up: bool,
    /// The authority's number of the file, each higher than the one before
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1 << 53))]
    sequence: u64,
}

/// Formats of upload files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    Json,
}

/// What a file is made from.
#[derive(Debug, Clone)]
struct Plan {
    seed: u64,
    /// The authority's place among all of them.
    place: usize,
    records: usize,
    bad: usize,
    today: Date,
    course: Course,
    sequence: u64,
}

impl GenerateArgs {
    pub(crate) fn run(self, json: bool) -> Result<Outcome> {
        let format = self.format.unwrap_or(if json { Format::Json } else { Format::Csv });
        let known = authorities()?;
        let files = self.files(&known)?;
        match &self.out {
            Some(dir) => to_directory(dir, &known, &files, format, json)?,
            None => {
                let [plan] = files.as_slice() else {
                    return Err(Failure::usage("several files need a directory: give it with --out"));
                };
                warn_of_size(plan, &known[plan.place]);
                let bar = output::bar(plan.records, "records", true);
                plan.write(BufWriter::new(io::stdout().lock()), format, &bar)?;
                bar.finish_and_clear();
                if format == Format::Csv {
                    eprintln!("envelope, for the query of the upload: {}", plan.query());
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// What files to make, from the arguments and the authorities there are.
    fn files(&self, known: &[Authority]) -> Result<Vec<Plan>> {
        let places = self.places(known)?;
        let counts = share_out(self.seed, self.children, &places)?;
        let today = self.today.unwrap_or_else(|| date_in_england(Timestamp::now()));
        let course = if self.follow_up { Course::Later } else { Course::Running };
        let (seed, bad, sequence) = (self.seed, self.bad, self.sequence);
        let plans = places.into_iter().zip(counts).map(|(place, records)| {
            if bad > records {
                let name = &known[place].name;
                return Err(Failure::usage(format!("--bad {bad} is more than the {records} records of {name}")));
            }
            Ok(Plan { seed, place, records, bad, today, course, sequence })
        });
        plans.collect()
    }

    fn places(&self, known: &[Authority]) -> Result<Vec<usize>> {
        let place_of = |code: &str| {
            known.iter().position(|a| a.code.as_str() == code).ok_or_else(|| {
                Failure::usage(format!("{code} is no authority of England; `cpis directory list` shows them"))
            })
        };
        match (&self.authority, self.authorities.as_slice()) {
            (Some(code), _) => Ok(vec![place_of(code.as_str())?]),
            (None, [all]) if all == "all" => Ok((0..known.len()).collect()),
            (None, []) => Ok((0..known.len()).collect()),
            (None, codes) => {
                let mut places = codes.iter().map(|c| place_of(c)).collect::<Result<Vec<_>>>()?;
                places.sort_unstable();
                places.dedup();
                Ok(places)
            }
        }
    }
}

/// How many of `children` each authority gets: from a half to one and a half times its even share, as long as there are
/// numbers enough.
fn share_out(seed: u64, children: usize, places: &[usize]) -> Result<Vec<usize>> {
    if let [_] = places {
        return if children <= MAX_CHILDREN { Ok(vec![children]) } else { Err(too_many(MAX_CHILDREN)) };
    }
    let weight = |place: &usize| 50 + Random::of(&[seed, 0x5a2e, *place as u64]).below(101);
    let uneven = portions(children, &places.iter().map(weight).collect::<Vec<_>>());
    let counts =
        if uneven.iter().all(|n| *n <= BLOCK_CHILDREN) { uneven } else { portions(children, &vec![1; places.len()]) };
    if counts.iter().any(|n| *n > BLOCK_CHILDREN) {
        return Err(too_many(BLOCK_CHILDREN * places.len()));
    }
    Ok(counts)
}

fn too_many(most: usize) -> Failure {
    Failure::usage(format!("there are test numbers for at most {most} --children here"))
}

/// The error behind a CSV writer's own, so that a closed pipe is known as one.
fn plain(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Splits a whole in proportion to the weights, without a remainder.
fn portions(whole: usize, weights: &[usize]) -> Vec<usize> {
    let all: usize = weights.iter().sum();
    let mut reached = 0;
    let portion = |weight: &usize| {
        let from = whole * reached / all;
        reached += weight;
        whole * reached / all - from
    };
    weights.iter().map(portion).collect()
}

fn to_directory(dir: &Path, known: &[Authority], plans: &[Plan], format: Format, json: bool) -> Result<()> {
    fs::create_dir_all(dir).map_err(on_file(dir))?;
    let extension = if format == Format::Csv { "csv" } else { "json" };
    let mut made = Vec::new();
    let bar = output::bar(plans.iter().map(|plan| plan.records).sum(), "records", false);
    for plan in plans {
        let authority = &known[plan.place];
        let path = dir.join(format!("{}.{extension}", authority.code));
        warn_of_size(plan, authority);
        let file = File::create(&path).map_err(on_file(&path))?;
        plan.write(BufWriter::new(file), format, &bar)?;
        made.push((path.display().to_string(), plan));
    }
    bar.finish_and_clear();
    if json {
        let made: Vec<_> = made.iter().map(|(file, plan)| plan.described(&known[plan.place], file)).collect();
        return Ok(output::json(&made)?);
    }
    let rows: Vec<_> = made.into_iter().map(|(file, plan)| [file, plan.records.to_string(), plan.query()]).collect();
    Ok(output::line(&output::table(["FILE", "RECORDS", "ENVELOPE"], &rows))?)
}

fn warn_of_size(plan: &Plan, authority: &Authority) {
    if plan.records > MAX_RECORDS {
        let name = &authority.name;
        eprintln!(
            "note: the file of {name} has {} records, an upload takes at most {MAX_RECORDS}: split it",
            plan.records
        );
    }
}

impl Plan {
    /// Whose records the file has, and whether another authority knew the child first.
    fn children(&self) -> impl Iterator<Item = (Child, bool)> + use<> {
        let mut own = Children::of(self.seed, self.place);
        let mut shared = Children::of(self.seed, self.place + 152).take(MAX_SHARED);
        (1..=self.records).map_while(move |row| {
            let neighbours = if row.is_multiple_of(SHARED_EVERY) { shared.next() } else { None };
            neighbours.map(|child| (child, true)).or_else(|| own.next().map(|child| (child, false)))
        })
    }

    /// The file's rows, one at a time: memory does not grow with their number.
    fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let mut last: Option<RawRecord> = None;
        let mut faults = FAULTS.into_iter().cycle();
        self.children().zip(1..).map_while(move |((child, shared), row)| {
            if row * self.bad / self.records == (row - 1) * self.bad / self.records {
                let known = if shared { Child::second_record } else { Child::record };
                let record = known(&child, row, self.today, self.course);
                last = Some(record.clone());
                return Some(Row { record, fault: None });
            }
            // A duplicate needs something that came before it.
            let fault = faults.find(|f| *f != Detail::DuplicateInFile || last.is_some())?;
            Some(spoil(child.record(row, self.today, Course::Running), fault, last.as_ref(), self.today))
        })
    }

    fn write(&self, mut out: impl Write, format: Format, bar: &ProgressBar) -> io::Result<()> {
        let rows = self.rows().inspect(|_| bar.inc(1));
        match format {
            Format::Csv => self.write_csv(&mut out, rows),
            Format::Json => self.write_json(&mut out, rows),
        }?;
        out.flush()
    }

    fn write_csv(&self, out: impl Write, rows: impl Iterator<Item = Row>) -> io::Result<()> {
        let mut csv = csv::WriterBuilder::new().flexible(true).from_writer(out);
        csv.write_record(Column::ALL.map(Column::name)).map_err(plain)?;
        for row in rows {
            let fields = row.record.fields.iter();
            match row.fault {
                Some(Detail::RowUnreadable) => csv.write_record(fields.take(5)),
                _ => csv.write_record(fields),
            }
            .map_err(plain)?;
        }
        csv.flush()
    }

    fn write_json(&self, out: &mut impl Write, rows: impl Iterator<Item = Row>) -> io::Result<()> {
        let authority = serde_json::json!({
            "emergencyDutyTeamPhone": self.emergency_duty_team_phone(), "officeHoursPhone": self.office_hours_phone()
        });
        let (sequence, created, count) = (self.sequence, self.created(), self.records);
        write!(
            out,
            r#"{{"sequence":{sequence},"created":"{created}","count":{count},"authority":{authority},"records":["#
        )?;
        for (n, row) in rows.enumerate() {
            out.write_all(if n == 0 { b"\n" } else { b",\n" })?;
            let filled = Column::ALL.into_iter().filter(|c| !row.record.fields[*c as usize].is_empty());
            let fields = filled.map(|c| (c.name().to_owned(), row.record.fields[c as usize].clone().into()));
            let record: serde_json::Map<String, serde_json::Value> = fields.collect();
            match row.fault {
                Some(Detail::RowUnreadable) => out.write_all(b"null")?,
                _ => serde_json::to_writer(&mut *out, &record)?,
            }
        }
        out.write_all(b"\n]}\n")
    }

    /// Midnight at the start of the day, so that the file is the same whenever on that day it is made.
    fn created(&self) -> String {
        format!("{}T00:00:00Z", self.today)
    }

    /// In the range that Ofcom keeps for drama.
    fn emergency_duty_team_phone(&self) -> String {
        format!("01632 960{:03}", self.place)
    }

    fn office_hours_phone(&self) -> String {
        format!("01632 960{:03}", self.place + 500)
    }

    /// The envelope as it goes into the query of an upload of CSV.
    fn query(&self) -> String {
        let (sequence, created, records) = (self.sequence, self.created(), self.records);
        let phones = [self.emergency_duty_team_phone(), self.office_hours_phone()].map(|p| p.replace(' ', "%20"));
        let [emergency, office] = phones;
        format!(
            "sequence={sequence}&created={created}&records={records}&emergencyDutyTeamPhone={emergency}&officeHoursPhone={office}"
        )
    }

    fn described(&self, authority: &Authority, file: &str) -> serde_json::Value {
        serde_json::json!({
            "authority": authority.code, "file": file, "sequence": self.sequence, "created": self.created(),
            "records": self.records, "bad": self.bad, "emergencyDutyTeamPhone": self.emergency_duty_team_phone(),
            "officeHoursPhone": self.office_hours_phone()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use clap::Parser;
    use cpis::{domain::record::PlanRecord, wire::upload};
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;
    use crate::spoil::NEEDS_THE_FILE;

    const TODAY: Date = date(2026, 11, 22);

    fn plan(seed: u64, place: usize, records: usize, bad: usize) -> Plan {
        Plan { seed, place, records, bad, today: TODAY, course: Course::Running, sequence: 1 }
    }

    fn text(plan: &Plan, format: Format) -> String {
        let mut bytes = Vec::new();
        plan.write(&mut bytes, format, &ProgressBar::hidden()).expect("written");
        String::from_utf8(bytes).expect("UTF-8")
    }

    #[test]
    fn the_same_arguments_give_the_same_bytes() {
        for format in [Format::Csv, Format::Json] {
            assert_eq!(text(&plan(1, 3, 200, 20), format), text(&plan(1, 3, 200, 20), format));
            assert_ne!(text(&plan(1, 3, 200, 20), format), text(&plan(2, 3, 200, 20), format));
        }
    }

    #[test]
    fn what_a_seed_gives_never_changes() {
        let expected = "\
nhs_number,local_id,family_name,given_names,birth_date,plan_type,start_date,end_date,delete_date
9997532813,LAC-003857,Garside,Esme,2010-11-04,LAC,2024-05-16,,
9993713147,LAC-003858,Garside,Finley,2010-02-10,LAC,2024-05-16,,
";
        assert_eq!(text(&plan(1, 0, 2, 0), Format::Csv), expected, "others keep files by their seeds");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn good_rows_are_accepted_bad_ones_are_not_and_there_are_so_many(
            seed: u64, place in 0_usize..153, records in 1_usize..300, share in 0_usize..=100,
        ) {
            let bad = records * share / 100;
            let rows: Vec<_> = plan(seed, place, records, bad).rows().collect();
            prop_assert_eq!(rows.len(), records);
            prop_assert_eq!(rows.iter().filter(|r| r.fault.is_some()).count(), bad);
            let mut numbers = HashSet::new();
            for row in &rows {
                let checked = PlanRecord::check(&row.record, TODAY);
                match row.fault {
                    None => {
                        let record = checked.expect("accepted");
                        prop_assert!(record.is_start());
                        prop_assert!(record.nhs_number.digits().starts_with("999"));
                        prop_assert!(numbers.insert(record.nhs_number), "twice in one file");
                    }
                    Some(fault) => {
                        let expected = (!NEEDS_THE_FILE.contains(&fault)).then_some(fault);
                        prop_assert_eq!(checked.err().map(|p| p[0].detail), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn the_service_reads_both_formats_alike() {
        let plan = plan(1, 3, 120, 18);
        let query: Vec<_> = plan.query().replace("%20", " ").split('&').map(pair).collect();
        let [csv, json] = [Format::Csv, Format::Json].map(|format| text(&plan, format));
        let csv = upload::parse(Some("text/csv"), &query, csv.as_bytes()).expect("readable");
        let json = upload::parse(Some("application/json"), &[], json.as_bytes()).expect("readable");
        assert_eq!(csv.envelope, json.envelope);
        assert_eq!((csv.records.len(), json.records.len()), (120, 120));
        let unreadable: Vec<_> = csv.records.iter().zip(&json.records).filter(|(c, _)| c.is_err()).collect();
        assert_eq!(unreadable.len(), 1);
        for (csv, json) in csv.records.iter().zip(&json.records) {
            assert_eq!(csv.as_ref().ok(), json.as_ref().ok());
        }
    }

    fn pair(part: &str) -> (String, String) {
        part.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).expect("name=value")
    }

    #[test]
    fn a_register_has_numbers_in_common_only_for_shared_children() {
        let counts = share_out(1, 20_000, &(0..153).collect::<Vec<_>>()).expect("enough numbers");
        let (mut owner, mut common) = (std::collections::HashMap::new(), 0);
        for (place, records) in counts.into_iter().enumerate() {
            for row in plan(1, place, records, 0).rows() {
                if let Some(other) = owner.insert(row.record.text(Column::NhsNumber).to_owned(), place) {
                    common += 1;
                    assert!(
                        (place + 153 - other) % 153 == 1 || (other + 153 - place) % 153 == 1,
                        "{other} and {place}"
                    );
                }
            }
        }
        assert!((200..=400).contains(&common), "{common} of 20,000");
    }

    #[test]
    fn portions_add_up_and_differ() {
        let places: Vec<_> = (0..153).collect();
        for children in [0, 1, 153, 200_000, 902_700] {
            let counts = share_out(1, children, &places).expect("enough numbers");
            assert_eq!(counts.iter().sum::<usize>(), children);
        }
        let counts = share_out(1, 200_000, &places).expect("enough numbers");
        assert!(counts.iter().collect::<BTreeSet<_>>().len() > 50);
        assert!(counts.iter().all(|n| (600..=2_100).contains(n)), "{counts:?}");
        assert!(matches!(share_out(1, 902_701, &places), Err(Failure::Usage(_))));
        assert!(matches!(share_out(1, MAX_CHILDREN + 1, &[0]), Err(Failure::Usage(_))));
    }

    #[test]
    fn the_largest_file_still_has_each_child_once() {
        let mut seen = HashSet::new();
        assert!(plan(1, 152, MAX_CHILDREN, 0).children().all(|(child, _)| seen.insert(child.place)));
        assert_eq!(seen.len(), MAX_CHILDREN);
    }

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        generate: GenerateArgs,
    }

    #[test]
    fn arguments_that_do_not_fit_are_told() {
        let known = authorities().expect("readable");
        let files = |line: &str| Line::parse_from(["cpis"].into_iter().chain(line.split(' '))).generate.files(&known);
        let all = files("--authorities all --children 1000 --out d").expect("fits");
        assert_eq!(all.len(), 153);
        let two = files("--authorities E06000002,E06000001,E06000002 --children 10 --out d").expect("fits");
        assert_eq!(two.iter().map(|p| p.place).collect::<Vec<_>>(), [0, 1]);
        for line in [
            "--authority E06000099 --children 1",
            "--authority E06000001 --children 1 --bad 2",
            "--authorities E06000001,London --children 1 --out d",
            "--register --children 950000 --out d",
        ] {
            assert!(matches!(files(line), Err(Failure::Usage(_))), "{line}");
        }
    }
}
