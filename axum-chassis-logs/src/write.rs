//! Writes values into a byte buffer without allocating.

use std::cell::Cell;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Each octet of an IPv4 address as digits and a dot, and the number of these bytes. With this table, 127.0.0.1 takes
/// 61 instructions; with divisions, it takes 108.
static OCTETS: [([u8; 4], usize); 256] = octets();

/// The two digits of each number below 100.
static PAIRS: [[u8; 2]; 100] = pairs();

const fn pairs() -> [[u8; 2]; 100] {
    let mut pairs = [[b'0'; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number][0] += (number / 10) as u8;
        pairs[number][1] += (number % 10) as u8;
        number += 1;
    }
    pairs
}

const fn octets() -> [([u8; 4], usize); 256] {
    let mut octets = [([b'.'; 4], 0); 256];
    let mut octet = 0;
    while octet < 256 {
        let (digits, length) = &mut octets[octet];
        let mut unit = 100;
        while unit > 0 {
            if octet >= unit || unit == 1 {
                digits[*length] = b'0' + (octet / unit % 10) as u8;
                *length += 1;
            }
            unit /= 10;
        }
        *length += 1;
        octet += 1;
    }
    octets
}

/// Appends `text`, and escapes everything that could end a string, break a line, or control a terminal: control
/// characters (C0 and C1), line separators, and changes of text direction.
pub(super) fn escaped(out: &mut Vec<u8>, text: &str) {
    // Nearly all texts need no escaping. To check them as a whole saves 54 instructions for each access line.
    match is_plain(text.as_bytes()) {
        true => out.extend_from_slice(text.as_bytes()),
        false => escaped_by_byte(out, text.as_bytes()),
    }
}

/// Whether all bytes are ASCII that needs no escaping.
fn is_plain(bytes: &[u8]) -> bool {
    const fn all(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }
    // Sets the high bit of each byte that is less than `bound`. The high bits of some bytes after it may be set, too.
    let below = |word: u64, bound: u8| word.wrapping_sub(all(bound)) & !word;
    let are_plain = |eight: &[u8; 8]| {
        let word = u64::from_ne_bytes(*eight);
        let special = below(word, 0x20)
            | below(word ^ all(b'"'), 1)
            | below(word ^ all(b'\\'), 1)
            | below(word ^ all(0x7f), 1);
        (word | special) & all(0x80) == 0
    };
    match bytes.last_chunk() {
        // The last eight bytes overlap those before them, unless the length is a multiple of eight.
        Some(last) => bytes.as_chunks().0.iter().all(are_plain) && are_plain(last),
        None => bytes.iter().all(|byte| is_plain_byte(*byte)),
    }
}

fn is_plain_byte(byte: u8) -> bool {
    matches!(byte, 0x20..0x7f) && byte != b'"' && byte != b'\\'
}

fn escaped_by_byte(out: &mut Vec<u8>, bytes: &[u8]) {
    let (mut done, mut at) = (0, 0);
    while at < bytes.len() {
        let byte = bytes[at];
        if is_plain_byte(byte) {
            at += 1;
            continue;
        }
        let (code, width) = match (byte, &bytes[at + 1..]) {
            (..0x80, _) => (u16::from(byte), 1),
            // U+0080..=U+009F: the C1 controls.
            (0xc2, [second @ 0x80..=0x9f, ..]) => (u16::from(*second), 2),
            // Line separators, and changes of the text's direction.
            (0xe2, [0x80, third @ 0xa8..=0xae, ..]) => (0x2000 + u16::from(third - 0x80), 3),
            (0xe2, [0x81, third @ 0xa6..=0xa9, ..]) => (0x2040 + u16::from(third - 0x80), 3),
            _ => {
                at += 1;
                continue;
            }
        };
        out.extend_from_slice(&bytes[done..at]);
        escape(out, code);
        at += width;
        done = at;
    }
    out.extend_from_slice(&bytes[done..]);
}

fn escape(out: &mut Vec<u8>, code: u16) {
    let short = match code {
        0x22 => b'"',
        0x5c => b'\\',
        0x08 => b'b',
        0x0c => b'f',
        0x0a => b'n',
        0x0d => b'r',
        0x09 => b't',
        _ => {
            // Writing to a `Vec` does not fail.
            let _ = write!(out, "\\u{code:04x}");
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends `text` as a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

/// Appends the `Display` of `value` as a JSON string.
pub(super) fn display(out: &mut Vec<u8>, value: impl fmt::Display) {
    out.push(b'"');
    display_escaped(out, value);
    out.push(b'"');
}

/// Appends the `Display` of `value`, escaped and without quotes.
pub(super) fn display_escaped(out: &mut Vec<u8>, value: impl fmt::Display) {
    // If a `Display` fails halfway, the part that it has written stays.
    let _ = write!(Escaped(out), "{value}");
}

/// Escapes the text that is formatted into it.
pub(super) struct Escaped<'a>(pub(super) &'a mut Vec<u8>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escaped(self.0, text);
        Ok(())
    }
}

/// Appends a whole number.
pub(super) fn integer(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a number. JSON has no infinities and no NaN, so these become strings.
pub(super) fn float(out: &mut Vec<u8>, number: f64) {
    if number.is_finite() {
        // `Debug` writes the shortest form that is parsed as the same number. It is valid JSON.
        let _ = write!(Escaped(out), "{number:?}");
    } else {
        display(out, number);
    }
}

/// Appends `true` or `false`.
pub(super) fn boolean(out: &mut Vec<u8>, value: bool) {
    let text: &[u8] = if value { b"true" } else { b"false" };
    out.extend_from_slice(text);
}

/// Appends milliseconds with three decimals.
pub(super) fn milliseconds(out: &mut Vec<u8>, duration: Duration) {
    // In 64 bits, this takes fewer instructions than `as_millis`, which has 128.
    let seconds = duration.as_secs().saturating_mul(1000);
    integer(out, seconds.saturating_add(duration.subsec_millis().into()));
    out.push(b'.');
    out.extend_from_slice(&digits::<3>(duration.subsec_micros()));
}

/// Appends an address as a JSON string. An IPv4 address that is mapped into IPv6 is written as IPv4.
pub(super) fn address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let mut text = [b'"'; 17];
            let mut end = 1;
            for octet in v4.octets() {
                let (digits, length) = OCTETS[usize::from(octet)];
                text[end..end + 4].copy_from_slice(&digits);
                end += length;
            }
            text[end - 1] = b'"';
            out.extend_from_slice(&text[..end]);
        }
        v6 @ IpAddr::V6(_) => display(out, v6),
    }
}

/// The last `N` decimal digits of `number`.
fn digits<const N: usize>(mut number: u32) -> [u8; N] {
    let mut text = [b'0'; N];
    // Two digits at a time: saves 40 instructions for each access line.
    for pair in text.rchunks_mut(2) {
        let two = PAIRS[(number % 100) as usize];
        pair.copy_from_slice(&two[two.len() - pair.len()..]);
        number /= 100;
    }
    text
}

/// A time as `2026-01-31T23:59:59.123456Z`.
pub(super) type Timestamp = [u8; 27];

/// Appends the time now.
pub(super) fn now(out: &mut Vec<u8>) {
    out.extend_from_slice(&timestamp(since_1970()));
}

/// The time of `moment`, which was just now. Usually this does not read the system clock, which saves 38
/// instructions for each access line.
pub(super) fn moment(moment: Instant) -> Timestamp {
    /// The longest delay until a change of the system clock takes effect.
    const LATE: Duration = Duration::from_millis(100);
    thread_local! {
        /// A moment on both clocks.
        static BOTH: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    }
    let known = BOTH.get().and_then(|(instant, time)| {
        let later = moment.saturating_duration_since(instant);
        (later < LATE).then(|| time + later)
    });
    let time = known.unwrap_or_else(|| {
        let time = since_1970();
        BOTH.set(Some((moment, time)));
        time
    });
    timestamp(time)
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn timestamp(since: Duration) -> Timestamp {
    thread_local! {
        // The text of the last second, because thousands of lines may share it: it saves 317 instructions for each.
        static SECOND: Cell<(u64, [u8; 20])> = const { Cell::new((u64::MAX, [0; 20])) };
    }
    let (mut second, mut text) = SECOND.get();
    if second != since.as_secs() {
        second = since.as_secs();
        text = date_and_time(second);
        SECOND.set((second, text));
    }
    let mut timestamp = [b'Z'; 27];
    timestamp[..20].copy_from_slice(&text);
    timestamp[20..26].copy_from_slice(&digits::<6>(since.subsec_micros()));
    timestamp
}

/// Formats seconds since 1970 as `2026-01-31T23:59:59.`.
fn date_and_time(second: u64) -> [u8; 20] {
    // Days to civil date by Howard Hinnant's algorithm, for years that start in March.
    let days = second / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);

    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    let text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.");
    text.as_bytes().try_into().unwrap_or([b'0'; 20])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn any_string_survives_a_round_trip() {
        let every: String = (0..0x3000).filter_map(char::from_u32).collect();
        for text in ["", "plain", "\"\\\n\r\t\u{8}\u{c}\u{1b}[31m", &every, "€😀"] {
            let json = written(|out| string(out, text));
            let back: String = serde_json::from_str(&json).expect("JSON");
            assert_eq!(back, text);
            assert!(!json.chars().any(char::is_control), "{json}");
        }
    }

    #[test]
    fn a_byte_to_escape_is_found_anywhere_in_a_long_text() {
        for at in 0..40 {
            for byte in (0..0x80).map(char::from).chain(['\u{85}', '\u{2028}', 'é']) {
                let text: String = (0..40).map(|n| if n == at { byte } else { '~' }).collect();
                let json = written(|out| string(out, &text));
                let back: String = serde_json::from_str(&json).expect("JSON");
                assert_eq!(back, text);
                assert!(!json.chars().any(char::is_control), "{json}");
            }
        }
    }

    #[test]
    fn characters_that_could_forge_a_line_are_escaped() {
        for (text, json) in [
            ("a\nb", r#""a\nb""#),
            ("\u{7f}\u{85}", r#""\u007f\u0085""#),
            (
                "\u{2028}\u{2029}\u{202e}\u{2066}",
                r#""\u2028\u2029\u202e\u2066""#,
            ),
            ("é—\u{a0}", "\"é—\u{a0}\""),
        ] {
            assert_eq!(written(|out| string(out, text)), json);
        }
    }

    #[test]
    fn times_are_utc_with_microseconds() {
        for (seconds, micros, text) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.000001Z"),
            (1_709_251_199, 999_999, "2024-02-29T23:59:59.999999Z"),
            (4_102_444_800, 5, "2100-01-01T00:00:00.000005Z"),
        ] {
            let time = Duration::new(seconds, micros * 1000);
            assert_eq!(String::from_utf8_lossy(&timestamp(time)), text);
        }
    }

    #[test]
    fn numbers_are_json() {
        assert_eq!(
            written(|out| integer(out, i128::MIN)),
            i128::MIN.to_string()
        );
        assert_eq!(written(|out| float(out, 1.5e300)), "1.5e300");
        assert_eq!(written(|out| float(out, f64::NAN)), "\"NaN\"");
        assert_eq!(
            written(|out| milliseconds(out, Duration::from_micros(12_034))),
            "12.034"
        );
    }

    proptest! {
        // The durations are at most 31 years, because a float has only fifteen exact digits.
        #[test]
        fn a_duration_is_milliseconds_to_the_microsecond_and_nothing_more(micros in 0..1_000_000_000_000_000_u64, nanos in 0..1000_u64) {
            let duration = Duration::from_micros(micros) + Duration::from_nanos(nanos);
            let (whole, part) = (micros / 1000, micros % 1000);
            let exact = format!("{whole}.{part:03}");
            prop_assert_eq!(written(|out| milliseconds(out, duration)), exact.as_str());
            // A field that `tracing` accepts only as a float has the same digits, without trailing zeros.
            let short = match exact.trim_end_matches('0') {
                short if short.ends_with('.') => format!("{short}0"),
                short => short.to_owned(),
            };
            let event = written(|out| float(out, super::super::milliseconds(duration)));
            prop_assert_eq!(event, short);
        }
    }

    #[test]
    fn an_ipv4_address_is_what_the_standard_library_writes() {
        for octet in 0..=255 {
            let v4 = std::net::Ipv4Addr::new(octet, 0, 255 - octet, octet);
            assert_eq!(written(|out| address(out, v4.into())), format!("\"{v4}\""));
        }
    }

    #[test]
    fn a_mapped_ipv4_address_is_an_ipv4_address() {
        let mapped = IpAddr::V6("::ffff:10.0.0.7".parse().expect("an address"));
        assert_eq!(written(|out| address(out, mapped)), "\"10.0.0.7\"");
    }
}
