//! `check`: whether a bot can run, or what is wrong with it.

use std::path::PathBuf;

use clap::Args;
use crds::api::Deployment;
use serde_json::json;

use super::answer::Output;
use super::local::{Local, read_manifest};
use super::{Failure, InputError};
use crate::feed::Steps;

#[derive(Debug, Args)]
pub struct Arguments {
    /// The bot's manifest; other documents in it are passed over
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// Bars to check as well: a folder, a file, or PAIR@TIMEFRAME=FILE; may be repeated
    #[arg(long, value_name = "DATA")]
    data: Vec<String>,
    /// Form of the answer
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

pub fn check(arguments: &Arguments) -> Result<(), Failure> {
    let local = Local::new(read_manifest(&arguments.file)?, &arguments.data)?;
    Deployment::from_effective(&local.effective).input()?;
    let bars = match local.plan {
        Some(plan) => Some(Steps::open(plan.sources, plan.on_end).input()?.bars()),
        None => None,
    };
    let effective = &local.effective;
    let hash = effective.bot.hash()?;
    let answer = json!({
        "bot": local.identity.to_string(),
        "configHash": hash,
        "config": effective.bot,
        "deployment": effective.deployment,
        "provenance": effective.provenance,
        "bars": bars,
    });
    arguments.output.answer(&answer, |_| {
        let bars = bars.map_or_else(String::new, |bars| format!("\n{bars} bars are in order"));
        format!("{} is valid, configuration {hash}{bars}", local.identity)
    })
}
