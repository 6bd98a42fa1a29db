//! The effective configuration of a bot and the layers it is made of.
//!
//! [`resolve`](resolve::resolve) turns layers into a [`BotConfig`]; it is the only function that does,
//! for the operator, for the agent's local mode and for `check`.

mod asset;
mod effect;
mod exits;
mod feed;
mod layered;
mod merge;
mod rendering;
mod resolve;
mod risk;
mod validate;
mod venue;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use asset::{AssetConfig, AssetSpec};
pub use effect::{ChangedField, Effect, EffectError, effects};
pub use exits::{BreakEven, BreakEvenSpec, Exits, ExitsSpec, Trail, TrailSpec};
pub use feed::{ConfigMapKey, Feed, FeedSource, FeedSpec, OnEnd, Replay, ReplayData, ReplaySpec};
pub use layered::Layered;
pub use merge::{Layer, Merged};
pub use rendering::{CONFIG_VERSION, Rendering, RenderingError};
pub use resolve::{DEFAULTS_VERSION, Effective, default_values, resolve, resolve_with};
pub use risk::{AssetRisk, AssetRiskSpec, Risk, RiskSpec, Stop, StopSpec};
pub use validate::{ConfigError, ConfigErrors};
pub use venue::{CostPreset, Costs, CostsSpec, Paper, PaperSpec, Venue, VenueKind, VenueSpec};

use layered::{layered, leaves};

use crate::{Duration, Timeframe};

/// Everything that decides how a bot trades, with no key left open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BotConfig {
    /// Whether positions may be opened.
    pub state: State,
    /// What is traded, in the order of the manifest.
    pub assets: Vec<AssetConfig>,
    /// Where prices come from.
    pub feeds: Vec<Feed>,
    /// Where orders go.
    pub venues: Vec<Venue>,
    /// When the bot thinks.
    pub schedule: Schedule,
    /// Who argues and judges.
    pub models: Models,
    /// What the gatekeeper allows.
    pub risk: Risk,
    /// How positions are protected.
    pub exits: Exits,
}

/// Running, or Paused: exits work and nothing opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum State {
    /// Trades.
    Running,
    /// Exits work, nothing opens.
    Paused,
}
leaves!(State);

impl State {
    /// The word that manifests use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Paused => "Paused",
        }
    }
}

layered! {
    /// The slow cadence of a bot; stops are watched at every price whatever it says.
    Schedule / ScheduleSpec {
        /// Market time between two cycles of the loop.
        interval: Duration,
    }
}

layered! {
    /// Who argues the bull's and the bear's case and who judges.
    Models / ModelsSpec {
        /// A curated set of seats.
        preset: ModelPreset,
    }
}

/// Who argues: rules are built-in analysts, deterministic, without key or network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub enum ModelPreset {
    /// Built-in analysts: deterministic, no key, no network.
    Rules,
}
leaves!(ModelPreset);

impl ModelPreset {
    /// The word that manifests use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rules => "rules",
        }
    }

    /// The timeframe on which these seats decide; bars must be fine enough to build it.
    pub const fn decision_timeframe(self) -> Timeframe {
        match self {
            Self::Rules => Timeframe::H4,
        }
    }
}

impl BotConfig {
    /// The feed of that name.
    pub fn feed(&self, name: &str) -> Option<&Feed> {
        self.feeds.iter().find(|feed| feed.name == name)
    }

    /// The venue of that name.
    pub fn venue(&self, name: &str) -> Option<&Venue> {
        self.venues.iter().find(|venue| venue.name == name)
    }
}
