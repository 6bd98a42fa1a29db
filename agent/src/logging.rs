//! Log lines on standard error: for people on a terminal, JSON elsewhere.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The forms of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A level, or a list of `module=level`, that is none.
#[derive(Debug, thiserror::Error)]
#[error("log level `{level}`: {source}; use error, warn, info, debug or trace")]
pub struct LevelError {
    level: String,
    source: tracing_subscriber::filter::ParseError,
}

/// Starts logging. `level` applies to this program; libraries speak from `warn` on.
///
/// # Errors
/// When the level is none.
pub fn start(level: &str, format: Option<LogFormat>) -> Result<(), LevelError> {
    let directives =
        if level.contains([',', '=']) { level.to_owned() } else { format!("warn,agent={level}") };
    let filter =
        EnvFilter::try_new(directives).map_err(|source| LevelError { level: level.to_owned(), source })?;
    let terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, as tests may make, changes nothing.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(terminal).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).try_init(),
    };
    Ok(())
}
