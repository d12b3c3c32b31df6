//! Dates as days since 1970, and the newest release of Rust on a day.

use std::time::{SystemTime, UNIX_EPOCH};

/// The day on which Rust 1.95 was released. Each release follows six weeks after the one before it.
const RUST_1_95: i64 = 20_559;

/// Today in UTC.
pub fn today() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs() / 86_400).unwrap_or(0))
}

/// The day of a date such as `2026-11-30`, if the text is one.
pub fn day(date: &str) -> Option<i64> {
    let numbers: Result<Vec<i64>, _> = date.split('-').map(str::parse).collect();
    let Ok(&[year, month, day]) = numbers.as_deref() else {
        return None;
    };
    // Count years from March, so that the leap day is the last day of a year.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    Some(year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468)
}

/// The minor version of the newest stable Rust on a day, such as 95 for Rust 1.95.
pub fn newest_rust(today: i64) -> i64 {
    95 + (today - RUST_1_95).div_euclid(42)
}

#[cfg(test)]
mod tests {
    use super::{RUST_1_95, day, newest_rust};

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(day("1970-01-01"), Some(0));
        assert_eq!(day("2000-02-29"), Some(11_016));
        assert_eq!(day("2026-11-24"), Some(20_781));
        assert_eq!(day("2026-04-16"), Some(RUST_1_95));
        assert_eq!(day("soon"), None);
        assert_eq!(day("2026-11"), None);
    }

    #[test]
    fn a_release_of_rust_follows_every_six_weeks() {
        for (date, minor) in [("2026-05-27", 95), ("2026-05-28", 96), ("2026-11-30", 100)] {
            assert_eq!(newest_rust(day(date).expect("a date")), minor, "{date}");
        }
    }
}
