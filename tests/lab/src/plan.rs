//! What is decided before a lab starts and does not change: its folder, addresses and ports.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;

/// Labs on one machine at the same time; the index is the third octet of their networks.
const PLACES: u8 = 64;

/// The longest unix socket below the folder is `containerd/state/s/<64 hex digits>`-like; the kernel takes 107 bytes.
const LONGEST_FOLDER: usize = 80;

/// Written to `lab.json` in the lab's folder before anything else of the lab exists, so that whatever happens later can
/// be undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The lab's name.
    pub name: String,
    /// Unique among the labs of this machine; picks its networks and its link.
    pub index: u8,
    /// All files of the lab.
    pub folder: PathBuf,
    /// Where its servers listen.
    pub place: Place,
}

/// Where the servers of a lab listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Place {
    /// As root: in namespaces of the lab's own (network, mounts, processes), on the usual ports.
    Namespace,
    /// Without root: on loopback, on ports that were free. No node.
    Loopback(Ports),
}

/// The ports of a lab's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ports {
    /// The API server.
    pub apiserver: u16,
    /// etcd for the API server.
    pub etcd: u16,
    /// etcd for other members, of which there are none.
    pub etcd_peer: u16,
    /// Health and metrics of the controller manager.
    pub controller_manager: u16,
    /// Health and metrics of the scheduler.
    pub scheduler: u16,
}

const USUAL: Ports =
    Ports { apiserver: 6443, etcd: 2379, etcd_peer: 2380, controller_manager: 10257, scheduler: 10259 };

impl Plan {
    /// Finds a free index and writes the plan into a new folder. The caller holds [`lock`].
    ///
    /// # Errors
    /// When all places are taken or the folder cannot be made.
    pub(crate) fn allocate(name: &str) -> Result<Self, Error> {
        let folder = folder_of(name)?;
        if folder.as_os_str().len() > LONGEST_FOLDER {
            return Err(Error::PathTooLong(folder));
        }
        let taken: Vec<u8> = all()?.into_iter().map(|plan| plan.index).collect();
        let index = (0..PLACES)
            .find(|index| !taken.contains(index) && !link_exists(&link_name(*index)))
            .ok_or(Error::Full(PLACES))?;
        let place = if is_root() { Place::Namespace } else { Place::Loopback(free_ports()?) };
        if place == Place::Namespace {
            crate::sandbox::check_folder(&folder)?;
        }
        let plan = Self { name: name.into(), index, folder, place };
        fs::create_dir_all(&plan.folder).map_err(Error::file("create", &plan.folder))?;
        write_json(&plan.folder.join("lab.json"), &plan)?;
        Ok(plan)
    }

    /// The plan of a lab whose folder exists.
    ///
    /// # Errors
    /// When there is no such lab, or its file is damaged.
    pub fn load(name: &str) -> Result<Self, Error> {
        let folder = folder_of(name)?;
        Self::read(&folder)?.ok_or_else(|| Error::Absent { name: name.into(), folder })
    }

    /// The plan in a lab's folder, `None` if there is none.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, Error> {
        read_json(&folder.join("lab.json"))
    }

    /// A file or folder of the lab.
    pub fn file(&self, relative: &str) -> PathBuf {
        self.folder.join(relative)
    }

    /// The log of a part.
    pub fn log(&self, part: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{part}.log"))
    }

    /// The API server's audit log, one JSON object a line: see [`crate::Lab::audit_log`].
    pub fn audit_log(&self) -> PathBuf {
        self.log("audit")
    }

    /// The kubeconfig of a cluster administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.file("kubeconfig")
    }

    /// The ports of the lab's servers.
    pub fn ports(&self) -> Ports {
        match self.place {
            Place::Namespace => USUAL,
            Place::Loopback(ports) => ports,
        }
    }

    /// The address at which the host and pods reach the API server, and the host reaches the node.
    pub fn address(&self) -> Ipv4Addr {
        match self.place {
            Place::Namespace => Ipv4Addr::new(10, 213, self.index, 2),
            Place::Loopback(_) => Ipv4Addr::LOCALHOST,
        }
    }

    /// The address at which pods reach servers on the host; only in a namespace.
    pub fn host_address(&self) -> Ipv4Addr {
        match self.place {
            Place::Namespace => Ipv4Addr::new(10, 213, self.index, 1),
            Place::Loopback(_) => Ipv4Addr::LOCALHOST,
        }
    }

    /// The addresses of pods, as CIDR.
    pub fn pod_range(&self) -> String {
        format!("10.214.{}.0/24", self.index)
    }

    /// The addresses of services, as CIDR: 8,000 of them, for as many bots.
    pub fn service_range(&self) -> String {
        format!("{}/19", self.service_address(0))
    }

    /// An address of the service range. The first is that of `kubernetes.default`.
    pub fn service_address(&self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 215 + self.index / 8, self.index % 8 * 32, host)
    }

    /// The API server's URL.
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.address(), self.ports().apiserver)
    }

    /// The host's end of the link into the lab's network namespace.
    pub fn link(&self) -> String {
        link_name(self.index)
    }

    /// The control group all pods are in, directly under the root of each hierarchy.
    pub fn cgroup(&self) -> String {
        format!("tradingbot-lab-{}", self.name)
    }

    /// The environment variable and its value by which every process of the lab is known.
    pub fn marker(&self) -> (&'static str, &Path) {
        (MARKER, &self.folder)
    }
}

/// Names the lab's folder in the environment of each of its processes.
pub(crate) const MARKER: &str = "TRADINGBOT_LAB";

/// Whether this process may make namespaces, mounts and links.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The folder of all labs of this user: `${TMPDIR:-/tmp}/tradingbot-lab`, with the user's number unless root.
pub fn root_folder() -> PathBuf {
    let user = rustix::process::geteuid();
    let name =
        if user.is_root() { "tradingbot-lab".into() } else { format!("tradingbot-lab-{}", user.as_raw()) };
    std::env::temp_dir().join(name)
}

/// Plans of all labs of this user, running or not.
///
/// # Errors
/// When a plan cannot be read.
pub fn all() -> Result<Vec<Plan>, Error> {
    let root = root_folder();
    let entries = match fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::file("read", &root)(error)),
    };
    let mut plans = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::file("read", &root))?;
        plans.extend(Plan::read(&entry.path())?);
    }
    plans.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(plans)
}

/// Held while labs are added and removed, so that two never take the same place.
///
/// # Errors
/// When the lock file cannot be made.
pub(crate) fn lock() -> Result<fs::File, Error> {
    let folder = crate::tools::cache()?;
    fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    let path = folder.join("labs.lock");
    let lock = fs::File::create(&path).map_err(Error::file("create", &path))?;
    lock.lock().map_err(Error::file("lock", &path))?;
    Ok(lock)
}

/// Reads a JSON file; `None` if it does not exist.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| Error::State { path: path.into(), source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        // A file in the folder of all labs that is no folder.
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

/// Replaces a JSON file at once: a reader sees the old or the new text.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let text =
        serde_json::to_vec_pretty(value).map_err(|source| Error::State { path: path.into(), source })?;
    let partial = path.with_extension("partial");
    fs::write(&partial, text).map_err(Error::file("write", &partial))?;
    fs::rename(&partial, path).map_err(Error::file("rename", &partial))
}

fn folder_of(name: &str) -> Result<PathBuf, Error> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > 32 || name.starts_with('-') || !name.chars().all(allowed) {
        return Err(Error::Name(name.into()));
    }
    Ok(root_folder().join(name))
}

fn link_name(index: u8) -> String {
    format!("tblab{index}")
}

pub(crate) fn link_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

/// Ports that are free now. They are all held until the last is found, so that they differ.
fn free_ports() -> Result<Ports, Error> {
    let bind = || {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::file("listen on", Path::new("127.0.0.1")))
    };
    let held = [bind()?, bind()?, bind()?, bind()?, bind()?];
    let port = |listener: &TcpListener| {
        let address = listener.local_addr().map_err(Error::file("listen on", Path::new("127.0.0.1")))?;
        Ok::<u16, Error>(address.port())
    };
    let [apiserver, etcd, etcd_peer, controller_manager, scheduler] = &held;
    Ok(Ports {
        apiserver: port(apiserver)?,
        etcd: port(etcd)?,
        etcd_peer: port(etcd_peer)?,
        controller_manager: port(controller_manager)?,
        scheduler: port(scheduler)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(index: u8, place: Place) -> Plan {
        Plan { name: "x".into(), index, folder: "/tmp/x".into(), place }
    }

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        for name in ["", "..", "a/b", "-a", "A", "a b", &"a".repeat(33)] {
            assert!(matches!(folder_of(name), Err(Error::Name(_))), "{name:?}");
        }
        assert!(folder_of("demo-2").unwrap().ends_with("demo-2"));
    }

    #[test]
    fn networks_of_two_labs_do_not_meet() {
        let (a, b) = (plan(0, Place::Namespace), plan(1, Place::Namespace));
        assert_ne!(a.pod_range(), b.pod_range());
        assert_ne!(a.service_range(), b.service_range());
        assert_ne!(a.address(), b.address());
        assert_ne!(a.link(), b.link());
        assert_eq!(a.url(), "https://10.213.0.2:6443");
        let services: std::collections::BTreeSet<_> =
            (0..PLACES).map(|index| plan(index, Place::Namespace).service_address(0).octets()).collect();
        assert_eq!(services.len(), usize::from(PLACES));
        assert!(services.iter().all(|[_, _, third, _]| third % 32 == 0), "a /19 each");
    }

    #[test]
    fn free_ports_differ() {
        let ports = free_ports().unwrap();
        let mut each =
            vec![ports.apiserver, ports.etcd, ports.etcd_peer, ports.controller_manager, ports.scheduler];
        each.sort_unstable();
        each.dedup();
        assert_eq!(each.len(), 5);
    }

    #[test]
    fn a_plan_survives_its_file_and_a_damaged_one_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(3, Place::Loopback(USUAL));
        assert_eq!(Plan::read(folder.path()).unwrap(), None);
        write_json(&folder.path().join("lab.json"), &plan).unwrap();
        assert_eq!(Plan::read(folder.path()).unwrap(), Some(plan));
        fs::write(folder.path().join("lab.json"), "{").unwrap();
        assert!(matches!(Plan::read(folder.path()), Err(Error::State { .. })));
    }
}
