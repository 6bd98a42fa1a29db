//! Check 4: not too many entries today, not too many positions.

use crate::risk::{Candidate, CheckResult, Reason};

pub(in crate::risk) fn check(candidate: &Candidate) -> Vec<CheckResult> {
    let (exposure, limits) = (&candidate.exposure, &candidate.limits);
    let counts = [
        (exposure.entries_today, limits.max_entries_per_day, Reason::EntriesToday),
        (exposure.open_positions, limits.max_open_positions, Reason::OpenPositions),
    ];
    counts
        .map(|(count, most, about)| CheckResult::measured(4, about, count < most, count.into(), most.into()))
        .into()
}
