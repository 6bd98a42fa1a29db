//! What the outside sees of a bot: a projection of its journal, made anew after each commit.

use crds::api::LoopHealth;
use engine::{Account, BotId, Decision, Engine, Outcome, Position, Seat};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::feed::FeedHealth;
use crate::shown::number;

/// A bot at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Whose it is.
    pub bot: BotId,
    /// The agent's version.
    pub version: String,
    /// Running or Paused.
    pub state: String,
    /// SHA-256 of the configuration that it runs.
    pub config_hash: String,
    /// The generation of the spec behind it, in a cluster.
    pub generation: Option<i64>,
    /// When this process started (wall time).
    pub started_at: Timestamp,
    /// Number of the last durable event.
    pub events: i64,
    /// Market time.
    pub market_time: Option<Timestamp>,
    /// How the loop fares.
    #[serde(rename = "loop")]
    pub loop_health: LoopHealth,
    /// Where the loop is.
    pub loop_state: String,
    /// Market time of the last cycle.
    pub last_cycle_at: Option<Timestamp>,
    /// Whether this process may open positions.
    pub lease_held: bool,
    /// How prices arrive.
    pub feed: FeedView,
    /// Whether what happens is kept.
    #[serde(default)]
    pub journal: JournalView,
    /// The account.
    pub account: Account,
    /// Open positions, in the configuration's asset order.
    pub positions: Vec<Position>,
    /// Orders that wait for a price.
    pub open_orders: usize,
    /// Entry fills of the trading day.
    pub entries_today: u32,
    /// Closed trades since the bot was made.
    pub closed_trades: u64,
    /// Fills since the bot was made.
    pub fills: u64,
    /// The newest decision.
    pub last_decision: Option<DecisionView>,
    /// Why the newest configuration is not in force; nothing opens until it is.
    pub refused_config: Option<String>,
}

/// Whether the journal takes what happens. While it does not, the market stands still.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalView {
    /// A stable word for what is wrong with it; none while it is well.
    pub trouble: Option<String>,
    /// What a person should know.
    pub message: String,
}

/// How prices arrive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeedView {
    /// Whether they do.
    pub healthy: bool,
    /// A stable word.
    pub reason: String,
    /// What a person should know.
    pub message: String,
}

impl From<&FeedHealth> for FeedView {
    fn from(health: &FeedHealth) -> Self {
        Self {
            healthy: health.is_healthy(),
            reason: health.reason().to_owned(),
            message: health.message().to_owned(),
        }
    }
}

/// A decision without the numbers that it rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionView {
    /// Its id.
    pub id: String,
    /// Market time.
    pub at: Timestamp,
    /// The pair.
    pub asset: String,
    /// What the judge asked for.
    pub action: String,
    /// How sure the judge is, 0 to 100.
    pub confidence: u8,
    /// What became of it.
    pub outcome: String,
    /// Why, in words.
    pub reason: String,
}

impl From<&Decision> for DecisionView {
    fn from(decision: &Decision) -> Self {
        Self {
            id: decision.id.to_string(),
            at: decision.at,
            asset: decision.asset.to_string(),
            action: decision.action.as_str().to_owned(),
            confidence: decision.confidence,
            outcome: outcome_word(decision.outcome).to_owned(),
            reason: reason(decision),
        }
    }
}

/// The stable word for an outcome.
pub const fn outcome_word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Approved => "approved",
        Outcome::Rejected => "rejected",
        Outcome::Hold => "hold",
        Outcome::Abstained => "abstained",
    }
}

/// Why a decision came out as it did: the gatekeeper's *no* with its numbers, else the judge's thesis.
pub fn reason(decision: &Decision) -> String {
    if let Some(rejection) = &decision.rejection {
        let mut text = rejection.reason.as_str().to_owned();
        if let Some(measured) = rejection.measured {
            text.push_str(&format!(": {}", number(measured)));
        }
        if let Some(limit) = rejection.limit {
            text.push_str(&format!(", limit {}", number(limit)));
        }
        return text;
    }
    let judge = decision.opinions.iter().find(|opinion| opinion.seat == Seat::Judge);
    judge.map(|opinion| opinion.thesis.clone()).unwrap_or_default()
}

/// What a view needs beside the engine.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Whose bot it is.
    pub bot: BotId,
    /// When the process started.
    pub started_at: Timestamp,
    /// Hash of the configuration in force.
    pub config_hash: String,
    /// Its generation.
    pub generation: Option<i64>,
    /// How the feed fares.
    pub feed: FeedHealth,
    /// Whether the lease is held.
    pub lease_held: bool,
    /// Closed trades since the bot was made.
    pub closed_trades: u64,
    /// Fills since the bot was made.
    pub fills: u64,
    /// Why the newest configuration is not in force.
    pub refused_config: Option<String>,
}

impl View {
    /// The bot after the event numbered `events`.
    pub fn of(engine: &Engine, around: &Surroundings, events: i64) -> Self {
        let healthy = around.feed.is_healthy() && around.refused_config.is_none();
        Self {
            bot: around.bot.clone(),
            version: crate::journal::VERSION.to_owned(),
            state: engine.config().state.as_str().to_owned(),
            config_hash: around.config_hash.clone(),
            generation: around.generation,
            started_at: around.started_at,
            events,
            market_time: engine.market_time(),
            loop_health: if healthy { LoopHealth::Running } else { LoopHealth::Degraded },
            loop_state: engine.loop_state().as_str().to_owned(),
            last_cycle_at: engine.last_cycle_at(),
            lease_held: around.lease_held,
            feed: FeedView::from(&around.feed),
            journal: JournalView::default(),
            account: engine.account(),
            positions: engine.positions(),
            open_orders: engine.open_orders().len(),
            entries_today: engine.entries_today(),
            closed_trades: around.closed_trades,
            fills: around.fills,
            last_decision: engine.last_decision().map(DecisionView::from),
            refused_config: around.refused_config.clone(),
        }
    }

    /// The same bot with a journal that takes nothing: what is not durable is not shown.
    pub fn in_trouble(&self, trouble: &str, message: String) -> Self {
        let journal = JournalView { trouble: Some(trouble.to_owned()), message };
        Self { loop_health: LoopHealth::Degraded, journal, ..self.clone() }
    }
}
