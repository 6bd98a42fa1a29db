//! The only rule that an exit must pass. An exit is never stopped by a limit.

use serde::{Deserialize, Serialize};

use super::{CheckResult, Reason};
use crate::output::Side;

/// The least confidence with which a panel may close.
const FLOOR: u8 = 50;

/// A close that the panel wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// How sure the judge is, 0 to 100.
    pub confidence: u8,
    /// Side of the position in the asset.
    pub position: Option<Side>,
    /// An order on the asset has not ended.
    pub unresolved_order: bool,
}

/// Whether a panel's close may become an order: it is sure enough, there is a position, and no exit is
/// on its way. Side and quantity come from the ledger. Exits have no check number but 0.
pub fn assess_exit(exit: &Exit) -> Vec<CheckResult> {
    let Exit { confidence, position, unresolved_order } = *exit;
    let sure = (FLOOR..=100).contains(&confidence);
    vec![
        CheckResult::measured(0, Reason::Confidence, sure, confidence.into(), FLOOR.into()),
        CheckResult::plain(0, Reason::NoPosition, position.is_some()),
        CheckResult::plain(0, Reason::UnresolvedOrder, !unresolved_order),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::risk::assessment::first_no;

    #[test]
    fn exits_pass_the_exit_rule_and_nothing_else() {
        let reason = |confidence, position, unresolved_order| {
            let checks = assess_exit(&Exit { confidence, position, unresolved_order });
            assert_eq!(checks.len(), 3);
            first_no(&checks).map(|rejection| rejection.reason)
        };
        assert_eq!(reason(50, Some(Side::Long), false), None);
        assert_eq!(reason(49, Some(Side::Long), false), Some(Reason::Confidence));
        assert_eq!(reason(101, Some(Side::Long), false), Some(Reason::Confidence));
        assert_eq!(reason(80, None, false), Some(Reason::NoPosition));
        assert_eq!(reason(80, Some(Side::Long), true), Some(Reason::UnresolvedOrder));
    }
}
