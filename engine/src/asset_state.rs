//! What is remembered about one asset.

use crds::Asset;
use crds::config::{AssetConfig, BotConfig};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::analysis::Analysis;
use crate::error::EngineError;
use crate::exits::Protection;
use crate::id::Id;
use crate::market::{Fed, Series};
use crate::orders::Desk;
use crate::output::{Order, Role, Side};
use crate::risk::{CostRates, Plan};
use crate::venue::Paper;

/// The part that a snapshot keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AssetState {
    pub asset: Asset,
    /// Last price.
    pub mark: Option<f64>,
    pub quote_at: Option<Timestamp>,
    pub fed: Option<Fed>,
    /// A decision bar became final since the panel was last asked.
    pub due: bool,
    /// Start of the cool-down: the last stop-out or venue's rejection.
    pub stopped_at: Option<Timestamp>,
    pub pending: Option<Pending>,
    pub position: Option<OpenPosition>,
    /// Orders at a venue that answers by message.
    #[serde(default, skip_serializing_if = "Desk::is_empty")]
    pub desk: Desk,
}

/// An order that waits for a price. An entry's plan is its reservation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pending {
    pub order: Order,
    pub plan: Option<Plan>,
}

/// An open position but for its quantity and cost, which the ledger has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OpenPosition {
    /// The id of the entry order.
    pub id: Id,
    /// Market time of the cycle that opened it: part of the ids of its orders.
    pub cycle: Timestamp,
    pub opened_at: Timestamp,
    pub venue: String,
    pub protection: Protection,
    /// Exit orders that ended without closing it.
    pub failed_exits: u32,
}

impl AssetState {
    pub fn new(asset: Asset) -> Self {
        Self {
            asset,
            mark: None,
            quote_at: None,
            fed: None,
            due: false,
            stopped_at: None,
            pending: None,
            position: None,
            desk: Desk::default(),
        }
    }

    pub fn side(&self) -> Option<Side> {
        self.position.as_ref().map(|position| position.protection.side)
    }

    /// The entry that waits for a price.
    pub fn reserved(&self) -> Option<(&Order, &Plan)> {
        let pending = self.pending.as_ref().filter(|pending| pending.order.role == Role::Entry)?;
        Some((&pending.order, pending.plan.as_ref()?))
    }
}

/// The part that is made again from the bars and the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Market {
    pub series: Series,
    pub analysis: Analysis,
    pub paper: Paper,
}

impl Market {
    pub fn new(config: &BotConfig, asset: &AssetConfig) -> Result<Self, EngineError> {
        let missing = || EngineError::NoVenue { asset: asset.pair.clone(), venue: asset.venue.clone() };
        let costs = CostRates::from(&config.paper_of(asset).ok_or_else(missing)?.costs);
        Ok(Self { series: Series::new(), analysis: Analysis::new(), paper: Paper { costs } })
    }
}
