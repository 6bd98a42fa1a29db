//! A PostgreSQL server, for whatever keeps its journal in one: Debian's package, a fresh cluster in a temporary folder,
//! loopback only, run by a user without rights.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Error, command, log};

/// Where Debian keeps the servers of each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Debian's `nobody` and `nogroup`: PostgreSQL refuses to be run by root.
const NOBODY: u32 = 65_534;
/// The user of the server, who owns every database, and the password.
const USER: &str = "trader";
const PASSWORD: &str = "not-a-secret-but-looked-for";
/// How long the server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server. It ends with this value, and with the thread that started it.
#[derive(Debug)]
pub struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    server: Option<Child>,
}

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// In order, after ending every session.
    Fast,
    /// As if the machine had lost its power: the next start recovers.
    Crash,
}

impl Postgres {
    /// Makes a cluster and starts its server.
    ///
    /// # Errors
    /// When there is no PostgreSQL, or it does not start; the message has the end of its log.
    pub fn start() -> Result<Self, Error> {
        let programs = programs()?;
        let folder = tempfile::tempdir().map_err(Error::file("make", Path::new("a temporary folder")))?;
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(Error::file("find a port for", folder.path()))?
            .port();
        if rustix::process::geteuid().is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY))
                .map_err(Error::file("give away", folder.path()))?;
        }
        let mut postgres = Self { folder, programs, port, server: None };
        let password = postgres.folder.path().join("password");
        fs::write(&password, PASSWORD).map_err(Error::file("write", &password))?;
        let mut init = postgres.program("initdb");
        init.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--username", USER]);
        init.arg("--pwfile").arg(&password).arg("--pgdata").arg(postgres.data());
        command::run(&mut init)?;
        postgres.start_again()?;
        Ok(postgres)
    }

    /// Starts the server after it was stopped.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_again(&mut self) -> Result<(), Error> {
        let path = self.folder.path().join("log");
        let file =
            fs::File::options().create(true).append(true).open(&path).map_err(Error::file("open", &path))?;
        let mut server = self.program("postgres");
        server.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        server.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        let failed = |what: String| Error::Part {
            part: "postgres".to_owned(),
            what,
            log: path.clone(),
            tail: log::tail(&path),
        };
        let mut child = server.spawn().map_err(|error| failed(error.to_string()))?;
        let start = Instant::now();
        let ready = loop {
            let port = self.port.to_string();
            let asked = self.program("pg_isready").args(["-q", "-h", "127.0.0.1", "-p", &port]).status();
            if asked.is_ok_and(|status| status.success()) {
                break Ok(());
            }
            match child.try_wait() {
                Ok(None) if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(20)),
                Ok(None) => break Err(failed("did not become ready".to_owned())),
                Ok(Some(status)) => break Err(failed(format!("ended: {status}"))),
                Err(error) => break Err(failed(error.to_string())),
            }
        };
        self.server = Some(child);
        ready
    }

    /// Stops the server; its data stays.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop(&mut self, how: Stop) -> Result<(), Error> {
        let Some(mut child) = self.server.take() else { return Ok(()) };
        let signal = match how {
            Stop::Fast => Signal::INT,
            Stop::Crash => Signal::QUIT,
        };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Gone already: as wanted.
            kill_process(pid, signal).ok();
        }
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if matches!(child.try_wait(), Ok(Some(_)) | Err(_)) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(Error::Left { seconds: PATIENCE.as_secs(), what: format!("process {}", child.id()) })
    }

    /// The address of its database, with the password in it.
    pub fn url(&self) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/postgres", self.port)
    }

    /// The password in [`Postgres::url`].
    pub const fn password(&self) -> &'static str {
        PASSWORD
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A program of the server's version, run by nobody and ended with this thread.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.arg("--pdeathsig=KILL");
        if rustix::process::geteuid().is_root() {
            command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}")).arg("--clear-groups");
        }
        command.arg("--").arg(self.programs.join(name)).current_dir(self.folder.path()).env_clear();
        command.env("PATH", "/usr/bin:/bin");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop(Stop::Crash).ok();
    }
}

/// The folder of the newest server's programs.
fn programs() -> Result<PathBuf, Error> {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let versions = versions.filter_map(|entry| {
        let programs = entry.path().join("bin");
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        programs.join("initdb").is_file().then_some((version, programs))
    });
    versions.max().map(|(_, programs)| programs).ok_or_else(|| {
        Error::Packages(vec![crate::packages::Package {
            name: "postgresql".to_owned(),
            proof: VERSIONS.to_owned(),
            reason: "the server of the journals that tests keep in PostgreSQL".to_owned(),
        }])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_answers_only_who_knows_the_password_and_comes_back_after_a_crash() {
        let mut postgres = Postgres::start().unwrap();
        let ask = |url: &str| command::call("psql", &["-w", "-Atc", "SELECT count(*) FROM pg_class", url]);
        assert!(ask(&postgres.url()).unwrap().trim().parse::<u32>().unwrap() > 100);
        assert!(ask(&postgres.url().replace(PASSWORD, "wrong")).is_err());
        postgres.stop(Stop::Crash).unwrap();
        assert!(ask(&postgres.url()).is_err());
        postgres.start_again().unwrap();
        ask(&postgres.url()).unwrap();
    }
}
