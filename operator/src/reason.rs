//! Why things are as they are: one word for condition, event and metric label.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $meaning:literal])+ $name:ident,)+) => {
        /// A stable reason. It is the same word wherever it appears. docs/status.md lists them all.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $meaning])+ $name,)+
        }

        impl Reason {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }

            /// What it means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($meaning),+),)+
                }
            }
        }
    };
}

reasons! {
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
    /// There is no agent that could say: its last word is too old to count.
    AgentGone,
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
    /// The spec asks that the children be left alone.
    Suspended,
    /// An object of a child's name belongs to someone else.
    NameCollision,
    /// A child, of this bot or of a former one of its name, is being deleted.
    ChildTerminating,
    /// Another bot holds the path of the host that this one asks for, or their certificates differ.
    HostConflict,
    /// The spec names an issuer, and the cluster has no cert-manager.
    CertManagerMissing,
    /// The spec names a Gateway, and the cluster has no Gateway API.
    GatewayApiMissing,
    /// cert-manager has issued the certificate.
    CertificateIssued,
    /// The certificate that someone else provides is for the host and has not run out.
    CertificateValid,
    /// The certificate is being issued.
    CertificatePending,
    /// The issuer has refused the certificate.
    CertificateFailed,
    /// The Secret holds no certificate that the agent can read.
    CertificateMissing,
    /// The certificate is for other names.
    CertificateMismatch,
    /// The certificate has run out.
    CertificateExpired,
    /// The API server refused or failed a write of a child.
    ApplyFailed,
    /// The API server refused or failed a write of the status, or the read of the Lease that it takes.
    StatusFailed,
    /// The bot was written by someone else at the same moment: it is looked at again.
    StatusOutdated,
}

impl Reason {
    /// Every reason that a person should hear of at once: what an event warns of.
    pub const TROUBLE: [Self; 13] = [
        Self::PodRefused,
        Self::InvalidSpec,
        Self::MissingConfigMap,
        Self::UnknownDefaults,
        Self::ClaimRetained,
        Self::ClaimTerminating,
        Self::ClaimLost,
        Self::NameCollision,
        Self::ChildTerminating,
        Self::HostConflict,
        Self::CertManagerMissing,
        Self::GatewayApiMissing,
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
                | Self::Suspended
                | Self::HostConflict
                | Self::CertManagerMissing
                | Self::GatewayApiMissing
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_tell_of_every_reason_with_its_meaning() {
        let documents = include_str!("../../docs/status.md");
        let (_, section) = documents.split_once("\n## Reasons\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let mut told: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
        for reason in Reason::ALL {
            let stalled = if reason.is_stalled() { "yes" } else { "" };
            let warned = if Reason::TROUBLE.contains(reason) { "yes" } else { "" };
            let row = format!("| `{reason}` | {} | {stalled} | {warned} |", reason.meaning().trim());
            let place = told.iter().position(|told| *told == row);
            told.remove(place.unwrap_or_else(|| panic!("docs/status.md lacks this row:\n{row}")));
        }
        assert!(told.is_empty(), "docs/status.md tells of what is no reason:\n{}", told.join("\n"));
    }
}
