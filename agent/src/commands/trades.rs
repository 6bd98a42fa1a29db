//! `trades`: what was closed, and for how much.

use clap::Args;
use engine::Trade;

use super::answer::Output;
use super::source::{Asked, Source, reader};
use super::{Failure, tables};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Show so many of the last trades
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

pub async fn trades(arguments: &Arguments) -> Result<(), Failure> {
    let trades: Vec<Trade> = match arguments.source.asked()? {
        Asked::Agent(agent) => agent.get(&format!("trades?limit={}", arguments.limit)).await?,
        Asked::Journal(place) => {
            let mut reader = reader(&place).await?;
            let trades = reader.trades(arguments.limit).await;
            reader.close().await;
            trades?
        }
    };
    arguments.output.answer(&trades, |trades| tables::trades(trades))
}
