//! The Secrets that were created. The operator may not read them, so it remembers.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

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
