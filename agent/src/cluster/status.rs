//! Writes the agent's share of the status while it holds the lease.

use std::sync::Arc;
use std::time::Duration;

use crds::api::TradingBot;
use crds::contract::AGENT_MANAGER;
use crds::contract::condition::FEED_HEALTHY;
use jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rand::Rng;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Environment;
use super::share::{body, due_after, share};
use crate::driver::Holding;
use crate::metrics::Metrics;
use crate::view::View;

/// Longest wait for the answer to one write.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest pause between two failed writes.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The writer of the share.
pub struct StatusWriter {
    api: Api<TradingBot>,
    environment: Environment,
    view: watch::Receiver<Option<Arc<View>>>,
    holding: watch::Receiver<Holding>,
    metrics: Metrics,
    written: Option<(Arc<View>, Instant)>,
    feed_since: Option<(bool, Timestamp)>,
}

/// Why a write came to nothing.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// The bot is gone, or another has its name.
    #[error("the TradingBot is gone or another has its name: {0}")]
    Gone(kube::Error),
    #[error(transparent)]
    Api(kube::Error),
    #[error(transparent)]
    Body(#[from] serde_json::Error),
}

impl StatusWriter {
    /// A writer of what `view` shows while `holding` says so.
    pub fn new(
        api: Api<TradingBot>,
        environment: Environment,
        view: watch::Receiver<Option<Arc<View>>>,
        holding: watch::Receiver<Holding>,
        metrics: Metrics,
    ) -> Self {
        Self { api, environment, view, holding, metrics, written: None, feed_since: None }
    }

    /// Writes until the bot is gone or nobody shows anything any more.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            let held = matches!(*self.holding.borrow_and_update(), Holding::Held { .. });
            let view = self.view.borrow_and_update().clone();
            if !held {
                // After a gap the operator may have spoken for us: the share is written anew.
                self.written = None;
            }
            let due = view.filter(|_| held).and_then(|view| Some((self.due(&view)?, view)));
            if let Some((at, view)) = &due
                && *at <= Instant::now()
            {
                match self.write(view).await {
                    Ok(()) => failures = 0,
                    Err(error @ WriteError::Gone(_)) => {
                        warn!(%error, "no more status is written");
                        return;
                    }
                    Err(error) => {
                        failures += 1;
                        warn!(%error, failures, "the status could not be written");
                        tokio::time::sleep(pause(failures)).await;
                    }
                }
                continue;
            }
            let timer = async {
                match due {
                    Some((at, _)) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => {}
                changed = self.view.changed() => if changed.is_err() { return },
                changed = self.holding.changed() => if changed.is_err() { return },
            }
        }
    }

    fn due(&self, view: &View) -> Option<Instant> {
        match &self.written {
            None => Some(Instant::now()),
            Some((written, at)) => due_after(written, view).map(|pause| *at + pause),
        }
    }

    async fn write(&mut self, view: &Arc<View>) -> Result<(), WriteError> {
        let since = self.feed_since(view.feed.healthy).await;
        let status = share(view, &self.environment, since);
        let body = body(&status, &self.environment)?;
        let params = PatchParams::apply(AGENT_MANAGER).force();
        let patch = Patch::Apply(&body);
        let write = self.api.patch_status(&self.environment.bot.name, &params, &patch);
        let answer = tokio::time::timeout(TIMEOUT, write).await;
        self.metrics.status_written(matches!(answer, Ok(Ok(_))));
        match answer {
            Ok(Ok(_)) => {
                debug!(events = view.events, "the status was written");
                self.written = Some((Arc::clone(view), Instant::now()));
                Ok(())
            }
            // Only the UID can be in conflict: the apply is forced and names no version.
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() || status.is_conflict() => {
                Err(WriteError::Gone(kube::Error::Api(status)))
            }
            Ok(Err(error)) => Err(WriteError::Api(error)),
            Err(_) => Err(WriteError::Timeout),
        }
    }

    /// Since when the feed is what it is: kept over a restart by what the status says already.
    async fn feed_since(&mut self, healthy: bool) -> Timestamp {
        let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH);
        let known = match self.feed_since {
            Some(known) => Some(known),
            None => {
                let bot = tokio::time::timeout(TIMEOUT, self.api.get(&self.environment.bot.name)).await;
                bot.ok().and_then(Result::ok).and_then(|bot| {
                    let conditions = bot.status?.conditions;
                    let condition =
                        conditions.into_iter().find(|condition| condition.type_ == FEED_HEALTHY)?;
                    match condition.status.as_str() {
                        "True" => Some((true, condition.last_transition_time.0)),
                        "False" => Some((false, condition.last_transition_time.0)),
                        _ => None,
                    }
                })
            }
        };
        let since = match known {
            Some((was, since)) if was == healthy => since,
            _ => now,
        };
        self.feed_since = Some((healthy, since));
        since
    }
}

/// Doubles from one second, with jitter so that many agents do not come at once.
fn pause(failures: u32) -> Duration {
    let base =
        Duration::from_secs(1).saturating_mul(1 << failures.saturating_sub(1).min(5)).min(LONGEST_PAUSE);
    base.mul_f64(rand::rng().random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_limit_and_differ() {
        for (failures, most) in [(1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (60, 30.0)] {
            let seconds = pause(failures).as_secs_f64();
            assert!((most / 2.0..=most).contains(&seconds), "{failures}: {seconds}");
        }
    }
}
