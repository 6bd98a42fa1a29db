//! What is to be done about a child.

use crds::api::TradingBot;
use crds::contract::LABEL_BOT;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::DynamicObject;
use serde_json::Value;

use super::super::bot::Owner;
use super::super::build::{Child, annotation};
use super::project::project;
use crate::watch::{ChildKind, Write, version};

/// What is to be done about a child.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// It is as it should be.
    Nothing,
    /// Written a moment ago; the watch will show it.
    Wait,
    /// It is not there.
    Create,
    /// It differs.
    Update,
    /// It is on its way out.
    Terminating,
    /// It is someone else's.
    Collision,
}

/// Compares a child as it was built with what exists and with what this process wrote last.
pub fn decide(owner: &Owner, child: &Child, existing: Option<&DynamicObject>, write: Option<&Write>) -> Step {
    let Some(existing) = existing else {
        return match write {
            Some(write) if !write.is_doubtful() => Step::Wait,
            _ => Step::Create,
        };
    };
    if existing.metadata.deletion_timestamp.is_some() || is_of_namesake(&existing.metadata, owner) {
        return Step::Terminating;
    }
    if !is_ours(&existing.metadata, owner) {
        return Step::Collision;
    }
    let labelled = existing.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(LABEL_BOT));
    if child.kind == ChildKind::Lease && labelled {
        return Step::Nothing;
    }
    let write = write.filter(|write| existing.metadata.uid.as_ref() == Some(&write.uid));
    match write {
        Some(write) if write.version > version(&existing.metadata) => {
            if write.hash == child.hash {
                Step::Wait
            } else {
                Step::Update
            }
        }
        _ => {
            let part = projection(existing, child);
            let settled = write.is_some_and(|write| write.hash == child.hash && write.answer == part);
            if settled || part == child.desired { Step::Nothing } else { Step::Update }
        }
    }
}

/// The part of an object that was asked for.
pub fn projection(object: &DynamicObject, child: &Child) -> Value {
    let whole = serde_json::to_value(object).unwrap_or_default();
    let mut part = project(&whole, &child.desired);
    // Members of a list come without their type.
    for key in ["apiVersion", "kind"] {
        if let (Some(part), Some(wanted)) = (part.as_object_mut(), child.desired.get(key)) {
            part.insert(key.into(), wanted.clone());
        }
    }
    part
}

/// Whether the bot, this very one, controls an object.
pub fn is_ours(metadata: &ObjectMeta, owner: &Owner) -> bool {
    let mut references = metadata.owner_references.iter().flatten();
    match references.find(|reference| reference.controller == Some(true)) {
        Some(controller) => controller.uid == owner.uid,
        None => retained_for(metadata) == Some(owner.uid.as_str()),
    }
}

/// The UID of the bot that a claim without an owner was made for.
pub fn retained_for(metadata: &ObjectMeta) -> Option<&str> {
    metadata.annotations.as_ref()?.get(annotation::RETAINED_FOR).map(String::as_str)
}

/// Whether a bot of the same name that is gone controls an object. Garbage collection takes it away.
fn is_of_namesake(metadata: &ObjectMeta, owner: &Owner) -> bool {
    metadata.owner_references.iter().flatten().any(|reference| {
        reference.controller == Some(true)
            && reference.kind == TradingBot::kind(&())
            && reference.api_version == TradingBot::api_version(&())
            && reference.name == owner.name
            && reference.uid != owner.uid
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::build::build;
    use super::super::super::validate::tests::validated;
    use super::*;
    use serde_json::json;
    use std::time::{Duration, Instant};

    struct Bench {
        owner: Owner,
        child: Child,
    }

    impl Bench {
        fn new(kind: ChildKind) -> Self {
            let bot = validated();
            let child = build(&bot).unwrap().into_iter().find(|child| child.kind == kind).unwrap();
            Self { owner: bot.owner, child }
        }

        /// The child as the server has it, after a change.
        fn existing(&self, change: impl FnOnce(&mut Value)) -> DynamicObject {
            let mut object = self.child.desired.clone();
            object["metadata"]["uid"] = json!("child");
            object["metadata"]["resourceVersion"] = json!("10");
            change(&mut object);
            serde_json::from_value(object).unwrap()
        }

        fn written(&self, hash: &str, version: u64) -> Write {
            let answer = self.child.desired.clone();
            Write { hash: hash.into(), answer, version, uid: "child".into(), at: Instant::now() }
        }

        fn decide(&self, existing: Option<&DynamicObject>, write: Option<&Write>) -> Step {
            decide(&self.owner, &self.child, existing, write)
        }
    }

    #[test]
    fn what_is_absent_is_created_once() {
        let bench = Bench::new(ChildKind::Service);
        assert_eq!(bench.decide(None, None), Step::Create);
        let mut write = bench.written(&bench.child.hash, 10);
        assert_eq!(bench.decide(None, Some(&write)), Step::Wait);
        write.at = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        assert_eq!(bench.decide(None, Some(&write)), Step::Create, "the watch should have shown it");
    }

    #[test]
    fn what_exists_is_updated_only_when_it_differs() {
        let bench = Bench::new(ChildKind::Service);
        let same = bench.existing(|object| object["spec"]["clusterIP"] = json!("10.0.0.1"));
        assert_eq!(bench.decide(Some(&same), None), Step::Nothing);
        for change in [
            (|object: &mut Value| object["spec"]["ports"][0]["port"] = json!(1)) as fn(&mut Value),
            |object| object["metadata"]["labels"] = json!({}),
            |object| object["metadata"]["annotations"] = json!({}),
        ] {
            assert_eq!(bench.decide(Some(&bench.existing(change)), None), Step::Update);
        }
    }

    #[test]
    fn an_old_view_is_not_taken_for_drift() {
        let bench = Bench::new(ChildKind::Service);
        let old = bench.existing(|object| object["spec"]["ports"] = json!([]));
        assert_eq!(bench.decide(Some(&old), Some(&bench.written(&bench.child.hash, 11))), Step::Wait);
        assert_eq!(
            bench.decide(Some(&old), Some(&bench.written("other", 11))),
            Step::Update,
            "the spec moved on"
        );
        assert_eq!(
            bench.decide(Some(&old), Some(&bench.written(&bench.child.hash, 9))),
            Step::Update,
            "drift"
        );
    }

    #[test]
    fn what_the_server_makes_of_an_object_is_not_fought() {
        let bench = Bench::new(ChildKind::Service);
        let normalised = bench.existing(|object| object["spec"]["ports"][0]["port"] = json!(1));
        let mut write = bench.written(&bench.child.hash, 10);
        write.answer = projection(&normalised, &bench.child);
        assert_eq!(bench.decide(Some(&normalised), Some(&write)), Step::Nothing);
    }

    #[test]
    fn someone_elses_object_is_left_alone_and_one_on_its_way_out_is_waited_for() {
        let bench = Bench::new(ChildKind::Service);
        let with_owner =
            |owner: Value| bench.existing(|object| object["metadata"]["ownerReferences"] = owner);
        let mut owner = bench.child.desired["metadata"]["ownerReferences"][0].clone();
        assert_eq!(bench.decide(Some(&with_owner(json!([]))), None), Step::Collision);
        owner["uid"] = json!("former");
        assert_eq!(bench.decide(Some(&with_owner(json!([owner]))), None), Step::Terminating, "a namesake's");
        owner["name"] = json!("other-bot");
        assert_eq!(bench.decide(Some(&with_owner(json!([owner]))), None), Step::Collision);
        let going =
            bench.existing(|object| object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
        assert_eq!(bench.decide(Some(&going), None), Step::Terminating);
    }

    #[test]
    fn the_spec_of_a_lease_is_the_agents() {
        let bench = Bench::new(ChildKind::Lease);
        let held = bench.existing(|object| object["spec"] = json!({"holderIdentity": "pod"}));
        assert_eq!(bench.decide(Some(&held), None), Step::Nothing);
        let bare = bench.existing(|object| object["metadata"]["labels"] = json!({"mine": "no"}));
        assert_eq!(bench.decide(Some(&bare), None), Step::Update);
    }
}
