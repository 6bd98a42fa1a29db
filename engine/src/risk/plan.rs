//! Where the stop goes and what a unit may lose.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::Candidate;

/// An entry as the gatekeeper allows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The price at the decision.
    pub price: f64,
    /// The protective stop, an absolute price.
    pub stop: f64,
    /// The target, when there is one.
    pub target: Option<f64>,
    /// Distance from price to stop as a fraction of the price.
    pub stop_distance: f64,
    /// What a unit loses at the stop, costs of the round trip included.
    pub loss_per_unit: Decimal,
    /// Units of the base to buy or sell.
    pub quantity: Decimal,
}

/// Distance of the stop as a fraction of the price: `clamp(atrMultiple · ATR / price, min, max)`. None
/// where a number is missing or makes no sense.
pub(super) fn stop_distance(candidate: &Candidate) -> Option<f64> {
    let Candidate { price, atr, limits, .. } = candidate;
    let atr = atr.filter(|atr| atr.is_finite() && *atr >= 0.0)?;
    if !(price.is_finite() && *price > 0.0) {
        return None;
    }
    let wanted = limits.stop_atr_multiple * atr / price;
    let (nearest, farthest) = (limits.stop_min_percent / 100.0, limits.stop_max_percent / 100.0);
    if !(wanted.is_finite() && nearest > 0.0 && nearest <= farthest && farthest < 1.0) {
        return None;
    }
    Some(wanted.clamp(nearest, farthest))
}
