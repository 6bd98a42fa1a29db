//! `tradingbot-agent`: one trading bot, in a cluster or on a laptop.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::commands::main()
}
