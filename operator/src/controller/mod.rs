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
mod report;
mod status;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use crds::api::{Journal, Reconciliation};
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::Action;
use kube::runtime::reflector::Store;
use kube::{Client, Resource};
use tracing::{debug, warn};

use crate::metrics::Metrics;
use crate::reason::Reason;
use crate::watch::{Cause, Causes, ChildKind, Children, ConfigMaps, Hosts, Leases, Pods, Secrets};
use apply::{Applied, Applier, ApplyError};
use report::report;
use status::{Built, Looked, Outcome, Stated};
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

/// A reconcile takes no longer.
const LONGEST: Duration = Duration::from_secs(30);

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
    let cause = context.causes.take(&BotRef::from_obj(&*bot));
    // Read after that: the given one may be older than what the cause tells of, and nothing would tell of it again.
    let bot = context.bots.get(&BotRef::from_obj(&*bot)).unwrap_or(bot);
    let looked_at = look(&bot, cause, &context).await;
    context.forget_unless_there(&bot);
    looked_at
}

async fn look(bot: &Guarded, cause: Option<Cause>, context: &Context) -> Result<Action, Failure> {
    let owner = Owner::of(bot.meta()).ok_or(Failure::Nameless("name, namespace or UID"))?;
    let bot_ref = owner.bot_ref();
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
                    if address::is_outdated(&validated, &context.children, &context.hosts) {
                        context.causes.stages_in(owner.bot_ref(), Duration::ZERO);
                    }
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
