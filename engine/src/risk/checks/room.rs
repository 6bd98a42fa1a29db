//! Check 10: each limit leaves room worth using: a tenth of what is wanted, or of the same room in an
//! empty account when that is less. Measured as notional.

use rust_decimal::Decimal;

use crate::decimal::to_f64;
use crate::risk::Rejection;
use crate::risk::size::Sizing;

pub(in crate::risk) fn check(sizing: &Sizing) -> Result<(), Rejection> {
    let tenth = Decimal::new(1, 1);
    for room in sizing.rooms.iter().flatten() {
        let least = sizing.wanted.min(room.empty).saturating_mul(tenth);
        if room.left <= Decimal::ZERO || room.left < least {
            return Err(Rejection::measured(10, room.reason, to_f64(room.left), to_f64(least)));
        }
    }
    Ok(())
}
