//! Who trades: the Leases of all bots, and the moment each runs out.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crds::contract::lease::{DURATION, UNKNOWN_HOLDER};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use kube::runtime::watcher::Event;
use serde::Deserialize;

use super::{Cause, Triggers, Unstructured};
use crate::controller::BotRef;

/// Whether an agent holds the Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// An agent holds it and renews it.
    Live,
    /// An agent holds it and does not renew it.
    Expired,
    /// It had run out when it was first seen. By whose clock is not known: that of its holder's node may be slow.
    Doubtful,
    /// Nobody holds it.
    Unheld,
}

/// What is known of one Lease.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    holder: Option<String>,
    renewed: Option<Timestamp>,
    /// Until when it holds, or is doubtful. On this process's own clock: those of the nodes may differ.
    until: Instant,
    connection: Connection,
}

type Key = (String, String);

/// The Leases of all bots. A renewal is kept here and nowhere else; only a change of the answer to "who
/// trades?" makes a bot worth another look.
#[derive(Debug, Default)]
pub struct Leases {
    seen: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    leases: HashMap<Key, Seen>,
    losses: HashMap<Key, u64>,
    /// What a list that is under way has brought so far.
    relisted: HashMap<Key, LeaseSpec>,
}

impl State {
    /// Keeps what a Lease says, or that there is none, and returns whether that answers "who trades?" otherwise
    /// than before.
    fn put(&mut self, key: Key, spec: Option<&LeaseSpec>, now: Instant, wall: Timestamp) -> bool {
        let before = self.leases.remove(&key);
        let after = spec.map(|spec| see(before.as_ref(), spec, now, wall));
        let is_live =
            |seen: &Option<Seen>| seen.as_ref().is_some_and(|seen| seen.connection == Connection::Live);
        if is_live(&before) && !is_live(&after) {
            *self.losses.entry(key.clone()).or_default() += 1;
        }
        let answer = |seen: &Option<Seen>| seen.as_ref().map(|seen| (seen.connection, seen.holder.clone()));
        let is_other = answer(&before) != answer(&after);
        if let Some(after) = after {
            self.leases.insert(key, after);
        }
        is_other
    }
}

impl Leases {
    /// Whether an agent of that bot holds its Lease.
    pub fn connection(&self, namespace: &str, bot: &str) -> Connection {
        let key = (namespace.to_owned(), bot.to_owned());
        self.lock().leases.get(&key).map_or(Connection::Unheld, |seen| seen.connection)
    }

    /// How often this process saw an agent of that bot go.
    pub fn losses(&self, namespace: &str, bot: &str) -> u64 {
        self.lock().losses.get(&(namespace.to_owned(), bot.to_owned())).copied().unwrap_or(0)
    }

    /// Takes in an event of the watch, and returns the bots for whom the answer to "who trades?" is another
    /// one now. A renewal is none.
    pub fn observe(&self, event: &Event<Unstructured>) -> Vec<BotRef> {
        self.observe_at(event, Instant::now(), Timestamp::now())
    }

    fn observe_at(&self, event: &Event<Unstructured>, now: Instant, wall: Timestamp) -> Vec<BotRef> {
        let mut state = self.lock();
        let changed = match event {
            Event::Apply(lease) => key(lease)
                .filter(|key| state.put(key.clone(), Some(&spec(lease)), now, wall))
                .into_iter()
                .collect(),
            Event::Delete(lease) => {
                key(lease).filter(|key| state.put(key.clone(), None, now, wall)).into_iter().collect()
            }
            Event::Init => {
                state.relisted = HashMap::new();
                Vec::new()
            }
            Event::InitApply(lease) => {
                if let Some(key) = key(lease) {
                    state.relisted.insert(key, spec(lease));
                }
                Vec::new()
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut state.relisted);
                let vanished = state.leases.keys().filter(|key| !listed.contains_key(*key)).cloned();
                let vanished: Vec<Key> = vanished.collect();
                let mut changed = Vec::new();
                let now_listed = listed.into_iter().map(|(key, spec)| (key, Some(spec)));
                for (key, spec) in now_listed.chain(vanished.into_iter().map(|key| (key, None))) {
                    if state.put(key.clone(), spec.as_ref(), now, wall) {
                        changed.push(key);
                    }
                }
                changed
            }
        };
        changed.iter().map(|(namespace, bot)| BotRef::new(bot).within(namespace)).collect()
    }

    /// Forgets the losses of a bot that is gone. A Lease that goes is no reason to: the next one's agent may miss
    /// what the last one's did.
    pub fn forget(&self, namespace: &str, bot: &str) {
        self.lock().losses.remove(&(namespace.to_owned(), bot.to_owned()));
    }

    /// Marks what has run out and asks for another look at it. Runs until the process ends.
    pub async fn expire(&self, triggers: Triggers) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            for (namespace, bot) in self.expire_at(Instant::now()) {
                triggers.one(BotRef::new(&bot).within(&namespace), Cause::Status);
            }
        }
    }

    fn expire_at(&self, now: Instant) -> Vec<Key> {
        let mut state = self.lock();
        let State { leases, losses, relisted: _ } = &mut *state;
        let mut expired = Vec::new();
        for (key, seen) in leases.iter_mut() {
            if seen.until > now || !matches!(seen.connection, Connection::Live | Connection::Doubtful) {
                continue;
            }
            if seen.connection == Connection::Live {
                *losses.entry(key.clone()).or_default() += 1;
            }
            seen.connection = Connection::Expired;
            expired.push(key.clone());
        }
        expired
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(lease: &Unstructured) -> Option<Key> {
    Some((lease.metadata.namespace.clone()?, lease.metadata.name.clone()?))
}

fn spec(lease: &Unstructured) -> LeaseSpec {
    lease.data.get("spec").and_then(|spec| LeaseSpec::deserialize(spec).ok()).unwrap_or_default()
}

/// A Lease that is seen for the first time is judged by what it says; afterwards a renewal counts from
/// the moment it was seen, so that a node whose clock is wrong is not taken for dead.
fn see(before: Option<&Seen>, spec: &LeaseSpec, now: Instant, wall: Timestamp) -> Seen {
    let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty() && holder != UNKNOWN_HOLDER);
    let renewed = spec.renew_time.as_ref().map(|time| time.0);
    let duration = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(DURATION, Duration::from_secs);
    if let Some(before) = before.filter(|before| before.holder == holder && before.renewed == renewed) {
        return before.clone();
    }
    let left = match (before, renewed) {
        (Some(_), Some(_)) => duration,
        (None, Some(renewed)) => {
            let age = Duration::try_from(wall.duration_since(renewed)).unwrap_or(Duration::ZERO);
            duration.saturating_sub(age)
        }
        (_, None) => Duration::ZERO,
    };
    let (connection, left) = match &holder {
        None => (Connection::Unheld, left),
        Some(_) if left.is_zero() => (Connection::Doubtful, duration),
        Some(_) => (Connection::Live, left),
    };
    Seen { holder, renewed, until: now + left, connection }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Bench {
        leases: Leases,
        start: Instant,
        wall: Timestamp,
    }

    impl Bench {
        fn new() -> Self {
            Self { leases: Leases::default(), start: Instant::now(), wall: Timestamp::now() }
        }

        fn lease(&self, holder: &str, renewed: i64) -> Unstructured {
            let renewed = self.wall + jiff::SignedDuration::from_secs(renewed);
            let spec = json!({"holderIdentity": holder, "leaseDurationSeconds": 40, "renewTime": renewed.to_string()});
            serde_json::from_value(json!({"metadata": {"namespace": "n", "name": "a"}, "spec": spec}))
                .unwrap()
        }

        fn see(&self, at: u64, lease: Unstructured) -> bool {
            !self.observe(at, &Event::Apply(lease)).is_empty()
        }

        fn observe(&self, at: u64, event: &Event<Unstructured>) -> Vec<BotRef> {
            let passed = Duration::from_secs(at);
            let wall = self.wall + jiff::SignedDuration::try_from(passed).unwrap();
            self.leases.observe_at(event, self.start + passed, wall)
        }

        /// A list that holds this alone, or nothing: whether it brings news.
        fn relist(&self, at: u64, lease: Option<Unstructured>) -> bool {
            assert!(self.observe(at, &Event::Init).is_empty());
            if let Some(lease) = lease {
                assert!(self.observe(at, &Event::InitApply(lease)).is_empty());
            }
            let changed = self.observe(at, &Event::InitDone);
            assert!(changed.iter().all(|bot| *bot == BotRef::new("a").within("n")));
            !changed.is_empty()
        }

        fn losses(&self) -> u64 {
            self.leases.losses("n", "a")
        }

        fn expire(&self, at: u64) -> usize {
            self.leases.expire_at(self.start + Duration::from_secs(at)).len()
        }

        fn connection(&self) -> Connection {
            self.leases.connection("n", "a")
        }
    }

    #[test]
    fn renewals_are_silent_and_an_expiry_and_a_return_are_not() {
        let bench = Bench::new();
        assert_eq!(bench.connection(), Connection::Unheld);
        assert!(bench.see(0, bench.lease("pod-1", 0)));
        assert_eq!(bench.connection(), Connection::Live);
        assert!(!bench.see(10, bench.lease("pod-1", 10)));
        assert_eq!(bench.expire(49), 0);
        assert_eq!(bench.expire(50), 1);
        assert_eq!(bench.connection(), Connection::Expired);
        assert_eq!(bench.expire(51), 0, "said once");
        assert!(bench.see(60, bench.lease("pod-1", 60)));
        assert_eq!(bench.connection(), Connection::Live);
        assert!(bench.see(70, bench.lease("pod-2", 70)), "another holder");
        assert!(bench.see(80, bench.lease("", 80)), "released");
        assert_eq!((bench.connection(), bench.losses()), (Connection::Unheld, 2));
    }

    #[test]
    fn what_happened_between_two_lists_is_news_and_a_renewal_is_not() {
        let bench = Bench::new();
        bench.see(0, bench.lease("", 0));
        assert!(bench.relist(10, Some(bench.lease("pod-1", 10))), "taken");
        assert_eq!((bench.connection(), bench.losses()), (Connection::Live, 0));
        assert!(!bench.relist(20, Some(bench.lease("pod-1", 20))), "renewed");
        assert_eq!(bench.expire(59), 0, "counted from the renewal");
        assert!(bench.relist(59, Some(bench.lease("pod-2", 59))), "another holder");
        assert!(bench.relist(60, Some(bench.lease("", 60))), "released");
        assert_eq!((bench.connection(), bench.losses()), (Connection::Unheld, 1));
        bench.see(70, bench.lease("pod-3", 70));
        assert!(bench.relist(80, None), "it is gone");
        assert_eq!((bench.connection(), bench.losses()), (Connection::Unheld, 2));
        assert!(!bench.relist(90, None));
    }

    #[test]
    fn losses_outlast_the_lease_and_go_with_the_bot() {
        let bench = Bench::new();
        let live = bench.lease("pod-1", 0);
        bench.see(0, live.clone());
        bench.see(10, bench.lease("", 10));
        assert_eq!(bench.losses(), 1);
        assert!(!bench.observe(20, &Event::Delete(bench.lease("", 10))).is_empty());
        assert_eq!(bench.losses(), 1, "nobody held it");
        bench.see(30, bench.lease("pod-2", 30));
        bench.observe(40, &Event::Delete(live));
        assert_eq!(bench.losses(), 2, "its holder may go unseen");
        bench.leases.forget("n", "a");
        assert_eq!(bench.losses(), 0);
    }

    #[test]
    fn a_lease_of_the_past_is_doubtful_until_it_moves_or_has_stood_still_for_as_long_as_it_holds() {
        let bench = Bench::new();
        bench.see(0, bench.lease("pod-1", -100));
        assert_eq!((bench.connection(), bench.expire(39)), (Connection::Doubtful, 0));
        assert!(bench.see(39, bench.lease("pod-1", -61)));
        assert_eq!(bench.connection(), Connection::Live, "it moved, so somebody lives");
        assert_eq!((bench.expire(79), bench.losses()), (1, 1));

        let bench = Bench::new();
        bench.see(0, bench.lease("pod-1", -100));
        assert!(!bench.see(30, bench.lease("pod-1", -100)), "the same again");
        assert_eq!((bench.expire(40), bench.connection()), (1, Connection::Expired));
        assert_eq!((bench.expire(41), bench.losses()), (0, 0), "it was lost before");
    }

    #[test]
    fn the_unknown_holder_and_an_empty_lease_are_nobody() {
        let bench = Bench::new();
        bench.see(0, bench.lease(UNKNOWN_HOLDER, 0));
        assert_eq!(bench.connection(), Connection::Unheld);
        let empty = serde_json::from_value(json!({"metadata": {"namespace": "n", "name": "a"}})).unwrap();
        bench.see(1, empty);
        assert_eq!(bench.connection(), Connection::Unheld);
    }
}
