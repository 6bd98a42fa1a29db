//! A sign of life that anyone may read without waiting for the loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::BootTime;

/// When the loop last went round, in milliseconds of the boot clock.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat(Arc<AtomicU64>);

impl Heartbeat {
    pub(super) fn beat(&self) {
        self.0.store(Self::now(), Ordering::Relaxed);
    }

    fn now() -> u64 {
        let elapsed = BootTime::now().since(BootTime::from_start(Duration::ZERO));
        u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
    }

    /// How long ago; `None` before the first.
    pub fn age(&self) -> Option<Duration> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            last => Some(Duration::from_millis(Self::now().saturating_sub(last))),
        }
    }
}
