//! Stage one: what the cluster knows that a spec only names.
//!
//! Everything is read from what the watches hold; a reconcile costs no read of the API server.

use std::collections::BTreeSet;

use super::bot::{self, Bot, Owner};
use crate::watch::{ChildKind, Children, ConfigMaps, Pinned, Seen};

/// What a bot's spec refers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dereferenced {
    /// ConfigMaps of the bot's namespace that its replay feeds name and that do not exist.
    pub missing_config_maps: BTreeSet<String>,
    /// The agent's image that the bot was made with: its Deployment says it, or its ConfigMap where that is lost.
    pub image_in_use: Option<String>,
    /// The version of the defaults that it was made with, said in the same places.
    pub defaults_in_use: Option<String>,
    /// The hash of what an agent cannot change while it runs, as the bot's Deployment was made with it.
    pub restart_hash_in_use: Option<String>,
}

/// Looks up what the spec refers to.
pub fn dereference(bot: &Bot, owner: &Owner, children: &Children, config_maps: &ConfigMaps) -> Dereferenced {
    let noted = |noted: Option<Box<str>>| noted.map(Into::into);
    let Pinned { agent_image, defaults_version } = pinned(owner, children);
    let deployment = own(owner, children, ChildKind::Deployment);
    let facts = deployment.as_ref().and_then(Seen::deployment);
    Dereferenced {
        missing_config_maps: bot::config_maps(&bot.spec.read())
            .into_iter()
            .filter(|name| !config_maps.exists(&owner.namespace, name))
            .map(str::to_owned)
            .collect(),
        image_in_use: noted(agent_image),
        defaults_in_use: noted(defaults_version),
        restart_hash_in_use: noted(facts.and_then(|facts| facts.restart_hash.clone())),
    }
}

/// What the bot keeps. Who deletes a Deployment, or takes its labels away, asks for no other limits.
fn pinned(owner: &Owner, children: &Children) -> Pinned {
    let said =
        own(owner, children, ChildKind::Deployment).or_else(|| own(owner, children, ChildKind::ConfigMap));
    said.as_ref().and_then(Seen::pinned).cloned().unwrap_or_default()
}

fn own(owner: &Owner, children: &Children, kind: ChildKind) -> Option<Seen> {
    let child = children.get(kind, &owner.namespace, &crds::contract::child_name(&owner.name))?;
    child.is_of(owner).then_some(child)
}

#[cfg(test)]
mod tests {
    use super::super::build::{annotation, build};
    use super::super::validate::tests::validated;
    use super::*;
    use crate::watch::Unstructured;

    #[test]
    fn a_bot_whose_deployment_is_lost_keeps_its_image_and_its_defaults() {
        let bot = validated();
        let children = Children::default();
        let show = |kind: ChildKind, annotations: &[(&str, &str)]| {
            let child = build(&bot).unwrap().into_iter().find(|child| child.kind == kind).unwrap();
            let mut object: Unstructured = serde_json::from_value(child.desired).unwrap();
            let own = object.metadata.annotations.get_or_insert_default();
            own.retain(|key, _| {
                ![annotation::AGENT_IMAGE, annotation::DEFAULTS_VERSION].contains(&key.as_str())
            });
            own.extend(annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
            children.read(kind, &object);
        };
        let pins = || pinned(&bot.owner, &children);
        let kept = Pinned { agent_image: Some("kept:1".into()), defaults_version: Some("1".into()) };
        assert_eq!(pins(), Pinned::default(), "a new bot");
        show(
            ChildKind::ConfigMap,
            &[(annotation::AGENT_IMAGE, "kept:1"), (annotation::DEFAULTS_VERSION, "1")],
        );
        assert_eq!(pins(), kept, "its Deployment was deleted");
        show(ChildKind::Deployment, &[]);
        assert_eq!(pins(), Pinned::default(), "somebody asked for the newest");
    }
}
