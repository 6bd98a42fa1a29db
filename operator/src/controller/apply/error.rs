//! Why a child could not be written.

use super::super::build::Child;
use crate::reason::Reason;
use crate::watch::{ChildKind, Seen};

/// A child that could not be made what it should be.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Someone else's object is in the way.
    #[error("{kind} {name} exists and is not this bot's; delete or rename it, or give the bot another name")]
    NameCollision {
        /// Kind of the object.
        kind: &'static str,
        /// Name of the object.
        name: String,
    },
    /// The claim of a former bot of this name is in the way.
    #[error(
        "PersistentVolumeClaim {name} holds the journal of a former bot of this name that kept it; to go on with it, \
         delete this bot and make it anew with storage.sqlite.existingClaim: {name}; to begin anew, delete the claim"
    )]
    ClaimRetained {
        /// Name of the claim.
        name: String,
    },
    /// The claim is gone, and an agent still writes to its volume.
    #[error(
        "PersistentVolumeClaim {name} is gone and the agent still writes to its volume; restore the claim, or delete \
         the agent's pod to begin with an empty journal"
    )]
    ClaimLost {
        /// Name of the claim.
        name: String,
    },
    /// The claim of the journal is on its way out.
    #[error(
        "PersistentVolumeClaim {name} is being deleted and waits for the pod that uses it: its journal is lost when \
         that pod ends; copy the journal while the pod runs, or delete the pod to go on without it"
    )]
    ClaimTerminating {
        /// Name of the claim.
        name: String,
    },
    /// The child is on its way out.
    #[error("{kind} {name} is being deleted; it is made anew once it is gone")]
    Terminating {
        /// Kind of the child.
        kind: &'static str,
        /// Name of the child.
        name: String,
    },
    /// The bot, or its namespace, is being deleted: what is missing was taken away.
    #[error("the bot is being deleted; nothing is made for it")]
    BotEnding,
    /// The API server refused or failed.
    #[error("{verb} {kind} {name} failed: {}; it is tried again", words(source))]
    Api {
        /// What was tried.
        verb: &'static str,
        /// Kind of the child.
        kind: &'static str,
        /// Name of the child.
        name: String,
        /// The answer.
        #[source]
        source: Box<kube::Error>,
    },
}

impl ApplyError {
    /// The reason, as condition, event and metric name it.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::NameCollision { .. } => Reason::NameCollision,
            Self::ClaimRetained { .. } => Reason::ClaimRetained,
            Self::ClaimLost { .. } => Reason::ClaimLost,
            Self::ClaimTerminating { .. } => Reason::ClaimTerminating,
            Self::Terminating { .. } | Self::BotEnding => Reason::ChildTerminating,
            Self::Api { .. } => Reason::ApplyFailed,
        }
    }

    /// Whether the API server refused, for good, to change an object of that kind that exists.
    pub fn is_refused_change(&self, of: ChildKind) -> bool {
        matches!(self, Self::Api { verb: "updating", kind, .. } if *kind == of.as_str()) && !self.is_passing()
    }

    /// Whether the API server may well take the same write a moment later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NameCollision { .. }
            | Self::ClaimRetained { .. }
            | Self::ClaimLost { .. }
            | Self::ClaimTerminating { .. }
            | Self::Terminating { .. }
            | Self::BotEnding => false,
            Self::Api { source, .. } => {
                !matches!(source.as_ref(), kube::Error::Api(status) if status.is_forbidden() || status.is_invalid())
            }
        }
    }
}

/// What the API server said, without its envelope.
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

pub fn failed(verb: &'static str, kind: ChildKind, name: &str, source: kube::Error) -> ApplyError {
    if let kube::Error::Api(status) = &source
        && status
            .details
            .iter()
            .flat_map(|details| &details.causes)
            .any(|c| c.reason == "NamespaceTerminating")
    {
        return ApplyError::BotEnding;
    }
    ApplyError::Api { verb, kind: kind.as_str(), name: name.to_owned(), source: Box::new(source) }
}

pub fn collision(child: &Child, existing: &Seen) -> ApplyError {
    let name = child.name.clone();
    match child.kind {
        ChildKind::JournalClaim if existing.retained_for.is_some() => ApplyError::ClaimRetained { name },
        kind => ApplyError::NameCollision { kind: kind.as_str(), name },
    }
}

pub fn terminating(kind: ChildKind, name: &str) -> ApplyError {
    let name = name.to_owned();
    match kind {
        ChildKind::JournalClaim => ApplyError::ClaimTerminating { name },
        kind => ApplyError::Terminating { kind: kind.as_str(), name },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn answer(reason: &str) -> ApplyError {
        let status = Status::failure("exceeded quota", reason).boxed();
        failed("creating", ChildKind::Service, "a", kube::Error::Api(status))
    }

    #[test]
    fn a_refusal_is_told_at_once_in_the_words_of_the_api_server_and_a_failure_when_it_comes_back() {
        let refused = answer("Forbidden");
        assert_eq!(refused.to_string(), "creating Service a failed: exceeded quota; it is tried again");
        assert!(!refused.is_passing());
        assert!(!answer("Invalid").is_passing());
        assert!(answer("InternalError").is_passing());
        assert!(answer("Conflict").is_passing());
    }

    #[test]
    fn a_namespace_that_is_being_deleted_is_no_failure() {
        let answer = serde_json::json!({
            "status": "Failure", "reason": "Forbidden", "code": 403,
            "message": "unable to create new content in namespace n because it is being terminated",
            "details": {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}
        });
        let status: Status = serde_json::from_value(answer).unwrap();
        let error = failed("creating", ChildKind::Service, "a", kube::Error::Api(status.boxed()));
        assert!(matches!(error, ApplyError::BotEnding), "{error}");
    }
}
