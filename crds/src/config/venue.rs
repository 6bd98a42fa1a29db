//! Where orders go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::layered::{layered, leaves};
use crate::Numeric;

/// A named place to trade.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Venue {
    /// The name by which assets refer to it.
    pub name: String,
    /// The place itself.
    #[serde(flatten)]
    pub kind: VenueKind,
}

/// The kinds of venue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum VenueKind {
    /// Simulated fills and play money.
    Paper(Paper),
}

/// A named place to trade. Exactly one kind is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.paper)", "message": "set exactly one kind of venue: paper"}
]))]
pub struct VenueSpec {
    /// The name by which assets refer to it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Simulated fills and play money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paper: Option<PaperSpec>,
}

layered! {
    /// A simulated venue: long only for crypto, fills from the feed's prices.
    Paper / PaperSpec {
        /// Cash at the start. A change later moves no money: give a venue of another name to begin anew.
        starting_cash: Numeric,
        /// The account's currency; assets must be quoted in it.
        #[schemars(length(min = 3, max = 8), regex(pattern = "^[A-Z0-9]{2,8}$"))]
        currency: String,
        /// What a trade costs.
        costs: Costs,
    }
}

layered! {
    /// What a trade costs, in basis points of its notional.
    Costs / CostsSpec {
        /// The table that the other keys start from.
        preset: CostPreset,
        /// Price given up by a market order beyond the spread.
        slippage_bps: Numeric,
        /// Half of the distance between bid and ask.
        half_spread_bps: Numeric,
        /// Fee of a market order.
        taker_bps: Numeric,
        /// Fee of a resting limit order.
        maker_bps: Numeric,
    }
}

/// Known cost tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum CostPreset {
    /// Slippage 10, half spread 5, taker 6, maker 2.5.
    Reference,
    /// Coinbase Advanced, its lowest tier: taker 120, maker 60.
    Coinbase,
    /// OANDA: no fee, half a basis point each of spread and slippage.
    Oanda,
}
leaves!(CostPreset);
