//! Whatever interrupts a bot: a restart anywhere changes nothing, nothing opens without permission, and
//! no fill uses a price from before its decision.

use engine::panel::{Brief, Panel, Verdict};
use engine::{Action, Bar, Engine, Event, EventKind, Order, OrderStatus, Output, RiskGate, Role};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::json;

use crate::bots::{config, identity, time};

/// Opens whenever it may, and closes at every fifth 4h close.
#[derive(Clone, Debug)]
struct Restless;

impl Panel for Restless {
    fn deliberate(&self, brief: &Brief) -> Verdict {
        let wanted = if brief.at.as_second() / 14_400 % 5 == 0 { Action::Close } else { Action::OpenLong };
        let action = if brief.legal.contains(&wanted) { wanted } else { Action::Hold };
        Verdict { action, confidence: 90, opinions: vec![], empty_chair: None }
    }
}

/// What happens besides the bars of an hour.
#[derive(Clone, Copy, Debug)]
enum Aside {
    Nothing,
    NoBars,
    NoTimer,
    Quote,
    Lease,
    Pause,
    Exits,
    Assets,
}

fn asides() -> impl Strategy<Value = Aside> {
    prop_oneof![
        40 => Just(Aside::Nothing),
        1 => Just(Aside::NoBars),
        3 => Just(Aside::NoTimer),
        1 => Just(Aside::Quote),
        1 => Just(Aside::Lease),
        1 => Just(Aside::Pause),
        1 => Just(Aside::Exits),
        1 => Just(Aside::Assets),
    ]
}

/// So many bars of BTC are history.
const WARMUP: usize = 64;

/// Hours of BTC; every fourth of them ends a 4h bar of ETH. What an hour took away, the next quiet one
/// brings back; quotes stay.
fn story(hours: &[(Aside, f64, f64, f64)]) -> Vec<Event> {
    let mut now = time("2020-01-01T00:00:00Z");
    let (mut held, mut running, mut exits, mut both, mut quoted) = (true, true, false, true, false);
    let mut events = vec![Event { at: now, kind: EventKind::Lease { held } }];
    let mut last = 10_000.0;
    let mut eth: Option<Bar> = None;
    for (index, (aside, step, up, down)) in hours.iter().copied().enumerate() {
        let aside = match aside {
            _ if index < WARMUP => Aside::Nothing,
            Aside::Nothing if !held => Aside::Lease,
            Aside::Nothing if !running => Aside::Pause,
            Aside::Nothing if !both => Aside::Assets,
            aside => aside,
        };
        now += SignedDuration::from_hours(1);
        let open = last * (1.0 + step / 3.0);
        last = open * (1.0 + step);
        let bar = Bar {
            open,
            high: f64::max(open, last) * (1.0 + up),
            low: f64::min(open, last) * (1.0 - down),
            close: last,
            volume: 1.0,
        };
        quoted |= matches!(aside, Aside::Quote);
        if quoted {
            let kind = EventKind::Quote {
                asset: "BTC-USD".parse().unwrap(),
                bid: open * 0.999,
                ask: open * 1.001,
                low_bid: open * 0.999 * (1.0 - down),
                high_ask: open * 1.001 * (1.0 + up),
            };
            events.push(Event { at: now - SignedDuration::from_secs(20), kind });
        }
        let so_far = eth.get_or_insert(bar);
        so_far.high = so_far.high.max(bar.high);
        so_far.low = so_far.low.min(bar.low);
        so_far.close = bar.close;
        let whole = (now.as_second() % 14_400 == 0).then(|| eth.take()).flatten();
        if !matches!(aside, Aside::NoBars) {
            let (asset, timeframe) = ("BTC-USD".parse().unwrap(), crds::Timeframe::H1);
            let kind = if index < WARMUP {
                EventKind::History { asset, timeframe, bar }
            } else {
                EventKind::Bar { asset, timeframe, bar }
            };
            events.push(Event { at: now, kind });
            if let Some(bar) = whole.filter(|_| both) {
                let asset = "ETH-USD".parse().unwrap();
                let kind = EventKind::Bar { asset, timeframe: crds::Timeframe::H4, bar };
                events.push(Event { at: now, kind });
            }
        }
        if !matches!(aside, Aside::NoTimer) {
            events.push(Event { at: now, kind: EventKind::Timer });
        }
        let kind = match aside {
            Aside::Lease => {
                held = !held;
                EventKind::Lease { held }
            }
            Aside::Pause | Aside::Exits | Aside::Assets => {
                running ^= matches!(aside, Aside::Pause);
                exits ^= matches!(aside, Aside::Exits);
                both ^= matches!(aside, Aside::Assets);
                EventKind::Configuration(bot(running, exits, both))
            }
            _ => continue,
        };
        events.push(Event { at: now, kind });
    }
    events
}

fn bot(running: bool, exits: bool, both: bool) -> crds::config::BotConfig {
    let pairs: &[&str] = if both { &["BTC-USD", "ETH-USD"] } else { &["BTC-USD"] };
    let changes = json!({
        "state": if running { "Running" } else { "Paused" },
        "risk": {"riskPerTradePercent": 3, "maxPositionPercent": 60, "maxEntriesPerDay": 50, "cooldown": "4h"},
        "exits": {"breakEven": {"enabled": exits}, "trail": {"enabled": exits}},
    });
    config(pairs, changes)
}

fn lease(at: Timestamp, held: bool) -> Event {
    Event { at, kind: EventKind::Lease { held } }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_restart_anywhere_changes_nothing_and_nothing_opens_without_permission(
        hours in proptest::collection::vec((asides(), -0.03f64..0.03, 0.0f64..0.02, 0.0f64..0.02), 100..220),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 4),
    ) {
        let events = story(&hours);
        let mut engine = Engine::with(identity(), bot(true, false, true), Restless, RiskGate).unwrap();
        let mut restarted = engine.clone();
        let places: Vec<_> = places.into_iter().map(|place| place.index(events.len())).collect();
        let (mut held, mut running) = (false, true);
        let mut open: Vec<Order> = Vec::new();
        for (index, event) in events.iter().enumerate() {
            let (mut outputs, mut again) = (Vec::new(), Vec::new());
            engine.handle(event, &mut outputs);
            let refused = outputs.iter().any(|output| matches!(output, Output::Refused(_)));
            match &event.kind {
                EventKind::Lease { held: now } => held = *now,
                // A configuration without an asset that is held is refused as a whole, its pause too.
                EventKind::Configuration(config) if !refused => {
                    running = config.state == crds::config::State::Running;
                }
                _ => {}
            }
            restarted.handle(event, &mut again);
            prop_assert_eq!(&outputs, &again);
            prop_assert_eq!(engine.snapshot(), restarted.snapshot());
            for output in &outputs {
                match output {
                    Output::IllegalTransition(transition) => prop_assert!(false, "{transition:?}"),
                    Output::Order(order) if order.status == OrderStatus::Open => {
                        prop_assert!(order.role != Role::Entry || (held && running));
                        open.push(order.clone());
                    }
                    Output::Fill(fill) if fill.role != Role::Protect => {
                        let place = open.iter().position(|order| order.id == fill.order);
                        let order = open.remove(place.unwrap());
                        prop_assert!(fill.role != Role::Entry || (held && running));
                        prop_assert!(fill.at >= order.decided_at);
                        let base = match &event.kind {
                            EventKind::Bar { timeframe, bar, .. } => {
                                let start = event.at - SignedDuration::from_secs(timeframe.as_secs());
                                prop_assert_eq!(fill.at, start);
                                bar.open
                            }
                            EventKind::Quote { bid, ask, .. } => {
                                prop_assert!(event.at > order.decided_at);
                                if fill.role == Role::Entry { *ask } else { *bid }
                            }
                            other => return Err(TestCaseError::fail(format!("a fill by {other:?}"))),
                        };
                        let base = base.to_string().parse::<rust_decimal::Decimal>().unwrap();
                        prop_assert_eq!(fill.base_price, base.round_sf(12).unwrap());
                    }
                    _ => {}
                }
            }
            if places.contains(&index) {
                let bytes = serde_json::to_vec(&engine.snapshot()).unwrap();
                let history = events[..=index].iter().filter(|event| {
                    matches!(event.kind, EventKind::Bar { .. } | EventKind::History { .. })
                });
                let snapshot = serde_json::from_slice(&bytes).unwrap();
                restarted =
                    Engine::restore_with(identity(), snapshot, history.cloned(), Restless, RiskGate).unwrap();
                restarted.handle(&lease(event.at, held), &mut Vec::new());
            }
        }
    }
}
