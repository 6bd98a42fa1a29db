//! The function that a bot is.

use crds::config::BotConfig;
use jiff::Timestamp;
use rust_decimal::Decimal;

use crate::error::EngineError;
use crate::event::Event;
use crate::output::{Decision, Order, Output};
use crate::panel::{Panel, RulesPanel};
use crate::risk::{Gate, RiskGate};
use crate::snapshot::Snapshot;
use crate::states::LoopState;
use crate::view::{Account, BotId, Position};

/// A bot: events in, outputs out.
#[derive(Clone, Debug)]
pub struct Engine<P = RulesPanel, G = RiskGate> {
    #[expect(dead_code)]
    identity: BotId,
    #[expect(dead_code)]
    panel: P,
    #[expect(dead_code)]
    gate: G,
    state: Snapshot,
}

impl Engine {
    /// A bot with the built-in panel and gatekeeper, which has seen nothing yet.
    ///
    /// # Errors
    /// When the configuration cannot be traded with.
    pub fn new(identity: BotId, config: BotConfig) -> Result<Self, EngineError> {
        if config.assets.is_empty() {
            return Err(EngineError::NoAssets);
        }
        let state = Snapshot {
            version: 1,
            config,
            market_time: None,
            loop_state: LoopState::Idle,
            last_cycle_at: None,
            last_decision: None,
        };
        Ok(Self { identity, panel: RulesPanel, gate: RiskGate, state })
    }

    /// A bot as it was when the snapshot was made. `history` holds the bar and history events up to
    /// then, from the first one on; other events in it are passed over.
    ///
    /// # Errors
    /// When the snapshot is of a newer version or the history is not the one it was made after.
    pub fn restore(
        identity: BotId,
        snapshot: Snapshot,
        history: impl IntoIterator<Item = Event>,
    ) -> Result<Self, EngineError> {
        history.into_iter().for_each(drop);
        Ok(Self { identity, panel: RulesPanel, gate: RiskGate, state: snapshot })
    }
}

impl<P: Panel, G: Gate> Engine<P, G> {
    /// Takes what happened and says what the bot does about it.
    pub fn handle(&mut self, event: &Event, _out: &mut Vec<Output>) {
        self.state.market_time = Some(event.at);
    }

    /// What the engine must remember.
    pub fn snapshot(&self) -> Snapshot {
        self.state.clone()
    }

    /// The account in money.
    pub fn account(&self) -> Account {
        let zero = Decimal::ZERO;
        Account {
            currency: "USD".into(),
            equity: zero,
            cash: zero,
            day_pnl: zero,
            realized_pnl: zero,
            unrealized_pnl: zero,
            drawdown_percent: zero,
        }
    }

    /// Open positions, in the configuration's asset order.
    pub fn positions(&self) -> Vec<Position> {
        Vec::new()
    }

    /// Orders that wait for a price, in the configuration's asset order.
    pub fn open_orders(&self) -> Vec<Order> {
        Vec::new()
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
        0
    }

    /// Time of the newest bar, quote or timer.
    pub fn market_time(&self) -> Option<Timestamp> {
        self.state.market_time
    }

    /// Whether this process may open positions.
    pub fn lease_held(&self) -> bool {
        false
    }

    /// The configuration in force.
    pub fn config(&self) -> &BotConfig {
        &self.state.config
    }
}
