//! What the operator knows of the cluster: one watch per kind, and what each makes it look at again.

mod bots;
mod cause;
mod child_kind;
mod children;
mod config_maps;
mod content;
mod hosts;
mod leases;
mod names;
mod optional;
mod pods;
mod scope;
mod secrets;
mod seen;
mod uid;
mod unstructured;

use std::sync::Arc;

use futures::channel::mpsc;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::runtime::reflector::Store;

use crate::controller::{BotRef, Guarded};

pub use bots::BotWatch;
pub use cause::{Cause, Causes};
pub use child_kind::ChildKind;
#[cfg(test)]
pub(crate) use children::tests;
pub use children::{Children, Shown};
pub use config_maps::ConfigMaps;
pub use content::{Digest, quantity};
pub use hosts::{HostConflict, Hosts};
pub use leases::{Connection, Leases};
pub use pods::Pods;
pub use scope::{Events, Scope};
pub use secrets::Secrets;
pub use seen::{Change, Creation, DeploymentFacts, Facts, Pinned, Seen, metadata_of};
pub use uid::Uid;
pub use unstructured::{Unstructured, metadata};

/// Asks the controller to look at bots again.
#[derive(Clone, Debug)]
pub struct Triggers {
    sender: mpsc::UnboundedSender<BotRef>,
    bots: Store<Guarded>,
    causes: Arc<Causes>,
}

impl Triggers {
    /// A sender, and the stream for the controller.
    pub fn new(bots: Store<Guarded>) -> (Self, mpsc::UnboundedReceiver<BotRef>) {
        let (sender, receiver) = mpsc::unbounded();
        (Self { sender, bots, causes: Arc::default() }, receiver)
    }

    /// What the bots wait with.
    pub fn causes(&self) -> Arc<Causes> {
        Arc::clone(&self.causes)
    }

    /// Whether there is such a bot.
    pub fn knows(&self, bot: &BotRef) -> bool {
        self.bots.get(bot).is_some()
    }

    /// The UID of a bot, if there is such a one.
    pub fn uid(&self, bot: &BotRef) -> Option<String> {
        self.bots.get(bot)?.meta().uid.clone()
    }

    /// One bot. A bot that does not exist is no error: its last children may outlive it.
    pub fn one(&self, bot: BotRef, cause: Cause) {
        if !self.knows(&bot) {
            return;
        }
        self.causes.add(bot.clone(), cause);
        // The receiver is gone only when the process ends.
        self.sender.unbounded_send(bot).ok();
    }

    /// The bot whose label an object bears.
    pub fn owner_of(&self, metadata: &ObjectMeta, cause: Cause) {
        let name = metadata.labels.as_ref().and_then(|labels| labels.get(crds::contract::LABEL_BOT));
        if let (Some(name), Some(namespace)) = (name, &metadata.namespace) {
            self.one(BotRef::new(name).within(namespace), cause);
        }
    }

    /// Every bot that the predicate picks.
    pub fn each(&self, pick: impl Fn(&Guarded) -> bool, cause: Cause) {
        for bot in self.bots.state_filter(pick) {
            self.one(BotRef::from_obj(&bot), cause);
        }
    }
}

/// A resource version as a number. They are compared within one kind only, where they order.
pub fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}
