//! How far the agent's Deployment is.

use k8s_openapi::api::apps::v1::{DeploymentCondition, DeploymentStatus};
use serde::Deserialize;

use crate::watch::Unstructured;

/// The state of the agent's Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// A pod of the newest template is available.
    Available,
    /// Not yet.
    Progressing,
    /// There is none, and none of an older template either.
    NoPod,
    /// Kubernetes refuses to make the pod, with its words.
    Refused(String),
}

impl Rollout {
    /// Reads the state from a Deployment, by the rules of kstatus.
    pub fn of(deployment: Option<&Unstructured>) -> Self {
        let Some(deployment) = deployment else { return Self::NoPod };
        let status: DeploymentStatus = deployment
            .data
            .get("status")
            .and_then(|status| DeploymentStatus::deserialize(status).ok())
            .unwrap_or_default();
        let DeploymentStatus {
            observed_generation,
            conditions,
            replicas,
            available_replicas,
            updated_replicas,
            ..
        } = status;
        if observed_generation < deployment.metadata.generation {
            return Self::Progressing;
        }
        let conditions = conditions.unwrap_or_default();
        let holds = |condition: &&DeploymentCondition, type_: &str| {
            condition.type_ == type_ && condition.status == "True"
        };
        if let Some(failure) = conditions.iter().find(|c| holds(c, "ReplicaFailure")) {
            return Self::Refused(failure.message.clone().unwrap_or_default());
        }
        let one = |count: Option<i32>| count.unwrap_or(0) >= 1;
        // An updated pod is counted before it is available; an old one is gone by then (Recreate).
        if one(updated_replicas) && one(available_replicas) {
            Self::Available
        } else if one(replicas) {
            Self::Progressing
        } else {
            Self::NoPod
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(generation: i64, status: Value) -> Rollout {
        let deployment = json!({"metadata": {"name": "a", "generation": generation}, "status": status});
        Rollout::of(Some(&serde_json::from_value(deployment).unwrap()))
    }

    #[test]
    fn only_a_pod_of_the_newest_template_counts() {
        let up =
            json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
        assert_eq!(of(2, up.clone()), Rollout::Available);
        assert_eq!(of(3, up), Rollout::Progressing);
        let starting = json!({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1});
        assert_eq!(of(2, starting), Rollout::Progressing);
        assert_eq!(of(1, json!({})), Rollout::Progressing, "nobody has looked at it yet");
        assert_eq!(of(2, json!({"observedGeneration": 2})), Rollout::NoPod);
        assert_eq!(Rollout::of(None), Rollout::NoPod);
        let refused = json!({"observedGeneration": 1, "conditions": [
            {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
        ]});
        assert_eq!(of(1, refused), Rollout::Refused("exceeded quota".into()));
    }
}
