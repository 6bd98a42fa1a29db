//! Bots for tests.

use crds::config::{BotConfig, resolve};
use engine::panel::{Brief, Panel, Verdict};
use engine::{Action, Bar, BotId, Engine, Event, EventKind, Opinion, Output, RiskGate, Seat};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub fn identity() -> BotId {
    BotId { namespace: "default".into(), name: "test".into() }
}

/// The smallest bot on hourly bars of these pairs, with something merged over it.
pub fn config(pairs: &[&str], changes: Value) -> BotConfig {
    let data = pairs.iter().map(|pair| {
        json!({"pair": pair, "timeframe": "1h", "configMaps": [{"name": "bars", "key": "bars.csv.gz"}]})
    });
    let mut spec = json!({
        "assets": pairs.iter().map(|pair| json!({"pair": pair})).collect::<Vec<_>>(),
        "feeds": [{"name": "bars", "replay": {"data": data.collect::<Vec<_>>()}}],
    });
    for (key, value) in changes.as_object().unwrap() {
        spec[key] = value.clone();
    }
    resolve(&spec).unwrap().bot
}

/// A panel that wants what it is told, at the time it is told.
#[derive(Clone, Debug, Default)]
pub struct Script(pub Vec<(Timestamp, Action)>);

impl Panel for Script {
    fn deliberate(&self, brief: &Brief) -> Verdict {
        let line = self.0.iter().find(|(at, _)| *at == brief.at);
        let action = line.map_or(Action::Hold, |(_, action)| *action);
        let thesis = "it is written".to_owned();
        let opinion = Opinion { seat: Seat::Judge, action, confidence: 90, thesis, evidence: vec![] };
        Verdict { action, confidence: 90, opinions: vec![opinion], empty_chair: None }
    }
}

pub fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Bars of one asset, one after the other.
pub struct Tape {
    pub engine: Engine<Script, RiskGate>,
    pub now: Timestamp,
    pub outputs: Vec<Output>,
}

impl Tape {
    /// 4h bars at 50,000 with a true range of 395, so that ATR14 is 395, up to 2020-05-01T12:00Z. The
    /// script opens there.
    pub fn at_50_000(changes: Value, more: &[(&str, Action)]) -> Self {
        Self::after_warm_up(changes, more, |engine| engine)
    }

    /// The same with a venue that answers by message.
    pub fn by_message(more: &[(&str, Action)]) -> Self {
        Self::after_warm_up(json!({}), more, |engine| engine.with_answers_by_message("paper"))
    }

    fn after_warm_up(
        changes: Value,
        more: &[(&str, Action)],
        finish: impl Fn(Engine<Script, RiskGate>) -> Engine<Script, RiskGate>,
    ) -> Self {
        let opens = time("2020-05-01T12:00:00Z");
        let script = std::iter::once((opens, Action::OpenLong))
            .chain(more.iter().map(|(at, action)| (time(at), *action)))
            .collect();
        let config = config(&["BTC-USD"], changes);
        let engine = finish(Engine::with(identity(), config, Script(script), RiskGate).unwrap());
        let start = opens - SignedDuration::from_hours(4 * 20);
        let mut tape = Self { engine, now: start, outputs: Vec::new() };
        tape.lease(true);
        for _ in 0..20 {
            tape.bar(50_000.0, 50_197.5, 49_802.5, 50_000.0);
        }
        assert_eq!(tape.now, opens);
        tape
    }

    pub fn handle(&mut self, kind: EventKind) {
        self.engine.handle(&Event { at: self.now, kind }, &mut self.outputs);
    }

    pub fn lease(&mut self, held: bool) {
        self.handle(EventKind::Lease { held });
    }

    /// The next 4h bar, and the end of its instant.
    pub fn bar(&mut self, open: f64, high: f64, low: f64, close: f64) {
        self.now += SignedDuration::from_hours(4);
        let bar = Bar { open, high, low, close, volume: 1.0 };
        let asset = "BTC-USD".parse().unwrap();
        self.handle(EventKind::Bar { asset, timeframe: crds::Timeframe::H4, bar });
        self.handle(EventKind::Timer);
    }

    /// A quote so many milliseconds later.
    pub fn quote(&mut self, milliseconds: i64, bid: f64, ask: f64, low_bid: f64, high_ask: f64) {
        self.now += SignedDuration::from_millis(milliseconds);
        let asset = "BTC-USD".parse().unwrap();
        self.handle(EventKind::Quote { asset, bid, ask, low_bid, high_ask });
    }

    pub fn fills(&self) -> Vec<engine::Fill> {
        self.outputs
            .iter()
            .filter_map(|o| if let Output::Fill(fill) = o { Some(fill.clone()) } else { None })
            .collect()
    }

    pub fn trades(&self) -> Vec<engine::Trade> {
        trades(&self.outputs)
    }
}

pub fn trades(outputs: &[Output]) -> Vec<engine::Trade> {
    let trades = outputs.iter().filter_map(|output| match output {
        Output::TradeClosed(trade) => Some(trade.clone()),
        _ => None,
    });
    trades.collect()
}

/// Every output of a run, and the engine after it.
pub fn run(config: BotConfig, events: &[Event]) -> (Vec<Output>, Engine) {
    let mut engine = Engine::new(identity(), config).unwrap();
    let mut outputs = Vec::new();
    for event in events {
        engine.handle(event, &mut outputs);
    }
    (outputs, engine)
}
