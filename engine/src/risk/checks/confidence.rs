//! Check 3: the judge is sure enough.

use crate::risk::{Candidate, CheckResult, Reason};

pub(in crate::risk) fn check(candidate: &Candidate) -> Vec<CheckResult> {
    let (confidence, floor) = (candidate.confidence, candidate.limits.confidence_floor);
    let sure = confidence >= floor && confidence <= 100;
    vec![CheckResult::measured(3, Reason::Confidence, sure, confidence.into(), floor.into())]
}
