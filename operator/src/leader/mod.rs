//! Which of several operators writes.
//!
//! All watch; the holder of one Lease writes. Leading ends by itself when the Lease is not renewed: the
//! [`Fence`] in the client lets no write out after that, whatever this process believes or however long it
//! was frozen. The rules, and why two never write at once, are in `terms.rs`.

mod client;
mod clock;
mod fence;
mod terms;

use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::PostParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::watch::{Events, version};
use clock::BootTime;
use terms::{Candidate, Move, Record};

pub use client::{fenced, unfenced};
pub use fence::{Fence, Fenced};
pub use terms::Terms;

/// What may take part in an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidacy {
    /// Where the Lease is; by default the namespace of this process's pod or kubeconfig.
    pub namespace: Option<String>,
    /// The Lease's name.
    pub lease: String,
    /// How long it lasts.
    pub terms: Terms,
}

/// Wants the Lease, renews it, and lets it go.
pub struct Election {
    api: Api<Lease>,
    name: String,
    candidate: Candidate,
    terms: Terms,
    fence: Fence,
    events: Events<Lease>,
    /// The Lease as it was last seen or written, or that there is none. None: not known.
    known: Option<Option<Lease>>,
    /// How often it was missing.
    absences: u64,
    /// What a list has brought so far.
    listed: Option<Lease>,
    /// When the last write that was answered was sent.
    sent: Option<BootTime>,
    rival: String,
}

/// Why an attempt to write the Lease came to nothing.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error("no answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("somebody else wrote it first")]
    Conflict,
    #[error(transparent)]
    Api(kube::Error),
}

impl Election {
    /// A candidate that opens and closes the fence. The client must not be behind that fence itself.
    pub fn new(client: Client, candidacy: &Candidacy, identity: String, fence: Fence) -> Self {
        let namespace =
            candidacy.namespace.as_deref().unwrap_or_else(|| client.default_namespace()).to_owned();
        let api: Api<Lease> = Api::namespaced(client, &namespace);
        info!(namespace, lease = candidacy.lease, identity, "candidate for leadership");
        Self {
            events: look(&api, &candidacy.lease, candidacy.terms.renew_every()),
            api,
            name: candidacy.lease.clone(),
            candidate: Candidate::new(identity, candidacy.terms),
            terms: candidacy.terms,
            fence,
            known: None,
            absences: 0,
            listed: None,
            sent: None,
            rival: String::new(),
        }
    }

    /// Wants to lead until told to stop, then lets go.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut problem = String::new();
        while !stop.is_cancelled() {
            let pause = match self.step().await {
                Ok(pause) => {
                    if self.sent.is_some() {
                        problem.clear();
                    }
                    pause
                }
                Err(error) => {
                    // The write may have happened or not: only a fresh look tells.
                    self.forget();
                    let words = error.to_string();
                    if !matches!(error, AttemptError::Conflict) && words != problem {
                        warn!(lease = self.name, error = words, "the Lease could not be written");
                        problem = words;
                    }
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(self.terms.renew_every() / 4) => {}
                    }
                    continue;
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                Some(event) = self.events.next() => self.observe(event),
                () = tokio::time::sleep(pause) => {}
            }
        }
        self.release().await;
    }

    /// Writes the Lease if it is to be taken or renewed. Says how long to wait for the next step.
    async fn step(&mut self) -> Result<Duration, AttemptError> {
        let Some(known) = &self.known else { return Ok(self.terms.duration()) };
        let record = record_of(known.as_ref(), self.absences);
        match self.candidate.judge(&record, self.fence.left().is_some(), BootTime::now()) {
            Move::Wait(rest) => {
                if record.holder != self.rival {
                    info!(lease = self.name, holder = record.holder, "somebody else leads");
                    self.rival = record.holder;
                }
                Ok(rest)
            }
            Move::Take => {
                // The answer to a renewal comes back by the watch: that is no reason for another.
                if let (Some(sent), Some(_)) = (self.sent, self.fence.left())
                    && let Some(rest) = self.terms.renew_every().checked_sub(BootTime::now().since(sent))
                    && known.is_some()
                    && !rest.is_zero()
                {
                    return Ok(rest);
                }
                let mut wanted =
                    renewed(known.as_ref(), self.candidate.identity(), self.terms, Timestamp::now());
                wanted.metadata.name = Some(self.name.clone());
                let creates = known.is_none();
                let sent = BootTime::now();
                let parameters = PostParams::default();
                let write = async {
                    if creates {
                        self.api.create(&parameters, &wanted).await
                    } else {
                        self.api.replace(&self.name, &parameters, &wanted).await
                    }
                };
                let limit = self.terms.renew_every();
                let written = match tokio::time::timeout(limit, write).await {
                    Ok(Ok(written)) => written,
                    Ok(Err(kube::Error::Api(status)))
                        if status.is_conflict() || status.is_already_exists() =>
                    {
                        return Err(AttemptError::Conflict);
                    }
                    Ok(Err(error)) => return Err(AttemptError::Api(error)),
                    Err(_) => return Err(AttemptError::Timeout(limit)),
                };
                if self.fence.left().is_none() {
                    info!(lease = self.name, "leading");
                }
                self.rival.clear();
                self.known = Some(Some(written));
                self.sent = Some(sent);
                self.fence.extend(self.terms.end(sent));
                // Renewals are counted from their sending, however long the answer took.
                Ok(limit.saturating_sub(BootTime::now().since(sent)))
            }
        }
    }

    fn observe(&mut self, event: watcher::Result<Event<Lease>>) {
        match event {
            Ok(Event::Init) => self.listed = None,
            Ok(Event::InitApply(lease)) => self.listed = Some(lease),
            Ok(Event::InitDone) => {
                let listed = self.listed.take();
                self.see(listed);
            }
            Ok(Event::Apply(lease)) => self.see(Some(lease)),
            Ok(Event::Delete(lease)) => {
                if self.known_version() <= version(&lease.metadata) {
                    warn!(lease = self.name, "the Lease was deleted");
                    self.see(None);
                }
            }
            Err(error) => debug!(lease = self.name, %error, "the watch of the Lease is interrupted"),
        }
    }

    fn see(&mut self, lease: Option<Lease>) {
        // One's own write comes back later than its answer.
        if lease.as_ref().is_some_and(|lease| version(&lease.metadata) < self.known_version()) {
            return;
        }
        let holder = record_of(lease.as_ref(), self.absences).holder;
        if lease.is_some() && holder != self.candidate.identity() && self.fence.left().is_some() {
            warn!(lease = self.name, holder, "the Lease was taken away");
            self.fence.close();
        }
        // Each time anew: between two looks it may have been there.
        self.absences += u64::from(lease.is_none());
        self.known = Some(lease);
    }

    fn known_version(&self) -> u64 {
        self.known.iter().flatten().map(|lease| version(&lease.metadata)).max().unwrap_or(0)
    }

    fn forget(&mut self) {
        self.known = None;
        self.sent = None;
        self.listed = None;
        self.events = look(&self.api, &self.name, self.terms.renew_every());
    }

    /// Lets go of the Lease, so that nobody has to wait for its end; unless a write may still be done: another
    /// leader's must not come before it.
    async fn release(mut self) {
        let led = self.fence.left().is_some();
        self.fence.close();
        let Some(Some(mut lease)) = self.known.take().filter(|_| led) else { return };
        if self.fence.is_in_doubt() {
            warn!(
                lease = self.name,
                "the Lease runs out instead of being released: a write was not answered"
            );
            return;
        }
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let (limit, parameters) = (self.terms.renew_every(), PostParams::default());
        match tokio::time::timeout(limit, self.api.replace(&self.name, &parameters, &lease)).await {
            Ok(Ok(_)) => info!(lease = self.name, "the Lease was released"),
            Ok(Err(error)) => warn!(lease = self.name, %error, "the Lease could not be released"),
            Err(_) => warn!(lease = self.name, "the Lease could not be released in time"),
        }
    }
}

/// The Lease, and what becomes of it. After an outage it is found again at once: no growing waits.
fn look(api: &Api<Lease>, name: &str, every: Duration) -> Events<Lease> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    watcher(api.clone(), config).backoff(Steady(every)).boxed()
}

/// Always the same wait.
struct Steady(Duration);

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.0)
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}

fn record_of(lease: Option<&Lease>, absences: u64) -> Record {
    let spec = lease.and_then(|lease| lease.spec.as_ref());
    let seconds =
        spec.and_then(|spec| spec.lease_duration_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        version: match lease {
            Some(lease) => lease.metadata.resource_version.clone().unwrap_or_default(),
            None => absences.to_string(),
        },
        exists: lease.is_some(),
        holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
        duration: Duration::from_secs(seconds.unwrap_or(0)),
    }
}

/// The Lease with this holder. The other fields are for people and other programs to read.
fn renewed(lease: Option<&Lease>, identity: &str, terms: Terms, now: Timestamp) -> Lease {
    let mut wanted = lease.cloned().unwrap_or_default();
    let before = wanted.spec.take().unwrap_or_default();
    let is_mine = before.holder_identity.as_deref() == Some(identity);
    wanted.spec = Some(LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(terms.seconds().into()),
        renew_time: Some(MicroTime(now)),
        acquire_time: before.acquire_time.filter(|_| is_mine).or(Some(MicroTime(now))),
        lease_transitions: Some(match (lease, before.lease_transitions) {
            (None, _) => 0,
            (Some(_), before) => before.unwrap_or(0).saturating_add((!is_mine).into()),
        }),
        ..before
    });
    wanted
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_term_is_counted_once_and_what_others_wrote_into_the_lease_stays() {
        let (early, late) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let made = renewed(None, "a", Terms::new(4), early);
        let spec = made.spec.clone().unwrap();
        assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(4), Some(0)));
        let mut kept = made;
        kept.metadata.resource_version = Some("7".into());
        kept.metadata.labels = Some([("team".to_owned(), "x".to_owned())].into());
        let renewed_by_a = renewed(Some(&kept), "a", Terms::new(4), late);
        assert_eq!(renewed_by_a.metadata, kept.metadata);
        let spec = renewed_by_a.spec.clone().unwrap();
        assert_eq!((spec.acquire_time, spec.renew_time), (Some(MicroTime(early)), Some(MicroTime(late))));
        let taken = renewed(Some(&renewed_by_a), "b", Terms::new(4), late).spec.unwrap();
        assert_eq!((taken.acquire_time, taken.lease_transitions), (Some(MicroTime(late)), Some(1)));
        assert_eq!(taken.holder_identity.as_deref(), Some("b"));
    }

    /// A server that takes a PUT for done and answers nothing else, and how many it took.
    fn server() -> (kube::Config, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let puts = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&puts);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let count = Arc::clone(&count);
                std::thread::spawn(move || {
                    let mut request = [0; 4096];
                    let length = stream.read(&mut request).unwrap();
                    if request[..length].starts_with(b"PUT") {
                        count.fetch_add(1, Ordering::Relaxed);
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
                    }
                    stream.read_to_end(&mut Vec::new()).ok();
                });
            }
        });
        (kube::Config::new(format!("http://{address}").parse().unwrap()), puts)
    }

    #[tokio::test]
    async fn the_lease_is_released_unless_a_write_may_still_be_done() {
        for (is_in_doubt, puts) in [(false, 1), (true, 0)] {
            let (config, taken) = server();
            let terms = Terms::new(40);
            let fence = Fence::closed(terms);
            fence.extend(BootTime::MAX);
            let candidacy = Candidacy { namespace: None, lease: "x".into(), terms };
            let of_lease = unfenced(config.clone()).unwrap();
            let mut election = Election::new(of_lease, &candidacy, "me".into(), fence.clone());
            election.known = Some(Some(renewed(None, "me", terms, Timestamp::now())));
            if is_in_doubt {
                let api = Api::<Lease>::default_namespaced(fenced(&config, &fence).unwrap());
                let (parameters, lease) = (PostParams::default(), Lease::default());
                let write = api.create(&parameters, &lease);
                tokio::time::timeout(Duration::from_millis(100), write).await.expect_err("no answer");
            }
            election.release().await;
            assert_eq!(taken.load(Ordering::Relaxed), puts);
        }
    }

    #[test]
    fn a_released_lease_an_empty_one_and_none_are_told_apart() {
        let mut lease = renewed(None, "a", Terms::new(4), Timestamp::UNIX_EPOCH);
        lease.metadata.resource_version = Some("7".into());
        let record = record_of(Some(&lease), 0);
        assert_eq!((record.holder.as_str(), record.duration), ("a", Duration::from_secs(4)));
        lease.spec = None;
        let released = record_of(Some(&lease), 0);
        assert_eq!((released.version.as_str(), released.exists, released.holder.as_str()), ("7", true, ""));
        assert!(!record_of(None, 1).exists);
        assert_ne!(record_of(None, 1), record_of(None, 2), "another absence");
    }
}
