//! What an object says, apart from what the API server adds to it.
//!
//! The builders annotate each child with the digest of its content. An object whose content still has the
//! digest that it names is exactly what was asked for: that shows without the object that was asked for,
//! so that nothing but the digest has to be kept.

use std::fmt;

use serde::Serialize;
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
        Self::of_parts(kind, object.get("metadata").unwrap_or(&Value::Null), object)
    }

    /// The same of an object whose metadata stands apart from the rest.
    pub fn of_parts(kind: ChildKind, metadata: &Value, data: &Value) -> Self {
        let mut content = Content::default();
        content.object(kind, metadata, data);
        Self::of_text(&content.0)
    }

    /// The digest of a value whose objects are sorted.
    pub fn of_value(value: &Value) -> Self {
        let mut text = Content::default();
        text.leaf(value);
        Self::of_text(&text.0)
    }

    fn of_text(text: &[u8]) -> Self {
        let bytes = Sha256::digest(text);
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
pub const METADATA: [&str; 5] = ["annotations", "labels", "name", "namespace", "ownerReferences"];

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
fn defaults(kind: ChildKind) -> Defaults {
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

/// A value as the table of defaults writes it.
fn written(value: &Value) -> String {
    value.to_string()
}

/// What remains of an object when status, bookkeeping and defaults are left out, as JSON. It is written as it is read:
/// a tree of it would cost more than all the rest.
#[derive(Default)]
struct Content(Vec<u8>);

/// What is left out of the objects of a kind.
type Defaults = &'static [(&'static str, Option<&'static str>)];

impl Content {
    /// Of a Lease only the metadata is the operator's.
    fn object(&mut self, kind: ChildKind, metadata: &Value, data: &Value) {
        let data = data.as_object().into_iter().flatten().filter(|(key, _)| {
            kind != ChildKind::Lease && !["apiVersion", "kind", "metadata", "status"].contains(&key.as_str())
        });
        let mut members: Vec<_> = data.map(|(key, value)| (key.as_str(), value)).collect();
        members.extend(metadata.is_object().then_some(("metadata", metadata)));
        members.sort_unstable_by_key(|(name, _)| *name);
        self.members(members, |content, key, value| match value {
            Value::Object(metadata) if key == "metadata" => {
                let kept = sorted(metadata).into_iter().filter(|(key, _)| METADATA.contains(key));
                content.members(kept, |content, key, value| content.value(&[], key, value));
                true
            }
            _ => content.value(defaults(kind), key, value),
        });
    }

    /// Writes a value and says whether anything remained of it.
    fn value(&mut self, defaults: Defaults, key: &str, value: &Value) -> bool {
        let start = self.0.len();
        match value {
            Value::Null => return false,
            Value::Object(object) => {
                let any = self.members(sorted(object), |content, name, member| {
                    let is_foreign =
                        key == "annotations" && (name == DESIRED_HASH || FOREIGN_ANNOTATIONS.contains(&name));
                    let is_default = || {
                        defaults.iter().any(|(default, value)| {
                            *default == name && value.is_none_or(|value| written(member) == value)
                        })
                    };
                    if is_foreign || is_default() {
                        return false;
                    }
                    let is_quantity = ["limits", "requests"].contains(&key);
                    match is_quantity.then(|| quantity(member)).flatten() {
                        Some(number) => {
                            content.leaf(&format!("{number:.9e}"));
                            true
                        }
                        None => content.value(defaults, name, member),
                    }
                });
                // What was empty from the beginning may mean something: a selector of everything.
                if !any && !object.is_empty() {
                    self.0.truncate(start);
                    return false;
                }
            }
            Value::Array(list) if list.is_empty() => return false,
            Value::Array(list) => {
                self.0.push(b'[');
                for (place, member) in list.iter().enumerate() {
                    if place > 0 {
                        self.0.push(b',');
                    }
                    // A member keeps its place, blank or not.
                    if !self.value(defaults, key, member) {
                        self.leaf(&Value::Null);
                    }
                }
                self.0.push(b']');
            }
            leaf => self.leaf(leaf),
        }
        true
    }

    /// Writes an object of those members of which anything remains, and says whether there are any.
    fn members<'a>(
        &mut self,
        members: impl IntoIterator<Item = (&'a str, &'a Value)>,
        mut write: impl FnMut(&mut Self, &str, &Value) -> bool,
    ) -> bool {
        let mut any = false;
        self.0.push(b'{');
        for (name, member) in members {
            let start = self.0.len();
            if any {
                self.0.push(b',');
            }
            self.leaf(name);
            self.0.push(b':');
            if write(self, name, member) {
                any = true;
            } else {
                self.0.truncate(start);
            }
        }
        self.0.push(b'}');
        any
    }

    fn leaf<T: Serialize + ?Sized>(&mut self, value: &T) {
        // Writing to memory does not fail.
        serde_json::to_writer(&mut self.0, value).ok();
    }
}

/// A value without what its fields hold, but for the direct members of a list's members: by some of those a member is
/// known.
fn shape(value: &Value) -> Value {
    let members = |object: &Map<String, Value>, of: fn(&Value) -> Value| {
        Value::Object(sorted(object).into_iter().map(|(key, value)| (key.to_owned(), of(value))).collect())
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
fn sorted(object: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let mut members: Vec<_> = object.iter().map(|(name, value)| (name.as_str(), value)).collect();
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
