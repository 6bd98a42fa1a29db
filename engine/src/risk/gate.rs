//! The pipeline: checks, stop, checks, size, checks.

use super::checks::{CHECKS_BEFORE_THE_PLAN, minimum, room};
use super::plan::{Plan, stop_distance};
use super::size::size;
use super::{Assessment, Candidate, CheckResult, Reason};
use crate::panel::legal_actions;

/// Says whether a verdict may become an order.
pub trait Gate {
    /// What each check says of an entry, and its plan when all say yes.
    fn assess(&self, candidate: &Candidate) -> Assessment;
}

/// The built-in gatekeeper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RiskGate;

impl Gate for RiskGate {
    fn assess(&self, candidate: &Candidate) -> Assessment {
        // What the position forbids has a check of its own, with a better word.
        let legal = candidate.action.opens().is_some()
            && legal_actions(candidate.limits.class, None).contains(&candidate.action);
        let mut checks = vec![CheckResult::plain(0, Reason::IllegalAction, legal)];
        checks.extend(CHECKS_BEFORE_THE_PLAN.iter().flat_map(|check| check(candidate)));
        let plan = plan(candidate, &mut checks);
        let plan = plan.filter(|_| checks.iter().all(|check| check.passed));
        Assessment { checks, plan }
    }
}

/// The plan, and the checks that it takes on the way. None where it cannot be made.
fn plan(candidate: &Candidate, checks: &mut Vec<CheckResult>) -> Option<Plan> {
    let side = candidate.action.opens()?;
    let stop_distance = stop_distance(candidate);
    checks.push(CheckResult::plain(0, Reason::NoStop, stop_distance.is_some()));
    let stop_distance = stop_distance?;
    let sizing = size(candidate, stop_distance);
    checks.push(CheckResult::plain(0, Reason::NoSize, sizing.is_some()));
    let sizing = sizing?;
    checks.extend(room::check(&sizing));
    checks.push(minimum::check(&sizing));
    Some(Plan {
        price: candidate.price,
        stop: candidate.price * (1.0 - side.sign() * stop_distance),
        target: None,
        stop_distance,
        loss_per_unit: sizing.loss_per_unit.normalize(),
        quantity: sizing.quantity.normalize(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::market::Freshness;
    use crate::output::Side;
    use crate::panel::Action;
    use crate::risk::{Budget, CostRates, Exposure, Limits, Operation, Rejection};
    use crate::venue::Paper;
    use crds::{AssetClass, Timeframe};
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    fn dec(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    /// 10,000 in cash, BTC at 50,000 with a 2 ATR stop at 1.58 %: with the costs a unit may lose 2 %.
    pub(crate) fn reference() -> Candidate {
        let now = "2020-05-01T12:00:00Z".parse().unwrap();
        Candidate {
            asset: "BTC-USD".parse().unwrap(),
            action: Action::OpenLong,
            confidence: 90,
            price: 50_000.0,
            atr: Some(395.0),
            operation: Operation { paused: false, lease_held: true, unresolved_order: false },
            freshness: Freshness {
                now,
                fed: Some((Timeframe::H1, now)),
                decision: Some((Timeframe::H4, now)),
                quote: None,
            },
            exposure: Exposure { position: None, entries_today: 0, open_positions: 0, since_stop: None },
            budget: Budget {
                equity: dec("10000"),
                asset_exposure: Decimal::ZERO,
                gross_exposure: Decimal::ZERO,
                cash: Some(dec("10000")),
            },
            costs: CostRates::reference(),
            limits: Limits {
                class: AssetClass::Crypto,
                confidence_floor: 70,
                max_entries_per_day: 5,
                max_open_positions: 5,
                cooldown: 14_400.0,
                risk_per_trade_percent: dec("1"),
                max_position_percent: dec("60"),
                max_gross_leverage: dec("1"),
                stop_atr_multiple: 2.0,
                stop_min_percent: 1.0,
                stop_max_percent: 10.0,
            },
        }
    }

    fn assess(candidate: &Candidate) -> Result<Plan, Rejection> {
        RiskGate.assess(candidate).answer()
    }

    fn rejected(change: impl FnOnce(&mut Candidate)) -> (u8, Reason, Option<f64>, Option<f64>) {
        let mut candidate = reference();
        change(&mut candidate);
        let Rejection { check, reason, measured, limit } = assess(&candidate).unwrap_err();
        (check, reason, measured, limit)
    }

    #[test]
    fn the_reference_trade_passes_with_a_60_percent_position() {
        let plan = assess(&reference()).unwrap();
        assert_eq!((plan.quantity, plan.loss_per_unit), (dec("0.1"), dec("1000")));
        assert_eq!((plan.stop_distance, plan.stop, plan.target), (0.0158, 49_210.0, None));
    }

    #[test]
    fn every_check_has_its_number_its_word_what_it_measured_and_its_limit() {
        assert_eq!(rejected(|c| c.operation.paused = true), (1, Reason::Paused, None, None));
        assert_eq!(rejected(|c| c.operation.lease_held = false), (1, Reason::LeaseNotHeld, None, None));
        assert_eq!(
            rejected(|c| c.operation.unresolved_order = true),
            (1, Reason::UnresolvedOrder, None, None)
        );
        let stale = |c: &mut Candidate| c.freshness.now = "2020-05-01T14:00:01Z".parse().unwrap();
        assert_eq!(rejected(stale), (2, Reason::StaleData, Some(7201.0), Some(7200.0)));
        assert_eq!(rejected(|c| c.freshness.decision = None), (2, Reason::StaleData, None, Some(0.0)));
        assert_eq!(rejected(|c| c.confidence = 69), (3, Reason::Confidence, Some(69.0), Some(70.0)));
        assert_eq!(
            rejected(|c| c.exposure.entries_today = 5),
            (4, Reason::EntriesToday, Some(5.0), Some(5.0))
        );
        assert_eq!(
            rejected(|c| c.exposure.open_positions = 5),
            (4, Reason::OpenPositions, Some(5.0), Some(5.0))
        );
        assert_eq!(rejected(|c| c.exposure.position = Some(Side::Long)), (5, Reason::Duplicate, None, None));
        assert_eq!(
            rejected(|c| c.exposure.since_stop = Some(14_399.0)),
            (5, Reason::Cooldown, Some(14_399.0), Some(14_400.0))
        );
        assert_eq!(rejected(|c| c.atr = None), (0, Reason::NoStop, None, None));
        assert_eq!(rejected(|c| c.budget.equity = dec("0")), (0, Reason::NoSize, None, None));
        // 500 are left of 6,000; a tenth of the wanted 5,000 would have done, 501 are used up.
        let full = |c: &mut Candidate| c.budget.asset_exposure = dec("5501");
        assert_eq!(rejected(full), (10, Reason::Concentration, Some(499.0), Some(500.0)));
        let full = |c: &mut Candidate| c.budget.gross_exposure = dec("9501");
        assert_eq!(rejected(full), (10, Reason::Leverage, Some(499.0), Some(500.0)));
        let (check, reason, measured, _) = rejected(|c| c.budget.cash = Some(dec("400")));
        assert_eq!((check, reason), (10, Reason::BuyingPower));
        assert!(measured.unwrap() < 400.0);
        let tiny = |c: &mut Candidate| c.budget = Budget { equity: dec("1"), cash: None, ..c.budget };
        assert_eq!(rejected(tiny), (12, Reason::BelowMinimum, Some(0.5), Some(1.0)));
        assert_eq!(rejected(|c| c.action = Action::OpenShort), (0, Reason::IllegalAction, None, None));
        assert_eq!(rejected(|c| c.action = Action::Hold), (0, Reason::IllegalAction, None, None));
    }

    #[test]
    fn the_first_no_wins() {
        let all_wrong = |c: &mut Candidate| {
            c.confidence = 0;
            c.exposure.entries_today = 9;
            c.atr = None;
        };
        assert_eq!(rejected(all_wrong).0, 3);
    }

    #[test]
    fn every_check_speaks_whatever_the_others_say() {
        let numbers = |candidate: &Candidate| -> Vec<u8> {
            RiskGate.assess(candidate).checks.iter().map(|check| check.check).collect()
        };
        // Action; operation; ages of bar and decision bar; confidence; counts; repetition; stop and size;
        // rooms; minimum.
        let all = [0, 1, 1, 1, 2, 2, 3, 4, 4, 5, 5, 0, 0, 10, 10, 10, 12];
        assert_eq!(numbers(&reference()), all);
        let mut candidate = reference();
        candidate.operation.paused = true;
        candidate.exposure.entries_today = 9;
        candidate.budget.gross_exposure = dec("9501");
        assert_eq!(numbers(&candidate), all);
        let Assessment { checks, plan } = RiskGate.assess(&candidate);
        let noes: Vec<_> = checks.iter().filter(|check| !check.passed).map(|check| check.about).collect();
        assert_eq!(noes, [Reason::Paused, Reason::EntriesToday, Reason::Leverage]);
        assert_eq!(plan, None);
        candidate.atr = None;
        // Without a stop there is no size and nothing to compare with the rooms.
        assert_eq!(numbers(&candidate), all[..12]);
    }

    #[test]
    fn a_cooldown_is_over_once_its_time_has_passed_equality_included() {
        let mut candidate = reference();
        candidate.exposure.since_stop = Some(14_400.0);
        assert!(assess(&candidate).is_ok());
    }

    #[test]
    fn the_stop_is_clamped_on_both_sides() {
        let mut candidate = reference();
        candidate.atr = Some(10.0);
        assert_eq!(assess(&candidate).unwrap().stop_distance, 0.01);
        candidate.atr = Some(9_000.0);
        assert_eq!(assess(&candidate).unwrap().stop_distance, 0.1);
    }

    #[test]
    fn confidence_scales_the_capped_size_from_half_at_the_floor_to_all_at_90() {
        let quantity = |confidence, percent: &str| {
            let mut candidate = reference();
            candidate.confidence = confidence;
            candidate.limits.max_position_percent = dec(percent);
            assess(&candidate).unwrap().quantity
        };
        assert_eq!(quantity(70, "60"), dec("0.05"));
        assert_eq!(quantity(80, "60"), dec("0.075"));
        assert_eq!(quantity(100, "60"), dec("0.1"));
        // Capped at 2,500 of notional first.
        assert_eq!(quantity(90, "25"), dec("0.05"));
        assert_eq!(quantity(70, "25"), dec("0.025"));
    }

    prop_compose! {
        fn garbage()(
            (price, atr, confidence) in (any::<f64>(), proptest::option::of(any::<f64>()), any::<u8>()),
            (multiple, nearest, farthest, since) in (
                any::<f64>(), any::<f64>(), any::<f64>(), proptest::option::of(any::<f64>()),
            ),
            (equity, asset, gross) in (any::<i64>(), any::<i64>(), any::<i64>()),
            cash in proptest::option::of(any::<i64>()),
            (risk, position, leverage, cost) in (any::<i64>(), any::<i64>(), any::<i64>(), any::<i32>()),
            (scale, floor) in (0u32..20, any::<u8>()),
        ) -> Candidate {
            let decimal = |value: i64| Decimal::new(value, scale);
            let mut candidate = reference();
            candidate.price = price;
            candidate.atr = atr;
            candidate.confidence = confidence;
            candidate.exposure.since_stop = since;
            candidate.budget = Budget {
                equity: decimal(equity),
                asset_exposure: decimal(asset),
                gross_exposure: decimal(gross),
                cash: cash.map(decimal),
            };
            let rate = Decimal::new(cost.into(), 4);
            candidate.costs = CostRates { slippage: rate, half_spread: rate, taker: rate, maker: rate };
            candidate.limits = Limits {
                confidence_floor: floor,
                risk_per_trade_percent: decimal(risk),
                max_position_percent: decimal(position),
                max_gross_leverage: decimal(leverage),
                stop_atr_multiple: multiple,
                stop_min_percent: nearest,
                stop_max_percent: farthest,
                ..candidate.limits
            };
            candidate
        }
    }

    prop_compose! {
        fn sensible()(
            (price, atr) in (0.01f64..100_000.0, 0.0001f64..0.2),
            confidence in 70u8..=100,
            equity in 1_000i64..10_000_000,
            (held, other, cash) in (0i64..100, 0i64..100, 1i64..=100),
            (risk, position, leverage) in (1i64..50, 1i64..=1000, 1i64..50),
        ) -> Candidate {
            let mut candidate = reference();
            candidate.price = price;
            candidate.atr = Some(price * atr);
            candidate.confidence = confidence;
            let equity = Decimal::from(equity);
            let percent = |value: i64| equity * Decimal::new(value, 2);
            candidate.budget = Budget {
                equity,
                asset_exposure: percent(held),
                gross_exposure: percent(held + other),
                cash: Some(percent(cash)),
            };
            candidate.limits.risk_per_trade_percent = Decimal::new(risk, 1);
            candidate.limits.max_position_percent = Decimal::new(position, 1);
            candidate.limits.max_gross_leverage = Decimal::new(leverage, 1);
            candidate
        }
    }

    fn within_limits(candidate: &Candidate, plan: &Plan) -> Result<(), TestCaseError> {
        let Candidate { budget, limits, .. } = candidate;
        let hundred = Decimal::from(100);
        let price = crate::decimal::from_f64(candidate.price).unwrap();
        let notional = plan.quantity * price;
        // The venue's prices have 12 digits: base and fill price are each off by half of the last one.
        let hair = Decimal::new(1, 11) * budget.equity;
        prop_assert!(
            plan.quantity * plan.loss_per_unit
                <= budget.equity * limits.risk_per_trade_percent / hundred + hair
        );
        prop_assert!(
            budget.asset_exposure + notional <= budget.equity * limits.max_position_percent / hundred + hair
        );
        prop_assert!(budget.gross_exposure + notional <= budget.equity * limits.max_gross_leverage + hair);
        let paper = Paper { costs: candidate.costs };
        let paid = paper
            .price(crate::venue::Liquidity::TakeAtMid, Side::Long, true, candidate.price, plan.quantity)
            .unwrap();
        prop_assert!(plan.quantity * paid.price + paid.fee <= budget.cash.unwrap() + hair);
        prop_assert_eq!(plan.quantity % Paper::INCREMENT, Decimal::ZERO);
        prop_assert!(notional >= Paper::MINIMUM_NOTIONAL);
        prop_assert!(plan.stop > 0.0 && plan.stop < candidate.price);
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn sizes_stay_within_every_limit(candidate in sensible()) {
            if let Ok(plan) = assess(&candidate) {
                within_limits(&candidate, &plan)?;
            }
        }

        #[test]
        fn garbage_gives_a_reasoned_rejection_or_a_plan_that_makes_sense(candidate in garbage()) {
            match assess(&candidate) {
                Err(rejection) => {
                    let text = serde_json::to_string(&rejection).unwrap();
                    prop_assert_eq!(serde_json::from_str::<Rejection>(&text).unwrap(), rejection);
                }
                Ok(plan) => {
                    prop_assert!(plan.quantity > Decimal::ZERO && plan.quantity <= Paper::MAXIMUM_QUANTITY);
                    prop_assert!(plan.stop > 0.0 && plan.stop < candidate.price);
                    prop_assert!(plan.loss_per_unit > Decimal::ZERO);
                }
            }
        }
    }
}
