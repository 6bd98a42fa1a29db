//! Which bots have pods, and with that an agent that may be at work.

use crds::contract::LABEL_BOT;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use tokio::task::JoinSet;

use super::Scope;
use super::names::Names;

/// The pods of all bots, those of former ones too: a pod may outlive everything else of its bot.
#[derive(Clone, Debug)]
pub struct Pods(Names<(String, String, String)>);

impl Pods {
    /// Starts the watch, of metadata alone, as a task of the set.
    pub fn watch(client: &Client, scope: &Scope, tasks: &mut JoinSet<()>) -> Self {
        let config = watcher::Config::default().labels(LABEL_BOT);
        let events = scope.watch::<PartialObjectMeta<Pod>>(client, &config);
        Self(Names::follow("Pod", events, place, |_| (), tasks))
    }

    /// Whether there is a pod of a bot of that name.
    pub fn any(&self, namespace: &str, bot: &str) -> bool {
        let first = (namespace.to_owned(), bot.to_owned(), String::new());
        let pods = self.0.now();
        pods.range(first..).next().is_some_and(|(of, named, _)| of == namespace && named == bot)
    }

    /// Returns once the pods were listed, or the process ends.
    pub async fn wait_until_ready(&self) {
        self.0.wait_until_ready().await;
    }
}

/// Namespace, bot and pod. A pod whose label is turned to another bot stays with both until the next list, which
/// errs on the safe side.
fn place(metadata: ObjectMeta) -> Option<(String, String, String)> {
    let bot = metadata.labels?.remove(LABEL_BOT)?;
    Some((metadata.namespace?, bot, metadata.name?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    fn pod(bot: &str, name: &str) -> PartialObjectMeta<Pod> {
        let metadata = json!({"namespace": "n", "name": name, "labels": {LABEL_BOT: bot}});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[tokio::test]
    async fn a_bot_has_pods_until_the_last_one_is_gone() {
        let (sender, events) = futures::channel::mpsc::unbounded();
        let mut tasks = JoinSet::new();
        let pods = Pods(Names::follow("Pod", events.boxed(), place, |_| (), &mut tasks));
        let tell = async |event| {
            sender.unbounded_send(Ok(event)).unwrap();
            while !sender.is_empty() {
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
            (pods.any("n", "a"), pods.any("n", "b"), pods.any("m", "a"))
        };
        tell(Event::InitApply(pod("a", "a-1"))).await;
        assert_eq!(tell(Event::InitDone).await, (true, false, false));
        assert_eq!(tell(Event::Apply(pod("aa", "aa-1"))).await, (true, false, false), "a longer name");
        tell(Event::Apply(pod("a", "a-2"))).await;
        assert_eq!(tell(Event::Delete(pod("a", "a-1"))).await, (true, false, false));
        assert_eq!(tell(Event::Delete(pod("a", "a-2"))).await, (false, false, false));
    }
}
