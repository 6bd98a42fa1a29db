//! Fixtures of the system tests.

pub mod account;
pub mod argocd;
pub mod audit;
pub mod bench;
pub mod bot;
pub mod cluster;
pub mod faker;
pub mod faults;
pub mod field;
pub mod kstatus;
pub mod local;
pub mod mutate;
pub mod operator;
pub mod pod;
pub mod process;
pub mod record;
pub mod tls;
pub mod wait;

use std::path::{Path, PathBuf};

/// A program of ours as it ships: from `TRADINGBOT_BINARIES`, or the release build beside the tests.
pub fn binary(name: &str) -> PathBuf {
    let folder = std::env::var_os("TRADINGBOT_BINARIES").map(PathBuf::from).unwrap_or_else(|| {
        let own = std::env::current_exe().expect("a running program has a path");
        let target = own.ancestors().nth(3).expect("tests lie in target/PROFILE/deps");
        target.join("release")
    });
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: cargo build --release", path.display());
    path
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the tests lie in the repository").join(path)
}
