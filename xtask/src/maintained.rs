//! `cargo xtask maintained`: fails if a row of docs/maintained.md has to be reviewed.

use std::fs;

use anyhow::{Context, ensure};
use cargo_chassis::calendar;

/// The number of days after which the newest version in a row has to be looked up again.
const LOOKED_UP: i64 = 45;

pub(crate) fn run() -> anyhow::Result<()> {
    let table = fs::read_to_string(crate::root().join("docs/maintained.md"))?;
    for row in rows(&table).filter(|row| !row.is_newest()) {
        println!("{}: {}, not {}", row.part, row.version, row.newest);
    }
    let due = due(&table, calendar::today());
    ensure!(
        due.is_empty(),
        "to look at again in docs/maintained.md:\n  {}",
        due.join("\n  ")
    );
    println!("{} parts are maintained today", rows(&table).count());
    Ok(())
}

/// A row: a part and its version in this repository, and the dates after which the row has to be reviewed.
struct Part<'a> {
    part: &'a str,
    version: &'a str,
    newest: &'a str,
    looked_up: &'a str,
    until: &'a str,
}

impl Part<'_> {
    fn is_newest(&self) -> bool {
        match self.newest {
            "" => false,
            "computed" => rust_release(self.version).is_some(),
            newest => self.version.contains(newest),
        }
    }
}

/// The rows with seven cells, the second of which is code.
fn rows(table: &str) -> impl Iterator<Item = Part<'_>> {
    table.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells[..] {
            ["", part, version, _, newest, looked_up, until, _, ""] if version.starts_with('`') => {
                Some(Part {
                    part,
                    version,
                    newest,
                    looked_up,
                    until,
                })
            }
            _ => None,
        }
    })
}

/// The parts that have to be reviewed on a day, with a line for each reason.
fn due(table: &str, today: i64) -> Vec<String> {
    let mut due = Vec::new();
    for row in rows(table) {
        // An invalid date in one row does not hide the others.
        let reasons = reasons(&row, today).unwrap_or_else(|error| vec![error.to_string()]);
        due.extend(
            reasons
                .iter()
                .map(|reason| format!("{}: {reason}", row.part)),
        );
    }
    due
}

/// The reasons to review a row.
fn reasons(row: &Part<'_>, today: i64) -> anyhow::Result<Vec<String>> {
    let mut reasons = Vec::new();
    if row.newest.is_empty() {
        reasons.push("no newest version".to_owned());
    }
    if row.until != "no date" && day(row.until)? < today {
        reasons.push(format!("supported until {}", row.until));
    }
    if day(row.looked_up)? + LOOKED_UP < today {
        let looked_up = row.looked_up;
        reasons.push(format!(
            "looked up on {looked_up}, more than {LOOKED_UP} days ago"
        ));
    }
    if let Some(minor) = rust_release(row.version) {
        let newest = calendar::newest_rust(today);
        if minor + 2 <= newest {
            reasons.push(format!("1.{minor}, and the newest is 1.{newest}"));
        }
    }
    Ok(reasons)
}

/// The minor version of Rust in a base image such as `rust:1.95-slim`, or of CI such as `RUSTUP_TOOLCHAIN: "1.95"`.
fn rust_release(version: &str) -> Option<i64> {
    let prefixes = ["`rust:1.", "`RUSTUP_TOOLCHAIN: \"1."];
    let minor = prefixes
        .iter()
        .find_map(|prefix| version.strip_prefix(prefix))?;
    let (minor, _) = minor.split_once(['-', '"'])?;
    minor.parse().ok()
}

/// Days from 1970-01-01 to a date.
///
/// # Errors
/// If the text is not a date such as 2026-11-30.
fn day(date: &str) -> anyhow::Result<i64> {
    calendar::day(date).with_context(|| {
        format!("invalid date \"{date}\" in docs/maintained.md: expected one such as 2026-11-30")
    })
}

#[cfg(test)]
mod tests {
    use super::{day, due, rows};

    const TABLE: &str = include_str!("../../docs/maintained.md");

    fn due_on(date: &str, cells: &str) -> Vec<String> {
        let table =
            format!("| part | version |\n|---|---|\n| A | {cells} | s |\n\n| D | 2020-01-01 |\n");
        due(&table, day(date).expect("a date"))
    }

    #[test]
    fn a_part_is_due_after_its_date_and_45_days_after_it_was_looked_up() {
        let cells = "`1` | `x` | 1 | 2026-11-01 | 2026-11-23";
        assert_eq!(due_on("2026-11-23", cells), [""; 0]);
        assert_eq!(
            due_on("2026-11-24", cells),
            ["A: supported until 2026-11-23"]
        );
        let cells = "`1` | `x` | 1 | 2026-11-01 | no date";
        assert_eq!(due_on("2026-12-16", cells), [""; 0]);
        assert_eq!(
            due_on("2026-12-17", cells),
            ["A: looked up on 2026-11-01, more than 45 days ago"]
        );
    }

    #[test]
    fn the_rust_of_the_images_is_due_once_it_is_two_releases_behind() {
        for version in ["`rust:1.95-slim`", "`RUSTUP_TOOLCHAIN: \"1.95\"`"] {
            let cells = format!("{version} | `x` | computed | 2026-06-01 | no date");
            assert_eq!(due_on("2026-07-08", &cells), [""; 0]);
            let found = due_on("2026-07-09", &cells);
            assert_eq!(found, ["A: 1.95, and the newest is 1.97"]);
        }
    }

    #[test]
    fn each_row_that_fails_is_printed_beside_the_others() {
        let table = "| A | `1` | `x` | 1 | soon | no date | s |\n\
            | B | `1` | `x` | | 2026-11-01 | no date | s |\n\
            | C | `1` | `x` | 1 | 2026-11-01 | 2026-11-02 | s |\n";
        let found = due(table, day("2026-11-30").expect("a date"));
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(
            found[0].starts_with("A: invalid date \"soon\""),
            "{found:?}"
        );
        assert_eq!(
            found[1..],
            ["B: no newest version", "C: supported until 2026-11-02"]
        );
    }

    #[test]
    fn a_newest_version_is_named_or_computed_for_rust_only() {
        let is_newest = |version, newest| {
            let table = format!("| A | {version} | `x` | {newest} | 2026-11-01 | no date | s |");
            rows(&table).next().expect("a row").is_newest()
        };
        assert!(is_newest("`postgres:18`", "18") && is_newest("`rust:1.95-slim`", "computed"));
        assert!(!is_newest("`postgres:18`", "") && !is_newest("`postgres:18`", "computed"));
    }

    #[test]
    fn every_row_names_the_newest_version_or_why_it_does_not() {
        assert!(rows(TABLE).count() > 20);
        for line in TABLE.lines() {
            let Some(row) = rows(line).next() else {
                continue;
            };
            let told = row.is_newest() || line.contains("Not taken: ");
            assert!(told, "{}: the newest is {}", row.part, row.newest);
            day(row.looked_up).expect("a date");
            assert!(
                row.until == "no date" || day(row.until).is_ok(),
                "{}",
                row.part
            );
        }
    }
}
