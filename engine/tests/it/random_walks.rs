//! Whatever comes, the books are right and the limits hold.

use engine::panel::{Brief, Panel, Verdict};
use engine::{Action, Bar, Engine, Event, EventKind, Output, RiskGate, Role};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::json;

use crate::bots::{config, identity, time, trades};

/// Opens whenever it may and closes every third time it is asked.
#[derive(Clone, Debug)]
struct Restless;

impl Panel for Restless {
    fn deliberate(&self, brief: &Brief) -> Verdict {
        let third = brief.at.as_second() / 14_400 % 3 == 0;
        let wanted = if third { Action::Close } else { Action::OpenLong };
        let action = if brief.legal.contains(&wanted) { wanted } else { Action::Hold };
        let confidence = 70 + (brief.at.as_second() / 14_400 % 31) as u8;
        Verdict { action, confidence, opinions: vec![], empty_chair: None }
    }
}

/// A bar from how far it moves, or a quote, after some missing bars.
#[derive(Clone, Debug)]
struct Step {
    gap: Timestamp,
    kind: EventKind,
}

prop_compose! {
    fn walk()(
        steps in proptest::collection::vec(
            (0u8..20, any::<bool>(), -0.25f64..0.25, -0.05f64..0.05, 0.0f64..0.08, 0.0f64..0.08),
            60..160,
        ),
    ) -> Vec<Step> {
        let mut now = time("2020-01-01T00:00:00Z");
        let mut last = [10_000.0, 200.0];
        let mut walk = Vec::new();
        for (luck, second, jump, step, up, down) in steps {
            let pair = if second { "ETH-USD" } else { "BTC-USD" };
            let asset: crds::Asset = pair.parse().unwrap();
            let price = &mut last[usize::from(second)];
            // Mostly in order and without a gap; now and then a gap, a jump or a quote.
            now += SignedDuration::from_hours(if luck == 1 { 48 } else { 4 });
            let open = *price * if (3..10).contains(&luck) { 1.0 + jump } else { 1.0 };
            let close = open * (1.0 + step);
            *price = close;
            let (high, low) = (f64::max(open, close) * (1.0 + up), f64::min(open, close) * (1.0 - down));
            let bar = Bar { open, high, low, close, volume: 1.0 };
            walk.push(Step { gap: now, kind: EventKind::Bar { asset: asset.clone(), timeframe: crds::Timeframe::H4, bar } });
            if luck == 2 {
                let (bid, ask) = (close * 0.999, close * 1.001);
                let kind = EventKind::Quote { asset, bid, ask, low_bid: bid * (1.0 - down), high_ask: ask * (1.0 + up) };
                walk.push(Step { gap: now + SignedDuration::from_secs(5), kind });
            }
        }
        walk
    }
}

fn check(engine: &Engine<Restless, RiskGate>) -> Result<(), TestCaseError> {
    let account = engine.account();
    let start = Decimal::from(10_000);
    prop_assert_eq!(account.equity, (start + account.realized_pnl + account.unrealized_pnl).normalize());
    let held: Decimal = engine.positions().iter().map(|p| p.quantity * p.mark).sum();
    prop_assert_eq!(account.equity, (account.cash + held).normalize());
    prop_assert!(account.cash >= Decimal::ZERO, "{account:?}");
    prop_assert!(account.drawdown_percent >= Decimal::ZERO);
    prop_assert!(engine.positions().len() <= 2 && engine.entries_today() <= 5);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_books_are_right_after_every_event(walk in walk()) {
        let changes = json!({
            "risk": {"riskPerTradePercent": 5, "maxPositionPercent": 100, "confidenceFloor": 60},
            "exits": {"breakEven": {"enabled": true}, "trail": {"enabled": true}},
        });
        let config = config(&["BTC-USD", "ETH-USD"], changes);
        let mut engine = Engine::with(identity(), config, Restless, RiskGate).unwrap();
        let mut outputs = Vec::new();
        engine.handle(&Event { at: walk[0].gap, kind: EventKind::Lease { held: true } }, &mut outputs);
        for Step { gap, kind } in walk {
            let before: Vec<_> = engine.positions();
            let written = outputs.len();
            engine.handle(&Event { at: gap, kind }, &mut outputs);
            check(&engine)?;
            for position in engine.positions() {
                let same = before.iter().find(|other| other.id == position.id);
                prop_assert!(same.is_none_or(|other| other.stop <= position.stop), "a stop loosened");
            }
            let illegal = outputs[written..].iter().any(|output| matches!(output, Output::IllegalTransition(_)));
            prop_assert!(!illegal);
        }
        // Every order id is one order, and every round trip is two fills.
        let fills: Vec<_> =
            outputs.iter().filter_map(|o| if let Output::Fill(fill) = o { Some(fill) } else { None }).collect();
        let mut ids: Vec<_> = fills.iter().map(|fill| &fill.order).collect();
        ids.sort();
        ids.dedup();
        prop_assert_eq!(ids.len(), fills.len());
        let trades = trades(&outputs);
        let entries = fills.iter().filter(|fill| fill.role == Role::Entry).count();
        prop_assert_eq!(entries, trades.len() + engine.positions().len());
        prop_assert_eq!(fills.len(), entries + trades.len());
    }
}
