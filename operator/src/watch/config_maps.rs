//! Which ConfigMaps exist that may hold bars: the names only.

use crds::contract::MANAGED_BY;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use tokio::task::JoinSet;

use super::names::Names;
use super::{Cause, Scope, Triggers};
use crate::controller::Guarded;

/// The names of all ConfigMaps but those that the operator makes: one comes with every bot, and none holds bars.
#[derive(Clone, Debug)]
pub struct ConfigMaps(Names<(String, String)>);

impl ConfigMaps {
    /// Starts the watch, of metadata alone, as a task of the set. A ConfigMap that comes or goes is told to the bots
    /// that name it.
    pub fn watch(client: &Client, scope: &Scope, triggers: Triggers, tasks: &mut JoinSet<()>) -> Self {
        let others = format!("app.kubernetes.io/managed-by!={MANAGED_BY}");
        let config = watcher::Config::default().labels(&others);
        let events = scope.watch::<PartialObjectMeta<ConfigMap>>(client, &config);
        let changed = move |(namespace, name): &(String, String)| {
            let names_it = |bot: &Guarded| {
                bot.0.as_ref().is_ok_and(|bot| {
                    bot.metadata.namespace.as_deref() == Some(namespace) && bot.reads_config_map(name)
                })
            };
            triggers.each(names_it, Cause::Stages);
        };
        Self(Names::follow(
            "ConfigMap",
            events,
            |metadata| metadata.namespace.zip(metadata.name),
            changed,
            tasks,
        ))
    }

    /// Whether a ConfigMap of that name exists.
    pub fn exists(&self, namespace: &str, name: &str) -> bool {
        self.0.now().contains(&(namespace.to_owned(), name.to_owned()))
    }

    /// Returns once the names were listed, or the process ends.
    pub async fn wait_until_ready(&self) {
        self.0.wait_until_ready().await;
    }
}
