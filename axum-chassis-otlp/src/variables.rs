//! Parses OpenTelemetry's environment variables, as strictly as the settings.
//!
//! According to the standard, most invalid values should be ignored. Here they are errors, because a
//! missing trace gives no hint of the reason.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

use crate::sampling::Sampling;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const SAMPLER_ARG: &str = "OTEL_TRACES_SAMPLER_ARG";

/// The parsed variables.
#[derive(Debug, PartialEq)]
pub(crate) struct Variables {
    pub(crate) endpoint: Uri,
    /// Timeout of the export of a batch.
    pub(crate) timeout: Duration,
    pub(crate) sampling: Sampling,
    /// The maximum number of waiting spans.
    pub(crate) queue: usize,
    /// The maximum number of spans in one request to the collector.
    pub(crate) batch: usize,
    /// The time a span waits for others of its batch.
    pub(crate) delay: Duration,
    pub(crate) service_name: Option<String>,
    pub(crate) attributes: Vec<(String, String)>,
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

/// Parses the variables, which `variable` returns by name. Returns `None` if nothing is to be exported.
///
/// # Errors
/// If variables are invalid, with the errors of all of them.
pub(crate) fn read(
    variable: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Option<Variables>, InvalidVariables> {
    let mut reader = VariableReader {
        variable,
        wrong: Vec::new(),
    };
    let disabled = reader.text("OTEL_SDK_DISABLED");
    if disabled.is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let exporter = reader.text("OTEL_TRACES_EXPORTER");
    let given = [TRACES_ENDPOINT, ENDPOINT].map(|name| reader.text(name));
    if exporter.as_deref() == Some("none") || given == [None, None] {
        return Ok(None);
    }
    if let Some(exporter) = exporter.filter(|exporter| exporter != "otlp") {
        reader.fault("OTEL_TRACES_EXPORTER", &exporter, "`otlp` or `none`");
    }
    let endpoint = reader.endpoint(given);
    reader.of_traces("PROTOCOL", |reader, name, value| {
        if value != "http/protobuf" {
            reader.fault(
                name,
                &value,
                "`http/protobuf`, which collectors take on port 4318: there is no other here",
            );
        }
    });
    reader.of_traces("COMPRESSION", |reader, name, value| {
        if !["gzip", "none"].contains(&&*value) {
            reader.fault(name, &value, "`gzip` or `none`");
        }
    });
    reader.of_traces("HEADERS", VariableReader::headers);
    let mut timeout = 10_000;
    reader.of_traces("TIMEOUT", |reader, name, _| {
        timeout = reader.number(name, timeout, 1);
    });
    let timeout = timeout.min(reader.number("OTEL_BSP_EXPORT_TIMEOUT", 30_000, 1));
    let queue = reader.number("OTEL_BSP_MAX_QUEUE_SIZE", 2048, 1);
    let batch = reader.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", queue.min(512), 1);
    if batch > queue {
        reader.fault(
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
            &batch.to_string(),
            &format!("no more than OTEL_BSP_MAX_QUEUE_SIZE, {queue}"),
        );
    }
    let variables = Variables {
        endpoint: endpoint.unwrap_or_default(),
        timeout: Duration::from_millis(timeout),
        sampling: reader.sampling(),
        queue: usize::try_from(queue).unwrap_or(usize::MAX),
        batch: usize::try_from(batch).unwrap_or(usize::MAX),
        delay: Duration::from_millis(reader.number("OTEL_BSP_SCHEDULE_DELAY", 5000, 1)),
        service_name: reader.text("OTEL_SERVICE_NAME"),
        attributes: reader.attributes(),
    };
    match reader.wrong {
        wrong if wrong.is_empty() => Ok(Some(variables)),
        wrong => Err(InvalidVariables(wrong)),
    }
}

struct VariableReader<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    wrong: Vec<String>,
}

impl VariableReader<'_> {
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

    /// Reads a variable that exists in two forms, one for traces and one for all signals.
    fn of_traces(&mut self, name: &str, mut read: impl FnMut(&mut Self, &str, String)) {
        let names = ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"];
        for name in names.map(|prefix| format!("{prefix}{name}")) {
            if let Some(value) = self.text(&name) {
                return read(self, &name, value);
            }
        }
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

    fn endpoint(&mut self, [traces, all]: [Option<String>; 2]) -> Option<Uri> {
        // The URL for traces is used unchanged; the URL for all signals gets a path.
        let (name, value, url) = match (traces, all) {
            (Some(traces), _) => (TRACES_ENDPOINT, traces.clone(), traces),
            (None, Some(all)) => {
                let url = format!("{}/v1/traces", all.trim_end_matches('/'));
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
                    "a URL that begins with http://, as the export has no TLS: send to a collector \
                     beside the service, which sends on with TLS",
                );
                None
            }
            _ => {
                self.fault(name, &value, "a URL that begins with http://");
                None
            }
        }
    }

    /// Validates the headers. The exporter reads them itself, and would ignore invalid ones.
    fn headers(&mut self, name: &str, value: String) {
        for pair in value.split(',').filter(|pair| !pair.trim().is_empty()) {
            let header = pair.split_once('=').and_then(|(key, value)| {
                HeaderName::try_from(key.trim()).ok()?;
                HeaderValue::try_from(decode(value.trim())?).ok()
            });
            if header.is_none() {
                let key = pair.split_once('=').map_or("", |(key, _)| key.trim());
                // The value is not repeated: it may be a secret.
                self.wrong.push(format!(
                    "environment variable {name}: invalid header {key:?}, \
                     expected \"key=value,key=value\", percent-encoded"
                ));
            }
        }
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

    fn reading(variables: &[(&str, &str)]) -> Result<Option<Variables>, InvalidVariables> {
        read(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    fn right(variables: &[(&str, &str)]) -> Variables {
        reading(variables).expect("right").expect("an export")
    }

    #[test]
    fn only_an_endpoint_enables_the_export() {
        assert_eq!(reading(&[]).expect("right"), None);
        let unset = [(ENDPOINT, ""), ("OTEL_TRACES_EXPORTER", "otlp")];
        assert_eq!(reading(&unset).expect("right"), None);
        let disabled = [(ENDPOINT, "http://a"), ("OTEL_SDK_DISABLED", "TRUE")];
        assert_eq!(reading(&disabled).expect("right"), None);
        // According to the standard, every value except `true` is false.
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
            (TRACES_ENDPOINT, "http://a:4318", "http://a:4318/"),
            (TRACES_ENDPOINT, "http://[::1]/x", "http://[::1]/x"),
        ] {
            assert_eq!(right(&[(name, value)]).endpoint.to_string(), endpoint);
        }
    }

    #[test]
    fn variables_that_are_not_set_have_the_standards_defaults() {
        let plain = right(&[(ENDPOINT, "http://a")]);
        assert_eq!(plain.sampling.to_string(), "parentbased_always_on");
        assert_eq!(plain.timeout, Duration::from_secs(10));
        assert_eq!((plain.queue, plain.batch), (2048, 512));
        assert_eq!(plain.delay, Duration::from_secs(5));
        let some = right(&[
            (ENDPOINT, "http://a"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "3000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2000"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "100"),
            (SAMPLER, "traceidratio"),
        ]);
        assert_eq!(some.timeout, Duration::from_secs(2));
        assert_eq!((some.queue, some.batch), (100, 100));
        assert_eq!(some.sampling.to_string(), "traceidratio 1");
    }

    #[test]
    fn attributes_are_decoded_whole_or_not_at_all() {
        let attributes = |value| {
            let variables = [(ENDPOINT, "http://a"), ("OTEL_RESOURCE_ATTRIBUTES", value)];
            reading(&variables).map(|read| read.expect("an export").attributes)
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
