//! The children of all bots, as the cluster has them and as this process wrote them.
//!
//! A watch lags behind a write. What the API server answered to a write is therefore taken in like an event:
//! nothing older replaces it, and its echo changes nothing. Without that every echo of one child would find
//! the next one missing or old and write it again.

mod follow;
mod state;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use crds::contract::MANAGED_BY;
use kube::Client;
use kube::runtime::watcher;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::warn;

use super::seen::{Seen, Settled};
use super::uid::Uid;
use super::{Cause, ChildKind, Digest, Leases, Scope, Triggers, Unstructured, optional};
use crate::controller::Owner;
use follow::Watch;
use state::{Key, State};

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
                let news = |is_there| tell(kind, is_there, &state, &sender, &triggers);
                optional::while_served(served, watch, news).await;
            });
        }
        children
    }

    /// Whether the cluster has a kind; none while that is not known.
    pub fn has(&self, kind: ChildKind) -> Option<bool> {
        match self.optional.iter().find(|(optional, _)| *optional == kind) {
            Some((_, available)) => *available.borrow(),
            None => Some(true),
        }
    }

    /// The Certificates that a bot is among the owners of.
    pub fn certificates_of(&self, owner: &Owner) -> Vec<(Box<str>, Seen)> {
        let state = self.lock();
        let place = (owner.namespace.as_str().into(), owner.name.as_str().into());
        let strays = state.strays.get(&place).into_iter().flatten();
        strays
            .filter(|(kind, _)| *kind == ChildKind::Certificate)
            .filter_map(|(kind, name)| {
                let seen = state.objects.get(&Key::new(*kind, &owner.namespace, name))?;
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

    /// Takes in the answer to a write of a desired object of a shape. The share is what the answer made of it, where
    /// that is something else.
    pub fn written(
        &self,
        kind: ChildKind,
        desired: Digest,
        shape: Digest,
        answer: &Unstructured,
        share: Option<Digest>,
    ) {
        let Some(key) = Key::of(kind, answer) else { return };
        let mut seen = Seen::of(kind, answer);
        let mut state = self.lock_mut();
        if state.objects.get(&key).is_some_and(|newer| newer.version > seen.version) {
            return;
        }
        seen.verified = Some(desired);
        seen.content = None;
        if let Some(creation) = &mut seen.creation {
            creation.follow(Some(shape));
        }
        seen.settled = share.map(|answer| Box::new(Settled { desired, answer }));
        let is_shown = state.objects.get(&key).is_some_and(|known| known.version == seen.version);
        if !is_shown {
            state.unshown.insert(key.clone(), Instant::now());
        }
        state.insert(key, seen);
    }

    /// Takes in an object that was read.
    pub fn read(&self, kind: ChildKind, object: &Unstructured) {
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
    pub fn deleted(&self, kind: ChildKind, namespace: &str, name: &str, uid: &Uid) {
        let key = Key::new(kind, namespace, name);
        let mut state = self.lock_mut();
        if state.objects.get(&key).is_some_and(|seen| seen.uid == *uid) {
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

/// Tells that a kind is there and listed, or that it is not. Every bot looks again: one that wants no such child
/// any more may have one all the same.
fn tell(
    kind: ChildKind,
    is_there: bool,
    state: &RwLock<State>,
    available: &watch::Sender<Option<bool>>,
    triggers: &Triggers,
) {
    if !is_there {
        state.write().unwrap_or_else(PoisonError::into_inner).clear(kind);
    }
    if available.send_replace(Some(is_there)) != Some(is_there) {
        triggers.each(|_| true, Cause::Stages);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::controller::BotRef;
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    /// Children of a cluster of which so much is known.
    pub fn where_has(kind: ChildKind, answer: Option<bool>) -> Children {
        Children { optional: vec![(kind, watch::channel(answer).1)], ..Children::default() }
    }

    #[test]
    fn a_kind_that_comes_makes_every_bot_look_for_children_that_it_does_not_want_any_more() {
        let (bots, mut writer) = reflector::store();
        let bot = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u"}, "spec": {}});
        writer.apply_watcher_event(&Event::Apply(serde_json::from_value(bot).unwrap()));
        let (triggers, mut triggered) = Triggers::new(bots);
        let (sender, _available) = watch::channel(None);
        let mut told = |is_there| {
            tell(ChildKind::HttpRoute, is_there, &RwLock::default(), &sender, &triggers);
            triggered.try_recv().ok()
        };
        assert_eq!(told(true), Some(BotRef::new("a").within("n")));
        assert_eq!(told(true), None, "no news");
        assert_eq!(told(false), Some(BotRef::new("a").within("n")));
    }
}
