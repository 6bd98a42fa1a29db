//! What the supervisor asks of the API server: whether it is ready, and the volumes of the node.

use std::fs;

use k8s_openapi::api::core::v1::{Node, PersistentVolume, ServiceAccount};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

use crate::plan::Plan;
use crate::{Error, NODE_NAME};

/// How many volumes a lab has. A used one stays Released, so this is also how many claims a lab can serve.
const VOLUMES: usize = 64;

/// The name of the default storage class.
const STORAGE_CLASS: &str = "local";

/// A client with the rights of an administrator. Does not talk to the server yet.
pub(crate) async fn client(plan: &Plan) -> Result<Client, Error> {
    let kubeconfig = Kubeconfig::read_from(plan.kubeconfig())?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Client::try_from(config).map_err(api("make a client"))
}

/// Whether `/readyz` says ok.
pub(crate) async fn is_ready(client: &Client) -> bool {
    match http::Request::get("/readyz").body(Vec::new()) {
        Ok(request) => client.request_text(request).await.is_ok(),
        Err(_) => false,
    }
}

/// Whether pods can be made in the default namespace.
pub(crate) async fn has_default_account(client: &Client) -> bool {
    Api::<ServiceAccount>::namespaced(client.clone(), "default").get("default").await.is_ok()
}

/// Whether the node takes pods.
pub(crate) async fn is_node_ready(client: &Client) -> bool {
    let Ok(node) = Api::<Node>::all(client.clone()).get(NODE_NAME).await else { return false };
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Makes the default storage class and the volumes behind it. `local` volumes obey `fsGroup`, so a pod that is not root
/// can write to them.
pub(crate) async fn create_volumes(client: &Client, plan: &Plan) -> Result<(), Error> {
    let class: StorageClass = object(json!({
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }))?;
    create(&Api::all(client.clone()), &class, STORAGE_CLASS).await?;
    let volumes = Api::all(client.clone());
    for number in 0..VOLUMES {
        let name = format!("local-{number:02}");
        let path = plan.file("volumes").join(&name);
        fs::create_dir_all(&path).map_err(Error::file("create", &path))?;
        let volume: PersistentVolume = object(json!({
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": "10Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": STORAGE_CLASS,
                "local": {"path": path},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]},
                ]}]}},
            },
        }))?;
        create(&volumes, &volume, &name).await?;
    }
    Ok(())
}

fn object<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> Result<T, Error> {
    serde_json::from_value(value)
        .map_err(|source| api("read the lab's own object")(kube::Error::SerdeError(source)))
}

/// Creates an object unless it exists.
async fn create<T>(objects: &Api<T>, object: &T, name: &str) -> Result<(), Error>
where
    T: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    match objects.create(&PostParams::default(), object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        result => result.map(drop).map_err(api(&format!("create {name}"))),
    }
}

fn api(action: &str) -> impl FnOnce(kube::Error) -> Error {
    let action = action.to_owned();
    move |source| Error::Api { action, source: Box::new(source) }
}
