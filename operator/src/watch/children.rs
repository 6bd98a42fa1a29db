//! The children of all bots, as the cluster has them.

use std::collections::HashMap;
use std::sync::Arc;

use crds::contract::{MANAGED_BY, OPERATOR_MANAGER};
use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::api::Api;
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::reflector::store::WriterDropped;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Client, Resource};
use tokio::task::JoinSet;
use tracing::warn;

use super::{Cause, ChildKind, Leases, Triggers, Written};

/// The labelled objects of every watched kind.
#[derive(Clone, Debug)]
pub struct Children {
    stores: Arc<HashMap<ChildKind, (ApiResource, Store<DynamicObject>)>>,
}

impl Children {
    /// Starts the watches as tasks of the set.
    pub fn watch(
        client: &Client,
        triggers: &Triggers,
        written: &Arc<Written>,
        leases: &Arc<Leases>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let mut stores = HashMap::new();
        for kind in ChildKind::WATCHED {
            let resource = kind.resource();
            let writer = reflector::store::Writer::<DynamicObject>::new(resource.clone());
            stores.insert(kind, (resource.clone(), writer.as_reader()));
            let api = Api::all_with(client.clone(), &resource);
            let watch = Watch {
                kind,
                writer,
                triggers: triggers.clone(),
                written: Arc::clone(written),
                leases: Arc::clone(leases),
            };
            tasks.spawn(watch.run(api));
        }
        Self { stores: Arc::new(stores) }
    }

    /// A child as the cluster has it.
    pub fn get(&self, kind: ChildKind, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        let (resource, store) = self.stores.get(&kind)?;
        store.get(&ObjectRef::new_with(name, resource.clone()).within(namespace))
    }

    /// Returns once every kind was listed.
    ///
    /// # Errors
    /// When a watch ended, which happens only at the end of the process.
    pub async fn wait_until_ready(&self) -> Result<(), WriterDropped> {
        for (_, store) in self.stores.values() {
            store.wait_until_ready().await?;
        }
        Ok(())
    }
}

struct Watch {
    kind: ChildKind,
    writer: reflector::store::Writer<DynamicObject>,
    triggers: Triggers,
    written: Arc<Written>,
    leases: Arc<Leases>,
}

impl Watch {
    async fn run(mut self, api: Api<DynamicObject>) {
        let config = watcher::Config::default().labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"));
        let mut events = watcher(api, config)
            .default_backoff()
            .modify(|object| object.metadata.managed_fields = creation_entry(&object.metadata))
            .boxed();
        let mut listed = false;
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take(&event, &mut listed),
                Err(error) => warn!(kind = self.kind.as_str(), %error, "the watch is interrupted"),
            }
        }
    }

    fn take(&mut self, event: &Event<DynamicObject>, listed: &mut bool) {
        self.written.observe(self.kind, event);
        self.writer.apply_watcher_event(event);
        // A renewal of a Lease is no reason to look at its bot.
        let cause = match self.kind {
            ChildKind::Lease => self.leases.observe(event),
            _ => Some(Cause::Stages),
        };
        match (event, cause) {
            (Event::Apply(object) | Event::Delete(object), Some(cause)) => {
                self.triggers.owner_of(object.meta(), cause);
            }
            // The first list comes before the first reconcile; a later one may hide deletions.
            (Event::InitDone, _) if std::mem::replace(listed, true) => {
                self.triggers.each(|_| true, Cause::Stages);
            }
            _ => {}
        }
    }
}

/// Of `managedFields` only what `apply` needs: the entries up to the one that creating the object left
/// behind, without their fields. None when that entry was converted.
pub fn creation_entry(metadata: &ObjectMeta) -> Option<Vec<ManagedFieldsEntry>> {
    let entries = metadata.managed_fields.as_deref()?;
    let index = entries.iter().position(|entry| {
        entry.manager.as_deref() == Some(OPERATOR_MANAGER)
            && entry.operation.as_deref() == Some("Update")
            && entry.subresource.is_none()
    })?;
    let mut kept: Vec<_> = entries.iter().take(index + 1).cloned().collect();
    for entry in &mut kept {
        entry.fields_v1 = None;
    }
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_entry_of_the_creation_is_found_by_its_place() {
        let metadata = |entries: serde_json::Value| -> ObjectMeta {
            serde_json::from_value(json!({"managedFields": entries})).unwrap()
        };
        let found = creation_entry(&metadata(json!([
            {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:a": {}}},
            {"manager": OPERATOR_MANAGER, "operation": "Update", "subresource": "status"},
            {"manager": OPERATOR_MANAGER, "operation": "Update", "fieldsV1": {"f:a": {}}},
            {"manager": "other", "operation": "Update"}
        ])))
        .unwrap();
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|entry| entry.fields_v1.is_none()));
        let applied = metadata(json!([{"manager": OPERATOR_MANAGER, "operation": "Apply"}]));
        assert_eq!(creation_entry(&applied), None);
    }
}
