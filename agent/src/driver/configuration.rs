//! Which configuration is in force, and what follows when the engine refuses one.

use crds::config::{BotConfig, State};
use engine::{Event, EventKind, Output};
use jiff::Timestamp;
use tracing::{error, info};

use super::{Driver, DriverError};

/// A configuration for the bot from now on.
#[derive(Clone, Debug)]
pub struct Configure {
    /// The configuration.
    pub config: BotConfig,
    /// Of two, the higher is newer; local ones have none and always count.
    pub generation: Option<i64>,
}

impl Driver {
    pub(super) fn needs_restart(&self, wanted: &Configure) -> Result<bool, DriverError> {
        let newer = wanted.generation.is_none_or(|new| self.around.generation.is_none_or(|old| new >= old));
        Ok(newer && wanted.config.restart_hash()? != self.engine.config().restart_hash()?)
    }

    pub(super) fn configure(&mut self, wanted: Configure) -> Result<(), DriverError> {
        let Configure { config, generation } = wanted;
        if let (Some(new), Some(old)) = (generation, self.around.generation)
            && new < old
        {
            return Ok(());
        }
        let hash = config.hash()?;
        if hash != self.around.config_hash
            && let Err(message) = self.hand_over(config)
        {
            return match generation {
                Some(_) => self.exits_only(message),
                // Whoever started it here reads the message.
                None => Err(DriverError::Configuration(message)),
            };
        }
        self.around.generation = generation.or(self.around.generation);
        (self.refused_with, self.around.refused_config) = (None, None);
        if hash != self.around.config_hash {
            info!(config_hash = hash, generation = self.around.generation, "a new configuration is in force");
            self.around.config_hash = hash;
        }
        Ok(())
    }

    /// Gives the engine a configuration, or says why it refuses it.
    fn hand_over(&mut self, config: BotConfig) -> Result<(), String> {
        self.handle(Event { at: Timestamp::now(), kind: EventKind::Configuration(config) });
        let outputs = self.pending.last().map(|entry| entry.outputs.as_slice()).unwrap_or_default();
        let refused = outputs.iter().find_map(|output| match output {
            Output::Refused(refused) => Some(refused.message.clone()),
            _ => None,
        });
        refused.map_or(Ok(()), Err)
    }

    /// What is open stays protected by the configuration before the refused one, and nothing opens on
    /// limits that are no longer wanted.
    fn exits_only(&mut self, message: String) -> Result<(), DriverError> {
        error!(reason = message, "the new configuration is refused: exits only, under the one before it");
        let before = BotConfig { state: State::Paused, ..self.engine.config().clone() };
        if before != *self.engine.config() {
            self.around.config_hash = before.hash()?;
            self.hand_over(before).map_err(DriverError::Configuration)?;
        }
        self.around.refused_config = Some(message);
        self.refused_with = Some(self.open());
        Ok(())
    }
}
