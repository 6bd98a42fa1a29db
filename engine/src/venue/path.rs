//! How a price moves within a bar or between two quotes, and what a stop and a target make of it.
//!
//! A bar walks open → the extreme that hurts → the other extreme → close. The stop is given as it stood
//! at the bar's start; what changes it within the bar acts from the next one.

use crate::market::Bar;
use crate::output::Side;

/// A stop or a target that was reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Touch {
    /// Which.
    pub kind: TouchKind,
    /// The price at which it fills, before costs.
    pub price: f64,
    /// Whether it was reached by the very first price.
    pub at_open: bool,
}

/// What was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchKind {
    /// The protective stop: fills at the market.
    Stop,
    /// The target: fills as a limit order.
    Target,
}

/// The touch over the time since the quote before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuoteWindow {
    /// Last bid.
    pub bid: f64,
    /// Last ask.
    pub ask: f64,
    /// Lowest bid.
    pub low_bid: f64,
    /// Highest ask.
    pub high_ask: f64,
}

impl QuoteWindow {
    /// Between bid and ask.
    pub fn mid(&self) -> f64 {
        f64::midpoint(self.bid, self.ask)
    }
}

/// Whether `price` is as far as `line` or farther, against the side: a stop triggers on touch.
fn hurts(side: Side, price: f64, line: f64) -> bool {
    (price - line) * side.sign() <= 0.0
}

/// Whether `price` is beyond `line`, for the side: a limit needs trade-through.
fn through(side: Side, price: f64, line: f64) -> bool {
    (price - line) * side.sign() > 0.0
}

/// What a bar does to a position with that stop and target.
pub fn walk_bar(bar: &Bar, side: Side, stop: f64, target: Option<f64>) -> Option<Touch> {
    let (worst, best) = match side {
        Side::Long => (bar.low, bar.high),
        Side::Short => (bar.high, bar.low),
    };
    let reached = |price: f64| target.filter(|target| through(side, price, *target));
    if hurts(side, bar.open, stop) {
        return Some(Touch { kind: TouchKind::Stop, price: bar.open, at_open: true });
    }
    if let Some(target) = reached(bar.open) {
        return Some(Touch { kind: TouchKind::Target, price: target, at_open: true });
    }
    if hurts(side, worst, stop) {
        return Some(Touch { kind: TouchKind::Stop, price: stop, at_open: false });
    }
    reached(best).map(|target| Touch { kind: TouchKind::Target, price: target, at_open: false })
}

/// What a quote does to a position with that stop and target. A long is tested on the bid, a short on
/// the ask. A stop touched within the window fills there, or at the last price when that is worse.
pub fn walk_quote(quote: &QuoteWindow, side: Side, stop: f64, target: Option<f64>) -> Option<Touch> {
    let (worst, last) = match side {
        Side::Long => (quote.low_bid, quote.bid),
        Side::Short => (quote.high_ask, quote.ask),
    };
    if hurts(side, worst, stop) {
        let price = if hurts(side, last, stop) { last } else { stop };
        return Some(Touch { kind: TouchKind::Stop, price, at_open: false });
    }
    let target = target.filter(|target| through(side, last, *target))?;
    Some(Touch { kind: TouchKind::Target, price: target, at_open: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn bar(open: f64, high: f64, low: f64, close: f64) -> Bar {
        Bar { open, high, low, close, volume: 1.0 }
    }

    fn long(bar: Bar, stop: f64, target: f64) -> Option<(TouchKind, f64)> {
        walk_bar(&bar, Side::Long, stop, Some(target)).map(|touch| (touch.kind, touch.price))
    }

    fn short(bar: Bar, stop: f64, target: f64) -> Option<(TouchKind, f64)> {
        walk_bar(&bar, Side::Short, stop, Some(target)).map(|touch| (touch.kind, touch.price))
    }

    #[test]
    fn rule_2_an_open_beyond_the_stop_fills_at_the_open() {
        assert_eq!(long(bar(94.0, 99.0, 93.0, 98.0), 95.0, 110.0), Some((TouchKind::Stop, 94.0)));
        assert_eq!(short(bar(106.0, 107.0, 100.0, 101.0), 105.0, 90.0), Some((TouchKind::Stop, 106.0)));
    }

    #[test]
    fn rule_2_an_open_beyond_the_target_fills_at_the_target() {
        assert_eq!(long(bar(112.0, 113.0, 90.0, 91.0), 95.0, 110.0), Some((TouchKind::Target, 110.0)));
        assert_eq!(short(bar(88.0, 120.0, 87.0, 119.0), 105.0, 90.0), Some((TouchKind::Target, 90.0)));
    }

    #[test]
    fn rule_3_stop_and_target_both_touched_is_the_stop() {
        assert_eq!(long(bar(100.0, 111.0, 94.0, 110.5), 95.0, 110.0), Some((TouchKind::Stop, 95.0)));
        assert_eq!(short(bar(100.0, 106.0, 89.0, 89.5), 105.0, 90.0), Some((TouchKind::Stop, 105.0)));
    }

    #[test]
    fn rule_5_a_stop_triggers_on_touch_and_a_limit_needs_trade_through() {
        assert_eq!(long(bar(100.0, 109.0, 95.0, 96.0), 95.0, 110.0), Some((TouchKind::Stop, 95.0)));
        assert_eq!(long(bar(100.0, 110.0, 95.1, 96.0), 95.0, 110.0), None);
        assert_eq!(long(bar(100.0, 110.1, 95.1, 96.0), 95.0, 110.0), Some((TouchKind::Target, 110.0)));
        assert_eq!(short(bar(100.0, 105.0, 95.0, 96.0), 105.0, 90.0), Some((TouchKind::Stop, 105.0)));
        assert_eq!(short(bar(100.0, 104.9, 90.0, 91.0), 105.0, 90.0), None);
    }

    #[test]
    fn live_a_long_is_tested_on_the_bid_and_a_short_on_the_ask() {
        let quote = QuoteWindow { bid: 99.0, ask: 101.0, low_bid: 96.0, high_ask: 104.0 };
        let touch =
            |side, stop, target| walk_quote(&quote, side, stop, Some(target)).map(|touch| touch.price);
        assert_eq!(touch(Side::Long, 95.0, 110.0), None);
        // Touched within the window, and better again since.
        assert_eq!(touch(Side::Long, 97.0, 110.0), Some(97.0));
        // Still beyond: the last price.
        assert_eq!(touch(Side::Long, 99.5, 110.0), Some(99.0));
        // The ask is through the target, the bid is not.
        assert_eq!(touch(Side::Long, 95.0, 100.0), None);
        assert_eq!(touch(Side::Long, 95.0, 98.5), Some(98.5));
        assert_eq!(touch(Side::Short, 105.0, 90.0), None);
        assert_eq!(touch(Side::Short, 103.0, 90.0), Some(103.0));
        assert_eq!(touch(Side::Short, 105.0, 101.5), Some(101.5));
    }
}
