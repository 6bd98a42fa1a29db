//! The agent's local mode, as a person runs it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use serde_json::Value;

use crate::{binary, repository};

/// A folder with a journal and a manifest, and runs of the agent in it.
pub struct Local {
    folder: tempfile::TempDir,
    port: u16,
}

impl Local {
    /// A fresh folder with the manifest.
    pub fn new(manifest: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("bot.yaml"), manifest).expect("the manifest");
        Self { folder, port: free_port() }
    }

    /// The folder of the run.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The address of the agent's HTTP server.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// An agent's command with the bars of `data`; `more` may replace its journal and its address.
    pub fn run(&self, data: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(binary("tradingbot-agent"));
        command.current_dir(self.path()).args(["run", "-f", "bot.yaml", "--data"]).arg(data).args(more);
        for (option, usual) in [("--journal", "journal"), ("--listen", self.address().as_str())] {
            if !more.contains(&option) {
                command.args([option, usual]);
            }
        }
        command
    }

    /// Runs the agent to the end of its data.
    pub fn run_to_end(&self, data: &Path, more: &[&str]) -> Output {
        self.run(data, &[more, &["--exit-at-end"]].concat()).output().expect("the agent runs")
    }

    /// Starts the agent and leaves it running.
    pub fn start(&self, data: &Path, more: &[&str]) -> Running {
        Running(self.run(data, more).spawn().expect("the agent runs"))
    }

    /// How many events the journal holds; none while there is no journal to ask.
    pub fn events(&self) -> Option<u64> {
        let output = Command::new(binary("tradingbot-agent"))
            .current_dir(self.path())
            .args(["status", "--journal", "journal", "-o", "json"])
            .output()
            .expect("the agent runs");
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        status["events"].as_u64()
    }

    /// What the journal says: `trades` or `status`.
    pub fn journal(&self, command: &str) -> Value {
        let output = Command::new(binary("tradingbot-agent"))
            .current_dir(self.path())
            .args([command, "--journal", "journal", "-o", "json"])
            .output()
            .expect("the agent runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }
}

/// A running agent, ended with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The sample bars.
pub fn sample_bars() -> PathBuf {
    repository("examples/data")
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
