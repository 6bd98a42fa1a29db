//! What is kept of the children, and by what it is found.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::watch::seen::{Change, Seen};
use crate::watch::{ChildKind, Unstructured};

/// Namespace and name of a bot.
type BotName = (Box<str>, Box<str>);

/// All that is kept.
#[derive(Debug, Default)]
pub struct State {
    pub objects: HashMap<Key, Seen>,
    /// Objects by the bot that they name, where that is not their own name, and Certificates by the bots that own them.
    pub strays: HashMap<BotName, BTreeSet<(ChildKind, Box<str>)>>,
    /// Writes that no watch has shown yet.
    pub unshown: HashMap<Key, Instant>,
}

/// An object of a kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    pub kind: ChildKind,
    /// Namespace and name with a slash between, which neither can hold.
    pub name: Box<str>,
}

impl Key {
    pub fn new(kind: ChildKind, namespace: &str, name: &str) -> Self {
        Self { kind, name: format!("{namespace}/{name}").into() }
    }

    pub fn of(kind: ChildKind, object: &Unstructured) -> Option<Self> {
        let metadata = &object.metadata;
        Some(Self::new(kind, metadata.namespace.as_deref()?, metadata.name.as_deref()?))
    }

    pub fn split(&self) -> (&str, &str) {
        self.name.split_once('/').unwrap_or_default()
    }
}

impl State {
    /// Takes in what a watch shows, and says what is new about it.
    pub fn show(&mut self, key: Key, mut seen: Seen) -> Change {
        let change = match self.objects.get(&key) {
            // Older than what this process wrote.
            Some(before) if before.version > seen.version => return Change::Nothing,
            Some(before) => seen.follow(before),
            None => Change::Content,
        };
        self.unshown.remove(&key);
        self.insert(key, seen);
        change
    }

    pub fn insert(&mut self, key: Key, seen: Seen) {
        self.unindex(&key);
        for place in places(&key, &seen) {
            self.strays.entry(place).or_default().insert((key.kind, key.split().1.into()));
        }
        self.objects.insert(key, seen);
    }

    /// Forgets a kind that the cluster no longer has.
    pub fn clear(&mut self, kind: ChildKind) {
        let keys: Vec<_> = self.objects.keys().filter(|key| key.kind == kind).cloned().collect();
        for key in keys {
            self.remove(&key);
        }
    }

    pub fn remove(&mut self, key: &Key) -> Option<Seen> {
        self.unindex(key);
        self.unshown.remove(key);
        self.objects.remove(key)
    }

    fn unindex(&mut self, key: &Key) {
        let stray = (key.kind, key.split().1.into());
        for place in self.objects.get(key).map(|seen| places(key, seen)).unwrap_or_default() {
            if let Some(strays) = self.strays.get_mut(&place) {
                strays.remove(&stray);
                if strays.is_empty() {
                    self.strays.remove(&place);
                }
            }
        }
    }
}

/// The bots under which an object is found that does not bear its bot's name.
fn places(key: &Key, seen: &Seen) -> Vec<BotName> {
    let (namespace, name) = key.split();
    // By a Certificate's own name no bot is looked for.
    let is_stray = |bot: &&str| key.kind == ChildKind::Certificate || *bot != name;
    let bots = seen.bots(key.kind, name).into_iter().filter(is_stray);
    bots.map(|bot| (namespace.into(), bot.into())).collect()
}
