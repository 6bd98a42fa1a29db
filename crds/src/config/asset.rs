//! What a bot trades, and by which feed and venue.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::risk::{AssetRisk, AssetRiskSpec};
use crate::Asset;

/// An asset with everything resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AssetConfig {
    /// The pair.
    pub pair: Asset,
    /// Name of the feed that prices it.
    pub feed: String,
    /// Name of the venue that trades it.
    pub venue: String,
    /// Limits of this asset.
    pub risk: AssetRisk,
}

/// An asset that the bot trades.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssetSpec {
    /// The pair in canonical form, such as BTC-USD.
    #[schemars(with = "String", regex(pattern = r"^[A-Z0-9]{2,12}-[A-Z0-9]{2,8}$"), length(max = 21))]
    pub pair: Asset,
    /// Name of a feed; may be left out when there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub feed: Option<String>,
    /// Name of a venue; may be left out when there is only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub venue: Option<String>,
    /// Limits that replace the bot's for this asset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<AssetRiskSpec>,
}
