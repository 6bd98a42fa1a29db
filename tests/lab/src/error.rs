//! What can go wrong with a lab, apart from its programs ([`crate::tools`]) and images ([`crate::image`]).

use std::path::{Path, PathBuf};

/// Why a lab could not be started, reached or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that cannot be a folder, a cgroup and part of a socket path.
    #[error(
        "lab name {0:?} is not allowed: use 1 to 32 of a-z, 0-9 and '-', beginning with a letter or digit"
    )]
    Name(String),
    /// No lab of that name has been started.
    #[error("there is no lab {name:?} in {folder}: start it with `lab up --name {name}`")]
    Absent {
        /// The name that was asked for.
        name: String,
        /// Where its folder would be.
        folder: PathBuf,
    },
    /// The lab's folder is there, its processes are not.
    #[error("lab {0:?} is not running any more: remove it with `lab down --name {0}`, or start it again")]
    Dead(String),
    /// All indices are in use.
    #[error("all {0} places for labs on this machine are taken: remove some with `lab down --name NAME`")]
    Full(u8),
    /// The path of a unix socket would exceed what the kernel takes.
    #[error("{0} is too long for unix sockets in it: set TMPDIR to a shorter path")]
    PathTooLong(PathBuf),
    /// The lab's folder would be under a layer of its own.
    #[error("{folder} is under {layer}, which a lab hides from its programs: set TMPDIR to another path", folder = .folder.display())]
    Hidden {
        /// Where the lab's folder would be.
        folder: PathBuf,
        /// What is hidden.
        layer: &'static str,
    },
    /// A node was asked for without the rights it takes.
    #[error("a lab with a node needs root: run it as root, or start a control plane alone (without --node)")]
    NotRoot,
    /// A node was asked for on a lab that lives on loopback.
    #[error(
        "lab {0:?} was started without root and lives on loopback, where no node can join: \
         run `lab down --name {0}` and start it again as root"
    )]
    NoNamespace(String),
    /// Something that takes a node was asked of a lab without one.
    #[error("lab {0:?} has no node: add one with `lab up --node --name {0}`")]
    NoNode(String),
    /// A name that is no part's.
    #[error(
        "{0:?} is no part of a lab: the parts are etcd, kube-apiserver, kube-controller-manager, kube-scheduler and, \
         with a node, containerd, kubelet and kube-proxy"
    )]
    NoPart(String),
    /// Debian packages are missing.
    #[error("missing: {}; install with `apt-get install --no-install-recommends {}`", describe(.0), names(.0))]
    Packages(Vec<crate::packages::Package>),
    /// A part of the cluster ended or did not become ready.
    #[error("{part} {what}; the end of {log}:\n{tail}", log = .log.display())]
    Part {
        /// The part, such as `kube-apiserver`.
        part: String,
        /// What happened to it.
        what: String,
        /// The whole log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// A file or folder could not be handled.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    File {
        /// The verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file of the lab does not hold what it should.
    #[error("{path} is not readable as lab state: {source}; end the lab's processes and remove the folder", path = .path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// A helper program could not be run or failed.
    #[error("`{command}` failed: {reason}")]
    Command {
        /// The command line.
        command: String,
        /// Its error output, or why it could not be started.
        reason: String,
    },
    /// A certificate could not be made.
    #[error("cannot make the certificate for {subject}: {source}")]
    Certificate {
        /// Whom it is for.
        subject: String,
        /// The library's reason.
        source: rcgen::Error,
    },
    /// The API server's answer to one of the lab's own requests.
    #[error("cannot {action}: {source}")]
    Api {
        /// What was tried.
        action: String,
        /// The client's reason.
        source: Box<kube::Error>,
    },
    /// The lab's own kubeconfig was refused by the client library.
    #[error("kubeconfig of the lab: {0}")]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    /// Something of the lab outlived its removal.
    #[error("after {seconds} s there is still {what}")]
    Left {
        /// How long was waited.
        seconds: u64,
        /// What is left.
        what: String,
    },
    /// A program of the cluster is missing and could not be built.
    #[error(transparent)]
    Tool(#[from] crate::tools::ToolError),
}

impl Error {
    /// For `map_err` on file operations.
    pub(crate) fn file<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Self + 'a {
        move |source| Self::File { action, path: path.to_owned(), source }
    }
}

fn describe(packages: &[crate::packages::Package]) -> String {
    let each: Vec<String> = packages.iter().map(|p| format!("{} ({})", p.name, p.reason)).collect();
    each.join(", ")
}

fn names(packages: &[crate::packages::Package]) -> String {
    let each: Vec<&str> = packages.iter().map(|p| p.name.as_str()).collect();
    each.join(" ")
}
