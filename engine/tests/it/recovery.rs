//! A restored engine goes on as if nothing had happened.

use engine::{Engine, EngineError, Event, EventKind, Output, Snapshot};
use serde_json::json;

use crate::bots::{config, identity};
use crate::data::events;

const PAIRS: [&str; 2] = ["BTC-USD", "ETH-USD"];

fn new_engine() -> Engine {
    // With every exit on, so that the state of each is part of what has to survive.
    let exits = json!({"breakEven": {"enabled": true}, "trail": {"enabled": true}});
    Engine::new(identity(), config(&PAIRS, json!({"exits": exits}))).unwrap()
}

fn bars(events: &[Event]) -> Vec<Event> {
    let is_bar = |event: &&Event| matches!(event.kind, EventKind::Bar { .. } | EventKind::History { .. });
    events.iter().filter(is_bar).cloned().collect()
}

#[test]
fn a_run_equals_a_snapshot_restored_anywhere_and_the_rest() {
    let events = events(&PAIRS, 1500);
    let mut whole = new_engine();
    let mut outputs = Vec::new();
    // After each event: how many outputs there were.
    let mut written = vec![0];
    // Everywhere at the start, then about every 200 events, at changing places within an instant; and
    // wherever an order is waiting or has just been filled.
    let mut snapshots: Vec<(usize, Vec<u8>)> = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let before = outputs.len();
        whole.handle(event, &mut outputs);
        written.push(outputs.len());
        let telling = outputs[before..]
            .iter()
            .any(|output| matches!(output, Output::Order(_) | Output::StopMoved(_) | Output::TradeClosed(_)));
        if index < 3 || index % 199 == 0 || (telling && index % 3 == 0) {
            snapshots.push((index + 1, serde_json::to_vec(&whole.snapshot()).unwrap()));
        }
    }
    assert!(snapshots.len() > 100, "{}", snapshots.len());
    let last = serde_json::to_vec(&whole.snapshot()).unwrap();
    for (taken, bytes) in snapshots {
        let snapshot: Snapshot = serde_json::from_slice(&bytes).unwrap();
        let mut restored = Engine::restore(identity(), snapshot, bars(&events[..taken])).unwrap();
        assert!(!restored.lease_held());
        let at = events[taken - 1].at;
        let mut again = Vec::new();
        restored.handle(&Event { at, kind: EventKind::Lease { held: true } }, &mut again);
        assert_eq!(serde_json::to_vec(&restored.snapshot()).unwrap(), bytes);
        // To the end from some, as far as it tells from the others.
        let end = if taken % 7 == 0 { events.len() } else { (taken + 600).min(events.len()) };
        for event in &events[taken..end] {
            restored.handle(event, &mut again);
        }
        assert!(again == outputs[written[taken]..written[end]], "restored after {taken} events");
        if end == events.len() {
            assert_eq!(serde_json::to_vec(&restored.snapshot()).unwrap(), last);
        }
    }
}

#[test]
fn other_bars_than_those_of_the_snapshot_are_refused() {
    let events = events(&PAIRS, 1500);
    let mut engine = new_engine();
    let mut outputs = Vec::new();
    events[..6000].iter().for_each(|event| engine.handle(event, &mut outputs));
    let history = bars(&events[..6000]);
    let restore = |history: &[Event]| Engine::restore(identity(), engine.snapshot(), history.to_vec());
    assert!(restore(&history).is_ok());
    for wrong in [&history[1..], &history[..history.len() - 1], &[]] {
        let error = restore(wrong).unwrap_err();
        assert!(matches!(error, EngineError::HistoryMismatch { .. }), "{error}");
        assert!(error.to_string().contains("the same bars from the same first one"));
    }
    // More than was fed does no harm: what came after the snapshot is passed over.
    assert!(restore(&bars(&events)).is_ok());
}

#[test]
fn a_newer_snapshot_is_refused() {
    let mut value = serde_json::to_value(new_engine().snapshot()).unwrap();
    value["version"] = json!(99);
    let snapshot: Snapshot = serde_json::from_value(value).unwrap();
    let error = Engine::restore(identity(), snapshot, []).unwrap_err();
    assert!(error.to_string().contains("version 99"), "{error}");
}
