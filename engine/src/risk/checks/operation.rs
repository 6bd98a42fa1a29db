//! Check 1: the bot may open positions at all, and knows what became of its orders.

use crate::risk::{Candidate, CheckResult, Operation, Reason};

pub(in crate::risk) fn check(candidate: &Candidate) -> Vec<CheckResult> {
    let Operation { paused, lease_held, unresolved_order } = candidate.operation;
    let faults = [
        (paused, Reason::Paused),
        (!lease_held, Reason::LeaseNotHeld),
        (unresolved_order, Reason::UnresolvedOrder),
    ];
    faults.map(|(fault, about)| CheckResult::plain(1, about, !fault)).into()
}
