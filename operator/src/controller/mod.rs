//! From a `TradingBot` to a running agent, in five stages: dereference → validate → build → apply →
//! status. Only the first and the last two know the cluster.

mod address;
pub mod apply;
mod backoff;
#[cfg(test)]
pub(crate) mod bench;
mod bot;
pub mod build;
mod dereference;
mod status;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use crds::api::{Journal, Reconciliation, TradingBotStatus};
use crds::contract::{AGENT_MANAGER, OPERATOR_MANAGER};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::Api;
use kube::core::DynamicObject;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use kube::runtime::watcher::Event;
use kube::{Client, Resource};
use tracing::{debug, info, warn};

use crate::metrics::Metrics;
use crate::reason::Reason;
use crate::watch::{
    Cause, Causes, ChildKind, Children, ConfigMaps, Connection, Hosts, Leases, Pods, Secrets, Seen, version,
};
use apply::{Applied, Applier, ApplyError};
use status::{Built, Looked, Observed, Outcome, Stated};
use validate::{Refusal, Validated};

pub use backoff::Backoff;
pub use bot::{Bot, BotRef, Guarded, Owner};
pub use build::{NetworkPolicyOptions, NetworkPolicyOptionsError};
pub use status::{Events, Issued, Looks, Rollout, Shares, operators_share};
pub use validate::Installation;

/// What every reconcile works with.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What the operator was installed with.
    pub installation: Installation,
    /// The bots that exist.
    pub bots: Store<Guarded>,
    /// The children that exist.
    pub children: Children,
    /// The ConfigMaps that exist.
    pub config_maps: ConfigMaps,
    /// Which bots have pods.
    pub pods: Pods,
    /// Which bot has which host.
    pub hosts: Hosts,
    /// Who trades.
    pub leases: Arc<Leases>,
    /// The Secrets that were created.
    pub secrets: Secrets,
    /// What each bot waits with.
    pub causes: Arc<Causes>,
    /// What the stages found out.
    pub looks: Looks,
    /// The shares of status that were written.
    pub shares: Shares,
    /// The events that were published.
    pub events: Events,
    /// The bots that fail.
    pub backoff: Backoff,
    /// The bots that somebody else wrote at the same moment.
    pub outdated: Backoff,
    /// What is counted.
    pub metrics: Metrics,
}

/// A certificate that has not run out is looked at again after so long at most.
const LOOK_AT_CERTIFICATES: Duration = Duration::from_secs(86_400);

/// A reconcile takes no longer.
const LONGEST: Duration = Duration::from_secs(30);

/// An agent that stays away for so long may miss its Secret, which nobody here can see: it is created
/// again.
const AWAY: Duration = Duration::from_secs(60);

/// What a start or a hiccup keeps the API server from saying is not told before so many tries: half a minute.
const UNTOLD: u32 = 5;

/// A reconcile that is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A child could not be written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The status could not be written.
    #[error("writing the status failed: {}; it is tried again", apply::words(.0))]
    Status(#[source] Box<kube::Error>),
    /// What the cluster has is not known.
    #[error(transparent)]
    KindUnknown(Box<Refusal>),
    /// The Lease could not be read.
    #[error("reading the agent's Lease failed: {}; it is tried again", apply::words(.0))]
    Lease(#[source] Box<kube::Error>),
    /// Somebody wrote the bot after it was read.
    #[error("the bot was written by someone else at the same moment; it is looked at again")]
    Outdated,
    /// The API server did not answer.
    #[error("the API server did not answer within {} s; it is tried again", LONGEST.as_secs())]
    Timeout,
    /// The API server left out name, namespace or UID.
    #[error("the object has no {0}")]
    Nameless(&'static str),
    /// A configuration could not be written as JSON.
    #[error(transparent)]
    Rendering(#[from] crds::config::RenderingError),
}

impl Failure {
    /// The reason, as condition, event and metric name it.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Apply(error) => error.reason(),
            Self::KindUnknown(refusal) => refusal.reason(),
            Self::Timeout => Reason::ApplyFailed,
            Self::Status(_) | Self::Lease(_) => Reason::StatusFailed,
            Self::Outdated => Reason::StatusOutdated,
            Self::Nameless(_) | Self::Rendering(_) => Reason::InvalidSpec,
        }
    }
}

/// Looks at one bot, as far as what has happened since the last look calls for it.
///
/// # Errors
/// When it should be tried again.
pub async fn reconcile(bot: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Failure> {
    let looked_at = look(&bot, &context).await;
    context.forget_unless_there(&bot);
    looked_at
}

async fn look(bot: &Guarded, context: &Context) -> Result<Action, Failure> {
    let owner = Owner::of(bot.meta()).ok_or(Failure::Nameless("name, namespace or UID"))?;
    let bot_ref = owner.bot_ref();
    let cause = context.causes.take(&bot_ref);
    if bot.meta().deletion_timestamp.is_some() {
        // Garbage collection takes the children; nothing new is made for a bot that goes.
        return Ok(Action::await_change());
    }
    let looked =
        context.looks.get(&owner.uid).filter(|looked| Some(looked.generation) == bot.meta().generation);
    let look = async {
        match (cause, looked) {
            (None, Some(_)) => Ok(()),
            (Some(Cause::Status), Some(looked)) if !looked.waits_for_agent() => {
                report(bot, &owner, &looked, context).await
            }
            _ => stages(bot, &owner, context).await,
        }
    };
    let timer = context.metrics.start();
    // A call that is never answered must not keep a place from the other bots; what was written is found
    // the next time.
    let result = match tokio::time::timeout(LONGEST, look).await {
        Ok(result) => result,
        Err(_) => Err(Failure::Timeout),
    };
    match result {
        Ok(()) => {
            context.outdated.reset(&owner.uid);
            let rest = context.causes.rest(&bot_ref);
            timer.done();
            Ok(rest.map_or_else(Action::await_change, Action::requeue))
        }
        Err(failure) => {
            timer.failed(failure.reason());
            Err(failure)
        }
    }
}

async fn stages(bot: &Guarded, owner: &Owner, context: &Context) -> Result<(), Failure> {
    let validated = match &bot.0 {
        Ok(bot) => {
            let found = dereference::dereference(bot, owner, &context.children, &context.config_maps);
            validate::validate(bot, owner, found, &context.installation)
                .and_then(|bot| address::claim(bot, &context.children, &context.hosts))
        }
        Err(InvalidObject { error, .. }) => Err(Refusal::Unreadable(error.clone())),
    };
    let before = context.looks.get(&owner.uid);
    let (mut stated, mut built) =
        before.map_or((None, None), |looked| (looked.stated.clone(), looked.built.clone()));
    let mut error = None;
    let outcome = match validated {
        Ok(bot) if bot.reconciliation == Reconciliation::Suspended => {
            Outcome::Suspended(bot.rendering.config_hash)
        }
        Ok(validated) => {
            let applied = apply_all(&validated, owner, context).await?;
            stated = Some(Stated::from(&validated));
            built = Some(Built { expose: validated.deployment.expose.clone().map(Box::new) });
            match applied {
                Ok(applied) => {
                    look_again(applied, owner, context);
                    Outcome::Applied
                }
                Err(ApplyError::BotEnding) => {
                    ending(owner);
                    return Ok(());
                }
                Err(failed) => Outcome::Failed(failed.reason(), error.insert(failed).to_string()),
            }
        }
        Err(refusal @ Refusal::KindUnknown { .. }) if context.backoff.failures(&owner.uid) < UNTOLD => {
            return Err(Failure::KindUnknown(Box::new(refusal)));
        }
        Err(refusal) => {
            context.metrics.refused(refusal.reason());
            let before = bot.0.as_ref().ok().and_then(|bot| bot.status.as_ref()?.config_hash.as_ref());
            let of_agent = match refusal.live() {
                Some(live) => match hand_over(live, owner, context).await? {
                    Ok(applied) => {
                        look_again(applied, owner, context);
                        stated = Some(Stated::from(live));
                        "; the running agent takes over the limits all the same".to_owned()
                    }
                    Err(ApplyError::BotEnding) => {
                        ending(owner);
                        return Ok(());
                    }
                    Err(failed) => {
                        format!("; the agent keeps its last good configuration: {}", error.insert(failed))
                    }
                },
                None if stated.is_some() || before.is_some() => {
                    "; the agent keeps its last good configuration".to_owned()
                }
                None => String::new(),
            };
            Outcome::Refused(refusal.reason(), format!("{refusal}{of_agent}"))
        }
    };
    let generation = bot.meta().generation.unwrap_or_default();
    let looked = Arc::new(Looked { generation, outcome, stated, built });
    context.looks.keep(&owner.uid, Arc::clone(&looked));
    report(bot, owner, &looked, context).await?;
    match error {
        Some(error) => Err(error.into()),
        None => {
            context.backoff.reset(&owner.uid);
            Ok(())
        }
    }
}

fn look_again(applied: Applied, owner: &Owner, context: &Context) {
    if let Some(wait) = applied.look_again {
        context.causes.stages_in(owner.bot_ref(), wait);
    }
}

fn ending(owner: &Owner) {
    debug!(namespace = owner.namespace, bot = owner.name, "the bot is being deleted");
}

/// The outcome of building and applying, or the error that the status should tell of.
async fn apply_all(
    validated: &Validated,
    owner: &Owner,
    context: &Context,
) -> Result<Result<Applied, ApplyError>, Failure> {
    let children = build::build(validated)?;
    let applied = applier(owner, context).apply(owner, &children).await;
    told(applied, owner, context).map(|told| {
        told.and_then(|applied| terminating_claim(validated, owner, context).map_or(Ok(applied), Err))
    })
}

/// A failure that may pass by itself is told only when it comes back.
fn told(
    applied: Result<Applied, ApplyError>,
    owner: &Owner,
    context: &Context,
) -> Result<Result<Applied, ApplyError>, Failure> {
    match applied {
        Err(error) if error.is_passing() && context.backoff.failures(&owner.uid) == 0 => Err(error.into()),
        applied => Ok(applied),
    }
}

/// The trouble with a claim that the bot brought and that is being deleted.
fn terminating_claim(validated: &Validated, owner: &Owner, context: &Context) -> Option<ApplyError> {
    let Journal::Existing(name) = &validated.deployment.journal else { return None };
    let claim = context.children.get(ChildKind::JournalClaim, &owner.namespace, name)?;
    claim.is_terminating.then(|| ApplyError::ClaimTerminating { name: name.clone() })
}

/// Gives a running agent what it can take over while it runs, and touches nothing else: a pod that was made
/// anew now would not start. The outcome, or the error that the status should tell of.
async fn hand_over(
    live: &Validated,
    owner: &Owner,
    context: &Context,
) -> Result<Result<Applied, ApplyError>, Failure> {
    let children = build::build(live)?;
    let Some(child) = children.iter().find(|child| child.kind == ChildKind::ConfigMap) else {
        return Ok(Ok(Applied::default()));
    };
    let applied = applier(owner, context).apply_one(owner, child).await;
    told(applied.map(|look_again| Applied { look_again }), owner, context)
}

fn applier<'a>(owner: &Owner, context: &'a Context) -> Applier<'a> {
    Applier {
        is_known: context.looks.get(&owner.uid).is_some(),
        client: &context.client,
        children: &context.children,
        pods: &context.pods,
        leases: &context.leases,
        secrets: &context.secrets,
        metrics: &context.metrics,
    }
}

/// The certificate of the address that was built last, where cert-manager issues it.
fn certificate(looked: &Looked, owner: &Owner, context: &Context) -> Option<Seen> {
    let tls = looked.built.as_ref()?.expose.as_ref()?.tls.as_ref()?;
    tls.issuer_ref.as_ref()?;
    context.children.get(ChildKind::Certificate, &owner.namespace, &tls.secret_name)
}

/// The status stage: says what is so, where the status says something else.
async fn report(bot: &Guarded, owner: &Owner, looked: &Looked, context: &Context) -> Result<(), Failure> {
    let deployment = context.children.get(
        ChildKind::Deployment,
        &owner.namespace,
        &crds::contract::child_name(&owner.name),
    );
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
    let mut version = version;
    if after != before {
        version = write(owner, OPERATOR_MANAGER, version, &after, context).await?;
        context.shares.keep(&owner.uid, version, after.clone());
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
        context.causes.stages_by(owner.bot_ref(), wait.min(LOOK_AT_CERTIFICATES));
    }
    let lost = context.leases.losses(&owner.namespace, &owner.name)
        > context.secrets.answered(&owner.uid).unwrap_or_default();
    let bot_ref = owner.bot_ref();
    if connection != Connection::Live
        && lost
        && looked.outcome == Outcome::Applied
        && context.causes.rest(&bot_ref).is_none()
    {
        context.causes.stages_in(bot_ref, AWAY);
    }
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
    let name = crds::contract::child_name(&owner.name);
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &owner.namespace, &ChildKind::Lease.resource());
    context.metrics.call(ChildKind::Lease.as_str(), "get");
    if let Some(lease) = api.get_opt(&name).await.map_err(|error| Failure::Lease(Box::new(error)))? {
        context.leases.observe(&Event::Apply(lease));
    }
    Ok(context.leases.connection(&owner.namespace, &owner.name))
}

/// How long to wait after a failure.
pub fn wait_after(bot: Arc<Guarded>, failure: &Failure, context: Arc<Context>) -> Action {
    let uid = bot.meta().uid.clone().unwrap_or_default();
    let wait = if matches!(failure, Failure::Outdated) {
        // Nothing is wrong with the bot: what it failed with before is not tried later for that.
        debug!(namespace = bot.meta().namespace, bot = bot.meta().name, "{failure}");
        context.outdated.failed(&uid)
    } else {
        let wait = context.backoff.failed(&uid).max(Duration::from_millis(100));
        warn!(
            namespace = bot.meta().namespace, bot = bot.meta().name, reason = failure.reason().as_str(),
            error = %failure, retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "reconcile failed"
        );
        wait
    };
    context.causes.stages_in(BotRef::from_obj(&*bot), wait);
    context.forget_unless_there(&bot);
    Action::requeue(wait)
}

impl Context {
    /// Forgets what a former term found out, as a restart does: another process has written since.
    pub fn begin_term(&self) {
        self.looks.clear();
        self.shares.clear();
        self.backoff.clear();
        self.outdated.clear();
        self.hosts.begin_term();
    }

    /// Forgets a bot that is gone.
    pub fn forget(&self, bot: &Guarded) {
        let bot_ref = BotRef::from_obj(bot);
        self.causes.forget(&bot_ref);
        self.leases.forget(bot_ref.namespace.as_deref().unwrap_or_default(), &bot_ref.name);
        if let Some(uid) = &bot.meta().uid {
            self.backoff.reset(uid);
            self.outdated.reset(uid);
            self.looks.forget(uid);
            self.shares.forget(uid);
            self.secrets.forget(uid);
        }
    }

    /// Forgets a bot that went while it was looked at: what was kept of it since would stay for ever.
    pub fn forget_unless_there(&self, bot: &Guarded) {
        let there = self.bots.get(&BotRef::from_obj(bot));
        if there.is_none_or(|there| there.meta().uid != bot.meta().uid) {
            self.forget(bot);
        }
    }
}

#[cfg(test)]
mod tests;
