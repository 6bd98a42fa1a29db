//! Check 2: bars and quotes are fresh. Crypto markets are always open. Measured in seconds.

use crate::risk::{Candidate, CheckResult, Reason};

pub(in crate::risk) fn check(candidate: &Candidate) -> Vec<CheckResult> {
    let ages = candidate.freshness.ages().map(|(age, limit)| CheckResult {
        check: 2,
        about: Reason::StaleData,
        passed: age.is_some_and(|age| age <= limit),
        measured: age,
        limit: Some(limit),
    });
    ages.collect()
}
