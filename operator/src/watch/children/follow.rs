//! One kind's watch: what it shows is kept, and the bots that it concerns are looked at again.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Instant;

use futures::StreamExt;
use kube::runtime::watcher::Event;
use tokio::sync::watch;
use tracing::warn;

use super::state::{Key, State};
use crate::controller::BotRef;
use crate::watch::seen::{Change, Seen};
use crate::watch::{Cause, ChildKind, Events, Leases, Triggers, Unstructured, version};

/// One kind's watch.
pub struct Watch {
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

impl Watch {
    /// A watch that has seen nothing yet; it says when its first list is whole.
    pub fn new(
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

    /// Follows the events until they end.
    pub async fn run(mut self, mut events: Events<Unstructured>) {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    for (bot, cause) in self.take(&event) {
                        self.triggers.one(bot, cause);
                    }
                }
                Err(error) => warn!(kind = self.kind.as_str(), %error, "the watch is interrupted"),
            }
        }
    }

    /// Takes in an event and returns the bots that are worth another look for it, with how much of one.
    fn take(&mut self, event: &Event<Unstructured>) -> Vec<(BotRef, Cause)> {
        let is_listed = *self.listed.borrow();
        // A renewal of a Lease is no reason to look at its bot.
        let holders = if self.kind == ChildKind::Lease { self.leases.observe(event) } else { Vec::new() };
        for bot in holders.iter().filter(|bot| !self.triggers.knows(bot)) {
            // Its Lease goes after it: nobody will ask any more.
            self.leases.forget(bot.namespace.as_deref().unwrap_or_default(), &bot.name);
        }
        let mut bots = self.keep(event);
        if is_listed {
            bots.extend(holders.into_iter().map(|bot| (bot, Cause::Status)));
        }
        bots
    }

    fn keep(&mut self, event: &Event<Unstructured>) -> Vec<(BotRef, Cause)> {
        match event {
            Event::Apply(object) => self.show(object),
            Event::InitApply(object) => {
                if let (Some(list), Some(key)) = (&mut self.relisted, Key::of(self.kind, object)) {
                    list.names.insert(key.name);
                }
                self.show(object)
            }
            Event::Delete(object) => {
                let Some(key) = Key::of(self.kind, object) else { return Vec::new() };
                let version = version(&object.metadata);
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

    fn show(&self, object: &Unstructured) -> Vec<(BotRef, Cause)> {
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
        let Some(cause) = cause.filter(|_| *self.listed.borrow()) else { return Vec::new() };
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

/// The bots whose object it is.
fn bots_of(key: &Key, seen: &Seen) -> Vec<BotRef> {
    let (namespace, name) = key.split();
    seen.bots(key.kind, name).into_iter().map(|bot| BotRef::new(bot).within(namespace)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::seen::tests::service;
    use crate::watch::{Children, Shown};
    use crds::contract::LABEL_BOT;
    use kube::runtime::reflector;
    use serde_json::json;

    struct Bench {
        children: Children,
        watch: Watch,
    }

    impl Bench {
        fn new() -> Self {
            Self::of(ChildKind::Service)
        }

        fn of(kind: ChildKind) -> Self {
            let children = Children::default();
            let (triggers, _) = Triggers::new(reflector::store().0);
            let state = Arc::clone(&children.state);
            let listed = watch::channel(false).0;
            let leases = Arc::default();
            let mut watch = Watch { kind, state, triggers, leases, listed, relisted: None };
            watch.take(&Event::Init);
            watch.take(&Event::InitDone);
            Self { children, watch }
        }

        /// The names of the bots that an event makes worth another look.
        fn take(&mut self, event: Event<Unstructured>) -> Vec<String> {
            self.watch.take(&event).into_iter().map(|(bot, _)| bot.name).collect()
        }

        fn write(&self, version: u64) {
            let answer = service(version, |_| ());
            let desired = Seen::of(ChildKind::Service, &answer).verified.unwrap();
            self.children.written(ChildKind::Service, desired, desired, &answer, None);
        }

        fn version(&self) -> Option<u64> {
            self.children.get(ChildKind::Service, "n", "a").map(|seen| seen.version)
        }

        fn shown(&self) -> Shown {
            self.children.shown(ChildKind::Service, "n", "a")
        }
    }

    fn same(version: u64) -> Unstructured {
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
    fn a_new_list_of_leases_reports_who_took_one_and_who_let_go() {
        let mut bench = Bench::of(ChildKind::Lease);
        let lease = |version: u64, holder: &str| -> Unstructured {
            serde_json::from_value(json!({
                "metadata": {"namespace": "n", "name": "a", "uid": "u", "resourceVersion": version.to_string(),
                    "labels": {LABEL_BOT: "a"}},
                "spec": {"holderIdentity": holder, "leaseDurationSeconds": 40,
                    "renewTime": jiff::Timestamp::now().to_string()}
            }))
            .unwrap()
        };
        bench.take(Event::Apply(lease(1, "")));
        for (version, holder, news) in [(2, "pod", true), (3, "pod", false), (4, "", true)] {
            bench.take(Event::Init);
            assert!(bench.take(Event::InitApply(lease(version, holder))).is_empty());
            assert_eq!(!bench.take(Event::InitDone).is_empty(), news, "{version}");
        }
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
