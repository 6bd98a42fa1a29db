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
    /// Objects by the bot that they name, where that is not their own name.
    pub strays: HashMap<BotName, BTreeSet<(ChildKind, Box<str>)>>,
    /// Certificates by their namespace: they name no bot, and belong to several.
    pub certificates: HashMap<Box<str>, BTreeSet<Box<str>>>,
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
        let (namespace, name) = key.split();
        if let Some(bot) = seen.bot(name).filter(|bot| *bot != name) {
            self.strays.entry((namespace.into(), bot.into())).or_default().insert((key.kind, name.into()));
        }
        if key.kind == ChildKind::Certificate {
            self.certificates.entry(namespace.into()).or_default().insert(name.into());
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
        let (namespace, name) = key.split();
        if key.kind == ChildKind::Certificate
            && let Some(names) = self.certificates.get_mut(namespace)
        {
            names.remove(name);
            if names.is_empty() {
                self.certificates.remove(namespace);
            }
        }
        let Some(bot) = self.objects.get(key).and_then(|seen| seen.bot(name)).filter(|bot| *bot != name)
        else {
            return;
        };
        let place = (namespace.into(), bot.into());
        if let Some(strays) = self.strays.get_mut(&place) {
            strays.remove(&(key.kind, name.into()));
            if strays.is_empty() {
                self.strays.remove(&place);
            }
        }
    }
}
