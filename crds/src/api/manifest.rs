//! Reading a bot from a file, more strictly than the API server does.

use serde_json::Value;

use super::bot::{TradingBot, TradingBotSpec};
use crate::yaml;

/// A bot as a file has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// Its name.
    pub name: String,
    /// Its namespace, or `default`.
    pub namespace: String,
    /// Its spec as written, for [`resolve`](crate::config::resolve).
    pub spec: Value,
}

/// A file that holds no usable bot.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not YAML.
    #[error("this is not YAML: {0}")]
    Yaml(#[from] yaml::YamlError),
    /// Not exactly one bot.
    #[error("the file holds {0} TradingBots; it must hold exactly one")]
    Count(usize),
    /// Of a version that this build does not know.
    #[error("apiVersion `{0}` is unknown; write trading.three-rivers-tech.com/v1alpha1")]
    Version(String),
    /// A value of the wrong type.
    #[error("{field}: {message}")]
    Field {
        /// The path of the field.
        field: String,
        /// What is wrong with it.
        message: String,
    },
    /// Fields that the schema does not have.
    #[error("unknown field{} {}; remove or correct what is misspelt", if .0.len() > 1 { "s" } else { "" }, .0.join(", "))]
    Unknown(Vec<String>),
}

/// Finds the one TradingBot in a text of one or more YAML documents.
///
/// # Errors
/// When there is none or more than one, a field is unknown, or a value is of the wrong type.
pub fn find_bot(text: &str) -> Result<Manifest, ManifestError> {
    let bots: Vec<Value> = yaml::documents(text)?
        .into_iter()
        .filter(|document| document.get("kind").and_then(Value::as_str) == Some("TradingBot"))
        .collect();
    let count = bots.len();
    let Some(document) = bots.into_iter().next().filter(|_| count == 1) else {
        return Err(ManifestError::Count(count));
    };
    let version = document.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if version != <TradingBot as kube_core::Resource>::api_version(&()) {
        return Err(ManifestError::Version(version.to_owned()));
    }
    let text_at = |pointer: &str| document.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let name = text_at("/metadata/name").filter(|name| is_name(name)).ok_or_else(|| ManifestError::Field {
        field: "metadata.name".into(),
        message: format!(
            "{} is no name for a bot; use lower-case letters, digits and hyphens, a letter first, at most 52",
            document.pointer("/metadata/name").unwrap_or(&Value::Null)
        ),
    })?;
    let namespace = text_at("/metadata/namespace").unwrap_or_else(|| "default".into());
    let spec = document.get("spec").cloned().unwrap_or_default();
    refuse_unknown(&spec)?;
    Ok(Manifest { name, namespace, spec })
}

fn is_name(name: &str) -> bool {
    name.len() <= 52
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn refuse_unknown(spec: &Value) -> Result<(), ManifestError> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let deserializer = serde_path_to_error::Deserializer::new(spec, &mut track);
    let parsed: Result<TradingBotSpec, _> =
        serde_ignored::deserialize(deserializer, |path| unknown.push(plain(&path.to_string())));
    if let Err(error) = parsed {
        let path = track.path().to_string();
        let field = if path == "." { "spec".to_owned() } else { format!("spec.{path}") };
        return Err(ManifestError::Field { field, message: in_words(&error.to_string()) });
    }
    if unknown.is_empty() { Ok(()) } else { Err(ManifestError::Unknown(unknown)) }
}

/// A parser's message without the names of types.
fn in_words(message: &str) -> String {
    let numbers = ["u8", "u16", "u32", "u64"].map(|name| format!("expected {name}"));
    match numbers.iter().find_map(|expected| message.strip_suffix(expected.as_str())) {
        Some(message) => format!("{message}expected a whole number, such as 70"),
        None => message.to_owned(),
    }
}

/// `spec.feeds[0].replay.sped` for the parser's `feeds.?.0.replay.?.sped`: it counts options as steps.
fn plain(path: &str) -> String {
    path.split('.').filter(|step| *step != "?").fold("spec".to_owned(), |field, step| {
        if step.bytes().all(|b| b.is_ascii_digit()) {
            format!("{field}[{step}]")
        } else {
            format!("{field}.{step}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOT: &str = "
apiVersion: trading.three-rivers-tech.com/v1alpha1
kind: TradingBot
metadata: {name: one}
spec:
  assets: [{pair: BTC-USD}]
";

    #[test]
    fn the_bot_is_found_among_other_documents() {
        let text = format!("kind: ConfigMap\n---\n{BOT}\n---\n");
        let manifest = find_bot(&text).unwrap();
        assert_eq!((manifest.name.as_str(), manifest.namespace.as_str()), ("one", "default"));
    }

    #[test]
    fn each_defect_is_named_with_its_place() {
        for (text, parts) in [
            ("kind: ConfigMap".to_owned(), ["0 TradingBots", "exactly one"]),
            (format!("{BOT}---{BOT}"), ["2 TradingBots", "exactly one"]),
            (BOT.replace("v1alpha1", "v9"), ["v9", "v1alpha1"]),
            (BOT.replace("name: one", "name: One"), ["metadata.name", "One"]),
            (format!("{BOT}  rsik: {{}}\n"), ["spec.rsik", "misspelt"]),
            (format!("{BOT}  risk: {{confidenceFlor: 1}}\n"), ["spec.risk.confidenceFlor", "misspelt"]),
            (
                format!("{BOT}  risk: {{confidenceFloor: high}}\n"),
                ["spec.risk.confidenceFloor", "a whole number"],
            ),
            (BOT.replace("BTC-USD", "btc/usd"), ["spec.assets[0].pair", "BTC-USD"]),
            (
                BOT.replace("BTC-USD}", "BTC-USD, risk: {stop: {min: 1}}}"),
                ["spec.assets[0].risk.stop.min", "misspelt"],
            ),
            ("a: [".to_owned(), ["not YAML", "line"]),
        ] {
            let message = find_bot(&text).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "`{part}` is not in: {message}");
            }
        }
    }
}
