//! Pauses between the attempts of one call.

use std::time::Duration;

/// Pauses that double, from `first` to at most `max`. The caller decides how often to try.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    pub first: Duration,
    pub max: Duration,
}

impl Backoff {
    /// Sleeps after this number of consecutive failures, which counts from 1.
    pub async fn pause(self, failures: u32) {
        tokio::time::sleep(self.length(failures)).await;
    }

    /// The length of that pause.
    pub fn length(self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.first.saturating_mul(doubled).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_secs(4) };
        let pauses = [1, 2, 3, 4, 5, 40].map(|failures| backoff.length(failures).as_millis());
        assert_eq!(pauses, [500, 1000, 2000, 4000, 4000, 4000]);
    }
}
