//! What the pod's environment tells the agent.

use crds::contract::env;
use engine::BotId;

/// A variable that the operator sets and that is not there.
#[derive(Debug, thiserror::Error)]
#[error(
    "the environment variable {0} is not set; `run --cluster` is for pods made by the operator, use `run -f FILE` elsewhere"
)]
pub struct MissingVariable(&'static str);

/// Who the agent is and for whom it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The bot.
    pub bot: BotId,
    /// UID of the TradingBot.
    pub bot_uid: String,
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod: the holder's identity in the Lease.
    pub pod_uid: String,
    /// The agent's image.
    pub image: Option<String>,
    /// The path under which the world reaches the agent.
    pub exposed: Option<String>,
    /// The Secret whose certificate is mounted.
    pub tls_secret: Option<String>,
}

impl Environment {
    /// Reads the variables, each by its name, from `lookup`.
    ///
    /// # Errors
    /// When one is missing or empty.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, MissingVariable> {
        let optional = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let required = |name: &'static str| optional(name).ok_or(MissingVariable(name));
        Ok(Self {
            bot: BotId { namespace: required(env::NAMESPACE)?, name: required(env::BOT_NAME)? },
            bot_uid: required(env::BOT_UID)?,
            pod: required(env::POD_NAME)?,
            pod_uid: required(env::POD_UID)?,
            image: optional(env::AGENT_IMAGE),
            exposed: optional(env::EXPOSE_PATH),
            tls_secret: optional(env::TLS_SECRET),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_variable_is_named() {
        let all = |name: &str| Some(format!("the {name}"));
        let environment = Environment::read(all).unwrap();
        assert_eq!(environment.bot.to_string(), "the POD_NAMESPACE/the BOT_NAME");
        let message =
            Environment::read(|name| if name == env::BOT_UID { Some(String::new()) } else { all(name) })
                .unwrap_err()
                .to_string();
        assert!(message.contains("BOT_UID") && message.contains("run -f FILE"), "{message}");
    }
}
