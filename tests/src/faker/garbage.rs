//! Removes the children of bots that are gone, as the garbage collector of Kubernetes does.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, Preconditions};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt};
use serde_json::json;

use super::state::{Key, Shared};

/// Group, version, kind and plural of what a bot may own; where one is not installed nothing is found.
const KINDS: [(&str, &str, &str, &str); 13] = [
    ("apps", "v1", "Deployment", "deployments"),
    ("", "v1", "Service", "services"),
    ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    ("networking.k8s.io", "v1", "Ingress", "ingresses"),
    ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
    ("cert-manager.io", "v1", "Certificate", "certificates"),
    ("", "v1", "ConfigMap", "configmaps"),
    ("", "v1", "Secret", "secrets"),
    ("coordination.k8s.io", "v1", "Lease", "leases"),
    ("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    ("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings"),
    ("rbac.authorization.k8s.io", "v1", "Role", "roles"),
    ("", "v1", "ServiceAccount", "serviceaccounts"),
];

/// Removes what the bot of that UID owned; and once more a little later, what was made while it went.
pub async fn collect(shared: Arc<Shared>, key: Key, uid: String) {
    for pause in [Duration::ZERO, Duration::from_secs(1)] {
        tokio::time::sleep(pause).await;
        for (group, version, kind, plural) in KINDS {
            let kind = GroupVersionKind::gvk(group, version, kind);
            let resource = ApiResource::from_gvk_with_plural(&kind, plural);
            let api = Api::namespaced_with(shared.client.clone(), &key.namespace, &resource);
            if let Err(error) = sweep(&api, &key, &uid).await
                && !matches!(&error, kube::Error::Api(status) if status.code == 404)
            {
                eprintln!("faker: {plural} of {} stay: {error}", key.name);
            }
        }
    }
}

async fn sweep(api: &Api<DynamicObject>, key: &Key, uid: &str) -> Result<(), kube::Error> {
    let labelled = ListParams::default().labels(&format!("trading.three-rivers-tech.com/bot={}", key.name));
    for object in api.list(&labelled).await? {
        if !object.owner_references().iter().any(|owner| owner.uid == uid) {
            continue;
        }
        let name = object.name_any();
        let only_this = Preconditions { uid: object.uid(), resource_version: None };
        match api.delete(&name, &DeleteParams { preconditions: Some(only_this), ..Default::default() }).await
        {
            // A claim waits for a controller that protects it while a pod uses it.
            Ok(answer) => {
                if answer.left().is_some_and(|object| !object.finalizers().is_empty()) {
                    let none = Patch::Merge(json!({"metadata": {"uid": object.uid(), "finalizers": null}}));
                    ignore_missing(api.patch(&name, &PatchParams::default(), &none).await)?;
                }
            }
            Err(error) => ignore_missing(Err::<(), _>(error))?,
        }
    }
    Ok(())
}

fn ignore_missing<T>(answer: Result<T, kube::Error>) -> Result<(), kube::Error> {
    match answer {
        Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(()),
        answer => answer.map(drop),
    }
}
