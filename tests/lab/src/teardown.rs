//! Removes a lab, whatever state it is in: the same way for `lab down`, for a fixture whose test process ended, and
//! after someone killed the supervisor.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process};

use crate::plan::{Place, Plan};
use crate::{Error, cgroup, plan, sandbox};

/// How long the kernel may take to end the lab's processes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ends all processes of the lab and removes everything it made. Nothing to do is no error.
///
/// # Errors
/// When something is left, with its name.
pub(crate) fn remove(plan: &Plan) -> Result<(), Error> {
    kill_all(plan)?;
    if plan.place == Place::Namespace {
        cgroup::remove(plan)?;
        sandbox::disconnect(plan)?;
    }
    // The index is free for others only when nothing of it is in use any more, so the plan goes last.
    let _lock = plan::lock()?;
    match fs::remove_dir_all(&plan.folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::file("remove", &plan.folder)(error));
        }
        _ => {}
    }
    // Fails while it holds other labs, as it should.
    drop(fs::remove_dir(plan::root_folder()));
    Ok(())
}

/// Kills until none is left: a process may start another while it is being looked for.
fn kill_all(plan: &Plan) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        let found = processes(plan);
        if found.is_empty() {
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            let what =
                found.iter().map(|pid| pid.as_raw_nonzero().to_string()).collect::<Vec<_>>().join(", ");
            return Err(Error::Left { seconds: PATIENCE.as_secs(), what: format!("process {what}") });
        }
        for pid in found {
            // Gone already: as wanted.
            kill_process(pid, Signal::KILL).ok();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The processes that carry the lab's mark in their environment. Pods do not; the kernel ends them with the process
/// namespace, and `cgroup::remove` waits for that.
pub(crate) fn processes(plan: &Plan) -> Vec<Pid> {
    let (name, folder) = plan.marker();
    let mark = [name.as_bytes(), b"=", folder.as_os_str().as_bytes()].concat();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::from_raw))
        .filter(|pid| *pid != getpid() && is_marked(*pid, &mark))
        .collect()
}

fn is_marked(pid: Pid, mark: &[u8]) -> bool {
    // Processes of others cannot be read, and a zombie has no environment.
    let environment = fs::read(Path::new("/proc").join(pid.as_raw_nonzero().to_string()).join("environ"));
    environment.is_ok_and(|text| text.split(|byte| *byte == 0).any(|variable| variable == mark))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_marked_processes_are_killed_and_the_folder_goes() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("x");
        fs::create_dir(&folder).unwrap();
        let ports = plan::Ports { apiserver: 1, etcd: 2, etcd_peer: 3, controller_manager: 4, scheduler: 5 };
        let plan =
            Plan { name: "x".into(), index: 63, folder: folder.clone(), place: Place::Loopback(ports) };
        let sleep =
            |folder: &Path| Command::new("sleep").arg("60").env(plan::MARKER, folder).spawn().unwrap();
        let (mut own, mut other) = (sleep(&folder), sleep(&parent.path().join("xy")));
        // The environment is the new one only after exec.
        while processes(&plan).is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        remove(&plan).unwrap();
        assert!(!own.wait().unwrap().success());
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(!folder.exists());
        remove(&plan).unwrap();
    }
}
