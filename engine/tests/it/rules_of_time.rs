//! SPEC "Time, events, determinism": every rule on the way of a price, one test each.

use engine::{Action, Bar, Cancellation, EventKind, ExitReason, Order, OrderStatus, Output, Role, StopMoved};
use jiff::SignedDuration;
use rust_decimal::Decimal;
use serde_json::json;

use crate::bots::{Tape, time};

fn dec(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn stops_moved(tape: &Tape) -> Vec<StopMoved> {
    let moved = tape.outputs.iter().filter_map(|output| match output {
        Output::StopMoved(moved) => Some(moved.clone()),
        _ => None,
    });
    moved.collect()
}

// In all of these the plan's stop is 49,210.

#[test]
fn a_decision_taken_at_t_is_filled_at_the_next_bars_open() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    assert_eq!(tape.fills(), []);
    assert_eq!(tape.engine.open_orders()[0].decided_at, time("2020-05-01T12:00:00Z"));
    tape.bar(50_400.0, 50_500.0, 50_300.0, 50_450.0);
    let fill = &tape.fills()[0];
    assert_eq!((fill.base_price, fill.at), (dec("50400"), time("2020-05-01T12:00:00Z")));
    assert_eq!(tape.engine.open_orders(), []);
    assert_eq!(tape.engine.entries_today(), 1);
}

#[test]
fn a_decision_taken_at_t_is_filled_at_the_next_quote_strictly_after_t() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    tape.quote(0, 50_000.0, 50_010.0, 50_000.0, 50_010.0);
    assert_eq!(tape.fills(), []);
    tape.quote(100, 50_020.0, 50_030.0, 50_020.0, 50_030.0);
    let fill = &tape.fills()[0];
    // At the ask and without the spread: only slippage is added.
    assert_eq!((fill.base_price, fill.price), (dec("50030"), dec("50080.03")));
}

#[test]
fn rule_1_a_pending_order_fills_at_the_open_and_the_rest_of_the_bar_counts_for_it() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    tape.bar(50_000.0, 50_100.0, 49_000.0, 49_900.0);
    let fills = tape.fills();
    assert_eq!(fills.iter().map(|fill| fill.role).collect::<Vec<_>>(), [Role::Entry, Role::Protect]);
    assert_eq!(fills[1].base_price, dec("49210"));
    assert_eq!(tape.trades()[0].exit_reason, ExitReason::Stop);
}

#[test]
fn rule_1_holds_for_exits_as_well() {
    let mut tape = Tape::at_50_000(json!({}), &[("2020-05-01T16:00:00Z", Action::Close)]);
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    // Beyond the stop already: the market order fills at the same open, once.
    tape.bar(49_000.0, 49_100.0, 48_000.0, 48_500.0);
    let trades = tape.trades();
    assert_eq!((trades.len(), trades[0].exit_reason), (1, ExitReason::Panel));
    assert_eq!(tape.fills()[1].base_price, dec("49000"));
}

#[test]
fn rule_2_an_open_beyond_the_stop_fills_at_the_open() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    tape.bar(48_000.0, 50_000.0, 47_900.0, 49_900.0);
    let fill = &tape.fills()[1];
    assert_eq!((fill.base_price, fill.at), (dec("48000"), time("2020-05-01T16:00:00Z")));
}

#[test]
fn an_entry_whose_stop_is_reached_before_its_first_price_is_rejected_and_cools_down() {
    let mut tape = Tape::at_50_000(json!({}), &[("2020-05-01T16:00:00Z", Action::OpenLong)]);
    tape.bar(49_000.0, 50_100.0, 48_900.0, 50_000.0);
    assert_eq!(tape.fills(), []);
    let rejected = tape.outputs.iter().any(|output| {
        matches!(output, Output::Order(order) if matches!(order.status, OrderStatus::Rejected { .. }))
    });
    assert!(rejected);
    // One bar of the decision timeframe has passed since, equality included.
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    assert_eq!(tape.fills().len(), 1);
}

#[test]
fn rule_4_the_stop_is_tested_as_it_stood_at_the_bars_start() {
    let exits = json!({"exits": {"breakEven": {"enabled": true}}});
    let mut tape = Tape::at_50_000(exits, &[]);
    // 1 R is 865 above the fill at 50,075: reached, and back to where the moved stop would have been.
    tape.bar(50_000.0, 51_000.0, 50_000.0, 50_100.0);
    assert_eq!(tape.trades(), []);
    let moved = stops_moved(&tape);
    assert_eq!((moved.len(), moved[0].from, moved[0].by), (1, 49_210.0, ExitReason::BreakEven));
    assert!((moved[0].to - 50_210.441_738).abs() < 1e-5);
    // From the next bar on it acts: the open is beyond it.
    tape.bar(50_100.0, 50_300.0, 50_000.0, 50_300.0);
    let trade = &tape.trades()[0];
    assert_eq!((trade.exit_reason, tape.fills()[1].base_price), (ExitReason::BreakEven, dec("50100")));
}

#[test]
fn break_even_costs_nothing() {
    let exits = json!({"exits": {"breakEven": {"enabled": true}}});
    let mut tape = Tape::at_50_000(exits, &[]);
    tape.bar(50_000.0, 51_000.0, 50_000.0, 50_900.0);
    tape.bar(50_900.0, 50_900.0, 50_000.0, 50_000.0);
    let trade = &tape.trades()[0];
    assert_eq!(trade.exit_reason, ExitReason::BreakEven);
    assert!(trade.net.abs() < dec("0.000001"), "{}", trade.net);
}

#[test]
fn rule_4_holds_for_the_trail() {
    let exits = json!({"exits": {"trail": {"enabled": true}}});
    let mut tape = Tape::at_50_000(exits, &[]);
    tape.bar(50_000.0, 52_000.0, 50_000.0, 51_000.0);
    let moved = stops_moved(&tape);
    // The larger of 1.5 ATR and 0.75 R behind the best price.
    assert_eq!((moved.len(), moved[0].by), (1, ExitReason::Trail));
    let stop = moved[0].to;
    assert!(stop > 50_900.0 && stop < 52_000.0 - 0.75 * 865.0 + 1e-9, "{stop}");
    tape.bar(51_500.0, 51_500.0, 51_490.0, 51_495.0);
    tape.bar(51_495.0, 51_495.0, 50_000.0, 50_000.0);
    assert_eq!(tape.trades()[0].exit_reason, ExitReason::Trail);
    // The quiet bars lowered the ATR, which brought the stop closer still.
    let last = stops_moved(&tape).last().unwrap().to;
    assert!(last > stop);
    assert_eq!(
        tape.fills()[1].base_price,
        last.to_string().parse::<Decimal>().unwrap().round_sf(12).unwrap()
    );
}

#[test]
fn rule_5_a_stop_triggers_on_touch() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    tape.bar(50_000.0, 50_000.0, 49_210.000_1, 49_900.0);
    assert_eq!(tape.trades(), []);
    tape.bar(49_900.0, 49_900.0, 49_210.0, 49_900.0);
    assert_eq!(tape.trades().len(), 1);
}

#[test]
fn live_a_longs_stop_is_tested_on_the_bid_and_a_touch_within_the_window_counts() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    tape.quote(100, 50_000.0, 50_010.0, 50_000.0, 50_010.0);
    tape.quote(100, 49_300.0, 49_310.0, 49_211.0, 50_010.0);
    assert_eq!(tape.trades(), []);
    tape.quote(100, 49_300.0, 49_310.0, 49_209.0, 49_310.0);
    let fill = &tape.fills()[1];
    // At the stop, slippage only.
    assert_eq!((fill.base_price, fill.price), (dec("49210"), dec("49160.79")));
}

#[test]
fn bars_of_a_time_that_quotes_covered_fill_nothing() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    tape.quote(100, 50_000.0, 50_010.0, 50_000.0, 50_010.0);
    tape.quote(4 * 3_600_000 - 30_100, 50_000.0, 50_010.0, 50_000.0, 50_010.0);
    tape.now = time("2020-05-01T12:00:00Z");
    // The bar would touch the stop; the quotes of its time did not.
    tape.bar(50_000.0, 50_100.0, 49_000.0, 49_100.0);
    assert_eq!(tape.trades(), []);
}

#[test]
fn where_the_quotes_fell_silent_the_bars_close_is_the_next_price() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    tape.quote(100, 50_000.0, 50_010.0, 50_000.0, 50_010.0);
    tape.now = time("2020-05-01T12:00:00Z");
    // When its low was, before the last quote or after, is not known.
    tape.bar(50_000.0, 50_100.0, 49_000.0, 49_500.0);
    assert_eq!(tape.trades(), []);
    assert_eq!(tape.engine.positions()[0].mark, dec("49500"));

    let mut tape = Tape::at_50_000(json!({}), &[]);
    tape.quote(100, 50_000.0, 50_010.0, 50_000.0, 50_010.0);
    tape.now = time("2020-05-01T12:00:00Z");
    tape.bar(50_000.0, 50_100.0, 49_000.0, 49_100.0);
    let fill = &tape.fills()[1];
    assert_eq!((fill.base_price, fill.at), (dec("49100"), time("2020-05-01T16:00:00Z")));
    assert_eq!(tape.trades()[0].exit_reason, ExitReason::Stop);
}

#[test]
fn a_quote_after_midnight_starts_the_day_before_its_price_counts() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    // The last bar of the day, and no timer at its end.
    tape.now = time("2020-05-02T00:00:00Z");
    let asset = "BTC-USD".parse().unwrap();
    let bar = Bar { open: 50_000.0, high: 50_100.0, low: 49_900.0, close: 50_050.0, volume: 1.0 };
    tape.handle(EventKind::Bar { asset, timeframe: crds::Timeframe::H4, bar });
    tape.quote(100, 50_095.0, 50_105.0, 50_095.0, 50_105.0);
    // 0.05 from 50,050 to the mid at 50,100.
    assert_eq!(tape.engine.account().day_pnl, dec("2.5"));
}

#[test]
fn a_stop_out_cools_down_for_one_decision_bar() {
    let again = [("2020-05-01T16:00:00Z", Action::OpenLong), ("2020-05-01T20:00:00Z", Action::OpenLong)];
    let mut tape = Tape::at_50_000(json!({}), &again);
    tape.bar(50_000.0, 50_100.0, 49_000.0, 49_900.0);
    let decision = tape.engine.last_decision().unwrap();
    let rejection = decision.rejection.clone().unwrap();
    assert_eq!((rejection.check, rejection.reason.as_str()), (5, "cooldown"));
    assert_eq!((rejection.measured, rejection.limit), (Some(0.0), Some(14_400.0)));
    tape.bar(49_900.0, 50_000.0, 49_900.0, 50_000.0);
    assert_eq!(tape.engine.open_orders().len(), 1);
}

#[test]
fn an_exit_of_the_panel_starts_no_cool_down() {
    let orders = [("2020-05-01T16:00:00Z", Action::Close), ("2020-05-01T20:00:00Z", Action::OpenLong)];
    let mut tape = Tape::at_50_000(json!({"risk": {"cooldown": "12h"}}), &orders);
    for _ in 0..2 {
        tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    }
    assert_eq!(tape.trades()[0].exit_reason, ExitReason::Panel);
    assert_eq!(tape.engine.last_decision().unwrap().rejection, None);
    assert_eq!(tape.engine.open_orders()[0].role, Role::Entry);
}

#[test]
fn an_entry_is_withdrawn_when_the_lease_or_the_permission_is_gone_before_its_fill() {
    let mut tape = Tape::at_50_000(json!({}), &[]);
    tape.lease(false);
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    assert_eq!((tape.fills().len(), tape.engine.open_orders().len()), (0, 0));

    let mut tape = Tape::at_50_000(json!({}), &[]);
    let mut config = tape.engine.config().clone();
    config.state = crds::config::State::Paused;
    tape.handle(EventKind::Configuration(config));
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    assert_eq!(tape.fills().len(), 0);
}

#[test]
fn after_a_gap_longer_than_data_may_be_old_an_entry_is_withdrawn_and_an_exit_is_not() {
    let close = [("2020-05-01T16:00:00Z", Action::Close)];
    let mut tape = Tape::at_50_000(json!({}), &close);
    tape.now += SignedDuration::from_hours(12);
    // At this price its size would be 45 % of equity and its stop 45 % away.
    tape.bar(90_000.0, 90_000.0, 90_000.0, 90_000.0);
    assert_eq!(tape.fills(), []);
    let reasons: Vec<_> = tape
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Order(Order { status: OrderStatus::Cancelled { reason }, .. }) => Some(*reason),
            _ => None,
        })
        .collect();
    assert_eq!(reasons, [Cancellation::StaleDecision]);
    assert_eq!(tape.engine.open_orders(), []);

    let mut tape = Tape::at_50_000(json!({}), &close);
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    tape.now += SignedDuration::from_hours(12);
    tape.bar(90_000.0, 90_000.0, 90_000.0, 90_000.0);
    assert_eq!(tape.trades()[0].exit_reason, ExitReason::Panel);
}

#[test]
fn exits_need_no_lease_and_work_while_paused() {
    let mut tape = Tape::at_50_000(json!({}), &[("2020-05-01T16:00:00Z", Action::Close)]);
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    tape.lease(false);
    let mut config = tape.engine.config().clone();
    config.state = crds::config::State::Paused;
    tape.handle(EventKind::Configuration(config));
    tape.bar(50_000.0, 50_100.0, 49_900.0, 50_000.0);
    assert_eq!(tape.trades()[0].exit_reason, ExitReason::Panel);
}
