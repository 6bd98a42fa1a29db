//! The only rule that an exit must pass. An exit is never stopped by a limit.

use super::{Reason, Rejection};
use crate::output::Side;

/// The least confidence with which a panel may close.
const FLOOR: u8 = 50;

/// Whether a panel's close may become an order: it is sure enough, there is a position, and no exit is
/// on its way. Returns the side to close; quantity comes from the ledger.
///
/// # Errors
/// The reason; exits have no check number but 0.
pub fn assess_exit(confidence: u8, position: Option<Side>, exit_pending: bool) -> Result<Side, Rejection> {
    if !(FLOOR..=100).contains(&confidence) {
        return Err(Rejection::measured(0, Reason::Confidence, confidence.into(), FLOOR.into()));
    }
    let side = position.ok_or(Rejection::new(0, Reason::NoPosition))?;
    if exit_pending {
        return Err(Rejection::new(0, Reason::UnresolvedOrder));
    }
    Ok(side)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exits_pass_the_exit_rule_and_nothing_else() {
        assert_eq!(assess_exit(50, Some(Side::Long), false), Ok(Side::Long));
        let reason =
            |confidence, position, pending| assess_exit(confidence, position, pending).unwrap_err().reason;
        assert_eq!(reason(49, Some(Side::Long), false), Reason::Confidence);
        assert_eq!(reason(101, Some(Side::Long), false), Reason::Confidence);
        assert_eq!(reason(80, None, false), Reason::NoPosition);
        assert_eq!(reason(80, Some(Side::Long), true), Reason::UnresolvedOrder);
    }
}
