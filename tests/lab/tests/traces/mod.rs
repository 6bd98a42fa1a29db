//! What a lab leaves on the machine, found without the lab's own means: processes by their cgroup, environment and network
//! namespace, mounts, links, routes, control groups, folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::plan::Plan;

/// Folders of the host that the programs of a node would make if they were let.
const HOST_FOLDERS: &[&str] = &[
    "/etc/cni",
    "/run/containerd",
    "/run/netns",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
];

/// Taken while the lab runs, to know what to look for afterwards.
pub struct Traces {
    plan: Plan,
    namespaces: BTreeSet<PathBuf>,
    host_folders: BTreeSet<&'static str>,
}

impl Traces {
    /// `host_folders` were there before the lab.
    pub fn of(plan: &Plan, host_folders: BTreeSet<&'static str>) -> Self {
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let found = processes(plan, &BTreeSet::new());
        let mut namespaces: BTreeSet<PathBuf> = found.iter().filter_map(|pid| namespace(*pid)).collect();
        namespaces.remove(&own);
        Self { plan: plan.clone(), namespaces, host_folders }
    }

    pub fn namespaces(&self) -> usize {
        self.namespaces.len()
    }

    /// Everything of the lab that is there now.
    pub fn list(&self) -> Vec<String> {
        let mut traces = Vec::new();
        for pid in processes(&self.plan, &self.namespaces) {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            // One without a command line has ended; the kernel is about to forget it.
            if line.is_empty() {
                continue;
            }
            traces.push(format!("process {pid}: {}", String::from_utf8_lossy(&line).replace('\0', " ")));
        }
        let folder = self.plan.folder.display().to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        traces
            .extend(mounts.lines().filter(|line| line.contains(&folder)).map(|line| format!("mount {line}")));
        let link = Path::new("/sys/class/net").join(self.plan.link());
        let routes = fs::read_to_string("/proc/net/route").unwrap();
        traces.extend(
            routes
                .lines()
                .filter(|line| line.starts_with(&self.plan.link()))
                .map(|line| format!("route {line}")),
        );
        let groups = hierarchies().into_iter().map(|hierarchy| hierarchy.join(self.plan.cgroup()));
        let folders = groups.chain([link, self.plan.folder.clone()]).filter(|path| path.exists());
        traces.extend(folders.map(|path| format!("folder {}", path.display())));
        let made = host_folders();
        traces.extend(made.difference(&self.host_folders).map(|path| format!("folder {path}")));
        traces
    }

    /// Fails with what is left after the given time.
    pub fn assert_gone_within(&self, patience: Duration) {
        let start = Instant::now();
        loop {
            let left = self.list();
            if left.is_empty() {
                return;
            }
            assert!(start.elapsed() < patience, "left after {patience:?}:\n{}", left.join("\n"));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Which of the host's folders exist.
pub fn host_folders() -> BTreeSet<&'static str> {
    HOST_FOLDERS.iter().copied().filter(|path| Path::new(path).exists()).collect()
}

/// The process of the lab whose command line holds all of `words`.
pub fn process(plan: &Plan, words: &[&str]) -> u32 {
    let found = processes(plan, &BTreeSet::new()).into_iter().find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        words.iter().all(|word| line.contains(word)) && !line.starts_with("unshare")
    });
    found.unwrap_or_else(|| panic!("no process with {words:?}"))
}

/// Kills that process.
pub fn kill(plan: &Plan, words: &[&str]) {
    let pid = process(plan, words);
    let status = std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

fn processes(plan: &Plan, namespaces: &BTreeSet<PathBuf>) -> Vec<u32> {
    let mark = format!("TRADINGBOT_LAB={}", plan.folder.display());
    let group = format!("/{}", plan.cgroup());
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let read = |name| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let marked = read("environ").split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes());
        let grouped = String::from_utf8_lossy(&read("cgroup")).contains(&group);
        marked || grouped || namespace(*pid).is_some_and(|namespace| namespaces.contains(&namespace))
    })
    .collect()
}

fn namespace(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/net")).ok()
}

fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let fields = mounts.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|fields| fields[2].starts_with("cgroup")).map(|fields| fields[1].into()).collect()
}
