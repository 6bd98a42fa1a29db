//! Check 12: there is something left to buy, and the venue takes orders that small. Measured as notional.

use rust_decimal::Decimal;

use crate::decimal::to_f64;
use crate::risk::size::Sizing;
use crate::risk::{CheckResult, Reason};
use crate::venue::Paper;

pub(in crate::risk) fn check(sizing: &Sizing) -> CheckResult {
    let least = Paper::MINIMUM_NOTIONAL;
    let enough = sizing.quantity > Decimal::ZERO && sizing.notional >= least;
    CheckResult::measured(12, Reason::BelowMinimum, enough, to_f64(sizing.notional), to_f64(least))
}
