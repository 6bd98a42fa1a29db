//! What is approved and not yet filled counts as spent.

use engine::{Action, Bar, Decision, Engine, Event, EventKind, Outcome, Output, RiskGate};
use jiff::SignedDuration;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::bots::{Script, config, identity, time};

/// Two assets at the same prices whose panel opens both in the same cycle.
fn decide_both(risk: Value) -> (Vec<Decision>, Engine<Script, RiskGate>) {
    let opens = time("2020-05-01T12:00:00Z");
    let config = config(&["BTC-USD", "ETH-USD"], json!({"risk": risk}));
    let mut engine =
        Engine::with(identity(), config, Script(vec![(opens, Action::OpenLong)]), RiskGate).unwrap();
    let mut outputs = Vec::new();
    let mut at = opens - SignedDuration::from_hours(80);
    engine.handle(&Event { at, kind: EventKind::Lease { held: true } }, &mut outputs);
    while at < opens {
        at += SignedDuration::from_hours(4);
        for pair in ["BTC-USD", "ETH-USD"] {
            let bar = Bar { open: 50_000.0, high: 50_197.5, low: 49_802.5, close: 50_000.0, volume: 1.0 };
            let kind = EventKind::Bar { asset: pair.parse().unwrap(), timeframe: crds::Timeframe::H4, bar };
            engine.handle(&Event { at, kind }, &mut outputs);
        }
    }
    outputs.clear();
    engine.handle(&Event { at, kind: EventKind::Timer }, &mut outputs);
    let decisions = outputs.into_iter().filter_map(|output| match output {
        Output::Decision(decision) => Some(*decision),
        _ => None,
    });
    (decisions.collect(), engine)
}

fn quantity(decision: &Decision) -> Decimal {
    decision.plan.as_ref().unwrap().quantity
}

#[test]
fn the_second_asset_gets_the_cash_that_the_first_left() {
    let (decisions, engine) = decide_both(json!({"maxPositionPercent": 100, "riskPerTradePercent": "1.6"}));
    // 1.6 % of equity at 2 % a unit is 8,000; with its costs both ways 8,033.60 of the cash is spoken for.
    assert_eq!(quantity(&decisions[0]), "0.16".parse().unwrap());
    let left = Decimal::from(10_000) - Decimal::new(803_360, 2);
    let cost = quantity(&decisions[1]) * Decimal::new(50_075, 0) * Decimal::new(10_006, 4);
    assert!(cost <= left && cost > left - Decimal::ONE, "{cost} of {left}");
    assert_eq!(engine.open_orders().len(), 2);
}

#[test]
fn the_second_asset_is_refused_when_the_first_took_the_last_place() {
    for (risk, reason) in [
        (json!({"maxOpenPositions": 1}), "openPositions"),
        (json!({"maxEntriesPerDay": 1}), "entriesToday"),
        (json!({"maxGrossLeverage": "0.25", "maxPositionPercent": 25}), "leverage"),
    ] {
        let (decisions, _) = decide_both(risk);
        assert_eq!(decisions[0].outcome, Outcome::Approved);
        assert_eq!(decisions[1].rejection.as_ref().unwrap().reason.as_str(), reason);
    }
}
