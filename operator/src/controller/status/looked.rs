//! What the stages up to apply found out about a bot, kept so that the status stage can run alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crds::api::Summary;

use super::super::validate::Validated;
use super::Rollout;
use crate::reason::Reason;

/// What a status says of a configuration that was built.
#[derive(Clone, Debug, PartialEq)]
pub struct Stated {
    /// Its hash.
    pub config_hash: String,
    /// It in words.
    pub summary: Summary,
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
    Applied(Stated),
    /// The children could not be made as built.
    Failed(Stated, Reason, String),
    /// Nothing was built.
    Refused(Reason, String),
}

impl Outcome {
    /// What was built.
    pub const fn stated(&self) -> Option<&Stated> {
        match self {
            Self::Applied(stated) | Self::Failed(stated, _, _) => Some(stated),
            Self::Refused(..) => None,
        }
    }
}

/// One look at a bot through all stages.
#[derive(Clone, Debug, PartialEq)]
pub struct Looked {
    /// The generation of the spec that was looked at.
    pub generation: i64,
    /// What became of it.
    pub outcome: Outcome,
    /// The Deployment as the API server last answered this process, with the version of the answer.
    pub answered: Option<(u64, Rollout)>,
}

impl Looked {
    /// How far the Deployment is: by the newer one of what the watch shows and what was answered.
    pub fn rollout(&self, seen: Option<(u64, Rollout)>) -> Rollout {
        let newest = match (seen, &self.answered) {
            (Some((seen, rollout)), Some((answered, _))) if seen >= *answered => Some(rollout),
            (_, Some((_, rollout))) => Some(rollout.clone()),
            (Some((_, rollout)), None) => Some(rollout),
            (None, None) => None,
        };
        newest.unwrap_or(Rollout::Progressing)
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

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Looked>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_word_on_the_deployment_counts() {
        let mut looked = Looked {
            generation: 1,
            outcome: Outcome::Refused(Reason::InvalidSpec, String::new()),
            answered: None,
        };
        assert_eq!(looked.rollout(None), Rollout::Progressing);
        assert_eq!(looked.rollout(Some((3, Rollout::Available))), Rollout::Available);
        looked.answered = Some((4, Rollout::Progressing));
        assert_eq!(looked.rollout(None), Rollout::Progressing);
        assert_eq!(looked.rollout(Some((3, Rollout::Available))), Rollout::Progressing, "an older template");
        assert_eq!(looked.rollout(Some((4, Rollout::Available))), Rollout::Available);
    }
}
