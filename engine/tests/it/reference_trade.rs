//! 0.1 BTC bought at 50,000 and sold at 52,000: +200.00 without costs, +178.58 with.

use engine::ledger::Ledger;
use engine::risk::CostRates;
use engine::venue::{Liquidity, Paper};
use engine::{Action, ExitReason, Fill, Id, Role, Side};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::bots::{Tape, config, identity, time};

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn directly(costs: Value) -> (Decimal, Decimal) {
    let bot = config(&["BTC-USD"], json!({"venues": [{"name": "paper", "paper": {"costs": costs}}]}));
    let paper = Paper { costs: CostRates::from(&bot.paper_of(&bot.assets[0]).unwrap().costs) };
    let mut ledger = Ledger::default();
    ledger.deposit("paper", dec("10000")).unwrap();
    let at = time("2020-05-01T12:00:00Z");
    let asset: crds::Asset = "BTC-USD".parse().unwrap();
    let mut book = |role, base| {
        let opening = role == Role::Entry;
        let priced = paper.price(Liquidity::TakeAtMid, Side::Long, opening, base, dec("0.1")).unwrap();
        ledger
            .book(&Fill {
                order: Id::order("paper", &identity(), &asset, at, role, 0),
                at,
                asset: asset.clone(),
                venue: "paper".into(),
                role,
                side: Side::Long,
                quantity: dec("0.1"),
                base_price: priced.base_price,
                price: priced.price,
                fee: priced.fee,
            })
            .unwrap()
    };
    assert_eq!(book(Role::Entry, 50_000.0), None);
    let trip = book(Role::Exit, 52_000.0).unwrap();
    assert_eq!(ledger.cash() - dec("10000"), trip.net);
    (trip.gross, trip.net)
}

#[test]
fn against_venue_and_ledger_directly() {
    let free = json!({"slippageBps": 0, "halfSpreadBps": 0, "takerBps": 0, "makerBps": 0});
    assert_eq!(directly(free), (dec("200"), dec("200")));
    assert_eq!(directly(json!({"preset": "reference"})), (dec("200"), dec("178.58018")));
}

#[test]
fn through_panel_gate_and_venue_with_a_60_percent_position() {
    let changes = json!({"risk": {"maxPositionPercent": 60}});
    let mut tape = Tape::at_50_000(changes, &[("2020-05-01T20:00:00Z", Action::Close)]);
    tape.bar(50_000.0, 51_000.0, 50_000.0, 51_000.0);
    tape.bar(51_000.0, 52_000.0, 51_000.0, 52_000.0);
    let account = tape.engine.account();
    assert_eq!(account.unrealized_pnl, dec("192.5"));
    assert_eq!(account.day_pnl, account.equity - dec("10000"));
    tape.bar(52_000.0, 52_000.0, 52_000.0, 52_000.0);
    let fills = tape.fills();
    let prices: Vec<_> = fills.iter().map(|fill| (fill.base_price, fill.price, fill.quantity)).collect();
    assert_eq!(prices, [(dec("50000"), dec("50075"), dec("0.1")), (dec("52000"), dec("51922"), dec("0.1"))]);
    let [trade] = &tape.trades()[..] else { panic!("one trade, not {:?}", tape.trades()) };
    assert_eq!((trade.gross, trade.net), (dec("200"), dec("178.58018")));
    assert_eq!((trade.costs, trade.fees), (dec("21.41982"), dec("6.11982")));
    assert_eq!((trade.entry_price, trade.exit_price), (dec("50075"), dec("51922")));
    assert_eq!(trade.exit_reason, ExitReason::Panel);
    // The stop was 49,210: R is measured from the fill.
    assert!((trade.r_multiple - 178.58018 / 86.5).abs() < 1e-9);
    let account = tape.engine.account();
    assert_eq!((account.equity, account.cash), (dec("10178.58018"), dec("10178.58018")));
    // It is midnight: a new day starts with these prices.
    assert_eq!((account.realized_pnl, account.day_pnl), (dec("178.58018"), dec("0")));
}

#[test]
fn with_the_default_limit_it_is_half_the_size() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    tape.bar(50_000.0, 50_100.0, 50_000.0, 50_000.0);
    assert_eq!(tape.fills()[0].quantity, dec("0.05"));
}

#[test]
fn opening_a_position_changes_equity_by_its_costs_only() {
    let mut tape = Tape::at_50_000(json!({"risk": {"maxPositionPercent": 60}}), &[]);
    assert_eq!(tape.engine.account().equity, dec("10000"));
    tape.bar(50_000.0, 50_000.0, 50_000.0, 50_000.0);
    let account = tape.engine.account();
    // 0.1 · 75 of spread and slippage, and the fee.
    assert_eq!(account.equity, dec("10000") - dec("7.5") - dec("3.0045"));
    assert_eq!((account.unrealized_pnl, account.realized_pnl), (dec("-7.5"), dec("-3.0045")));
    assert_eq!(account.drawdown_percent, dec("0.105"));
}
