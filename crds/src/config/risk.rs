//! Limits of the risk gatekeeper, position size and stop.

use super::layered::layered;
use crate::{Duration, Numeric};

layered! {
    /// What the risk gatekeeper allows. All percentages are of equity unless they say otherwise.
    Risk / RiskSpec {
        /// Lowest confidence of a verdict that may open a position, 0 to 100.
        #[schemars(range(min = 0, max = 100))]
        confidence_floor: u8,
        /// Entries are refused from this number of entry fills on, per bot and trading day.
        #[schemars(range(min = 1, max = 1000))]
        max_entries_per_day: u16,
        /// Entries are refused from this number of open positions on.
        #[schemars(range(min = 1, max = 64))]
        max_open_positions: u16,
        /// Shortest pause on an asset after a stop-out or a venue's rejection; never shorter than one
        /// bar of the decision timeframe.
        cooldown: Duration,
        /// Equity put at risk between entry and stop, costs included, in percent.
        risk_per_trade_percent: Numeric,
        /// Largest position in one asset, in percent.
        max_position_percent: Numeric,
        /// Largest sum of all positions, as a multiple of equity.
        max_gross_leverage: Numeric,
        /// Where the protective stop goes.
        stop: Stop,
    }
}

layered! {
    /// Distance of the protective stop from the decision price.
    Stop / StopSpec {
        /// Multiple of ATR14 on the decision timeframe.
        atr_multiple: Numeric,
        /// Nearest distance, in percent of the price.
        min_percent: Numeric,
        /// Farthest distance, in percent of the price.
        max_percent: Numeric,
    }
}

layered! {
    /// The limits that an asset may set for itself; what it leaves out is the bot's.
    AssetRisk / AssetRiskSpec {
        /// Largest position in this asset, in percent of equity.
        max_position_percent: Numeric,
        /// Where the protective stop goes.
        stop: Stop,
    }
}
