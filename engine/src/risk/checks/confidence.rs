//! Check 3: the judge is sure enough.

use crate::risk::{Candidate, Reason, Rejection};

pub(in crate::risk) fn check(candidate: &Candidate) -> Result<(), Rejection> {
    let (confidence, floor) = (candidate.confidence, candidate.limits.confidence_floor);
    if confidence >= floor && confidence <= 100 {
        return Ok(());
    }
    Err(Rejection::measured(3, Reason::Confidence, confidence.into(), floor.into()))
}
