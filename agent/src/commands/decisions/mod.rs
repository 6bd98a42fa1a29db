//! `decisions`: what the panel wanted, and what became of it.

mod show;

use clap::{Args, Subcommand};
use comfy_table::{Cell, CellAlignment};
use engine::Decision;

use super::answer::Output;
use super::source::{Asked, Source, reader};
use super::{Failure, tables};
use crate::view::DecisionView;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    source: Source,
    /// Show so many of the last decisions
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show everything that one decision saw, and what each check said
    Show(show::Arguments),
}

pub async fn decisions(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(Command::Show(arguments)) = &arguments.command {
        return show::show(arguments).await;
    }
    let decisions: Vec<Decision> = match arguments.source.asked()? {
        Asked::Agent(agent) => agent.get(&format!("decisions?limit={}", arguments.limit)).await?,
        Asked::Journal(place) => {
            let mut reader = reader(&place).await?;
            let decisions = reader.decisions(arguments.limit).await;
            reader.close().await;
            decisions?
        }
    };
    arguments.output.answer(&decisions, |decisions| table(decisions))
}

/// Decisions, the oldest first.
fn table(decisions: &[Decision]) -> String {
    if decisions.is_empty() {
        return "nothing has been decided yet".to_owned();
    }
    let mut table = tables::table(&["at", "asset", "action", "confidence", "outcome", "id", "reason"]);
    for decision in decisions.iter().map(DecisionView::from) {
        table.add_row([
            Cell::new(decision.at),
            Cell::new(decision.asset),
            Cell::new(decision.action),
            Cell::new(decision.confidence).set_alignment(CellAlignment::Right),
            Cell::new(decision.outcome),
            Cell::new(decision.id),
            Cell::new(decision.reason),
        ]);
    }
    format!(
        "{}\n\n{} decisions shown; `decisions show ID` shows what one of them saw",
        tables::lines(&table),
        decisions.len()
    )
}
