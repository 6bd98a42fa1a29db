//! Where prices come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::layered::{layered, leaves};
use crate::{Numeric, Timeframe};

/// A named source of prices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feed {
    /// The name by which assets refer to it.
    pub name: String,
    /// The source itself.
    #[serde(flatten)]
    pub source: FeedSource,
}

/// The kinds of feed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FeedSource {
    /// Recorded bars.
    Replay(Replay),
}

/// A named source of prices. Exactly one kind is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.replay)", "message": "set exactly one kind of feed: replay"}
]))]
pub struct FeedSpec {
    /// The name by which assets refer to it.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// Recorded bars.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplaySpec>,
}

layered! {
    /// Recorded bars, delivered in the order of their time. Market time is the time of the data.
    Replay / ReplaySpec {
        /// Seconds of market time per second of wall time; 0 is as fast as the bot can take them.
        speed: Numeric,
        /// So many bars of each asset are delivered at once, without trading, to fill the indicators.
        #[schemars(range(min = 0, max = 1000000))]
        warmup: u32,
        /// What happens after the last bar.
        on_end: OnEnd,
        /// The bars, one entry for each asset.
        #[schemars(length(min = 1, max = 64))]
        data: Vec<ReplayData>,
    }
}

/// What a replay does after its last bar: Hold keeps the positions and waits; Loop starts over, with later times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum OnEnd {
    /// Keeps the positions and waits.
    Hold,
    /// Starts over, with times shifted so that market time keeps rising.
    Loop,
}
leaves!(OnEnd);

/// The bars of one asset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayData {
    /// The asset, in canonical form.
    #[schemars(with = "String", regex(pattern = r"^[A-Z0-9]{2,12}-[A-Z0-9]{2,8}$"), length(max = 21))]
    pub pair: crate::Asset,
    /// The length of a bar in the files.
    pub timeframe: Timeframe,
    /// ConfigMaps of the bot's namespace that hold the files (CSV or CSV.gz), read in the order given.
    #[schemars(length(min = 1, max = 64))]
    pub config_maps: Vec<ConfigMapKey>,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKey {
    /// Name of the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key within it; it ends in `.csv` or `.csv.gz`.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+\.csv(\.gz)?$"))]
    pub key: String,
}
