//! Writes what is made from the command line's definition: its reference, and in a folder the completions of
//! each shell and the man pages: `generate-commands docs/commands.md share`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use agent::commands::{EXIT_CODES, definition};
use clap::Command;
use clap_complete::Shell;

/// Wide enough for the page.
const COLUMNS: usize = 110;

const HEAD: &str = "\
<!-- Made by `make generate` from agent/src/commands: do not edit. -->
# Commands

`tradingbot-agent` runs a bot, here or in a pod, and answers questions about one: from its journal, which may be in use, or from a running agent.
Man pages and completions for bash, zsh and fish are in [share](../share):

    export MANPATH=\"$PWD/share/man:\"            # man tradingbot-agent-run
    source share/completions/tradingbot-agent.bash

Tables are for people; `-o json` gives the same, and all of it, to programs. Logs and messages go to standard error.
";

fn main() -> ExitCode {
    let paths: Vec<OsString> = std::env::args_os().skip(1).collect();
    let [page, folder] = paths.as_slice() else {
        eprintln!("usage: generate-commands REFERENCE.md FOLDER");
        return ExitCode::FAILURE;
    };
    match write(Path::new(page), Path::new(folder)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write(page: &Path, folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::write(page, reference()?)?;
    let (completions, pages) = (folder.join("completions"), folder.join("man/man1"));
    std::fs::create_dir_all(&completions)?;
    std::fs::create_dir_all(&pages)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut definition(), "tradingbot-agent", &completions)?;
    }
    clap_mangen::generate_to(definition(), &pages)?;
    Ok(())
}

fn reference() -> Result<String, std::fmt::Error> {
    let mut page = HEAD.to_owned();
    let (title, codes) = EXIT_CODES.split_once(":\n").unwrap_or_default();
    writeln!(page, "\n## {title}\n")?;
    for line in codes.lines() {
        writeln!(page, "    {}", line.trim_start())?;
    }
    let mut command = definition().term_width(COLUMNS);
    command.build();
    describe(&command, &mut page)?;
    Ok(page)
}

fn describe(command: &Command, page: &mut String) -> std::fmt::Result {
    for subcommand in command.get_subcommands().filter(|subcommand| subcommand.get_name() != "help") {
        let name = subcommand.get_bin_name().unwrap_or(subcommand.get_name());
        let name = name.strip_prefix("tradingbot-agent ").unwrap_or(name);
        writeln!(page, "\n## {name}\n")?;
        // Every page of help ends with the exit codes.
        let help = subcommand.clone().after_help(None::<&str>).render_long_help().to_string();
        for line in help.trim_end().lines() {
            writeln!(page, "{}", format!("    {line}").trim_end())?;
        }
        describe(subcommand, page)?;
    }
    Ok(())
}
