//! Converts the metrics of the registry to those of OTLP.
//!
//! The names are those of `/metrics`. Where OpenTelemetry's semantic conventions define the metric or the attribute, their
//! name is used. A collector that exposes the metric for Prometheus restores the name of `/metrics`.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use axum_chassis::prometheus::proto::{self, LabelPair, MetricFamily, MetricType};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

/// The metric that the semantic conventions for HTTP servers define, with all attributes that they require.
const DURATION: (&str, &str) = (
    "http_server_request_duration_seconds",
    "http.server.request.duration",
);
/// The route of a request that no route matched.
const UNMATCHED: &str = "unmatched";

/// The time span of an export, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) start: u64,
    pub(crate) now: u64,
}

/// Converts metrics with their values since the start of the process. Summaries are left out: the `prometheus` crate has
/// none.
pub(crate) fn cumulative(families: &[MetricFamily], times: Times) -> Vec<Metric> {
    families
        .iter()
        .filter_map(|family| metric(family, times))
        .collect()
}

fn metric(family: &MetricFamily, times: Times) -> Option<Metric> {
    let is_duration = family.name() == DURATION.0;
    let attributes = |metric: &proto::Metric| attributes(metric.get_label(), is_duration);
    let all = family.get_metric().iter();
    let number = |metric: &proto::Metric, value| NumberDataPoint {
        attributes: attributes(metric),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        value: Some(Number::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: all
                .map(|metric| number(metric, metric.get_counter().get_value()))
                // NaN is the value of a counter that cannot be read.
                .filter(
                    |point| !matches!(point.value, Some(Number::AsDouble(value)) if value.is_nan()),
                )
                .collect(),
            aggregation_temporality,
            is_monotonic: true,
        }),
        MetricType::GAUGE => Data::Gauge(Gauge {
            data_points: all
                .map(|metric| NumberDataPoint {
                    // A gauge has no beginning.
                    start_time_unix_nano: 0,
                    ..number(metric, metric.get_gauge().get_value())
                })
                .collect(),
        }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: all
                .map(|metric| histogram(metric.get_histogram(), attributes(metric), times))
                .collect(),
            aggregation_temporality,
        }),
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    Some(Metric {
        name: if is_duration {
            DURATION.1
        } else {
            family.name()
        }
        .to_owned(),
        description: family.help().to_owned(),
        unit: unit(family.name()).to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

/// The current time in nanoseconds since 1970, as OTLP has times.
pub(crate) fn now_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or_default()
}

/// The unit that the name of a metric ends with, as Prometheus recommends. A collector that exposes the metric for
/// Prometheus appends the unit only to names without it.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    match name.rsplit_once('_') {
        Some((_, "seconds")) => "s",
        Some((_, "bytes")) => "By",
        _ => "",
    }
}

fn histogram(
    histogram: &proto::Histogram,
    attributes: Vec<KeyValue>,
    times: Times,
) -> HistogramDataPoint {
    let buckets = histogram.get_bucket().iter();
    let buckets = buckets.filter(|bucket| bucket.upper_bound().is_finite());
    let count = histogram.get_sample_count();
    let mut below = 0;
    let mut bucket_counts = Vec::new();
    let mut explicit_bounds = Vec::new();
    for bucket in buckets {
        explicit_bounds.push(bucket.upper_bound());
        // Prometheus counts the values below the bound, and OTLP those within the bucket.
        bucket_counts.push(bucket.cumulative_count().saturating_sub(below));
        below = bucket.cumulative_count();
    }
    bucket_counts.push(count.saturating_sub(below));
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        count,
        sum: Some(histogram.get_sample_sum()),
        bucket_counts,
        explicit_bounds,
        ..HistogramDataPoint::default()
    }
}

fn attributes(labels: &[LabelPair], is_duration: bool) -> Vec<KeyValue> {
    let convert = |label: &LabelPair| {
        let text = || Value::StringValue(label.value().to_owned());
        Some(match label.name() {
            "http_request_method" => attribute("http.request.method", text()),
            // According to the conventions, the attribute is left out if there is no route.
            "http_route" if label.value() == UNMATCHED => return None,
            "http_route" => attribute("http.route", text()),
            "http_response_status_code" => attribute(
                "http.response.status_code",
                label
                    .value()
                    .parse()
                    .map_or_else(|_| text(), Value::IntValue),
            ),
            name => attribute(name, text()),
        })
    };
    let scheme = || attribute("url.scheme", Value::StringValue("http".to_owned()));
    let scheme = is_duration.then(scheme);
    // The conventions require it for an error, and the span of the request has the same value.
    let error = |label: &LabelPair| {
        let is_error =
            label.name() == "http_response_status_code" && label.value().starts_with('5');
        let status = || Value::StringValue(label.value().to_owned());
        (is_duration && is_error).then(|| attribute("error.type", status()))
    };
    let error = labels.iter().find_map(error);
    let converted = labels.iter().filter_map(convert);
    converted.chain(scheme).chain(error).collect()
}

pub(crate) fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

/// The values of counters and histograms at the last export that the collector accepted. The next export contains the
/// difference to them, so a failed export loses nothing.
#[derive(Debug, Default)]
pub(crate) struct Baseline(HashMap<String, Point>);

#[derive(Clone, Debug)]
enum Point {
    Counter(f64),
    Histogram(HistogramDataPoint),
}

impl Baseline {
    /// Replaces the values of counters and histograms with the differences. Returns their current values, for the case
    /// that the collector accepts the differences. `since` is the time of the last accepted export.
    pub(crate) fn subtract(&self, metrics: &mut [Metric], since: u64) -> Self {
        let temporality = AggregationTemporality::Delta.into();
        let mut current = HashMap::new();
        for metric in metrics {
            let name = metric.name.clone();
            let key = |attributes: &[KeyValue]| format!("{name}{attributes:?}");
            match &mut metric.data {
                Some(Data::Sum(sum)) => {
                    sum.aggregation_temporality = temporality;
                    for point in &mut sum.data_points {
                        let key = key(&point.attributes);
                        point.start_time_unix_nano = since;
                        let Some(Number::AsDouble(value)) = &mut point.value else {
                            continue;
                        };
                        let new = *value;
                        if let Some(Point::Counter(old)) = self.0.get(&key)
                            // A smaller value means that the counter began again at zero.
                            && *old <= new
                        {
                            *value = new - old;
                        }
                        current.insert(key, Point::Counter(new));
                    }
                }
                Some(Data::Histogram(histogram)) => {
                    histogram.aggregation_temporality = temporality;
                    for point in &mut histogram.data_points {
                        let key = key(&point.attributes);
                        let new = point.clone();
                        point.start_time_unix_nano = since;
                        if let Some(Point::Histogram(old)) = self.0.get(&key)
                            && old.count <= new.count
                        {
                            subtract(point, old);
                        }
                        current.insert(key, Point::Histogram(new));
                    }
                }
                _ => {}
            }
        }
        // A series may be missing in one export only, so its difference is still that to its last value.
        for (key, old) in &self.0 {
            if !current.contains_key(key) {
                current.insert(key.clone(), old.clone());
            }
        }
        Self(current)
    }
}

fn subtract(point: &mut HistogramDataPoint, old: &HistogramDataPoint) {
    point.count -= old.count;
    point.sum = point.sum.zip(old.sum).map(|(new, old)| new - old);
    for (new, old) in point.bucket_counts.iter_mut().zip(&old.bucket_counts) {
        *new = new.saturating_sub(*old);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use axum_chassis::metrics::Metrics;

    use super::*;

    const TIMES: Times = Times { start: 1, now: 2 };

    fn converted(metrics: &Metrics) -> Vec<Metric> {
        cumulative(&metrics.prometheus_registry().gather(), TIMES)
    }

    fn named<'a>(metrics: &'a [Metric], name: &str) -> &'a Metric {
        let metric = metrics.iter().find(|metric| metric.name == name);
        metric.unwrap_or_else(|| panic!("no {name} in {metrics:#?}"))
    }

    fn sum(metric: &Metric) -> (&Sum, f64) {
        let Some(Data::Sum(sum)) = &metric.data else {
            panic!("{metric:?}");
        };
        let Some(Number::AsDouble(value)) = sum.data_points[0].value else {
            panic!("{metric:?}");
        };
        (sum, value)
    }

    fn buckets(metric: &Metric) -> &HistogramDataPoint {
        let Some(Data::Histogram(histogram)) = &metric.data else {
            panic!("{metric:?}");
        };
        &histogram.data_points[0]
    }

    fn texts(attributes: &[KeyValue]) -> Vec<(&str, String)> {
        let text =
            |value: &Option<AnyValue>| match value.as_ref().and_then(|any| any.value.as_ref()) {
                Some(Value::StringValue(text)) => text.clone(),
                Some(Value::IntValue(number)) => format!("int {number}"),
                other => panic!("{other:?}"),
            };
        let pair = |pair: &KeyValue| text(&pair.value);
        attributes
            .iter()
            .map(|one| (&*one.key, pair(one)))
            .collect()
    }

    #[test]
    fn a_metric_keeps_its_kind_name_labels_and_value() {
        let metrics = Metrics::new();
        let orders = metrics.counter_with("orders_total", "Orders.", ["kind"]);
        orders.expect("valid").with(["express"]).inc_by(3);
        metrics.gauge("level", "Level.").expect("valid").set(-1.5);
        let sizes = metrics
            .histogram("sizes", "Sizes.", &[1.0, 2.0])
            .expect("valid");
        for size in [0.5, 1.0, 1.5, 9.0, 9.0] {
            sizes.observe(size);
        }
        let all = converted(&metrics);
        let (orders, value) = sum(named(&all, "orders_total"));
        assert!(orders.is_monotonic);
        assert_eq!(
            orders.aggregation_temporality(),
            AggregationTemporality::Cumulative
        );
        assert_eq!(value, 3.0);
        let point = &orders.data_points[0];
        assert_eq!(texts(&point.attributes), [("kind", "express".to_owned())]);
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1, 2));
        let Some(Data::Gauge(gauge)) = &named(&all, "level").data else {
            panic!("a gauge");
        };
        assert_eq!(gauge.data_points[0].value, Some(Number::AsDouble(-1.5)));
        let sizes = buckets(named(&all, "sizes"));
        assert_eq!(sizes.explicit_bounds, [1.0, 2.0]);
        assert_eq!(sizes.bucket_counts, [2, 1, 2]);
        assert_eq!((sizes.count, sizes.sum), (5, Some(21.0)));
    }

    #[test]
    fn the_duration_of_requests_follows_the_semantic_conventions() {
        let metrics = Metrics::new();
        let labels = [
            "http_request_method",
            "http_response_status_code",
            "http_route",
        ];
        let durations = metrics.histogram_with(DURATION.0, "Durations.", &[1.0], labels);
        let durations = durations.expect("valid");
        durations.with(["GET", "404", UNMATCHED]).observe(0.5);
        durations.with(["GET", "503", "/"]).observe(0.5);
        let all = converted(&metrics);
        let duration = named(&all, "http.server.request.duration");
        assert_eq!(duration.unit, "s");
        let Some(Data::Histogram(histogram)) = &duration.data else {
            panic!("{duration:?}");
        };
        let points = histogram.data_points.iter();
        let attributes: Vec<_> = points.map(|point| texts(&point.attributes)).collect();
        let not_found = [
            ("http.request.method", "GET"),
            ("http.response.status_code", "int 404"),
            ("url.scheme", "http"),
        ];
        let unavailable = [
            ("http.request.method", "GET"),
            ("http.response.status_code", "int 503"),
            ("http.route", "/"),
            ("url.scheme", "http"),
            ("error.type", "503"),
        ];
        let expected = [&not_found[..], &unavailable].map(|pairs| {
            let owned = pairs.iter().map(|(key, value)| (*key, (*value).to_owned()));
            owned.collect::<Vec<_>>()
        });
        assert_eq!(attributes, expected);
    }

    #[test]
    fn a_counter_without_a_value_is_left_out_and_not_counted_twice() {
        let metrics = Metrics::new();
        let value = Arc::new(Mutex::new(5.0));
        let read = value.clone();
        let read = move || *read.lock().expect("not poisoned");
        let registered = metrics.counter_fn("reads_total", "Reads.", &[], read);
        registered.expect("valid");
        let mut base = Baseline::default();
        for (new, difference) in [(5.0, Some(5.0)), (f64::NAN, None), (7.0, Some(2.0))] {
            *value.lock().expect("not poisoned") = new;
            let mut export = converted(&metrics);
            base = base.subtract(&mut export, 1);
            let Some(Data::Sum(sum)) = &named(&export, "reads_total").data else {
                panic!("{export:?}");
            };
            let point = sum.data_points.first();
            let exported = point.and_then(|point| point.value);
            assert_eq!(exported, difference.map(Number::AsDouble), "{new}");
        }
    }

    #[test]
    fn a_difference_counts_from_the_last_accepted_export() {
        let metrics = Metrics::new();
        let orders = metrics.counter("orders_total", "Orders.").expect("valid");
        let sizes = metrics.histogram("sizes", "Sizes.", &[1.0]).expect("valid");
        metrics.gauge("level", "Level.").expect("valid").set(7.0);
        let first = Baseline::default();
        orders.inc_by(3);
        sizes.observe(0.5);
        let mut export = converted(&metrics);
        let second = first.subtract(&mut export, 1);
        assert_eq!(sum(named(&export, "orders_total")).1, 3.0);
        orders.inc_by(2);
        sizes.observe(5.0);
        // The first export failed, then it was accepted.
        for (base, counted, bucket_counts) in [(&first, 5.0, [1, 1]), (&second, 2.0, [0, 1])] {
            let mut export = converted(&metrics);
            base.subtract(&mut export, 9);
            let (orders, value) = sum(named(&export, "orders_total"));
            assert_eq!(orders.data_points[0].start_time_unix_nano, 9);
            assert_eq!(buckets(named(&export, "sizes")).start_time_unix_nano, 9);
            assert_eq!(
                orders.aggregation_temporality(),
                AggregationTemporality::Delta
            );
            assert_eq!(value, counted);
            assert_eq!(
                buckets(named(&export, "sizes")).bucket_counts,
                bucket_counts
            );
            assert!(matches!(named(&export, "level").data, Some(Data::Gauge(_))));
        }
    }
}
