//! Stage one: what the cluster knows that a spec only names.
//!
//! Everything is read from what the watches hold; a reconcile costs no read of the API server.

use std::collections::BTreeSet;

use kube::ResourceExt;

use super::bot::{Bot, Owner};
use super::build::annotation;
use crate::watch::{ChildKind, Children, ConfigMaps};

/// What a bot's spec refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dereferenced {
    /// ConfigMaps of the bot's namespace that its replay feeds name and that do not exist.
    pub missing_config_maps: BTreeSet<String>,
    /// The agent's image that the bot's Deployment was made with.
    pub image_in_use: Option<String>,
    /// The version of the defaults that it was made with, as its Deployment says it.
    pub defaults_in_use: Option<String>,
}

/// Looks up what the spec refers to.
pub fn dereference(bot: &Bot, owner: &Owner, children: &Children, config_maps: &ConfigMaps) -> Dereferenced {
    let deployment = children
        .get(ChildKind::Deployment, &owner.namespace, &crds::contract::child_name(&owner.name))
        .filter(|deployment| super::apply::is_ours(&deployment.metadata, owner));
    let noted = |key: &str| deployment.as_ref()?.annotations().get(key).cloned();
    Dereferenced {
        missing_config_maps: bot
            .config_maps()
            .into_iter()
            .filter(|name| !config_maps.exists(&owner.namespace, name))
            .collect(),
        image_in_use: noted(annotation::AGENT_IMAGE),
        defaults_in_use: noted(annotation::DEFAULTS_VERSION),
    }
}
