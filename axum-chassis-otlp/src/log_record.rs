//! Converts lines of the log to log records of OTLP.

use std::ops::Range;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use serde_json::{Map, Value as Json};

/// Converts a line of JSON. Its message becomes the body, and all fields without a place of their own become attributes.
/// `observed` is in nanoseconds since 1970. A line that is not a JSON object becomes the body as it is: only a
/// `tracing` field that writes JSON itself could make a line invalid.
pub(crate) fn record(line: &[u8], observed: u64) -> LogRecord {
    let Ok(mut fields) = serde_json::from_slice::<Map<String, Json>>(line) else {
        let text = String::from_utf8_lossy(line).into_owned();
        return LogRecord {
            observed_time_unix_nano: observed,
            body: Some(text_value(text)),
            ..LogRecord::default()
        };
    };
    let mut text = |key: &str| match fields.remove(key) {
        Some(Json::String(text)) => text,
        _ => String::new(),
    };
    let time = nanos(&text("timestamp")).unwrap_or(observed);
    let level = text("level");
    let body = text("message");
    let trace_id = bytes(&text("trace_id"), 16);
    let span_id = bytes(&text("span_id"), 8);
    LogRecord {
        time_unix_nano: time,
        observed_time_unix_nano: observed,
        severity_number: severity(&level).into(),
        severity_text: level,
        body: Some(text_value(body)),
        attributes: fields.into_iter().map(attribute).collect(),
        trace_id,
        span_id,
        ..LogRecord::default()
    }
}

fn severity(level: &str) -> SeverityNumber {
    match level {
        "ERROR" => SeverityNumber::Error,
        "WARN" => SeverityNumber::Warn,
        "INFO" => SeverityNumber::Info,
        "DEBUG" => SeverityNumber::Debug,
        "TRACE" => SeverityNumber::Trace,
        _ => SeverityNumber::Unspecified,
    }
}

fn text_value(text: String) -> AnyValue {
    AnyValue {
        value: Some(Value::StringValue(text)),
    }
}

fn attribute((key, value): (String, Json)) -> KeyValue {
    KeyValue {
        key,
        value: Some(any(value)),
        ..KeyValue::default()
    }
}

fn any(value: Json) -> AnyValue {
    let value = match value {
        Json::Null => return AnyValue::default(),
        Json::Bool(is_true) => Value::BoolValue(is_true),
        Json::Number(number) => match (number.as_i64(), number.is_f64()) {
            (Some(whole), _) => Value::IntValue(whole),
            (None, true) => Value::DoubleValue(number.as_f64().unwrap_or_default()),
            // OTLP has no unsigned numbers.
            (None, false) => Value::StringValue(number.to_string()),
        },
        Json::String(text) => Value::StringValue(text),
        Json::Array(all) => Value::ArrayValue(ArrayValue {
            values: all.into_iter().map(any).collect(),
        }),
        Json::Object(fields) => Value::KvlistValue(KeyValueList {
            values: fields.into_iter().map(attribute).collect(),
        }),
    };
    AnyValue { value: Some(value) }
}

/// The bytes of an ID in hexadecimal digits. Empty if it is not an ID of this length: a collector may refuse a whole
/// batch because of one.
fn bytes(digits: &str, length: usize) -> Vec<u8> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes = digits.as_bytes().chunks(2).map(byte);
    let bytes = bytes.collect::<Option<Vec<_>>>().unwrap_or_default();
    if bytes.len() == length {
        bytes
    } else {
        Vec::new()
    }
}

/// The nanoseconds since 1970 of a line's timestamp, `2026-01-31T23:59:59.123456Z`.
fn nanos(timestamp: &str) -> Option<u64> {
    let number = |range: Range<usize>| timestamp.get(range)?.parse::<u64>().ok();
    let [year, month, day] = [number(0..4)?, number(5..7)?, number(8..10)?];
    let [hour, minute, second] = [number(11..13)?, number(14..16)?, number(17..19)?];
    // Civil date to days by Howard Hinnant's algorithm, for years that start in March.
    let year_from_march = year.checked_sub(u64::from(month <= 2))?;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.checked_sub(1)?;
    let days = year_from_march * 365 + year_from_march / 4 - year_from_march / 100
        + year_from_march / 400
        + day_of_year;
    let seconds = days.checked_sub(719_468)? * 86_400 + hour * 3600 + minute * 60 + second;
    let time = Duration::from_secs(seconds) + Duration::from_micros(number(20..26)?);
    u64::try_from(time.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_time_severity_message_fields_and_ids() {
        let line = br#"{"timestamp":"2024-02-29T00:00:01.000002Z","level":"WARN","target":"app","message":"late","rows":7,"ms":1.5,"big":18446744073709551615,"ok":true,"none":null,"all":[1,"a"],"request_id":"r","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7"}"#;
        let record = record(line, 5);
        assert_eq!(record.time_unix_nano, 1_709_164_801_000_002_000);
        assert_eq!(record.observed_time_unix_nano, 5);
        assert_eq!(record.severity_number, 13);
        assert_eq!(record.severity_text, "WARN");
        assert_eq!(record.body, Some(text_value("late".to_owned())));
        assert_eq!(record.trace_id.len(), 16);
        assert_eq!(record.trace_id[0], 0x4b);
        assert_eq!(
            record.span_id,
            [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]
        );
        let text = |text: &str| Some(Value::StringValue(text.to_owned()));
        let attributes: Vec<_> = record
            .attributes
            .into_iter()
            .map(|one| (one.key, one.value.expect("a value").value))
            .collect();
        let array = ["1", "\"a\""].map(|json| any(serde_json::from_str(json).expect("JSON")));
        let expected = [
            (
                "all",
                Some(Value::ArrayValue(ArrayValue {
                    values: array.into(),
                })),
            ),
            ("big", text("18446744073709551615")),
            ("ms", Some(Value::DoubleValue(1.5))),
            ("none", None),
            ("ok", Some(Value::BoolValue(true))),
            ("request_id", text("r")),
            ("rows", Some(Value::IntValue(7))),
            ("target", text("app")),
        ];
        let mut attributes = attributes;
        attributes.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(
            attributes,
            expected.map(|(key, value)| (key.to_owned(), value))
        );
    }

    #[test]
    fn timestamps_are_nanoseconds_since_1970() {
        for (text, expected) in [
            ("1970-01-01T00:00:00.000000Z", Some(0)),
            ("2000-02-29T00:00:00.000001Z", Some(951_782_400_000_001_000)),
            (
                "2024-02-28T23:59:59.999999Z",
                Some(1_709_164_799_999_999_000),
            ),
            (
                "2100-01-01T00:00:00.000005Z",
                Some(4_102_444_800_000_005_000),
            ),
            ("today", None),
        ] {
            assert_eq!(nanos(text), expected, "{text}");
        }
    }

    #[test]
    fn an_id_of_another_length_is_left_out() {
        let line = br#"{"message":"m","trace_id":"4bf9","span_id":"00f067aa0ba902b7ff"}"#;
        let record = record(line, 5);
        assert!(record.trace_id.is_empty() && record.span_id.is_empty());
    }

    #[test]
    fn a_line_that_is_not_json_is_the_body() {
        let record = record(b"plain", 5);
        assert_eq!(record.body, Some(text_value("plain".to_owned())));
    }
}
