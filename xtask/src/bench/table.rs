//! Prints a table with one column for each program.

use std::fmt::Write as _;

use anyhow::Result;

use super::programs::Program;

pub(super) struct Row {
    pub(super) name: &'static str,
    unit: &'static str,
    decimals: usize,
    pub(super) values: Vec<f64>,
    /// The ratios to the first program's values.
    pub(super) ratios: Vec<f64>,
    shows_ratios: bool,
}

// === impl Row ===

impl Row {
    /// Medians of the rounds, and medians of the ratios within each round.
    pub(super) fn of_turns<T>(
        name: &'static str,
        unit: &'static str,
        decimals: usize,
        turns: &[Vec<T>],
        of: fn(&T) -> f64,
    ) -> Self {
        let rounds: Vec<Vec<f64>> = turns
            .iter()
            .map(|turns| turns.iter().map(of).collect())
            .collect();
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
            unit,
            decimals,
            values: rounds.iter().map(|values| median(values)).collect(),
            ratios: rounds.iter().map(ratio).collect(),
            shows_ratios: false,
        }
    }

    pub(super) fn per_program(
        name: &'static str,
        unit: &'static str,
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
            unit,
            decimals,
            ratios: values.iter().map(|value| value / values[0]).collect(),
            values,
            shows_ratios: false,
        })
    }

    /// Adds a row with the ratios to the first program's values.
    pub(super) fn with_ratio(mut self) -> Self {
        self.shows_ratios = true;
        self
    }
}

/// A Markdown table.
pub(super) fn render(programs: &[Program], rows: &[Row]) -> String {
    let mut out = String::from("| |");
    for program in programs {
        let _ = write!(out, " {} |", program.name);
    }
    out.push_str("\n|---|");
    out.push_str(&"---:|".repeat(programs.len()));
    for row in rows {
        let _ = write!(out, "\n| {} |", row.name);
        for value in &row.values {
            let cell = format!("{} {}", number(*value, row.decimals), row.unit);
            let _ = write!(out, " {} |", cell.trim_end());
        }
        if row.shows_ratios {
            out.push_str("\n| divided by bare axum's in the same round |");
            for ratio in &row.ratios {
                let _ = write!(out, " {ratio:.2} |");
            }
        }
    }
    out.push('\n');
    out
}

/// A number with a comma between thousands.
pub(super) fn number(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + fraction
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
