//! Where the stop goes and what a unit may lose.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

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
