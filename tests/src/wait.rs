//! Waiting for a condition instead of for a time.

use std::time::{Duration, Instant};

/// Far beyond what a healthy run needs: it ends a hanging test, it is no expectation of speed.
const PATIENCE: Duration = Duration::from_secs(180);

/// Polls until `look` finds something; fails with what it saw last.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if Instant::now() > deadline => {
                panic!("waited in vain until {what}; last seen: {seen}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
