//! The kinds that the API server stores.

mod bot;
mod definition;
mod manifest;
mod status;

pub use bot::{AgentSpec, Deployment, ResourcesSpec, SqliteSpec, StorageSpec, TradingBot, TradingBotSpec};
pub use definition::trading_bot_crd;
pub use manifest::{Manifest, ManifestError, find_bot};
pub use status::{
    AccountStatus, AgentStatus, DecisionStatus, LoopHealth, PositionStatus, Summary, TradingBotStatus,
    TradingStatus,
};

/// The group of every kind.
pub const GROUP: &str = "trading.three-rivers-tech.com";
