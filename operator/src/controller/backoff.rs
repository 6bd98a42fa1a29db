//! How long to wait before a bot is tried again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::Rng;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// Failures in a row, per bot.
#[derive(Debug, Default)]
pub struct Backoff(Mutex<HashMap<String, u32>>);

impl Backoff {
    /// Counts a failure and says how long to wait: twice as long each time, with jitter, five minutes at
    /// most.
    pub fn failed(&self, uid: &str) -> Duration {
        let mut failures = self.lock();
        let count = failures.entry(uid.to_owned()).or_default();
        let wait = delay(*count);
        *count = count.saturating_add(1);
        wait.mul_f64(rand::rng().random_range(0.8..1.2)).min(LONGEST)
    }

    /// Failures since the last success.
    pub fn failures(&self, uid: &str) -> u32 {
        self.lock().get(uid).copied().unwrap_or(0)
    }

    /// A success, or the end of a bot.
    pub fn reset(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn delay(failures: u32) -> Duration {
    2u32.checked_pow(failures).map_or(LONGEST, |factor| FIRST.saturating_mul(factor)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_a_success_starts_over() {
        assert_eq!([0, 1, 2, 8, 9, 40].map(|n| delay(n).as_secs()), [1, 2, 4, 256, 300, 300]);
        let backoff = Backoff::default();
        for expected in [1.0, 2.0, 4.0] {
            let wait = backoff.failed("u").as_secs_f64();
            assert!((expected * 0.8..expected * 1.2).contains(&wait), "{wait}");
        }
        assert_eq!((backoff.failures("u"), backoff.failures("other")), (3, 0));
        backoff.reset("u");
        assert!(backoff.failed("u").as_secs_f64() < 1.2);
    }
}
