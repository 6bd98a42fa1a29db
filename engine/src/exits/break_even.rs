//! The stop to where the trade costs nothing.

use super::{ExitContext, Protection};
use crate::decimal::to_f64;
use crate::output::Side;
use crate::risk::CostRates;

/// The price before costs at which closing brings back what the entry fill cost, fees included:
/// `fill · (1 + fee) / ((1 − slippage − halfSpread) · (1 − fee))` for a long, mirrored for a short.
pub fn break_even_price(side: Side, fill: f64, costs: &CostRates) -> f64 {
    let worse = to_f64(costs.slippage) + to_f64(costs.half_spread);
    let fee = to_f64(costs.taker);
    let sign = side.sign();
    fill * (1.0 + sign * fee) / ((1.0 - sign * worse) * (1.0 - sign * fee))
}

pub(super) fn candidate(protection: &Protection, context: &ExitContext<'_>) -> Option<f64> {
    let config = &context.exits.break_even;
    let reached = protection.profit_in_r(protection.best) >= config.at_r.to_f64();
    (config.enabled && reached).then(|| break_even_price(protection.side, protection.entry, context.costs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::ExitReason;
    use crds::config::{BreakEven, Exits, Trail};

    fn exits() -> Exits {
        Exits {
            break_even: BreakEven { enabled: true, at_r: 1.into() },
            trail: Trail { enabled: false, from_r: 1.into(), atr_multiple: 1.into(), min_r: 1.into() },
        }
    }

    #[test]
    fn closing_there_brings_back_what_the_entry_cost() {
        let costs = CostRates::reference();
        for side in [Side::Long, Side::Short] {
            let sign = side.sign();
            let base = break_even_price(side, 50_075.0, &costs);
            let out = base * (1.0 - sign * 0.0015) * (1.0 - sign * 0.0006);
            let paid = 50_075.0 * (1.0 + sign * 0.0006);
            assert!((out - paid).abs() < 1e-8, "{side:?}: {out} {paid}");
        }
        // 50,075 · 1.0006 / (0.9985 · 0.9994)
        assert!((break_even_price(Side::Long, 50_075.0, &costs) - 50_210.441_7).abs() < 1e-3);
    }

    #[test]
    fn it_moves_at_1_r_and_not_before() {
        let (exits, costs) = (exits(), CostRates::reference());
        let context = ExitContext { exits: &exits, costs: &costs, atr: None };
        let mut protection = Protection::new(Side::Long, 100.0, 95.0, None).unwrap();
        assert_eq!(protection.observe(104.99, &context), None);
        assert_eq!(protection.observe(105.0, &context), Some(95.0));
        assert_eq!(protection.stop, break_even_price(Side::Long, 100.0, &costs));
        assert_eq!(protection.stop_by, ExitReason::BreakEven);
        assert_eq!(protection.observe(105.0, &context), None);
    }
}
