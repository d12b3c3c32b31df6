//! Parses OpenTelemetry's environment variables, as strictly as the settings.
//!
//! According to the standard, most invalid values should be ignored. Here they are errors, because a
//! missing trace gives no hint of the reason.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::sampling::Sampling;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// A signal of OpenTelemetry.
#[derive(Clone, Copy, Debug)]
enum Signal {
    Traces,
    Metrics,
}

/// The collector of a signal, and how to send to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Collector {
    pub(crate) endpoint: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) gzip: bool,
    /// Timeout of an export, with all its attempts.
    pub(crate) timeout: Duration,
}

/// The resource attributes in environment variables.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ResourceVariables {
    pub(crate) service_name: Option<String>,
    pub(crate) attributes: Vec<(String, String)>,
}

/// The parsed variables of the export of traces.
#[derive(Debug, PartialEq)]
pub(crate) struct TraceVariables {
    pub(crate) collector: Collector,
    pub(crate) resource: ResourceVariables,
    pub(crate) sampling: Sampling,
    /// The maximum number of waiting spans.
    pub(crate) queue: usize,
    /// The maximum number of spans in one request to the collector.
    pub(crate) batch: usize,
    /// The time a span waits for others of its batch.
    pub(crate) delay: Duration,
}

/// The parsed variables of the export of metrics.
#[derive(Debug, PartialEq)]
pub(crate) struct MetricVariables {
    pub(crate) collector: Collector,
    pub(crate) resource: ResourceVariables,
    /// The time from one export to the next.
    pub(crate) interval: Duration,
    /// Whether counters and histograms are sent as the difference to the previous export.
    pub(crate) is_delta: bool,
}

/// The errors of all invalid variables, one line for each.
#[derive(Debug)]
pub(crate) struct InvalidVariables(Vec<String>);

impl fmt::Display for InvalidVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for InvalidVariables {}

/// Parses the variables of the export of traces. `variable` returns the value of a variable by name. Returns `None` if
/// nothing is to be exported.
///
/// # Errors
/// If variables are invalid, with the errors of all of them.
pub(crate) fn traces(
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<TraceVariables>, InvalidVariables> {
    let mut reader = VariableReader::new(variable, Signal::Traces);
    let Some(mut collector) = reader.collector() else {
        return reader.finish(None);
    };
    collector.timeout = (collector.timeout).min(reader.millis("OTEL_BSP_EXPORT_TIMEOUT", 30_000));
    let queue = reader.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1);
    let batch = reader.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", queue.min(512), 1);
    if batch > queue {
        reader.fault(
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
            &batch.to_string(),
            &format!("no more than OTEL_BSP_MAX_QUEUE_SIZE, {queue}"),
        );
    }
    let variables = TraceVariables {
        collector,
        resource: reader.resource(),
        sampling: reader.sampling(),
        queue: usize::try_from(queue).unwrap_or(usize::MAX),
        batch: usize::try_from(batch).unwrap_or(usize::MAX),
        delay: reader.millis("OTEL_BSP_SCHEDULE_DELAY", 5000),
    };
    reader.finish(Some(variables))
}

/// Parses the variables of the export of metrics, like [`traces`].
///
/// # Errors
/// If variables are invalid, with the errors of all of them.
pub(crate) fn metrics(
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<MetricVariables>, InvalidVariables> {
    let mut reader = VariableReader::new(variable, Signal::Metrics);
    let Some(mut collector) = reader.collector() else {
        return reader.finish(None);
    };
    let timeout = reader.millis("OTEL_METRIC_EXPORT_TIMEOUT", 30_000);
    collector.timeout = collector.timeout.min(timeout);
    let name = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
    if let Some(value) = reader.text(name)
        && value != "explicit_bucket_histogram"
    {
        reader.fault(
            name,
            &value,
            "`explicit_bucket_histogram`, the only supported aggregation",
        );
    }
    let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    let temporality = reader.text(name).map(|value| value.to_lowercase());
    let is_delta = match temporality.as_deref() {
        None | Some("cumulative") => false,
        Some("delta") => true,
        Some(value) => {
            reader.fault(name, value, "`cumulative` or `delta`");
            false
        }
    };
    let variables = MetricVariables {
        collector,
        resource: reader.resource(),
        interval: reader.millis("OTEL_METRIC_EXPORT_INTERVAL", 60_000),
        is_delta,
    };
    reader.finish(Some(variables))
}

impl Signal {
    /// The signal in the names of variables.
    fn name(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }

    /// The path that is appended to the URL for all signals.
    fn path(self) -> &'static str {
        match self {
            Self::Traces => "v1/traces",
            Self::Metrics => "v1/metrics",
        }
    }
}

struct VariableReader<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    signal: Signal,
    wrong: Vec<String>,
}

impl<'a> VariableReader<'a> {
    fn new(variable: &'a dyn Fn(&str) -> Option<OsString>, signal: Signal) -> Self {
        Self {
            variable,
            signal,
            wrong: Vec::new(),
        }
    }

    fn finish<T>(self, read: Option<T>) -> Result<Option<T>, InvalidVariables> {
        match self.wrong {
            wrong if wrong.is_empty() => Ok(read),
            wrong => Err(InvalidVariables(wrong)),
        }
    }

    /// The collector of the signal, or `None` if the signal is not exported. If a variable is invalid, the result is
    /// not used.
    fn collector(&mut self) -> Option<Collector> {
        let disabled = self.text("OTEL_SDK_DISABLED");
        if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        let exporter_name = format!("OTEL_{}_EXPORTER", self.signal.name());
        let exporter = self.text(&exporter_name);
        let signal_endpoint = format!("OTEL_EXPORTER_OTLP_{}_ENDPOINT", self.signal.name());
        let given = [&*signal_endpoint, ENDPOINT].map(|name| self.text(name));
        if exporter.as_deref() == Some("none") || given == [None, None] {
            return None;
        }
        if let Some(exporter) = exporter.filter(|exporter| exporter != "otlp") {
            self.fault(&exporter_name, &exporter, "`otlp` or `none`");
        }
        let endpoint = self.endpoint(&signal_endpoint, given);
        if let Some((name, value)) = self.of_signal("PROTOCOL")
            && value != "http/protobuf"
        {
            self.fault(
                &name,
                &value,
                "`http/protobuf`, the only supported protocol (collectors accept it on port 4318)",
            );
        }
        let compression = self.of_signal("COMPRESSION");
        if let Some((name, value)) = &compression
            && !["gzip", "none"].contains(&&**value)
        {
            self.fault(name, value, "`gzip` or `none`");
        }
        let headers = self.of_signal("HEADERS");
        let headers = headers.map(|(name, value)| self.headers(&name, &value));
        let timeout = match self.of_signal("TIMEOUT") {
            Some((name, _)) => self.millis(&name, 10_000),
            None => Duration::from_secs(10),
        };
        Some(Collector {
            endpoint: endpoint.unwrap_or_default(),
            headers: headers.unwrap_or_default(),
            gzip: compression.is_some_and(|(_, value)| value == "gzip"),
            timeout,
        })
    }

    fn resource(&mut self) -> ResourceVariables {
        ResourceVariables {
            service_name: self.text("OTEL_SERVICE_NAME"),
            attributes: self.attributes(),
        }
    }

    /// A variable's value. According to the standard, an empty variable counts as unset.
    fn text(&mut self, name: &str) -> Option<String> {
        let value = (self.variable)(name).filter(|value| !value.is_empty())?;
        match value.into_string() {
            Ok(value) => Some(value.trim().to_owned()),
            Err(_) => {
                self.wrong
                    .push(format!("environment variable {name}: invalid UTF-8"));
                None
            }
        }
    }

    /// The name and the value of a variable that exists in two forms, one for the signal and one for all signals.
    fn of_signal(&mut self, name: &str) -> Option<(String, String)> {
        let for_signal = format!("OTEL_EXPORTER_OTLP_{}_{name}", self.signal.name());
        let names = [for_signal, format!("OTEL_EXPORTER_OTLP_{name}")];
        names.into_iter().find_map(|name| {
            let value = self.text(&name)?;
            Some((name, value))
        })
    }

    fn fault(&mut self, name: &str, value: &str, expected: &str) {
        self.wrong.push(format!(
            "environment variable {name}: invalid value {value:?}, expected {expected}"
        ));
    }

    fn number(&mut self, name: &str, default: u64, least: u64) -> u64 {
        let Some(value) = self.text(name) else {
            return default;
        };
        match value.parse() {
            Ok(number) if number >= least => number,
            _ => {
                self.fault(name, &value, &format!("a whole number from {least}"));
                default
            }
        }
    }

    fn millis(&mut self, name: &str, default: u64) -> Duration {
        Duration::from_millis(self.number(name, default, 1))
    }

    fn endpoint(&mut self, name: &str, [own, all]: [Option<String>; 2]) -> Option<Uri> {
        // The URL for the signal is used unchanged; the URL for all signals gets a path.
        let (name, value, url) = match (own, all) {
            (Some(own), _) => (name, own.clone(), own),
            (None, Some(all)) => {
                let url = format!("{}/{}", all.trim_end_matches('/'), self.signal.path());
                (ENDPOINT, all, url)
            }
            (None, None) => return None,
        };
        let uri = url.parse::<Uri>().ok();
        let host = |uri: &Uri| uri.host().is_some_and(|host| !host.is_empty());
        let Some(uri) = uri.filter(host) else {
            self.fault(name, &value, "a URL such as \"http://collector:4318\"");
            return None;
        };
        if uri
            .authority()
            .is_some_and(|host| host.as_str().contains('@'))
        {
            // The value is not repeated, because it may contain a password.
            self.wrong.push(format!(
                "environment variable {name}: the URL has a user or password, expected them in OTEL_EXPORTER_OTLP_HEADERS"
            ));
            return None;
        }
        match uri.scheme_str() {
            Some("http") => Some(uri),
            Some("https") => {
                self.fault(
                    name,
                    &value,
                    "a URL that begins with http://, because the export has no TLS: send to a \
                     collector beside the service, and let that collector forward with TLS",
                );
                None
            }
            _ => {
                self.fault(name, &value, "a URL that begins with http://");
                None
            }
        }
    }

    fn headers(&mut self, name: &str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for pair in value.split(',').filter(|pair| !pair.trim().is_empty()) {
            let header = pair.split_once('=').and_then(|(key, value)| {
                let key = HeaderName::try_from(key.trim()).ok()?;
                let mut value = HeaderValue::try_from(decode(value.trim())?).ok()?;
                // It may be a secret, which must not appear in debug output.
                value.set_sensitive(true);
                Some((key, value))
            });
            if header.is_none() {
                let key = pair.split_once('=').map_or("", |(key, _)| key.trim());
                // The value is not repeated: it may be a secret.
                self.wrong.push(format!(
                    "environment variable {name}: invalid header {key:?}, \
                     expected \"key=value,key=value\", percent-encoded"
                ));
            }
            headers.extend(header);
        }
        headers
    }

    fn attributes(&mut self) -> Vec<(String, String)> {
        const NAME: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let Some(value) = self.text(NAME) else {
            return Vec::new();
        };
        let pairs = value.split(',').filter(|pair| !pair.trim().is_empty());
        let pairs = pairs.map(|pair| {
            let (key, value) = pair.split_once('=')?;
            let key = decode(key.trim()).filter(|key| !key.is_empty())?;
            Some((key, decode(value.trim())?))
        });
        pairs.collect::<Option<_>>().unwrap_or_else(|| {
            self.fault(
                NAME,
                &value,
                "attributes as in \"key=value,key=value\", percent-encoded",
            );
            Vec::new()
        })
    }

    fn sampling(&mut self) -> Sampling {
        let name = self.text(SAMPLER);
        let name = name.as_deref().unwrap_or("parentbased_always_on");
        Sampling::named(name, || self.ratio()).unwrap_or_else(|| {
            self.fault(
                SAMPLER,
                name,
                "`always_on`, `always_off` or `traceidratio`, or one of them after `parentbased_`",
            );
            Sampling::NONE
        })
    }

    fn ratio(&mut self) -> f64 {
        let Some(value) = self.text(SAMPLER_ARG) else {
            return 1.0;
        };
        match value.parse() {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                self.fault(SAMPLER_ARG, &value, "a ratio from 0 to 1");
                1.0
            }
        }
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(variables: &[(&str, &str)]) -> Result<Option<TraceVariables>, InvalidVariables> {
        traces(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    fn right(variables: &[(&str, &str)]) -> TraceVariables {
        reading(variables).expect("right").expect("an export")
    }

    #[test]
    fn only_an_endpoint_enables_the_export() {
        assert_eq!(reading(&[]).expect("right"), None);
        let unset = [(ENDPOINT, ""), ("OTEL_TRACES_EXPORTER", "otlp")];
        assert_eq!(reading(&unset).expect("right"), None);
        let disabled = [(ENDPOINT, "http://a"), ("OTEL_SDK_DISABLED", "TRUE")];
        assert_eq!(reading(&disabled).expect("right"), None);
        // According to the standard, every value except `true` means false.
        let enabled = [(ENDPOINT, "http://a"), ("OTEL_SDK_DISABLED", "1")];
        right(&enabled);
    }

    #[test]
    fn an_endpoint_for_all_signals_is_not_yet_the_one_for_traces() {
        for (name, value, endpoint) in [
            (ENDPOINT, "http://a:4318", "http://a:4318/v1/traces"),
            (
                ENDPOINT,
                "http://a:4318/otlp/",
                "http://a:4318/otlp/v1/traces",
            ),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "http://a:4318",
                "http://a:4318/",
            ),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "http://[::1]/x",
                "http://[::1]/x",
            ),
        ] {
            assert_eq!(
                right(&[(name, value)]).collector.endpoint.to_string(),
                endpoint
            );
        }
    }

    #[test]
    fn variables_that_are_not_set_have_the_standards_defaults() {
        let plain = right(&[(ENDPOINT, "http://a")]);
        assert_eq!(plain.sampling.to_string(), "parentbased_always_on");
        assert_eq!(plain.collector.timeout, Duration::from_secs(10));
        assert_eq!((plain.queue, plain.batch), (2048, 512));
        assert_eq!(plain.delay, Duration::from_secs(5));
        let some = right(&[
            (ENDPOINT, "http://a"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2000"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            (SAMPLER, "traceidratio"),
        ]);
        assert_eq!(some.collector.timeout, Duration::from_secs(2));
        assert_eq!((some.queue, some.batch), (100, 100));
        assert_eq!(some.sampling.to_string(), "traceidratio 1");
    }

    #[test]
    fn headers_are_decoded_and_those_for_the_signal_take_precedence() {
        let given = right(&[
            (ENDPOINT, "http://a"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=lost"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
                " Authorization = Bearer%20x%3D%3D , b=c=d ,",
            ),
        ]);
        let headers = &given.collector.headers;
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["authorization"], "Bearer x==");
        assert_eq!(headers["b"], "c=d");
        assert!(!format!("{given:?}").contains("Bearer"), "{given:?}");
    }

    #[test]
    fn metrics_have_variables_of_their_own() {
        let read = |variables: &[(&str, &str)]| {
            let given = metrics(&|name| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| OsString::from(value))
            });
            given.map_err(|invalid| invalid.to_string())
        };
        let temporality = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
        let aggregation = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
        let plain = read(&[(ENDPOINT, "http://a"), ("OTEL_TRACES_EXPORTER", "none")]);
        let plain = plain.expect("right").expect("an export");
        assert_eq!(plain.collector.endpoint.to_string(), "http://a/v1/metrics");
        assert_eq!(plain.collector.timeout, Duration::from_secs(10));
        assert_eq!(plain.interval, Duration::from_secs(60));
        assert!(!plain.is_delta);
        let some = read(&[
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://a/x"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
            ("OTEL_METRIC_EXPORT_TIMEOUT", "2000"),
            (temporality, "Delta"),
            (aggregation, "explicit_bucket_histogram"),
        ]);
        let some = some.expect("right").expect("an export");
        assert_eq!(some.collector.endpoint.to_string(), "http://a/x");
        assert_eq!(some.collector.timeout, Duration::from_secs(2));
        assert_eq!(some.interval, Duration::from_secs(5));
        assert!(some.is_delta);
        for off in [
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_SDK_DISABLED", "true"),
        ] {
            assert_eq!(read(&[(ENDPOINT, "http://a"), off]), Ok(None));
        }
        for (name, value, expected) in [
            (temporality, "lowmemory", "`cumulative` or `delta`"),
            (
                aggregation,
                "base2_exponential_bucket_histogram",
                "the only supported",
            ),
            ("OTEL_METRICS_EXPORTER", "prometheus", "`otlp` or `none`"),
            (
                "OTEL_METRIC_EXPORT_INTERVAL",
                "60s",
                "a whole number from 1",
            ),
        ] {
            let error = read(&[(ENDPOINT, "http://a"), (name, value)]).expect_err(name);
            let named = error.contains(name) && error.contains(value);
            assert!(named && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn attributes_are_decoded_whole_or_not_at_all() {
        let attributes = |value| {
            let variables = [(ENDPOINT, "http://a"), ("OTEL_RESOURCE_ATTRIBUTES", value)];
            reading(&variables).map(|read| read.expect("an export").resource.attributes)
        };
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let read = attributes("a=1, b = %C3%A4%2C ,c=x=y,").expect("right");
        assert_eq!(
            read,
            [pair("a", "1"), pair("b", "\u{e4},"), pair("c", "x=y")]
        );
        for wrong in ["a", "=1", "a=%zz", "a=%f", "a=%ff"] {
            assert!(attributes(wrong).is_err(), "{wrong}");
        }
    }
}
