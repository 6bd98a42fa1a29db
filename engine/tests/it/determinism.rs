//! The same events give the same bytes.

use engine::{Event, EventKind};
use serde_json::json;

use crate::bots::{config, run};
use crate::data::events;

#[test]
fn the_same_events_give_the_same_bytes() {
    let pairs = ["BTC-USD", "ETH-USD"];
    let events = events(&pairs, 1500);
    let bytes = |events: &[Event]| {
        let (outputs, engine) = run(config(&pairs, json!({})), events);
        (serde_json::to_vec(&outputs).unwrap(), serde_json::to_vec(&engine.snapshot()).unwrap())
    };
    let first = bytes(&events);
    assert!(first.0.len() > 1_000_000);
    assert_eq!(first, bytes(&events));

    // Also when they have been through a journal.
    let journal = serde_json::to_vec(&events).unwrap();
    let read: Vec<Event> = serde_json::from_slice(&journal).unwrap();
    assert_eq!(read, events);
    assert_eq!(first, bytes(&read));
}

#[test]
fn outputs_read_back_as_they_were_written() {
    let (outputs, engine) = run(config(&["BTC-USD"], json!({})), &events(&["BTC-USD"], 1500));
    let text = serde_json::to_string(&outputs).unwrap();
    assert_eq!(serde_json::from_str::<Vec<engine::Output>>(&text).unwrap(), outputs);
    let snapshot = engine.snapshot();
    let text = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(serde_json::from_str::<engine::Snapshot>(&text).unwrap(), snapshot);
}

#[test]
fn a_cycle_is_the_same_whether_a_timer_or_the_next_bar_ends_its_instant() {
    let with_timers = events(&["BTC-USD", "ETH-USD"], 1500);
    let without: Vec<Event> =
        with_timers.iter().filter(|event| event.kind != EventKind::Timer).cloned().collect();
    let bot = || config(&["BTC-USD", "ETH-USD"], json!({}));
    let (expected, _) = run(bot(), &with_timers);
    let (mut outputs, mut engine) = run(bot(), &without);
    // The last instant has no later event to end it.
    engine.handle(with_timers.last().unwrap(), &mut outputs);
    assert!(expected == outputs);
}
