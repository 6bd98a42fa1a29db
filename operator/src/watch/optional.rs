//! Kinds that a cluster may lack: whether it serves them, now and whenever that changes.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, core::ApiResource};
use tokio::sync::watch;
use tracing::{info, warn};

use super::ChildKind;

/// Where the definitions cannot be watched, the API server is asked so often.
const ASK_EVERY: Duration = Duration::from_secs(30);
/// A definition that has just come is served a moment later.
const SOON: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// Says whether the cluster serves a kind, from the first answer on. Runs until nobody listens any more.
pub async fn served(client: Client, kind: ChildKind, said: watch::Sender<Option<bool>>) {
    let resource = kind.resource();
    let name = format!("{}.{}", resource.plural, resource.group);
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client.clone());
    let only_it = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = watcher(api, only_it).default_backoff().boxed();
    let mut exists = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => exists = false,
            Ok(Event::InitApply(_)) => exists = true,
            Ok(Event::Apply(_)) => ask_soon(&client, kind, &resource, &said).await,
            Ok(Event::InitDone) if exists => ask_soon(&client, kind, &resource, &said).await,
            Ok(Event::InitDone | Event::Delete(_)) => say(kind, &said, false),
            Err(error) if is_forbidden(&error) => break,
            Err(error) => warn!(definition = name, %error, "the watch is interrupted"),
        }
    }
    info!(
        kind = kind.as_str(),
        every_s = ASK_EVERY.as_secs(),
        "definitions may not be watched; the API server is asked for the kind instead"
    );
    while !said.is_closed() {
        ask(&client, kind, &resource, &said).await;
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Watches a kind while the cluster serves it, and tells when it is there, listed, and when it is gone.
pub async fn while_served<W: Future<Output = ()>>(
    mut served: watch::Receiver<Option<bool>>,
    watch: impl Fn(watch::Sender<bool>) -> W,
    news: impl Fn(bool),
) {
    loop {
        let Ok(is_served) = served.wait_for(Option::is_some).await.map(|served| *served == Some(true)) else {
            return;
        };
        if is_served {
            let (sender, mut listed) = watch::channel(false);
            let gone = async {
                if listed.wait_for(|listed| *listed).await.is_ok() {
                    news(true);
                }
                served.wait_for(|served| *served == Some(false)).await.is_ok()
            };
            tokio::select! {
                () = watch(sender) => return,
                go_on = gone => if !go_on { return },
            }
        }
        news(false);
        if served.wait_for(|served| *served == Some(true)).await.is_err() {
            return;
        }
    }
}

/// A definition that exists is not served before it is established.
async fn ask_soon(
    client: &Client,
    kind: ChildKind,
    resource: &ApiResource,
    said: &watch::Sender<Option<bool>>,
) {
    for wait in SOON {
        tokio::time::sleep(wait).await;
        if *said.borrow() == Some(true) {
            return;
        }
        ask(client, kind, resource, said).await;
    }
}

async fn ask(client: &Client, kind: ChildKind, resource: &ApiResource, said: &watch::Sender<Option<bool>>) {
    match client.list_api_group_resources(&resource.api_version).await {
        Ok(list) => say(kind, said, list.resources.iter().any(|served| served.name == resource.plural)),
        Err(kube::Error::Api(status)) if status.is_not_found() => say(kind, said, false),
        Err(error) => {
            warn!(kind = kind.as_str(), %error, "the API server does not say whether it serves the kind")
        }
    }
}

fn say(kind: ChildKind, said: &watch::Sender<Option<bool>>, served: bool) {
    let is_news = said.send_if_modified(|before| before.replace(served) != Some(served));
    if is_news {
        info!(kind = kind.as_str(), served, "whether the cluster serves an optional kind");
    }
}

fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.is_forbidden(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn a_kind_is_there_once_it_is_listed_and_gone_once_it_is_not_served_and_may_come_back() {
        let (said, served) = watch::channel(None);
        let told = Mutex::new(Vec::new());
        let (lists, listing) = watch::channel(0);
        let watch = |listed: watch::Sender<bool>| {
            lists.send_modify(|count| *count += 1);
            async move {
                listed.send_replace(true);
                std::future::pending().await
            }
        };
        let turns = async {
            let until = async |count: usize| {
                while told.lock().unwrap().len() < count {
                    tokio::task::yield_now().await;
                }
            };
            for (count, is_served) in [(1, false), (2, true), (3, false), (4, true)] {
                said.send_replace(Some(is_served));
                until(count).await;
            }
            drop(said);
        };
        tokio::join!(turns, while_served(served, watch, |is_there| told.lock().unwrap().push(is_there)));
        assert_eq!(*told.lock().unwrap(), [false, true, false, true]);
        assert_eq!(*listing.borrow(), 2, "it is watched anew each time");
    }
}
