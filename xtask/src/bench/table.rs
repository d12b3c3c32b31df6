//! Prints a table with one column for each program.

use std::fmt::Write as _;

use anyhow::Result;

use super::programs::Program;

pub(super) struct Row {
    pub(super) name: &'static str,
    decimals: usize,
    pub(super) values: Vec<f64>,
    /// To the first program's.
    pub(super) ratios: Vec<f64>,
}

// === impl Row ===

impl Row {
    /// Medians of the rounds, and medians of the ratios within each round.
    pub(super) fn of_rounds(name: &'static str, decimals: usize, rounds: Vec<Vec<f64>>) -> Self {
        let ratio = |values: &Vec<f64>| {
            let ratios: Vec<f64> = values
                .iter()
                .zip(&rounds[0])
                .map(|(one, bare)| one / bare)
                .collect();
            median(&ratios)
        };
        Self {
            name,
            decimals,
            values: rounds.iter().map(|values| median(values)).collect(),
            ratios: rounds.iter().map(ratio).collect(),
        }
    }

    pub(super) fn per_program(
        name: &'static str,
        decimals: usize,
        programs: &[Program],
        measure: impl Fn(Program) -> Result<f64>,
    ) -> Result<Self> {
        let values: Vec<f64> = programs
            .iter()
            .map(|program| measure(*program))
            .collect::<Result<_>>()?;
        Ok(Self {
            name,
            decimals,
            ratios: values.iter().map(|value| value / values[0]).collect(),
            values,
        })
    }
}

/// A Markdown table, with ratios to the first program behind the numbers.
pub(super) fn render(programs: &[Program], rows: &[Row]) -> String {
    let mut out = String::from("| |");
    for program in programs {
        let _ = write!(out, " {} |", program.name);
    }
    out.push_str("\n|---|");
    out.push_str(&"---:|".repeat(programs.len()));
    for Row {
        name,
        decimals,
        values,
        ratios,
    } in rows
    {
        let _ = write!(out, "\n| {name} |");
        for (column, (value, ratio)) in values.iter().zip(ratios).enumerate() {
            let _ = match column {
                0 => write!(out, " {value:.decimals$} |"),
                _ => write!(out, " {value:.decimals$} ({ratio:.2}×) |"),
            };
        }
    }
    out.push('\n');
    out
}

pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2.0,
    }
}
