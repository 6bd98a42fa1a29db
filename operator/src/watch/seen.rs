//! One object of a bot, in the few words that are kept of it.

use std::sync::Arc;

use crds::api::TradingBot;
use crds::contract::{LABEL_BOT, OPERATOR_MANAGER};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, OwnerReference};
use kube::Resource;
use serde_json::{Map, Value};

use super::content::METADATA;
use super::uid::Uid;
use super::{ChildKind, Digest, Unstructured, version};
use crate::controller::build::annotation;
use crate::controller::{Issued, Owner, Rollout};

/// An object as the cluster has it. Its content is kept only while nobody has compared it yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// UID of the object.
    pub uid: Uid,
    /// Its resource version.
    pub version: u64,
    /// It is on its way out.
    pub is_terminating: bool,
    /// What others read of it.
    pub facts: Facts,
    /// What its creation left behind in `managedFields`, unless that was converted.
    pub creation: Option<Creation>,
    /// The UID of the bot that it was made for, where it outlives that.
    pub retained_for: Option<Box<str>>,
    /// Where the API server made something else of what this process wrote.
    pub(super) settled: Option<Box<Settled>>,
    bot: Label,
    owners: Box<[Reference]>,
    digest: Digest,
    /// The digest that it says it has.
    named: Option<Digest>,
    /// The digest of the desired object whose equal it is known to be.
    pub(super) verified: Option<Digest>,
    /// Its content, as JSON.
    pub(super) content: Option<Arc<str>>,
}

/// The entry of an object's creation in `managedFields`, which says of each field of that time that it is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creation {
    /// Its place.
    pub place: u8,
    /// The object was applied since, so that there is an entry of that, too.
    pub is_applied: bool,
    /// The shape of every object that this process has desired since. None when that is not known, or when
    /// somebody else has written under our name.
    pub(super) shape: Option<Digest>,
    is_touched: bool,
}

/// What the server made of a desired object, in digests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settled {
    /// The object that was desired.
    pub desired: Digest,
    /// Its share of the answer.
    pub answer: Digest,
}

/// Facts that others read of an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Facts {
    /// Nothing.
    None,
    /// A Deployment's.
    Deployment(Box<DeploymentFacts>),
    /// A ConfigMap's.
    ConfigMap(Box<Pinned>),
    /// A Certificate's.
    Certificate(Box<Issued>),
}

/// What a bot was made with and keeps, whichever operator comes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pinned {
    /// The image of a bot that names none.
    pub agent_image: Option<Box<str>>,
    /// The version of the built-in defaults.
    pub defaults_version: Option<Box<str>>,
}

/// What is read of a Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct DeploymentFacts {
    /// How far it is.
    pub rollout: Rollout,
    /// What the bot keeps.
    pub pinned: Pinned,
    /// The Secret whose creation was answered.
    pub api_key_secret: Option<Box<str>>,
    /// The hash of what an agent cannot change while it runs, in the pod template.
    pub restart_hash: Option<Box<str>>,
}

/// The bot that a label names.
#[derive(Clone, Debug, PartialEq)]
enum Label {
    Absent,
    /// It bears the object's own name, as nearly always.
    SameName,
    Other(Box<str>),
}

#[derive(Clone, Debug, PartialEq)]
struct Reference {
    uid: Uid,
    is_controller: bool,
    /// The name in the label's terms, when the owner is a TradingBot.
    bot: Label,
}

/// How a change of an object matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Not at all: the echo of an own write, or something that nobody reads.
    Nothing,
    /// Others read something new; the content is what it was.
    Facts,
    /// The content is another one, or the object came or went.
    Content,
}

impl Seen {
    /// What is kept of an object.
    pub fn of(kind: ChildKind, object: &Unstructured) -> Self {
        let metadata = &object.metadata;
        let name = metadata.name.as_deref().unwrap_or_default();
        let label = |of: Option<&str>| match of {
            None => Label::Absent,
            Some(of) if of == name => Label::SameName,
            Some(of) => Label::Other(of.into()),
        };
        let bot = metadata.labels.as_ref().and_then(|labels| labels.get(LABEL_BOT));
        let annotations = metadata.annotations.as_ref();
        let annotated = |key| annotations.and_then(|annotations| annotations.get(key)).map(String::as_str);
        let named = annotated(annotation::DESIRED_HASH).and_then(Digest::parse);
        let digest = Digest::of_parts(kind, &metadata_of(object), &object.data);
        let is_consistent = named == Some(digest);
        Self {
            uid: metadata.uid.as_deref().unwrap_or_default().into(),
            version: version(metadata),
            is_terminating: metadata.deletion_timestamp.is_some(),
            facts: Facts::of(kind, object),
            creation: Creation::of(metadata),
            retained_for: annotated(annotation::RETAINED_FOR).map(Into::into),
            settled: None,
            bot: label(bot.map(String::as_str)),
            owners: metadata
                .owner_references
                .iter()
                .flatten()
                .map(|owner| Reference {
                    uid: owner.uid.as_str().into(),
                    is_controller: owner.controller == Some(true),
                    bot: label(is_bot(owner).then_some(owner.name.as_str())),
                })
                .collect(),
            digest,
            named,
            verified: named.filter(|_| is_consistent),
            content: (!is_consistent && kind != ChildKind::Lease).then(|| content(object).to_string().into()),
        }
    }

    /// Whether the bot, this very one, controls the object.
    pub fn is_controlled_by(&self, owner: &Owner) -> bool {
        self.owners.iter().any(|reference| reference.is_controller && reference.uid.is(&owner.uid))
    }

    /// Whether the object is the bot's, this very one's: that controls it, or nobody does and it was made for it.
    pub fn is_of(&self, owner: &Owner) -> bool {
        match self.owners.iter().find(|reference| reference.is_controller) {
            Some(controller) => controller.uid.is(&owner.uid),
            None => self.retained_for.as_deref() == Some(&owner.uid),
        }
    }

    /// Whether a bot of the same name that is gone controls the object, which bears the given name.
    pub fn is_of_namesake(&self, owner: &Owner, name: &str) -> bool {
        self.owners.iter().any(|reference| {
            reference.is_controller
                && reference.bot.get(name) == Some(&owner.name)
                && !reference.uid.is(&owner.uid)
        })
    }

    /// The bot whose label the object bears; its own name must be given.
    pub fn bot<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.bot.get(name)
    }

    /// Whether it is known to be what was desired.
    pub fn is_verified(&self, desired: Digest) -> bool {
        self.verified == Some(desired)
    }

    /// Its content, unless that is known to be what was once desired.
    pub fn content(&self) -> Option<Value> {
        serde_json::from_str(self.content.as_deref()?).ok()
    }

    /// Whether the share was the API server's answer when this was desired.
    pub fn is_settled(&self, desired: Digest, share: &Value) -> bool {
        self.settled.as_deref() == Some(&Settled { desired, answer: Digest::of_value(share) })
    }

    /// What is known of a Deployment.
    pub fn deployment(&self) -> Option<&DeploymentFacts> {
        match &self.facts {
            Facts::Deployment(facts) => Some(facts),
            Facts::None | Facts::ConfigMap(_) | Facts::Certificate(_) => None,
        }
    }

    /// What the bot keeps, as its Deployment or its ConfigMap says it.
    pub fn pinned(&self) -> Option<&Pinned> {
        match &self.facts {
            Facts::Deployment(facts) => Some(&facts.pinned),
            Facts::ConfigMap(pinned) => Some(pinned),
            Facts::None | Facts::Certificate(_) => None,
        }
    }

    /// What is known of a Certificate.
    pub fn certificate(&self) -> Option<&Issued> {
        match &self.facts {
            Facts::Certificate(issued) => Some(issued),
            Facts::None | Facts::ConfigMap(_) | Facts::Deployment(_) => None,
        }
    }

    /// The names of the bots whose object it is: the one that its label names, or all that own a Certificate. Its own
    /// name must be given.
    pub fn bots<'a>(&'a self, kind: ChildKind, name: &'a str) -> Vec<&'a str> {
        match kind {
            ChildKind::Certificate => self.bots_among_owners(name),
            _ => self.bot(name).into_iter().collect(),
        }
    }

    /// The names of the bots that own it; its own name must be given.
    pub fn bots_among_owners<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        self.owners.iter().filter_map(|reference| reference.bot.get(name)).collect()
    }

    /// The bots that own it; its own namespace and name must be given.
    pub fn owners(&self, namespace: &str, name: &str) -> Vec<Owner> {
        let owner = |reference: &Reference| {
            let bot = reference.bot.get(name)?.to_owned();
            Some(Owner { name: bot, namespace: namespace.to_owned(), uid: reference.uid.to_string() })
        };
        self.owners.iter().filter_map(owner).collect()
    }

    /// Where among its owners the bot is, and how many they are.
    pub fn place_among_owners(&self, owner: &Owner) -> Option<(usize, usize)> {
        let place = self.owners.iter().position(|reference| reference.uid.is(&owner.uid))?;
        Some((place, self.owners.len()))
    }

    /// Takes over what is known of an older state of the same object, and says what has changed since.
    pub(super) fn follow(&mut self, before: &Self) -> Change {
        if self.uid != before.uid {
            return Change::Content;
        }
        self.settled.clone_from(&before.settled);
        if let (Some(creation), Some(before)) = (&mut self.creation, before.creation) {
            creation.follow(before.shape);
        }
        let same = (self.digest, self.named, self.is_terminating, &self.owners, &self.bot)
            == (before.digest, before.named, before.is_terminating, &before.owners, &before.bot);
        if !same {
            return Change::Content;
        }
        self.verified = before.verified;
        if self.verified.is_some() {
            self.content = None;
        }
        if self.facts == before.facts { Change::Nothing } else { Change::Facts }
    }
}

impl Label {
    fn get<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        match self {
            Self::Absent => None,
            Self::SameName => Some(name),
            Self::Other(other) => Some(other),
        }
    }
}

impl Facts {
    fn of(kind: ChildKind, object: &Unstructured) -> Self {
        let annotated = |key| {
            let annotations = object.metadata.annotations.as_ref()?;
            annotations.get(key).map(|value| value.as_str().into())
        };
        let pinned = || Pinned {
            agent_image: annotated(annotation::AGENT_IMAGE),
            defaults_version: annotated(annotation::DEFAULTS_VERSION),
        };
        match kind {
            ChildKind::ConfigMap => Self::ConfigMap(Box::new(pinned())),
            ChildKind::Deployment => Self::Deployment(Box::new(DeploymentFacts {
                rollout: Rollout::of(Some(object)),
                pinned: pinned(),
                api_key_secret: annotated(annotation::API_KEY_SECRET),
                restart_hash: object
                    .data
                    .pointer("/spec/template/metadata/annotations")
                    .and_then(|annotations| annotations.get(annotation::RESTART_HASH)?.as_str())
                    .map(Into::into),
            })),
            ChildKind::Certificate => {
                let generation = object.metadata.generation;
                Self::Certificate(Box::new(Issued::of(generation, object.data.get("status"))))
            }
            _ => Self::None,
        }
    }
}

fn is_bot(owner: &OwnerReference) -> bool {
    owner.kind == TradingBot::kind(&()) && owner.api_version == TradingBot::api_version(&())
}

/// The metadata of an object that anybody compares.
pub fn metadata_of(Unstructured { metadata, .. }: &Unstructured) -> Value {
    let members = METADATA.map(|name| {
        let value = match name {
            "annotations" => serde_json::to_value(&metadata.annotations),
            "labels" => serde_json::to_value(&metadata.labels),
            "name" => serde_json::to_value(&metadata.name),
            "namespace" => serde_json::to_value(&metadata.namespace),
            _ => serde_json::to_value(&metadata.owner_references),
        };
        (name.to_owned(), value.unwrap_or_default())
    });
    Value::Object(Map::from_iter(members.into_iter().filter(|(_, value)| !value.is_null())))
}

/// The object without what nobody compares.
fn content(object: &Unstructured) -> Value {
    let data = object.data.as_object().into_iter().flatten().filter(|(name, _)| *name != "status");
    let mut content: Map<String, Value> = data.map(|(name, value)| (name.clone(), value.clone())).collect();
    content.insert("metadata".into(), metadata_of(object));
    Value::Object(content)
}

impl Creation {
    fn of(metadata: &ObjectMeta) -> Option<Self> {
        let entries = metadata.managed_fields.as_deref().unwrap_or_default();
        let of = |operation: &str, entry: &ManagedFieldsEntry| {
            entry.manager.as_deref() == Some(OPERATOR_MANAGER)
                && entry.operation.as_deref() == Some(operation)
                && entry.subresource.is_none()
        };
        let place = entries.iter().position(|entry| of("Update", entry))?;
        // The time of an entry moves when its manager writes, and not when others take its fields over.
        let is_touched = entries.get(place).map(|entry| &entry.time) != Some(&metadata.creation_timestamp);
        Some(Self {
            place: u8::try_from(place).ok()?,
            is_applied: entries.iter().any(|entry| of("Apply", entry)),
            shape: None,
            is_touched,
        })
    }

    /// Keeps the shape of what was desired.
    pub(super) fn follow(&mut self, shape: Option<Digest>) {
        self.shape = shape.filter(|_| !self.is_touched);
    }

    /// Whether every field that the entry names is one of a desired object of that shape.
    pub fn has_shape(self, shape: Digest) -> bool {
        self.shape == Some(shape)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::controller::build::annotation::DESIRED_HASH;
    use serde_json::json;

    /// An object with the digest that it names, after a change.
    pub(crate) fn service(version: u64, change: impl FnOnce(&mut Value)) -> Unstructured {
        let mut object = json!({
            "metadata": {"name": "a", "namespace": "n", "labels": {LABEL_BOT: "a"}},
            "spec": {"ports": [{"port": 1}]}
        });
        let digest = Digest::of(ChildKind::Service, &object);
        object["metadata"]["annotations"] = json!({DESIRED_HASH: digest.to_string()});
        object["metadata"]["uid"] = json!("u");
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        change(&mut object);
        serde_json::from_value(object).unwrap()
    }

    fn seen(version: u64, change: impl FnOnce(&mut Value)) -> Seen {
        Seen::of(ChildKind::Service, &service(version, change))
    }

    #[test]
    fn what_is_as_it_says_is_kept_without_its_content_and_anything_else_with_it() {
        let same = seen(1, |object| object["spec"]["clusterIP"] = json!("10.0.0.1"));
        assert!(same.verified.is_some() && same.content.is_none());
        for change in [
            (|object: &mut Value| object["spec"]["ports"][0]["port"] = json!(2)) as fn(&mut Value),
            |object| object["spec"]["externalName"] = json!("b"),
            |object| object["metadata"]["annotations"] = json!({}),
            |object| object["metadata"]["labels"]["new"] = json!("b"),
        ] {
            let changed = seen(2, change);
            assert!(changed.verified.is_none() && changed.content().is_some());
        }
    }

    #[test]
    fn only_a_change_of_content_is_one() {
        let before = seen(1, |_| ());
        let after = |change: fn(&mut Value)| {
            let mut after = seen(2, change);
            (after.follow(&before), after.verified.is_some())
        };
        assert_eq!(after(|_| ()), (Change::Nothing, true), "an echo");
        assert_eq!(after(|object| object["status"] = json!({"a": 1})), (Change::Nothing, true));
        assert_eq!(after(|object| object["spec"]["ports"] = json!([])), (Change::Content, false));
        assert_eq!(after(|object| object["metadata"]["annotations"] = json!({})), (Change::Content, false));
        assert_eq!(after(|object| object["metadata"]["uid"] = json!("v")), (Change::Content, true));
        assert_eq!(
            after(|object| object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")).0,
            Change::Content
        );
    }

    #[test]
    fn what_was_compared_in_full_stays_known_until_it_changes() {
        let foreign = |object: &mut Value| object["spec"]["externalName"] = json!("b");
        let mut before = seen(1, foreign);
        before.verified = Some(Digest::parse("1").unwrap());
        let mut after = seen(2, foreign);
        assert_eq!(after.follow(&before), Change::Nothing);
        assert!(after.is_verified(Digest::parse("1").unwrap()) && after.content.is_none());
    }

    #[test]
    fn a_deployment_tells_how_far_it_is() {
        let of = |available: i32| {
            let status =
                json!({"observedGeneration": 1, "updatedReplicas": 1, "availableReplicas": available});
            let metadata =
                json!({"name": "a", "generation": 1, "annotations": {annotation::AGENT_IMAGE: "i"}});
            let object = serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap();
            Seen::of(ChildKind::Deployment, &object)
        };
        let (before, mut after) = (of(0), of(1));
        assert_eq!(after.follow(&before), Change::Facts);
        let facts = after.deployment().unwrap();
        assert_eq!((&facts.rollout, facts.pinned.agent_image.as_deref()), (&Rollout::Available, Some("i")));
    }

    #[test]
    fn the_entry_of_the_creation_is_found_and_counts_while_nobody_else_wrote_under_its_name() {
        let (made, later) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z");
        let ours = |operation: &str, time: &str| json!({"manager": OPERATOR_MANAGER, "operation": operation, "time": time});
        let found = |entries: Value| {
            let metadata = json!({"creationTimestamp": made, "managedFields": entries});
            let mut found = Creation::of(&serde_json::from_value(metadata).unwrap())?;
            let shape = Digest::parse("1").unwrap();
            found.follow(Some(shape));
            Some((found.place, found.is_applied, found.has_shape(shape)))
        };
        let kubectl = json!({"manager": "kubectl", "operation": "Update", "time": later});
        let mut status = ours("Update", later);
        status["subresource"] = json!("status");
        let entries = json!([kubectl, status, ours("Update", made)]);
        assert_eq!(found(entries), Some((2, false, true)));
        assert_eq!(found(json!([ours("Apply", later), ours("Update", made)])), Some((1, true, true)));
        assert_eq!(found(json!([ours("Update", later)])), Some((0, false, false)), "it was written again");
        assert_eq!(found(json!([ours("Apply", made)])), None);
    }
}
