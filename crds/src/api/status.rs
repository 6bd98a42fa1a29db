//! What operator and agent report. Each writes its share under a field manager of its own.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The observed state of a bot.
///
/// The operator writes `observedGeneration`, `configHash`, `apiKeySecret`, `url`, `claims`, `tls`, `summary` and its
/// conditions; the agent writes `agent`, `account`, `trading` and its conditions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
// Nobody takes a bot that was not looked at yet for one that is done.
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct TradingBotStatus {
    /// The generation of the spec that the operator's share is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled, ConfigValid, AgentConnected, TlsReady (operator); FeedHealthy (agent).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// SHA-256 of the configuration that the spec asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    /// Name of the Secret that holds the keys of the agent's API, `read` and `trade`; sent as Authorization: Bearer KEY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret: Option<String>,
    /// The address under which the world reaches the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What this bot holds and no other may have. Of several that ask for one thing the first to be given it holds it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub claims: Vec<Claim>,
    /// The certificate of the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsStatus>,
    /// The effective configuration in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// The agent that holds the lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentStatus>,
    /// The bot's account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountStatus>,
    /// What the bot does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trading: Option<TradingStatus>,
}

/// Something that a bot has for itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// What it is: Host, a path of a host.
    pub kind: ClaimKind,
    /// The host.
    pub host: String,
    /// The path.
    pub path: String,
    /// When it was given.
    pub since: Time,
}

/// What can be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ClaimKind {
    /// A path of a host.
    Host,
}

/// The certificate of a bot's address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TlsStatus {
    /// Its Secret.
    pub secret_name: String,
    /// When it runs out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Time>,
}

/// The effective configuration in words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Running or Paused.
    pub state: String,
    /// Names of the venues.
    pub venues: String,
    /// Preset of the panel.
    pub models: String,
    /// The pairs.
    pub assets: String,
    /// The beginning of `configHash`: enough to tell configurations apart.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub config: String,
}

/// The agent that holds the lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Its pod.
    pub pod: String,
    /// Its image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Its version.
    pub version: String,
    /// SHA-256 of the configuration that it runs.
    pub config_hash: String,
    /// When it started.
    pub started_at: Time,
    /// How its loop fares.
    #[serde(rename = "loop")]
    pub loop_health: LoopHealth,
    /// Market time of its last cycle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_cycle_at: Option<Time>,
    /// What it read in the certificate that is mounted into its pod. Absent: none is, or it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<MountedCertificate>,
}

/// A certificate that cert-manager does not tell of, as the agent reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MountedCertificate {
    /// Its Secret.
    pub secret_name: String,
    /// When it runs out.
    pub not_after: Time,
    /// The names that it is for, a hundred at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub dns_names: Vec<String>,
}

/// How an agent's loop fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum LoopHealth {
    /// Cycles follow each other.
    #[default]
    Running,
    /// The journal or the feed keeps it from trading.
    Degraded,
}

impl LoopHealth {
    /// The word that status uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Degraded => "Degraded",
        }
    }
}

/// The bot's account. Amounts are decimals as strings, in `currency`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountStatus {
    /// The currency of every amount.
    pub currency: String,
    /// Cash and marked positions.
    pub equity: String,
    /// Cash.
    pub cash: String,
    /// Change of equity since the trading day began.
    pub day_pnl: String,
    /// Profit of what was closed, net of costs.
    pub realized_pnl: String,
    /// Profit of what is open, at the last mark.
    pub unrealized_pnl: String,
    /// Distance of equity from its peak, in percent.
    pub drawdown_percent: String,
}

/// What the bot does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TradingStatus {
    /// Number of open positions.
    pub open_positions: i32,
    /// Entry fills of the trading day.
    pub trades_today: i32,
    /// Closed trades since the bot was made.
    pub closed_trades: i64,
    /// The open positions, twenty at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub positions: Vec<PositionStatus>,
    /// The newest decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_decision: Option<DecisionStatus>,
}

/// An open position.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PositionStatus {
    /// The pair.
    pub asset: String,
    /// Long or Short.
    pub side: String,
    /// How much of the base.
    pub quantity: String,
    /// Average price paid.
    pub entry_price: String,
    /// Where the stop is.
    pub stop: String,
    /// Profit at the last mark.
    pub unrealized_pnl: String,
}

/// A decision of the panel and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DecisionStatus {
    /// Its id, as logs and the API name it.
    pub id: String,
    /// The pair.
    pub asset: String,
    /// What the judge asked for.
    pub action: String,
    /// How sure the judge is, 0 to 100.
    pub confidence: i32,
    /// What the gatekeeper made of it.
    pub outcome: String,
    /// Why.
    pub reason: String,
    /// Market time.
    pub at: Time,
}
