//! The stop that follows the best price.

use super::{ExitContext, Protection};

/// From `fromR` on: the best price less the larger of `atrMultiple · ATR` and `minR · R`. Without an ATR
/// the stop stays where it is.
pub(super) fn candidate(protection: &Protection, context: &ExitContext<'_>) -> Option<f64> {
    let config = &context.exits.trail;
    if !config.enabled || protection.profit_in_r(protection.best) < config.from_r.to_f64() {
        return None;
    }
    let by_atr = config.atr_multiple.to_f64() * context.atr?;
    let distance = by_atr.max(config.min_r.to_f64() * protection.risk);
    Some(protection.best - protection.side.sign() * distance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{ExitReason, Side};
    use crate::risk::CostRates;
    use crds::Numeric;
    use crds::config::{BreakEven, Exits, Trail};

    #[test]
    fn it_follows_at_the_larger_of_the_two_distances() {
        let numeric = |text: &str| Numeric(text.parse().unwrap());
        let exits = Exits {
            break_even: BreakEven { enabled: false, at_r: 1.into() },
            trail: Trail {
                enabled: true,
                from_r: numeric("1.5"),
                atr_multiple: numeric("1.5"),
                min_r: numeric("0.75"),
            },
        };
        let costs = CostRates::reference();
        let context = |atr| ExitContext { exits: &exits, costs: &costs, atr };
        for side in [Side::Long, Side::Short] {
            let price = |distance: f64| 100.0 + side.sign() * distance;
            let mut protection = Protection::new(side, 100.0, price(-4.0), None).unwrap();
            assert_eq!(protection.observe(price(5.9), &context(Some(1.0))), None);
            // 0.75 R = 3 is larger than 1.5 ATR = 1.5.
            assert_eq!(protection.observe(price(6.0), &context(Some(1.0))), Some(price(-4.0)));
            assert_eq!((protection.stop, protection.stop_by), (price(3.0), ExitReason::Trail));
            assert_eq!(protection.observe(price(8.0), &context(None)), None);
            // 1.5 ATR = 4.5 is larger: 8 − 4.5.
            assert_eq!(protection.observe(price(7.0), &context(Some(3.0))), Some(price(3.0)));
            assert_eq!(protection.stop, price(3.5));
        }
    }
}
