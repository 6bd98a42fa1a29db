//! The Debian packages a node needs, from `packages.txt`, the list the Makefile installs.

use std::path::Path;

use crate::Error;

const LIST: &str = include_str!("../packages.txt");

/// One line of `packages.txt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The name `apt-get install` takes.
    pub name: String,
    /// A file the package brings; its absence means the package is missing.
    pub proof: String,
    /// What the lab does with it.
    pub reason: String,
}

/// All packages a node and its images need.
pub fn all() -> Vec<Package> {
    LIST.lines().filter_map(parse).collect()
}

/// Says which packages are missing on this machine.
///
/// # Errors
/// [`Error::Packages`] with the missing ones.
pub fn check() -> Result<(), Error> {
    let missing: Vec<Package> = all().into_iter().filter(|p| !Path::new(&p.proof).exists()).collect();
    if missing.is_empty() { Ok(()) } else { Err(Error::Packages(missing)) }
}

fn parse(line: &str) -> Option<Package> {
    let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
    let (name, rest) = line.split_once(char::is_whitespace)?;
    let (proof, reason) = rest.trim_start().split_once(char::is_whitespace)?;
    Some(Package { name: name.into(), proof: proof.into(), reason: reason.trim().into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_a_comment_or_a_package_with_proof_and_reason() {
        let lines = LIST.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
        let packages = all();
        assert_eq!(packages.len(), lines);
        for package in packages {
            assert!(package.proof.starts_with('/'), "{package:?}");
            assert!(!package.reason.is_empty(), "{package:?}");
        }
    }

    #[test]
    fn the_message_names_what_to_install() {
        let package =
            Package { name: "runc".into(), proof: "/none".into(), reason: "starts containers".into() };
        let message = Error::Packages(vec![package]).to_string();
        assert!(message.contains("apt-get install --no-install-recommends runc"), "{message}");
    }
}
