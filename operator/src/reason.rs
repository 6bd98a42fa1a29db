//! Why things are as they are: one word for condition, event and metric label.

use std::fmt;

/// A stable reason. It is the same word wherever it appears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The agent runs the configuration that the spec asks for.
    AgentReady,
    /// The Deployment has no available pod of the newest template yet.
    AgentStarting,
    /// Kubernetes refuses to make the pod.
    PodRefused,
    /// The pod runs, but no agent has taken the lease.
    AgentNotConnected,
    /// An agent held the lease and stopped renewing it.
    LeaseExpired,
    /// An agent holds the lease and renews it.
    LeaseHeld,
    /// The agent runs another configuration than the spec asks for.
    ConfigPending,
    /// The spec makes a configuration.
    Valid,
    /// The spec makes no configuration.
    InvalidSpec,
    /// A ConfigMap that a replay feed names does not exist.
    MissingConfigMap,
    /// The bot was made with defaults that this operator does not have.
    UnknownDefaults,
    /// A claim of a former bot of this name was kept; nobody said that it is to be used again.
    ClaimRetained,
    /// The journal's claim is being deleted.
    ClaimTerminating,
    /// The journal's claim is gone while an agent still writes to its volume.
    ClaimLost,
    /// An object of a child's name belongs to someone else.
    NameCollision,
    /// A child, of this bot or of a former one of its name, is being deleted.
    ChildTerminating,
    /// The API server refused or failed a write of a child.
    ApplyFailed,
    /// The API server refused or failed a write of the status.
    StatusFailed,
}

impl Reason {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentReady => "AgentReady",
            Self::AgentStarting => "AgentStarting",
            Self::PodRefused => "PodRefused",
            Self::AgentNotConnected => "AgentNotConnected",
            Self::LeaseExpired => "LeaseExpired",
            Self::LeaseHeld => "LeaseHeld",
            Self::ConfigPending => "ConfigPending",
            Self::Valid => "Valid",
            Self::InvalidSpec => "InvalidSpec",
            Self::MissingConfigMap => "MissingConfigMap",
            Self::UnknownDefaults => "UnknownDefaults",
            Self::ClaimRetained => "ClaimRetained",
            Self::ClaimTerminating => "ClaimTerminating",
            Self::ClaimLost => "ClaimLost",
            Self::NameCollision => "NameCollision",
            Self::ChildTerminating => "ChildTerminating",
            Self::ApplyFailed => "ApplyFailed",
            Self::StatusFailed => "StatusFailed",
        }
    }

    /// Every reason that a person should hear of at once: what an event warns of.
    pub const TROUBLE: [Self; 10] = [
        Self::PodRefused,
        Self::InvalidSpec,
        Self::MissingConfigMap,
        Self::UnknownDefaults,
        Self::ClaimRetained,
        Self::ClaimTerminating,
        Self::ClaimLost,
        Self::NameCollision,
        Self::ChildTerminating,
        Self::ApplyFailed,
    ];

    /// Whether only a change by a person helps: what `Stalled` says.
    pub const fn is_stalled(self) -> bool {
        matches!(
            self,
            Self::InvalidSpec
                | Self::MissingConfigMap
                | Self::UnknownDefaults
                | Self::ClaimRetained
                | Self::NameCollision
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
