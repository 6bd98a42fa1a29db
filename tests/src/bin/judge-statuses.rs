//! Has kstatus and Argo CD's health script judge every state of every bot that the tests met: `judge-statuses FOLDER`, of
//! files that `TRADINGBOT_STATES=FOLDER` left there. Flux, Helm and Argo CD must take each for what it is, and none may
//! contradict itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tests::{argocd, kstatus, record};

/// Who may write a status: what others wrote says nothing about us.
const WRITERS: [&str; 2] = ["tradingbot-operator", "tradingbot-agent"];

fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args().nth(1).context("usage: judge-statuses FOLDER")?);
    let (mut seen, mut states) = (BTreeSet::new(), Vec::new());
    let mut count = 0;
    for file in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        for mut state in record::read(&file?.path()) {
            count += 1;
            let is_ours = is_ours(&state);
            if let Some(metadata) = state["metadata"].as_object_mut() {
                metadata.remove("managedFields");
            }
            if is_ours && seen.insert(essence(&state)) {
                states.push(state);
            }
        }
    }
    let mut judged = BTreeMap::<String, usize>::new();
    let mut wrong = Vec::new();
    for (bot, said) in states.iter().zip(kstatus::of(&states)) {
        let expected = kstatus::expected(bot);
        let differs = (said.status != expected)
            .then(|| format!("is {} and should be {expected} ({})", said.status, said.message));
        if let Some(what) = differs.or_else(|| kstatus::contradiction(bot)) {
            let metadata = &bot["metadata"];
            wrong.push(format!("{}/{}: {what}: {}", metadata["namespace"], metadata["name"], bot["status"]));
        }
        *judged.entry(said.status).or_default() += 1;
    }
    ensure!(wrong.is_empty(), "{} of {} states are wrong:\n{}", wrong.len(), states.len(), wrong.join("\n"));
    for status in ["Current", "InProgress", "Failed", "Terminating"] {
        ensure!(
            judged.contains_key(status),
            "none of {} states is {status}: were they recorded?",
            states.len()
        );
    }
    let healths = argocd::judge(&states).map_err(|wrong| anyhow::anyhow!("{}", wrong.join("\n")))?;
    for health in ["Healthy", "Progressing", "Degraded", "Suspended"] {
        ensure!(healths.contains_key(health), "none of {} states is {health}", states.len());
    }
    println!(
        "kstatus judged {} different ones of {count} states: {judged:?}; Argo CD: {healths:?}",
        states.len()
    );
    Ok(())
}

fn is_ours(state: &Value) -> bool {
    // Our definition gives every bot a status: without one it was stored under another.
    if state["status"].is_null() {
        return false;
    }
    let entries = state["metadata"]["managedFields"].as_array();
    entries
        .into_iter()
        .flatten()
        .filter(|entry| entry["subresource"] == "status")
        .all(|entry| WRITERS.contains(&entry["manager"].as_str().unwrap_or_default()))
}

/// What a judgement depends on, without the rest: states that differ in a price are judged once.
fn essence(state: &Value) -> String {
    let metadata = &state["metadata"];
    let conditions: Vec<_> = state["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|condition| json!([condition["type"], condition["status"], condition["reason"]]))
        .collect();
    let is_current = state["status"]["observedGeneration"] == metadata["generation"];
    json!([is_current, metadata["deletionTimestamp"].is_string(), state["status"].is_null(), conditions])
        .to_string()
}
