//! Parses OpenTelemetry's environment variables, as strictly as the settings.
//!
//! According to the standard, most invalid values should be ignored. Here they are errors, because a
//! missing trace gives no hint of the reason.

use std::ffi::OsString;
use std::time::Duration;

use http::{HeaderMap, Uri};

#[cfg(not(feature = "tls"))]
use crate::no_tls::NoTls as Tls;
use crate::reader::{InvalidVariables, Signal, Variable, VariableReader};
use crate::sampling::Sampling;
#[cfg(feature = "tls")]
use crate::tls::Tls;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// The collector of a signal, and how to send to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Collector {
    pub(crate) endpoint: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) gzip: bool,
    /// Timeout of an export, with all its attempts.
    pub(crate) timeout: Duration,
    /// For an `https://` endpoint.
    pub(crate) tls: Option<Tls>,
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

/// The parsed variables of the export of logs.
#[derive(Debug, PartialEq)]
pub(crate) struct LogVariables {
    pub(crate) collector: Collector,
    pub(crate) resource: ResourceVariables,
    /// The maximum number of records in one request to the collector.
    pub(crate) batch: usize,
    /// The time a record waits for others of its batch.
    pub(crate) delay: Duration,
}

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

/// Parses the variables of the export of logs, like [`traces`]. The setting `logs.buffer` takes the place of
/// `OTEL_BLRP_MAX_QUEUE_SIZE`.
///
/// # Errors
/// If variables are invalid, with the errors of all of them.
pub(crate) fn logs(
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<LogVariables>, InvalidVariables> {
    let mut reader = VariableReader::new(variable, Signal::Logs);
    let Some(mut collector) = reader.collector() else {
        return reader.finish(None);
    };
    let timeout = reader.millis("OTEL_BLRP_EXPORT_TIMEOUT", 30_000);
    collector.timeout = collector.timeout.min(timeout);
    let batch = reader.number("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", 512, 1);
    let variables = LogVariables {
        collector,
        resource: reader.resource(),
        batch: usize::try_from(batch).unwrap_or(usize::MAX),
        delay: reader.millis("OTEL_BLRP_SCHEDULE_DELAY", 1000),
    };
    reader.finish(Some(variables))
}

impl VariableReader<'_> {
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
        if let Some(Variable { name, value }) = self.of_signal("PROTOCOL")
            && value != "http/protobuf"
        {
            self.fault(
                &name,
                &value,
                "`http/protobuf`, the only supported protocol (collectors accept it on port 4318)",
            );
        }
        let compression = self.of_signal("COMPRESSION");
        if let Some(Variable { name, value }) = &compression
            && !["gzip", "none"].contains(&&**value)
        {
            self.fault(name, value, "`gzip` or `none`");
        }
        let headers = self.of_signal("HEADERS");
        let headers = headers.map(|given| self.headers(&given.name, &given.value));
        let timeout = match self.of_signal("TIMEOUT") {
            Some(given) => self.millis(&given.name, 10_000),
            None => Duration::from_secs(10),
        };
        let is_tls = endpoint.as_ref().and_then(Uri::scheme_str) == Some("https");
        let tls = if is_tls { self.tls() } else { None };
        Some(Collector {
            tls,
            endpoint: endpoint.unwrap_or_default(),
            headers: headers.unwrap_or_default(),
            gzip: compression.is_some_and(|given| given.value == "gzip"),
            timeout,
        })
    }

    fn resource(&mut self) -> ResourceVariables {
        ResourceVariables {
            service_name: self.text("OTEL_SERVICE_NAME"),
            attributes: self.attributes(),
        }
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
        // Before the URL is parsed, because a password may make it invalid, or end the authority with a `/`.
        if value.contains('@') {
            // The value is not repeated, because it may contain a password.
            self.wrong.push(format!(
                "environment variable {name}: the URL contains `@`, expected a user and password in \
                 OTEL_EXPORTER_OTLP_HEADERS, and `%40` in a path"
            ));
            return None;
        }
        let uri = url.parse::<Uri>().ok();
        let is_complete = |uri: &Uri| {
            let authority = uri.authority().filter(|all| !all.host().is_empty());
            // `Uri` ignores a port that is not a number up to 65535.
            authority.is_some_and(|all| all.as_str() == all.host() || all.port_u16().is_some())
        };
        let Some(uri) = uri.filter(is_complete) else {
            self.fault(name, &value, "a URL such as \"http://collector:4318\"");
            return None;
        };
        match uri.scheme_str() {
            Some("http") => Some(uri),
            Some("https") if Tls::IS_SUPPORTED => Some(uri),
            Some("https") => {
                self.fault(
                    name,
                    &value,
                    "a URL that begins with http://, because this program has no TLS: enable the feature `tls` of \
                     axum-chassis-otlp, or send to a collector beside the service, and let that collector forward \
                     with TLS",
                );
                None
            }
            _ => {
                self.fault(name, &value, "a URL that begins with http:// or https://");
                None
            }
        }
    }

    fn tls(&mut self) -> Option<Tls> {
        let authority = self.of_signal("CERTIFICATE");
        let certificate = self.of_signal("CLIENT_CERTIFICATE");
        let key = self.of_signal("CLIENT_KEY");
        let client = match (&certificate, &key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (Some(alone), None) | (None, Some(alone)) => {
                self.wrong.push(format!(
                    "environment variable {}: set alone, expected the client certificate in \
                     OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and its key in OTEL_EXPORTER_OTLP_CLIENT_KEY",
                    alone.name
                ));
                return None;
            }
        };
        let tls = Tls::new(authority.as_ref(), client);
        tls.map_err(|error| self.wrong.push(error)).ok()
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
    fn headers_are_decoded_and_those_for_the_signal_and_the_last_of_a_name_take_precedence() {
        let given = right(&[
            (ENDPOINT, "http://a"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=lost"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
                " Authorization = Bearer%20x%3D%3D , b=1, b=c=d ,",
            ),
        ]);
        let headers = &given.collector.headers;
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["authorization"], "Bearer x==");
        assert_eq!(headers["b"], "c=d");
        assert!(!format!("{given:?}").contains("Bearer"), "{given:?}");
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn an_https_endpoint_without_the_feature_for_tls_is_an_error() {
        let error = reading(&[(ENDPOINT, "https://a")]).expect_err("no TLS");
        let error = error.to_string();
        assert!(
            error.contains(ENDPOINT) && error.contains("the feature `tls`"),
            "{error}"
        );
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
