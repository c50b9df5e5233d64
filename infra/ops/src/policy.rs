//! `cpis policy`: the policy of look-ups, printed from the table that the code asks.

use std::fmt::Write;

use clap::Args;
use cpis::domain::{
    pilot::CLINICAL_ROLES,
    policy::{Cell, Refusal, RoleClass, TABLE},
    setting::{CareClass, CareKind},
};
use jiff::{Zoned, civil::Date};
use serde_json::json;

use crate::{
    failure::{Outcome, Result},
    output,
};

#[derive(Debug, Args)]
pub(crate) struct PolicyArgs {
    /// The kinds of care as they are on this day; today, where none is given
    #[arg(long, value_name = "DATE")]
    on: Option<Date>,
}

impl PolicyArgs {
    pub(crate) fn run(self, as_json: bool) -> Result<Outcome> {
        let day = self.on.unwrap_or_else(|| Zoned::now().date());
        if as_json {
            output::json(&value(day))?;
        } else {
            output::line(page(day).trim_end())?;
        }
        Ok(Outcome::Done)
    }
}

const fn care(class: CareClass) -> &'static str {
    match class {
        CareClass::Unscheduled => "unscheduled",
        CareClass::Scheduled => "scheduled",
        CareClass::PilotUnscheduled => "unscheduled, in pilots only",
        CareClass::PilotScheduled => "scheduled, in pilots only",
        CareClass::Sensitive => "sensitive, in pilots only",
    }
}

const fn role(class: RoleClass) -> &'static str {
    match class {
        RoleClass::Clinician => "clinician",
        RoleClass::OtherStaff => "other staff",
        RoleClass::Device => "device",
    }
}

const fn cell(cell: Cell) -> &'static str {
    match cell {
        Cell::No => "nothing",
        Cell::Told => "plans; told",
        Cell::Silent => "plans; silent if asked",
        Cell::Generic => "plans; told generically",
    }
}

fn kinds(class: CareClass, day: Date) -> Vec<&'static str> {
    CareKind::ALL.into_iter().filter(|kind| kind.class_on(day) == class).map(CareKind::code).collect()
}

const HEAD: &str = "# Who may see what

This page is what `cpis policy` prints, from the very table that look-ups ask (`shared/src/domain/policy.rs`, R38); a test fails where
they differ. Change the table, then print the page anew: `cpis policy --on 2026-01-01 > infra/policy.md`.

";

const LEGEND: &str = "
*Told*: each authority with a plan among those shown gets a notification, and the access stands in the child's history. *Silent if
asked*: neither, where the caller sends `IsUnscheduledAccessEvent: false`; else it is told. *Told generically*: notification and history
show a label that is the same for all, and no organisation, kind of care, name, id or telephone number (R41).

";

const AROUND: &str = "
## What is asked before the table

1. A device must come with the name of the person who answers for it (R42).
2. The organisation must be in the directory, open, and within its first and last day (R36).
3. The role must hold `B0107` or `B0170`, and for a silent read `B0170` (R30).
4. `IsUnscheduledAccessEvent` may not contradict what the organisation gives: `true` where it gives scheduled care only, or `false` where it
   gives unscheduled care only, is refused. Where it gives both, the header chooses. Left out it means true, which contradicts nothing and
   fails towards notifying (R19, R38).
5. A kind of care that is in pilots only needs a pilot that names it, the organisation and the job role, and that runs today (R39).
6. Sensitive care needs `PatientConsent: true` (R40).

Whatever fails first is the reason that the caller is told. The refusal is recorded under its code before it is answered (R43).

## Refusals

| code | header to mend | what the caller is told |
|---|---|---|
";

/// The page, as Markdown.
fn page(day: Date) -> String {
    let mut page = String::from(HEAD);
    let roles = RoleClass::ALL.map(role).join(" | ");
    let _ = writeln!(page, "| care | activity | {roles} |\n|---|---|---|---|---|");
    for row in &TABLE {
        let cells = row.cells.map(cell).join(" | ");
        let _ = writeln!(page, "| {} | {} | {cells} |", care(row.care), row.activity.code());
    }
    page.push_str(LEGEND);
    let _ = writeln!(page, "## Kinds of care on {day}\n\n| care | kinds |\n|---|---|");
    for class in CareClass::ALL {
        let _ = writeln!(page, "| {} | {} |", care(class), kinds(class, day).join(", "));
    }
    let roles = CLINICAL_ROLES.map(|(code, name)| format!("{code} {name}")).join(", ");
    let _ = writeln!(page, "\nClinicians are people with one of these job roles: {roles}.");
    page.push_str(AROUND);
    for refusal in Refusal::ALL {
        let header = refusal.header().map(|name| format!("`{name}`")).unwrap_or_default();
        let _ = writeln!(page, "| `{}` | {header} | {refusal} |", refusal.code());
    }
    page
}

/// The same for programs.
fn value(day: Date) -> serde_json::Value {
    let rows = TABLE.iter().flat_map(|row| {
        RoleClass::ALL.map(|class| {
            let cell = row.cells[class as usize];
            json!({
                "care": care(row.care),
                "activity": row.activity.code(),
                "who": role(class),
                "disclosed": cell != Cell::No,
                "notified": match cell { Cell::No => "no", Cell::Silent => "unless-silent", Cell::Told | Cell::Generic => "yes" },
                "presentation": match cell { Cell::No => None, Cell::Generic => Some("generic"), _ => Some("full") },
            })
        })
    });
    json!({
        "table": rows.collect::<Vec<_>>(),
        "kinds": CareClass::ALL.map(|class| json!({"care": care(class), "kinds": kinds(class, day)})),
        "clinicians": CLINICAL_ROLES.map(|(code, name)| json!({"code": code, "display": name})),
        "refusals": Refusal::ALL.map(|r| json!({"code": r.code(), "header": r.header(), "diagnostics": r.to_string()})),
    })
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn r38_the_page_in_the_repository_is_what_the_table_prints() {
        let committed = include_str!("../../policy.md");
        assert_eq!(page(date(2026, 1, 1)), committed, "print it anew: cpis policy --on 2026-01-01 > infra/policy.md");
    }

    #[test]
    fn the_json_has_every_cell_and_refusal() {
        let found = value(date(2026, 1, 1));
        assert_eq!(found["table"].as_array().map(Vec::len), Some(TABLE.len() * 3));
        assert_eq!(found["refusals"].as_array().map(Vec::len), Some(Refusal::ALL.len()));
        let generic = |row: &&serde_json::Value| row["presentation"] == "generic";
        let rows = found["table"].as_array().into_iter().flatten().filter(generic);
        assert!(rows.clone().all(|row| row["care"] == "sensitive, in pilots only" && row["who"] == "clinician"));
        assert_eq!(rows.count(), 1);
    }
}
