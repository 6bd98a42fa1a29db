//! `decisions show`: everything that a decision saw.

use std::collections::BTreeMap;

use clap::Args;
use engine::panel::legal_actions;
use engine::{Action, Asked, Decision, Hearing};

use crate::commands::Failure;
use crate::commands::answer::Output;
use crate::commands::leaves::leaves;
use crate::commands::source::{Source, decision_id};
use crate::commands::tables::{facts, lines, right, table};
use crate::shown::number;
use crate::view::DecisionView;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Its id as `decisions` lists it, or enough of its beginning
    #[arg(value_parser = decision_id)]
    id: String,
    #[command(flatten)]
    source: Source,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

pub async fn show(arguments: &Arguments) -> Result<(), Failure> {
    let (_, decision) = arguments.source.asked()?.decision(&arguments.id).await?;
    let table = told(&decision)?;
    arguments.output.answer(&decision, |_| table)
}

fn told(decision: &Decision) -> Result<String, serde_json::Error> {
    let mut parts = vec![head(decision), seats(decision), brief(decision)];
    match &decision.gate {
        Some(gate) => parts.extend([checks(gate), asked(gate)?]),
        None => parts.push("the gatekeeper was not asked".to_owned()),
    }
    if let Some(plan) = &decision.plan {
        let plan = leaves(&serde_json::to_value(plan)?);
        parts.push(pairs(&["plan", "value"], plan));
    }
    Ok(parts.join("\n\n"))
}

fn head(decision: &Decision) -> String {
    let view = DecisionView::from(decision);
    let legal = legal_actions(decision.asset.class(), decision.position);
    let legal: Vec<_> = legal.iter().map(|action| Action::as_str(*action)).collect();
    facts([
        ("decision", view.id),
        ("asset", view.asset),
        ("at", view.at.to_string()),
        ("verdict", format!("{}, confidence {}", view.action, view.confidence)),
        ("outcome", format!("{}: {}", view.outcome, view.reason)),
        ("position", decision.position.map_or_else(|| "none".to_owned(), |side| format!("{side:?}"))),
        ("legal", legal.join(", ")),
    ])
}

fn seats(decision: &Decision) -> String {
    let mut seats = table(&["seat", "action", "confidence", "thesis"]);
    for opinion in &decision.opinions {
        seats.add_row([
            format!("{:?}", opinion.seat).into(),
            opinion.action.as_str().into(),
            right(opinion.confidence),
            opinion.thesis.as_str().into(),
        ]);
    }
    lines(&seats)
}

/// Every number of the brief, and which seats cite it.
fn brief(decision: &Decision) -> String {
    let mut numbers = table(&["number", "value", "cited by"]);
    for (field, value) in &decision.brief {
        let cited =
            decision.opinions.iter().filter(|opinion| opinion.evidence.iter().any(|e| e.field == *field));
        let cited: Vec<_> = cited.map(|opinion| format!("{:?}", opinion.seat)).collect();
        numbers.add_row([field.as_str().into(), right(number(*value)), cited.join(", ").into()]);
    }
    lines(&numbers)
}

fn checks(gate: &Hearing) -> String {
    let mut checks = table(&["check", "about", "says", "measured", "limit"]);
    let shown = |value: Option<f64>| right(value.map_or_else(|| "–".to_owned(), number));
    for check in &gate.checks {
        let says = if check.passed { "yes" } else { "no" };
        checks.add_row([
            right(check.check),
            check.about.as_str().into(),
            says.into(),
            shown(check.measured),
            shown(check.limit),
        ]);
    }
    lines(&checks)
}

/// What the gatekeeper was given.
fn asked(gate: &Hearing) -> Result<String, serde_json::Error> {
    let (what, value) = match &gate.asked {
        Asked::Entry(candidate) => ("entry", serde_json::to_value(candidate)?),
        Asked::Exit(exit) => ("exit", serde_json::to_value(exit)?),
    };
    Ok(pairs(&[what, "value"], leaves(&value)))
}

fn pairs(head: &[&str], leaves: BTreeMap<String, String>) -> String {
    let mut pairs = table(head);
    for (name, value) in leaves {
        pairs.add_row([name.into(), right(value)]);
    }
    lines(&pairs)
}
