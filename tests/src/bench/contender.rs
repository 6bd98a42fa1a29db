//! Who is measured.

use std::ffi::OsString;

use anyhow::Result;
use serde::Serialize;

use crate::binary;

/// Bots that are looked at side by side, by both.
const CONCURRENCY: &str = "8";
const IMAGE: &str = "localhost/tradingbot-agent:bench";
/// Where the Lease of the leader is; every API server makes this namespace itself.
pub const ELECTION_NAMESPACE: &str = "default";

/// An operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Contender {
    /// Ours, as it ships.
    Ours,
    /// The one on controller-runtime, `tests/lab/tools/peer`.
    Peer,
}

impl Contender {
    /// Its name, also that of its user.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Peer => "peer",
        }
    }

    /// Program and arguments; `elects` says that of two processes only one writes.
    ///
    /// # Errors
    /// When the peer cannot be built.
    pub fn command(self, port: u16, elects: bool) -> Result<Vec<OsString>> {
        let address = format!("127.0.0.1:{port}");
        let (program, election): (_, &[&str]) = match self {
            Self::Ours => (
                vec![binary("tradingbot-operator").into_os_string(), "run".into()],
                &["--leader-election", "--leader-election-namespace", ELECTION_NAMESPACE],
            ),
            // As ours elects by default: a Lease of four seconds, renewed every second.
            Self::Peer => (
                vec![lab::tools::path("peer")?.into_os_string()],
                &[
                    "--leader-election",
                    "--leader-election-namespace",
                    ELECTION_NAMESPACE,
                    "--lease-duration=4s",
                    "--renew-deadline=3s",
                    "--retry-period=1s",
                ],
            ),
        };
        let mut command = program;
        command.extend(
            ["--agent-image", IMAGE, "--concurrency", CONCURRENCY, "--address", &address].map(OsString::from),
        );
        if elects {
            command.extend(election.iter().map(OsString::from));
        }
        Ok(command)
    }
}
