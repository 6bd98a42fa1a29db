//! Kinds that a cluster may lack: whether it serves them, now and whenever that changes.

use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, core::ApiResource};
use tokio::sync::watch;
use tracing::{info, warn};

use super::ChildKind;

type Definition = PartialObjectMeta<CustomResourceDefinition>;

/// How often the API server is asked.
struct Pace {
    /// A definition that has just come is served a moment later.
    soon: [Duration; 4],
    /// Where the definitions cannot be watched, and while one that exists is not known to be served.
    every: Duration,
}

const PACE: Pace = Pace {
    soon: [Duration::ZERO, Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)],
    every: Duration::from_secs(30),
};

/// Says whether the cluster serves a kind, from the first answer on. Runs until nobody listens any more.
pub async fn served(client: Client, kind: ChildKind, said: watch::Sender<Option<bool>>) {
    let resource = kind.resource();
    let name = format!("{}.{}", resource.plural, resource.group);
    let api: Api<Definition> = Api::all(client.clone());
    let only_it = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let events = watcher(api, only_it).default_backoff().boxed();
    follow(events, kind, &said, || ask(&client, kind, &resource, &said), &PACE).await;
    info!(
        kind = kind.as_str(),
        every_s = PACE.every.as_secs(),
        "definitions may not be watched; the API server is asked for the kind instead"
    );
    while !said.is_closed() {
        ask(&client, kind, &resource, &said).await;
        tokio::time::sleep(PACE.every).await;
    }
}

/// Asks whenever the definition has changed, and as long as it exists and the answer is not yes. Returns when
/// it may not be watched.
async fn follow<F: Future<Output = ()>>(
    mut events: impl Stream<Item = watcher::Result<Event<Definition>>> + Unpin,
    kind: ChildKind,
    said: &watch::Sender<Option<bool>>,
    ask: impl Fn() -> F,
    pace: &Pace,
) {
    let mut exists = false;
    loop {
        let is_in_doubt = exists && *said.borrow() != Some(true);
        let event = tokio::select! {
            event = events.next() => event,
            () = tokio::time::sleep(pace.every), if is_in_doubt => {
                ask().await;
                continue;
            }
        };
        let has_come = match event {
            Some(Ok(Event::Init)) => {
                exists = false;
                continue;
            }
            Some(Ok(Event::InitApply(_))) => {
                exists = true;
                continue;
            }
            Some(Ok(Event::Apply(_))) => true,
            Some(Ok(Event::InitDone)) => exists,
            Some(Ok(Event::Delete(_))) => false,
            Some(Err(error)) if !is_forbidden(&error) => {
                warn!(kind = kind.as_str(), %error, "the watch of its definition is interrupted");
                continue;
            }
            Some(Err(_)) | None => return,
        };
        exists = has_come;
        if !exists {
            say(kind, said, false);
            continue;
        }
        // A definition that exists is not served before it is established.
        for wait in pace.soon {
            tokio::time::sleep(wait).await;
            if *said.borrow() == Some(true) {
                break;
            }
            ask().await;
        }
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
    async fn a_definition_that_exists_is_asked_for_until_it_is_served_and_no_longer() {
        let moment = Duration::from_millis(1);
        let pace = Pace { soon: [moment; 4], every: moment };
        let definition = || {
            let definition = serde_json::json!({"metadata": {"name": "certificates.cert-manager.io"}});
            serde_json::from_value::<Definition>(definition).unwrap()
        };
        let (said, mut served) = watch::channel(None);
        let asked = std::cell::Cell::new(0);
        let ask = async || {
            asked.set(asked.get() + 1);
            if asked.get() == 10 {
                say(ChildKind::Certificate, &said, true);
            }
        };
        let (sender, events) = futures::channel::mpsc::unbounded();
        let listed = [Event::Init, Event::InitApply(definition()), Event::InitDone];
        listed.into_iter().for_each(|event| sender.unbounded_send(Ok(event)).unwrap());
        let turns = async {
            let limit = Duration::from_secs(20);
            let is_served = served.wait_for(|served| *served == Some(true));
            tokio::time::timeout(limit, is_served).await.expect("it goes on asking").unwrap();
            sender.unbounded_send(Ok(Event::Delete(definition()))).unwrap();
            served.wait_for(|served| *served == Some(false)).await.unwrap();
            tokio::time::sleep(20 * moment).await;
            drop(sender);
        };
        tokio::join!(turns, follow(events, ChildKind::Certificate, &said, ask, &pace));
        assert_eq!(asked.get(), 10, "nobody asks for what is served, or does not exist");
    }

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
