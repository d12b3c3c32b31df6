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
    use std::process::Command;

    use super::{past, rows};

    #[test]
    fn parts_past_their_date_are_reported_and_others_are_not() {
        let table = "| part | version | in | until | source |\n|---|---|---|---|---|\n\
                     | A | `1` | `x` | 2026-11-23 | s |\n| B | `1` | `x` | 2026-11-24 | s |\n\
                     | C | `1` | `x` | no date | s |\n\n| base | until |\n|---|---|\n| D | 2020-01-01 |\n";
        assert_eq!(past(table, "2026-11-24"), ["A: until 2026-11-23"]);
    }

    /// 1.95 was released on 2026-04-16, and each release follows six weeks after the one before it.
    #[test]
    fn the_rust_of_the_images_is_past_its_date_once_it_is_two_releases_behind() {
        let table = include_str!("../../docs/maintained.md");
        let row = table
            .lines()
            .find(|line| line.starts_with("| Rust, in the images |"))
            .expect("a row");
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let version = cells[2].trim_start_matches("`rust:1.");
        let minor: u32 = version
            .split('-')
            .next()
            .and_then(|minor| minor.parse().ok())
            .expect("a release");
        let days = (minor + 2 - 95) * 42 - 1;
        let date = Command::new("date")
            .args(["-u", "+%F", "-d", &format!("2026-04-16 + {days} days")])
            .output()
            .expect("date starts");
        assert_eq!(
            cells[4],
            String::from_utf8(date.stdout).expect("a date").trim()
        );
    }

    #[test]
    fn every_row_has_a_date_or_states_that_none_exists() {
        let table = include_str!("../../docs/maintained.md");
        assert!(rows(table).count() > 20);
        for (part, until) in rows(table) {
            let date = until.len() == 10 && until.starts_with("20");
            assert!(date || until == "no date", "{part}: {until}");
        }
    }
}
