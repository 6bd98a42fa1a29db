//! The function that a bot is, and what may be asked of it.

use std::collections::BTreeMap;

use crds::Asset;
use crds::config::BotConfig;
use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::asset_state::Market;
use crate::decimal::{from_f64, to_f64};
use crate::error::EngineError;
use crate::event::{Event, EventKind};
use crate::ledger::Ledger;
use crate::output::{Decision, Order, Output, Transition};
use crate::panel::{Panel, RulesPanel};
use crate::risk::{Gate, RiskGate};
use crate::snapshot::{SNAPSHOT_VERSION, Snapshot, day_of};
use crate::states::LoopState;
use crate::venue::QuoteWindow;
use crate::view::{Account, BotId, Position};

/// A bot: events in, outputs out.
#[derive(Clone, Debug)]
pub struct Engine<P = RulesPanel, G = RiskGate> {
    pub(crate) identity: BotId,
    pub(crate) panel: P,
    pub(crate) gate: G,
    pub(crate) state: Snapshot,
    /// Beside `state.assets`, one for one.
    pub(crate) markets: Vec<Market>,
    pub(crate) lease_held: bool,
}

impl Engine {
    /// A bot with the built-in panel and gatekeeper, which has seen nothing yet.
    ///
    /// # Errors
    /// When the configuration cannot be traded with.
    pub fn new(identity: BotId, config: BotConfig) -> Result<Self, EngineError> {
        Self::with(identity, config, RulesPanel, RiskGate)
    }

    /// A bot as it was when the snapshot was made; it does not hold the lease. `history` holds the bar
    /// and history events up to then, from the first one on. Other events may be among them. An event that
    /// was refused for its own sake is refused again; one that was refused because a timer or quote had
    /// come before it has to be left out, or the timers and quotes given, too.
    ///
    /// # Errors
    /// When the snapshot is of a newer version or the history is not the one it was made after.
    pub fn restore(
        identity: BotId,
        snapshot: Snapshot,
        history: impl IntoIterator<Item = Event>,
    ) -> Result<Self, EngineError> {
        Self::restore_with(identity, snapshot, history, RulesPanel, RiskGate)
    }
}

impl<P: Panel, G: Gate> Engine<P, G> {
    /// A bot with a panel and a gatekeeper of one's own.
    ///
    /// # Errors
    /// When the configuration cannot be traded with.
    pub fn with(identity: BotId, config: BotConfig, panel: P, gate: G) -> Result<Self, EngineError> {
        let state = Snapshot {
            version: SNAPSHOT_VERSION,
            market_time: None,
            instant_open: false,
            loop_state: LoopState::Idle,
            last_cycle_at: None,
            last_decision: None,
            ledger: Ledger::default(),
            assets: Vec::new(),
            entries: Vec::new(),
            day: None,
            peak: 0.0,
            remote: BTreeMap::new(),
            config: config.clone(),
        };
        let mut engine = Self { identity, panel, gate, state, markets: Vec::new(), lease_held: false };
        let accepted = engine.accept(&config)?;
        engine.apply(config, accepted);
        Ok(engine)
    }

    /// The same bot before its first event, with a venue that answers by message instead of filling within
    /// the call, whatever its kind says: a simulation that sends, waits and loses messages.
    #[must_use]
    pub fn with_answers_by_message(mut self, venue: &str) -> Self {
        self.state.remote.entry(venue.to_owned()).or_default();
        self
    }

    /// [`Engine::restore`] with a panel and a gatekeeper of one's own.
    ///
    /// # Errors
    /// As there.
    pub fn restore_with(
        identity: BotId,
        snapshot: Snapshot,
        history: impl IntoIterator<Item = Event>,
        panel: P,
        gate: G,
    ) -> Result<Self, EngineError> {
        if snapshot.version > SNAPSHOT_VERSION {
            return Err(EngineError::SnapshotVersion { found: snapshot.version, known: SNAPSHOT_VERSION });
        }
        let markets = snapshot.config.assets.iter().map(|asset| Market::new(&snapshot.config, asset));
        let markets = markets.collect::<Result<_, _>>()?;
        let (market_time, loop_state) = (snapshot.market_time, snapshot.loop_state);
        let mut engine = Self { identity, panel, gate, state: snapshot, markets, lease_held: false };
        engine.state.loop_state = LoopState::Recovering;
        engine.state.market_time = None;
        for event in history {
            engine.refeed(&event);
        }
        engine.state.market_time = market_time;
        for (state, market) in engine.state.assets.iter().zip(&engine.markets) {
            if state.fed != market.series.fed() {
                let words = |fed: Option<crate::market::Fed>| match fed {
                    None => "no bars".to_owned(),
                    Some(fed) => {
                        format!("{} {} bars from {} to {}", fed.bars, fed.timeframe, fed.first, fed.last)
                    }
                };
                return Err(EngineError::HistoryMismatch {
                    asset: state.asset.clone(),
                    expected: words(state.fed),
                    found: words(market.series.fed()),
                });
            }
        }
        engine.state.loop_state = loop_state;
        Ok(engine)
    }

    /// Takes what happened and appends what the bot does about it.
    pub fn handle(&mut self, event: &Event, out: &mut Vec<Output>) {
        if let Err(refused) = self.check(event) {
            out.push(Output::Refused(refused));
            return;
        }
        match &event.kind {
            EventKind::Lease { held } => {
                self.lease_held = *held;
                return;
            }
            EventKind::Configuration(config) => {
                // It was accepted just now.
                if let Ok(accepted) = self.accept(config) {
                    self.apply(config.clone(), accepted);
                    out.push(Output::Configured { at: self.state.market_time });
                }
                return;
            }
            _ => {}
        }
        if self.state.market_time.is_none_or(|now| now < event.at) {
            if self.state.instant_open {
                self.close_instant(out);
            }
            self.state.market_time = Some(event.at);
        }
        match &event.kind {
            EventKind::History { asset, timeframe, bar } => {
                if let Some(index) = self.index(asset) {
                    self.feed(index, *timeframe, event.at, bar, out);
                    self.remark(index, bar.close);
                }
            }
            EventKind::Bar { asset, timeframe, bar } => {
                if let Some(index) = self.index(asset) {
                    self.on_bar(index, *timeframe, event.at, bar, out);
                    self.state.instant_open = true;
                }
            }
            EventKind::Quote { asset, bid, ask, low_bid, high_ask } => {
                if let Some(index) = self.index(asset) {
                    let quote = QuoteWindow { bid: *bid, ask: *ask, low_bid: *low_bid, high_ask: *high_ask };
                    self.on_quote(index, event.at, &quote, out);
                    self.state.instant_open = true;
                }
            }
            EventKind::Takeover => self.take_over(self.now(event.at), out),
            EventKind::Venue(report) => {
                let now = self.now(event.at);
                self.roll_day(now);
                self.on_report(report, now, out);
            }
            EventKind::Timer => {
                let now = self.now(event.at);
                self.roll_day(now);
                self.close_instant(out);
                self.work_on_all(now, out);
            }
            EventKind::Lease { .. } | EventKind::Configuration(_) => {}
        }
    }

    /// What was long on its way counts from now on.
    pub(crate) fn now(&self, at: Timestamp) -> Timestamp {
        self.state.market_time.map_or(at, |now| now.max(at))
    }

    /// What the engine must remember.
    pub fn snapshot(&self) -> Snapshot {
        self.state.clone()
    }

    /// The account in money.
    pub fn account(&self) -> Account {
        let currency = self.state.config.assets.first().map_or("", |asset| asset.pair.quote());
        let equity = self.equity();
        let day = match (self.state.day, self.state.market_time) {
            // Prices as of midnight belong to the day before; the new day starts with them.
            (Some(day), Some(now)) if day_of(now) <= day.number => day.equity,
            _ => equity,
        };
        let unrealized = self.sum_over_holdings(|holding, mark| holding.unrealized(mark));
        let below_peak = 100.0 * (self.state.peak - to_f64(equity)) / self.state.peak;
        Account {
            currency: currency.to_owned(),
            equity: equity.normalize(),
            cash: self.state.ledger.cash().normalize(),
            day_pnl: equity.saturating_sub(day).normalize(),
            realized_pnl: self.state.ledger.realized().normalize(),
            unrealized_pnl: unrealized.normalize(),
            drawdown_percent: from_f64(below_peak.max(0.0)).unwrap_or_default().round_dp(4).normalize(),
        }
    }

    /// Open positions, in the configuration's asset order.
    pub fn positions(&self) -> Vec<Position> {
        let open = self.state.assets.iter().filter_map(|state| {
            let position = state.position.as_ref()?;
            let holding = self.state.ledger.holding(&state.asset)?;
            let mark = state.mark.and_then(from_f64).unwrap_or_else(|| holding.entry_price());
            Some(Position {
                id: position.id.clone(),
                asset: state.asset.clone(),
                venue: position.venue.clone(),
                side: holding.side,
                quantity: holding.quantity.normalize(),
                entry_price: holding.entry_price(),
                mark,
                unrealized_pnl: holding.unrealized(mark).normalize(),
                stop: position.protection.stop,
                target: position.protection.target,
                opened_at: position.opened_at,
            })
        });
        open.collect()
    }

    /// Orders that wait for a price, in the configuration's asset order. Stops are with the positions.
    pub fn open_orders(&self) -> Vec<Order> {
        let pending = self.state.assets.iter().filter_map(|state| state.pending.as_ref());
        pending.map(|pending| pending.order.clone()).collect()
    }

    /// Where the loop is.
    pub fn loop_state(&self) -> LoopState {
        self.state.loop_state
    }

    /// Market time of the last cycle.
    pub fn last_cycle_at(&self) -> Option<Timestamp> {
        self.state.last_cycle_at
    }

    /// The last decision, on whichever asset.
    pub fn last_decision(&self) -> Option<&Decision> {
        self.state.last_decision.as_ref()
    }

    /// Entry fills of the trading day of market time.
    pub fn entries_today(&self) -> u32 {
        let Some(today) = self.state.market_time.map(day_of) else { return 0 };
        let entries = self.state.entries.iter().filter(|at| day_of(**at) == today).count();
        u32::try_from(entries).unwrap_or(u32::MAX)
    }

    /// Time of the newest bar, quote or timer.
    pub fn market_time(&self) -> Option<Timestamp> {
        self.state.market_time
    }

    /// Whether this process may open positions.
    pub fn lease_held(&self) -> bool {
        self.lease_held
    }

    /// The configuration in force.
    pub fn config(&self) -> &BotConfig {
        &self.state.config
    }

    /// Whose bot it is.
    pub fn identity(&self) -> &BotId {
        &self.identity
    }

    pub(crate) fn index(&self, asset: &Asset) -> Option<usize> {
        self.state.assets.iter().position(|state| state.asset == *asset)
    }

    /// Cash and marked positions.
    pub(crate) fn equity(&self) -> Decimal {
        let held = self.sum_over_holdings(|holding, mark| holding.value(mark));
        self.state.ledger.cash().saturating_add(held)
    }

    fn sum_over_holdings(&self, amount: impl Fn(&crate::ledger::Holding, Decimal) -> Decimal) -> Decimal {
        let amounts = self.state.ledger.holdings().map(|(asset, holding)| {
            let mark = self.state.assets.iter().find(|state| state.asset == *asset).and_then(|s| s.mark);
            amount(holding, mark.and_then(from_f64).unwrap_or_else(|| holding.entry_price()))
        });
        amounts.fold(Decimal::ZERO, Decimal::saturating_add)
    }

    /// Moves the loop, if the table allows it.
    pub(crate) fn go_to(&mut self, to: LoopState, at: Timestamp, out: &mut Vec<Output>) {
        let transition = Transition { at, from: self.state.loop_state, to };
        let legal = transition.from.may_go_to(to);
        debug_assert!(legal, "{transition:?} is not in the table");
        if legal {
            self.state.loop_state = to;
            out.push(Output::Transition(transition));
        } else {
            out.push(Output::IllegalTransition(transition));
        }
    }
}
