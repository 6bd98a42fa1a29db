//! Writes the agent's share of the status while it holds the lease.

use std::sync::Arc;
use std::time::Duration;

use crds::api::{MountedCertificate, TradingBot};
use crds::contract::AGENT_MANAGER;
use crds::contract::condition::FEED_HEALTHY;
use crds::contract::lease::ENTRY_WINDOW;
use jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use rand::Rng;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Environment;
use super::share::{AT_MOST_EVERY, body, due_after, share};
use crate::clock::BootTime;
use crate::gate::Holding;
use crate::metrics::Metrics;
use crate::view::View;

/// Longest wait for the answer to one write.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest pause between two failed writes.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Attempts of one write, each after another look at the bot.
const LOOKS: u32 = 3;

/// The writer of the share.
pub struct StatusWriter {
    api: Api<TradingBot>,
    environment: Environment,
    view: watch::Receiver<Option<Arc<View>>>,
    certificate: watch::Receiver<Option<MountedCertificate>>,
    holding: watch::Receiver<Holding>,
    metrics: Metrics,
    written: Option<(Arc<View>, Option<MountedCertificate>, Instant)>,
    /// When the last renewal of the Lease was sent.
    renewed: Option<BootTime>,
    version: Option<String>,
    feed_since: Option<(bool, Timestamp)>,
}

/// Why a write came to nothing.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// The bot is gone, or another has its name.
    #[error("the TradingBot is gone or another has its name: {0}")]
    Gone(String),
    #[error("someone else writes it all the time")]
    Contended,
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
        certificate: watch::Receiver<Option<MountedCertificate>>,
        holding: watch::Receiver<Holding>,
        metrics: Metrics,
    ) -> Self {
        Self {
            api,
            environment,
            view,
            certificate,
            holding,
            metrics,
            written: None,
            renewed: None,
            version: None,
            feed_since: None,
        }
    }

    /// Writes until the bot is gone or nobody shows anything any more.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            let held = self.look_at_lease();
            let view = self.view.borrow_and_update().clone();
            self.certificate.mark_unchanged();
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
                changed = self.certificate.changed() => if changed.is_err() { return },
                changed = self.holding.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Whether the lease is held. After a gap in its renewals the operator may have spoken for us, also
    /// when this task noticed nothing because the whole process stood still: the share is written anew.
    fn look_at_lease(&mut self) -> bool {
        let holding = self.holding.borrow_and_update();
        let held = holding.is_current(BootTime::now());
        let sent = match *holding {
            Holding::Held { sent } => Some(sent),
            Holding::Waiting | Holding::Lost { .. } => None,
        };
        drop(holding);
        let gap = match (self.renewed, sent) {
            (Some(before), Some(sent)) => sent.since(before) >= ENTRY_WINDOW,
            _ => true,
        };
        if !held || gap {
            self.written = None;
        }
        self.renewed = sent;
        held
    }

    fn due(&self, view: &View) -> Option<Instant> {
        match &self.written {
            None => Some(Instant::now()),
            Some((_, certificate, at)) if *certificate != *self.certificate.borrow() => {
                Some(*at + AT_MOST_EVERY)
            }
            Some((written, _, at)) => due_after(written, view).map(|pause| *at + pause),
        }
    }

    /// Applies the share on the version last seen of this very bot. The API server does not compare
    /// UIDs when a status is applied, so that the version stands for it: whatever was written since,
    /// and be it a successor of the same name, is looked at first.
    async fn write(&mut self, view: &Arc<View>) -> Result<(), WriteError> {
        for _ in 0..LOOKS {
            let version = match self.version.take() {
                Some(version) => version,
                None => self.look().await?,
            };
            let healthy = view.feed.healthy;
            let since = match self.feed_since {
                Some((was, since)) if was == healthy => since,
                _ => Timestamp::from_second(Timestamp::now().as_second()).unwrap_or(Timestamp::UNIX_EPOCH),
            };
            let certificate = self.certificate.borrow().clone();
            let status = share(view, &self.environment, certificate.as_ref(), since);
            let body = body(&status, &self.environment, &version)?;
            let params = PatchParams::apply(AGENT_MANAGER).force();
            let patch = Patch::Apply(&body);
            let write = self.api.patch_status(&self.environment.bot.name, &params, &patch);
            let answer = answered(write).await;
            self.metrics.status_written(answer.is_ok());
            match answer {
                Ok(bot) => {
                    debug!(events = view.events, "the status was written");
                    self.version = bot.metadata.resource_version;
                    self.feed_since = Some((healthy, since));
                    self.written = Some((Arc::clone(view), certificate, Instant::now()));
                    return Ok(());
                }
                Err(WriteError::Api(kube::Error::Api(status))) if status.is_conflict() => {}
                Err(error) => return Err(error),
            }
        }
        Err(WriteError::Contended)
    }

    /// Reads the bot: whether it is still ours, its version, and since when its feed is what it is.
    async fn look(&mut self) -> Result<String, WriteError> {
        let bot = answered(self.api.get(&self.environment.bot.name)).await?;
        let uid = bot.metadata.uid.unwrap_or_default();
        if uid != self.environment.bot_uid {
            return Err(WriteError::Gone(format!("its UID is {uid}")));
        }
        if self.feed_since.is_none() {
            let conditions = bot.status.map(|status| status.conditions).unwrap_or_default();
            let condition = conditions.into_iter().find(|condition| condition.type_ == FEED_HEALTHY);
            self.feed_since = condition.and_then(|condition| {
                let healthy = match condition.status.as_str() {
                    "True" => true,
                    "False" => false,
                    _ => return None,
                };
                Some((healthy, condition.last_transition_time.0))
            });
        }
        Ok(bot.metadata.resource_version.unwrap_or_default())
    }
}

async fn answered<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, WriteError> {
    match tokio::time::timeout(TIMEOUT, call).await {
        Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Err(WriteError::Gone(status.message)),
        Ok(answer) => answer.map_err(WriteError::Api),
        Err(_) => Err(WriteError::Timeout),
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
    use super::super::fake;
    use super::*;
    use crate::fixtures;

    #[test]
    fn pauses_double_up_to_their_limit_and_differ() {
        for (failures, most) in [(1, 1.0), (2, 2.0), (5, 16.0), (6, 30.0), (60, 30.0)] {
            let seconds = pause(failures).as_secs_f64();
            assert!((most / 2.0..=most).contains(&seconds), "{failures}: {seconds}");
        }
    }

    async fn writer() -> (StatusWriter, Arc<View>, fake::Shared) {
        let (client, objects) = fake::start().await;
        let (_, view) = watch::channel(None);
        let (_, certificate) = watch::channel(None);
        let (_, holding) = watch::channel(Holding::Waiting);
        let api = Api::namespaced(client, "default");
        let metrics = Metrics::new("default", "majors");
        let writer = StatusWriter::new(api, fake::environment(), view, certificate, holding, metrics);
        let engine = engine::Engine::new(fixtures::identity(), fixtures::config()).unwrap();
        (writer, Arc::new(fixtures::view(&engine)), objects)
    }

    #[tokio::test]
    async fn a_write_costs_one_call_and_another_look_only_when_someone_wrote_in_between() {
        let (mut writer, view, objects) = writer().await;
        writer.write(&view).await.unwrap();
        writer.write(&view).await.unwrap();
        fake::touch(&mut objects.lock().unwrap().bot, |bot| {
            bot["metadata"]["labels"] = serde_json::json!({})
        });
        writer.write(&view).await.unwrap();
        let objects = objects.lock().unwrap();
        assert_eq!(objects.writes, 3);
        assert_eq!(objects.bot["status"]["account"]["equity"], "10000.00");
        assert_eq!(objects.bot["status"]["conditions"][0]["type"], FEED_HEALTHY);
    }

    #[tokio::test]
    async fn a_successor_of_the_same_name_is_never_written() {
        let (mut writer, view, objects) = writer().await;
        writer.write(&view).await.unwrap();
        fake::touch(&mut objects.lock().unwrap().bot, |bot| bot["metadata"]["uid"] = "successor".into());
        assert!(matches!(writer.write(&view).await, Err(WriteError::Gone(_))));
        assert_eq!(objects.lock().unwrap().writes, 1);
    }

    #[tokio::test]
    async fn the_time_since_when_the_feed_is_healthy_outlives_the_process() {
        let (mut writer, view, objects) = writer().await;
        let condition = serde_json::json!({"type": FEED_HEALTHY, "status": "True", "reason": "Replaying",
            "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        objects.lock().unwrap().bot["status"] = serde_json::json!({"conditions": [condition]});
        writer.write(&view).await.unwrap();
        let since = objects.lock().unwrap().bot["status"]["conditions"][0]["lastTransitionTime"].clone();
        assert_eq!(since, "2026-01-01T00:00:00Z");
    }

    #[tokio::test]
    async fn after_a_gap_in_the_renewals_the_share_is_written_anew_even_if_nobody_looked_meanwhile() {
        let (mut writer, view, _) = writer().await;
        let (sender, holding) = watch::channel(Holding::Waiting);
        writer.holding = holding;
        let uptime = BootTime::now().since(BootTime::from_start(Duration::ZERO));
        let mut renewed = |ago: u64| {
            let sent = BootTime::from_start(uptime.saturating_sub(Duration::from_secs(ago)));
            sender.send_replace(Holding::Held { sent });
            writer.written = Some((Arc::clone(&view), None, Instant::now()));
            let held = writer.look_at_lease();
            (held, writer.written.is_some())
        };
        assert_eq!(renewed(55), (false, false), "it is old by now");
        assert_eq!(renewed(15), (true, false), "40 s lie between the two");
        assert_eq!(renewed(5), (true, true), "a renewal in time");
        assert_eq!(renewed(5), (true, true));
    }
}
