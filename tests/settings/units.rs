//! Durations and sizes read back as they print.

use axum_chassis::settings::{Duration, Size};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_duration_reads_back_as_it_prints(seconds: u64, nanos in 0..1_000_000_000_u32, coarse: bool) {
        let duration = Duration(std::time::Duration::new(seconds, if coarse { 0 } else { nanos }));
        match duration.to_string().parse::<Duration>() {
            Ok(read) => prop_assert_eq!(read, duration),
            // More nanoseconds than a number holds: six centuries to the nanosecond are not written.
            Err(_) => prop_assert!(seconds > u64::MAX / 1_000_000_000),
        }
    }

    #[test]
    fn a_size_reads_back_as_it_prints(bytes: u64, shift in 0..64_u32) {
        let size = Size(bytes >> shift << shift);
        prop_assert_eq!(size.to_string().parse(), Ok(size));
    }

    #[test]
    fn other_text_is_refused_without_a_panic(text: String) {
        let _ = (text.parse::<Duration>(), text.parse::<Size>());
    }
}
