//! The names on which operator and agent agree: labels, children, files, environment.

/// Field manager of what the operator writes.
pub const OPERATOR_MANAGER: &str = "tradingbot-operator";
/// Field manager of the agent's share of the status.
pub const AGENT_MANAGER: &str = "tradingbot-agent";

/// Label that carries the bot's name, on every child.
pub const LABEL_BOT: &str = "trading.three-rivers-tech.com/bot";
/// Value of `app.kubernetes.io/managed-by` on every child.
pub const MANAGED_BY: &str = "tradingbot-operator";

/// What every annotation of ours begins with.
pub const ANNOTATION_PREFIX: &str = "trading.three-rivers-tech.com/";

/// Key of the rendered configuration in the bot's ConfigMap; also the mounted file's name.
pub const CONFIG_KEY: &str = "config.json";
/// Folder where the agent finds the rendered configuration.
pub const CONFIG_DIR: &str = "/etc/tradingbot/config";
/// Folder where the agent finds the keys of its API: one file per role.
pub const KEYS_DIR: &str = "/etc/tradingbot/keys";
/// Folder under which each ConfigMap of replay bars is a folder of its own.
pub const BARS_DIR: &str = "/var/lib/tradingbot/bars";
/// Folder where the agent finds the certificate of its address, and never its private key.
pub const CERTIFICATE_DIR: &str = "/etc/tradingbot/certificate";
/// The certificate in a Secret of type kubernetes.io/tls; also the mounted file's name.
pub const CERTIFICATE_KEY: &str = "tls.crt";
/// Folder of the journal.
pub const JOURNAL_DIR: &str = "/var/lib/tradingbot/journal";

/// Key of the API Secret for reading.
pub const KEY_READ: &str = "read";
/// Key of the API Secret for acting.
pub const KEY_TRADE: &str = "trade";

/// Port of the agent's HTTP server.
pub const AGENT_PORT: u16 = 8000;

/// Environment of the agent in a cluster.
pub mod env {
    /// Name of the bot.
    pub const BOT_NAME: &str = "BOT_NAME";
    /// UID of the TradingBot: a status is never written to a successor of the same name.
    pub const BOT_UID: &str = "BOT_UID";
    /// Namespace of the bot.
    pub const NAMESPACE: &str = "POD_NAMESPACE";
    /// Name of the pod.
    pub const POD_NAME: &str = "POD_NAME";
    /// UID of the pod: the holder's identity in the Lease.
    pub const POD_UID: &str = "POD_UID";
    /// Image of the agent, for the status.
    pub const AGENT_IMAGE: &str = "AGENT_IMAGE";
    /// Least severe log lines shown.
    pub const LOG_LEVEL: &str = "LOG_LEVEL";
    /// The path under which the world reaches the agent. Absent: it is not exposed.
    pub const EXPOSE_PATH: &str = "EXPOSE_PATH";
    /// The Secret whose certificate is mounted. Absent: none is.
    pub const TLS_SECRET: &str = "TLS_SECRET";
}

/// Timing of the Lease by which one agent at a time trades.
pub mod lease {
    use std::time::Duration;

    /// `spec.leaseDurationSeconds`.
    pub const DURATION: Duration = Duration::from_secs(40);
    /// Time between renewals.
    pub const RENEW_EVERY: Duration = Duration::from_secs(10);
    /// Longest wait for the answer to one renewal.
    pub const RENEW_TIMEOUT: Duration = Duration::from_secs(5);
    /// Entries are allowed for so long after the sending of the last successful renewal.
    pub const ENTRY_WINDOW: Duration = Duration::from_secs(20);
    /// A stranger takes over when the record stood still for so long on its own clock.
    pub const TAKEOVER_AFTER: Duration = Duration::from_secs(45);
    /// Holder that the operator writes into a new Lease when an agent may already be at work: every
    /// agent is a stranger to it and waits [`TAKEOVER_AFTER`].
    pub const UNKNOWN_HOLDER: &str = "unknown";
}

/// Condition types.
pub mod condition {
    /// The bot's agent runs the configuration that the spec asks for.
    pub const READY: &str = "Ready";
    /// Present while the operator works towards Ready.
    pub const RECONCILING: &str = "Reconciling";
    /// Present while only a change by a person can help.
    pub const STALLED: &str = "Stalled";
    /// The spec makes a configuration.
    pub const CONFIG_VALID: &str = "ConfigValid";
    /// An agent holds the lease and renews it.
    pub const AGENT_CONNECTED: &str = "AgentConnected";
    /// Present while the spec asks that the children be left alone.
    pub const RECONCILIATION_SUSPENDED: &str = "ReconciliationSuspended";
    /// The certificate of the bot's address is there and valid. Present while `expose.tls` is set.
    pub const TLS_READY: &str = "TlsReady";
    /// Prices arrive (the agent's).
    pub const FEED_HEALTHY: &str = "FeedHealthy";
    /// Every condition that is the agent's.
    pub const AGENTS: [&str; 1] = [FEED_HEALTHY];
}

/// Name of every child but the generated Secret: the bot's own.
pub fn child_name(bot: &str) -> String {
    bot.to_owned()
}

/// Name of the Secret with the API keys: of this very bot, so that AlreadyExists means it is ours.
pub fn api_secret_name(bot: &str, uid: &str) -> String {
    format!("{bot}-api-{}", uid.chars().take(8).collect::<String>())
}
