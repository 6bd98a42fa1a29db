//! Which ConfigMaps exist: the names only.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use super::{Cause, Events, Scope, Triggers};
use crate::controller::Guarded;

type Name = (String, String);

/// The names of all ConfigMaps.
#[derive(Clone, Debug)]
pub struct ConfigMaps {
    names: Arc<RwLock<HashSet<Name>>>,
    listed: watch::Receiver<bool>,
}

impl ConfigMaps {
    /// Starts the watch, of metadata alone, as a task of the set.
    pub fn watch(client: &Client, scope: &Scope, triggers: Triggers, tasks: &mut JoinSet<()>) -> Self {
        let names: Arc<RwLock<HashSet<Name>>> = Arc::default();
        let (sender, listed) = watch::channel(false);
        let events = scope.watch(client, &watcher::Config::default());
        let watch = Watch { names: Arc::clone(&names), triggers, listed: sender, relisted: HashSet::new() };
        tasks.spawn(watch.run(events));
        Self { names, listed }
    }

    /// Whether a ConfigMap of that name exists.
    pub fn exists(&self, namespace: &str, name: &str) -> bool {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.contains(&(namespace.to_owned(), name.to_owned()))
    }

    /// Returns once the names were listed, or the process ends.
    pub async fn wait_until_ready(&self) {
        self.listed.clone().wait_for(|listed| *listed).await.ok();
    }
}

struct Watch {
    names: Arc<RwLock<HashSet<Name>>>,
    triggers: Triggers,
    listed: watch::Sender<bool>,
    relisted: HashSet<Name>,
}

impl Watch {
    async fn run(mut self, mut events: Events<PartialObjectMeta<ConfigMap>>) {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    for name in self.take(event) {
                        self.look_again(&name);
                    }
                }
                Err(error) => warn!(kind = "ConfigMap", %error, "the watch of names is interrupted"),
            }
        }
    }

    /// Keeps the names and returns those that came or went.
    fn take(&mut self, event: Event<PartialObjectMeta<ConfigMap>>) -> Vec<Name> {
        let name_of =
            |object: PartialObjectMeta<ConfigMap>| object.metadata.namespace.zip(object.metadata.name);
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Apply(object) => {
                name_of(object).into_iter().filter(|name| names.insert(name.clone())).collect()
            }
            Event::Delete(object) => name_of(object).into_iter().filter(|name| names.remove(name)).collect(),
            Event::Init => {
                self.relisted.clear();
                Vec::new()
            }
            Event::InitApply(object) => {
                self.relisted.extend(name_of(object));
                Vec::new()
            }
            Event::InitDone => {
                let now = std::mem::take(&mut self.relisted);
                let changed = names.symmetric_difference(&now).cloned().collect();
                *names = now;
                // Before the first list nothing was asked for yet: every bot is looked at anyway.
                if self.listed.send_replace(true) { changed } else { Vec::new() }
            }
        }
    }

    fn look_again(&self, (namespace, name): &Name) {
        let names_it = |bot: &Guarded| {
            bot.0.as_ref().is_ok_and(|bot| {
                bot.metadata.namespace.as_deref() == Some(namespace) && bot.config_maps().contains(name)
            })
        };
        self.triggers.each(names_it, Cause::Stages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::reflector;
    use serde_json::json;

    fn named(name: &str) -> PartialObjectMeta<ConfigMap> {
        serde_json::from_value(json!({"metadata": {"namespace": "n", "name": name}})).unwrap()
    }

    #[test]
    fn only_what_comes_or_goes_is_reported_also_across_a_new_list() {
        let (listed, _) = watch::channel(false);
        let (triggers, _) = Triggers::new(reflector::store().0);
        let mut watch = Watch { names: Arc::default(), triggers, listed, relisted: HashSet::new() };
        let mut reported = |event| -> Vec<String> {
            let mut names: Vec<_> = watch.take(event).into_iter().map(|(_, name)| name).collect();
            names.sort();
            names
        };
        assert!(reported(Event::InitApply(named("a"))).is_empty());
        assert!(reported(Event::InitDone).is_empty(), "the first list");
        assert!(reported(Event::Apply(named("a"))).is_empty(), "an edit");
        assert_eq!(reported(Event::Apply(named("b"))), ["b"]);
        assert_eq!(reported(Event::Delete(named("a"))), ["a"]);
        reported(Event::Init);
        reported(Event::InitApply(named("c")));
        assert_eq!(reported(Event::InitDone), ["b", "c"]);
    }
}
