//! Writes the CRDs as YAML into each folder given: `generate-crds crds/yaml charts/tradingbot-operator/files`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let folders: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if folders.is_empty() {
        eprintln!("usage: generate-crds FOLDER…");
        return ExitCode::FAILURE;
    }
    for folder in &folders {
        if let Err(error) = write(folder) {
            eprintln!("{}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn write(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let text = crds::yaml::to_string(&crds::api::trading_bot_crd()?)?;
    Ok(std::fs::write(folder.join("tradingbots.yaml"), text)?)
}
