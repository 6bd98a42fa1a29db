//! What an object says, apart from what the API server adds to it.
//!
//! The builders annotate each child with the digest of its content. An object whose content still has the
//! digest that it names is exactly what was asked for: that shows without the object that was asked for,
//! so that nothing but the digest has to be kept.

use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::ChildKind;
use crate::controller::build::annotation::DESIRED_HASH;

/// The digest of an object's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(u64);

impl Digest {
    /// The digest of an object's content, whatever digest it names itself.
    pub fn of(kind: ChildKind, object: &Value) -> Self {
        let content = content(kind, object).unwrap_or_default();
        Self::of_value(&content)
    }

    /// The digest of a value whose objects are sorted.
    pub fn of_value(value: &Value) -> Self {
        let mut hasher = Sha256::new();
        // Writing to a hasher does not fail.
        serde_json::to_writer(&mut hasher, value).ok();
        let bytes = hasher.finalize();
        Self(bytes.iter().take(8).fold(0, |digest, byte| digest << 8 | u64::from(*byte)))
    }

    /// The digest of which fields an object has, not of what they hold: equal for objects that server-side apply
    /// takes for sets of the same fields. It may differ for such as well.
    pub fn of_shape(object: &Value) -> Self {
        Self::of_value(&shape(object))
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The members of `metadata` that are content.
const METADATA: [&str; 5] = ["annotations", "labels", "name", "namespace", "ownerReferences"];

/// Annotations that controllers and people put on objects and that no builder uses. Others are content, so
/// that one that a builder does use is never overlooked.
const FOREIGN_ANNOTATIONS: [&str; 8] = [
    "deployment.kubernetes.io/revision",
    "kubectl.kubernetes.io/last-applied-configuration",
    "kubectl.kubernetes.io/restartedAt",
    "pv.kubernetes.io/bind-completed",
    "pv.kubernetes.io/bound-by-controller",
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/selected-node",
    "volume.kubernetes.io/storage-provisioner",
];

/// What the API server adds to a kind's objects: the member's name, and its value unless any will do. A
/// default that is missing here costs memory, not truth: its objects are compared in full.
fn defaults(kind: ChildKind) -> &'static [(&'static str, Option<&'static str>)] {
    match kind {
        ChildKind::Deployment => &[
            ("apiVersion", Some("\"v1\"")),
            ("defaultMode", Some("420")),
            ("dnsPolicy", Some("\"ClusterFirst\"")),
            ("failureThreshold", Some("3")),
            ("progressDeadlineSeconds", Some("600")),
            ("restartPolicy", Some("\"Always\"")),
            ("schedulerName", Some("\"default-scheduler\"")),
            ("scheme", Some("\"HTTP\"")),
            // The former name of serviceAccountName, which follows it.
            ("serviceAccount", None),
            ("successThreshold", Some("1")),
            ("terminationMessagePath", Some("\"/dev/termination-log\"")),
            ("terminationMessagePolicy", Some("\"File\"")),
        ],
        ChildKind::JournalClaim => {
            &[("storageClassName", None), ("volumeMode", Some("\"Filesystem\"")), ("volumeName", None)]
        }
        ChildKind::Service => &[
            ("clusterIP", None),
            ("clusterIPs", None),
            ("internalTrafficPolicy", Some("\"Cluster\"")),
            ("ipFamilies", None),
            ("ipFamilyPolicy", None),
            ("sessionAffinity", Some("\"None\"")),
            ("type", Some("\"ClusterIP\"")),
        ],
        ChildKind::HttpRoute => &[("group", None), ("kind", None), ("weight", Some("1"))],
        _ => &[],
    }
}

/// What remains of an object when status, bookkeeping and defaults are left out; none when nothing does. Of a Lease only the metadata is the operator's.
fn content(kind: ChildKind, object: &Value) -> Option<Value> {
    let mut content = Map::new();
    for (key, value) in sorted(object.as_object()?) {
        let kept = match key.as_str() {
            "apiVersion" | "kind" | "status" => None,
            "metadata" => metadata(value),
            _ if kind == ChildKind::Lease => None,
            _ => strip(defaults(kind), key, value),
        };
        content.extend(kept.map(|kept| (key.clone(), kept)));
    }
    Some(Value::Object(content))
}

fn metadata(metadata: &Value) -> Option<Value> {
    let members =
        sorted(metadata.as_object()?).into_iter().filter(|(key, _)| METADATA.contains(&key.as_str()));
    let kept = members.filter_map(|(key, value)| Some((key.clone(), strip(&[], key, value)?)));
    Some(Value::Object(kept.collect()))
}

/// A value as the table of defaults writes it.
fn written(value: &Value) -> String {
    value.to_string()
}

fn strip(defaults: &[(&str, Option<&str>)], key: &str, value: &Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Object(object) => {
            let mut kept = Map::new();
            for (name, member) in sorted(object) {
                let is_foreign = key == "annotations"
                    && (name == DESIRED_HASH || FOREIGN_ANNOTATIONS.contains(&name.as_str()));
                let is_default = defaults.iter().any(|(default, value)| {
                    default == name && value.is_none_or(|value| written(member) == value)
                });
                if is_foreign || is_default {
                    continue;
                }
                let member = match (key, quantity(member)) {
                    ("limits" | "requests", Some(number)) => Some(Value::String(format!("{number:.9e}"))),
                    _ => strip(defaults, name, member),
                };
                kept.extend(member.map(|member| (name.clone(), member)));
            }
            // What was empty from the beginning may mean something: a selector of everything.
            (!kept.is_empty() || object.is_empty()).then_some(Value::Object(kept))
        }
        // A member keeps its place, blank or not.
        Value::Array(list) if !list.is_empty() => {
            Some(list.iter().map(|member| strip(defaults, key, member).unwrap_or_default()).collect())
        }
        Value::Array(_) => None,
        leaf => Some(leaf.clone()),
    }
}

/// A value without what its fields hold, but for the direct members of a list's members: by some of those a member is
/// known.
fn shape(value: &Value) -> Value {
    let members = |object: &Map<String, Value>, of: fn(&Value) -> Value| {
        Value::Object(sorted(object).into_iter().map(|(key, value)| (key.clone(), of(value))).collect())
    };
    match value {
        Value::Object(object) => members(object, shape),
        Value::Array(list) => list
            .iter()
            .map(|member| match member {
                Value::Object(object) => members(object, |value| match value {
                    Value::Object(_) | Value::Array(_) => shape(value),
                    leaf => leaf.clone(),
                }),
                leaf => leaf.clone(),
            })
            .collect(),
        _ => Value::Null,
    }
}

/// The members of an object in one order, whichever the map keeps.
fn sorted(object: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = object.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    members
}

/// The number that a quantity stands for: the API server writes `0.5` as `500m`.
pub fn quantity(value: &Value) -> Option<f64> {
    let text = value.as_str()?;
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at_checked(end)?;
    let factor = match suffix {
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "a", "namespace": "n", "labels": {"l": "1"}, "annotations": {"ours": "x"}},
            "spec": {"replicas": 1, "template": {"spec": {"containers": [
                {"name": "agent", "resources": {"limits": {"cpu": "0.5"}}, "readinessProbe": {"failureThreshold": 3}}
            ]}}}
        })
    }

    /// The same, as the API server shows it.
    fn shown() -> Value {
        let mut object = deployment();
        object["metadata"]["uid"] = json!("u");
        object["metadata"]["generation"] = json!(1);
        object["metadata"]["managedFields"] = json!([{"manager": "m"}]);
        object["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = json!("1");
        object["metadata"]["annotations"][DESIRED_HASH] = json!("0");
        object["spec"]["progressDeadlineSeconds"] = json!(600);
        object["spec"]["template"]["metadata"] = json!({"creationTimestamp": null});
        object["spec"]["template"]["spec"]["dnsPolicy"] = json!("ClusterFirst");
        object["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = json!("500m");
        object["status"] = json!({"replicas": 1});
        object
    }

    fn digest(object: &Value) -> Digest {
        Digest::of(ChildKind::Deployment, object)
    }

    #[test]
    fn what_the_api_server_adds_changes_no_digest_and_every_change_of_content_does() {
        assert_eq!(digest(&shown()), digest(&deployment()));
        for (pointer, value) in [
            ("/spec/replicas", json!(2)),
            ("/spec/progressDeadlineSeconds", json!(60)),
            ("/spec/template/spec/dnsPolicy", json!("Default")),
            ("/spec/template/spec/containers/0/name", json!("b")),
            ("/spec/template/spec/containers/0/resources/limits/cpu", json!("501m")),
            ("/spec/template/spec/containers", json!([])),
            ("/metadata/labels/l", json!("2")),
            ("/metadata/annotations/ours", json!("")),
            ("/metadata/annotations", json!({})),
            ("/metadata/name", json!("b")),
        ] {
            let mut changed = shown();
            *changed.pointer_mut(pointer).unwrap() = value;
            assert_ne!(digest(&changed), digest(&deployment()), "{pointer}");
        }
        let mut added = shown();
        added["spec"]["paused"] = json!(true);
        assert_ne!(digest(&added), digest(&deployment()));
    }

    #[test]
    fn an_empty_selector_is_not_an_absent_one() {
        let policy = |peer: &str| json!({"spec": {"ingress": [{"from": [{peer: {}}]}]}});
        let digest = |peer: &str| Digest::of(ChildKind::NetworkPolicy, &policy(peer));
        assert_ne!(digest("namespaceSelector"), digest("podSelector"));
    }

    #[test]
    fn of_a_lease_only_the_metadata_counts() {
        let lease = |holder: &str, label: &str| json!({"metadata": {"labels": {"a": label}}, "spec": {"holderIdentity": holder}});
        let digest = |lease: &Value| Digest::of(ChildKind::Lease, lease);
        assert_eq!(digest(&lease("a", "1")), digest(&lease("b", "1")));
        assert_ne!(digest(&lease("a", "1")), digest(&lease("a", "2")));
    }

    #[test]
    fn a_shape_changes_with_the_fields_and_not_with_what_they_hold() {
        let object = json!({
            "data": {"a": "1"},
            "spec": {"replicas": 1, "containers": [{"name": "agent", "resources": {"limits": {"cpu": 1}}}], "args": ["x"]}
        });
        let changed = |pointer: &str, value: Value| {
            let mut changed = object.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            Digest::of_shape(&changed) != Digest::of_shape(&object)
        };
        assert!(!changed("/data/a", json!("2")));
        assert!(!changed("/spec/replicas", json!(3)));
        assert!(!changed("/spec/containers/0/resources/limits/cpu", json!(2)));
        assert!(changed("/data", json!({"b": "1"})));
        assert!(changed("/data", json!({})));
        assert!(changed("/spec/containers/0/name", json!("other")), "a member is known by its name");
        assert!(changed("/spec/containers/0/resources", json!({})));
        assert!(changed("/spec/args", json!(["y"])), "a set's members are fields");
    }

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let digest = digest(&deployment());
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("none"), None);
    }
}
