//! The processes of a cluster: one file each, with the flags and configuration it is started with.

pub(crate) mod apiserver;
pub(crate) mod containerd;
pub(crate) mod controller_manager;
pub(crate) mod etcd;
pub(crate) mod kubelet;
pub(crate) mod proxy;
pub(crate) mod scheduler;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::plan::Plan;
use crate::{Error, tools};

/// A process that is to run as long as the lab.
#[derive(Debug)]
pub(crate) struct Part {
    /// The program's name, also that of its log.
    pub name: &'static str,
    /// How it is started.
    pub command: Command,
}

impl Part {
    /// A part with its flags, each `--name=value`.
    fn new(name: &'static str, flags: Vec<(&'static str, String)>) -> Result<Self, Error> {
        let mut command = Command::new(tools::path(name)?);
        command.args(flags.into_iter().map(|(flag, value)| format!("--{flag}={value}")));
        Ok(Self { name, command })
    }
}

/// A part by its name.
///
/// # Errors
/// When there is none of that name.
pub(crate) fn named(name: &str, plan: &Plan) -> Result<Part, Error> {
    match name {
        "etcd" => etcd::part(plan),
        "kube-apiserver" => apiserver::part(plan),
        "kube-controller-manager" => controller_manager::part(plan),
        "kube-scheduler" => scheduler::part(plan),
        "containerd" => containerd::part(plan),
        "kubelet" => kubelet::part(plan),
        "kube-proxy" => proxy::part(plan),
        _ => Err(Error::NoPart(name.into())),
    }
}

/// A file of `pki/` as a flag's value.
fn pki(plan: &Plan, name: &str) -> String {
    plan.file("pki").join(name).display().to_string()
}

/// Writes a component's configuration, as JSON, which all of them read.
fn configuration(path: &Path, value: &serde_json::Value) -> Result<(), Error> {
    fs::write(path, value.to_string()).map_err(Error::file("write", path))
}

fn folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::file("create", path))
}
