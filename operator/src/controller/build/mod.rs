//! Stage three: the children of a bot, one file each. Pure functions of a [`Validated`] bot.
//!
//! What the API server normalises is written in its normal form (nothing null, nothing empty), so that
//! what comes back can be compared with what was asked for.

mod api_secret;
mod certificate;
mod config_map;
mod deployment;
mod http_route;
mod ingress;
mod journal_claim;
mod lease;
mod network_policy;
mod redirect;
mod role;
mod role_binding;
mod service;
mod service_account;

use std::collections::BTreeMap;

use crds::api::{Route, TlsSpec, TradingBot};
use crds::config::RenderingError;
use crds::contract;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;
use serde::Serialize;
use serde_json::Value;

use super::bot::Owner;
use super::validate::Validated;
use crate::watch::{ChildKind, Digest};

pub use api_secret::{Keys, build as api_secret};
pub use lease::held_by_unknown;
pub use network_policy::{NetworkPolicyOptions, NetworkPolicyOptionsError};

/// Annotations of the children.
pub mod annotation {
    /// Hash of the object as the operator wanted it: what it no longer wants shows by it.
    pub const DESIRED_HASH: &str = "trading.three-rivers-tech.com/desired-hash";
    /// On the pod template: the hash of what an agent cannot change while it runs.
    pub const RESTART_HASH: &str = "trading.three-rivers-tech.com/restart-hash";
    /// On Deployment and ConfigMap: the image of a bot that names none. Remove it from the Deployment to move to the
    /// operator's.
    pub const AGENT_IMAGE: &str = "trading.three-rivers-tech.com/agent-image";
    /// On Deployment and ConfigMap: the version of the built-in defaults. Remove it from the Deployment to move to the
    /// operator's.
    pub const DEFAULTS_VERSION: &str = "trading.three-rivers-tech.com/defaults-version";
    /// On the Deployment: the Secret whose creation was answered. The operator may not read Secrets.
    pub const API_KEY_SECRET: &str = "trading.three-rivers-tech.com/api-key-secret";
    /// On a claim that outlives its bot and so has no owner: the UID of the bot that it was made for.
    pub const RETAINED_FOR: &str = "trading.three-rivers-tech.com/retained-for";
}

/// An object as the operator wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// Its kind.
    pub kind: ChildKind,
    /// Its name.
    pub name: String,
    /// The object, with the hash of itself as an annotation.
    pub desired: Value,
    /// That hash.
    pub hash: Digest,
}

/// The children in the order of their writing: what a pod needs comes before the Deployment. The Secret,
/// which is random, is not among them: see [`api_secret`].
///
/// # Errors
/// None in practice: every object is JSON.
pub fn build(bot: &Validated) -> Result<Vec<Child>, RenderingError> {
    let mut children = vec![
        child(ChildKind::ServiceAccount, &service_account::build(bot))?,
        child(ChildKind::Role, &role::build(bot))?,
        child(ChildKind::RoleBinding, &role_binding::build(bot))?,
        child(ChildKind::ConfigMap, &config_map::build(bot)?)?,
        child(ChildKind::Lease, &lease::build(bot))?,
    ];
    if let Some(claim) = journal_claim::build(bot) {
        children.push(child(ChildKind::JournalClaim, &claim)?);
    }
    children.push(child(ChildKind::Service, &service::build(bot))?);
    if let Some(policy) = network_policy::build(bot) {
        children.push(child(ChildKind::NetworkPolicy, &policy)?);
    }
    if let Some(expose) = &bot.deployment.expose {
        children.push(match &expose.route {
            Route::Ingress(ingress) => child(ChildKind::Ingress, &ingress::build(bot, expose, ingress))?,
            Route::Gateway(parent) => child(ChildKind::HttpRoute, &http_route::build(bot, expose, parent))?,
        });
        if let Some(tls @ TlsSpec { issuer_ref: Some(issuer), .. }) = &expose.tls {
            children.push(child(ChildKind::Certificate, &certificate::build(bot, expose, tls, issuer))?);
        }
    }
    children.push(child(ChildKind::Deployment, &deployment::build(bot))?);
    Ok(children)
}

fn child<K: Resource + Serialize>(kind: ChildKind, object: &K) -> Result<Child, RenderingError> {
    let mut desired = serde_json::to_value(object)?;
    desired.sort_all_objects();
    let hash = Digest::of(kind, &desired);
    if let Some(metadata) = desired.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| Value::Object(Default::default()));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(annotation::DESIRED_HASH.into(), Value::String(hash.to_string()));
        }
    }
    let name = object.meta().name.clone().unwrap_or_default();
    Ok(Child { kind, name, desired, hash })
}

/// Name, place, labels and owner of a child.
fn metadata(owner: &Owner, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(owner.namespace.clone()),
        labels: Some(labels(owner)),
        owner_references: Some(vec![OwnerReference {
            api_version: TradingBot::api_version(&()).into_owned(),
            kind: TradingBot::kind(&()).into_owned(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
            controller: Some(true),
            // Deletion in the foreground then does not wait for the pod, and no right to finalizers is needed.
            block_owner_deletion: None,
        }]),
        ..ObjectMeta::default()
    }
}

/// Metadata of a child that bears the bot's own name.
fn named_after(owner: &Owner) -> ObjectMeta {
    metadata(owner, contract::child_name(&owner.name))
}

fn labels(owner: &Owner) -> BTreeMap<String, String> {
    let mut labels = selector(owner);
    labels.insert("app.kubernetes.io/managed-by".into(), contract::MANAGED_BY.into());
    labels.insert("app.kubernetes.io/instance".into(), owner.name.clone());
    labels
}

/// What the bot was made with and keeps.
fn pinned(bot: &Validated) -> BTreeMap<String, String> {
    BTreeMap::from([
        (annotation::AGENT_IMAGE.to_owned(), bot.default_image.clone()),
        (annotation::DEFAULTS_VERSION.to_owned(), bot.defaults_version.to_string()),
    ])
}

/// The labels by which a bot's pods are found. They never change: a Deployment's selector cannot.
fn selector(owner: &Owner) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("app.kubernetes.io/name".to_owned(), "tradingbot-agent".to_owned()),
        (contract::LABEL_BOT.to_owned(), owner.name.clone()),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::validate::tests::validated;
    use super::*;

    #[test]
    fn equal_bots_make_equal_children_and_a_change_changes_only_what_it_concerns() {
        let (one, mut bot) = (build(&validated()).unwrap(), validated());
        assert_eq!(one, build(&bot).unwrap());
        bot.rendering.config.risk.confidence_floor = 71;
        let two = build(&bot).unwrap();
        let changed: Vec<_> =
            one.iter().zip(&two).filter(|(a, b)| a.hash != b.hash).map(|(a, _)| a.kind).collect();
        assert_eq!(changed, [ChildKind::ConfigMap], "a limit restarts no agent");
    }

    #[test]
    fn every_child_is_owned_labelled_and_free_of_what_the_api_server_would_drop() {
        fn no_blanks(path: &str, value: &Value) {
            match value {
                Value::Null => panic!("{path} is null"),
                Value::String(text) => {
                    assert!(!text.is_empty() || path.contains("apiGroups"), "{path} is empty")
                }
                Value::Array(list) => {
                    list.iter().enumerate().for_each(|(i, v)| no_blanks(&format!("{path}[{i}]"), v))
                }
                Value::Object(map) => map.iter().for_each(|(key, v)| no_blanks(&format!("{path}.{key}"), v)),
                _ => {}
            }
        }
        for child in build(&validated()).unwrap() {
            no_blanks(&child.name, &child.desired);
            let metadata = &child.desired["metadata"];
            assert_eq!(metadata["ownerReferences"][0]["uid"], validated().owner.uid);
            assert!(metadata["ownerReferences"][0].get("blockOwnerDeletion").is_none());
            assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], contract::MANAGED_BY);
            assert_eq!(metadata["labels"][contract::LABEL_BOT], "paper-btc");
        }
    }
}
