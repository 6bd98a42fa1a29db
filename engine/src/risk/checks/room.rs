//! Check 10: each limit leaves room worth using: a tenth of what is wanted, or of the same room in an
//! empty account when that is less. Measured as notional.

use rust_decimal::Decimal;

use crate::decimal::to_f64;
use crate::risk::CheckResult;
use crate::risk::size::Sizing;

pub(in crate::risk) fn check(sizing: &Sizing) -> Vec<CheckResult> {
    let tenth = Decimal::new(1, 1);
    let rooms = sizing.rooms.iter().flatten().map(|room| {
        let least = sizing.wanted.min(room.empty).saturating_mul(tenth);
        let enough = room.left > Decimal::ZERO && room.left >= least;
        CheckResult::measured(10, room.reason, enough, to_f64(room.left), to_f64(least))
    });
    rooms.collect()
}
