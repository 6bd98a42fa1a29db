//! The one way to move a stop.

use super::Protection;
use crate::output::ExitReason;

impl Protection {
    /// Moves the stop when the candidate is closer to the profitable side; otherwise nothing happens.
    pub(super) fn tighten(&mut self, candidate: Option<f64>, by: ExitReason) {
        let Some(stop) = candidate.filter(|stop| stop.is_finite() && *stop > 0.0) else { return };
        if (stop - self.stop) * self.side.sign() > 0.0 {
            self.stop = stop;
            self.stop_by = by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exits::ExitContext;
    use crate::output::Side;
    use crate::risk::CostRates;
    use crds::config::{BreakEven, Exits, Trail};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_stop_never_loosens(
            short: bool,
            prices in proptest::collection::vec((50.0f64..200.0, proptest::option::of(0.1f64..20.0)), 1..100),
        ) {
            let (side, stop) = if short { (Side::Short, 105.0) } else { (Side::Long, 95.0) };
            let exits = Exits {
                break_even: BreakEven { enabled: true, at_r: 1.into() },
                trail: Trail { enabled: true, from_r: 1.into(), atr_multiple: 1.into(), min_r: 1.into() },
            };
            let mut protection = Protection::new(side, 100.0, stop, None).unwrap();
            for (price, atr) in prices {
                let before = protection;
                let context = ExitContext { exits: &exits, costs: &CostRates::reference(), atr };
                let moved = protection.observe(price, &context);
                prop_assert!((protection.stop - before.stop) * side.sign() >= 0.0);
                prop_assert_eq!(moved.is_some(), protection.stop != before.stop);
                prop_assert_eq!(protection.risk, before.risk);
            }
        }
    }

    #[test]
    fn no_candidate_and_no_number_leave_it_where_it_is() {
        let mut protection = Protection::new(Side::Long, 100.0, 95.0, None).unwrap();
        for candidate in [None, Some(f64::NAN), Some(f64::INFINITY), Some(94.0), Some(-1.0)] {
            protection.tighten(candidate, ExitReason::Trail);
            assert_eq!((protection.stop, protection.stop_by), (95.0, ExitReason::Stop));
        }
    }
}
