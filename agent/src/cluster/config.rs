//! The configuration in a cluster: the newest of mount, journal and API.

use std::path::Path;
use std::time::Duration;

use crds::config::{Rendering, RenderingError};
use crds::contract::CONFIG_KEY;
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::runtime::watcher;
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::driver::Configure;

/// How long the start waits for the API server before it trusts the mount.
const FIRST_ANSWER: Duration = Duration::from_secs(2);
/// Longest pause between two attempts to watch.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why there is no configuration to start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigSourceError {
    /// The mounted file cannot be read.
    #[error("{path}: {source}; the operator mounts the bot's ConfigMap there, see `kubectl describe pod`")]
    Mount {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// Its content is no configuration.
    #[error("{path}: {source}")]
    Rendering {
        /// Where it came from.
        path: String,
        /// What is wrong.
        source: RenderingError,
    },
    /// The API does not say either.
    #[error("the ConfigMap {name} cannot be read: {problem}")]
    Api {
        /// Its name.
        name: String,
        /// Why not.
        problem: String,
    },
}

impl From<Rendering> for Configure {
    fn from(rendering: Rendering) -> Self {
        Self { config: rendering.config, generation: Some(rendering.generation) }
    }
}

/// The newer of mount and API at the start; of equal generations the API's, which a mount follows late.
/// One of them is enough.
///
/// # Errors
/// When neither gives a configuration that this agent understands.
pub async fn newest(folder: &Path, api: &Api<ConfigMap>, name: &str) -> Result<Rendering, ConfigSourceError> {
    let mounted = from_mount(folder);
    let asked = match tokio::time::timeout(FIRST_ANSWER, api.get(name)).await {
        Ok(Ok(map)) => from_map(&map, name),
        Ok(Err(error)) => Err(ConfigSourceError::Api { name: name.to_owned(), problem: error.to_string() }),
        Err(_) => Err(ConfigSourceError::Api { name: name.to_owned(), problem: "no answer in time".into() }),
    };
    if let Err(error) = &asked {
        warn!(%error, "starting without the API's configuration");
    }
    newer(mounted, asked)
}

fn newer(
    one: Result<Rendering, ConfigSourceError>,
    other: Result<Rendering, ConfigSourceError>,
) -> Result<Rendering, ConfigSourceError> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok(if other.generation >= one.generation { other } else { one }),
        (Ok(one), Err(_)) => Ok(one),
        (Err(_), Ok(other)) => Ok(other),
        (Err(error), Err(_)) => Err(error),
    }
}

fn from_mount(folder: &Path) -> Result<Rendering, ConfigSourceError> {
    let path = folder.join(CONFIG_KEY);
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(&path)
        .map_err(|source| ConfigSourceError::Mount { path: shown.clone(), source })?;
    Rendering::parse(&text).map_err(|source| ConfigSourceError::Rendering { path: shown, source })
}

fn from_map(map: &ConfigMap, name: &str) -> Result<Rendering, ConfigSourceError> {
    let path = format!("ConfigMap {name}, key {CONFIG_KEY}");
    let text = map.data.as_ref().and_then(|data| data.get(CONFIG_KEY)).ok_or_else(|| {
        ConfigSourceError::Api { name: name.to_owned(), problem: format!("it has no key {CONFIG_KEY}") }
    })?;
    Rendering::parse(text).map_err(|source| ConfigSourceError::Rendering { path, source })
}

/// Passes on every configuration that the ConfigMap gets, until nobody listens. An outage of the API
/// leaves the bot with what it has.
pub async fn follow(api: Api<ConfigMap>, name: String, sender: mpsc::Sender<Configure>) {
    let changes = watcher::watch_object(api, &name);
    pin_mut!(changes);
    let mut pause = Duration::from_secs(1);
    while let Some(change) = changes.next().await {
        match change {
            Ok(Some(map)) => {
                pause = Duration::from_secs(1);
                match from_map(&map, &name) {
                    Ok(rendering) => {
                        debug!(generation = rendering.generation, "the ConfigMap was read");
                        if sender.send(rendering.into()).await.is_err() {
                            return;
                        }
                    }
                    Err(error) => warn!(%error, "the new configuration is not used"),
                }
            }
            // It goes with the bot; the pod follows.
            Ok(None) => debug!("there is no ConfigMap"),
            Err(error) => {
                warn!(%error, "the ConfigMap cannot be watched");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendering(generation: i64) -> Rendering {
        let spec = serde_json::json!({
            "assets": [{"pair": "BTC-USD"}],
            "feeds": [{"name": "bars", "replay": {"data": [
                {"pair": "BTC-USD", "timeframe": "1h", "configMaps": [{"name": "btc", "key": "h1.csv"}]}
            ]}}]
        });
        Rendering::new(crds::config::resolve(&spec).unwrap().bot, generation).unwrap()
    }

    fn none() -> Result<Rendering, ConfigSourceError> {
        Err(ConfigSourceError::Api { name: "x".into(), problem: "down".into() })
    }

    #[test]
    fn the_higher_generation_wins_and_one_source_is_enough() {
        let generation = |one, other| newer(one, other).unwrap().generation;
        assert_eq!(generation(Ok(rendering(2)), Ok(rendering(3))), 3);
        assert_eq!(generation(Ok(rendering(4)), Ok(rendering(3))), 4);
        assert_eq!(generation(Ok(rendering(4)), none()), 4);
        assert_eq!(generation(none(), Ok(rendering(3))), 3);
        assert!(newer(none(), none()).is_err());
        let mut rendered_anew = rendering(4);
        rendered_anew.config.risk.confidence_floor = 90;
        let chosen = newer(Ok(rendering(4)), Ok(rendered_anew.clone())).unwrap();
        assert_eq!(chosen, rendered_anew, "a mount follows the API late");
    }

    #[test]
    fn mount_and_map_hold_the_same_document() {
        let folder = tempfile::tempdir().unwrap();
        let text = rendering(5).to_json().unwrap();
        std::fs::write(folder.path().join(CONFIG_KEY), &text).unwrap();
        let data = [(CONFIG_KEY.to_owned(), text)].into();
        let map = ConfigMap { data: Some(data), ..ConfigMap::default() };
        assert_eq!(from_mount(folder.path()).unwrap(), from_map(&map, "bot").unwrap());
        let missing = from_mount(&folder.path().join("no")).unwrap_err().to_string();
        assert!(missing.contains("config.json") && missing.contains("kubectl describe pod"), "{missing}");
        let empty = from_map(&ConfigMap::default(), "bot").unwrap_err().to_string();
        assert!(empty.contains("bot") && empty.contains(CONFIG_KEY), "{empty}");
    }
}
