//! Check 5: nothing twice in the same direction, and a pause after a stop-out or a venue's rejection.

use std::cmp::Ordering;

use crate::risk::{Candidate, Reason, Rejection};

pub(in crate::risk) fn check(candidate: &Candidate) -> Result<(), Rejection> {
    if candidate.exposure.position.is_some() {
        return Err(Rejection::new(5, Reason::Duplicate));
    }
    let cooldown = candidate.limits.cooldown;
    match candidate.exposure.since_stop {
        // A time that is no number cannot be compared, and is a no.
        Some(elapsed) if elapsed.partial_cmp(&cooldown).is_none_or(Ordering::is_lt) => {
            Err(Rejection::measured(5, Reason::Cooldown, elapsed, cooldown))
        }
        _ => Ok(()),
    }
}
