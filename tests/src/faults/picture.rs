//! What a bot and its children are, without what differs from run to run: so that two runs can be compared.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Bystanders;
use crate::cluster::Cluster;

const LABEL_BOT: &str = "trading.three-rivers-tech.com/bot";
const MANAGED: &str = "app.kubernetes.io/managed-by=tradingbot-operator";

/// Every kind of which the operator makes children, and what it must not make of itself.
const KINDS: &str = "serviceaccounts,roles,rolebindings,configmaps,leases,persistentvolumeclaims,services,secrets,\
                     networkpolicies,ingresses,deployments";

/// A bot with its children: objects by kind and name.
pub type Picture = BTreeMap<String, Value>;

/// The bots of a namespace by name. An object whose bot does not exist makes a picture without a TradingBot.
///
/// # Errors
/// When the API server does not answer; the text of kubectl.
pub fn pictures(cluster: &Cluster, namespace: &str) -> Result<BTreeMap<String, Picture>, String> {
    let mut pictures = BTreeMap::new();
    let mut owners = BTreeMap::new();
    for bot in cluster.try_list(namespace, &["tradingbots"])? {
        let name = text(&bot["metadata"]["name"]);
        owners.insert(name.clone(), bot.clone());
        pictures.insert(name.clone(), Picture::from([("TradingBot".to_owned(), plain(bot.clone(), &bot))]));
    }
    for object in cluster.try_list(namespace, &[KINDS, "-l", MANAGED])? {
        if Bystanders::is_one(&text(&object["metadata"]["name"])) {
            continue;
        }
        let name = text(&object["metadata"]["labels"][LABEL_BOT]);
        let bot = owners.get(&name).unwrap_or(&Value::Null);
        let key = format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]));
        let (key, object) = (anonymous(&key, bot), plain(object, bot));
        pictures.entry(name).or_default().insert(key, object);
    }
    Ok(pictures)
}

/// The first place in which two pictures differ, and how.
pub fn difference(expected: &Picture, found: &Picture) -> Option<String> {
    let whole = |picture: &Picture| Value::Object(picture.clone().into_iter().collect());
    between("", &whole(expected), &whole(found))
}

fn between(path: &str, expected: &Value, found: &Value) -> Option<String> {
    if expected == found {
        return None;
    }
    if let (Value::Object(one), Value::Object(other)) = (expected, found) {
        let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
        let child = |object: &Map<String, Value>, key: &String| object.get(key).cloned().unwrap_or_default();
        return keys
            .filter_map(|key| between(&format!("{path}/{key}"), &child(one, key), &child(other, key)))
            .next();
    }
    let short = |value: &Value| value.to_string().chars().take(400).collect::<String>();
    Some(format!("{path} is {} and should be {}", short(found), short(expected)))
}

/// An object without times, versions, random values and names of its own.
fn plain(mut object: Value, bot: &Value) -> Value {
    let kind = text(&object["kind"]);
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for key in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
            metadata.remove(key);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("deployment.kubernetes.io/revision");
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            // Over the bot's UID; what it stands for is compared itself.
            annotations.remove("trading.three-rivers-tech.com/desired-hash");
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    match kind.as_str() {
        "TradingBot" => {
            if let Some(conditions) = object["status"]["conditions"].as_array_mut() {
                conditions.sort_by_key(|condition| text(&condition["type"]));
                for condition in conditions {
                    condition["lastTransitionTime"] = json!("a time");
                    own_generation(&mut condition["observedGeneration"], bot);
                }
            }
            for claim in object["status"]["claims"].as_array_mut().into_iter().flatten() {
                claim["since"] = json!("a time");
            }
            own_generation(&mut object["status"]["observedGeneration"], bot);
            // The agent's share.
            for key in ["agent", "account", "trading", "positions", "lastDecision"] {
                object["status"].as_object_mut().map(|status| status.remove(key));
            }
        }
        "ConfigMap" => {
            if let Some(config) = object["data"].get_mut("config.json")
                && let Ok(mut parsed) = serde_json::from_str::<Value>(&text(config))
            {
                own_generation(&mut parsed["generation"], bot);
                *config = parsed;
            }
        }
        "Secret" => {
            for value in object["data"].as_object_mut().into_iter().flat_map(Map::values_mut) {
                *value = json!(format!("{} characters", text(value).len()));
            }
        }
        // The agent's.
        "Lease" => drop(object.as_object_mut().map(|lease| lease.remove("spec"))),
        "Service" => {
            for key in ["clusterIP", "clusterIPs"] {
                object["spec"].as_object_mut().map(|spec| spec.remove(key));
            }
        }
        _ => {}
    }
    if kind != "TradingBot" {
        object.as_object_mut().map(|object| object.remove("status"));
    }
    serde_json::from_str(&anonymous(&object.to_string(), bot)).expect("names are harmless in JSON")
}

/// The bot's generation by a word: a stale one remains a number.
fn own_generation(generation: &mut Value, bot: &Value) {
    if !generation.is_null() && *generation == bot["metadata"]["generation"] {
        *generation = json!("the bot's");
    }
}

fn anonymous(words: &str, bot: &Value) -> String {
    let metadata = &bot["metadata"];
    let (uid, namespace, name) =
        (text(&metadata["uid"]), text(&metadata["namespace"]), text(&metadata["name"]));
    if uid.is_empty() {
        return words.to_owned();
    }
    words
        .replace(&uid, "(uid)")
        .replace(&uid[..8], "(uid)")
        .replace(&namespace, "(namespace)")
        .replace(&name, "(name)")
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(name: &str, uid: &str, generation: i64) -> Value {
        json!({
            "kind": "TradingBot",
            "metadata": {"name": name, "namespace": "here", "uid": uid, "generation": generation},
            "status": {"observedGeneration": 2, "conditions": [{"type": "Ready", "observedGeneration": 2}]},
        })
    }

    fn config(bot: &Value, generation: i64) -> Value {
        let name = &bot["metadata"]["name"];
        json!({
            "kind": "ConfigMap",
            "metadata": {"name": name, "resourceVersion": "1", "ownerReferences": [{"uid": bot["metadata"]["uid"]}]},
            "data": {"config.json": json!({"generation": generation, "bot": name}).to_string()},
        })
    }

    #[test]
    fn the_same_thing_under_other_names_is_equal_and_a_stale_generation_is_not() {
        let one = bot("zq01", "11111111-1111", 2);
        let other = bot("zq02", "22222222-2222", 2);
        assert_eq!(plain(one.clone(), &one), plain(other.clone(), &other));
        assert_eq!(plain(config(&one, 2), &one), plain(config(&other, 2), &other));
        assert_ne!(plain(config(&one, 2), &one), plain(config(&other, 1), &other));
        let ahead = bot("zq03", "33333333-3333", 3);
        let pictures = [&one, &ahead].map(|bot| Picture::from([("bot".to_owned(), plain(bot.clone(), bot))]));
        let difference = difference(&pictures[0], &pictures[1]).unwrap();
        assert!(difference.contains("/status/conditions"), "{difference}");
    }
}
