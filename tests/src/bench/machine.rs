//! On what is measured.

use std::fs;
use std::process::Command;

use serde::Serialize;

/// The machine, as a reader of the figures needs to know it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Its processors.
    pub cores: usize,
    /// Their model.
    pub model: String,
    /// Memory in GiB.
    pub memory_gib: u64,
    /// Of the operating system.
    pub kernel: String,
    /// Whether the API server and etcd had core 0 and the operator core 1.
    pub pinned: bool,
}

impl Machine {
    /// This one. Programs are pinned where there are two cores and `taskset`.
    pub fn here() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let kib: u64 = field("/proc/meminfo", "MemTotal").and_then(|text| number(&text)).unwrap_or(0);
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let taskset = Command::new("taskset").arg("--version").output().is_ok_and(|out| out.status.success());
        Self {
            cores,
            model: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".into()),
            memory_gib: (kib + 512 * 1024) / 1024 / 1024,
            kernel: format!("Linux {}", kernel.trim()),
            pinned: cores > 1 && taskset,
        }
    }
}

/// The load average of the last minute.
pub fn load() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

/// The value of a line `name : value`.
pub fn field(path: &str, name: &str) -> Option<String> {
    fs::read_to_string(path).ok()?.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

/// The number that a text such as `123 kB` begins with.
pub fn number(text: &str) -> Option<u64> {
    text.split(' ').next()?.parse().ok()
}
