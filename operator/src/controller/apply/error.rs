//! Why a child could not be written.

use crate::reason::Reason;
use crate::watch::ChildKind;

use super::super::build::Child;

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
    /// The child is on its way out.
    #[error("{kind} {name} is being deleted; it is made anew once it is gone{hint}")]
    Terminating {
        /// Kind of the child.
        kind: &'static str,
        /// Name of the child.
        name: String,
        /// What a person can do about it.
        hint: &'static str,
    },
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
            Self::Terminating { .. } => Reason::ChildTerminating,
            Self::Api { .. } => Reason::ApplyFailed,
        }
    }

    /// Whether the API server may well take the same write a moment later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::NameCollision { .. } | Self::Terminating { .. } => false,
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
    ApplyError::Api { verb, kind: kind.as_str(), name: name.to_owned(), source: Box::new(source) }
}

pub fn collision(child: &Child) -> ApplyError {
    ApplyError::NameCollision { kind: child.kind.as_str(), name: child.name.clone() }
}

pub fn terminating(child: &Child) -> ApplyError {
    let hint = match child.kind {
        ChildKind::JournalClaim => "; a claim waits for the pod that uses it: delete that pod to go on",
        _ => "",
    };
    ApplyError::Terminating { kind: child.kind.as_str(), name: child.name.clone(), hint }
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
}
