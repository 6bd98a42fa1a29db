//! The namespaces a lab lives in when it is started as root.
//!
//! The supervisor is the first process of a process namespace, with network and mounts of its own. So the kernel itself
//! ends every process, mount, link and firewall rule of the lab when the supervisor ends, however it ends.

use std::ffi::CString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount};

use crate::command::call;
use crate::plan::Plan;
use crate::{Error, plan};

/// The end of the link inside the lab.
const INNER_LINK: &str = "lab0";

/// Folders whose names are compiled into containerd and the kubelet (`/etc/cni`, `/var/lib/cni`, `/var/log/pods`): what
/// is written there goes to a layer in the lab's folder.
const WRITTEN: &[&str] = &["/etc", "/var/lib", "/var/log"];

/// How long the other side of the namespaces may take to appear.
const PATIENCE: Duration = Duration::from_secs(10);

/// Refuses a folder that the lab's programs would not see, or see doubly.
pub(crate) fn check_folder(folder: &Path) -> Result<(), Error> {
    match WRITTEN.iter().chain(&["/run"]).find(|layer| folder.starts_with(layer)) {
        Some(layer) => Err(Error::Hidden { folder: folder.into(), layer }),
        None => Ok(()),
    }
}

/// A command that runs `program` as the first process of new namespaces, and ends it when it is ended itself.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]).arg(program);
    command
}

/// Outside: connects the host with the namespaces of process `pid`, and routes the lab's pods and services there.
pub(crate) fn connect(plan: &Plan, pid: u32) -> Result<(), Error> {
    let own =
        fs::read_link("/proc/self/ns/net").map_err(Error::file("read", Path::new("/proc/self/ns/net")))?;
    let theirs = format!("/proc/{pid}/ns/net");
    wait_for("the network namespace of the supervisor", || {
        fs::read_link(&theirs).is_ok_and(|namespace| namespace != own)
    })?;
    let (link, host, inner) =
        (plan.link(), format!("{}/30", plan.host_address()), plan.address().to_string());
    let pid = pid.to_string();
    call("ip", &["link", "add", &link, "type", "veth", "peer", "name", INNER_LINK, "netns", &pid])?;
    call("ip", &["address", "add", &host, "dev", &link])?;
    call("ip", &["link", "set", &link, "up"])?;
    for range in [plan.pod_range(), plan.service_range()] {
        call("ip", &["route", "add", &range, "via", &inner])?;
    }
    Ok(())
}

/// Outside: removes the link, and with it the routes. The kernel does so too, a little after the last process ended.
pub(crate) fn disconnect(plan: &Plan) -> Result<(), Error> {
    let link = plan.link();
    if plan::link_exists(&link) {
        // It may vanish on its own in between.
        if let Err(error) = call("ip", &["link", "delete", &link])
            && plan::link_exists(&link)
        {
            return Err(error);
        }
    }
    Ok(())
}

/// Inside: what programs write to fixed places goes to the lab's folder or to memory instead of the host.
pub(crate) fn shield(plan: &Plan) -> Result<(), Error> {
    let run = Path::new("/run");
    mount("tmpfs", run, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755")
        .map_err(|error| Error::file("mount a tmpfs on", run)(error.into()))?;
    for fixed in WRITTEN {
        let layer = plan.file("host").join(fixed.trim_start_matches('/').replace('/', "-"));
        let (written, work) = (layer.join("written"), layer.join("work"));
        for folder in [&written, &work] {
            fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
        }
        let options = format!("lowerdir={fixed},upperdir={},workdir={}", written.display(), work.display());
        let options = CString::new(options).unwrap_or_default();
        mount("overlay", *fixed, "overlay", MountFlags::empty(), options.as_c_str())
            .map_err(|error| Error::file("mount an overlay on", Path::new(fixed))(error.into()))?;
    }
    Ok(())
}

/// Inside: waits for the link from the host and sets up the network.
pub(crate) fn join(plan: &Plan) -> Result<(), Error> {
    wait_for("the link from the host", || call("ip", &["link", "show", INNER_LINK]).is_ok())?;
    let (address, host) = (format!("{}/30", plan.address()), plan.host_address().to_string());
    call("ip", &["link", "set", "lo", "up"])?;
    call("ip", &["address", "add", &address, "dev", INNER_LINK])?;
    call("ip", &["link", "set", INNER_LINK, "up"])?;
    call("ip", &["route", "add", "default", "via", &host])?;
    let forward = Path::new("/proc/sys/net/ipv4/ip_forward");
    fs::write(forward, "1").map_err(Error::file("write", forward))
}

fn wait_for(what: &str, mut there: impl FnMut() -> bool) -> Result<(), Error> {
    let start = Instant::now();
    while !there() {
        if start.elapsed() > PATIENCE {
            return Err(Error::Left { seconds: PATIENCE.as_secs(), what: format!("no sign of {what}") });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_under_a_layer_is_refused_with_the_remedy() {
        let message = check_folder(Path::new("/var/lib/x/tradingbot-lab/demo")).unwrap_err().to_string();
        assert!(message.contains("/var/lib,") && message.contains("TMPDIR"), "{message}");
        assert!(check_folder(Path::new("/run/user/0/demo")).is_err());
        assert!(check_folder(Path::new("/var/tmp/tradingbot-lab/demo")).is_ok());
    }
}
