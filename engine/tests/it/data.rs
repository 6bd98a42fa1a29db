//! The sample data, as events.

use std::path::Path;

use engine::{Bar, Event, EventKind};
use flate2::read::GzDecoder;
use jiff::{SignedDuration, Timestamp};

#[derive(serde::Deserialize)]
struct Row {
    time: Timestamp,
    #[serde(flatten)]
    bar: Bar,
}

/// Hourly bars of 2020 with the time of their end.
#[expect(clippy::disallowed_types, reason = "the test does the I/O that the engine does not")]
pub fn hours_of_2020(pair: &str) -> Vec<(Timestamp, Bar)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/data");
    let halves = ["H1", "H2"].map(|half| {
        let path = folder.join(format!("{pair}_1h_2020-{half}.csv.gz"));
        let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut reader = csv::Reader::from_reader(GzDecoder::new(file));
        let rows = reader.deserialize::<Row>().map(|row| row.unwrap());
        rows.map(|row| (row.time + SignedDuration::from_hours(1), row.bar)).collect::<Vec<_>>()
    });
    let hours = halves.concat();
    assert!(hours.len() > 8700, "{pair} has {} hours", hours.len());
    hours
}

/// The lease, then the first `warmup` bars of each pair as history, the others as they came, and a timer
/// after each time.
pub fn events(pairs: &[&str], warmup: usize) -> Vec<Event> {
    let mut bars: Vec<Event> = Vec::new();
    for pair in pairs {
        let asset: crds::Asset = pair.parse().unwrap();
        for (index, (at, bar)) in hours_of_2020(pair).into_iter().enumerate() {
            let (asset, timeframe) = (asset.clone(), crds::Timeframe::H1);
            let kind = if index < warmup {
                EventKind::History { asset, timeframe, bar }
            } else {
                EventKind::Bar { asset, timeframe, bar }
            };
            bars.push(Event { at, kind });
        }
    }
    // Stable: at equal times the order of the pairs stays.
    bars.sort_by_key(|event| event.at);
    let mut events = vec![Event { at: bars[0].at, kind: EventKind::Lease { held: true } }];
    for (index, event) in bars.iter().enumerate() {
        events.push(event.clone());
        let is_last = bars.get(index + 1).is_none_or(|next| next.at > event.at);
        if is_last && matches!(event.kind, EventKind::Bar { .. }) {
            events.push(Event { at: event.at, kind: EventKind::Timer });
        }
    }
    events
}
