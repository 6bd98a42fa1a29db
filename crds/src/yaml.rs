//! The one place of this crate that knows the YAML library.

use serde::Serialize;
use serde_json::Value;

/// A document that is not YAML.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct YamlError(#[from] serde_yaml::Error);

/// Reads every document of a YAML text as JSON; empty documents are passed over.
///
/// # Errors
/// When the text is not YAML, or a key is no string. The message names line and column.
pub fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    serde_yaml::Deserializer::from_str(text)
        .map(|document| serde::Deserialize::deserialize(document).map_err(YamlError))
        .filter(|document| !matches!(document, Ok(Value::Null)))
        .collect()
}

/// Writes a value as one YAML document.
///
/// # Errors
/// When the value has a key that is no string.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, YamlError> {
    Ok(serde_yaml::to_string(value)?)
}
