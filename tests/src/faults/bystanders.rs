//! Objects that are not the operator's, however much they look like it.

use serde_json::{Value, json};

use super::picture::text;
use crate::cluster::Cluster;
use crate::wait;

const KINDS: &str = "configmaps,services,serviceaccounts,secrets,roles,leases,deployments";

/// Beside bots and in a namespace without any; nothing may change about them.
pub struct Bystanders {
    namespace: String,
    neighbour: String,
    before: Vec<Value>,
}

impl Bystanders {
    /// Makes them beside bots of these names.
    pub fn make(cluster: &Cluster, namespace: &str, bots: &[String]) -> Self {
        let neighbour = format!("{namespace}-neighbour");
        cluster.run(&["create", "namespace", &neighbour]);
        let mut objects = vec![
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bystander-owner"}}),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bystander-plain"}, "stringData": {"a": "b"}}),
        ];
        for bot in bots {
            let labels = json!({
                "app.kubernetes.io/managed-by": "tradingbot-operator",
                "app.kubernetes.io/instance": bot,
                "app.kubernetes.io/name": "tradingbot-agent",
                "trading.three-rivers-tech.com/bot": bot,
            });
            // Labelled like a child, under a name that no child has.
            objects.push(json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": format!("bystander-{bot}"), "labels": labels}, "data": {"a": "b"}}));
            // A bot's names, where there is no bot: with its labels and without.
            for (kind, version, labelled, spec) in [
                ("ConfigMap", "v1", true, json!({"data": {"config.json": "{}"}})),
                ("ServiceAccount", "v1", false, json!({})),
                ("Service", "v1", true, json!({"spec": {"ports": [{"port": 80}]}})),
                ("Role", "rbac.authorization.k8s.io/v1", false, json!({"rules": []})),
                ("Lease", "coordination.k8s.io/v1", true, json!({"spec": {"holderIdentity": "somebody"}})),
                (
                    "Deployment",
                    "apps/v1",
                    true,
                    json!({"spec": {
                        "replicas": 0,
                        "selector": {"matchLabels": {"a": "b"}},
                        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}},
                    }}),
                ),
            ] {
                let labels = if labelled { labels.clone() } else { json!({}) };
                let mut object = json!({"apiVersion": version, "kind": kind,
                    "metadata": {"name": bot, "namespace": neighbour, "labels": labels}});
                for (key, value) in spec.as_object().into_iter().flatten() {
                    object[key] = value.clone();
                }
                objects.push(object);
            }
        }
        apply(cluster, namespace, objects);
        let owner = cluster.get(namespace, "configmap/bystander-owner").expect("it was made");
        let owned = bots.iter().map(|bot| {
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
                "name": format!("bystander-owned-{bot}"),
                "labels": {
                    "app.kubernetes.io/managed-by": "tradingbot-operator",
                    "trading.three-rivers-tech.com/bot": bot,
                },
                "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "bystander-owner",
                    "uid": owner["metadata"]["uid"], "controller": true}],
            }})
        });
        apply(cluster, namespace, owned.collect());
        let mut bystanders = Self { namespace: namespace.to_owned(), neighbour, before: Vec::new() };
        // The cluster's own controllers have their say first.
        bystanders.before = wait::until("the bystanders have settled", || {
            let objects = bystanders.now(cluster)?;
            let settled = objects.iter().filter(|object| object["kind"] == "Deployment").all(|object| {
                object["status"]["observedGeneration"] == object["metadata"]["generation"]
                    && object["status"]["conditions"]
                        .as_array()
                        .is_some_and(|conditions| conditions.len() == 2)
            });
            if settled { Ok(objects) } else { Err("a Deployment is not seen yet".to_owned()) }
        });
        assert!(bystanders.before.len() > 8 * bots.len(), "{}", bystanders.before.len());
        bystanders
    }

    /// Whether an object is one of them.
    pub fn is_one(name: &str) -> bool {
        name.contains("bystander-")
    }

    /// What has changed about them: nothing.
    ///
    /// # Errors
    /// The first that differs, or what kubectl says.
    pub fn check(&self, cluster: &Cluster) -> Result<(), String> {
        let now = self.now(cluster)?;
        let names = |objects: &[Value]| -> Vec<String> {
            objects.iter().map(|o| format!("{} {}", text(&o["kind"]), text(&o["metadata"]["name"]))).collect()
        };
        if names(&now) != names(&self.before) {
            return Err(format!("bystanders were {:?} and are {:?}", names(&self.before), names(&now)));
        }
        let changed = now.iter().zip(&self.before).find(|(now, before)| now != before);
        changed.map_or(Ok(()), |(now, before)| Err(format!("a bystander changed from {before} to {now}")))
    }

    fn now(&self, cluster: &Cluster) -> Result<Vec<Value>, String> {
        let mut objects = cluster.try_list(&self.namespace, &[KINDS])?;
        objects.retain(|object| Self::is_one(&text(&object["metadata"]["name"])));
        objects.extend(cluster.try_list(&self.neighbour, &[KINDS])?);
        Ok(objects)
    }
}

fn apply(cluster: &Cluster, namespace: &str, mut objects: Vec<Value>) {
    for object in &mut objects {
        if object["metadata"]["namespace"].is_null() {
            object["metadata"]["namespace"] = json!(namespace);
        }
    }
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string());
}
