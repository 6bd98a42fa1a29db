//! What the gatekeeper looks at: a verdict with the account, the market and the limits.

use crds::config::{AssetRisk, Costs, Risk};
use crds::{Asset, AssetClass, Numeric};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::market::Freshness;
use crate::output::Side;
use crate::panel::{Action, DECISION_TIMEFRAME};

/// An entry that the panel wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The pair.
    pub asset: Asset,
    /// What is wanted.
    pub action: Action,
    /// How sure the judge is, 0 to 100.
    pub confidence: u8,
    /// The price now.
    pub price: f64,
    /// ATR14 on the decision timeframe, when it is available.
    pub atr: Option<f64>,
    /// Whether the bot may open anything at all.
    pub operation: Operation,
    /// How old the data is.
    pub freshness: Freshness,
    /// What is in the book already.
    pub exposure: Exposure,
    /// What it may cost.
    pub budget: Budget,
    /// What trading costs at the venue.
    pub costs: CostRates,
    /// What is allowed.
    pub limits: Limits,
}

/// Whether the bot may open anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// The configuration says so.
    pub paused: bool,
    /// This process may open positions.
    pub lease_held: bool,
    /// An order on the asset has not ended.
    pub unresolved_order: bool,
}

/// What is in the book already.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exposure {
    /// Side of the position in the asset.
    pub position: Option<Side>,
    /// Entry fills of this trading day, and entries approved and not yet filled.
    pub entries_today: u32,
    /// Open positions, and entries approved and not yet filled.
    pub open_positions: u32,
    /// Seconds since the last stop-out or venue's rejection on the asset.
    pub since_stop: Option<f64>,
}

/// What an entry may cost, in the account's currency. Reserved means approved and not yet filled.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Cash and marked positions.
    pub equity: Decimal,
    /// Notional of the asset, held and reserved.
    pub asset_exposure: Decimal,
    /// Notional of all assets, held and reserved.
    pub gross_exposure: Decimal,
    /// Cash at the venue that is not reserved. None where the venue lends.
    pub cash: Option<Decimal>,
}

/// What trading costs, as fractions of the notional.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CostRates {
    /// Price given up by a market order beyond the spread.
    pub slippage: Decimal,
    /// Half of the distance between bid and ask.
    pub half_spread: Decimal,
    /// Fee of a market order.
    pub taker: Decimal,
    /// Fee of a resting limit order.
    pub maker: Decimal,
}

impl CostRates {
    /// Market orders both ways: the sum of all their costs, as a fraction of the price. None when it has
    /// no room in a decimal.
    pub fn round_trip(&self) -> Option<Decimal> {
        let one_way = self.slippage.checked_add(self.half_spread)?.checked_add(self.taker)?;
        one_way.checked_mul(Decimal::TWO)
    }

    #[cfg(test)]
    pub(crate) fn reference() -> Self {
        let bps = |tenths: i64| Decimal::new(tenths, 5);
        Self { slippage: bps(100), half_spread: bps(50), taker: bps(60), maker: bps(25) }
    }
}

impl From<&Costs> for CostRates {
    fn from(costs: &Costs) -> Self {
        // Validated to at most 1,000 bps.
        let rate = |bps: Numeric| bps.0.checked_div(Decimal::from(10_000)).unwrap_or(Decimal::ONE);
        Self {
            slippage: rate(costs.slippage_bps),
            half_spread: rate(costs.half_spread_bps),
            taker: rate(costs.taker_bps),
            maker: rate(costs.maker_bps),
        }
    }
}

/// What is allowed, for one asset.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Class of the asset.
    pub class: AssetClass,
    /// Lowest confidence that opens.
    pub confidence_floor: u8,
    /// So many entries in a day, no more.
    pub max_entries_per_day: u32,
    /// So many positions at a time, no more.
    pub max_open_positions: u32,
    /// Seconds to wait after a stop-out or a venue's rejection.
    pub cooldown: f64,
    /// Part of equity that a trade may lose, in percent.
    pub risk_per_trade_percent: Decimal,
    /// Part of equity in one asset, in percent.
    pub max_position_percent: Decimal,
    /// All positions as a multiple of equity.
    pub max_gross_leverage: Decimal,
    /// Distance of the stop as a multiple of the ATR.
    pub stop_atr_multiple: f64,
    /// Nearest stop, in percent of the price.
    pub stop_min_percent: f64,
    /// Farthest stop, in percent of the price.
    pub stop_max_percent: f64,
}

impl Limits {
    /// The limits of a bot for one of its assets.
    pub fn new(class: AssetClass, bot: &Risk, asset: &AssetRisk) -> Self {
        let one_bar = DECISION_TIMEFRAME.as_secs();
        Self {
            class,
            confidence_floor: bot.confidence_floor,
            max_entries_per_day: bot.max_entries_per_day.into(),
            max_open_positions: bot.max_open_positions.into(),
            cooldown: bot.cooldown.as_secs().max(one_bar) as f64,
            risk_per_trade_percent: bot.risk_per_trade_percent.0,
            max_position_percent: asset.max_position_percent.0,
            max_gross_leverage: bot.max_gross_leverage.0,
            stop_atr_multiple: asset.stop.atr_multiple.to_f64(),
            stop_min_percent: asset.stop.min_percent.to_f64(),
            stop_max_percent: asset.stop.max_percent.to_f64(),
        }
    }
}
