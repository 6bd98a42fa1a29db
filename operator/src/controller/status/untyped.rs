//! Statuses of objects that the API server cannot apply to: what it stores is of other types than the schema says,
//! written before the schema said so. It cannot compute who owns what there; a merge patch needs none of that.

use crds::api::{TradingBot, TradingBotStatus};
use crds::contract::OPERATOR_MANAGER;
use kube::Client;
use kube::api::{Api, ApiResource, Patch, PatchParams};
use serde_json::{Map, Value, json};

use super::super::bot::Owner;
use super::{CONDITIONS, WriteError};
use crate::metrics::Metrics;
use crate::watch::Unstructured;

/// What the agent writes; the rest is the operator's. Conditions are both's.
const AGENTS_FIELDS: [&str; 3] = ["agent", "account", "trading"];

/// Whether the API server says that it cannot apply to what it stores.
pub fn is_untyped(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.message.starts_with("failed to create typed live object"))
}

/// Writes a share onto the version of the bot that it was computed from; the version that comes of it.
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
    let resource = ApiResource::erase::<TradingBot>(&());
    let api: Api<Unstructured> = Api::namespaced_with(client.clone(), &owner.namespace, &resource);
    metrics.call("TradingBot", "get");
    let stored = api.get(&owner.name).await?;
    if stored.metadata.uid.as_ref() != Some(&owner.uid) || crate::watch::version(&stored.metadata) != version
    {
        return Err(WriteError::Outdated);
    }
    let body = json!({
        "metadata": {"resourceVersion": version.to_string()},
        "status": merged(stored.data.get("status").unwrap_or(&Value::Null), manager, share),
    });
    metrics.call("TradingBot/status", "patch");
    let parameters = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
    let answer = api.patch_status(&owner.name, &parameters, &Patch::Merge(&body)).await?;
    Ok(crate::watch::version(&answer.metadata))
}

/// The patch that replaces one writer's share: its fields, and its conditions among those of the other.
fn merged(stored: &Value, manager: &str, share: &TradingBotStatus) -> Value {
    let operators = manager == OPERATOR_MANAGER;
    let share = serde_json::to_value(share).unwrap_or_default();
    let mut status = Map::new();
    let known = [stored, &share].into_iter().filter_map(Value::as_object).flat_map(Map::keys);
    for field in known.filter(|field| AGENTS_FIELDS.contains(&field.as_str()) != operators) {
        // What is stored and no longer said goes.
        status.insert(field.clone(), share.get(field).cloned().unwrap_or_default());
    }
    let of_the_other = |condition: &&Value| {
        let type_ = condition.get("type").and_then(Value::as_str);
        type_.is_some_and(|type_| CONDITIONS.contains(&type_) != operators)
    };
    let listed =
        |status: &Value| status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut conditions: Vec<Value> = listed(stored).iter().filter(of_the_other).cloned().collect();
    conditions.extend(listed(&share));
    status.insert("conditions".into(), Value::Array(conditions));
    Value::Object(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_share_is_replaced_and_the_other_stays() {
        let condition = |type_: &str| json!({"type": type_, "status": "True", "reason": "A", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let stored = json!({
            "configHash": "old", "url": "http://old", "agent": {"pod": "p"},
            "conditions": [condition("FeedHealthy"), condition("Ready"), condition("Reconciling"), 3]
        });
        let share: TradingBotStatus = serde_json::from_value(
            json!({"observedGeneration": 2, "tls": {"secretName": "s"}, "conditions": [condition("Ready")]}),
        )
        .unwrap();
        let patch = merged(&stored, OPERATOR_MANAGER, &share);
        assert_eq!(patch["configHash"], Value::Null, "what is no longer said goes");
        assert_eq!(patch.get("url"), Some(&Value::Null), "whichever field it is");
        assert_eq!(patch["observedGeneration"], 2);
        assert_eq!(patch["tls"]["secretName"], "s");
        assert!(patch.get("agent").is_none(), "the agent's stays");
        assert_eq!(patch["conditions"], json!([condition("FeedHealthy"), condition("Ready")]));
        let rubbish = merged(&json!({"conditions": 7}), OPERATOR_MANAGER, &share);
        assert_eq!(rubbish["conditions"], json!([condition("Ready")]));
    }
}
