//! The operator's memory of its own writes.
//!
//! A watch lags behind a write. Without a memory every echo of one child would find the next one
//! missing or old and write it again. With it, what was written is known until the watch has caught up.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::core::DynamicObject;
use kube::runtime::watcher::Event;

use super::{ChildKind, version};

/// A write older than this that no watch has shown is doubted: the object is looked for again.
const DOUBT_AFTER: Duration = Duration::from_secs(10);

/// What one write left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Write {
    /// Hash of the object as it was wanted.
    pub hash: String,
    /// The object's share of what was wanted, as the server answered it: normal forms and all.
    pub answer: serde_json::Value,
    /// Resource version of the answer.
    pub version: u64,
    /// UID of the object.
    pub uid: String,
    /// When.
    pub at: Instant,
}

impl Write {
    /// Whether the watch should have shown the object long ago.
    pub fn is_doubtful(&self) -> bool {
        self.at.elapsed() > DOUBT_AFTER
    }
}

type Key = (ChildKind, String, String);

/// The last write of each child by this process.
#[derive(Debug, Default)]
pub struct Written(Mutex<HashMap<Key, Write>>);

impl Written {
    /// The last write of a child, if its deletion was not seen since.
    pub fn get(&self, kind: ChildKind, namespace: &str, name: &str) -> Option<Write> {
        self.lock().get(&key(kind, namespace, name)).cloned()
    }

    /// Keeps a write.
    pub fn keep(&self, kind: ChildKind, namespace: &str, name: &str, write: Write) {
        self.lock().insert(key(kind, namespace, name), write);
    }

    /// Forgets what an event of the watch made untrue.
    pub fn observe(&self, kind: ChildKind, event: &Event<DynamicObject>) {
        match event {
            Event::Delete(object) => {
                let metadata = &object.metadata;
                let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else { return };
                let key = key(kind, namespace, name);
                let mut writes = self.lock();
                if writes.get(&key).is_some_and(|write| version(metadata) >= write.version) {
                    writes.remove(&key);
                }
            }
            // The watch started anew: deletions may have been missed.
            Event::InitDone => self.lock().retain(|(of, _, _), _| *of != kind),
            Event::Apply(_) | Event::Init | Event::InitApply(_) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Write>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(kind: ChildKind, namespace: &str, name: &str) -> Key {
    (kind, namespace.to_owned(), name.to_owned())
}

/// Which bots' Secrets were created: for each UID, how many losses of an agent ago.
#[derive(Debug, Default)]
pub struct Secrets(Mutex<HashMap<String, u64>>);

impl Secrets {
    /// The number of losses at which the creation was last answered by this process.
    pub fn answered(&self, uid: &str) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(uid).copied()
    }

    /// Keeps an answer.
    pub fn keep(&self, uid: &str, losses: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), losses);
    }

    /// Forgets a bot that is gone.
    pub fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn deleted(version: u64) -> Event<DynamicObject> {
        let metadata = json!({"namespace": "n", "name": "a", "resourceVersion": version.to_string()});
        Event::Delete(serde_json::from_value(json!({"metadata": metadata})).unwrap())
    }

    #[test]
    fn a_deletion_is_forgotten_only_when_it_is_newer_than_the_write() {
        let written = Written::default();
        let write =
            Write { hash: "h".into(), answer: json!({}), version: 7, uid: "u".into(), at: Instant::now() };
        written.keep(ChildKind::Service, "n", "a", write.clone());
        written.observe(ChildKind::Service, &deleted(6));
        assert_eq!(written.get(ChildKind::Service, "n", "a"), Some(write));
        written.observe(ChildKind::Role, &deleted(8));
        assert!(written.get(ChildKind::Service, "n", "a").is_some());
        written.observe(ChildKind::Service, &deleted(8));
        assert!(written.get(ChildKind::Service, "n", "a").is_none());
    }
}
