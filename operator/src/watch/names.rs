//! The names of all objects of a kind, by a watch of metadata alone.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use super::Events;

/// What names an object: `N`, as far as anybody asks for it.
#[derive(Clone, Debug)]
pub struct Names<N> {
    names: Arc<RwLock<BTreeSet<N>>>,
    listed: watch::Receiver<bool>,
}

impl<N: Ord + Clone + Send + Sync + 'static> Names<N> {
    /// Starts to follow the events of `kind` as a task of the set, and tells of each name that comes or goes.
    pub fn follow<K: Send + Sync + 'static>(
        kind: &'static str,
        mut events: Events<PartialObjectMeta<K>>,
        name_of: fn(ObjectMeta) -> Option<N>,
        changed: impl Fn(&N) + Send + 'static,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let names: Arc<RwLock<BTreeSet<N>>> = Arc::default();
        let (sender, listed) = watch::channel(false);
        let mut watch =
            Watch { names: Arc::clone(&names), name_of, listed: sender, relisted: BTreeSet::new() };
        tasks.spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Ok(event) => watch.take(event).iter().for_each(&changed),
                    Err(error) => warn!(kind, %error, "the watch of names is interrupted"),
                }
            }
        });
        Self { names, listed }
    }

    /// The names now.
    pub fn now(&self) -> RwLockReadGuard<'_, BTreeSet<N>> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns once the names were listed, or the process ends.
    pub async fn wait_until_ready(&self) {
        self.listed.clone().wait_for(|listed| *listed).await.ok();
    }
}

struct Watch<N> {
    names: Arc<RwLock<BTreeSet<N>>>,
    name_of: fn(ObjectMeta) -> Option<N>,
    listed: watch::Sender<bool>,
    relisted: BTreeSet<N>,
}

impl<N: Ord + Clone> Watch<N> {
    /// Keeps the names and returns those that came or went.
    fn take<K>(&mut self, event: Event<PartialObjectMeta<K>>) -> Vec<N> {
        let name_of = |object: PartialObjectMeta<K>| (self.name_of)(object.metadata);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    fn named(name: &str) -> PartialObjectMeta<ConfigMap> {
        serde_json::from_value(json!({"metadata": {"namespace": "n", "name": name}})).unwrap()
    }

    #[test]
    fn only_what_comes_or_goes_is_reported_also_across_a_new_list() {
        let (listed, _) = watch::channel(false);
        let mut watch = Watch {
            names: Arc::default(),
            name_of: |metadata| metadata.name,
            listed,
            relisted: BTreeSet::new(),
        };
        let mut reported = |event| watch.take(event);
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
