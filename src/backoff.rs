//! Exponential backoff with jitter.

use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    next: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            next: first,
            longest,
        }
    }

    /// The next pause, shortened at random by up to a quarter: callers that failed together do not retry together.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause.mul_f64(1.0 - fastrand::f64() / 4.0)
    }

    /// Begins with the first pause again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_and_can_be_reset() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(5));
        for whole in [1, 2, 4, 5, 5] {
            let pause = backoff.pause();
            assert!(
                pause <= seconds(whole) && pause >= seconds(whole) * 3 / 4,
                "{pause:?}"
            );
        }
        backoff.reset();
        assert!(backoff.pause() <= seconds(1));
    }
}
