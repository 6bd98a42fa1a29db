//! Stage four: makes the cluster's children those that were built, with as few writes as it takes.
//!
//! What is absent is created by POST. What exists is applied server-side, forced, and only when it
//! differs. What belongs to someone else is never touched. What a former bot of the same name left behind
//! is deleted first, and what this one no longer asks for is deleted last.

mod error;
mod project;
mod step;

use std::time::Duration;

use crds::contract::{OPERATOR_MANAGER, api_secret_name, child_name};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Request;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tracing::info;

use super::bot::{Guarded, Owner};
use super::build::{self, Child, Keys};
use crate::metrics::Metrics;
use crate::watch::{
    ChildKind, Children, Connection, Creation, Digest, Leases, Pods, Secrets, Seen, Shown, Unstructured,
};
use error::{collision, failed, terminating};
use step::{Step, decide, share_of, to_apply};

pub use error::{ApplyError, words};

/// Where a Deployment says how its pods are replaced.
const STRATEGY: &str = "/spec/strategy";

/// The field manager of what is taken away before an apply.
const REPAIRER: &str = "tradingbot-operator-repair";

/// A child that was written and not seen since is looked for after so long.
const LOOK_AGAIN: Duration = Duration::from_secs(11);

/// What a reconcile left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// When to look again for a child that was written and not seen since.
    pub look_again: Option<Duration>,
}

/// Writes children.
pub struct Applier<'a> {
    /// The API server.
    pub client: &'a Client,
    /// What exists.
    pub children: &'a Children,
    /// The bot was brought into its state before: what is missing was taken away since.
    pub is_known: bool,
    /// Who has pods.
    pub pods: &'a Pods,
    /// Who trades.
    pub leases: &'a Leases,
    /// Which Secrets were created.
    pub secrets: &'a Secrets,
    /// Counts the writes.
    pub metrics: &'a Metrics,
}

impl Applier<'_> {
    /// Brings every child of a bot into the state that was built, the Deployment last, and deletes what is
    /// no longer asked for.
    ///
    /// # Errors
    /// At the first child that cannot be; those before it are done. Of a claim whose change is refused, after all
    /// others.
    pub async fn apply(&self, owner: &Owner, children: &[Child]) -> Result<Applied, ApplyError> {
        self.clear(owner).await?;
        let mut applied = Applied::default();
        let mut refused = None;
        for child in children {
            if child.kind == ChildKind::Deployment {
                self.secret(owner).await?;
            }
            match self.apply_one(owner, child).await {
                Ok(look_again) => applied.look_again = look_again.or(applied.look_again),
                // A claim that may not grow, of which nothing else depends.
                Err(error) if error.is_refused_change(ChildKind::JournalClaim) => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        self.sweep(owner, children).await?;
        self.leave(owner, children).await?;
        refused.map_or(Ok(applied), Err)
    }

    /// Brings one child into the state that was built; when to look again for what was not seen since.
    ///
    /// # Errors
    /// When it cannot be.
    pub async fn apply_one(&self, owner: &Owner, child: &Child) -> Result<Option<Duration>, ApplyError> {
        let existing = self.children.get(child.kind, &owner.namespace, &child.name);
        let shown = self.children.shown(child.kind, &owner.namespace, &child.name);
        match (decide(owner, child, existing.as_ref(), shown), &existing) {
            (Step::Create, _) if self.is_lost(owner, child) => {
                if !self.adopt(owner, child).await? {
                    return Err(ApplyError::ClaimLost { name: child.name.clone() });
                }
            }
            (Step::Create, _) => self.create(owner, child).await?,
            (Step::Update, Some(existing)) => self.update(owner, child, existing).await?,
            (Step::Replace, Some(existing)) => {
                self.delete(owner, child.kind, &child.name, existing).await?;
                self.create(owner, child).await?;
            }
            (Step::Terminating, _) => return Err(terminating(child.kind, &child.name)),
            (Step::Collision, Some(existing)) => return Err(collision(child, existing)),
            (Step::Wait, _) => return Ok(Some(LOOK_AGAIN)),
            (Step::Remember, Some(existing)) => self.remember(owner, child, existing.version),
            (Step::Nothing | Step::Update | Step::Replace | Step::Remember | Step::Collision, _) => {}
        }
        Ok(None)
    }

    /// Deletes what a former bot of the same name left behind and garbage collection has not reached, the
    /// Deployment first: a claim does not go while its pod runs.
    async fn clear(&self, owner: &Owner) -> Result<(), ApplyError> {
        for (kind, name, seen) in self.children.of_bot(&owner.namespace, &owner.name) {
            if seen.is_of_namesake(owner, &name) && !seen.is_terminating {
                self.delete(owner, kind, &name, &seen).await.or_else(|error| match error {
                    // Those that are waited for are found again in their turn.
                    ApplyError::Terminating { .. } => Ok(()),
                    error => Err(error),
                })?;
            }
        }
        Ok(())
    }

    /// Deletes what bears the bot's label, is controlled by it, and is not asked for: the child of a choice
    /// that was taken back, or a copy that someone made. A second Deployment would be a second trader.
    async fn sweep(&self, owner: &Owner, children: &[Child]) -> Result<(), ApplyError> {
        for (kind, name, seen) in self.children.of_bot(&owner.namespace, &owner.name) {
            let is_wanted = children.iter().any(|child| child.kind == kind && *child.name == *name);
            if !is_wanted && seen.is_controlled_by(owner) && !seen.is_terminating {
                match self.delete(owner, kind, &name, &seen).await {
                    // It is not to be made anew, so nothing waits for it.
                    Ok(()) | Err(ApplyError::Terminating { .. }) => {
                        info!(namespace = owner.namespace, bot = owner.name, kind = kind.as_str(), %name, "deleted an orphan");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Takes the bot from among the owners of Certificates that it does not use any more; the last one deletes.
    async fn leave(&self, owner: &Owner, children: &[Child]) -> Result<(), ApplyError> {
        let kind = ChildKind::Certificate;
        for (name, seen) in self.children.certificates_of(owner) {
            let is_wanted = children.iter().any(|child| child.kind == kind && *child.name == *name);
            let Some((place, count)) = seen.place_among_owners(owner) else { continue };
            if is_wanted || seen.is_terminating {
                continue;
            }
            info!(namespace = owner.namespace, bot = owner.name, certificate = %name, last = count == 1, "left a certificate");
            if count == 1 {
                match self.delete(owner, kind, &name, &seen).await {
                    Ok(()) | Err(ApplyError::Terminating { .. }) => continue,
                    Err(error) => return Err(error),
                }
            }
            let reference = format!("/metadata/ownerReferences/{place}");
            let operations = json!([
                {"op": "test", "path": "/metadata/uid", "value": seen.uid.to_string()},
                {"op": "test", "path": format!("{reference}/uid"), "value": owner.uid},
                {"op": "remove", "path": reference},
            ]);
            match self.patch(owner, kind, &name, OPERATOR_MANAGER, operations).await {
                Ok(answer) => self.children.read(kind, &answer),
                // Gone, or its owners changed: the watch shows it.
                Err(kube::Error::Api(status)) if status.is_not_found() || status.is_invalid() => {}
                Err(source) => return Err(failed("updating", kind, &name, source)),
            }
        }
        Ok(())
    }

    /// Deletes this very object.
    async fn delete(
        &self,
        owner: &Owner,
        kind: ChildKind,
        name: &str,
        seen: &Seen,
    ) -> Result<(), ApplyError> {
        let only_this = Preconditions { uid: Some(seen.uid.to_string()), resource_version: None };
        let parameters = DeleteParams::background().preconditions(only_this);
        self.metrics.call(kind.as_str(), "delete");
        match self.api(owner, kind).delete(name, &parameters).await {
            Ok(answer) => {
                let finalizers = answer.left().and_then(|object| object.metadata.finalizers);
                if finalizers.is_some_and(|finalizers| !finalizers.is_empty()) {
                    return Err(terminating(kind, name));
                }
            }
            // It is gone, and so is the object that the precondition spared.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(source) => return Err(failed("deleting", kind, name, source)),
        }
        self.children.deleted(kind, &owner.namespace, name, &seen.uid);
        Ok(())
    }

    /// Whether an absent claim is one that a running agent writes to: a new one would hide that its journal
    /// is lost with the pod.
    fn is_lost(&self, owner: &Owner, child: &Child) -> bool {
        child.kind == ChildKind::JournalClaim
            && self.leases.connection(&owner.namespace, &owner.name) == Connection::Live
    }

    async fn create(&self, owner: &Owner, child: &Child) -> Result<(), ApplyError> {
        if self.is_known {
            self.bot_stays(owner).await?;
        }
        let mut desired = child.desired.clone();
        if child.kind == ChildKind::Lease && self.agent_may_be_at_work(owner) {
            let spec = serde_json::to_value(build::held_by_unknown(Timestamp::now())).unwrap_or_default();
            if let Some(object) = desired.as_object_mut() {
                object.insert("spec".into(), spec);
            }
        }
        // Once more when what was in the way was a former bot's.
        for _ in 0..2 {
            match self.post(owner, child.kind, &desired).await {
                Ok(answer) => {
                    self.keep(child, &answer);
                    return Ok(());
                }
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    if self.adopt(owner, child).await? {
                        return Ok(());
                    }
                }
                Err(source) => return Err(failed("creating", child.kind, &child.name, source)),
            }
        }
        Err(terminating(child.kind, &child.name))
    }

    /// Children of a bot that is being deleted go one by one, and their watches may be ahead of the bot's: what
    /// is missing is made anew only when the API server says that the bot stays.
    async fn bot_stays(&self, owner: &Owner) -> Result<(), ApplyError> {
        let bots: Api<Guarded> = Api::namespaced(self.client.clone(), &owner.namespace);
        self.metrics.call("TradingBot", "get");
        let bot = bots.get_metadata_opt(&owner.name).await.map_err(|source| ApplyError::Api {
            verb: "reading",
            kind: "TradingBot",
            name: owner.name.clone(),
            source: Box::new(source),
        })?;
        let stays = |metadata: &ObjectMeta| {
            metadata.uid.as_deref() == Some(&owner.uid) && metadata.deletion_timestamp.is_none()
        };
        if bot.is_some_and(|bot| stays(&bot.metadata)) { Ok(()) } else { Err(ApplyError::BotEnding) }
    }

    /// The watch did not show it, and it exists: it lost its labels, or it is someone else's. False when
    /// nothing is in the way any more.
    async fn adopt(&self, owner: &Owner, child: &Child) -> Result<bool, ApplyError> {
        self.metrics.call(child.kind.as_str(), "get");
        let existing = self
            .api(owner, child.kind)
            .get_opt(&child.name)
            .await
            .map_err(|source| failed("reading", child.kind, &child.name, source))?;
        let Some(existing) = existing else { return Ok(false) };
        let seen = Seen::of(child.kind, &existing);
        match decide(owner, child, Some(&seen), Shown::Yes) {
            Step::Terminating => Err(terminating(child.kind, &child.name)),
            Step::Collision => Err(collision(child, &seen)),
            Step::Replace => self.delete(owner, child.kind, &child.name, &seen).await.map(|()| false),
            // Of a Lease only its labels are the operator's, and some of those are lost.
            Step::Nothing | Step::Remember
                if child.kind != ChildKind::Lease || seen.is_verified(child.hash) =>
            {
                self.children.read(child.kind, &existing);
                self.remember(owner, child, seen.version);
                Ok(true)
            }
            Step::Nothing | Step::Remember | Step::Update | Step::Create | Step::Wait => {
                self.update(owner, child, &seen).await?;
                Ok(true)
            }
        }
    }

    async fn update(&self, owner: &Owner, child: &Child, existing: &Seen) -> Result<(), ApplyError> {
        let api = self.api(owner, child.kind);
        let names_all = |creation: Creation| creation.has_shape(Digest::of_shape(&child.desired));
        // The Lease's spec may have been ours when it was created and is the agent's now: only labels and
        // owner are applied, and the entry of the creation stays.
        if child.kind != ChildKind::Lease && !existing.creation.is_some_and(names_all) {
            self.convert(owner, child, existing).await?;
        }
        self.make_way(owner, child, existing).await?;
        let content = match existing.content() {
            // It is known to be what was once desired, and may be larger than that.
            None if child.kind == ChildKind::JournalClaim => {
                self.newest(owner, child.kind, &child.name).await?.content()
            }
            content => content,
        };
        let desired = to_apply(child, &existing.uid, &content.unwrap_or_default());
        self.metrics.call(child.kind.as_str(), "patch");
        let answer = api
            .patch(&child.name, &PatchParams::apply(OPERATOR_MANAGER).force(), &Patch::Apply(&desired))
            .await
            .map_err(|source| failed("updating", child.kind, &child.name, source))?;
        self.keep(child, &answer);
        Ok(())
    }

    /// Takes away the parameters of another strategy: the API server refuses them beside ours, and applying leaves
    /// what somebody else has set.
    async fn make_way(&self, owner: &Owner, child: &Child, existing: &Seen) -> Result<(), ApplyError> {
        let found = existing.content().unwrap_or_default();
        let Some(wanted) = child.desired.pointer(STRATEGY) else { return Ok(()) };
        if found.pointer(STRATEGY).is_none_or(|found| found == wanted) {
            return Ok(());
        }
        let (kind, name) = (child.kind, &child.name);
        let operations = json!([
            {"op": "test", "path": "/metadata/uid", "value": existing.uid.to_string()},
            {"op": "replace", "path": STRATEGY, "value": wanted},
        ]);
        // Under our own name the fields would have two entries of ours.
        let patched = self.patch(owner, kind, name, REPAIRER, operations).await;
        patched.map(drop).map_err(|source| failed("updating", kind, name, source))
    }

    /// Turns what creating an object left behind in `managedFields` into what applying would have. Without
    /// it a field that is no longer wanted would stay for ever. Once in an object's life, and only when there may be
    /// such a field.
    async fn convert(&self, owner: &Owner, child: &Child, existing: &Seen) -> Result<(), ApplyError> {
        let (kind, name) = (child.kind, &child.name);
        let Some(operations) = conversion(existing) else { return Ok(()) };
        match self.patch(owner, kind, name, OPERATOR_MANAGER, operations).await {
            Ok(_) => return Ok(()),
            // Somebody else's entry has moved ours since the watch showed the object.
            Err(kube::Error::Api(status)) if status.is_invalid() => {}
            Err(source) => return Err(failed("updating", kind, name, source)),
        }
        let Some(operations) = conversion(&self.newest(owner, kind, name).await?) else { return Ok(()) };
        let converted = self.patch(owner, kind, name, OPERATOR_MANAGER, operations).await;
        converted.map(drop).map_err(|source| failed("updating", kind, name, source))
    }

    /// Creates the Secret of API keys unless that was answered before. While no agent trades it is tried again: a lost
    /// Secret keeps a pod from starting, and nobody here may look.
    async fn secret(&self, owner: &Owner) -> Result<(), ApplyError> {
        let losses = self.leases.losses(&owner.namespace, &owner.name);
        if self.secrets.rest(&owner.uid, losses).is_none() && self.is_noted(owner) {
            self.secrets.noted(&owner.uid);
        }
        // An agent that trades has found its keys.
        let lives = self.leases.connection(&owner.namespace, &owner.name) == Connection::Live;
        if self.secrets.rest(&owner.uid, losses).is_some_and(|rest| lives || !rest.is_zero()) {
            return Ok(());
        }
        let secret = build::api_secret(owner, Keys::generate());
        let name = secret.name_any();
        let desired = serde_json::to_value(&secret).unwrap_or_default();
        match self.post(owner, ChildKind::ApiSecret, &desired).await {
            Ok(_) => {}
            // Its name carries the bot's UID, so it is this bot's.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            Err(source) => return Err(failed("creating", ChildKind::ApiSecret, &name, source)),
        }
        self.secrets.created(&owner.uid, losses);
        Ok(())
    }

    /// Whether the bot's Deployment says that its Secret was created.
    fn is_noted(&self, owner: &Owner) -> bool {
        let name = child_name(&owner.name);
        let deployment = self.children.get(ChildKind::Deployment, &owner.namespace, &name);
        let noted =
            deployment.as_ref().filter(|deployment| deployment.is_of(owner)).and_then(Seen::deployment);
        noted.and_then(|facts| facts.api_key_secret.as_deref())
            == Some(api_secret_name(&owner.name, &owner.uid).as_str())
    }

    /// Whether an agent of a bot of this name may still trade while the Lease is missing.
    fn agent_may_be_at_work(&self, owner: &Owner) -> bool {
        let name = child_name(&owner.name);
        self.children.get(ChildKind::Deployment, &owner.namespace, &name).is_some()
            || self.pods.any(&owner.namespace, &owner.name)
    }

    /// What the API server itself has of an object.
    async fn newest(&self, owner: &Owner, kind: ChildKind, name: &str) -> Result<Seen, ApplyError> {
        self.metrics.call(kind.as_str(), "get");
        let object = self.api(owner, kind).get(name).await;
        Ok(Seen::of(kind, &object.map_err(|source| failed("reading", kind, name, source))?))
    }

    /// Sends the operations of a JSON patch, which are done together or not at all.
    async fn patch(
        &self,
        owner: &Owner,
        kind: ChildKind,
        name: &str,
        manager: &str,
        operations: Value,
    ) -> Result<Unstructured, kube::Error> {
        self.metrics.call(kind.as_str(), "patch");
        let operations: json_patch::Patch =
            serde_json::from_value(operations).map_err(kube::Error::SerdeError)?;
        let parameters = PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() };
        self.api(owner, kind).patch(name, &parameters, &Patch::Json::<()>(operations)).await
    }

    async fn post(
        &self,
        owner: &Owner,
        kind: ChildKind,
        desired: &Value,
    ) -> Result<Unstructured, kube::Error> {
        self.metrics.call(kind.as_str(), "create");
        let body = serde_json::to_vec(desired).map_err(kube::Error::SerdeError)?;
        let parameters = PostParams { field_manager: Some(OPERATOR_MANAGER.into()), ..PostParams::default() };
        let request = Request::new(self.api(owner, kind).resource_url()).create(&parameters, body);
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await
    }

    fn keep(&self, child: &Child, answer: &Unstructured) {
        let share = share_of(answer, child);
        let other = (share != child.desired).then(|| Digest::of_value(&share));
        let shape = Digest::of_shape(&child.desired);
        self.children.written(child.kind, child.hash, shape, answer, other);
    }

    fn remember(&self, owner: &Owner, child: &Child, version: u64) {
        self.children.verified(child.kind, &owner.namespace, &child.name, version, child.hash);
    }

    fn api(&self, owner: &Owner, kind: ChildKind) -> Api<Unstructured> {
        Api::namespaced_with(self.client.clone(), &owner.namespace, &kind.resource())
    }
}

/// The operations that convert the entry of the creation.
fn conversion(existing: &Seen) -> Option<Value> {
    let creation = existing.creation?;
    let path = format!("/metadata/managedFields/{}", creation.place);
    let convert = if creation.is_applied {
        // What was desired since has an entry already, which names as many fields.
        json!({"op": "remove", "path": path})
    } else {
        json!({"op": "replace", "path": format!("{path}/operation"), "value": "Apply"})
    };
    Some(json!([
        {"op": "test", "path": "/metadata/uid", "value": existing.uid.to_string()},
        {"op": "test", "path": format!("{path}/manager"), "value": OPERATOR_MANAGER},
        {"op": "test", "path": format!("{path}/operation"), "value": "Update"},
        convert,
    ]))
}
