//! What the faker sees.

use std::collections::HashSet;
use std::fmt::Debug;
use std::future::ready;
use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::ApiResource;
use kube::core::{DynamicObject, GroupVersionKind, Object, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::Deserialize;
use serde_json::Value;

use super::garbage;
use super::state::{Key, Shared, Workload};

/// The bots.
pub fn bot_resource() -> ApiResource {
    ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("trading.three-rivers-tech.com", "v1alpha1", "TradingBot"),
        "tradingbots",
    )
}

/// The operator's label on every child.
fn children() -> watcher::Config {
    watcher::Config::default().labels("app.kubernetes.io/managed-by=tradingbot-operator")
}

fn key(object: &impl Resource) -> Key {
    Key::new(&object.namespace().unwrap_or_default(), &object.name_any())
}

/// Which bots exist. The children of one that is gone are removed.
pub async fn bots(shared: Arc<Shared>) {
    let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(shared.client.clone(), &bot_resource());
    let mut listed = HashSet::new();
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let gone = |key: Key, uid: String| {
        shared.note(&key, |bot| {
            bot.uid = None;
            bot.hand = Default::default();
        });
        tokio::spawn(garbage::collect(Arc::clone(&shared), key, uid));
    };
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::Apply(bot) | Event::InitApply(bot)) => {
                let uid = bot.uid();
                listed.extend(uid.clone());
                let key = key(&bot);
                if shared.bot(&key).and_then(|bot| bot.uid) != uid {
                    shared.change(&key, |known| known.uid = uid);
                }
            }
            Ok(Event::Delete(bot)) => gone(key(&bot), bot.uid().unwrap_or_default()),
            Ok(Event::InitDone) => {
                let uids = shared.uids().into_iter().filter(|(_, uid)| !listed.contains(uid));
                uids.for_each(|(key, uid)| gone(key, uid));
            }
            Err(error) => eprintln!("faker: the watch of bots is interrupted: {error}"),
        }
    }
}

/// Of a Deployment what the faker reads.
#[derive(Clone, Debug, Deserialize)]
struct Spec {
    replicas: i32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    observed_generation: i64,
    available_replicas: i32,
}

/// The Deployments of all bots.
pub async fn deployments(shared: &Shared) {
    let resource = ApiResource::erase::<Deployment>(&());
    let api: Api<Object<Spec, Status>> = Api::all_with(shared.client.clone(), &resource);
    each(api, |deployment, exists| {
        shared.change(&key(&deployment), |bot| {
            let uid = deployment.uid().unwrap_or_default();
            let before = bot.workload.as_ref().filter(|before| before.uid == uid);
            let seen = before.map_or_else(Instant::now, |before| before.seen);
            let status = deployment.status.unwrap_or_default();
            bot.workload = exists.then_some(Workload {
                uid,
                generation: deployment.metadata.generation.unwrap_or_default(),
                replicas: deployment.spec.replicas,
                observed: status.observed_generation,
                available: status.available_replicas,
                seen,
            });
        });
    })
    .await;
}

/// The configurations of all bots.
pub async fn config_maps(shared: &Shared) {
    each(Api::<ConfigMap>::all(shared.client.clone()), |map, exists| {
        let text = map.data.as_ref().and_then(|data| data.get("config.json"));
        let config: Option<Value> = text.and_then(|text| serde_json::from_str(text).ok());
        let hash = config.and_then(|config| Some(config["configHash"].as_str()?.to_owned()));
        shared.change(&key(&map), |bot| bot.config_hash = hash.filter(|_| exists));
    })
    .await;
}

/// The Leases of all bots.
pub async fn leases(shared: &Shared) {
    let version = |lease: &Lease| lease.resource_version().and_then(|version| version.parse::<u64>().ok());
    each(Api::<Lease>::all(shared.client.clone()), |mut lease, exists| {
        lease.metadata.managed_fields = None;
        let key = key(&lease);
        let mut news = false;
        shared.note(&key, |bot| {
            // Its own writes are known before the watch shows them.
            if bot.lease.as_ref().is_none_or(|known| version(&lease) > version(known)) {
                news = true;
                bot.lease = exists.then_some(lease);
            }
        });
        if news {
            shared.look(&key);
        }
    })
    .await;
}

/// Calls for each object that comes, changes or goes; the flag says whether it is there.
async fn each<K>(api: Api<K>, mut call: impl FnMut(K, bool))
where
    K: Resource + Clone + Debug + Send + serde::de::DeserializeOwned + 'static,
{
    watcher(api, children())
        .default_backoff()
        .for_each(|event| {
            match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => call(object, true),
                Ok(Event::Delete(object)) => call(object, false),
                Ok(Event::Init | Event::InitDone) => {}
                Err(error) => eprintln!("faker: a watch is interrupted: {error}"),
            }
            ready(())
        })
        .await;
}
