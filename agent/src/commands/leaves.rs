//! A tree as the list of its leaves.

use std::collections::BTreeMap;

use serde_json::Value;

/// Every leaf by its path, members of lists by name or pair, as the provenance of a configuration names them.
pub fn leaves(value: &Value) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    collect(value, String::new(), &mut leaves);
    leaves
}

fn collect(value: &Value, path: String, leaves: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect(value, path, leaves);
            }
        }
        Value::Array(members) if !members.is_empty() => {
            for (index, member) in members.iter().enumerate() {
                let key = ["name", "pair"].iter().find_map(|key| member.get(key)?.as_str());
                let path = match key {
                    Some(key) => format!("{path}[{key}]"),
                    None => format!("{path}[{index}]"),
                };
                collect(member, path, leaves);
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
    use serde_json::json;

    #[test]
    fn every_leaf_but_empty_ones_has_the_path_that_provenance_gives_it() {
        let spec = json!({
            "assets": [{"pair": "BTC-USD"}],
            "feeds": [{"name": "bars", "replay": {"data": [
                {"pair": "BTC-USD", "timeframe": "1h", "configMaps": [{"name": "btc", "key": "h1.csv"}]}
            ]}}]
        });
        let effective = crds::config::resolve(&spec).unwrap();
        let mut all = leaves(&serde_json::to_value(&effective.bot).unwrap());
        all.append(&mut leaves(&effective.deployment));
        for path in all.keys().filter(|path| *path != "agent.nodeSelector") {
            assert!(effective.provenance.contains_key(path), "{path}");
        }
        assert_eq!(all["risk.confidenceFloor"], "70");
    }
}
