//! What protects an open position. A stop is always there, and it never loosens.

mod break_even;
mod stop;
mod trail;

use crds::config::Exits;
use serde::{Deserialize, Serialize};

use crate::output::{ExitReason, Side};
use crate::risk::CostRates;
pub use break_even::break_even_price;

/// The stop and target of a position, and what they are measured from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protection {
    /// Which way the position profits.
    pub side: Side,
    /// Price of the entry fill.
    pub entry: f64,
    /// The initial risk R: distance from the entry fill to the first stop.
    pub risk: f64,
    /// Best price since the entry.
    pub best: f64,
    /// Where the stop is.
    pub stop: f64,
    /// What put it there.
    pub stop_by: ExitReason,
    /// Where the target is, when there is one.
    pub target: Option<f64>,
}

/// What the automatic exits need to know.
#[derive(Clone, Copy, Debug)]
pub struct ExitContext<'a> {
    /// Which are on, and from where.
    pub exits: &'a Exits,
    /// What closing costs.
    pub costs: &'a CostRates,
    /// ATR14 on the decision timeframe, when it is available.
    pub atr: Option<f64>,
}

impl Protection {
    /// Protection of a fresh fill. None when the stop is not on the losing side of it: then there is no
    /// risk to measure by.
    pub fn new(side: Side, entry: f64, stop: f64, target: Option<f64>) -> Option<Self> {
        let risk = (entry - stop) * side.sign();
        (risk.is_finite() && risk > 0.0).then_some(Self {
            side,
            entry,
            risk,
            best: entry,
            stop,
            stop_by: ExitReason::Stop,
            target,
        })
    }

    /// Profit at a price, in multiples of R.
    pub fn profit_in_r(&self, price: f64) -> f64 {
        (price - self.entry) * self.side.sign() / self.risk
    }

    /// Takes note of the best price that a bar or quote reached, and moves the stop closer where an exit
    /// says so. Returns where the stop was when it moved. The new stop holds from the next price on.
    pub fn observe(&mut self, best: f64, context: &ExitContext<'_>) -> Option<f64> {
        if (best - self.best) * self.side.sign() > 0.0 {
            self.best = best;
        }
        let before = self.stop;
        let candidates = [
            (break_even::candidate(self, context), ExitReason::BreakEven),
            (trail::candidate(self, context), ExitReason::Trail),
        ];
        for (candidate, by) in candidates {
            self.tighten(candidate, by);
        }
        (self.stop != before).then_some(before)
    }
}
