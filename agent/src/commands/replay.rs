//! `replay`: whether a decision would be made again.

use std::collections::BTreeSet;

use clap::Args;
use engine::Decision;
use serde::Serialize;

use super::answer::Output;
use super::leaves::leaves;
use super::source::{Source, decision_id};
use super::{Failure, tables};
use crate::journal::VERSION;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Id of the decision as `decisions` lists it, or enough of its beginning
    #[arg(value_parser = decision_id)]
    id: String,
    #[command(flatten)]
    source: Source,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// What came out.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Comparison {
    decision: String,
    /// Who recomputed it.
    version: &'static str,
    matches: bool,
    /// Fields that were compared.
    fields: usize,
    differences: Vec<Difference>,
}

/// A field that is not what it was; absent where one of the two does not have it.
#[derive(Debug, PartialEq, Serialize)]
struct Difference {
    field: String,
    recorded: Option<String>,
    recomputed: Option<String>,
}

pub async fn replay(arguments: &Arguments) -> Result<(), Failure> {
    let (bot, recorded) = arguments.source.asked()?.decision(&arguments.id).await?;
    let comparison = compare(&recorded, &recorded.recompute(&bot))?;
    arguments.output.answer(&comparison, told)?;
    if comparison.matches { Ok(()) } else { Err(Failure::Differs) }
}

fn compare(recorded: &Decision, recomputed: &Decision) -> Result<Comparison, serde_json::Error> {
    let before = leaves(&serde_json::to_value(recorded)?);
    let after = leaves(&serde_json::to_value(recomputed)?);
    let fields: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differences = fields.iter().filter(|field| before.get(**field) != after.get(**field));
    let differences: Vec<Difference> = differences
        .map(|field| Difference {
            field: (*field).clone(),
            recorded: before.get(*field).cloned(),
            recomputed: after.get(*field).cloned(),
        })
        .collect();
    Ok(Comparison {
        decision: recorded.id.to_string(),
        version: VERSION,
        matches: differences.is_empty(),
        fields: fields.len(),
        differences,
    })
}

fn told(comparison: &Comparison) -> String {
    let Comparison { decision, version, fields, differences, .. } = comparison;
    if differences.is_empty() {
        return format!(
            "decision {decision} matches: version {version} makes it again, all {fields} fields of it"
        );
    }
    let mut table = tables::table(&["field", "recorded", "recomputed"]);
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "–".to_owned());
    for Difference { field, recorded, recomputed } in differences {
        table.add_row([field.clone(), shown(recorded), shown(recomputed)]);
    }
    format!(
        "decision {decision} does not match: version {version} makes another one, {} of {fields} fields differ\n\n{}",
        differences.len(),
        tables::lines(&table)
    )
}
