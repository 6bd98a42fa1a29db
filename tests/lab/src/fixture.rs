//! Labs that end with the test process that started them.
//!
//! A second process of the `lab` program holds the reading end of a pipe whose writing end only the test process has. The
//! kernel closes that one however the test process ends, and then the guard removes the lab.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::plan::Plan;
use crate::{Error, teardown};

/// Waits for the end of the test process.
#[derive(Debug)]
pub(crate) struct Guard {
    process: Child,
    /// Never written to.
    pipe: Option<ChildStdin>,
}

impl Guard {
    pub(crate) fn new(plan: &Plan, program: &Path) -> Result<Self, Error> {
        let log_path = plan.log("guard");
        let log = crate::supervisor::open_log(&log_path)?;
        let mut process = Command::new(program)
            .arg("end-with-input")
            .arg(&plan.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(Error::file("run", program))?;
        let pipe = process.stdin.take();
        Ok(Self { process, pipe })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // The guard removes the lab at the end of its input; the owner may do it at the same time.
        drop(self.pipe.take());
        drop(self.process.wait());
    }
}

/// The guard's work: removes the lab once stdin ends.
///
/// # Errors
/// When something of the lab is left.
pub fn end_with_input(plan: &Plan) -> Result<(), Error> {
    // Ctrl-C in the terminal is for the test process; the guard is to outlive it.
    rustix::process::setsid().ok();
    drop(std::io::stdin().lock().read_to_end(&mut Vec::new()));
    teardown::remove(plan)
}

/// A name no other fixture has: the process and a counter.
pub(crate) fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The `lab` program beside the running test binary (`target/<profile>/lab`), built if it is not up to date.
pub(crate) fn program() -> Result<PathBuf, Error> {
    let own = std::env::current_exe().map_err(Error::file("find", Path::new("the running program")))?;
    // A test binary is in `deps/`, an example in `examples/`, a program in the profile's folder itself.
    let profile_folder = own
        .ancestors()
        .skip(1)
        .find(|folder| !(folder.ends_with("deps") || folder.ends_with("examples")))
        .unwrap_or(Path::new("/"));
    let program = profile_folder.join("lab");
    if let Some(cargo) = std::env::var_os("CARGO") {
        let profile = match profile_folder.file_name().and_then(|name| name.to_str()) {
            None | Some("debug") => "dev",
            Some(other) => other,
        };
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let arguments =
            ["build", "--quiet", "--manifest-path", manifest, "--bin", "lab", "--profile", profile];
        crate::command::run(Command::new(cargo).args(arguments))?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_fixtures_differ_within_a_process() {
        assert_ne!(unique_name(), unique_name());
    }
}
