//! What an engine must remember.

use crds::config::BotConfig;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::output::Decision;
use crate::states::LoopState;

/// Everything an engine knows but its indicators, which are made again from the bars, and its lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Format of the snapshot.
    pub version: u32,
    pub(crate) config: BotConfig,
    pub(crate) market_time: Option<Timestamp>,
    pub(crate) loop_state: LoopState,
    pub(crate) last_cycle_at: Option<Timestamp>,
    pub(crate) last_decision: Option<Decision>,
}
