//! An operator's process: started, looked at, ended.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::contender::Contender;
use super::machine::{self, Machine};
use crate::local::free_port;

/// A process that does not say it is ready in this time never does.
const PATIENCE: Duration = Duration::from_secs(120);
/// Ticks a second of `/proc/PID/stat`, on every Linux that Rust runs on.
const TICKS: f64 = 100.0;

/// A running operator, killed with the value.
pub struct Process {
    child: Child,
    port: u16,
}

impl Process {
    /// Starts a contender on core 1.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        contender: Contender,
        kubeconfig: &Path,
        log: &Path,
        elects: bool,
        machine: &Machine,
    ) -> Result<Self> {
        let port = free_port();
        let mut arguments = contender.command(port, elects)?;
        let program = arguments.remove(0);
        let mut command = if machine.pinned {
            let mut command = Command::new("taskset");
            command.args(["-c", "1"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        let log = File::options().create(true).append(true).open(log)?;
        let errors = log.try_clone()?;
        let child = command
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("{} does not start", contender.name()))?;
        Ok(Self { child, port })
    }

    /// Waits until `/readyz` says ok.
    ///
    /// # Errors
    /// When it ends, or is not ready in time.
    pub async fn ready(&mut self) -> Result<()> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the operator ended: {status}");
            }
            if says_ok(self.port) {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                bail!("the operator is not ready after {} s", PATIENCE.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether it has not ended by itself.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// CPU seconds, of user and system, since its start.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // The second field, the name, may have spaces; it ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) / TICKS
    }

    /// Resident memory in KiB: now and at its peak.
    pub fn resident_kib(&self) -> (u64, u64) {
        let path = format!("/proc/{}/status", self.child.id());
        let of = |name| machine::field(&path, name).and_then(|text| machine::number(&text)).unwrap_or(0);
        (of("VmRSS"), of("VmHWM"))
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// Sends SIGTERM, and does not wait.
    ///
    /// # Errors
    /// When it has ended.
    pub fn terminate(&self) -> Result<()> {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        if status.success() { Ok(()) } else { bail!("the operator has ended") }
    }

    /// Waits for the end after [`Self::terminate`].
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub async fn ended(&mut self) -> Result<()> {
        let begin = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begin.elapsed() > PATIENCE {
                bail!("the operator does not end");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A look takes no time worth a thread of its own.
fn says_ok(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    stream.set_read_timeout(Some(Duration::from_secs(5))).is_ok()
        && stream.write_all(request).is_ok()
        && stream.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200")
}
