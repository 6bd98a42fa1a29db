//! `backup`: a journal in one file, whether or not a bot writes it meanwhile.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::answer::say;
use super::named::Named;
use crate::journal;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The file to make; it must not be there yet
    file: PathBuf,
    #[command(flatten)]
    named: Named,
}

pub async fn backup(arguments: &Arguments) -> Result<(), Failure> {
    let place = arguments.named.required()?;
    let events = journal::backup(&place, &arguments.file).await?;
    say(&format!("{} has the {events} events of the journal in {place}", arguments.file.display()))?;
    Ok(())
}
