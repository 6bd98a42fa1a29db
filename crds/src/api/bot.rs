//! `TradingBot`: what a person applies.
// Each printer column has a type and a priority; clippy takes the second of a kind for a mistake.
#![allow(clippy::duplicated_attributes)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube_derive::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::expose::ExposeSpec;
use super::status::TradingBotStatus;
use crate::config::{AssetSpec, ExitsSpec, FeedSpec, ModelsSpec, RiskSpec, ScheduleSpec, State, VenueSpec};

/// A trading agent: what it trades, from which prices, where, and within which limits.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "trading.three-rivers-tech.com",
    version = "v1alpha1",
    kind = "TradingBot",
    plural = "tradingbots",
    shortname = "tb",
    category = "trading",
    namespaced,
    status = "TradingBotStatus",
    derive = "PartialEq",
    crates(kube_core = "::kube_core"),
    doc = "A trading agent: what it trades, from which prices, where, and within which limits.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Suspended",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"ReconciliationSuspended\")].status"
    ),
    printcolumn(name = "State", type_ = "string", json_path = ".status.summary.state"),
    printcolumn(name = "Venue", type_ = "string", json_path = ".status.summary.venues"),
    printcolumn(name = "Loop", type_ = "string", json_path = ".status.agent.loop"),
    printcolumn(name = "Positions", type_ = "integer", json_path = ".status.trading.openPositions"),
    printcolumn(name = "Equity", type_ = "string", json_path = ".status.account.equity"),
    printcolumn(name = "Day P&L", type_ = "string", json_path = ".status.account.dayPnl"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Models", type_ = "string", json_path = ".status.summary.models", priority = 1),
    printcolumn(name = "Assets", type_ = "string", json_path = ".status.summary.assets", priority = 1),
    printcolumn(name = "Config", type_ = "string", json_path = ".status.summary.config", priority = 1),
    printcolumn(name = "Image", type_ = "string", json_path = ".status.agent.image", priority = 1),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.url", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.?storage.?sqlite.?existingClaim.hasValue() == oldSelf.?storage.?sqlite.?existingClaim.hasValue()",
        "message": "storage.sqlite.existingClaim is immutable: a bot keeps its journal for life; make a new bot for another one"
    },
    {
        "rule": "self.?storage.?sqlite.?size.hasValue() == oldSelf.?storage.?sqlite.?size.hasValue()",
        "message": "storage is immutable: storage.sqlite.size is stated when the bot is made, or never; it may only grow"
    }
]))]
pub struct TradingBotSpec {
    /// Running, or Paused: exits work and nothing opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// What is traded.
    #[schemars(
        length(min = 1, max = 64),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["pair"])
    )]
    pub assets: Vec<AssetSpec>,
    /// Where prices come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub feeds: Option<Vec<FeedSpec>>,
    /// Where orders go. Left out: one paper account named `paper`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 8),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"])
    )]
    pub venues: Option<Vec<VenueSpec>>,
    /// The slow cadence of the bot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<ScheduleSpec>,
    /// Who argues and who judges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<ModelsSpec>,
    /// What the risk gatekeeper allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<RiskSpec>,
    /// How positions are protected beyond their stop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exits: Option<ExitsSpec>,
    /// Where the journal lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageSpec>,
    /// The address under which the world reaches the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<ExposeSpec>,
    /// How the agent's pod runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentSpec>,
    /// Enabled, or Suspended: what was made for the bot is left alone and trades on as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconciliation: Option<Reconciliation>,
}

/// Enabled, or Suspended: what was made for the bot is left alone and trades on as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Reconciliation {
    /// It is made, changed and repaired.
    #[default]
    Enabled,
    /// It is left alone, also where it differs. The agent trades on with the configuration that it has.
    Suspended,
}

/// Where the journal lies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "has(self.sqlite)", "message": "set exactly one kind of storage: sqlite"}
]))]
pub struct StorageSpec {
    /// A file on a volume of the bot's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sqlite: Option<SqliteSpec>,
}

/// A SQLite journal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(self.size) || !has(oldSelf.size) || !isQuantity(self.size) || !isQuantity(oldSelf.size) || quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0",
        "message": "size may only grow: a volume cannot shrink"
    },
    {
        "rule": "!has(self.existingClaim) || !has(oldSelf.existingClaim) || self.existingClaim == oldSelf.existingClaim",
        "message": "existingClaim is immutable: a bot keeps its journal for life; make a new bot for another one"
    },
    {
        "rule": "!has(self.existingClaim) || !has(self.size)",
        "message": "existingClaim has a size of its own: leave out size"
    },
    {
        "rule": "!has(self.existingClaim) || !has(self.retain) || self.retain == 'Retain'",
        "message": "a claim that existed before the bot is never deleted with it: leave out retain, or set Retain"
    }
]))]
pub struct SqliteSpec {
    /// Size of the volume, such as 1Gi. Stated when the bot is made, or never; it may only grow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 20), regex(pattern = r"^[0-9]{1,6}(\.[0-9]{1,3})?(Ki|Mi|Gi|Ti|k|M|G|T)?$"))]
    pub size: Option<String>,
    /// What becomes of the volume's claim when the bot is deleted. A retained claim is bound again only by
    /// the `existingClaim` of another bot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retain: Option<Retain>,
    /// Name of a PersistentVolumeClaim of the bot's namespace that holds its journal already; none is made,
    /// and this one is never changed or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub existing_claim: Option<String>,
}

/// What becomes of the volume's claim when the bot is deleted. A retained claim is bound again only by the
/// `existingClaim` of another bot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Retain {
    /// It is deleted, and the journal with it.
    #[default]
    Delete,
    /// It stays.
    Retain,
}

/// How the agent's pod runs. None of it changes how the bot trades.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentSpec {
    /// The agent's image. Left out: the one that the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^[a-zA-Z0-9][-a-zA-Z0-9._:/@]*$"))]
    pub image: Option<String>,
    /// Requests and limits of its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesSpec>,
    /// Labels of the nodes that it may run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64))]
    pub node_selector: Option<BTreeMap<String, String>>,
    /// Least severe log lines shown: error, warn, info, debug or trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["error", "warn", "info", "debug", "trace"]))]
    pub log_level: Option<String>,
}

/// Requests and limits of a container. Claims are left out: the pod makes none that one could name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourcesSpec {
    /// What the node keeps free for it, such as {cpu: 10m, memory: 32Mi}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: Option<BTreeMap<String, Quantity>>,
    /// What it may use at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: Option<BTreeMap<String, Quantity>>,
}

impl From<ResourcesSpec> for ResourceRequirements {
    fn from(ResourcesSpec { requests, limits }: ResourcesSpec) -> Self {
        Self { requests, limits, claims: None }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_crd_fits_into_a_last_applied_annotation_and_has_no_format_that_the_server_does_not_know() {
        let crd = serde_json::to_value(crate::api::trading_bot_crd().unwrap()).unwrap();
        let text = crd.to_string();
        assert!(text.len() < 256 * 1024, "{} bytes", text.len());
        fn walk(value: &serde_json::Value) {
            if let Some(format) = value.get("format").and_then(|f| f.as_str()) {
                assert!(["int32", "int64", "date-time"].contains(&format), "{format} in {value}");
            }
            match value {
                serde_json::Value::Object(map) => map.values().for_each(walk),
                serde_json::Value::Array(list) => list.iter().for_each(walk),
                _ => {}
            }
        }
        walk(&crd);
        assert!(!text.contains("\"type\":\"number\""), "fractions are integer-or-string");
        let resources = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/agent/properties/resources/properties";
        let keys: Vec<_> = crd.pointer(resources).unwrap().as_object().unwrap().keys().collect();
        assert_eq!(keys, ["limits", "requests"], "a claim would name what no pod of ours has");
    }
}
