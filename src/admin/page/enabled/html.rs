//! Builds HTML. [`HtmlText`] escapes all data, so that data is never markup.

use std::fmt::{self, Write};

use serde_json::Value;

use crate::settings::Duration;

/// A page that is being written.
pub(super) struct Page(pub(super) String);

impl Page {
    #[inline(never)]
    pub(super) fn put(&mut self, text: fmt::Arguments<'_>) {
        // Writing into a string does not fail.
        let _ = self.0.write_fmt(text);
    }

    #[inline(never)]
    pub(super) fn section(&mut self, id: &str, title: Option<&str>) {
        self.put(format_args!("<section id=\"{id}\">"));
        if let Some(title) = title {
            self.put(format_args!("<h2>{title}</h2>"));
        }
    }

    /// Begins a table with the titles of its columns. A column whose title ends in `#` contains numbers.
    #[inline(never)]
    pub(super) fn table(&mut self, id: &str, columns: &[&str]) {
        self.put(format_args!(
            "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{id}\">\
             <table id=\"{id}\" class=\"sortable\"><thead><tr>"
        ));
        for column in columns {
            let (class, column) = match column.strip_suffix('#') {
                Some(column) => (" class=\"number\"", column),
                None => ("", *column),
            };
            self.put(format_args!("<th scope=\"col\"{class}>{column}</th>"));
        }
        self.put(format_args!("</tr></thead><tbody>"));
    }

    /// Ends a table and its section.
    #[inline(never)]
    pub(super) fn end_table(&mut self) {
        self.put(format_args!("</tbody></table></div></section>"));
    }

    /// A cell with a number and its unit. For NaN, the cell is empty.
    #[inline(never)]
    pub(super) fn number(&mut self, value: f64, unit: &str) {
        if value.is_nan() {
            return self.put(format_args!("<td></td>"));
        }
        self.put(format_args!(
            "<td class=\"number\" data-value=\"{value}\">{}{unit}</td>",
            Rounded(value)
        ));
    }
}
pub(super) fn class(good: bool) -> &'static str {
    if good { "good" } else { "bad" }
}

pub(super) fn up(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn duration(seconds: f64) -> Duration {
    Duration::from_secs(seconds as u64)
}

/// Formats a number: a whole number without decimals, and any other number with about three significant digits, but
/// never fewer than those before its decimal point.
pub(super) struct Rounded(pub(super) f64);

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.0;
        let digits = match value.abs() {
            _ if value.fract() == 0.0 => 0,
            small if small < 1.0 => 3,
            small if small < 10.0 => 2,
            small if small < 100.0 => 1,
            _ => 0,
        };
        write!(f, "{value:.digits$}")
    }
}

/// The number and the unit of a [`Resource`](super::status::Resource), as the page shows them.
pub(super) fn amount(value: Option<f64>, unit: &'static str) -> (f64, &'static str) {
    let value = value.unwrap_or(f64::NAN);
    match unit {
        "bytes" => (value / 1e6, " MB"),
        "cores" => (value, " cores"),
        _ => (value, ""),
    }
}

/// Formats a JSON value for people: a string has no quotes.
pub(super) struct Shown<'a>(pub(super) &'a Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => HtmlText(text).fmt(f),
            Value::Null => f.write_str("–"),
            other => HtmlText(&other.to_string()).fmt(f),
        }
    }
}

/// Formats text as HTML, with all special characters escaped.
pub(super) struct HtmlText<'a>(pub(super) &'a str);

impl fmt::Display for HtmlText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        let text = HtmlText("<script>alert(\"&\")</script>").to_string();
        assert_eq!(
            text,
            "&lt;script&gt;alert(&quot;&amp;&quot;)&lt;/script&gt;"
        );
    }

    #[test]
    fn numbers_have_significant_digits_only() {
        for (value, shown) in [
            (20.0, "20"),
            (0.1234, "0.123"),
            (4.567, "4.57"),
            (45.67, "45.7"),
            (4567.8, "4568"),
        ] {
            assert_eq!(Rounded(value).to_string(), shown);
        }
    }
}
