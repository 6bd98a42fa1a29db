//! `check`: the configuration that comes out of all layers, or what is wrong with it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use crds::api::Deployment;
use crds::config::Layer;
use serde_json::{Value, json};

use super::local::{Local, read_manifest};
use super::{Failure, InputError, Output, tables};
use crate::feed::Steps;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The bot's manifest; other documents in it are passed over
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Bars to check as well: a folder, a file, or PAIR@TIMEFRAME=FILE; may be repeated
    #[arg(long, value_name = "DATA")]
    data: Vec<String>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

pub fn check(arguments: &Arguments) -> Result<(), Failure> {
    let local = Local::new(read_manifest(&arguments.file)?, &arguments.data)?;
    Deployment::from_effective(&local.effective).input()?;
    let bars = match local.plan {
        Some(plan) => Some(Steps::open(plan.sources, plan.on_end).input()?.bars()),
        None => None,
    };
    let effective = &local.effective;
    let hash = effective.bot.hash()?;
    match arguments.output {
        Output::Json => {
            let answer = json!({
                "bot": local.identity.to_string(),
                "configHash": hash,
                "config": effective.bot,
                "deployment": effective.deployment,
                "provenance": effective.provenance,
                "bars": bars,
            });
            println!("{}", serde_json::to_string_pretty(&answer)?);
        }
        Output::Table => {
            let mut table = tables::table(&["field", "value", "from"]);
            let mut leaves = BTreeMap::new();
            flatten(&serde_json::to_value(&effective.bot)?, String::new(), &mut leaves);
            flatten(&effective.deployment, String::new(), &mut leaves);
            for (field, value) in &leaves {
                let layer = match effective.provenance.get(field) {
                    Some(Layer::Bot) => "bot",
                    Some(Layer::Default) | None => "default",
                };
                table.add_row([field.as_str(), value, layer]);
            }
            println!("{}\n\n{} is valid, configuration {hash}", tables::lines(&table), local.identity);
            if let Some(bars) = bars {
                println!("{bars} bars are in order");
            }
        }
    }
    Ok(())
}

/// Every leaf by its path, members of lists by name or pair, as provenance names them.
fn flatten(value: &Value, path: String, leaves: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                flatten(value, path, leaves);
            }
        }
        Value::Array(members) => {
            for (index, member) in members.iter().enumerate() {
                let key = ["name", "pair"].iter().find_map(|key| member.get(key)?.as_str());
                let path = match key {
                    Some(key) => format!("{path}[{key}]"),
                    None => format!("{path}[{index}]"),
                };
                flatten(member, path, leaves);
            }
        }
        Value::String(text) => {
            leaves.insert(path, text.clone());
        }
        other => {
            leaves.insert(path, other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_but_empty_ones_has_the_path_that_provenance_gives_it() {
        let spec = json!({
            "assets": [{"pair": "BTC-USD"}],
            "feeds": [{"name": "bars", "replay": {"data": [
                {"pair": "BTC-USD", "timeframe": "1h", "configMaps": [{"name": "btc", "key": "h1.csv"}]}
            ]}}]
        });
        let effective = crds::config::resolve(&spec).unwrap();
        let mut leaves = BTreeMap::new();
        flatten(&serde_json::to_value(&effective.bot).unwrap(), String::new(), &mut leaves);
        flatten(&effective.deployment, String::new(), &mut leaves);
        for path in leaves.keys().filter(|path| *path != "agent.nodeSelector") {
            assert!(effective.provenance.contains_key(path), "{path}");
        }
        assert_eq!(leaves["risk.confidenceFloor"], "70");
    }
}
