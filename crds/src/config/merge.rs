//! Merging of layers, key by key, with the origin of every value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where a value comes from. Higher layers win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Layer {
    /// Built into this version.
    Default,
    /// The TradingBot's own spec.
    Bot,
}

impl Layer {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Bot => "bot",
        }
    }
}

/// Layers merged into one tree.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// The tree.
    pub value: Value,
    /// The layer of each leaf, by its path (`risk.stop.minPercent`, `feeds[bars].replay.speed`).
    pub provenance: BTreeMap<String, Layer>,
}

impl Merged {
    /// Merges layers, the highest first: maps key by key, lists as a whole. `null` says nothing.
    pub fn from_layers<'a>(layers: impl IntoIterator<Item = (Layer, &'a Value)>) -> Self {
        let mut merged = Self { value: Value::Object(Map::new()), ..Self::default() };
        for (layer, value) in layers {
            underlay(&mut merged.value, value, "", layer, &mut merged.provenance);
        }
        merged
    }

    /// Puts `value` beneath every member of the list at `list` for which `select` finds a place in it.
    pub fn underlay_members(
        &mut self,
        list: &str,
        layer: Layer,
        mut select: impl FnMut(&Value) -> Option<(&'static str, Value)>,
    ) {
        let Some(Value::Array(members)) = self.value.get_mut(list) else { return };
        for (index, member) in members.iter_mut().enumerate() {
            let path = member_path(list, index, member);
            if let Some((key, beneath)) = select(member) {
                let beneath = nested(key, beneath);
                underlay(member, &beneath, &path, layer, &mut self.provenance);
            }
        }
    }
}

/// `{a: {b: value}}` for the key `a.b`.
fn nested(key: &str, value: Value) -> Value {
    key.rsplit('.').fold(value, |inner, name| Value::Object(Map::from_iter([(name.to_owned(), inner)])))
}

fn underlay(
    target: &mut Value,
    beneath: &Value,
    path: &str,
    layer: Layer,
    provenance: &mut BTreeMap<String, Layer>,
) {
    match (target, beneath) {
        (_, Value::Null) => {}
        (Value::Object(target), Value::Object(beneath)) => {
            for (key, value) in beneath {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                underlay(target.entry(key).or_insert(Value::Null), value, &path, layer, provenance);
            }
            target.retain(|_, value| !value.is_null());
        }
        (target @ Value::Null, Value::Object(_)) => {
            *target = Value::Object(Map::new());
            underlay(target, beneath, path, layer, provenance);
        }
        (target @ Value::Null, Value::Array(members)) => {
            *target = Value::Array(members.iter().map(without_nulls).collect());
            for (index, member) in members.iter().enumerate() {
                record(member, &member_path(path, index, member), layer, provenance);
            }
        }
        (target @ Value::Null, leaf) => {
            *target = leaf.clone();
            provenance.insert(path.to_owned(), layer);
        }
        // A higher layer has spoken.
        _ => {}
    }
}

/// The origin of every leaf of a list's member.
fn record(value: &Value, path: &str, layer: Layer, provenance: &mut BTreeMap<String, Layer>) {
    match value {
        Value::Null => {}
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                record(value, &format!("{path}.{key}"), layer, provenance);
            }
        }
        Value::Array(members) => {
            for (index, member) in members.iter().enumerate() {
                record(member, &member_path(path, index, member), layer, provenance);
            }
        }
        _ => {
            provenance.insert(path.to_owned(), layer);
        }
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect(),
        ),
        Value::Array(members) => Value::Array(members.iter().map(without_nulls).collect()),
        leaf => leaf.clone(),
    }
}

/// Members of the lists of the API are known by name or pair, others by position.
pub(super) fn member_path(list: &str, index: usize, member: &Value) -> String {
    let key = ["name", "pair"].iter().find_map(|key| member.get(key)?.as_str());
    match key {
        Some(key) => format!("{list}[{key}]"),
        None => format!("{list}[{index}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn maps_merge_key_by_key_and_lists_replace() {
        let bot = json!({"risk": {"confidenceFloor": 80, "cooldown": null}, "assets": [{"pair": "BTC-USD"}]});
        let default =
            json!({"risk": {"confidenceFloor": 70, "cooldown": "300s"}, "assets": [{"pair": "ETH-USD"}]});
        let merged = Merged::from_layers([(Layer::Bot, &bot), (Layer::Default, &default)]);
        assert_eq!(
            merged.value,
            json!({"risk": {"confidenceFloor": 80, "cooldown": "300s"}, "assets": [{"pair": "BTC-USD"}]})
        );
        let layer = |path: &str| merged.provenance[path];
        assert_eq!(layer("risk.confidenceFloor"), Layer::Bot);
        assert_eq!(layer("risk.cooldown"), Layer::Default);
        assert_eq!(layer("assets[BTC-USD].pair"), Layer::Bot);
        assert!(!merged.provenance.contains_key("assets[ETH-USD].pair"));
    }

    #[test]
    fn defaults_of_a_member_go_beneath_what_it_says() {
        let bot = json!({"feeds": [{"name": "a", "replay": {"speed": 5}}, {"name": "b"}]});
        let mut merged = Merged::from_layers([(Layer::Bot, &bot)]);
        merged.underlay_members("feeds", Layer::Default, |feed| {
            feed.get("replay").map(|_| ("replay", json!({"speed": 0, "warmup": 0})))
        });
        assert_eq!(
            merged.value,
            json!({"feeds": [{"name": "a", "replay": {"speed": 5, "warmup": 0}}, {"name": "b"}]})
        );
        assert_eq!(merged.provenance["feeds[a].replay.warmup"], Layer::Default);
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i32>().prop_map(Value::from), "[a-z]{0,3}".prop_map(Value::from)];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_single_layer_is_itself(value in prop::collection::btree_map("[a-c]", tree(), 0..4)) {
            let value = Value::Object(value.into_iter().collect());
            prop_assert_eq!(Merged::from_layers([(Layer::Bot, &value)]).value, value);
        }

        #[test]
        fn merging_in_two_steps_is_merging_at_once(
            a in prop::collection::btree_map("[a-c]", tree(), 0..4),
            b in prop::collection::btree_map("[a-c]", tree(), 0..4),
            c in prop::collection::btree_map("[a-c]", tree(), 0..4),
        ) {
            let [a, b, c] = [a, b, c].map(|map| Value::Object(map.into_iter().collect()));
            let upper = Merged::from_layers([(Layer::Bot, &a), (Layer::Bot, &b)]).value;
            let stepwise = Merged::from_layers([(Layer::Bot, &upper), (Layer::Bot, &c)]).value;
            let at_once = Merged::from_layers([(Layer::Bot, &a), (Layer::Bot, &b), (Layer::Bot, &c)]).value;
            prop_assert_eq!(stepwise, at_once);
        }
    }
}
