//! Draws the benchmark's ratios as a bar chart, for bench/README.md.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use super::table::Row;
use super::{CPU, INSTRUCTIONS, PROGRAMS};

const COLOURS: [&str; 4] = ["#8c959f", "#bf8700", "#0969da", "#54aeff"];
const LEFT: f64 = 190.0;
const WIDTH: f64 = 720.0;
const BAR: f64 = 20.0;

/// Draws the rows about the cost of a request as bars, compared with bare axum, and writes the image to `path`.
pub(super) fn write(rows: &[Row], path: &Path) -> Result<()> {
    let shown: Vec<&Row> = rows
        .iter()
        .filter(|row| [CPU, INSTRUCTIONS].contains(&row.name))
        .collect();
    let longest = shown
        .iter()
        .flat_map(|row| &row.ratios)
        .copied()
        .fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - 70.0) / longest;
    let mut body = String::new();
    let mut y = 10.0;
    for row in shown {
        y += 18.0;
        write!(
            body,
            "<text x=\"8\" y=\"{y}\" class=\"title\">{}, bare axum = 1</text>",
            row.name
        )?;
        y += 8.0;
        for ((program, ratio), colour) in PROGRAMS.iter().zip(&row.ratios).zip(COLOURS) {
            let (text, width) = (y + 14.0, ratio * scale);
            let end = LEFT + width + 6.0;
            write!(
                body,
                "<text x=\"{:.0}\" y=\"{text:.0}\" text-anchor=\"end\">{}</text>\
                 <rect x=\"{LEFT}\" y=\"{y:.0}\" width=\"{width:.0}\" height=\"{BAR}\" fill=\"{colour}\"/>\
                 <text x=\"{end:.0}\" y=\"{text:.0}\">{ratio:.2}</text>",
                LEFT - 8.0,
                program.name
            )?;
            y += BAR + 4.0;
        }
    }
    let height = y + 10.0;
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height:.0}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\" role=\"img\">\
         <title>What a request costs</title>\
         <style>text {{ fill: #1f2328 }} .title {{ font-weight: 600 }}\
         @media (prefers-color-scheme: dark) {{ text {{ fill: #e6edf3 }} }}</style>{body}</svg>\n"
    );
    Ok(std::fs::write(path, svg)?)
}
