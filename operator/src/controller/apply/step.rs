//! What is to be done about a child.

use serde_json::{Value, json};

use super::super::bot::Owner;
use super::super::build::Child;
use super::project::project;
use crate::watch::{ChildKind, Seen, Shown, Uid, Unstructured, metadata_of, quantity};

/// What is to be done about a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is as it should be.
    Nothing,
    /// It is as it should be, which took a look at all of it.
    Remember,
    /// Written a moment ago; the watch will show it.
    Wait,
    /// It is not there.
    Create,
    /// It differs.
    Update,
    /// It is on its way out.
    Terminating,
    /// It was a former bot's of the same name.
    Replace,
    /// It is someone else's.
    Collision,
}

/// Where a claim says how much room it asks for.
const SIZE: &str = "/spec/resources/requests/storage";

/// Compares a child as it was built with what exists.
pub fn decide(owner: &Owner, child: &Child, existing: Option<&Seen>, shown: Shown) -> Step {
    let Some(existing) = existing.filter(|_| shown != Shown::Overdue) else { return Step::Create };
    if existing.is_terminating {
        return Step::Terminating;
    }
    if existing.is_of_namesake(owner, &child.name) {
        return Step::Replace;
    }
    let is_ours = match child.kind {
        // It is shared: any bot's is ours, and the list of its owners is part of what is desired.
        ChildKind::Certificate => !existing.bots_among_owners(&child.name).is_empty(),
        _ => existing.is_of(owner),
    };
    if !is_ours {
        return Step::Collision;
    }
    // Its spec is the agent's.
    let is_fine = child.kind == ChildKind::Lease && existing.bot(&child.name) == Some(&owner.name);
    if is_fine || existing.is_verified(child.hash) {
        return if shown == Shown::Yes { Step::Nothing } else { Step::Wait };
    }
    // What is known to be what was once desired differs from what is desired now.
    match existing.content() {
        Some(content) => {
            let share = share(&content, child);
            let is_same = share == child.desired || existing.is_settled(child.hash, &share);
            if is_same { Step::Remember } else { Step::Update }
        }
        None => Step::Update,
    }
}

/// The part of an object that was asked for.
pub fn share_of(object: &Unstructured, child: &Child) -> Value {
    let mut part = share(&object.data, child);
    if let (Some(part), Some(wanted)) = (part.as_object_mut(), child.desired.get("metadata")) {
        part.insert("metadata".into(), project(&metadata_of(object), wanted));
    }
    part
}

fn share(content: &Value, child: &Child) -> Value {
    let mut part = project(content, &child.desired);
    // Members of a list come without their type.
    for key in ["apiVersion", "kind"] {
        if let (Some(part), Some(wanted)) = (part.as_object_mut(), child.desired.get(key)) {
            part.insert(key.into(), wanted.clone());
        }
    }
    if let (true, Some(size)) = (grown(content, child).is_some(), part.pointer_mut(SIZE)) {
        *size = child.desired.pointer(SIZE).cloned().unwrap_or_default();
    }
    part
}

/// What is applied to the child that exists, which has that UID and that content.
pub fn to_apply(child: &Child, uid: &Uid, content: &Value) -> Value {
    let mut desired = child.desired.clone();
    if let (Some(size), Some(wanted)) = (grown(content, child), desired.pointer_mut(SIZE)) {
        *wanted = size.clone();
    }
    // Not to one that was made anew under the same name since it was looked at.
    if let Some(metadata) = desired.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("uid".into(), json!(uid.to_string()));
    }
    desired
}

/// The size of a claim that is larger than what was asked for. Somebody has grown it, and it cannot shrink.
fn grown<'a>(content: &'a Value, child: &Child) -> Option<&'a Value> {
    let size = content.pointer(SIZE).filter(|_| child.kind == ChildKind::JournalClaim)?;
    let is_larger = quantity(size)? > quantity(child.desired.pointer(SIZE)?)?;
    is_larger.then_some(size)
}

#[cfg(test)]
mod tests {
    use super::super::super::build::build;
    use super::super::super::validate::tests::exposed;
    use super::*;
    use crate::controller::build::annotation;
    use crate::watch::{Children, Digest};
    use crds::contract::LABEL_BOT;

    struct Bench {
        owner: Owner,
        child: Child,
    }

    impl Bench {
        fn new(kind: ChildKind) -> Self {
            let bot = exposed(json!({
                "host": "bots.example.com", "ingress": {},
                "tls": {"secretName": "bots-tls", "issuerRef": {"kind": "Issuer", "name": "ca"}}
            }));
            let child = build(&bot).unwrap().into_iter().find(|child| child.kind == kind).unwrap();
            Self { owner: bot.owner, child }
        }

        /// The child as the server has it, after a change.
        fn object(&self, change: impl FnOnce(&mut Value)) -> Unstructured {
            let mut object = self.child.desired.clone();
            object["metadata"]["uid"] = json!("child");
            object["metadata"]["resourceVersion"] = json!("10");
            change(&mut object);
            serde_json::from_value(object).unwrap()
        }

        fn decide(&self, change: impl FnOnce(&mut Value)) -> Step {
            let seen = Seen::of(self.child.kind, &self.object(change));
            decide(&self.owner, &self.child, Some(&seen), Shown::Yes)
        }
    }

    #[test]
    fn what_is_absent_or_doubted_is_created() {
        let bench = Bench::new(ChildKind::Service);
        assert_eq!(decide(&bench.owner, &bench.child, None, Shown::Yes), Step::Create);
        let seen = Seen::of(bench.child.kind, &bench.object(|_| ()));
        for (shown, step) in
            [(Shown::Yes, Step::Nothing), (Shown::NotYet, Step::Wait), (Shown::Overdue, Step::Create)]
        {
            assert_eq!(decide(&bench.owner, &bench.child, Some(&seen), shown), step);
        }
    }

    #[test]
    fn what_exists_is_updated_only_when_it_differs() {
        for kind in ChildKind::WATCHED.into_iter().filter(|kind| *kind != ChildKind::Lease) {
            let bench = Bench::new(kind);
            assert_eq!(bench.decide(|_| ()), Step::Nothing, "{kind:?}");
            assert_eq!(bench.decide(|object| object["status"] = json!({"any": 1})), Step::Nothing);
            let with_label = |object: &mut Value| object["metadata"]["labels"]["mine"] = json!("x");
            assert_eq!(bench.decide(with_label), Step::Remember, "a label of a person");
            assert_eq!(bench.decide(|object| object["metadata"]["labels"] = json!({})), Step::Update);
            assert_eq!(bench.decide(|object| object["metadata"]["annotations"] = json!({})), Step::Update);
        }
        let bench = Bench::new(ChildKind::Service);
        assert_eq!(bench.decide(|object| object["spec"]["clusterIP"] = json!("10.0.0.1")), Step::Nothing);
        assert_eq!(bench.decide(|object| object["spec"]["ports"][0]["port"] = json!(1)), Step::Update);
    }

    #[test]
    fn a_certificate_is_ours_when_any_bot_owns_it_and_its_owners_are_part_of_it() {
        let bench = Bench::new(ChildKind::Certificate);
        assert_eq!(bench.decide(|_| ()), Step::Nothing);
        let owners = |object: &mut Value, more: Value| {
            let list = object["metadata"]["ownerReferences"].as_array_mut().unwrap();
            let mut other = list[0].clone();
            other["name"] = json!("other");
            other["uid"] = json!("other");
            *list = serde_json::from_value(more).unwrap();
            list.push(other);
        };
        assert_eq!(bench.decide(|object| owners(object, json!([]))), Step::Update, "another bot's");
        let own = bench.child.desired["metadata"]["ownerReferences"].clone();
        assert_eq!(bench.decide(|object| owners(object, own)), Step::Update, "one that has gone");
        let nobodys = |object: &mut Value| object["metadata"]["ownerReferences"] = json!([]);
        assert_eq!(bench.decide(nobodys), Step::Collision);
    }

    #[test]
    fn of_a_lease_only_the_label_that_names_its_bot_counts() {
        let bench = Bench::new(ChildKind::Lease);
        assert_eq!(bench.decide(|lease| lease["spec"]["holderIdentity"] = json!("pod")), Step::Nothing);
        assert_eq!(bench.decide(|lease| lease["metadata"]["labels"]["mine"] = json!("x")), Step::Nothing);
        let others = |lease: &mut Value| lease["metadata"]["labels"][LABEL_BOT] = json!("other");
        assert_eq!(bench.decide(others), Step::Update);
    }

    #[test]
    fn a_claim_that_somebody_has_grown_keeps_its_size_and_one_that_is_smaller_is_grown() {
        let bench = Bench::new(ChildKind::JournalClaim);
        let sized = |size: &str| {
            let size = json!(size);
            move |claim: &mut Value| claim["spec"]["resources"]["requests"]["storage"] = size
        };
        assert_eq!(bench.decide(sized("500Gi")), Step::Remember);
        assert_eq!(bench.decide(sized("1Mi")), Step::Update);
        let applied = |change: &dyn Fn(&mut Value)| {
            let seen = Seen::of(bench.child.kind, &bench.object(change));
            to_apply(&bench.child, &seen.uid, &seen.content().unwrap()).pointer(SIZE).cloned()
        };
        let unlabelled = |claim: &mut Value| {
            sized("500Gi")(claim);
            claim["metadata"]["labels"] = json!({});
        };
        assert_eq!(bench.decide(unlabelled), Step::Update);
        assert_eq!(applied(&unlabelled), Some(json!("500Gi")));
        let smaller = |claim: &mut Value| sized("1Mi")(claim);
        assert_eq!(applied(&smaller), bench.child.desired.pointer(SIZE).cloned());
    }

    #[test]
    fn what_was_once_desired_is_updated_without_a_look_at_it() {
        let mut bench = Bench::new(ChildKind::Service);
        let seen = Seen::of(bench.child.kind, &bench.object(|_| ()));
        bench.child.hash = Digest::parse("1").unwrap();
        assert!(seen.content().is_none());
        assert_eq!(decide(&bench.owner, &bench.child, Some(&seen), Shown::NotYet), Step::Update);
    }

    #[test]
    fn what_the_server_makes_of_an_object_is_not_fought() {
        let bench = Bench::new(ChildKind::Service);
        let children = Children::default();
        let step = |children: &Children| {
            let seen = children.get(ChildKind::Service, &bench.owner.namespace, &bench.child.name);
            decide(&bench.owner, &bench.child, seen.as_ref(), Shown::Yes)
        };
        let mutated = |version: &str| {
            bench.object(|object| {
                object["spec"]["ports"][0]["port"] = json!(1);
                object["metadata"]["resourceVersion"] = json!(version);
            })
        };
        let share = Digest::of_value(&share_of(&mutated("10"), &bench.child));
        let hash = bench.child.hash;
        children.written(ChildKind::Service, hash, hash, &mutated("10"), Some(share));
        assert_eq!(step(&children), Step::Nothing);
        let mut touched = mutated("11");
        touched.metadata.labels.as_mut().unwrap().insert("mine".into(), "x".into());
        children.read(ChildKind::Service, &touched);
        assert_eq!(step(&children), Step::Remember, "somebody added something else");
        let drifted = bench.object(|object| {
            object["spec"]["ports"][0]["port"] = json!(2);
            object["metadata"]["resourceVersion"] = json!("12");
        });
        children.read(ChildKind::Service, &drifted);
        assert_eq!(step(&children), Step::Update, "somebody changed it");
    }

    #[test]
    fn someone_elses_object_is_left_alone_and_one_on_its_way_out_is_waited_for() {
        let bench = Bench::new(ChildKind::Service);
        let with_owner = |owner: Value| bench.decide(|object| object["metadata"]["ownerReferences"] = owner);
        let mut owner = bench.child.desired["metadata"]["ownerReferences"][0].clone();
        assert_eq!(with_owner(json!([])), Step::Collision);
        owner["uid"] = json!("former");
        assert_eq!(with_owner(json!([owner])), Step::Replace, "a namesake's");
        owner["name"] = json!("other-bot");
        assert_eq!(with_owner(json!([owner])), Step::Collision);
        let going =
            |object: &mut Value| object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(bench.decide(going), Step::Terminating);
    }

    #[test]
    fn a_claim_without_an_owner_is_the_bots_that_it_was_made_for() {
        let bench = Bench::new(ChildKind::JournalClaim);
        let kept_for = |uid: &str| {
            bench.decide(|object| {
                object["metadata"]["ownerReferences"] = json!([]);
                object["metadata"]["annotations"][annotation::RETAINED_FOR] = json!(uid);
            })
        };
        assert_eq!(kept_for(&bench.owner.uid), Step::Update);
        assert_eq!(kept_for("former"), Step::Collision);
    }

    #[test]
    fn the_spec_of_a_lease_is_the_agents() {
        let bench = Bench::new(ChildKind::Lease);
        assert_eq!(bench.decide(|object| object["spec"] = json!({"holderIdentity": "pod"})), Step::Nothing);
        assert_eq!(bench.decide(|object| object["metadata"]["labels"] = json!({"mine": "no"})), Step::Update);
    }
}
