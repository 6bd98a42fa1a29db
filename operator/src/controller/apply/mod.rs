//! Stage four: makes the cluster's children those that were built, with as few writes as it takes.
//!
//! What is absent is created by POST. What exists is applied server-side, forced, and only when it
//! differs. What belongs to someone else is never touched.

mod error;
mod project;
mod step;

use std::time::{Duration, Instant};

use crds::contract::{LABEL_BOT, OPERATOR_MANAGER, api_secret_name, child_name};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::bot::Owner;
use super::build::{self, Child, Keys, annotation};
use crate::metrics::Metrics;
use crate::watch::{
    ChildKind, Children, Connection, Leases, Secrets, Write, Written, creation_entry, version,
};
use error::{collision, failed, terminating};
use step::{Step, decide, projection};

pub use error::{ApplyError, words};
pub use step::is_ours;

/// What a reconcile left behind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The Deployment, where the watch has not shown its newest state yet.
    pub deployment: Option<DynamicObject>,
    /// The Deployment's newest state is not known: it was written and the watch lags.
    pub deployment_pending: bool,
    /// When to look again for a child that was created and not seen since.
    pub look_again: Option<Duration>,
}

/// Writes children.
pub struct Applier<'a> {
    /// The API server.
    pub client: &'a Client,
    /// What exists.
    pub children: &'a Children,
    /// What was written.
    pub written: &'a Written,
    /// Who trades.
    pub leases: &'a Leases,
    /// Which Secrets were created.
    pub secrets: &'a Secrets,
    /// Counts the writes.
    pub metrics: &'a Metrics,
}

impl Applier<'_> {
    /// Brings every child of a bot into the state that was built, the Deployment last.
    ///
    /// # Errors
    /// At the first child that cannot be; those before it are done.
    pub async fn apply(&self, owner: &Owner, children: &[Child]) -> Result<Applied, ApplyError> {
        let mut applied = Applied::default();
        for child in children {
            if child.kind == ChildKind::Deployment {
                self.secret(owner).await?;
            }
            let existing = self.children.get(child.kind, &owner.namespace, &child.name);
            let write = self.written.get(child.kind, &owner.namespace, &child.name);
            let step = decide(owner, child, existing.as_deref(), write.as_ref());
            let answer = match (step, existing.as_deref()) {
                (Step::Create, _) if self.is_lost(owner, child) => {
                    let found = self.adopt(owner, child).await?;
                    Some(found.ok_or_else(|| ApplyError::ClaimLost { name: child.name.clone() })?)
                }
                (Step::Create, _) => self.create(owner, child).await?,
                (Step::Update, Some(existing)) => Some(self.update(owner, child, existing).await?),
                (Step::Terminating, _) => return Err(terminating(child)),
                (Step::Collision, Some(existing)) => return Err(collision(child, &existing.metadata)),
                (Step::Wait, _) => {
                    applied.deployment_pending |= child.kind == ChildKind::Deployment;
                    applied.look_again = Some(Duration::from_secs(11));
                    None
                }
                (Step::Nothing | Step::Update | Step::Collision, _) => None,
            };
            if child.kind == ChildKind::Deployment {
                applied.deployment = answer;
            }
        }
        Ok(applied)
    }

    /// Whether an absent claim is one that a running agent writes to: a new one would hide that its journal
    /// is lost with the pod.
    fn is_lost(&self, owner: &Owner, child: &Child) -> bool {
        child.kind == ChildKind::JournalClaim
            && self.leases.connection(&owner.namespace, &owner.name) == Connection::Live
    }

    async fn create(&self, owner: &Owner, child: &Child) -> Result<Option<DynamicObject>, ApplyError> {
        let mut desired = child.desired.clone();
        if child.kind == ChildKind::Lease && self.agent_may_be_at_work(owner).await? {
            let spec = serde_json::to_value(build::held_by_unknown(Timestamp::now())).unwrap_or_default();
            if let Some(object) = desired.as_object_mut() {
                object.insert("spec".into(), spec);
            }
        }
        match self.post(owner, child.kind, &desired).await {
            Ok(answer) => Ok(Some(self.keep(owner, child, answer))),
            Err(kube::Error::Api(status)) if status.is_already_exists() => self.adopt(owner, child).await,
            Err(source) => Err(failed("creating", child.kind, &child.name, source)),
        }
    }

    /// The watch did not show it, and it exists: it lost its labels, or it is someone else's.
    async fn adopt(&self, owner: &Owner, child: &Child) -> Result<Option<DynamicObject>, ApplyError> {
        self.metrics.call(child.kind.as_str(), "get");
        let existing = self
            .api(owner, child.kind)
            .get_opt(&child.name)
            .await
            .map_err(|source| failed("reading", child.kind, &child.name, source))?;
        let Some(mut existing) = existing else { return Ok(None) };
        match decide(owner, child, Some(&existing), None) {
            Step::Terminating => Err(terminating(child)),
            Step::Collision => Err(collision(child, &existing.metadata)),
            _ => {
                existing.metadata.managed_fields = creation_entry(&existing.metadata);
                self.update(owner, child, &existing).await.map(Some)
            }
        }
    }

    async fn update(
        &self,
        owner: &Owner,
        child: &Child,
        existing: &DynamicObject,
    ) -> Result<DynamicObject, ApplyError> {
        let api = self.api(owner, child.kind);
        // The Lease's spec may have been ours when it was created and is the agent's now: only labels and
        // owner are applied, and the entry of the creation stays.
        if child.kind != ChildKind::Lease {
            self.convert(owner, child, existing).await?;
        }
        let mut desired = child.desired.clone();
        // Not one that was made anew under the same name since it was looked at.
        if let (Some(metadata), Some(uid)) =
            (desired.get_mut("metadata").and_then(Value::as_object_mut), &existing.metadata.uid)
        {
            metadata.insert("uid".into(), json!(uid));
        }
        self.metrics.call(child.kind.as_str(), "patch");
        let answer = api
            .patch(&child.name, &PatchParams::apply(OPERATOR_MANAGER).force(), &Patch::Apply(&desired))
            .await
            .map_err(|source| failed("updating", child.kind, &child.name, source))?;
        Ok(self.keep(owner, child, answer))
    }

    /// Turns what creating an object left behind in `managedFields` into what applying would have. Without
    /// it a field that is no longer wanted would stay for ever. Once in an object's life.
    async fn convert(
        &self,
        owner: &Owner,
        child: &Child,
        existing: &DynamicObject,
    ) -> Result<(), ApplyError> {
        let (api, name) = (self.api(owner, child.kind), &child.name);
        let Some(patch) = conversion(existing) else { return Ok(()) };
        self.metrics.call(child.kind.as_str(), "patch");
        match api.patch(name, &PatchParams::default(), &Patch::Json::<()>(patch)).await {
            Ok(_) => return Ok(()),
            // Somebody else's entry has moved ours since the watch showed the object.
            Err(kube::Error::Api(status)) if status.is_invalid() => {}
            Err(source) => return Err(failed("updating", child.kind, name, source)),
        }
        self.metrics.call(child.kind.as_str(), "get");
        let mut newest = api.get(name).await.map_err(|source| failed("reading", child.kind, name, source))?;
        newest.metadata.managed_fields = creation_entry(&newest.metadata);
        let Some(patch) = conversion(&newest) else { return Ok(()) };
        self.metrics.call(child.kind.as_str(), "patch");
        let converted = api.patch(name, &PatchParams::default(), &Patch::Json::<()>(patch)).await;
        converted.map(|_| ()).map_err(|source| failed("updating", child.kind, name, source))
    }

    /// Creates the Secret of API keys unless that was answered before. After an agent has gone it is
    /// tried again: a lost Secret keeps the next pod from starting, and nobody here may look.
    async fn secret(&self, owner: &Owner) -> Result<(), ApplyError> {
        let losses = self.leases.losses(&owner.namespace, &owner.name);
        let answered = self.secrets.answered(&owner.uid).or_else(|| {
            let deployment =
                self.children.get(ChildKind::Deployment, &owner.namespace, &child_name(&owner.name))?;
            let name = api_secret_name(&owner.name, &owner.uid);
            let answered = is_ours(&deployment.metadata, owner)
                && deployment.annotations().get(annotation::API_KEY_SECRET) == Some(&name);
            answered.then_some(0)
        });
        if answered.is_some_and(|at| at >= losses) {
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
        self.secrets.keep(&owner.uid, losses);
        Ok(())
    }

    /// Whether an agent of a bot of this name may still trade while the Lease is missing.
    async fn agent_may_be_at_work(&self, owner: &Owner) -> Result<bool, ApplyError> {
        let name = child_name(&owner.name);
        if self.children.get(ChildKind::Deployment, &owner.namespace, &name).is_some() {
            return Ok(true);
        }
        let pods: Api<PartialObjectMeta<Pod>> = Api::namespaced(self.client.clone(), &owner.namespace);
        let of_bot = ListParams::default().labels(&format!("{LABEL_BOT}={}", owner.name)).limit(1);
        self.metrics.call("Pod", "list");
        let pods = pods.list(&of_bot).await.map_err(|source| ApplyError::Api {
            verb: "looking for pods before creating",
            kind: ChildKind::Lease.as_str(),
            name,
            source: Box::new(source),
        })?;
        Ok(!pods.items.is_empty())
    }

    async fn post(
        &self,
        owner: &Owner,
        kind: ChildKind,
        desired: &Value,
    ) -> Result<DynamicObject, kube::Error> {
        self.metrics.call(kind.as_str(), "create");
        let object: DynamicObject =
            serde_json::from_value(desired.clone()).map_err(kube::Error::SerdeError)?;
        let parameters = PostParams { field_manager: Some(OPERATOR_MANAGER.into()), ..PostParams::default() };
        self.api(owner, kind).create(&parameters, &object).await
    }

    fn keep(&self, owner: &Owner, child: &Child, answer: DynamicObject) -> DynamicObject {
        let write = Write {
            hash: child.hash.clone(),
            answer: projection(&answer, child),
            version: version(&answer.metadata),
            uid: answer.metadata.uid.clone().unwrap_or_default(),
            at: Instant::now(),
        };
        self.written.keep(child.kind, &owner.namespace, &child.name, write);
        answer
    }

    fn api(&self, owner: &Owner, kind: ChildKind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &owner.namespace, &kind.resource())
    }
}

/// The patch that converts the last of the entries that the watch kept, which is the one of the creation.
fn conversion(existing: &DynamicObject) -> Option<json_patch::Patch> {
    let index = existing.metadata.managed_fields.as_ref()?.len().checked_sub(1)?;
    let path = format!("/metadata/managedFields/{index}");
    serde_json::from_value(json!([
        {"op": "test", "path": "/metadata/uid", "value": existing.metadata.uid},
        {"op": "test", "path": format!("{path}/manager"), "value": OPERATOR_MANAGER},
        {"op": "test", "path": format!("{path}/operation"), "value": "Update"},
        {"op": "replace", "path": format!("{path}/operation"), "value": "Apply"},
    ]))
    .ok()
}
