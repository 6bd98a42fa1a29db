//! The children of all bots, as the cluster has them and as this process wrote them.
//!
//! A watch lags behind a write. What the API server answered to a write is therefore taken in like an event:
//! nothing older replaces it, and its echo changes nothing. Without that every echo of one child would find
//! the next one missing or old and write it again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use crds::contract::MANAGED_BY;
use futures::StreamExt;
use kube::Client;
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use super::seen::{Change, Seen, Settled};
use super::{Cause, ChildKind, Digest, Events, Leases, Scope, Triggers, optional};
use crate::controller::{BotRef, Guarded, Owner};

/// A write older than this that no watch has shown is doubted: the object is looked for again.
const DOUBT_AFTER: Duration = Duration::from_secs(10);

/// The start waits no longer for kinds that a cluster may lack.
const WAIT_FOR_OPTIONAL: Duration = Duration::from_secs(10);

/// The labelled objects of every watched kind.
#[derive(Clone, Debug, Default)]
pub struct Children {
    state: Arc<RwLock<State>>,
    listed: Vec<watch::Receiver<bool>>,
    /// Whether the cluster has a kind that others lack; none before that is known.
    optional: Vec<(ChildKind, watch::Receiver<Option<bool>>)>,
}

/// Namespace and name of a bot.
type BotName = (Box<str>, Box<str>);

#[derive(Debug, Default)]
struct State {
    objects: HashMap<Key, Seen>,
    /// Objects by the bot that they name, where that is not their own name.
    strays: HashMap<BotName, BTreeSet<(ChildKind, Box<str>)>>,
    /// Certificates by their namespace: they name no bot, and belong to several.
    certificates: HashMap<Box<str>, BTreeSet<Box<str>>>,
    /// Writes that no watch has shown yet.
    unshown: HashMap<Key, Instant>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: ChildKind,
    /// Namespace and name with a slash between, which neither can hold.
    name: Box<str>,
}

impl Key {
    fn new(kind: ChildKind, namespace: &str, name: &str) -> Self {
        Self { kind, name: format!("{namespace}/{name}").into() }
    }

    fn of(kind: ChildKind, object: &DynamicObject) -> Option<Self> {
        let metadata = &object.metadata;
        Some(Self::new(kind, metadata.namespace.as_deref()?, metadata.name.as_deref()?))
    }

    fn split(&self) -> (&str, &str) {
        self.name.split_once('/').unwrap_or_default()
    }
}

/// How far the watch is with a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It has shown it as it was last written.
    Yes,
    /// Not yet.
    NotYet,
    /// It should have long ago.
    Overdue,
}

impl Children {
    /// Starts the watches as tasks of the set.
    pub fn watch(
        client: &Client,
        scope: &Scope,
        triggers: &Triggers,
        leases: &Arc<Leases>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let mut children = Self::default();
        let config = watcher::Config::default().labels(&format!("app.kubernetes.io/managed-by={MANAGED_BY}"));
        for kind in ChildKind::WATCHED {
            let events = scope.watch_dynamic(client, &kind.resource(), &config);
            let (sender, listed) = watch::channel(false);
            children.listed.push(listed);
            let watch = Watch::new(kind, &children.state, triggers, leases, sender);
            tasks.spawn(watch.run(events));
        }
        for kind in ChildKind::OPTIONAL {
            let (said, served) = watch::channel(None);
            tasks.spawn(optional::served(client.clone(), kind, said));
            let (sender, available) = watch::channel(None);
            children.optional.push((kind, available));
            let (state, client) = (Arc::clone(&children.state), client.clone());
            let (triggers, leases) = (triggers.clone(), Arc::clone(leases));
            let (scope, config) = (scope.clone(), config.clone());
            tasks.spawn(async move {
                let watch = |listed| {
                    let events = scope.watch_dynamic(&client, &kind.resource(), &config);
                    Watch::new(kind, &state, &triggers, &leases, listed).run(events)
                };
                let news = |is_there: bool| {
                    if !is_there {
                        state.write().unwrap_or_else(PoisonError::into_inner).clear(kind);
                    }
                    if sender.send_replace(Some(is_there)) != Some(is_there) {
                        triggers.each(is_exposed, Cause::Stages);
                    }
                };
                optional::while_served(served, watch, news).await;
            });
        }
        children
    }

    /// Whether the cluster has a kind.
    pub fn has(&self, kind: ChildKind) -> bool {
        let optional = self.optional.iter().find(|(optional, _)| *optional == kind);
        optional.is_none_or(|(_, available)| *available.borrow() == Some(true))
    }

    /// The Certificates that a bot is among the owners of.
    pub fn certificates_of(&self, owner: &Owner) -> Vec<(Box<str>, Seen)> {
        let state = self.lock();
        let names = state.certificates.get(owner.namespace.as_str()).into_iter().flatten();
        names
            .filter_map(|name| {
                let seen = state.objects.get(&Key::new(ChildKind::Certificate, &owner.namespace, name))?;
                seen.place_among_owners(owner).map(|_| (name.clone(), seen.clone()))
            })
            .collect()
    }

    /// A child as the cluster has it, as far as is known.
    pub fn get(&self, kind: ChildKind, namespace: &str, name: &str) -> Option<Seen> {
        self.lock().objects.get(&Key::new(kind, namespace, name)).cloned()
    }

    /// Whether the watch has caught up with the last write of a child.
    pub fn shown(&self, kind: ChildKind, namespace: &str, name: &str) -> Shown {
        match self.lock().unshown.get(&Key::new(kind, namespace, name)) {
            None => Shown::Yes,
            Some(at) if at.elapsed() > DOUBT_AFTER => Shown::Overdue,
            Some(_) => Shown::NotYet,
        }
    }

    /// Every object that bears a bot's label, the last kind first: what runs before what it needs.
    pub fn of_bot(&self, namespace: &str, bot: &str) -> Vec<(ChildKind, Box<str>, Seen)> {
        let state = self.lock();
        let strays = state.strays.get(&(namespace.into(), bot.into()));
        let kinds = ChildKind::WATCHED.into_iter().chain(ChildKind::OPTIONAL);
        let named_after = kinds.map(|kind| (kind, bot.into()));
        let mut found: Vec<_> = named_after
            .chain(strays.into_iter().flatten().cloned())
            .filter_map(|(kind, name)| {
                let seen = state.objects.get(&Key::new(kind, namespace, &name))?;
                (seen.bot(&name) == Some(bot)).then(|| (kind, name, seen.clone()))
            })
            .collect();
        found.sort_by_key(|(kind, ..)| std::cmp::Reverse(*kind));
        found
    }

    /// Takes in the answer to a write of a desired object. The share is what the answer made of it, where
    /// that is something else.
    pub fn written(&self, kind: ChildKind, desired: Digest, answer: &DynamicObject, share: Option<Digest>) {
        let Some(key) = Key::of(kind, answer) else { return };
        let mut seen = Seen::of(kind, answer);
        let mut state = self.lock_mut();
        if state.objects.get(&key).is_some_and(|newer| newer.version > seen.version) {
            return;
        }
        seen.verified = Some(desired);
        seen.content = None;
        seen.settled = share.map(|answer| Box::new(Settled { desired, answer }));
        let is_shown = state.objects.get(&key).is_some_and(|known| known.version == seen.version);
        if !is_shown {
            state.unshown.insert(key.clone(), Instant::now());
        }
        state.insert(key, seen);
    }

    /// Takes in an object that was read.
    pub fn read(&self, kind: ChildKind, object: &DynamicObject) {
        if let Some(key) = Key::of(kind, object) {
            self.lock_mut().show(key, Seen::of(kind, object));
        }
    }

    /// Keeps that an object was compared with what is desired and found to be that.
    pub fn verified(&self, kind: ChildKind, namespace: &str, name: &str, version: u64, desired: Digest) {
        let mut state = self.lock_mut();
        let known = state.objects.get_mut(&Key::new(kind, namespace, name));
        if let Some(seen) = known.filter(|seen| seen.version == version) {
            seen.verified = Some(desired);
            seen.content = None;
        }
    }

    /// Takes in that an object was deleted.
    pub fn deleted(&self, kind: ChildKind, namespace: &str, name: &str, uid: &str) {
        let key = Key::new(kind, namespace, name);
        let mut state = self.lock_mut();
        if state.objects.get(&key).is_some_and(|seen| *seen.uid == *uid) {
            state.remove(&key);
        }
    }

    /// Returns once every kind was listed, or the process ends.
    pub async fn wait_until_ready(&self) {
        for listed in &self.listed {
            listed.clone().wait_for(|listed| *listed).await.ok();
        }
        for (kind, available) in &self.optional {
            // A definition that is broken must not keep the bots waiting that do not need it.
            let known = async { available.clone().wait_for(Option::is_some).await.map(drop) };
            if tokio::time::timeout(WAIT_FOR_OPTIONAL, known).await.is_err() {
                warn!(kind = kind.as_str(), "it is not known yet whether the cluster has the kind");
            }
        }
    }

    fn lock(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes in what a watch shows, and says what is new about it.
    fn show(&mut self, key: Key, mut seen: Seen) -> Change {
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

    fn insert(&mut self, key: Key, seen: Seen) {
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
    fn clear(&mut self, kind: ChildKind) {
        let keys: Vec<_> = self.objects.keys().filter(|key| key.kind == kind).cloned().collect();
        for key in keys {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Seen> {
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

/// One kind's watch.
struct Watch {
    kind: ChildKind,
    state: Arc<RwLock<State>>,
    triggers: Triggers,
    leases: Arc<Leases>,
    listed: watch::Sender<bool>,
    relisted: Option<Relisted>,
}

/// A list that is under way.
struct Relisted {
    since: Instant,
    names: HashSet<Box<str>>,
}

fn is_exposed(bot: &Guarded) -> bool {
    bot.0.as_ref().is_ok_and(|bot| bot.spec.get("expose").is_some())
}

impl Watch {
    fn new(
        kind: ChildKind,
        state: &Arc<RwLock<State>>,
        triggers: &Triggers,
        leases: &Arc<Leases>,
        listed: watch::Sender<bool>,
    ) -> Self {
        Self {
            kind,
            state: Arc::clone(state),
            triggers: triggers.clone(),
            leases: Arc::clone(leases),
            listed,
            relisted: None,
        }
    }

    async fn run(mut self, mut events: Events<DynamicObject>) {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    // A renewal of a Lease is no reason to look at its bot.
                    let holder =
                        if self.kind == ChildKind::Lease { self.leases.observe(&event) } else { None };
                    for (bot, cause) in self.take(&event, holder) {
                        self.triggers.one(bot, cause);
                    }
                }
                Err(error) => warn!(kind = self.kind.as_str(), %error, "the watch is interrupted"),
            }
        }
    }

    /// Takes in an event and returns the bots that are worth another look for it, with how much of one. A
    /// Lease's holder may be a cause of its own.
    fn take(&mut self, event: &Event<DynamicObject>, holder: Option<Cause>) -> Vec<(BotRef, Cause)> {
        match event {
            Event::Apply(object) => self.show(object, holder),
            Event::InitApply(object) => {
                if let (Some(list), Some(key)) = (&mut self.relisted, Key::of(self.kind, object)) {
                    list.names.insert(key.name);
                }
                self.show(object, holder)
            }
            Event::Delete(object) => {
                let Some(key) = Key::of(self.kind, object) else { return Vec::new() };
                let version = super::version(&object.metadata);
                let mut state = self.lock();
                // One that was made since is another object.
                let known = state.objects.get(&key).is_some_and(|seen| seen.version <= version);
                let gone = known.then(|| state.remove(&key)).flatten();
                let bots = gone.map(|seen| bots_of(&key, &seen)).unwrap_or_default();
                bots.into_iter().map(|bot| (bot, Cause::Stages)).collect()
            }
            Event::Init => {
                self.relisted = Some(Relisted { since: Instant::now(), names: HashSet::new() });
                Vec::new()
            }
            Event::InitDone => {
                let gone = self.relisted.take().map(|list| self.vanished(&list)).unwrap_or_default();
                // Before the first list nothing was asked for yet: every bot is looked at anyway.
                if self.listed.send_replace(true) { gone } else { Vec::new() }
            }
        }
    }

    fn show(&self, object: &DynamicObject, holder: Option<Cause>) -> Vec<(BotRef, Cause)> {
        let Some(key) = Key::of(self.kind, object) else { return Vec::new() };
        let seen = Seen::of(self.kind, object);
        let mut state = self.lock();
        let mut bots = bots_of(&key, &seen);
        // Who changed the label, or the owners, has taken the object from another bot.
        let before = state.objects.get(&key).map(|before| bots_of(&key, before)).unwrap_or_default();
        let taken: Vec<_> = before.into_iter().filter(|bot| !bots.contains(bot)).collect();
        bots.extend(taken);
        let cause = match state.show(key, seen) {
            Change::Content => Some(Cause::Stages),
            Change::Facts => Some(Cause::Status),
            Change::Nothing => None,
        };
        let Some(cause) = cause.or(holder).filter(|_| *self.listed.borrow()) else { return Vec::new() };
        bots.into_iter().map(|bot| (bot, cause)).collect()
    }

    /// Removes what a list no longer holds. What was written since it began may have come after it: its
    /// bots look again when that is overdue.
    fn vanished(&self, list: &Relisted) -> Vec<(BotRef, Cause)> {
        let mut state = self.lock();
        let missing: Vec<Key> = state
            .objects
            .keys()
            .filter(|key| key.kind == self.kind && !list.names.contains(&key.name))
            .cloned()
            .collect();
        let mut bots = Vec::new();
        for key in missing {
            let of_it = state.objects.get(&key).map(|seen| bots_of(&key, seen)).unwrap_or_default();
            bots.extend(of_it.into_iter().map(|bot| (bot, Cause::Stages)));
            if state.unshown.get(&key).is_none_or(|at| *at < list.since) {
                state.remove(&key);
            }
        }
        bots
    }

    fn lock(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bots whose object it is: the one that its label names, or all that own a Certificate.
fn bots_of(key: &Key, seen: &Seen) -> Vec<BotRef> {
    let (namespace, name) = key.split();
    let names = match key.kind {
        ChildKind::Certificate => seen.bots_among_owners(name),
        _ => seen.bot(name).into_iter().collect(),
    };
    names.into_iter().map(|bot| BotRef::new(bot).within(namespace)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::seen::tests::service;
    use super::*;
    use crate::watch::Triggers;
    use crds::contract::LABEL_BOT;
    use kube::runtime::reflector;
    use serde_json::json;

    struct Bench {
        children: Children,
        watch: Watch,
    }

    impl Bench {
        fn new() -> Self {
            let children = Children::default();
            let (triggers, _) = Triggers::new(reflector::store().0);
            let state = Arc::clone(&children.state);
            let listed = watch::channel(false).0;
            let leases = Arc::default();
            let mut watch =
                Watch { kind: ChildKind::Service, state, triggers, leases, listed, relisted: None };
            watch.take(&Event::Init, None);
            watch.take(&Event::InitDone, None);
            Self { children, watch }
        }

        /// The names of the bots that an event makes worth another look.
        fn take(&mut self, event: Event<DynamicObject>) -> Vec<String> {
            self.watch.take(&event, None).into_iter().map(|(bot, _)| bot.name).collect()
        }

        fn write(&self, version: u64) {
            let answer = service(version, |_| ());
            let desired = Seen::of(ChildKind::Service, &answer).verified.unwrap();
            self.children.written(ChildKind::Service, desired, &answer, None);
        }

        fn version(&self) -> Option<u64> {
            self.children.get(ChildKind::Service, "n", "a").map(|seen| seen.version)
        }

        fn shown(&self) -> Shown {
            self.children.shown(ChildKind::Service, "n", "a")
        }
    }

    fn same(version: u64) -> DynamicObject {
        service(version, |_| ())
    }

    #[test]
    fn the_echo_of_a_write_is_silent_and_a_change_by_someone_else_is_not() {
        let mut bench = Bench::new();
        bench.write(7);
        assert_eq!((bench.version(), bench.shown()), (Some(7), Shown::NotYet));
        assert!(
            bench.take(Event::Apply(service(6, |object| object["spec"] = json!({})))).is_empty(),
            "older"
        );
        assert_eq!(bench.shown(), Shown::NotYet);
        assert!(bench.take(Event::Apply(same(7))).is_empty(), "the echo");
        assert_eq!(bench.shown(), Shown::Yes);
        assert!(bench.take(Event::Apply(same(8))).is_empty(), "nothing that anybody reads");
        assert_eq!(bench.take(Event::Apply(service(9, |object| object["spec"] = json!({})))), ["a"]);
    }

    #[test]
    fn a_deletion_counts_only_when_it_is_newer_than_the_write() {
        let mut bench = Bench::new();
        bench.write(7);
        assert!(bench.take(Event::Delete(same(6))).is_empty());
        assert_eq!(bench.version(), Some(7));
        assert_eq!(bench.take(Event::Delete(same(8))), ["a"]);
        assert_eq!(bench.version(), None);
    }

    #[test]
    fn a_new_list_reports_what_differs_and_doubts_what_was_written_meanwhile() {
        let mut bench = Bench::new();
        bench.take(Event::Apply(same(1)));
        bench.take(Event::Init);
        assert!(bench.take(Event::InitApply(same(1))).is_empty());
        assert!(bench.take(Event::InitDone).is_empty(), "nothing new");
        bench.take(Event::Init);
        assert_eq!(bench.take(Event::InitDone), ["a"], "it is gone");
        assert_eq!(bench.version(), None);
        bench.take(Event::Init);
        bench.write(9);
        assert_eq!(bench.take(Event::InitDone), ["a"]);
        assert_eq!((bench.version(), bench.shown()), (Some(9), Shown::NotYet), "the list may be older");
    }

    #[test]
    fn what_bears_a_bots_label_is_found_under_any_name() {
        let mut bench = Bench::new();
        let copy = |bot: &str| {
            let mut copy = same(2);
            copy.metadata.name = Some("copy".into());
            copy.metadata.labels = Some([(LABEL_BOT.to_owned(), bot.to_owned())].into());
            copy
        };
        bench.take(Event::Apply(same(1)));
        bench.take(Event::Apply(copy("a")));
        let found = |bench: &Bench, bot| {
            bench.children.of_bot("n", bot).iter().map(|(_, name, _)| name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(found(&bench, "a"), ["a", "copy"]);
        let mut bots = bench.take(Event::Apply(copy("b")));
        bots.sort();
        assert_eq!(bots, ["a", "b"], "whom it was taken from, and who got it");
        assert_eq!((found(&bench, "a"), found(&bench, "b")), (vec!["a".into()], vec!["copy".into()]));
        bench.take(Event::Delete(copy("b")));
        assert!(found(&bench, "b").is_empty() && bench.children.lock().strays.is_empty());
    }
}
