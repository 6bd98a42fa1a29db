//! How a command answers: on standard output, in the form that was asked for.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use super::Failure;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Tables for people.
    Table,
    /// JSON for programs.
    Json,
}

impl Output {
    /// Answers with a value, or with the table that shows it.
    pub fn answer<T: Serialize>(self, value: &T, table: impl FnOnce(&T) -> String) -> Result<(), Failure> {
        match self {
            Self::Table => say(&table(value)),
            Self::Json => say(&serde_json::to_string_pretty(value)?),
        }
    }
}

/// Prints a line, or several. Who stops reading, such as `head`, has had enough: that is no failure.
pub fn say(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}
