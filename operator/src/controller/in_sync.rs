//! Whether an object is as it should be.

use serde_json::{Map, Value};

/// The part of `actual` that `desired` speaks about: its objects' other keys are left out, its lists are
/// compared member by member when they have as many members, else as a whole.
pub fn project(actual: &Value, desired: &Value) -> Value {
    match (actual, desired) {
        (Value::Object(actual), Value::Object(desired)) => {
            let mut part = Map::new();
            for (key, wanted) in desired {
                match actual.get(key) {
                    Some(found) => {
                        part.insert(key.clone(), project(found, wanted));
                    }
                    // The API server drops what is empty.
                    None if is_empty(wanted) => {
                        part.insert(key.clone(), wanted.clone());
                    }
                    None => {}
                }
            }
            Value::Object(part)
        }
        (Value::Array(actual), Value::Array(desired)) if actual.len() == desired.len() => {
            actual.iter().zip(desired).map(|(actual, desired)| project(actual, desired)).collect()
        }
        _ => actual.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_of_the_server_are_no_difference_and_everything_else_is() {
        let desired = json!({"spec": {"replicas": 1, "empty": {}, "list": [{"name": "a"}]}, "metadata": {"labels": {"x": "y"}}});
        let same = json!({
            "spec": {"replicas": 1, "default": true, "list": [{"name": "a", "protocol": "TCP"}]},
            "metadata": {"labels": {"x": "y", "z": "0"}, "uid": "u"}, "status": {}
        });
        assert_eq!(project(&same, &desired), desired);
        for (pointer, value) in [
            ("/spec/replicas", json!(3)),
            ("/spec/list", json!([])),
            ("/spec/list", json!([{"name": "a"}, {"name": "b"}])),
            ("/spec/list/0/name", json!("b")),
            ("/metadata/labels", json!({})),
            ("/metadata", Value::Null),
        ] {
            let mut drifted = same.clone();
            *drifted.pointer_mut(pointer).unwrap() = value;
            assert_ne!(project(&drifted, &desired), desired, "{pointer}");
        }
    }
}
