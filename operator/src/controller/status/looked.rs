//! What the stages up to apply found out about a bot, kept so that the status stage can run alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crds::api::{Expose, Summary};

use super::super::validate::Validated;
use crate::reason::Reason;

/// What a status says of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Stated {
    /// Its hash.
    pub config_hash: String,
    /// It in words.
    pub summary: Summary,
}

/// What a status says of what was built.
#[derive(Clone, Debug, PartialEq)]
pub struct Built {
    /// The address.
    pub expose: Option<Box<Expose>>,
}

impl From<&Validated> for Stated {
    fn from(bot: &Validated) -> Self {
        Self { config_hash: bot.rendering.config_hash.clone(), summary: bot.summary.clone() }
    }
}

/// What became of the earlier stages.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The children are as built.
    Applied,
    /// The children could not be made as built.
    Failed(Reason, String),
    /// Nothing was built.
    Refused(Reason, String),
    /// The children are left alone; the hash is that of the configuration that they would get.
    Suspended(String),
}

/// One look at a bot through all stages.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    /// The generation of the spec that was looked at.
    pub generation: i64,
    /// What became of it.
    pub outcome: Outcome,
    /// The last configuration that was meant for the agent. None when that was before this process's
    /// time: then the status knows.
    pub stated: Option<Stated>,
    /// What was built last. None when that was before this process's time: then the status knows.
    pub built: Option<Built>,
}

impl Looked {
    /// Whether what failed may work as soon as the agent has let go of its Lease.
    pub const fn waits_for_agent(&self) -> bool {
        matches!(self.outcome, Outcome::Failed(Reason::ClaimLost, _))
    }
}

/// The last look at each bot, by its UID.
#[derive(Debug, Default)]
pub struct Looks(Mutex<HashMap<String, Arc<Looked>>>);

impl Looks {
    /// The last look at a bot.
    pub fn get(&self, uid: &str) -> Option<Arc<Looked>> {
        self.lock().get(uid).cloned()
    }

    /// Keeps a look.
    pub fn keep(&self, uid: &str, looked: Arc<Looked>) {
        self.lock().insert(uid.to_owned(), looked);
    }

    /// Forgets a bot that is gone.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Forgets all bots.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Looked>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
