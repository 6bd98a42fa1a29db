//! `status`: what a bot has and does.

use anyhow::anyhow;
use clap::Args;

use super::answer::Output;
use super::source::{Asked, Source, reader};
use super::{Failure, tables};
use crate::view::View;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

pub async fn status(arguments: &Arguments) -> Result<(), Failure> {
    let view: View = match arguments.source.asked()? {
        Asked::Agent(agent) => agent.get("status").await?,
        Asked::Journal(place) => {
            let mut reader = reader(&place).await?;
            let view = reader.view().await;
            reader.close().await;
            view?.ok_or_else(|| anyhow!("nothing has happened yet in the journal {place}"))?
        }
    };
    arguments.output.answer(&view, tables::status)
}
