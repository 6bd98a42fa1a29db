//! `migrate`: the schema of a journal, forth and one back.

use clap::Args;

use super::Failure;
use super::answer::say;
use super::named::Named;
use crate::journal::{self, Migrated};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    named: Named,
    /// Take the newest version of the schema back, so that the agent before can use the journal
    #[arg(long)]
    back: bool,
}

pub async fn migrate(arguments: &Arguments) -> Result<(), Failure> {
    let place = arguments.named.required()?;
    let Migrated { from, to } = journal::migrate(&place, arguments.back).await?;
    if from == to {
        say(&format!("the journal in {place} has schema {to} already"))?;
    } else {
        say(&format!("the journal in {place} had schema {from} and has {to} now"))?;
    }
    Ok(())
}
