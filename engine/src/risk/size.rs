//! How much: the risk that a trade may take, cut down to the room there is.

use rust_decimal::{Decimal, RoundingStrategy};

use super::{Candidate, Reason};
use crate::decimal::from_f64;
use crate::venue::Paper;

/// The confidence from which on nothing is taken off.
const FULL_CONFIDENCE: u8 = 90;

/// A size, and what it came from.
#[derive(Clone, Debug)]
pub(super) struct Sizing {
    /// What a unit loses at the stop, costs of the round trip included.
    pub loss_per_unit: Decimal,
    /// Units of the base, a multiple of the venue's increment.
    pub quantity: Decimal,
    /// Notional of the quantity.
    pub notional: Decimal,
    /// Notional that the risk alone would allow.
    pub wanted: Decimal,
    /// Room under each limit.
    pub rooms: [Option<Room>; 3],
}

/// Room under a limit, as notional.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// What is said when there is too little.
    pub reason: Reason,
    /// What is left.
    pub left: Decimal,
    /// What there would be in an empty account.
    pub empty: Decimal,
}

/// `confidence × min(equity · riskPerTradePercent / lossPerUnit, every room)`, rounded down to the
/// venue's increment. None where a number makes no sense or has no room in a decimal.
pub(super) fn size(candidate: &Candidate, stop_distance: f64) -> Option<Sizing> {
    let Candidate { budget, costs, limits, .. } = candidate;
    let hundred = Decimal::ONE_HUNDRED;
    let sensible = budget.equity > Decimal::ZERO
        && !budget.asset_exposure.is_sign_negative()
        && !budget.gross_exposure.is_sign_negative()
        && [costs.slippage, costs.half_spread, costs.taker].iter().all(|rate| !rate.is_sign_negative());
    let price = from_f64(candidate.price).filter(|price| sensible && *price > Decimal::ZERO)?;
    let distance = from_f64(stop_distance)?.checked_add(costs.round_trip()?)?;
    let loss_per_unit = price.checked_mul(distance).filter(|loss| *loss > Decimal::ZERO)?;

    let allowed_loss = budget.equity.checked_mul(limits.risk_per_trade_percent)?.checked_div(hundred)?;
    let wanted = allowed_loss.checked_div(loss_per_unit)?.checked_mul(price)?;
    let room =
        |reason, empty: Decimal, used: Decimal| Some(Room { reason, left: empty.checked_sub(used)?, empty });
    let share = budget.equity.checked_mul(limits.max_position_percent)?.checked_div(hundred)?;
    let leverage = budget.equity.checked_mul(limits.max_gross_leverage)?;
    // A unit of cash buys less than a unit of notional: the fill is worse than the price, and has a fee.
    let worse = Decimal::ONE.checked_add(costs.slippage)?.checked_add(costs.half_spread)?;
    let per_notional = worse.checked_mul(Decimal::ONE.checked_add(costs.taker)?)?;
    let buying_power = match budget.cash {
        None => None,
        Some(cash) => Some(Room {
            reason: Reason::BuyingPower,
            left: cash.checked_div(per_notional)?,
            empty: budget.equity.checked_div(per_notional)?,
        }),
    };
    let rooms = [
        Some(room(Reason::Concentration, share, budget.asset_exposure)?),
        Some(room(Reason::Leverage, leverage, budget.gross_exposure)?),
        buying_power,
    ];
    let capped = rooms.iter().flatten().map(|room| room.left).fold(wanted, Decimal::min);
    let quantity = capped
        .checked_mul(confidence_factor(candidate.confidence, limits.confidence_floor)?)?
        .checked_div(price)?
        .round_dp_with_strategy(Paper::INCREMENT.scale(), RoundingStrategy::ToNegativeInfinity)
        .min(Paper::MAXIMUM_QUANTITY);
    let notional = quantity.checked_mul(price)?;
    Some(Sizing { loss_per_unit, quantity, notional, wanted, rooms })
}

/// From a half at the floor to one at 90, in a straight line.
fn confidence_factor(confidence: u8, floor: u8) -> Option<Decimal> {
    if confidence >= FULL_CONFIDENCE {
        return Some(Decimal::ONE);
    }
    let above = confidence.checked_sub(floor)?;
    let span = FULL_CONFIDENCE.checked_sub(floor)?;
    let part = Decimal::from(above).checked_div(Decimal::from(span))?;
    Decimal::ONE.checked_add(part)?.checked_div(Decimal::TWO)
}
