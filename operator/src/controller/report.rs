//! The status stage of one bot: what is observed of it, what is said of that, and when.

use std::time::Duration;

use crds::api::TradingBotStatus;
use crds::contract::{AGENT_MANAGER, OPERATOR_MANAGER, child_name};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::api::Api;
use kube::runtime::watcher::Event;
use tracing::info;

use super::bot::{Guarded, Owner};
use super::status::{self, Looked, Observed, Outcome, Rollout};
use super::{Context, Failure};
use crate::watch::{ChildKind, Connection, Seen, Unstructured, version};

/// A certificate that has not run out is looked at again after so long at most.
const LOOK_AT_CERTIFICATES: Duration = Duration::from_secs(86_400);

/// An agent that stays away for so long may miss its Secret, which nobody here can see: it is created
/// again.
const AWAY: Duration = Duration::from_secs(60);

/// The steps of an agent that starts are told no later than this after the first of them.
const MOMENT: Duration = Duration::from_secs(3);

/// The status stage: says what is so, where the status says something else.
pub async fn report(bot: &Guarded, owner: &Owner, looked: &Looked, context: &Context) -> Result<(), Failure> {
    let deployment = context.children.get(ChildKind::Deployment, &owner.namespace, &child_name(&owner.name));
    let facts = deployment.as_ref().and_then(Seen::deployment);
    let rollout = facts.map_or(&Rollout::NoPod, |facts| &facts.rollout);
    let none = TradingBotStatus::default();
    let seen = bot.0.as_ref().ok().map(|bot| bot.status.as_ref().unwrap_or(&none));
    let now = Time(Timestamp::now());
    let mut connection = context.leases.connection(&owner.namespace, &owner.name);
    // What the watch shows of the agent may be older than what was said of it last.
    let is_said = context.shares.said_gone(&owner.uid, version(bot.meta()));
    let of_gone = |connection| {
        seen.filter(|_| !is_said && status::is_gone(connection, rollout))
            .and_then(|seen| status::last_share(seen, &now))
    };
    let mut gone = of_gone(connection);
    if gone.is_some() {
        // The watch may lag, and an agent that lives has no reason to say again what is overwritten here.
        connection = leases_anew(owner, context).await?;
        gone = of_gone(connection);
    }
    let (version, before) = context.shares.newest(&owner.uid, version(bot.meta()), seen);
    let (claims, certificate) = (context.hosts.claims(owner), certificate(looked, owner, context));
    let observed = Observed {
        owner,
        looked,
        rollout,
        connection,
        agent_hash: seen.and_then(|status| Some(status.agent.as_ref()?.config_hash.as_str())),
        claims: &claims,
        issued: certificate.as_ref().and_then(Seen::certificate),
        mounted: seen.and_then(|status| status.agent.as_ref()?.certificate.as_ref()),
    };
    let after = status::share(&observed, &before, now.clone());
    let bot_ref = owner.bot_ref();
    let mut version = version;
    let may_wait = gone.is_none() && status::is_only_progress(&before, &after);
    if after == before {
        context.causes.said(&bot_ref);
    } else if !(may_wait && context.causes.put_off(bot_ref.clone(), MOMENT)) {
        version = write(owner, OPERATOR_MANAGER, version, &after, context).await?;
        context.shares.keep(&owner.uid, version, after.clone());
        context.causes.said(&bot_ref);
        if let Some(ready) = after.conditions.first() {
            info!(
                namespace = owner.namespace,
                bot = owner.name,
                ready = ready.status,
                reason = ready.reason,
                detail = ready.message,
                "status written"
            );
        }
        let bot = bot.object_ref(&());
        context.events.publish(&context.client, &bot, &before, &after, &context.metrics).await;
    }
    context.hosts.settle(owner, version, &after.claims);
    if let Some(end) = after.tls.as_ref().and_then(|tls| tls.not_after.as_ref()).filter(|end| **end > now) {
        let wait = Duration::try_from(end.0.duration_since(now.0)).unwrap_or_default();
        context.causes.stages_by(bot_ref.clone(), wait.min(LOOK_AT_CERTIFICATES));
    }
    let losses = context.leases.losses(&owner.namespace, &owner.name);
    let without_agent = connection != Connection::Live && looked.outcome == Outcome::Applied;
    let rest = context.secrets.rest(&owner.uid, losses).filter(|_| without_agent);
    context.causes.doubt(&bot_ref, rest.map(|rest| rest.max(AWAY)));
    if let Some(gone) = gone {
        let version = write(owner, AGENT_MANAGER, version, &gone, context).await?;
        context.shares.keep_gone(&owner.uid, version, after);
        info!(
            namespace = owner.namespace,
            bot = owner.name,
            "the agent's conditions are unknown: it is gone"
        );
    }
    Ok(())
}

async fn write(
    owner: &Owner,
    manager: &str,
    version: u64,
    share: &TradingBotStatus,
    context: &Context,
) -> Result<u64, Failure> {
    match status::write(&context.client, owner, manager, version, share, &context.metrics).await {
        Ok(version) => Ok(version),
        Err(status::WriteError::Outdated | status::WriteError::Gone) => Err(Failure::Outdated),
        Err(status::WriteError::Api(error)) => Err(Failure::Status(Box::new(error))),
    }
}

/// Who trades, asked of the API server itself.
async fn leases_anew(owner: &Owner, context: &Context) -> Result<Connection, Failure> {
    let name = child_name(&owner.name);
    let api: Api<Unstructured> =
        Api::namespaced_with(context.client.clone(), &owner.namespace, &ChildKind::Lease.resource());
    context.metrics.call(ChildKind::Lease.as_str(), "get");
    if let Some(lease) = api.get_opt(&name).await.map_err(|error| Failure::Lease(Box::new(error)))? {
        context.leases.observe(&Event::Apply(lease));
    }
    Ok(context.leases.connection(&owner.namespace, &owner.name))
}

/// The certificate of the address that was built last, where cert-manager issues it.
fn certificate(looked: &Looked, owner: &Owner, context: &Context) -> Option<Seen> {
    let tls = looked.built.as_ref()?.expose.as_ref()?.tls.as_ref()?;
    tls.issuer_ref.as_ref()?;
    context.children.get(ChildKind::Certificate, &owner.namespace, &tls.secret_name)
}
