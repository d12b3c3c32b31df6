//! Values with a unit: `"30s"`, `"2MiB"`. To `config` they are strings.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value as Json;

pub(crate) const DURATION: &str = "human-duration";
pub(crate) const SIZE: &str = "human-size";

/// A length of time in settings: `"250ms"`, `"30s"`, `"1h30m"`.
///
/// ```
/// use axum_chassis_settings::Duration;
///
/// let timeout: Duration = "1m30s".parse()?;
/// assert_eq!(timeout.as_secs(), 90);
/// assert_eq!(timeout.to_string(), "90s");
/// # Ok::<(), axum_chassis_settings::InvalidUnit>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a number with a unit, and no more"
)]
pub struct Duration(pub std::time::Duration);

/// A number of bytes in settings: `"2MiB"`, `"512kB"`, or plainly `1024`.
///
/// `KiB`, `MiB` and `GiB` (also `Ki`, `Mi`, `Gi`) count in 1024s; `kB`, `MB` and `GB` in 1000s.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a number with a unit, and no more"
)]
pub struct Size(pub u64);

/// Text that is not a [`Duration`] or not a [`Size`]; its `Display` is the expected form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUnit(&'static str);

pub(crate) const DURATION_EXPECTED: &str = r#"a duration such as "30s", "250ms" or "1h30m""#;
pub(crate) const SIZE_EXPECTED: &str = r#"a size such as "2MiB", "512KiB" or "1GB""#;

/// A hundred years, in seconds. Adding a longer duration to the current time may overflow, and panics.
const LONGEST: u64 = 36_500 * 86_400;

/// Nanoseconds, from the largest unit to the smallest.
const TIMES: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

// === impl Duration ===

impl Duration {
    /// A duration of this many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// A duration of this many milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(std::time::Duration::from_millis(milliseconds))
    }
}

fn parse_duration(text: &str) -> Option<std::time::Duration> {
    let mut units = TIMES.iter();
    let mut nanos = 0;
    let mut rest = text;
    loop {
        let (number, after) = split_digits(rest)?;
        let (unit, after) = match after.find(|c: char| c.is_ascii_digit()) {
            Some(end) => after.split_at(end),
            None => (after, ""),
        };
        // Units have to become smaller, because "1s1h" and "1s1s" are mistakes and not sums: the search continues after
        // the previous unit.
        let (_, size) = units.find(|(name, _)| *name == unit)?;
        nanos += u128::from(number) * size;
        if after.is_empty() {
            break;
        }
        rest = after;
    }
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    if seconds > LONGEST {
        return None;
    }
    Some(std::time::Duration::new(
        seconds,
        (nanos % 1_000_000_000) as u32,
    ))
}

impl fmt::Display for Duration {
    /// Writes the number in the largest unit that divides it, so that the text is parsed as the same duration. A single
    /// unit, as in "90m", is easier to read than a combination of units.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_exactly(f, self.0.as_nanos(), &TIMES, "s")
    }
}

// === impl Size ===

impl Size {
    /// A size of this many mebibytes.
    pub const fn from_mib(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_digits(text)?;
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    number.checked_mul(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        _ => return None,
    })
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        write_exactly(f, self.0.into(), &units, "B")
    }
}

// === both ===

fn split_digits(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    Some((digits.parse().ok()?, rest))
}

/// Writes the number in the first unit that divides it. Zero, and a number that no unit divides, is written in `last`.
fn write_exactly(
    f: &mut fmt::Formatter<'_>,
    number: u128,
    units: &[(&str, u128)],
    last: &str,
) -> fmt::Result {
    let mut units = units.iter().copied();
    let divides = |(_, size): &(&str, u128)| number != 0 && number.is_multiple_of(*size);
    let (unit, size) = units.find(divides).unwrap_or((last, 1));
    write!(f, "{}{unit}", number / size)
}

/// The common implementations: both are written as text, and dereference to their content.
macro_rules! unit {
    ($unit:ident, $inner:ty, $parse:ident, $number:expr, $expected:ident, $schema:tt) => {
        impl FromStr for $unit {
            type Err = InvalidUnit;

            fn from_str(text: &str) -> Result<Self, InvalidUnit> {
                $parse(text).map(Self).ok_or(InvalidUnit($expected))
            }
        }

        impl fmt::Debug for $unit {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Deref for $unit {
            type Target = $inner;

            fn deref(&self) -> &$inner {
                &self.0
            }
        }

        impl From<$inner> for $unit {
            fn from(inner: $inner) -> Self {
                Self(inner)
            }
        }

        impl From<$unit> for $inner {
            fn from(unit: $unit) -> Self {
                unit.0
            }
        }

        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl JsonSchema for $unit {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($unit).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }

        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let written = Json::deserialize(deserializer)?;
                let read = written.as_str().map_or_else(|| $number(&written), $parse);
                read.map(Self).ok_or_else(|| {
                    let found = written.to_string();
                    de::Error::invalid_value(de::Unexpected::Other(&found), &$expected)
                })
            }
        }
    };
}

unit!(Duration, std::time::Duration, parse_duration, |_| None, DURATION_EXPECTED, {
    "type": "string",
    "format": DURATION,
    "pattern": "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?([0-9]+us)?([0-9]+ns)?$",
    "minLength": 2,
});
unit!(Size, u64, parse_size, Json::as_u64, SIZE_EXPECTED, {
    "type": ["string", "integer"],
    "format": SIZE,
    "pattern": "^[0-9]+ ?([kKmMgG]([iI]?[bB]|[iI])|[bB])?$",
    "minimum": 0,
});

impl fmt::Display for InvalidUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.0)
    }
}

impl std::error::Error for InvalidUnit {}
