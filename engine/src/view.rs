//! What the outside may see of a bot.

use crds::Asset;
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::output::Side;

/// Whose bot it is; part of every id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BotId {
    /// The namespace, or any word in local mode.
    pub namespace: String,
    /// The bot's name.
    pub name: String,
}

/// The account in money.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// The currency of every amount.
    pub currency: String,
    /// Cash and marked positions.
    pub equity: Decimal,
    /// Cash of all venues.
    pub cash: Decimal,
    /// Equity less equity at 00:00 UTC.
    pub day_pnl: Decimal,
    /// Closed parts of trades, less all fees paid.
    pub realized_pnl: Decimal,
    /// Open positions at the mark, less what they cost.
    pub unrealized_pnl: Decimal,
    /// Distance of equity below its peak, in percent of the peak; rounded to 4 places.
    pub drawdown_percent: Decimal,
}

/// An open position.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// The id of the entry order, and of the trade to come.
    pub id: Id,
    /// The pair.
    pub asset: Asset,
    /// Name of the venue.
    pub venue: String,
    /// Which way.
    pub side: Side,
    /// In units of the base.
    pub quantity: Decimal,
    /// Price paid, spread and slippage included.
    pub entry_price: Decimal,
    /// Last price.
    pub mark: Decimal,
    /// At the mark, less what it cost.
    pub unrealized_pnl: Decimal,
    /// The protective stop.
    pub stop: f64,
    /// The target, when there is one.
    pub target: Option<f64>,
    /// Market time of the entry fill.
    pub opened_at: Timestamp,
}
