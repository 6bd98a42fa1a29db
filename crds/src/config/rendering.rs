//! The document in which a configuration travels from the operator to the agent.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::BotConfig;

/// The version of the document's format. An agent refuses one that is newer than itself.
pub const CONFIG_VERSION: u32 = 1;

/// An effective configuration with its place in time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rendering {
    /// The format of this document.
    pub config_version: u32,
    /// Rises with every change of the bot's spec: of two renderings the higher is newer.
    pub generation: i64,
    /// SHA-256 over the canonical JSON of `config`.
    pub config_hash: String,
    /// The configuration.
    pub config: BotConfig,
}

/// A document that is no rendering this version can use.
#[derive(Debug, thiserror::Error)]
pub enum RenderingError {
    /// Written by a newer operator.
    #[error(
        "configVersion {found} is newer than this agent understands ({CONFIG_VERSION}); update agent.image"
    )]
    TooNew {
        /// The version found.
        found: u64,
    },
    /// Not a rendering.
    #[error("the rendered configuration cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The content is not what the operator hashed.
    #[error("the rendered configuration has hash {actual} but says {stated}; it was edited or truncated")]
    HashMismatch {
        /// The hash that the document states.
        stated: String,
        /// The hash of its content.
        actual: String,
    },
}

impl Rendering {
    /// Wraps a configuration.
    ///
    /// # Errors
    /// None in practice: a configuration has string keys only.
    pub fn new(config: BotConfig, generation: i64) -> Result<Self, RenderingError> {
        let config_hash = config.hash()?;
        Ok(Self { config_version: CONFIG_VERSION, generation, config_hash, config })
    }

    /// Reads a document and checks its version before its fields, and its content against its hash.
    ///
    /// # Errors
    /// See [`RenderingError`].
    pub fn parse(text: &str) -> Result<Self, RenderingError> {
        let document: Value = serde_json::from_str(text)?;
        let found = document.get("configVersion").and_then(Value::as_u64).unwrap_or(0);
        if found > u64::from(CONFIG_VERSION) {
            return Err(RenderingError::TooNew { found });
        }
        let rendering: Self = serde_json::from_value(document)?;
        let actual = rendering.config.hash()?;
        if actual == rendering.config_hash {
            Ok(rendering)
        } else {
            Err(RenderingError::HashMismatch { stated: rendering.config_hash, actual })
        }
    }

    /// The document: canonical, so that equal configurations are equal bytes.
    ///
    /// # Errors
    /// None in practice: see [`Rendering::new`].
    pub fn to_json(&self) -> Result<String, RenderingError> {
        Ok(canonical(self)?)
    }
}

impl BotConfig {
    /// SHA-256 over the canonical JSON, in hex: what status calls `configHash`.
    ///
    /// # Errors
    /// None in practice: every key is a string.
    pub fn hash(&self) -> Result<String, serde_json::Error> {
        Ok(hex(canonical(self)?.as_bytes()))
    }

    /// The hash of what an agent cannot change while it runs: what it trades, from which prices, where.
    ///
    /// # Errors
    /// None in practice: every key is a string.
    pub fn restart_hash(&self) -> Result<String, serde_json::Error> {
        let Self { state: _, assets, feeds, venues, schedule: _, models: _, risk: _, exits: _ } = self;
        let assets: Vec<_> = assets.iter().map(|asset| (&asset.pair, &asset.feed, &asset.venue)).collect();
        Ok(hex(canonical(&(assets, feeds, venues))?.as_bytes()))
    }
}

/// JSON with sorted keys and no white space (the essence of RFC 8785 for documents without floats).
fn canonical<T: Serialize>(value: &T) -> Result<String, serde_json::Error> {
    let mut value = serde_json::to_value(value)?;
    value.sort_all_objects();
    serde_json::to_string(&value)
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve;
    use serde_json::json;

    fn config() -> BotConfig {
        let spec = json!({
            "assets": [{"pair": "BTC-USD"}],
            "feeds": [{"name": "bars", "replay": {"data": [
                {"pair": "BTC-USD", "timeframe": "1h", "configMaps": [{"name": "btc", "key": "h1.csv"}]}
            ]}}]
        });
        resolve(&spec).unwrap().bot
    }

    #[test]
    fn a_rendering_reads_back_equal_and_an_edit_is_noticed() {
        let rendering = Rendering::new(config(), 3).unwrap();
        let text = rendering.to_json().unwrap();
        assert_eq!(Rendering::parse(&text).unwrap(), rendering);
        let edited = text.replace("\"Running\"", "\"Paused\"");
        assert!(matches!(Rendering::parse(&edited), Err(RenderingError::HashMismatch { .. })));
    }

    #[test]
    fn a_newer_format_is_refused_with_the_remedy_whatever_its_fields() {
        let error = Rendering::parse(r#"{"configVersion": 2, "wonders": true}"#).unwrap_err().to_string();
        assert!(error.contains("update agent.image"), "{error}");
    }

    #[test]
    fn the_hash_follows_the_content_and_not_the_generation() {
        let config = config();
        let hash = |generation| Rendering::new(config.clone(), generation).unwrap().config_hash;
        assert_eq!(hash(1), hash(2));
        let mut other = config.clone();
        other.risk.confidence_floor = 71;
        assert_ne!(other.hash().unwrap(), config.hash().unwrap());
        assert_eq!(other.restart_hash().unwrap(), config.restart_hash().unwrap());
    }

    #[test]
    fn what_needs_a_restart_changes_the_restart_hash() {
        let config = config();
        let mut other = config.clone();
        other.assets[0].venue = "other".into();
        assert_ne!(other.restart_hash().unwrap(), config.restart_hash().unwrap());
    }
}
