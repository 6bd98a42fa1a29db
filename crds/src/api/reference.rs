//! The reference of the API, `docs/api.md`: from the definition, the defaults and the table of effects.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::trading_bot_crd;
use crate::config::{ChangedField, ConfigError, Effect, EffectError, default_values, effects};

/// A reference that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    /// The definition cannot be made.
    #[error("the definition cannot be made: {0}")]
    Definition(#[from] serde_json::Error),
    /// The table of effects cannot be read.
    #[error(transparent)]
    Effects(#[from] EffectError),
    /// The defaults cannot be read.
    #[error(transparent)]
    Defaults(#[from] ConfigError),
    /// A field has no effect.
    #[error("spec.{0} has no entry in crds/src/effects.yaml; say there what a change of it does")]
    Undeclared(String),
    /// An effect has no field.
    #[error("crds/src/effects.yaml has {0}, which the schema does not have; remove the entry")]
    Stale(String),
    /// The text cannot be written.
    #[error(transparent)]
    Text(#[from] std::fmt::Error),
}

const HEAD: &str = "\
<!-- Made by `make generate` from crds/: do not edit. -->
# TradingBot

`trading.three-rivers-tech.com/v1alpha1`, namespaced, short name `tb`. `kubectl explain tradingbot.spec` shows the same descriptions.

## spec

A field that is left out has its default, of the version of the defaults that the bot was made with
([lifecycle.md](lifecycle.md#defaults)). *On change* says what a change does to a bot that runs:

| On change | |
|---|---|
| **live** | the agent takes it while it runs; its pod is not touched |
| **restart** | the agent's pod is made anew: the old one is gone before the new one starts |
| a kind | only that child of the bot changes; the agent is not touched |
| nothing | it is about the operator; neither children nor agent change |
| **never** | the API server refuses the change |

| Field | Type | Default | On change | |
|---|---|---|---|---|
";

const STATUS: &str = "
## status

Written by the operator and, where it says so, by the agent.

| Field | Type | |
|---|---|---|
";

/// The page.
///
/// # Errors
/// When a field of the schema has no effect, or an effect has no field.
pub fn reference() -> Result<String, ReferenceError> {
    let definition = serde_json::to_value(trading_bot_crd()?)?;
    let schema = |part: &str| {
        let pointer = format!("/spec/versions/0/schema/openAPIV3Schema/properties/{part}");
        definition.pointer(&pointer).cloned().unwrap_or_default()
    };
    let (mut effects, mut defaults) = (effects()?, default_values()?);
    let mut page = HEAD.to_owned();
    for Field { path, kind, description } in fields(&schema("spec")) {
        let ChangedField { effect, example: _ } =
            effects.remove(&path).ok_or_else(|| ReferenceError::Undeclared(path.clone()))?;
        let default = defaults.remove(&path).map(|value| format!("`{}`", shown(&value))).unwrap_or_default();
        let effect = match effect {
            Effect::Live => "live".to_owned(),
            Effect::Restart => "restart".to_owned(),
            Effect::Children { children } if children.is_empty() => "nothing".to_owned(),
            Effect::Children { children } => children.join(", "),
            Effect::Immutable => "never".to_owned(),
        };
        writeln!(page, "| `{path}` | {kind} | {default} | {effect} | {description} |")?;
    }
    if let Some(path) = effects.into_keys().next() {
        return Err(ReferenceError::Stale(path));
    }
    page.push_str(STATUS);
    for Field { path, kind, description } in fields(&schema("status")) {
        writeln!(page, "| `{path}` | {kind} | {description} |")?;
    }
    Ok(page)
}

/// A field that holds a value, or a map of names that the user chooses.
struct Field {
    path: String,
    kind: String,
    description: String,
}

fn fields(schema: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    walk(schema, "", &mut found);
    found
}

fn walk(schema: &Value, path: &str, found: &mut Vec<Field>) {
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        // By name, whatever the order of the schema: the page must not depend on it.
        for (name, inner) in properties.iter().collect::<BTreeMap<_, _>>() {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            walk(inner, &path, found);
        }
    } else if let Some(items) = schema.get("items").filter(|items| items.get("properties").is_some()) {
        walk(items, &format!("{path}[]"), found);
    } else {
        let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        let description = description.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        found.push(Field { path: path.to_owned(), kind: kind(schema), description });
    }
}

/// The type in words, with its bounds.
fn kind(schema: &Value) -> String {
    let text = |key: &str| schema.get(key).and_then(Value::as_str);
    if let Some(choices) = schema.get("enum").and_then(Value::as_array) {
        let choices: Vec<_> =
            choices.iter().filter(|c| !c.is_null()).map(|c| format!("`{}`", shown(c))).collect();
        return choices.join(", ");
    }
    if schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true)) {
        return if schema.get("pattern").is_some() { "decimal" } else { "quantity" }.to_owned();
    }
    if let Some(values) = schema.get("additionalProperties") {
        return format!("map of {}", kind(values));
    }
    if let Some(items) = schema.get("items") {
        return format!("list of {}", kind(items));
    }
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    match (text("type"), text("format")) {
        (_, Some("date-time")) => "time".to_owned(),
        (Some("integer"), _) => match (bound("minimum"), bound("maximum")) {
            (Some(low), Some(high)) => format!("integer, {low} to {high}"),
            _ => "integer".to_owned(),
        },
        (Some(kind), _) => kind.to_owned(),
        (None, _) => "any".to_owned(),
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_has_exactly_one_effect_and_none_is_stale() {
        reference().unwrap();
        // A key that is there twice would hide one of its entries.
        let table = include_str!("../effects.yaml");
        let lines = table.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(effects().unwrap().len(), lines);
    }

    #[test]
    fn every_default_belongs_to_a_field() {
        let definition = serde_json::to_value(trading_bot_crd().unwrap()).unwrap();
        let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let paths: Vec<_> = fields(spec).into_iter().map(|field| field.path).collect();
        for (path, _) in default_values().unwrap() {
            assert!(paths.contains(&path), "{path}");
        }
    }
}
