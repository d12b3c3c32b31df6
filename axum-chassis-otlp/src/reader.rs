//! Reads single environment variables of OpenTelemetry, and collects the errors of all of them.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

/// A signal of OpenTelemetry.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Traces,
    Metrics,
    Logs,
}

/// A variable that is set.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
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

impl Signal {
    /// The signal in the names of variables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
            Self::Logs => "LOGS",
        }
    }

    /// The path that is appended to the URL for all signals.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Traces => "v1/traces",
            Self::Metrics => "v1/metrics",
            Self::Logs => "v1/logs",
        }
    }
}

/// Reads the variables of a signal.
pub(crate) struct VariableReader<'a> {
    variable: &'a dyn Fn(&str) -> Option<OsString>,
    pub(crate) signal: Signal,
    pub(crate) wrong: Vec<String>,
}

impl<'a> VariableReader<'a> {
    pub(crate) fn new(variable: &'a dyn Fn(&str) -> Option<OsString>, signal: Signal) -> Self {
        Self {
            variable,
            signal,
            wrong: Vec::new(),
        }
    }

    pub(crate) fn finish<T>(self, read: Option<T>) -> Result<Option<T>, InvalidVariables> {
        match self.wrong {
            wrong if wrong.is_empty() => Ok(read),
            wrong => Err(InvalidVariables(wrong)),
        }
    }

    /// A variable's value. According to the standard, an empty variable counts as unset.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
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

    /// A variable that exists in two forms, one for the signal and one for all signals.
    pub(crate) fn of_signal(&mut self, name: &str) -> Option<Variable> {
        let for_signal = format!("OTEL_EXPORTER_OTLP_{}_{name}", self.signal.name());
        let names = [for_signal, format!("OTEL_EXPORTER_OTLP_{name}")];
        names.into_iter().find_map(|name| {
            let value = self.text(&name)?;
            Some(Variable { name, value })
        })
    }

    pub(crate) fn fault(&mut self, name: &str, value: &str, expected: &str) {
        self.wrong.push(format!(
            "environment variable {name}: invalid value {value:?}, expected {expected}"
        ));
    }

    pub(crate) fn number(&mut self, name: &str, default: u64, least: u64) -> u64 {
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

    pub(crate) fn millis(&mut self, name: &str, default: u64) -> Duration {
        Duration::from_millis(self.number(name, default, 1))
    }

    pub(crate) fn headers(&mut self, name: &str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let pairs = value.split(',').filter(|pair| !pair.trim().is_empty());
        for (index, pair) in pairs.enumerate() {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = HeaderName::try_from(key.trim()).ok();
            let key = key.filter(|_| pair.contains('='));
            let value = decode(value.trim()).and_then(|value| HeaderValue::try_from(value).ok());
            if let (Some(key), Some(mut value)) = (&key, value) {
                // It may be a secret, which must not appear in debug output.
                value.set_sensitive(true);
                headers.insert(key, value);
                continue;
            }
            // Only a valid name is repeated. Other text may be a secret, as in "Authorization: Bearer ...".
            let wrong = match key {
                Some(key) => format!("the value of {:?}", key.as_str()),
                None => format!("header {} of the list", index + 1),
            };
            self.wrong.push(format!(
                "environment variable {name}: {wrong} is invalid, \
                 expected \"key=value,key=value\", percent-encoded"
            ));
        }
        headers
    }

    pub(crate) fn attributes(&mut self) -> Vec<(String, String)> {
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
