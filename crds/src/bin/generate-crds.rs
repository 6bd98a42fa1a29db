//! Writes what is made from the API's types: its reference into the file given first, and the CRDs as YAML
//! into each folder after it: `generate-crds docs/api.md crds/yaml charts/tradingbot-operator/files`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let Some(page) = paths.next() else {
        eprintln!("usage: generate-crds REFERENCE.md FOLDER…");
        return ExitCode::FAILURE;
    };
    if let Err(error) = write_reference(&page) {
        eprintln!("{}: {error}", page.display());
        return ExitCode::FAILURE;
    }
    for folder in paths {
        if let Err(error) = write(&folder) {
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

fn write_reference(page: &Path) -> Result<(), Box<dyn std::error::Error>> {
    Ok(std::fs::write(page, crds::api::reference()?)?)
}
