//! Stage five: says in the bot's status what is so.
//!
//! The operator's share is computed whole from what is observed, every time, and written only when it
//! differs from what the API server has.

mod conditions;
mod event;
mod gone;
mod looked;
mod progress;
mod rollout;
mod tls;
mod untyped;

use crds::api::{TradingBot, TradingBotStatus};
use crds::contract::condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use kube::{Client, Resource};
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::bot::Owner;
use crate::metrics::Metrics;
use crate::watch::metadata;

pub use conditions::{Observed, share};
pub use event::Events;
pub use gone::{is_gone, last_share};
pub use looked::{Built, Looked, Looks, Outcome, Stated};
pub use progress::is_only_progress;
pub use rollout::Rollout;
pub use tls::Issued;

/// The operator's conditions, in the order of their writing.
const CONDITIONS: [&str; 7] = [
    condition::READY,
    condition::RECONCILING,
    condition::STALLED,
    condition::CONFIG_VALID,
    condition::AGENT_CONNECTED,
    condition::RECONCILIATION_SUSPENDED,
    condition::TLS_READY,
];

/// The operator's share of a status.
pub fn operators_share(status: &TradingBotStatus) -> TradingBotStatus {
    let TradingBotStatus {
        observed_generation,
        conditions,
        config_hash,
        api_key_secret,
        url,
        claims,
        tls,
        summary,
        agent: _,
        account: _,
        trading: _,
    } = status.clone();
    let mut conditions: Vec<_> =
        conditions.into_iter().filter(|c| CONDITIONS.contains(&c.type_.as_str())).collect();
    conditions.sort_by_key(|c| CONDITIONS.iter().position(|type_| *type_ == c.type_));
    TradingBotStatus {
        observed_generation,
        conditions,
        config_hash,
        api_key_secret,
        url,
        claims,
        tls,
        summary,
        ..TradingBotStatus::default()
    }
}

/// The shares that this process wrote and the watch may not have shown yet, by the bot's UID.
#[derive(Debug, Default)]
pub struct Shares(Mutex<HashMap<String, Written>>);

#[derive(Debug)]
struct Written {
    /// The bot's version since the last write.
    version: u64,
    /// The operator's share at that version.
    share: TradingBotStatus,
    /// The agent's share says at that version that nobody is there.
    agent_is_gone: bool,
}

impl Shares {
    /// The operator's share as the API server has it, and the bot's version: the newer one of what was seen
    /// and what was written.
    pub fn newest(
        &self,
        uid: &str,
        version: u64,
        seen: Option<&TradingBotStatus>,
    ) -> (u64, TradingBotStatus) {
        let shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (shares.get(uid), seen) {
            (Some(written), Some(_)) if written.version > version => (written.version, written.share.clone()),
            // Of an object that cannot be read nothing else is known.
            (Some(written), None) => (version.max(written.version), written.share.clone()),
            (_, Some(seen)) => (version, operators_share(seen)),
            (None, None) => (version, TradingBotStatus::default()),
        }
    }

    /// Whether a version that the watch shows is the one that this process wrote last, or an older one.
    /// What the watch has caught up with is forgotten, unless the object cannot be read.
    pub fn is_echo(&self, uid: &str, version: u64, readable: bool) -> bool {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(&Written { version: written, .. }) = shares.get(uid) else { return false };
        if readable && version >= written {
            shares.remove(uid);
        }
        version <= written
    }

    /// Whether the agent's share says that nobody is there, though the version that the watch shows does not yet.
    pub fn said_gone(&self, uid: &str, version: u64) -> bool {
        let shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shares.get(uid).is_some_and(|written| written.agent_is_gone && written.version > version)
    }

    /// Keeps what was written.
    pub fn keep(&self, uid: &str, version: u64, share: TradingBotStatus) {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody wrote in between, or this write had been refused.
        let agent_is_gone = shares.get(uid).is_some_and(|written| written.agent_is_gone);
        shares.insert(uid.to_owned(), Written { version, share, agent_is_gone });
    }

    /// Keeps that the agent's share was written in its place; the operator's is at that version what is given.
    pub fn keep_gone(&self, uid: &str, version: u64, share: TradingBotStatus) {
        let mut shares = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shares.insert(uid.to_owned(), Written { version, share, agent_is_gone: true });
    }

    /// Forgets all bots.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Forgets a bot that is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

/// Why a share was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Somebody wrote the bot after it was read, or another has its name by now.
    #[error("the bot was written by someone else at the same moment")]
    Outdated,
    /// The bot is gone.
    #[error("the bot is gone")]
    Gone,
    /// The API server refused or failed.
    #[error(transparent)]
    Api(kube::Error),
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_conflict() => Self::Outdated,
            kube::Error::Api(status) if status.is_not_found() => Self::Gone,
            other => Self::Api(other),
        }
    }
}

/// All that is read of the bot that the API server answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(deserialize_with = "metadata")]
    metadata: ObjectMeta,
}

/// Applies a share, as its manager, onto the version of the bot that it was computed from; the version
/// that comes of it.
///
/// The API server does not compare UIDs when a status is applied, so that the version stands for it: a bot
/// that was made anew under the same name is not written. Whoever gets [`WriteError::Outdated`] waits for
/// the watch to show what was written in between; to try again with the same version would be in vain.
///
/// # Errors
/// See [`WriteError`].
pub async fn write(
    client: &Client,
    owner: &Owner,
    manager: &str,
    version: u64,
    share: &TradingBotStatus,
    metrics: &Metrics,
) -> Result<u64, WriteError> {
    let body = json!({
        "apiVersion": TradingBot::api_version(&()),
        "kind": TradingBot::kind(&()),
        "metadata": {"name": owner.name, "uid": owner.uid, "resourceVersion": version.to_string()},
        "status": share,
    });
    metrics.call("TradingBot/status", "patch");
    let url = TradingBot::url_path(&(), Some(&owner.namespace));
    let parameters = PatchParams::apply(manager).force();
    let request =
        Request::new(url).patch_subresource("status", &owner.name, &parameters, &Patch::Apply(&body));
    match client.request::<Answer>(request.map_err(kube::Error::BuildRequest)?).await {
        Ok(answer) => Ok(crate::watch::version(&answer.metadata)),
        Err(error) if untyped::is_untyped(&error) => {
            untyped::write(client, owner, manager, version, share, metrics).await
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::from_value;

    fn status(reason: &str) -> TradingBotStatus {
        let condition = |type_: &str| json!({"type": type_, "status": "True", "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        from_value(json!({
            "observedGeneration": 2, "configHash": "abc",
            "conditions": [condition("FeedHealthy"), condition("ConfigValid"), condition("Ready")],
            "agent": {"pod": "p", "version": "1", "configHash": "abc", "startedAt": "2026-01-01T00:00:00Z", "loop": "Running"}
        }))
        .unwrap()
    }

    #[test]
    fn the_agents_share_is_left_out_and_conditions_have_one_order() {
        let share = operators_share(&status("A"));
        assert_eq!(share.agent, None);
        let types: Vec<_> = share.conditions.iter().map(|c| c.type_.as_str()).collect();
        assert_eq!(types, ["Ready", "ConfigValid"]);
    }

    #[test]
    fn what_was_written_counts_until_the_watch_has_caught_up() {
        let shares = Shares::default();
        let (old, new) = (status("Old"), operators_share(&status("New")));
        shares.keep("u", 10, new.clone());
        assert_eq!(shares.newest("u", 9, Some(&old)), (10, new.clone()));
        assert_eq!(shares.newest("u", 10, Some(&old)), (10, operators_share(&old)));
        assert_eq!(shares.newest("u", 12, None), (12, new), "an object that cannot be read");
        shares.forget("u");
        assert_eq!(shares.newest("u", 12, None), (12, TradingBotStatus::default()));
    }

    #[test]
    fn what_the_watch_shows_of_our_own_is_no_news_and_is_not_kept_twice() {
        let shares = Shares::default();
        shares.keep("u", 10, operators_share(&status("New")));
        assert!(shares.is_echo("u", 9, true));
        assert!(shares.is_echo("u", 10, false), "it cannot be read, so that the memory is all there is");
        assert!(shares.is_echo("u", 10, true));
        assert!(!shares.is_echo("u", 10, true), "forgotten");
        shares.keep("u", 10, operators_share(&status("New")));
        assert!(!shares.is_echo("u", 11, true), "somebody wrote after us");
    }
}
