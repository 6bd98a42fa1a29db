//! Fields of a manifest by the paths that `crds/src/effects.yaml` uses.

use serde_json::{Map, Value};

/// Sets the field at a path (`risk.stop.minPercent`, `feeds[].replay.speed`); `[]` is the first member.
/// What is missing on the way is made.
pub fn set(spec: &mut Value, path: &str, value: Value) {
    let mut at = spec;
    for step in path.split('.') {
        let (key, lists) = match step.split_once("[]") {
            Some((key, _)) => (key, true),
            None => (step, false),
        };
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[key];
        if lists {
            at = at.get_mut(0).unwrap_or_else(|| panic!("{path}: the manifest has no {key}"));
        }
    }
    *at = value;
}
