//! Families as text: Prometheus' own format, and OpenMetrics.

use std::fmt::Write as _;
use std::io::Write as _;

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Prometheus,
    OpenMetrics,
}

/// The families in the format that `accept` prefers, and its content type.
pub(super) fn encode(families: &[MetricFamily], accept: Option<&str>) -> (&'static str, String) {
    let open = quality(accept, "application/openmetrics-text");
    let (format, content_type) = match open > 0.0 && open >= quality(accept, "text/plain") {
        true => (Format::OpenMetrics, OPEN_METRICS),
        false => (Format::Prometheus, PROMETHEUS),
    };
    let mut out = String::with_capacity(16 * 1024);
    for family in families {
        write_family(&mut out, format, family);
    }
    if format == Format::OpenMetrics {
        out.push_str("# EOF\n");
    }
    (content_type, out)
}

/// Whether an `accept-encoding` header asks for gzip.
pub fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    quality(accept_encoding, "gzip") > 0.0
}

/// `text`, compressed with little effort: a scrape is read once.
pub fn gzip(text: &[u8]) -> Vec<u8> {
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

fn write_family(out: &mut String, format: Format, family: &MetricFamily) {
    let open = format == Format::OpenMetrics;
    let kind = family.get_field_type();
    let (type_name, counter) = match kind {
        MetricType::COUNTER => ("counter", true),
        MetricType::GAUGE => ("gauge", false),
        MetricType::HISTOGRAM => ("histogram", false),
        MetricType::SUMMARY => ("summary", false),
        // No collector of the crate makes these.
        MetricType::UNTYPED => return,
    };
    // OpenMetrics names a counter without the `_total` that its samples end in.
    let full = family.name();
    let name = match open && counter {
        true => full.strip_suffix("_total").unwrap_or(full),
        false => full,
    };
    out.push_str("# HELP ");
    out.push_str(name);
    out.push(' ');
    push_escaped(out, family.help(), open);
    out.push_str("\n# TYPE ");
    out.push_str(name);
    out.push(' ');
    out.push_str(type_name);
    out.push('\n');
    let total = if open && counter { "_total" } else { "" };
    for metric in family.get_metric() {
        let plain = |out: &mut String, value| sample(out, name, total, metric, None, value);
        match kind {
            MetricType::COUNTER => plain(out, metric.get_counter().get_value()),
            MetricType::GAUGE => plain(out, metric.get_gauge().get_value()),
            MetricType::HISTOGRAM => write_histogram(out, name, metric),
            MetricType::SUMMARY => write_summary(out, name, metric),
            MetricType::UNTYPED => {}
        }
    }
}

fn write_histogram(out: &mut String, name: &str, metric: &Metric) {
    let histogram = metric.get_histogram();
    let count = histogram.get_sample_count() as f64;
    let mut infinite = false;
    for bucket in histogram.get_bucket() {
        let bound = bucket.upper_bound();
        infinite |= bound == f64::INFINITY;
        let count = bucket.cumulative_count() as f64;
        sample(out, name, "_bucket", metric, Some(("le", bound)), count);
    }
    if !infinite {
        sample(
            out,
            name,
            "_bucket",
            metric,
            Some(("le", f64::INFINITY)),
            count,
        );
    }
    sample(out, name, "_sum", metric, None, histogram.get_sample_sum());
    sample(out, name, "_count", metric, None, count);
}

fn write_summary(out: &mut String, name: &str, metric: &Metric) {
    let summary = metric.get_summary();
    for quantile in summary.get_quantile() {
        let label = Some(("quantile", quantile.quantile()));
        sample(out, name, "", metric, label, quantile.value());
    }
    sample(out, name, "_sum", metric, None, summary.sample_sum());
    sample(
        out,
        name,
        "_count",
        metric,
        None,
        summary.sample_count() as f64,
    );
}

fn sample(
    out: &mut String,
    name: &str,
    suffix: &str,
    metric: &Metric,
    extra: Option<(&str, f64)>,
    value: f64,
) {
    out.push_str(name);
    out.push_str(suffix);
    let labels = metric.get_label();
    if !labels.is_empty() || extra.is_some() {
        let mut before = '{';
        for label in labels {
            out.push(before);
            before = ',';
            push_label(out, label);
        }
        if let Some((name, number)) = extra {
            out.push(before);
            out.push_str(name);
            out.push_str("=\"");
            // With a decimal point, in both formats, so that series keep their identity.
            push_number(out, number, true);
            out.push('"');
        }
        out.push('}');
    }
    out.push(' ');
    push_number(out, value, false);
    out.push('\n');
}

fn push_label(out: &mut String, label: &LabelPair) {
    out.push_str(label.name());
    out.push_str("=\"");
    push_escaped(out, label.value(), true);
    out.push('"');
}

fn push_number(out: &mut String, number: f64, point: bool) {
    // Whole numbers that a float holds exactly, which most are.
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
