//! Check 1: the bot may open positions at all, and knows what became of its orders.

use crate::risk::{Candidate, Operation, Reason, Rejection};

pub(in crate::risk) fn check(candidate: &Candidate) -> Result<(), Rejection> {
    let Operation { paused, lease_held, unresolved_order } = candidate.operation;
    let faults = [
        (paused, Reason::Paused),
        (!lease_held, Reason::LeaseNotHeld),
        (unresolved_order, Reason::UnresolvedOrder),
    ];
    match faults.into_iter().find(|(fault, _)| *fault) {
        Some((_, reason)) => Err(Rejection::new(1, reason)),
        None => Ok(()),
    }
}
