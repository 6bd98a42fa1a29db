//! Events that cannot be used change nothing.

use engine::{Bar, Event, EventKind, Output, Refusal};
use jiff::SignedDuration;
use rust_decimal::Decimal;
use serde_json::json;

use crate::bots::{Tape, config, time};

#[test]
fn a_refused_event_changes_nothing_and_says_why() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    let before = serde_json::to_vec(&tape.engine.snapshot()).unwrap();
    let asset: crds::Asset = "BTC-USD".parse().unwrap();
    let h4 = crds::Timeframe::H4;
    let good = Bar { open: 1.0, high: 1.0, low: 1.0, close: 1.0, volume: 1.0 };
    let now = tape.now;
    let next = now + SignedDuration::from_hours(4);
    let bar =
        |at, timeframe, bar| Event { at, kind: EventKind::Bar { asset: asset.clone(), timeframe, bar } };
    let quote = |bid, ask, low_bid, high_ask| Event {
        at: next,
        kind: EventKind::Quote { asset: asset.clone(), bid, ask, low_bid, high_ask },
    };
    let other = "ETH-USD".parse().unwrap();
    let mut no_assets = tape.engine.config().clone();
    no_assets.assets.clear();
    let cases = [
        (bar(now, h4, good), Refusal::TimeRunsBackwards),
        (bar(now - SignedDuration::from_hours(4), h4, good), Refusal::TimeRunsBackwards),
        (
            Event { at: now - SignedDuration::from_secs(1), kind: EventKind::Timer },
            Refusal::TimeRunsBackwards,
        ),
        (bar(jiff::Timestamp::MIN, h4, good), Refusal::BadTime),
        (bar(jiff::Timestamp::MAX, h4, good), Refusal::BadTime),
        (Event { at: jiff::Timestamp::MAX, kind: EventKind::Timer }, Refusal::BadTime),
        (bar(next, h4, Bar { low: 0.0, ..good }), Refusal::BadPrice),
        (bar(next, h4, Bar { close: f64::NAN, ..good }), Refusal::BadPrice),
        (bar(next, h4, Bar { high: 0.5, ..good }), Refusal::BadPrice),
        (bar(next, h4, Bar { volume: -1.0, ..good }), Refusal::BadVolume),
        (bar(next, crds::Timeframe::H1, good), Refusal::BadTimeframe),
        (bar(next, crds::Timeframe::D1, good), Refusal::BadTimeframe),
        (bar(next + SignedDuration::from_hours(1), h4, good), Refusal::NotAligned),
        (quote(2.0, 1.0, 2.0, 1.0), Refusal::BadPrice),
        (quote(1.0, 2.0, 1.5, 2.0), Refusal::BadPrice),
        (quote(f64::NAN, 2.0, 1.0, 2.0), Refusal::BadPrice),
        (
            Event { at: next, kind: EventKind::Bar { asset: other, timeframe: h4, bar: good } },
            Refusal::UnknownAsset,
        ),
        (Event { at: next, kind: EventKind::Configuration(no_assets) }, Refusal::BadConfiguration),
    ];
    for (event, reason) in cases {
        let mut outputs = Vec::new();
        tape.engine.handle(&event, &mut outputs);
        let [Output::Refused(refused)] = &outputs[..] else { panic!("{event:?}: {outputs:?}") };
        assert_eq!((refused.reason, refused.at), (reason, event.at), "{refused:?}");
        assert!(refused.message.len() > 20, "{refused:?}");
        assert_eq!(serde_json::to_vec(&tape.engine.snapshot()).unwrap(), before, "{event:?}");
    }
}

#[test]
fn an_asset_with_a_position_cannot_leave_and_an_added_one_gets_its_past() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    let without = config(&["ETH-USD"], json!({}));
    tape.outputs.clear();
    tape.handle(EventKind::Configuration(without));
    let [Output::Refused(refused)] = &tape.outputs[..] else { panic!("{:?}", tape.outputs) };
    assert!(
        refused.message.contains("BTC-USD") && refused.message.contains("until it is flat"),
        "{refused:?}"
    );

    tape.handle(EventKind::Configuration(config(&["ETH-USD", "BTC-USD"], json!({}))));
    assert_eq!(tape.engine.positions().len(), 1);
    tape.outputs.clear();
    let bar = Bar { open: 200.0, high: 200.0, low: 200.0, close: 200.0, volume: 1.0 };
    let at = time("2020-01-01T00:00:00Z");
    let asset: crds::Asset = "ETH-USD".parse().unwrap();
    let now = tape.engine.market_time();
    let kind = EventKind::History { asset, timeframe: crds::Timeframe::H1, bar };
    tape.engine.handle(&Event { at, kind }, &mut tape.outputs);
    assert_eq!(tape.outputs, []);
    assert_eq!(tape.engine.market_time(), now);
}

#[test]
fn the_starting_cash_of_a_new_venue_is_neither_profit_nor_a_way_out_of_a_drawdown() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    tape.bar(50_000.0, 50_000.0, 49_000.0, 49_000.0);
    let before = tape.engine.account();
    assert!(before.day_pnl.is_sign_negative() && before.drawdown_percent > Decimal::ZERO, "{before:?}");
    let venues =
        json!([{"name": "paper", "paper": {}}, {"name": "other", "paper": {"startingCash": 10_000}}]);
    let changes = json!({"assets": [{"pair": "BTC-USD", "venue": "paper"}], "venues": venues});
    tape.handle(EventKind::Configuration(config(&["BTC-USD"], changes)));
    let after = tape.engine.account();
    assert_eq!(after.equity, before.equity + Decimal::from(10_000));
    assert_eq!((after.day_pnl, after.realized_pnl), (before.day_pnl, before.realized_pnl));
    // The same loss below a peak that is twice as high.
    let half = before.drawdown_percent / Decimal::TWO;
    assert!((after.drawdown_percent - half).abs() <= Decimal::new(1, 4), "{after:?}");
}

#[test]
fn missing_bars_are_reported_and_nothing_is_filled_at_them() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    tape.now += SignedDuration::from_hours(8);
    tape.outputs.clear();
    tape.bar(50_300.0, 50_300.0, 50_300.0, 50_300.0);
    let Some(Output::Gap(gap)) = tape.outputs.iter().find(|output| matches!(output, Output::Gap(_))) else {
        panic!("{:?}", tape.outputs)
    };
    assert_eq!((gap.bars, gap.close), (2, 50_000.0));
    assert_eq!((gap.from, gap.to), (time("2020-05-01T12:00:00Z"), time("2020-05-01T20:00:00Z")));
    assert_eq!(tape.fills()[0].at, time("2020-05-01T20:00:00Z"));
}
