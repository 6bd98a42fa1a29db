//! `restore`: a backup, proven and brought back.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::answer::say;
use super::named::Named;
use crate::journal;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    named: Named,
    /// Only prove it: a bot is recovered from it in a scratch folder and compared with what it was
    #[arg(long, conflicts_with = "Named")]
    verify: bool,
}

pub async fn restore(arguments: &Arguments) -> Result<(), Failure> {
    let place = if arguments.verify { None } else { Some(arguments.named.required()?) };
    let proven = journal::restore(&arguments.file, place.as_ref()).await?;
    let shown = arguments.file.display();
    let market_time = proven.market_time.map_or_else(|| "–".to_owned(), |at| at.to_string());
    say(&format!(
        "{shown} is whole: {}, {} events up to {market_time}, {} trades, equity {} {}",
        proven.bot, proven.events, proven.trades, proven.account.equity, proven.account.currency
    ))?;
    if let Some(place) = place {
        say(&format!("it is restored to {place}"))?;
    }
    Ok(())
}
