//! Limits how often a line is logged, and counts the lines that are left out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Admits one line in each period.
#[derive(Debug)]
pub struct RateLimit {
    period: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl RateLimit {
    /// Admits one line in each `period`.
    pub const fn new(period: Duration) -> Self {
        Self {
            period,
            state: Mutex::new(State {
                last: None,
                left_out: 0,
            }),
        }
    }

    /// If a line may be logged now, the number of lines left out since the last one.
    pub fn admit(&self) -> Option<u64> {
        self.admit_at(Instant::now())
    }

    fn admit_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_early = |last| now.saturating_duration_since(last) < self.period;
        if state.last.is_some_and(is_early) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_period_has_the_number_of_suppressed_lines() {
        let limit = RateLimit::new(Duration::from_secs(10));
        let start = Instant::now();
        for (seconds, admitted) in [
            (0, Some(0)),
            (0, None),
            (9, None),
            (10, Some(2)),
            (15, None),
            (90, Some(1)),
            (100, Some(0)),
        ] {
            let at = start + Duration::from_secs(seconds);
            assert_eq!(limit.admit_at(at), admitted, "{seconds} s");
        }
    }

    #[test]
    fn concurrent_threads_lose_no_line() {
        let limit = RateLimit::new(Duration::from_secs(10));
        let start = Instant::now();
        let all = || {
            let admit = || (0..1000).filter_map(|_| limit.admit_at(start)).count();
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(admit)).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().expect("no panic"))
                    .sum::<usize>()
            })
        };
        assert_eq!(all(), 1);
        assert_eq!(
            limit.admit_at(start + Duration::from_secs(10)),
            Some(4 * 1000 - 1)
        );
    }
}
