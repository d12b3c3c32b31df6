//! Encodes metrics in Prometheus' text format and in OpenMetrics.

use std::fmt::Write as _;
use std::io::Write as _;

use prometheus::proto::{Histogram, LabelPair, MetricFamily, MetricType, Summary};

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Copy, PartialEq, Eq)]
enum TextFormat {
    Prometheus,
    OpenMetrics,
}

/// Returns the content type of the format that `accept` prefers, and the families in that format.
pub(super) fn encode(families: &[MetricFamily], accept: Option<&str>) -> (&'static str, String) {
    let open = quality(accept, "application/openmetrics-text");
    let (format, content_type) = match open > 0.0 && open >= quality(accept, "text/plain") {
        true => (TextFormat::OpenMetrics, OPEN_METRICS),
        false => (TextFormat::Prometheus, PROMETHEUS),
    };
    let mut text = TextEncoder {
        out: String::with_capacity(16 * 1024),
        format,
        labels: String::new(),
        bounds: Vec::new(),
    };
    for family in families {
        text.push_family(family);
    }
    if format == TextFormat::OpenMetrics {
        text.out.push_str("# EOF\n");
    }
    (content_type, text.out)
}

/// Whether an `accept-encoding` header asks for gzip.
pub(crate) fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    quality(accept_encoding, "gzip") > 0.0
}

/// `text`, compressed with little effort: a scrape is read once.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let out = Vec::with_capacity(text.len() / 8);
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
    // Writing to a `Vec` does not fail.
    let _ = encoder.write_all(text);
    encoder.finish().unwrap_or_default()
}

/// The weight that a header such as `a;q=0.5, b` gives to `wanted`; 0 if it is not named.
fn quality(header: Option<&str>, wanted: &str) -> f32 {
    let mut best: f32 = 0.0;
    for choice in header.unwrap_or_default().split(',') {
        let mut parts = choice.split(';').map(str::trim);
        if parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(wanted))
        {
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            best = best.max(weight.map_or(1.0, |q| q.parse().unwrap_or(0.0)));
        }
    }
    best
}

/// Writes families as text: the text so far, the labels of the current metric, and a cache of bucket bounds.
struct TextEncoder {
    out: String,
    format: TextFormat,
    /// The labels of a metric, which each of its samples has.
    labels: String,
    /// A cache of bucket bounds and their text: most histograms of a family have the same bounds.
    bounds: Vec<(f64, String)>,
}

impl TextEncoder {
    fn push_family(&mut self, family: &MetricFamily) {
        let open = self.format == TextFormat::OpenMetrics;
        let kind = family.get_field_type();
        let (type_name, counter) = match kind {
            MetricType::COUNTER => ("counter", true),
            MetricType::GAUGE => ("gauge", false),
            MetricType::HISTOGRAM => ("histogram", false),
            MetricType::SUMMARY => ("summary", false),
            // No collector of the crate `prometheus` creates an untyped metric.
            MetricType::UNTYPED => return,
        };
        // OpenMetrics names a counter without the `_total` that its samples end in.
        let full = family.name();
        let name = match open && counter {
            true => full.strip_suffix("_total").unwrap_or(full),
            false => full,
        };
        self.out.push_str("# HELP ");
        self.out.push_str(name);
        self.out.push(' ');
        push_escaped(&mut self.out, family.help(), open);
        self.out.push_str("\n# TYPE ");
        self.out.push_str(name);
        self.out.push(' ');
        self.out.push_str(type_name);
        self.out.push('\n');
        let total = if open && counter { "_total" } else { "" };
        for metric in family.get_metric() {
            self.labels.clear();
            for label in metric.get_label() {
                push_label(&mut self.labels, label);
            }
            match kind {
                MetricType::COUNTER => self.push(name, total, metric.get_counter().get_value()),
                MetricType::GAUGE => self.push(name, total, metric.get_gauge().get_value()),
                MetricType::HISTOGRAM => self.push_histogram(name, metric.get_histogram()),
                MetricType::SUMMARY => self.push_summary(name, metric.get_summary()),
                MetricType::UNTYPED => {}
            }
        }
    }

    fn push_histogram(&mut self, name: &str, histogram: &Histogram) {
        let count = histogram.get_sample_count() as f64;
        let buckets = histogram.get_bucket();
        for (place, bucket) in buckets.iter().enumerate() {
            let bound = bucket.upper_bound();
            if self.bounds.get(place).is_none_or(|known| known.0 != bound) {
                self.bounds.truncate(place);
                self.bounds.push((bound, number(bound)));
            }
            self.begin(name, "_bucket");
            push_last_label(&mut self.out, &self.labels, "le", &self.bounds[place].1);
            self.end(bucket.cumulative_count() as f64);
        }
        let infinite = |bucket: &prometheus::proto::Bucket| bucket.upper_bound() == f64::INFINITY;
        if !buckets.iter().any(infinite) {
            self.begin(name, "_bucket");
            push_last_label(&mut self.out, &self.labels, "le", "+Inf");
            self.end(count);
        }
        self.push(name, "_sum", histogram.get_sample_sum());
        self.push(name, "_count", count);
    }

    fn push_summary(&mut self, name: &str, summary: &Summary) {
        for quantile in summary.get_quantile() {
            let place = number(quantile.quantile());
            self.begin(name, "");
            push_last_label(&mut self.out, &self.labels, "quantile", &place);
            self.end(quantile.value());
        }
        self.push(name, "_sum", summary.sample_sum());
        self.push(name, "_count", summary.sample_count() as f64);
    }

    /// Writes a sample with the labels of its metric.
    #[inline(never)]
    fn push(&mut self, name: &str, suffix: &str, value: f64) {
        self.begin(name, suffix);
        if let Some(labels) = self.labels.strip_suffix(',') {
            self.out.push('{');
            self.out.push_str(labels);
            self.out.push('}');
        }
        self.end(value);
    }

    fn begin(&mut self, name: &str, suffix: &str) {
        self.out.push_str(name);
        self.out.push_str(suffix);
    }

    #[inline(never)]
    fn end(&mut self, value: f64) {
        self.out.push(' ');
        push_number(&mut self.out, value, false);
        self.out.push('\n');
    }
}

/// Writes all labels of the metric, followed by a label that only this sample has: `le` or `quantile`.
#[inline(never)]
fn push_last_label(out: &mut String, labels: &str, name: &str, value: &str) {
    out.push('{');
    out.push_str(labels);
    out.push_str(name);
    out.push_str("=\"");
    out.push_str(value);
    out.push_str("\"}");
}

/// Writes a label, followed by a comma.
fn push_label(out: &mut String, label: &LabelPair) {
    out.push_str(label.name());
    out.push_str("=\"");
    push_escaped(out, label.value(), true);
    out.push_str("\",");
}

/// Formats a number as the value of `le` or `quantile`. Both formats have the decimal point (`1.0`), so that a series is the same
/// in both.
fn number(number: f64) -> String {
    let mut text = String::new();
    push_number(&mut text, number, true);
    text
}

fn push_number(out: &mut String, number: f64, point: bool) {
    // Most numbers are whole, and small enough that a float represents them exactly.
    let whole = number as i64;
    if whole as f64 == number && whole.unsigned_abs() < 1 << 53 {
        out.push_str(itoa::Buffer::new().format(whole));
        if point {
            out.push_str(".0");
        }
    } else if number.is_infinite() {
        out.push_str(if number > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        // Writing to a `String` does not fail.
        let _ = write!(out, "{number:?}");
    }
}

#[inline(never)]
fn push_escaped(out: &mut String, text: &str, quotes: bool) {
    if !text.contains(['\\', '\n', '"']) {
        return out.push_str(text);
    }
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_used_only_if_accepted() {
        for (header, accepted) in [
            (Some("gzip"), true),
            (Some("br, GZIP;q=0.5"), true),
            (Some("gzip;q=0"), false),
            (Some("identity"), false),
            (None, false),
        ] {
            assert_eq!(accepts_gzip(header), accepted, "{header:?}");
        }
    }
}
