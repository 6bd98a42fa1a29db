//! How an open position is protected beyond its stop.

use super::layered::layered;
use crate::Numeric;

layered! {
    /// Automatic exits. A stop is always there; these move it, and only ever closer.
    Exits / ExitsSpec {
        /// Moves the stop to where the trade costs nothing.
        break_even: BreakEven,
        /// Lets the stop follow the price.
        trail: Trail,
    }
}

layered! {
    /// Stop to break-even, costs included.
    BreakEven / BreakEvenSpec {
        /// Whether it is on.
        enabled: bool,
        /// From this profit on, in multiples of the initial risk R.
        at_r: Numeric,
    }
}

layered! {
    /// Trailing stop. Its distance from the best price is the larger of the two.
    Trail / TrailSpec {
        /// Whether it is on.
        enabled: bool,
        /// From this profit on, in multiples of the initial risk R.
        from_r: Numeric,
        /// Distance as a multiple of ATR14 on the decision timeframe.
        atr_multiple: Numeric,
        /// Distance in multiples of the initial risk R.
        min_r: Numeric,
    }
}
