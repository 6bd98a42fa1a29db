//! What the faker knows of each bot.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::Options;

/// Bots that are played side by side.
const WORKERS: usize = 16;

/// A bot's place and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    fn hash(&self) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one(self)
    }
}

/// What a test makes a bot's agent and pod do.
#[derive(Clone, Debug)]
pub struct Hand {
    /// Nothing of the bot is touched any more, its Lease included.
    pub frozen: bool,
    /// The agent renews its Lease. After a pause it writes its share anew, as the real one does.
    pub renews: bool,
    /// The agent's process is there. Without it the Lease is given back, as at a clean end.
    pub runs: bool,
    /// The pod is ready.
    pub available: bool,
    /// The configuration that the agent says it runs, instead of the one it mounts.
    pub config_hash: Option<String>,
    /// How the loop fares.
    pub loop_health: String,
    /// Whether prices arrive.
    pub feed_healthy: bool,
    /// What the account is worth.
    pub equity: String,
}

impl Default for Hand {
    fn default() -> Self {
        Self {
            frozen: false,
            renews: true,
            runs: true,
            available: true,
            config_hash: None,
            loop_health: "Running".into(),
            feed_healthy: true,
            equity: "10000.00".into(),
        }
    }
}

/// The agent's Deployment.
#[derive(Clone, Debug)]
pub struct Workload {
    pub uid: String,
    pub generation: i64,
    pub replicas: i32,
    pub observed: i64,
    pub available: i32,
    pub seen: Instant,
}

/// What is known of one bot.
#[derive(Clone, Debug, Default)]
pub struct Bot {
    pub uid: Option<String>,
    pub workload: Option<Workload>,
    pub config_hash: Option<String>,
    pub lease: Option<Lease>,
    /// When the Lease is to be renewed, while it is held.
    pub due: Option<Instant>,
    /// The share that was written since the Lease was taken.
    pub share: Option<Value>,
    pub hand: Hand,
}

impl Bot {
    fn is_empty(&self) -> bool {
        self.uid.is_none() && self.workload.is_none() && self.config_hash.is_none() && self.lease.is_none()
    }
}

pub type Queues = Vec<UnboundedReceiver<Key>>;

/// Shared by watches, workers and the test.
pub struct Shared {
    pub client: Client,
    pub options: Options,
    bots: Mutex<HashMap<Key, Bot>>,
    waiting: Mutex<HashSet<Key>>,
    queues: Vec<UnboundedSender<Key>>,
}

impl Shared {
    pub fn new(client: Client, options: Options) -> (Arc<Self>, Queues) {
        let (queues, receivers) = (0..WORKERS).map(|_| unbounded_channel()).unzip();
        let shared = Self { client, options, bots: Mutex::default(), waiting: Mutex::default(), queues };
        (Arc::new(shared), receivers)
    }

    /// What is known of a bot now.
    pub fn bot(&self, key: &Key) -> Option<Bot> {
        self.bots().get(key).cloned()
    }

    /// Changes what is known and asks for another look.
    pub fn change(&self, key: &Key, change: impl FnOnce(&mut Bot)) {
        self.note(key, change);
        self.look(key);
    }

    /// Changes what is known; a bot of which nothing is left is forgotten.
    pub fn note(&self, key: &Key, change: impl FnOnce(&mut Bot)) {
        let mut bots = self.bots();
        let bot = bots.entry(key.clone()).or_default();
        let was_there = !bot.is_empty();
        change(bot);
        if was_there && bot.is_empty() {
            bots.remove(key);
        }
    }

    /// The bots that are there, with their UIDs.
    pub fn uids(&self) -> Vec<(Key, String)> {
        self.bots().iter().filter_map(|(key, bot)| Some((key.clone(), bot.uid.clone()?))).collect()
    }

    /// Asks for a look at a bot. Looks at one bot come one after the other.
    pub fn look(&self, key: &Key) {
        if self.waiting.lock().expect("no panic").insert(key.clone()) {
            let place = usize::try_from(key.hash() % self.queues.len() as u64).expect("a small number");
            self.queues[place].send(key.clone()).ok();
        }
    }

    /// A look begins: what happens from now on asks for another one.
    pub fn begin(&self, key: &Key) {
        self.waiting.lock().expect("no panic").remove(key);
    }

    pub fn look_at_due(&self) {
        let now = Instant::now();
        let due = |bot: &Bot| bot.due.is_some_and(|due| due <= now) && bot.hand.renews && !bot.hand.frozen;
        let due: Vec<_> =
            self.bots().iter().filter(|(_, bot)| due(bot)).map(|(key, _)| key.clone()).collect();
        due.iter().for_each(|key| self.look(key));
    }

    /// When a Lease that was just written is written again. The first pause of a bot is a part of the whole one
    /// that its name picks, so that thousands of bots do not come at once.
    pub fn next_renewal(&self, key: &Key, first: bool) -> Option<Instant> {
        let every = self.options.renew_every?;
        let part = if first {
            Duration::from_millis(key.hash() % 1000) * every.as_millis() as u32 / 1000
        } else {
            every
        };
        Some(Instant::now() + part)
    }

    fn bots(&self) -> MutexGuard<'_, HashMap<Key, Bot>> {
        self.bots.lock().expect("no panic")
    }
}
