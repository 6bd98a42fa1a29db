//! Writes the CRDs as YAML into the folder given: `generate-crds crds/yaml`.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: generate-crds FOLDER");
        return ExitCode::FAILURE;
    };
    let written = crds::api::trading_bot_crd()
        .map_err(|error| error.to_string())
        .and_then(|crd| crds::yaml::to_string(&crd).map_err(|error| error.to_string()))
        .and_then(|text| std::fs::write(folder.join("tradingbots.yaml"), text).map_err(|e| e.to_string()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
