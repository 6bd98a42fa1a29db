//! Whether an object is as it should be.

use serde_json::{Map, Value};

use crate::watch::quantity;

/// The part of `actual` that `desired` speaks about: its objects' other keys are left out, its lists are
/// compared member by member when they have as many members, else as a whole. A quantity that the server
/// wrote in another way (`500m` for `0.5`) is the one that was asked for.
pub fn project(actual: &Value, desired: &Value) -> Value {
    match (actual, desired) {
        (Value::Object(actual), Value::Object(desired)) => {
            let mut part = Map::new();
            for (key, wanted) in desired {
                match actual.get(key) {
                    Some(found) if QUANTITIES.contains(&key.as_str()) => {
                        part.insert(key.clone(), same_quantities(found, wanted));
                    }
                    Some(found) => {
                        part.insert(key.clone(), project(found, wanted));
                    }
                    // The API server drops empty lists. An empty object may mean something: a selector of everything.
                    None if wanted.as_array().is_some_and(Vec::is_empty) => {
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

/// The keys under which Kubernetes keeps quantities by name.
const QUANTITIES: [&str; 2] = ["limits", "requests"];

fn same_quantities(actual: &Value, desired: &Value) -> Value {
    let mut part = project(actual, desired);
    if let (Some(part), Some(desired)) = (part.as_object_mut(), desired.as_object()) {
        for (name, found) in part {
            if let Some(wanted) = desired.get(name)
                && let (Some(a), Some(b)) = (quantity(found), quantity(wanted))
                && (a - b).abs() <= b.abs() * 1e-12
            {
                *found = wanted.clone();
            }
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_of_the_server_are_no_difference_and_everything_else_is() {
        let desired = json!({"spec": {"replicas": 1, "empty": [], "selector": {}, "list": [{"name": "a"}]}, "metadata": {"labels": {"x": "y"}}});
        let same = json!({
            "spec": {"replicas": 1, "default": true, "selector": {}, "list": [{"name": "a", "protocol": "TCP"}]},
            "metadata": {"labels": {"x": "y", "z": "0"}, "uid": "u"}, "status": {}
        });
        assert_eq!(project(&same, &desired), desired);
        for (pointer, value) in [
            ("/spec/replicas", json!(3)),
            ("/spec", json!({"replicas": 1, "list": [{"name": "a"}]})),
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

    #[test]
    fn the_same_quantity_in_other_words_is_no_difference_and_another_one_is() {
        let with =
            |cpu: &str, memory: &str| json!({"resources": {"requests": {"cpu": cpu, "memory": memory}}});
        let desired = with("0.5", "1024Mi");
        for (cpu, memory, same) in
            [("500m", "1Gi", true), ("501m", "1Gi", false), ("500m", "1G", false), ("much", "1Gi", false)]
        {
            assert_eq!(project(&with(cpu, memory), &desired) == desired, same, "{cpu} {memory}");
        }
        let labels = |value: &str| json!({"labels": {"a": value}});
        assert_ne!(project(&labels("1k"), &labels("1000")), labels("1000"), "only quantities are quantities");
    }
}
