//! Takes the Lease, renews it, and lets it go.

use std::time::Duration;

use crds::api::TradingBot;
use crds::contract::child_name;
use crds::contract::lease::{DURATION, RENEW_EVERY, RENEW_TIMEOUT};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::{Api, Resource};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Environment;
use super::lease::{Candidate, LONGEST_STALL, Move, Record, Timing};
use crate::clock::BootTime;
use crate::gate::Holding;
use crate::metrics::Metrics;

/// Time between two looks at a Lease that someone else holds, or that could not be reached.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time for letting go: a shutdown must not wait for a dead API server.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// Who holds a Lease that has no holder, in words.
const NOBODY: &str = "nobody";

/// The Lease of a bot, as one candidate sees it.
pub struct Renewal {
    api: Api<Lease>,
    name: String,
    bot_uid: String,
    candidate: Candidate,
    current: Option<Lease>,
    holding: watch::Sender<Holding>,
    other: Option<String>,
    metrics: Metrics,
}

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("no answer within {} s", RENEW_TIMEOUT.as_secs())]
    Timeout,
    #[error("someone else wrote it first")]
    Conflict,
    #[error("it belongs to another bot of the same name")]
    OtherBot,
    #[error(transparent)]
    Api(kube::Error),
}

impl AttemptError {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Conflict => "conflict",
            Self::OtherBot => "otherBot",
            Self::Api(_) => "api",
        }
    }
}

impl From<kube::Error> for AttemptError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_conflict() => Self::Conflict,
            other => Self::Api(other),
        }
    }
}

impl Renewal {
    /// A candidate for the Lease of the environment's bot.
    pub fn new(
        api: Api<Lease>,
        environment: &Environment,
        metrics: Metrics,
    ) -> (Self, watch::Receiver<Holding>) {
        let (holding, receiver) = watch::channel(Holding::Waiting);
        let renewal = Self {
            api,
            name: child_name(&environment.bot.name),
            bot_uid: environment.bot_uid.clone(),
            candidate: Candidate::new(environment.pod_uid.clone(), &Timing::default()),
            current: None,
            holding,
            other: None,
            metrics,
        };
        (renewal, receiver)
    }

    /// Wants the Lease until told to stop, then lets it go.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut last_problem = String::new();
        let cut = loop {
            if matches!(*self.holding.borrow(), Holding::Lost { .. }) {
                // This process ends. The next one in the pod begins with what the journal says then.
                return;
            }
            // A shutdown does not wait for an API server that does not answer.
            let attempt = tokio::select! {
                biased;
                () = stop.cancelled() => break true,
                attempt = self.attempt() => attempt,
            };
            let pause = match attempt {
                Ok(pause) => {
                    last_problem.clear();
                    pause
                }
                Err(error) => {
                    self.metrics.lease_failure(error.reason());
                    // A write whose answer did not come may have happened: what is known is void.
                    self.current = None;
                    let problem = error.to_string();
                    if problem != last_problem {
                        warn!(lease = self.name, error = problem, "the Lease could not be read or renewed");
                        last_problem = problem;
                    }
                    if matches!(error, AttemptError::Conflict) {
                        Duration::from_millis(50)
                    } else {
                        LOOK_EVERY
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => break false,
                () = self.holding.closed() => break false,
                () = pause_unless_stalled(pause) => {}
            }
        };
        self.release(cut).await;
    }

    /// One look, and one write if it is to be taken or renewed. Says how long to wait for the next.
    async fn attempt(&mut self) -> Result<Duration, AttemptError> {
        let lease = match self.current.take() {
            Some(lease) => lease,
            None => answered(self.api.get(&self.name)).await?,
        };
        if is_another_bots(&lease, &self.bot_uid) {
            self.holding.send_replace(Holding::Lost { holder: "another bot of the same name".into() });
            return Err(AttemptError::OtherBot);
        }
        let record = record_of(&lease);
        let held = matches!(*self.holding.borrow(), Holding::Held { .. });
        match self.candidate.judge(&record, held, BootTime::now()) {
            Move::Lost => {
                let holder = record.holder.unwrap_or_else(|| NOBODY.to_owned());
                warn!(lease = self.name, holder, "the Lease was taken");
                self.holding.send_replace(Holding::Lost { holder });
                Ok(LOOK_EVERY)
            }
            Move::Wait(rest) => {
                let holder = record.holder.unwrap_or_default();
                if self.other.as_ref() != Some(&holder) {
                    info!(lease = self.name, holder, "another agent holds the Lease; waiting");
                    self.other = Some(holder);
                }
                Ok(rest.min(LOOK_EVERY))
            }
            Move::Take(predecessor) => {
                let wanted = renewed(&lease, self.candidate.identity(), Timestamp::now());
                let sent = BootTime::now();
                let written = answered(self.api.replace(&self.name, &PostParams::default(), &wanted)).await?;
                if !held {
                    info!(lease = self.name, after = ?predecessor, "holding the Lease");
                }
                self.current = Some(written);
                self.holding.send_replace(Holding::Held { sent });
                // Renewals are counted from their sending, however long the answer took.
                Ok(RENEW_EVERY.saturating_sub(BootTime::now().since(sent)))
            }
        }
    }

    /// Lets go of the Lease when it is held, or may be because an attempt to take it was `cut` short.
    async fn release(mut self, cut: bool) {
        let held = matches!(self.holding.send_replace(Holding::Waiting), Holding::Held { .. });
        if !held && !cut {
            return;
        }
        match tokio::time::timeout(RELEASE_TIMEOUT, self.write_nobody()).await {
            Ok(Ok(())) => info!(lease = self.name, "the Lease was released"),
            Ok(Err(error)) => warn!(lease = self.name, %error, "the Lease could not be released"),
            Err(_) => warn!(lease = self.name, "the Lease could not be released in time"),
        }
    }

    async fn write_nobody(&mut self) -> Result<(), kube::Error> {
        let mut lease = match self.current.take() {
            Some(lease) => lease,
            // The last renewal failed, so that the version in hand may be old.
            None => self.api.get(&self.name).await?,
        };
        let Some(spec) = &mut lease.spec else { return Ok(()) };
        if spec.holder_identity.as_deref() == Some(self.candidate.identity()) {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            self.api.replace(&self.name, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }
}

async fn answered<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, AttemptError> {
    tokio::time::timeout(RENEW_TIMEOUT, call).await.map_err(|_| AttemptError::Timeout)?.map_err(Into::into)
}

/// Sleeps in small steps on the clock that counts suspension, so that a process that was frozen or a
/// machine that slept renews at once.
async fn pause_unless_stalled(pause: Duration) {
    let began = BootTime::now();
    let mut last = began;
    loop {
        let now = BootTime::now();
        let Some(rest) = pause.checked_sub(now.since(began)).filter(|rest| !rest.is_zero()) else { return };
        if now.since(last) > LONGEST_STALL {
            return;
        }
        last = now;
        tokio::time::sleep(rest.min(Duration::from_millis(500))).await;
    }
}

/// A bot that was deleted and made again has the same name and a Lease of its own: the agent of the
/// former must not take it.
fn is_another_bots(lease: &Lease, bot_uid: &str) -> bool {
    let owners = lease.metadata.owner_references.as_deref().unwrap_or_default();
    let bots: Vec<_> = owners.iter().filter(|owner| owner.kind == TradingBot::kind(&())).collect();
    !bots.is_empty() && bots.iter().all(|owner| owner.uid != bot_uid)
}

fn record_of(lease: &Lease) -> Record {
    Record {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone()),
    }
}

/// The Lease as its holder writes it; the resource version makes the write conditional.
fn renewed(lease: &Lease, identity: &str, now: Timestamp) -> Lease {
    let mut lease = lease.clone();
    let old = lease.spec.take().unwrap_or_default();
    let same = old.holder_identity.as_deref() == Some(identity);
    let now = MicroTime(now);
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
        renew_time: Some(now.clone()),
        acquire_time: old.acquire_time.filter(|_| same).or(Some(now)),
        lease_transitions: Some(old.lease_transitions.unwrap_or(0).saturating_add(i32::from(!same))),
        ..LeaseSpec::default()
    });
    lease
}

#[cfg(test)]
mod tests {
    use super::super::fake;
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    fn lease(holder: Option<&str>, transitions: Option<i32>) -> Lease {
        let mut lease = Lease::default();
        lease.metadata.resource_version = Some("7".into());
        lease.spec = holder.map(|holder| LeaseSpec {
            holder_identity: Some(holder.into()),
            acquire_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            lease_transitions: transitions,
            ..LeaseSpec::default()
        });
        lease
    }

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn the_first_holder_of_an_empty_lease_writes_everything_on_the_version_it_read() {
        let written = renewed(&lease(None, None), "me", now());
        assert_eq!(written.metadata.resource_version.as_deref(), Some("7"));
        let spec = written.spec.unwrap();
        assert_eq!(spec.holder_identity.as_deref(), Some("me"));
        assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(40), Some(1)));
        assert_eq!((spec.acquire_time, spec.renew_time), (Some(MicroTime(now())), Some(MicroTime(now()))));
    }

    #[test]
    fn the_lease_of_a_successor_is_not_ours() {
        let owned_by = |uids: &[&str]| {
            let owner = |uid: &&str| OwnerReference {
                kind: "TradingBot".into(),
                uid: (*uid).into(),
                ..OwnerReference::default()
            };
            let mut lease = lease(None, None);
            lease.metadata.owner_references = Some(uids.iter().map(owner).collect());
            lease
        };
        assert!(!is_another_bots(&owned_by(&[]), "ours"));
        assert!(!is_another_bots(&owned_by(&["ours"]), "ours"));
        assert!(is_another_bots(&owned_by(&["successor"]), "ours"));
    }

    #[test]
    fn a_renewal_keeps_the_term_and_a_takeover_begins_one() {
        let mine = renewed(&lease(Some("me"), Some(3)), "me", now()).spec.unwrap();
        assert_eq!(
            (mine.lease_transitions, mine.acquire_time),
            (Some(3), Some(MicroTime(Timestamp::UNIX_EPOCH)))
        );
        let taken = renewed(&lease(Some("other"), Some(3)), "me", now()).spec.unwrap();
        assert_eq!((taken.lease_transitions, taken.acquire_time), (Some(4), Some(MicroTime(now()))));
    }

    async fn candidate() -> (Renewal, watch::Receiver<Holding>, fake::Shared) {
        let (client, objects) = fake::start().await;
        let api = Api::namespaced(client, "default");
        let (renewal, holding) = Renewal::new(api, &fake::environment(), Metrics::new("default", "majors"));
        (renewal, holding, objects)
    }

    fn holder(objects: &fake::Shared) -> serde_json::Value {
        objects.lock().unwrap().lease["spec"]["holderIdentity"].clone()
    }

    #[tokio::test]
    async fn a_free_lease_is_taken_renewed_and_let_go() {
        let (mut renewal, holding, objects) = candidate().await;
        let pause = renewal.attempt().await.unwrap();
        assert!(pause > RENEW_EVERY / 2 && pause <= RENEW_EVERY, "{pause:?}");
        assert_eq!(holder(&objects), "me");
        assert!(holding.borrow().is_current(BootTime::now()));
        renewal.attempt().await.unwrap();
        assert_eq!(objects.lock().unwrap().writes, 2, "no look was needed in between");
        renewal.release(false).await;
        assert!(holder(&objects).is_null());
    }

    #[tokio::test]
    async fn a_lease_that_someone_took_is_lost_and_not_let_go() {
        let (mut renewal, holding, objects) = candidate().await;
        renewal.attempt().await.unwrap();
        let take = |lease: &mut serde_json::Value| lease["spec"]["holderIdentity"] = "other".into();
        fake::touch(&mut objects.lock().unwrap().lease, take);
        assert!(matches!(renewal.attempt().await, Err(AttemptError::Conflict)));
        renewal.attempt().await.unwrap();
        assert_eq!(*holding.borrow(), Holding::Lost { holder: "other".into() });
        renewal.release(false).await;
        assert_eq!(holder(&objects), "other");
    }

    #[tokio::test]
    async fn a_lease_that_was_taken_and_let_go_meanwhile_is_lost_and_not_wanted_any_more() {
        let (mut renewal, holding, objects) = candidate().await;
        renewal.attempt().await.unwrap();
        let let_go =
            |lease: &mut serde_json::Value| lease["spec"]["holderIdentity"] = serde_json::Value::Null;
        fake::touch(&mut objects.lock().unwrap().lease, let_go);
        assert!(matches!(renewal.attempt().await, Err(AttemptError::Conflict)));
        renewal.attempt().await.unwrap();
        assert_eq!(*holding.borrow(), Holding::Lost { holder: "nobody".into() });
        let running = renewal.run(CancellationToken::new());
        tokio::time::timeout(Duration::from_secs(5), running).await.expect("it wants the Lease again");
        assert!(holder(&objects).is_null());
    }

    #[tokio::test]
    async fn a_shutdown_does_not_wait_for_an_api_server_that_does_not_answer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let client = kube::Client::try_from(kube::Config::new(url)).unwrap();
        let api = Api::namespaced(client, "default");
        let metrics = Metrics::new("default", "majors");
        let (renewal, _holding) = Renewal::new(api, &fake::environment(), metrics);
        let stop = CancellationToken::new();
        let running = tokio::spawn(renewal.run(stop.clone()));
        let _connection = listener.accept().await.unwrap();
        stop.cancel();
        let limit = RELEASE_TIMEOUT + Duration::from_millis(500);
        tokio::time::timeout(limit, running).await.expect("it waits for the answer").unwrap();
    }

    #[tokio::test]
    async fn the_lease_of_a_successor_is_never_written() {
        let (mut renewal, holding, objects) = candidate().await;
        let owner = serde_json::json!([
            {"apiVersion": "v1", "kind": "TradingBot", "name": "majors", "uid": "successor"}
        ]);
        objects.lock().unwrap().lease["metadata"]["ownerReferences"] = owner;
        assert!(matches!(renewal.attempt().await, Err(AttemptError::OtherBot)));
        assert!(matches!(*holding.borrow(), Holding::Lost { .. }));
        assert_eq!(objects.lock().unwrap().writes, 0);
    }
}
