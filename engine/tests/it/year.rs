//! The default bot over the sample year.

use engine::{Decision, Outcome, Output};
use rust_decimal::Decimal;
use serde_json::json;

use crate::bots::{config, run, trades};
use crate::data::events;

fn report(pairs: &[&str]) -> (Vec<engine::Trade>, engine::Account) {
    let (outputs, engine) = run(config(pairs, json!({})), &events(pairs, 1500));
    let trades = trades(&outputs);
    let account = engine.account();
    println!("{pairs:?}: {} trades, {account:?}", trades.len());
    for trade in &trades {
        println!(
            "{} {} -> {} {} @ {} -> {} net {} ({:.2} R, {:?})",
            trade.asset,
            trade.opened_at,
            trade.closed_at,
            trade.quantity,
            trade.entry_price,
            trade.exit_price,
            trade.net,
            trade.r_multiple,
            trade.exit_reason
        );
    }
    let words = |decision: &Decision| decision.rejection.as_ref().map(|rejection| rejection.reason.as_str());
    let decisions = outputs.iter().filter_map(|output| match output {
        Output::Decision(decision) => Some(decision),
        _ => None,
    });
    let rejected = decisions.clone().filter(|d| d.outcome == Outcome::Rejected).filter_map(|d| words(d));
    println!("rejected: {:?}", rejected.collect::<Vec<_>>());
    let refused = outputs.iter().filter(|output| matches!(output, Output::Refused(_))).count();
    assert_eq!(refused, 0, "the sample data is clean");

    // What is left must be what was made: nothing appears, nothing vanishes.
    let start = Decimal::from(10_000);
    assert_eq!(account.equity, (start + account.realized_pnl + account.unrealized_pnl).normalize());
    if engine.positions().is_empty() {
        let net: Decimal = trades.iter().map(|trade| trade.net).sum();
        assert_eq!(account.equity, (start + net).normalize());
    }
    for trade in &trades {
        assert_eq!((trade.gross - trade.net).normalize(), trade.costs);
        assert!(trade.costs > trade.fees && trade.fees > Decimal::ZERO);
        assert!(trade.opened_at < trade.closed_at);
        // A whole loss is 1 R and its costs; only a gap can make it worse.
        assert!(trade.r_multiple > -2.0, "{trade:?}");
    }
    (trades, account)
}

#[test]
fn the_default_bot_trades_btc_through_2020() {
    let (trades, _) = report(&["BTC-USD"]);
    assert!(trades.len() >= 10);
}

#[test]
fn the_default_bot_trades_eth_through_2020() {
    let (trades, _) = report(&["ETH-USD"]);
    assert!(trades.len() >= 10);
}

#[test]
fn one_bot_trades_both() {
    let (trades, _) = report(&["BTC-USD", "ETH-USD"]);
    assert!(trades.iter().any(|trade| trade.asset.base() == "BTC"));
    assert!(trades.iter().any(|trade| trade.asset.base() == "ETH"));
}
