//! Servers on loopback that end with the test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A command whose process the kernel ends (SIGTERM) with the thread that started it, so also when the test is killed.
///
/// The thread matters: what several tests share is started by a thread that outlives them.
pub fn ending_with_this_thread(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "--"]).arg(program).stdin(Stdio::null());
    command
}

/// A running server; ended when dropped.
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts a command made by [`ending_with_this_thread`]; what it prints goes to `log`.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = File::create(log).expect("a log");
        command.stdout(file.try_clone().expect("a second handle")).stderr(file);
        let child = command.spawn().expect("the server starts");
        Self { child, log: log.to_owned() }
    }

    /// Says whether it runs; fails with the end of its log otherwise.
    pub fn check(&mut self) -> Result<(), String> {
        match self.child.try_wait().expect("a child") {
            None => Ok(()),
            Some(status) => Err(format!("{status}: {}", self.last_words())),
        }
    }

    /// The last lines of its log.
    pub fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first, so that it can end its own children; not for long.
        kill_process(Pid::from_child(&self.child), Signal::TERM).ok();
        let deadline = Instant::now() + Duration::from_secs(2);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
