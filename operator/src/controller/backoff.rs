//! How long to wait before a bot is tried again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng;

/// Failures in a row, per bot.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failing: Mutex<HashMap<String, Failing>>,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    count: u32,
    /// When it is tried again.
    until: Instant,
}

impl Backoff {
    /// For bots that fail: from a second to five minutes.
    pub fn of_failures() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(300))
    }

    /// For bots that somebody else wrote at the same moment: the watch shows it at once, unless it is cut.
    pub fn of_conflicts() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }

    fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, failing: Mutex::default() }
    }

    /// Counts a failure and says how long to wait: twice as long each time, with jitter, up to the longest.
    /// A failure before its time counts no more and changes no wait: a bot is also looked at when
    /// something about it changes, and what it got done before it failed is such a change.
    pub fn failed(&self, uid: &str) -> Duration {
        self.failed_at(uid, Instant::now())
    }

    fn failed_at(&self, uid: &str, now: Instant) -> Duration {
        let mut failing = self.lock();
        let before = failing.get(uid).copied();
        if let Some(left) = before.and_then(|before| before.until.checked_duration_since(now))
            && !left.is_zero()
        {
            return left;
        }
        let count = before.map_or(0, |before| before.count);
        let wait = self.delay(count).mul_f64(rand::rng().random_range(0.8..1.2)).min(self.longest);
        failing.insert(uid.to_owned(), Failing { count: count.saturating_add(1), until: now + wait });
        wait
    }

    /// Failures since the last success.
    pub fn failures(&self, uid: &str) -> u32 {
        self.lock().get(uid).map_or(0, |failing| failing.count)
    }

    /// A success, or the end of a bot.
    pub fn reset(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Forgets all bots.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn delay(&self, failures: u32) -> Duration {
        let factor = 2u32.checked_pow(failures).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.longest)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_a_success_starts_over() {
        assert_eq!(
            [0, 1, 2, 8, 9, 40].map(|n| Backoff::of_failures().delay(n).as_secs()),
            [1, 2, 4, 256, 300, 300]
        );
        let (backoff, mut now) = (Backoff::of_failures(), Instant::now());
        for expected in [1.0, 2.0, 4.0] {
            let wait = backoff.failed_at("u", now);
            assert!((expected * 0.8..expected * 1.2).contains(&wait.as_secs_f64()), "{wait:?}");
            now += wait;
        }
        assert_eq!((backoff.failures("u"), backoff.failures("other")), (3, 0));
        backoff.reset("u");
        assert!(backoff.failed_at("u", now).as_secs_f64() < 1.2);
    }

    #[test]
    fn a_failure_before_its_time_neither_counts_nor_changes_the_wait() {
        let (backoff, start) = (Backoff::of_failures(), Instant::now());
        let wait = backoff.failed_at("u", start);
        for passed in [0, 200, 700] {
            let passed = Duration::from_millis(passed);
            assert_eq!(backoff.failed_at("u", start + passed), wait - passed);
        }
        assert_eq!(backoff.failures("u"), 1);
        assert!(backoff.failed_at("u", start + wait) > Duration::from_millis(1500), "its time has come");
        assert_eq!(backoff.failures("u"), 2);
    }
}
