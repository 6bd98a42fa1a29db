//! What a change of a field does to a bot that runs: one table, for the reference and for the tests.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// What a change of a field does to a bot that runs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "effect", deny_unknown_fields)]
pub enum Effect {
    /// The agent takes it while it runs.
    Live,
    /// The agent's pod is made anew.
    Restart,
    /// Only the named children change; the agent is not touched.
    Children {
        /// Their kinds.
        children: Vec<String>,
    },
    /// The API server refuses the change.
    Immutable,
}

/// A field of the spec in the table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct ChangedField {
    /// What its change does.
    #[serde(flatten)]
    pub effect: Effect,
    /// A value that is neither the default nor useless.
    pub example: Value,
}

/// A table that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EffectError {
    /// Not YAML.
    #[error("effects.yaml is not YAML: {0}")]
    Yaml(#[from] crate::yaml::YamlError),
    /// Not a table of effects.
    #[error("effects.yaml: {0}; write PATH: {{effect: Live | Restart | Children | Immutable, example: …}}")]
    Entry(#[from] serde_json::Error),
}

/// The table, by the path of each field within the spec (`risk.stop.minPercent`, `feeds[].replay.speed`).
///
/// # Errors
/// None in practice: the table is part of this crate.
pub fn effects() -> Result<BTreeMap<String, ChangedField>, EffectError> {
    let document = crate::yaml::documents(include_str!("../effects.yaml"))?.pop().unwrap_or_default();
    Ok(serde_json::from_value(document)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_read() {
        let effects = effects().unwrap();
        assert_eq!(effects["risk.confidenceFloor"].effect, Effect::Live);
        assert_eq!(
            effects["storage.sqlite.size"].effect,
            Effect::Children { children: vec!["PersistentVolumeClaim".into()] }
        );
    }
}
