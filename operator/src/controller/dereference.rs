//! Stage one: what the cluster knows that a spec only names.
//!
//! Everything is read from what the watches hold; a reconcile costs no read of the API server.

use std::collections::BTreeSet;

use super::bot::{Bot, Owner};
use crate::watch::{ChildKind, Children, ConfigMaps, Seen};

/// What a bot's spec refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dereferenced {
    /// ConfigMaps of the bot's namespace that its replay feeds name and that do not exist.
    pub missing_config_maps: BTreeSet<String>,
    /// The agent's image that the bot's Deployment was made with.
    pub image_in_use: Option<String>,
    /// The version of the defaults that it was made with, as its Deployment says it.
    pub defaults_in_use: Option<String>,
    /// The hash of what an agent cannot change while it runs, as the bot's Deployment was made with it.
    pub restart_hash_in_use: Option<String>,
}

/// Looks up what the spec refers to.
pub fn dereference(bot: &Bot, owner: &Owner, children: &Children, config_maps: &ConfigMaps) -> Dereferenced {
    let deployment = children
        .get(ChildKind::Deployment, &owner.namespace, &crds::contract::child_name(&owner.name))
        .filter(|deployment| deployment.is_of(owner));
    let facts = deployment.as_ref().and_then(Seen::deployment);
    let noted = |noted: Option<&Box<str>>| noted.map(|noted| noted.clone().into_string());
    Dereferenced {
        missing_config_maps: bot
            .config_maps()
            .into_iter()
            .filter(|name| !config_maps.exists(&owner.namespace, name))
            .collect(),
        image_in_use: noted(facts.and_then(|facts| facts.agent_image.as_ref())),
        defaults_in_use: noted(facts.and_then(|facts| facts.defaults_version.as_ref())),
        restart_hash_in_use: noted(facts.and_then(|facts| facts.restart_hash.as_ref())),
    }
}
