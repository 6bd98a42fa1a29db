//! What the driver does to the cluster.

use std::time::Instant;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::observer::bot_resource;

/// Where the bots are.
pub const NAMESPACE: &str = "bench";
/// Calls of the driver at one time.
const SIDE_BY_SIDE: usize = 8;

/// Kinds of which a bot may have children: group, kind, plural.
const KINDS: [(&str, &str, &str); 12] = [
    ("", "ServiceAccount", "serviceaccounts"),
    ("", "ConfigMap", "configmaps"),
    ("", "Secret", "secrets"),
    ("", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("", "Service", "services"),
    ("apps", "Deployment", "deployments"),
    ("rbac.authorization.k8s.io", "Role", "roles"),
    ("rbac.authorization.k8s.io", "RoleBinding", "rolebindings"),
    ("coordination.k8s.io", "Lease", "leases"),
    ("networking.k8s.io", "NetworkPolicy", "networkpolicies"),
    ("networking.k8s.io", "Ingress", "ingresses"),
    ("policy", "PodDisruptionBudget", "poddisruptionbudgets"),
];

/// The driver's hands.
#[derive(Clone)]
pub struct Driver {
    client: Client,
    bots: Api<DynamicObject>,
    deployments: Api<Deployment>,
}

impl Driver {
    /// Makes the namespace and the bars that every bot replays.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn new(client: Client) -> Result<Self> {
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await?;
        let bars: ConfigMap =
            serde_json::from_value(json!({"metadata": {"name": "bars"}, "data": {"bars.csv": ""}}))?;
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        maps.create(&PostParams::default(), &bars).await?;
        Ok(Self {
            bots: Api::namespaced_with(client.clone(), NAMESPACE, &bot_resource()),
            deployments: Api::namespaced(client.clone(), NAMESPACE),
            client,
        })
    }

    /// Creates bots; when each was answered.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn create(&self, names: &[String]) -> Result<Vec<Instant>> {
        self.for_each(names, async |name: String| {
            let bot = serde_json::from_value(bot(&name))?;
            self.bots.create(&PostParams::default(), &bot).await.with_context(|| format!("create {name}"))?;
            Ok(Instant::now())
        })
        .await
    }

    /// Changes a limit, which an agent takes over while it runs: of the children the ConfigMap alone changes.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn limit(&self, names: &[String], max_open_positions: u8) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"risk": {"maxOpenPositions": max_open_positions}}}));
        self.for_each(names, async |name: String| {
            self.bots.patch(&name, &PatchParams::default(), &patch).await?;
            Ok(())
        })
        .await
        .map(drop)
    }

    /// Deletes a Deployment.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn delete_deployment(&self, name: &str) -> Result<()> {
        self.deployments.delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Asks for three replicas, as a person might.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn scale(&self, name: &str) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"replicas": 3}}));
        self.deployments.patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// How many children the bots have, and how many bytes they are as JSON.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn children(&self, bot: &str) -> Result<(usize, usize)> {
        let (mut count, mut bytes) = (0, 0);
        for (group, kind, plural) in KINDS {
            let kind = GroupVersionKind::gvk(group, "v1", kind);
            let resource = ApiResource::from_gvk_with_plural(&kind, plural);
            let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), NAMESPACE, &resource);
            let selector = format!("trading.three-rivers-tech.com/bot={bot}");
            for mut child in api.list(&ListParams::default().labels(&selector)).await? {
                child.metadata.managed_fields = None;
                count += 1;
                bytes += serde_json::to_vec(&child)?.len();
            }
        }
        Ok((count, bytes))
    }

    async fn for_each<T>(&self, names: &[String], call: impl AsyncFn(String) -> Result<T>) -> Result<Vec<T>> {
        let calls = futures::stream::iter(names.iter().cloned()).map(|name| call(name));
        calls.buffered(SIDE_BY_SIDE).try_collect().await
    }
}

/// The names of so many bots; `kind` tells several sets apart.
pub fn names(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{kind}-{index:05}")).collect()
}

fn bot(name: &str) -> Value {
    json!({
        "apiVersion": bot_resource().api_version, "kind": bot_resource().kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "assets": [{"pair": "BTC-USD"}],
            "feeds": [{"name": "bars", "replay": {"data": [{
                "pair": "BTC-USD", "timeframe": "1h", "configMaps": [{"name": "bars", "key": "bars.csv"}]
            }]}}],
        },
    })
}
