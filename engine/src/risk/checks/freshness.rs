//! Check 2: bars and quotes are fresh. Crypto markets are always open. Measured in seconds.

use crate::risk::{Candidate, Reason, Rejection};

pub(in crate::risk) fn check(candidate: &Candidate) -> Result<(), Rejection> {
    match candidate.freshness.fault() {
        None => Ok(()),
        Some((age, limit)) => {
            Err(Rejection { check: 2, reason: Reason::StaleData, measured: age, limit: Some(limit) })
        }
    }
}
