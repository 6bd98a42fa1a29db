//! The command line: one file per subcommand.

mod answer;
mod backup;
mod check;
mod decisions;
mod explain;
mod keys;
mod leaves;
mod local;
mod migrate;
mod named;
mod replay;
mod restore;
mod run;
mod source;
mod status;
mod tables;
mod trades;

use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};

use crate::journal::Place;
use crate::logging::{self, LogFormat};
use crate::secret::protect_memory;

/// How each command ends.
pub const EXIT_CODES: &str = "Exit codes:
  0  it did what was asked; `run`: it was stopped in order, or the data ended
  1  something failed while it worked: journal, address, API server
  2  the input must be corrected: command line, manifest, bars, keys; the message says how
  3  `replay`: the decision is another one when it is made again";

/// One trading bot: feeds, decisions, orders and journal.
#[derive(Debug, Parser)]
#[command(name = "tradingbot-agent", version, after_help = EXIT_CODES)]
struct Arguments {
    /// Least severe log lines shown: error, warn, info, debug, trace, or a list of MODULE=LEVEL
    #[arg(long, env = crds::contract::env::LOG_LEVEL, hide_env_values = true, default_value = "info", global = true, display_order = 1000)]
    log_level: String,
    /// Form of the log lines on standard error [default: text on a terminal, json elsewhere]
    #[arg(long, global = true, display_order = 1001)]
    log_format: Option<LogFormat>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trade: on a laptop from a file, or in a pod made by the operator
    #[command(after_help = EXIT_CODES)]
    Run(run::Arguments),
    /// Read a manifest and bars as the operator would and say whether they make a bot
    #[command(after_help = EXIT_CODES)]
    Check(check::Arguments),
    /// Show the configuration that a manifest makes, with the layer that each value comes from
    #[command(after_help = EXIT_CODES)]
    Explain(explain::Arguments),
    /// Show the closed trades of a journal or a running agent
    #[command(after_help = EXIT_CODES)]
    Trades(trades::Arguments),
    /// Show the decisions of a journal or a running agent, or one of them with all that it saw
    #[command(after_help = EXIT_CODES)]
    Decisions(decisions::Arguments),
    /// Rotate the keys of a bot's API
    #[command(after_help = EXIT_CODES)]
    Keys(keys::Arguments),
    /// Make a decision again, from what it saw and from the journal's events, and compare
    #[command(after_help = EXIT_CODES)]
    Replay(replay::Arguments),
    /// Show what a bot has and does, from its journal or a running agent
    #[command(after_help = EXIT_CODES)]
    Status(status::Arguments),
    /// Bring the schema of a journal to this agent's version, or one back for the agent before
    #[command(after_help = EXIT_CODES)]
    Migrate(migrate::Arguments),
    /// Copy a journal into one file, also while its bot runs
    #[command(after_help = EXIT_CODES)]
    Backup(backup::Arguments),
    /// Prove a backup, and bring it back
    #[command(after_help = EXIT_CODES)]
    Restore(restore::Arguments),
}

/// Why a command ends with another code than zero.
enum Failure {
    /// The input must be corrected.
    Input(anyhow::Error),
    /// Something failed while it worked.
    Fatal(anyhow::Error),
    /// What was compared is not the same; the answer says so.
    Differs,
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Fatal(error.into())
    }
}

/// Marks an error as the input's.
trait InputError<T> {
    fn input(self) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> InputError<T> for Result<T, E> {
    fn input(self) -> Result<T, Failure> {
        self.map_err(|error| Failure::Input(error.into()))
    }
}

/// The command line, for what is made from its definition.
pub fn definition() -> clap::Command {
    Arguments::command()
}

/// Runs the command line and says how it ended.
pub fn main() -> ExitCode {
    let done = protect_memory()
        .context("core dumps, which would hold secrets, cannot be turned off")
        .map_err(Failure::Fatal)
        .and_then(|()| start(Arguments::parse()));
    let (code, error) = match done {
        Ok(()) => return ExitCode::SUCCESS,
        Err(Failure::Fatal(error)) => (1, error),
        Err(Failure::Input(error)) => (2, error),
        Err(Failure::Differs) => return ExitCode::from(3),
    };
    eprintln!("error: {}", told(&error));
    ExitCode::from(code)
}

/// An error and its causes, without those that a message tells itself.
fn told(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn start(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { log_level, log_format, command } = arguments;
    logging::start(&log_level, log_format).input()?;
    // One thread is plenty for one bot, and cheaper than two.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot start")?;
    let done = runtime.block_on(async {
        match command {
            Command::Run(arguments) => run::run(arguments).await,
            Command::Check(arguments) => check::check(&arguments),
            Command::Explain(arguments) => explain::explain(&arguments),
            Command::Trades(arguments) => trades::trades(&arguments).await,
            Command::Decisions(arguments) => decisions::decisions(&arguments).await,
            Command::Keys(arguments) => keys::keys(&arguments),
            Command::Replay(arguments) => replay::replay(&arguments).await,
            Command::Status(arguments) => status::status(&arguments).await,
            Command::Migrate(arguments) => migrate::migrate(&arguments).await,
            Command::Backup(arguments) => backup::backup(&arguments).await,
            Command::Restore(arguments) => restore::restore(&arguments).await,
        }
    });
    // A feed that is reading a large file is not waited for.
    runtime.shutdown_background();
    done
}

/// The folder of a bot's journal in local mode, unless `--journal` says otherwise.
fn default_journal(bot: &str) -> Place {
    Place::Folder(format!("{bot}.journal").into())
}
