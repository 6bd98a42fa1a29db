//! Check 5: nothing twice in the same direction, and a pause after a stop-out or a venue's rejection.

use crate::risk::{Candidate, CheckResult, Reason};

pub(in crate::risk) fn check(candidate: &Candidate) -> Vec<CheckResult> {
    let cooldown = candidate.limits.cooldown;
    let paused = match candidate.exposure.since_stop {
        // A time that is no number cannot be compared, and is a no.
        Some(elapsed) => CheckResult::measured(5, Reason::Cooldown, elapsed >= cooldown, elapsed, cooldown),
        None => CheckResult { limit: Some(cooldown), ..CheckResult::plain(5, Reason::Cooldown, true) },
    };
    vec![CheckResult::plain(5, Reason::Duplicate, candidate.exposure.position.is_none()), paused]
}
