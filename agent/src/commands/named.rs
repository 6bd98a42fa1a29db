//! The journal that a command line names.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args;

use super::{Failure, InputError};
use crate::journal::Place;
use crate::secret::Secret;

/// A journal, by its place or by a file that has its address.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct Named {
    /// Folder of the journal, or postgres://USER@HOST/DATABASE with the password in PGPASSWORD or ~/.pgpass
    /// [default of `run`: ./NAME.journal]
    #[arg(long, value_name = "PLACE")]
    pub journal: Option<Place>,
    /// File with the address of the journal's PostgreSQL database, password and all
    #[arg(long, value_name = "FILE")]
    pub journal_url: Option<PathBuf>,
}

impl Named {
    /// The journal, when one is named.
    pub fn place(&self) -> Result<Option<Place>, Failure> {
        let Some(file) = &self.journal_url else { return Ok(self.journal.clone()) };
        let shown = file.display();
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("the address of the journal in {shown} cannot be read"))
            .input()?;
        Place::from_secret(&Secret::new(&text)).with_context(|| format!("{shown}")).map(Some).input()
    }

    /// The journal, which must be named.
    pub fn required(&self) -> Result<Place, Failure> {
        self.place()?
            .ok_or_else(|| anyhow!("name the journal with --journal PLACE or --journal-url FILE"))
            .input()
    }
}
