//! What the panel sees: numbers, each with a name.

use std::collections::BTreeMap;

use crds::Asset;
use jiff::Timestamp;

use super::{Action, Evidence};
use crate::output::Side;

/// The names of the brief's numbers.
pub mod field {
    /// Close of the last final 4h bar.
    pub const CLOSE_4H: &str = "4h.close";
    /// EMA20 on 4h.
    pub const EMA20_4H: &str = "4h.ema20";
    /// EMA50 on 4h.
    pub const EMA50_4H: &str = "4h.ema50";
    /// ATR14 on 4h.
    pub const ATR14_4H: &str = "4h.atr14";
    /// ADX14 on 4h.
    pub const ADX14_4H: &str = "4h.adx14";
    /// Trend score on 4h, -100 to 100.
    pub const SCORE_4H: &str = "4h.score";
    /// Highest high of the 20 4h bars before the last one.
    pub const HIGH20_4H: &str = "4h.high20";
    /// Lowest low of the 20 4h bars before the last one.
    pub const LOW20_4H: &str = "4h.low20";
    /// Highest high of the 10 4h bars before the last one.
    pub const HIGH10_4H: &str = "4h.high10";
    /// Lowest low of the 10 4h bars before the last one.
    pub const LOW10_4H: &str = "4h.low10";
    /// Close of the last final day.
    pub const CLOSE_1D: &str = "1d.close";
    /// EMA50 on days.
    pub const EMA50_1D: &str = "1d.ema50";
    /// Price at the decision.
    pub const PRICE: &str = "price";
    /// Entry price of the open position.
    pub const POSITION_ENTRY: &str = "position.entry";
    /// Profit of the open position in multiples of its initial risk.
    pub const POSITION_R: &str = "position.r";

    /// Every name.
    const ALL: [&str; 15] = [
        CLOSE_4H,
        EMA20_4H,
        EMA50_4H,
        ATR14_4H,
        ADX14_4H,
        SCORE_4H,
        HIGH20_4H,
        LOW20_4H,
        HIGH10_4H,
        LOW10_4H,
        CLOSE_1D,
        EMA50_1D,
        PRICE,
        POSITION_ENTRY,
        POSITION_R,
    ];

    /// The name, if it is one.
    pub fn known(name: &str) -> Option<&'static str> {
        ALL.into_iter().find(|known| *known == name)
    }
}

/// A number that the panel needs and the brief does not have: too few bars so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not available yet")]
pub struct MissingNumber(pub &'static str);

/// One asset, as the panel sees it. What is not available is not there; it is never 0 or 50.
#[derive(Clone, Debug, PartialEq)]
pub struct Brief {
    /// The pair.
    pub asset: Asset,
    /// Market time.
    pub at: Timestamp,
    /// Side of the open position.
    pub position: Option<Side>,
    /// What may be wanted; `hold` is always among it.
    pub legal: &'static [Action],
    /// Every available number by its field.
    pub numbers: BTreeMap<&'static str, f64>,
}

impl Brief {
    /// The number, as evidence.
    ///
    /// # Errors
    /// When it is not available.
    pub fn cite(&self, field: &'static str) -> Result<Evidence, MissingNumber> {
        let value = self.number(field)?;
        Ok(Evidence { field: field.to_owned(), value })
    }

    /// The number.
    ///
    /// # Errors
    /// When it is not available.
    pub fn number(&self, field: &'static str) -> Result<f64, MissingNumber> {
        self.numbers.get(field).copied().ok_or(MissingNumber(field))
    }
}
