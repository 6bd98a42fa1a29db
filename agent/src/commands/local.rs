//! A bot from a file, and bars from the command line.

use std::path::Path;

use anyhow::{Context, anyhow};
use crds::api::{Manifest, find_bot};
use crds::config::{Effective, resolve};
use crds::{Asset, Timeframe};
use engine::{BotId, Engine};
use serde_json::{Value, json};

use super::{Failure, InputError};
use crate::feed::files::{Found, Source};
use crate::feed::replay::Plan;

/// Reads the one TradingBot of a file.
pub fn read_manifest(file: &Path) -> Result<Manifest, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("{shown} cannot be read; name the bot's manifest with -f"))
        .input()?;
    find_bot(&text).with_context(|| format!("{shown}")).input()
}

/// A bot that runs here.
pub struct Local {
    /// Whose it is.
    pub identity: BotId,
    /// What all layers together say.
    pub effective: Effective,
    /// How its bars are replayed, when their files are given.
    pub plan: Option<Plan>,
}

impl Local {
    /// Resolves a manifest; data given on the command line takes the place of its ConfigMaps.
    pub fn new(manifest: Manifest, data: &[String]) -> Result<Self, Failure> {
        let Manifest { name, namespace, mut spec } = manifest;
        let sources = if data.is_empty() {
            None
        } else {
            let found = Found::from_arguments(data).input()?;
            let sources = found.sources(&wanted(&spec)).input()?;
            add_to_feeds(&mut spec, &sources);
            Some(sources)
        };
        let effective = resolve(&spec).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Failure::Input(anyhow!("{}", lines.join("\n       ")))
        })?;
        let identity = BotId { namespace, name };
        // What the engine refuses is the manifest's fault, and better said before anything is made.
        Engine::new(identity.clone(), effective.bot.clone()).input()?;
        // Of several feeds the paces are compared whether or not there are files.
        let paced = Plan::new(&effective.bot, sources.clone().unwrap_or_default()).input()?;
        let plan = sources.map(|_| paced);
        Ok(Self { identity, effective, plan })
    }
}

fn members<'a>(value: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value.get(list).and_then(Value::as_array).into_iter().flatten()
}

/// The assets of a spec, each with the timeframe that its feeds name. What is malformed is left to the
/// resolver, whose messages name the field.
fn wanted(spec: &Value) -> Vec<(Asset, Option<Timeframe>)> {
    let timeframe = |pair: &str| {
        members(spec, "feeds")
            .filter_map(|feed| feed.get("replay"))
            .flat_map(|replay| members(replay, "data"))
            .find(|data| data.get("pair").and_then(Value::as_str) == Some(pair))
            .and_then(|data| data.get("timeframe")?.as_str()?.parse().ok())
    };
    members(spec, "assets")
        .filter_map(|asset| asset.get("pair")?.as_str())
        .filter_map(|pair| Some((pair.parse().ok()?, timeframe(pair))))
        .collect()
}

/// Gives the feeds an entry for each source. What the manifest says stays as it is but the timeframe,
/// so that the same manifest has the same hash here and in a cluster.
fn add_to_feeds(spec: &mut Value, sources: &[Source]) {
    let Some(root) = spec.as_object_mut() else { return };
    let feeds = root.entry("feeds").or_insert_with(|| json!([]));
    if feeds.as_array().is_none_or(Vec::is_empty) {
        *feeds = json!([{"name": "data", "replay": {}}]);
    }
    for source in sources {
        let pair = source.pair.to_string();
        let known = feeds.as_array_mut().into_iter().flatten().find_map(|feed| {
            let data = feed.get_mut("replay")?.get_mut("data")?.as_array_mut()?;
            data.iter_mut().find(|data| data.get("pair").and_then(Value::as_str) == Some(&pair))
        });
        if let Some(Value::Object(known)) = known {
            known.insert("timeframe".into(), json!(source.timeframe));
            continue;
        }
        let key =
            |file: &std::path::PathBuf| file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let maps: Vec<Value> =
            source.files.iter().map(|file| json!({"name": "local", "key": key(file)})).collect();
        let entry = json!({"pair": pair, "timeframe": source.timeframe, "configMaps": maps});
        let first = feeds.get_mut(0).and_then(|feed| feed.get_mut("replay")).and_then(Value::as_object_mut);
        let data = first.map(|replay| replay.entry("data").or_insert_with(|| json!([])));
        if let Some(Value::Array(data)) = data {
            data.push(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(pair: &str, timeframe: Timeframe) -> Source {
        Source { pair: pair.parse().unwrap(), timeframe, files: vec!["/d/BTC-USD_1h_a.csv".into()] }
    }

    #[test]
    fn the_smallest_bot_runs_on_given_bars_alone() {
        let mut spec = json!({"assets": [{"pair": "BTC-USD"}]});
        add_to_feeds(&mut spec, &[source("BTC-USD", Timeframe::H1)]);
        assert_eq!(resolve(&spec).unwrap().bot.feeds.len(), 1);
    }

    #[test]
    fn a_manifest_with_config_maps_keeps_its_hash() {
        let spec = json!({
            "assets": [{"pair": "BTC-USD"}],
            "feeds": [{"name": "bars", "replay": {"data": [
                {"pair": "BTC-USD", "timeframe": "1h", "configMaps": [{"name": "btc", "key": "h1.csv"}]}
            ]}}]
        });
        let mut with_data = spec.clone();
        add_to_feeds(&mut with_data, &[source("BTC-USD", Timeframe::H1)]);
        assert_eq!(with_data, spec);
        assert_eq!(wanted(&spec), [("BTC-USD".parse().unwrap(), Some(Timeframe::H1))]);
        add_to_feeds(&mut with_data, &[source("BTC-USD", Timeframe::M5)]);
        assert_eq!(with_data["feeds"][0]["replay"]["data"][0]["timeframe"], "5m");
    }
}
