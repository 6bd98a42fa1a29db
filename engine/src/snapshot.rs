//! What an engine must remember to go on as if nothing had happened.

use std::collections::BTreeMap;

use crds::config::BotConfig;
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::asset_state::AssetState;
use crate::ledger::Ledger;
use crate::orders::Remote;
use crate::output::Decision;
use crate::states::LoopState;

/// The newest format that this engine writes and reads.
pub(crate) const SNAPSHOT_VERSION: u32 = 1;

/// Everything an engine knows, but for two things: its indicators, which are made again from the bars,
/// and the lease, which has to be taken again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Format of the snapshot.
    pub(crate) version: u32,
    pub(crate) config: BotConfig,
    pub(crate) market_time: Option<Timestamp>,
    /// Prices came at `market_time`, and no cycle was tried since.
    pub(crate) instant_open: bool,
    pub(crate) loop_state: LoopState,
    pub(crate) last_cycle_at: Option<Timestamp>,
    pub(crate) last_decision: Option<Decision>,
    pub(crate) ledger: Ledger,
    /// In the configuration's order.
    pub(crate) assets: Vec<AssetState>,
    /// Entry fills of the newest day that has one.
    pub(crate) entries: Vec<Timestamp>,
    pub(crate) day: Option<Day>,
    /// Highest equity at a bar or quote.
    pub(crate) peak: f64,
    /// The venues that answer by message.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) remote: BTreeMap<String, Remote>,
}

impl Snapshot {
    /// Market time when it was made.
    pub fn market_time(&self) -> Option<Timestamp> {
        self.market_time
    }

    /// The configuration in force when it was made.
    pub fn config(&self) -> &BotConfig {
        &self.config
    }
}

/// A trading day: it starts at 00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Day {
    /// Days since 1970.
    pub number: i64,
    /// Equity when it started.
    pub equity: Decimal,
}

/// The trading day of a time.
pub(crate) fn day_of(at: Timestamp) -> i64 {
    at.as_second().div_euclid(86_400)
}
