//! Objects as the API server sends them, read without what nobody here looks at: which fields each manager owns is
//! half of an object, and of an event the larger part of the work.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference, Time};
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope};
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// An object of a kind that is known at run time. Its type is left out, and of `managedFields` the fields.
#[derive(Clone, Debug)]
pub struct Unstructured {
    /// What [`metadata`] reads of its metadata.
    pub metadata: ObjectMeta,
    /// All other members.
    pub data: Value,
}

impl<'de> Deserialize<'de> for Unstructured {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

/// Reads the members one after the other: flattened ones would all be read twice.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Unstructured;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of Kubernetes")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Unstructured, A::Error> {
        let mut of = ObjectMeta::default();
        let mut data = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "metadata" => of = members.next_value::<Metadata>()?.into(),
                "apiVersion" | "kind" => drop(members.next_value::<IgnoredAny>()?),
                _ => drop(data.insert(name, members.next_value()?)),
            }
        }
        Ok(Unstructured { metadata: of, data: Value::Object(data) })
    }
}

impl Resource for Unstructured {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Reads the metadata that this program looks at.
///
/// # Errors
/// When a member is of another type than Kubernetes says.
pub fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    Metadata::deserialize(deserializer).map(Into::into)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
    finalizers: Option<Vec<String>>,
    managed_fields: Option<Vec<Entry>>,
}

/// Who manages fields, but not which.
#[derive(Deserialize)]
struct Entry {
    manager: Option<String>,
    operation: Option<String>,
    subresource: Option<String>,
    time: Option<Time>,
}

impl From<Metadata> for ObjectMeta {
    fn from(read: Metadata) -> Self {
        let entry = |Entry { manager, operation, subresource, time }| ManagedFieldsEntry {
            manager,
            operation,
            subresource,
            time,
            ..ManagedFieldsEntry::default()
        };
        Self {
            name: read.name,
            namespace: read.namespace,
            uid: read.uid,
            resource_version: read.resource_version,
            generation: read.generation,
            creation_timestamp: read.creation_timestamp,
            deletion_timestamp: read.deletion_timestamp,
            labels: read.labels,
            annotations: read.annotations,
            owner_references: read.owner_references,
            finalizers: read.finalizers,
            managed_fields: read.managed_fields.map(|entries| entries.into_iter().map(entry).collect()),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::DynamicObject;
    use serde_json::json;

    #[test]
    fn an_object_is_read_as_it_is_but_for_its_type_and_the_fields_of_its_managers() {
        let object = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {
                "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "generation": 2,
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z",
                "labels": {"l": "1"}, "annotations": {"a": "1"}, "finalizers": ["f"],
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "p", "controller": true}],
                "managedFields": [{
                    "manager": "m", "operation": "Update", "subresource": "status",
                    "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:spec": {}}
                }]
            },
            "spec": {"ports": [{"port": 1}]}, "status": {"a": null}
        });
        let read: Unstructured = serde_json::from_value(object.clone()).unwrap();
        let mut whole: DynamicObject = serde_json::from_value(object).unwrap();
        for entry in whole.metadata.managed_fields.iter_mut().flatten() {
            assert!(entry.fields_v1.take().is_some());
        }
        assert_eq!((read.metadata, read.data), (whole.metadata, whole.data));
    }

    #[test]
    fn what_is_no_object_is_refused_with_a_word_of_what_it_is() {
        let refused = |object: Value| serde_json::from_value::<Unstructured>(object).unwrap_err().to_string();
        assert!(refused(json!([])).contains("expected an object of Kubernetes"));
        assert!(refused(json!({"metadata": {"labels": 1}})).contains("expected a map"));
    }
}
