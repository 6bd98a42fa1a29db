//! The Secrets that were created. The operator may not read them, so it remembers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A Secret whose bot has no agent is created again after so long, then after twice as long each time.
const AGAIN: Duration = Duration::from_secs(120);

/// The longest of these waits.
const AT_LEAST_EVERY: Duration = Duration::from_secs(3600);

/// Which bots' Secrets were created, by the bots' UIDs.
#[derive(Debug, Default)]
pub struct Secrets(Mutex<HashMap<String, Created>>);

#[derive(Clone, Copy, Debug)]
struct Created {
    /// How many losses of an agent ago.
    losses: u64,
    at: Instant,
    wait: Duration,
}

impl Secrets {
    /// How long the Secret of a bot without an agent is taken to be there; not at all after another loss. None where
    /// nothing is known of it.
    pub fn rest(&self, uid: &str, losses: u64) -> Option<Duration> {
        self.rest_at(uid, losses, Instant::now())
    }

    fn rest_at(&self, uid: &str, losses: u64, now: Instant) -> Option<Duration> {
        let created = *self.lock().get(uid)?;
        let rest = created.wait.saturating_sub(now.saturating_duration_since(created.at));
        Some(if created.losses < losses { Duration::ZERO } else { rest })
    }

    /// Keeps that another process has created it.
    pub fn noted(&self, uid: &str) {
        self.created(uid, 0);
    }

    /// Keeps that its creation was answered now.
    pub fn created(&self, uid: &str, losses: u64) {
        self.created_at(uid, losses, Instant::now());
    }

    fn created_at(&self, uid: &str, losses: u64, at: Instant) {
        let mut secrets = self.lock();
        // A loss is news: the waits begin anew.
        let before = secrets.get(uid).filter(|before| before.losses == losses);
        let wait = before.map_or(AGAIN, |before| (before.wait * 2).min(AT_LEAST_EVERY));
        secrets.insert(uid.to_owned(), Created { losses, at, wait });
    }

    /// Forgets a bot that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Created>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_doubted_at_once_after_a_loss_and_else_at_growing_waits() {
        let secrets = Secrets::default();
        let start = Instant::now();
        let rest = |losses, after: u64| {
            let rest = secrets.rest_at("u", losses, start + Duration::from_secs(after));
            rest.map(|rest| rest.as_secs())
        };
        let created =
            |losses, after: u64| secrets.created_at("u", losses, start + Duration::from_secs(after));
        assert_eq!(rest(0, 0), None);
        created(0, 0);
        assert_eq!((rest(0, 0), rest(0, 100), rest(0, 120)), (Some(120), Some(20), Some(0)));
        assert_eq!(rest(1, 1), Some(0), "its agent has gone");
        created(0, 120);
        assert_eq!(rest(0, 120), Some(240));
        created(1, 200);
        assert_eq!(rest(1, 200), Some(120));
        for at in 1..10 {
            created(1, 1000 * at);
        }
        assert_eq!(rest(1, 9000), Some(3600));
        secrets.forget("u");
        assert_eq!(rest(1, 9000), None);
    }
}
