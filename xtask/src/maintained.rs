//! `cargo xtask maintained`: fails when a dependency in docs/maintained.md is past its end of support.

use std::fs;
use std::process::Command;

use anyhow::{Context, ensure};

pub(crate) fn run() -> anyhow::Result<()> {
    let table = fs::read_to_string(crate::root().join("docs/maintained.md"))?;
    let output = Command::new("date").args(["-u", "+%F"]).output()?;
    let today = String::from_utf8(output.stdout).context("date prints a date")?;
    let past = past(&table, today.trim());
    ensure!(
        past.is_empty(),
        "no longer maintained, by docs/maintained.md:\n  {}",
        past.join("\n  ")
    );
    println!("{} parts are maintained today", rows(&table).count());
    Ok(())
}

/// The parts and their dates: the rows of five cells, of which one names a version.
fn rows(table: &str) -> impl Iterator<Item = (&str, &str)> {
    table.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match cells[..] {
            ["", part, version, _, until, _, ""] if version.starts_with('`') => Some((part, until)),
            _ => None,
        }
    })
}

/// Dates are written so that they sort; "no date" is after all of them.
fn past(table: &str, today: &str) -> Vec<String> {
    rows(table)
        .filter(|(_, until)| *until < today)
        .map(|(part, until)| format!("{part}: until {until}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{past, rows};

    #[test]
    fn what_is_past_its_date_is_told_and_the_rest_is_not() {
        let table = "| part | version | in | until | source |\n|---|---|---|---|---|\n\
                     | A | `1` | `x` | 2026-11-23 | s |\n| B | `1` | `x` | 2026-11-24 | s |\n\
                     | C | `1` | `x` | no date | s |\n\n| base | until |\n|---|---|\n| D | 2020-01-01 |\n";
        assert_eq!(past(table, "2026-11-24"), ["A: until 2026-11-23"]);
    }

    #[test]
    fn every_row_has_a_date_or_says_that_there_is_none() {
        let table = include_str!("../../docs/maintained.md");
        assert!(rows(table).count() > 20);
        for (part, until) in rows(table) {
            let date = until.len() == 10 && until.starts_with("20");
            assert!(date || until == "no date", "{part}: {until}");
        }
    }
}
