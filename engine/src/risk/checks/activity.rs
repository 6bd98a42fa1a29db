//! Check 4: not too many entries today, not too many positions.

use crate::risk::{Candidate, Reason, Rejection};

pub(in crate::risk) fn check(candidate: &Candidate) -> Result<(), Rejection> {
    let (exposure, limits) = (&candidate.exposure, &candidate.limits);
    let counts = [
        (exposure.entries_today, limits.max_entries_per_day, Reason::EntriesToday),
        (exposure.open_positions, limits.max_open_positions, Reason::OpenPositions),
    ];
    match counts.into_iter().find(|(count, most, _)| count >= most) {
        Some((count, most, reason)) => Err(Rejection::measured(4, reason, count.into(), most.into())),
        None => Ok(()),
    }
}
