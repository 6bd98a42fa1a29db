//! What the driver sees: bots and their Deployments, with the time at which each was seen to change.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ApiResource;
use kube::core::{GroupVersionKind, Object};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Deserialize;

use super::drive::NAMESPACE;

/// A wait that takes longer than this never ends.
const PATIENCE: Duration = Duration::from_secs(1200);

/// A bot as it was last seen.
#[derive(Clone, Debug, Default)]
pub struct BotSeen {
    /// Of the spec.
    pub generation: i64,
    /// Whether it is Ready with that generation.
    pub ready: bool,
}

/// A Deployment as it was last seen.
#[derive(Clone, Debug)]
pub struct DeploymentSeen {
    pub uid: String,
    pub replicas: i32,
    /// Since when it is this very object with these replicas.
    pub since: Instant,
}

#[derive(Default)]
struct Seen {
    bots: HashMap<String, BotSeen>,
    deployments: HashMap<String, DeploymentSeen>,
}

/// Watches until it is dropped.
pub struct Observer {
    seen: Arc<Mutex<Seen>>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Anything {}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct BotStatus {
    observed_generation: i64,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

#[derive(Clone, Debug, Deserialize)]
struct DeploymentSpec {
    replicas: i32,
}

impl Observer {
    /// Starts to watch.
    pub fn start(client: &Client) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let bots = tokio::spawn(bots(client.clone(), Arc::clone(&seen)));
        let deployments = tokio::spawn(deployments(client.clone(), Arc::clone(&seen)));
        Self { seen, tasks: [bots, deployments] }
    }

    /// A Deployment as it was last seen, if it was.
    pub fn deployment(&self, name: &str) -> Option<DeploymentSeen> {
        lock(&self.seen).deployments.get(name).cloned()
    }

    /// The generation of a bot's spec, if it was seen.
    pub fn generation(&self, name: &str) -> Option<i64> {
        lock(&self.seen).bots.get(name).map(|bot| bot.generation)
    }

    /// Waits until each of the bots is Ready with this generation of its spec.
    ///
    /// # Errors
    /// When that never happens.
    pub async fn all_ready(&self, names: &[String], generation: i64) -> Result<()> {
        let begin = Instant::now();
        loop {
            let missing = {
                let seen = lock(&self.seen);
                let ready = |name: &&String| {
                    seen.bots.get(*name).is_some_and(|bot| bot.ready && bot.generation == generation)
                };
                names.iter().filter(|name| !ready(name)).count()
            };
            if missing == 0 {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                bail!("{missing} bots are not Ready after {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a Deployment is as wanted; since when it is.
    ///
    /// # Errors
    /// When that never happens.
    pub async fn deployment_that(
        &self,
        name: &str,
        wanted: impl Fn(&DeploymentSeen) -> bool,
    ) -> Result<Instant> {
        let begin = Instant::now();
        loop {
            if let Some(seen) = self.deployment(name).filter(|seen| wanted(seen)) {
                return Ok(seen.since);
            }
            if begin.elapsed() > Duration::from_secs(120) {
                bail!("the Deployment {name} was not repaired in two minutes");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().expect("no panic")
}

/// The bots as the API server names them.
pub fn bot_resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("trading.three-rivers-tech.com", "v1alpha1", "TradingBot");
    ApiResource::from_gvk_with_plural(&kind, "tradingbots")
}

async fn bots(client: Client, seen: Arc<Mutex<Seen>>) {
    let api: Api<Object<Anything, BotStatus>> = Api::namespaced_with(client, NAMESPACE, &bot_resource());
    each(api, |bot, exists| {
        let status = bot.status.clone().unwrap_or_default();
        let generation = bot.metadata.generation.unwrap_or_default();
        let ready = status.observed_generation == generation
            && status.conditions.iter().any(|c| c.kind == "Ready" && c.status == "True");
        let mut seen = lock(&seen);
        if exists {
            seen.bots.insert(bot.name_any(), BotSeen { generation, ready });
        } else {
            seen.bots.remove(&bot.name_any());
        }
    })
    .await;
}

async fn deployments(client: Client, seen: Arc<Mutex<Seen>>) {
    let resource = ApiResource::erase::<Deployment>(&());
    let api: Api<Object<DeploymentSpec, Anything>> = Api::namespaced_with(client, NAMESPACE, &resource);
    each(api, |deployment, exists| {
        let now = Instant::now();
        let (name, uid) = (deployment.name_any(), deployment.uid().unwrap_or_default());
        let replicas = deployment.spec.replicas;
        let mut seen = lock(&seen);
        if !exists {
            seen.deployments.remove(&name);
            return;
        }
        let entry = seen.deployments.entry(name).or_insert_with(|| DeploymentSeen {
            uid: uid.clone(),
            replicas,
            since: now,
        });
        if (&entry.uid, entry.replicas) != (&uid, replicas) {
            *entry = DeploymentSeen { uid, replicas, since: now };
        }
    })
    .await;
}

async fn each<K>(api: Api<K>, mut call: impl FnMut(K, bool))
where
    K: Resource + Clone + std::fmt::Debug + Send + serde::de::DeserializeOwned + 'static,
{
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => call(object, true),
            Ok(Event::Delete(object)) => call(object, false),
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => eprintln!("driver: a watch is interrupted: {error}"),
        }
    }
}
