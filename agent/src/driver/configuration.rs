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

#[cfg(test)]
mod tests {
    use super::super::tests::{driver, wanted};
    use crate::gate::Gate;
    use crds::config::{Effect, effects, resolve};
    use serde_json::{Map, Value, json};

    /// A bot like the fixture's, with room to change each field: its first feed and venue are used by nobody.
    fn spec() -> Value {
        let data = |pair: &str| json!({"pair": pair, "timeframe": "1h", "configMaps": [{"name": "btc", "key": "h1.csv"}]});
        json!({
            "assets": [{"pair": "BTC-USD", "feed": "bars", "venue": "paper"}],
            "feeds": [
                {"name": "spare", "replay": {"warmup": 10, "data": [data("ETH-USD"), data("BTC-USD")]}},
                {"name": "bars", "replay": {"warmup": 1500, "data": [data("BTC-USD"), data("ETH-USD")]}}
            ],
            "venues": [{"name": "spare", "paper": {}}, {"name": "paper", "paper": {}}]
        })
    }

    /// Sets a field by its path in the table; `[]` is the first member.
    fn set(spec: &mut Value, path: &str, value: Value) {
        let mut at = spec;
        for step in path.split('.') {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = match step.strip_suffix("[]") {
                Some(list) => &mut at[list][0],
                None => &mut at[step],
            };
        }
        *at = value;
    }

    #[tokio::test]
    async fn the_engine_takes_each_field_that_is_declared_live_and_restarts_for_each_that_is_declared_so() {
        let folder = tempfile::tempdir().unwrap();
        let (mut driver, ..) = driver(folder.path(), Gate::Local).await;
        let base = resolve(&spec()).unwrap().bot;
        driver.configure(wanted(base.clone(), Some(1))).unwrap();
        assert_eq!(*driver.engine.config(), base);
        let (mut live, mut restarting) = (0, 0);
        for (generation, (path, field)) in (2..).step_by(2).zip(effects().unwrap()) {
            // The accounts of a bot change their currency together, and its assets with them.
            if path == "venues[].paper.currency" {
                continue;
            }
            let mut spec = spec();
            set(&mut spec, &path, field.example);
            let config = resolve(&spec).unwrap_or_else(|error| panic!("{path}: {error}")).bot;
            let change = wanted(config.clone(), Some(generation));
            match field.effect {
                Effect::Live => {
                    assert!(!driver.needs_restart(&change).unwrap(), "{path} is declared live");
                    // Its only value so far is the default.
                    assert!(config != base || path == "models.preset", "{path} changes nothing");
                    driver.configure(change).unwrap();
                    assert_eq!(*driver.engine.config(), config, "{path} is not taken over");
                    driver.configure(wanted(base.clone(), Some(generation + 1))).unwrap();
                    live += 1;
                }
                // How the pod runs and is reached is none of the agent's configuration.
                Effect::Restart if path.starts_with("agent.") || path.starts_with("expose.") => {
                    assert_eq!(config, base, "{path}")
                }
                Effect::Restart => {
                    assert!(driver.needs_restart(&change).unwrap(), "{path} is declared to need a restart");
                    restarting += 1;
                }
                Effect::Children { .. } | Effect::Immutable => assert_eq!(config, base, "{path}"),
            }
        }
        assert!(live > 20 && restarting > 10, "{live} and {restarting}");
    }
}
