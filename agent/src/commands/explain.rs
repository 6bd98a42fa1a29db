//! `explain`: the configuration that comes out of all layers, with the layer of each value.

use std::path::PathBuf;

use clap::Args;
use crds::config::{Effective, Layer, default_values};
use serde::Serialize;
use serde_json::Value;

use super::answer::Output;
use super::leaves::leaves;
use super::local::{Local, read_manifest};
use super::{Failure, tables};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The bot's manifest; other documents in it are passed over [default: the defaults alone]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// A value and where it comes from.
#[derive(Debug, PartialEq, Serialize)]
struct Field {
    field: String,
    value: String,
    from: Layer,
}

pub fn explain(arguments: &Arguments) -> Result<(), Failure> {
    let fields = match &arguments.file {
        Some(file) => effective(&Local::new(read_manifest(file)?, &[])?.effective)?,
        None => defaults()?,
    };
    arguments.output.answer(&fields, |fields| table(fields))
}

fn table(fields: &[Field]) -> String {
    let mut table = tables::table(&["field", "value", "from"]);
    for Field { field, value, from } in fields {
        table.add_row([field.as_str(), value, from.as_str()]);
    }
    tables::lines(&table)
}

fn effective(effective: &Effective) -> Result<Vec<Field>, serde_json::Error> {
    let mut all = leaves(&serde_json::to_value(&effective.bot)?);
    all.append(&mut leaves(&effective.deployment));
    let from = |field: &str| effective.provenance.get(field).copied().unwrap_or(Layer::Default);
    Ok(all.into_iter().map(|(field, value)| Field { from: from(&field), field, value }).collect())
}

/// What a bot has that says nothing.
fn defaults() -> Result<Vec<Field>, crds::config::ConfigError> {
    let shown = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = default_values()?.into_iter();
    Ok(fields.map(|(field, value)| Field { field, value: shown(value), from: Layer::Default }).collect())
}
