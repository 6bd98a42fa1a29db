//! The programs of the cluster, built from Go modules and cached outside the checkout.
//!
//! Each family has a module file of its own under `tools/`, so that the versions of one cannot force those of another.
//! A family's folder in the cache is named by the hash of its module files, linker flags and own sources (where the
//! program is ours around a library): another version goes to another folder, and an old checkout still finds its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use sha2::{Digest, Sha256};

/// Why a program of the cluster is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// No family has it.
    #[error("there is no tool {name:?}; there are: {}", names().join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// Neither cache folder can be derived.
    #[error("no folder for the cache: set TRADINGBOT_CACHE or HOME")]
    NoCache,
    /// Go is missing or too old.
    #[error("Go 1.26 or newer is needed to build {tool}, found: {found}; see https://go.dev/doc/install")]
    Go {
        /// What was to be built.
        tool: String,
        /// What is on PATH.
        found: String,
    },
    /// The module file does not require the module it is for.
    #[error("{path} does not require {module}", path = .path.display())]
    Version {
        /// The module file.
        path: PathBuf,
        /// The module.
        module: &'static str,
    },
    /// A module's files are not to be had.
    #[error("the files of Go module {module} of {family}: {reason}")]
    Module {
        /// The module.
        module: String,
        /// The family whose module file requires it.
        family: String,
        /// What Go said.
        reason: String,
    },
    /// The compiler refused.
    #[error("building {tool} failed:\n{output}")]
    Build {
        /// What was to be built.
        tool: String,
        /// The end of the compiler's output.
        output: String,
    },
    /// A file could not be handled.
    #[error("cannot {action} {path}: {source}", path = .path.display())]
    File {
        /// The verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Programs that come from one module.
struct Family {
    /// The folder under `tools/`.
    name: &'static str,
    /// The module whose version is the family's.
    module: &'static str,
    /// Linker flags; `{version}`, `{major}` and `{minor}` are those of the module.
    ldflags: &'static str,
    /// Program and package; one of our own begins with `./`.
    tools: &'static [(&'static str, &'static str)],
}

/// Without the version flags the API server calls itself v0.0.0 and clients refuse features.
const FAMILIES: &[Family] = &[
    Family {
        name: "etcd",
        module: "go.etcd.io/etcd/server/v3",
        ldflags: "-s -w",
        tools: &[("etcd", "go.etcd.io/etcd/server/v3")],
    },
    Family {
        name: "kubernetes",
        module: "k8s.io/kubernetes",
        ldflags: "-s -w \
            -X k8s.io/component-base/version.gitVersion={version} \
            -X k8s.io/component-base/version.gitMajor={major} \
            -X k8s.io/component-base/version.gitMinor={minor} \
            -X k8s.io/client-go/pkg/version.gitVersion={version} \
            -X k8s.io/client-go/pkg/version.gitMajor={major} \
            -X k8s.io/client-go/pkg/version.gitMinor={minor}",
        tools: &[
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
            ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            ("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
            ("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
            ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
        ],
    },
    Family {
        name: "containerd",
        module: "github.com/containerd/containerd/v2",
        ldflags: "-s -w -X github.com/containerd/containerd/v2/version.Version={version}",
        tools: &[
            ("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
            ("containerd-shim-runc-v2", "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"),
            ("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
        ],
    },
    Family {
        name: "helm",
        module: "helm.sh/helm/v4",
        ldflags: "-s -w -X helm.sh/helm/v4/internal/version.version={version}",
        tools: &[("helm", "helm.sh/helm/v4/cmd/helm")],
    },
    Family {
        name: "kubeconform",
        module: "github.com/yannh/kubeconform",
        ldflags: "-s -w -X main.version={version}",
        tools: &[
            ("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),
            ("actionlint", "github.com/rhysd/actionlint/cmd/actionlint"),
        ],
    },
    Family {
        name: "peer",
        module: "sigs.k8s.io/controller-runtime",
        ldflags: "-s -w",
        tools: &[("peer", "./peer")],
    },
    Family {
        name: "kstatus",
        module: "github.com/fluxcd/cli-utils",
        ldflags: "-s -w",
        tools: &[("kstatus", "./kstatus")],
    },
    Family {
        name: "argocd",
        module: "github.com/yuin/gopher-lua",
        ldflags: "-s -w",
        tools: &[("argo-health", "./argo-health")],
    },
    Family {
        name: "cert-manager",
        module: "github.com/cert-manager/cert-manager",
        ldflags: "-s -w -X github.com/cert-manager/cert-manager/pkg/util.AppVersion={version}",
        tools: &[("cert-manager", "./cert-manager"), ("acmesolver", "./acmesolver")],
    },
    Family {
        name: "pebble",
        module: "github.com/letsencrypt/pebble/v2",
        ldflags: "-s -w -X main.version={version}",
        tools: &[
            ("pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble"),
            ("pebble-challtestsrv", "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv"),
        ],
    },
];

/// What a lab without a node starts.
pub const CONTROL_PLANE: &[&str] = &["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// What a node starts besides.
pub const NODE: &[&str] = &["containerd", "containerd-shim-runc-v2", "ctr", "kubelet", "kube-proxy"];

/// All programs, in the order in which they are built.
pub fn names() -> Vec<&'static str> {
    FAMILIES.iter().flat_map(|family| family.tools.iter().map(|(tool, _)| *tool)).collect()
}

/// The path of a program, built if it is not in the cache. Parallel callers build once. Progress goes to stderr.
///
/// # Errors
/// When there is no such program, Go is missing, or the build fails.
pub fn path(tool: &str) -> Result<PathBuf, ToolError> {
    let (family, package) = FAMILIES
        .iter()
        .find_map(|family| {
            family.tools.iter().find(|(name, _)| *name == tool).map(|(_, package)| (family, *package))
        })
        .ok_or_else(|| ToolError::Unknown { name: tool.into() })?;
    let module_folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(family.name);
    let ldflags = family.ldflags(&module_folder)?;
    let folder = cache()?.join(format!("{}-{}", family.name, family.hash(&module_folder, &ldflags)?));
    let binary = folder.join(tool);
    if binary.exists() {
        return Ok(binary);
    }
    fs::create_dir_all(&folder).map_err(file("create", &folder))?;
    let lock_path = folder.join(".lock");
    let lock = fs::File::create(&lock_path).map_err(file("create", &lock_path))?;
    if lock.try_lock().is_err() {
        eprintln!("{tool}: another process builds {}, waiting for it", family.name);
        lock.lock().map_err(file("lock", &lock_path))?;
    }
    if !binary.exists() {
        build(tool, package, &ldflags, &module_folder, &binary)?;
    }
    Ok(binary)
}

/// The files of a module in Go's cache, in the version that a family requires. Downloads them if need be.
///
/// # Errors
/// When the family does not require the module, or Go cannot download it.
pub fn module(family: &str, module: &str) -> Result<PathBuf, ToolError> {
    check_go(module)?;
    let failed = |reason: String| ToolError::Module { module: module.into(), family: family.into(), reason };
    let output = go(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(family))
        .args(["mod", "download", "-json", module])
        .output()
        .map_err(file("run", Path::new("go")))?;
    // Go tells what is wrong in the answer, and on stderr where it has none.
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))?;
    match answer.get("Dir").and_then(serde_json::Value::as_str) {
        Some(folder) if output.status.success() => Ok(folder.into()),
        _ => Err(failed(answer.get("Error").map(ToString::to_string).unwrap_or_default())),
    }
}

/// Builds what is missing of `tools`.
///
/// # Errors
/// As [`path`].
pub fn ensure(tools: &[&str]) -> Result<(), ToolError> {
    tools.iter().try_for_each(|tool| path(tool).map(drop))
}

/// Where everything that outlives a checkout is kept:
/// `${TRADINGBOT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/tradingbot}/lab`.
///
/// # Errors
/// When none of the variables is set.
pub fn cache() -> Result<PathBuf, ToolError> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = variable("TRADINGBOT_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("tradingbot")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".cache/tradingbot")));
    Ok(root.ok_or(ToolError::NoCache)?.join("lab"))
}

/// The version of the cluster, such as `v1.36.3`.
///
/// # Errors
/// When the module file cannot be read.
pub fn kubernetes_version() -> Result<String, ToolError> {
    let family = FAMILIES.iter().find(|family| family.name == "kubernetes");
    let family = family.ok_or_else(|| ToolError::Unknown { name: "kubernetes".into() })?;
    family.version(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(family.name))
}

impl Family {
    fn version(&self, folder: &Path) -> Result<String, ToolError> {
        let path = folder.join("go.mod");
        let text = fs::read_to_string(&path).map_err(file("read", &path))?;
        required_version(&text, self.module)
            .map(str::to_owned)
            .ok_or(ToolError::Version { path, module: self.module })
    }

    fn ldflags(&self, folder: &Path) -> Result<String, ToolError> {
        let version = self.version(folder)?;
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        Ok(self.ldflags.replace("{version}", &version).replace("{major}", major).replace("{minor}", minor))
    }

    fn hash(&self, folder: &Path, ldflags: &str) -> Result<String, ToolError> {
        let mut hash = Sha256::new();
        for name in ["go.mod", "go.sum"] {
            let path = folder.join(name);
            hash.update(fs::read(&path).map_err(file("read", &path))?);
            hash.update([0]);
        }
        for path in self.sources(folder)? {
            hash.update(fs::read(&path).map_err(file("read", &path))?);
            hash.update([0]);
        }
        hash.update(ldflags);
        Ok(hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }

    /// The files of the programs that are ours, in a fixed order.
    fn sources(&self, folder: &Path) -> Result<Vec<PathBuf>, ToolError> {
        let mut sources = Vec::new();
        for package in self.tools.iter().filter_map(|(_, package)| package.strip_prefix("./")) {
            let package = folder.join(package);
            for entry in fs::read_dir(&package).map_err(file("list", &package))? {
                sources.push(entry.map_err(file("list", &package))?.path());
            }
        }
        sources.sort();
        Ok(sources)
    }
}

/// The version a `go.mod` requires of a module, whether in a block or on a line of its own.
fn required_version<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    go_mod.lines().find_map(|line| {
        let mut words = line.split_whitespace().filter(|word| *word != "require");
        (words.next()? == module).then(|| words.next())?.filter(|word| word.starts_with('v'))
    })
}

fn build(
    tool: &str,
    package: &str,
    ldflags: &str,
    module_folder: &Path,
    binary: &Path,
) -> Result<(), ToolError> {
    check_go(tool)?;
    eprintln!("{tool}: building {package}");
    let start = Instant::now();
    let partial = binary.with_file_name(format!(".{tool}.partial"));
    let output = go(module_folder)
        .args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o"])
        .arg(&partial)
        .arg(package)
        .env("CGO_ENABLED", "0")
        .output()
        .map_err(file("run", Path::new("go")))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(ToolError::Build { tool: tool.into(), output: crate::log::last_lines(&text, 30) });
    }
    fs::rename(&partial, binary).map_err(file("rename", &partial))?;
    eprintln!("{tool}: built in {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

/// Go in a family's folder, whatever the person's own settings.
fn go(module_folder: &Path) -> Command {
    let mut go = Command::new("go");
    go.current_dir(module_folder).env_remove("GOFLAGS").env("GOWORK", "off").stdin(Stdio::null());
    go
}

fn check_go(tool: &str) -> Result<(), ToolError> {
    let found = match Command::new("go").args(["env", "GOVERSION"]).stdin(Stdio::null()).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(_) => "no go on PATH".to_owned(),
    };
    if go_is_new_enough(&found) { Ok(()) } else { Err(ToolError::Go { tool: tool.into(), found }) }
}

fn go_is_new_enough(version: &str) -> bool {
    let mut numbers = version.trim_start_matches("go").split('.').map(|number| number.parse::<u32>());
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (1, 26),
        _ => false,
    }
}

fn file<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> ToolError + 'a {
    move |source| ToolError::File { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_both_forms_of_require_and_not_from_replace() {
        let block = "replace a/b => a/b v9.9.9\n\nrequire (\n\ta/bc v1.0.0\n\ta/b v1.2.3 // indirect\n)\n";
        assert_eq!(required_version(block, "a/b"), Some("v1.2.3"));
        assert_eq!(required_version("require a/b v0.1.0\n", "a/b"), Some("v0.1.0"));
        assert_eq!(required_version("tool a/b\n", "a/b"), None);
    }

    #[test]
    fn every_family_has_module_files_that_name_its_tools() {
        for family in FAMILIES {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(family.name);
            let flags = family.ldflags(&folder).unwrap();
            assert!(!flags.contains(['{', '}']), "{flags}");
            assert_eq!(family.hash(&folder, &flags).unwrap().len(), 16);
            let go_mod = fs::read_to_string(folder.join("go.mod")).unwrap();
            for (tool, package) in family.tools.iter().filter(|(_, package)| !package.starts_with("./")) {
                let listed = go_mod.lines().any(|line| line.trim_start_matches("tool").trim() == *package);
                assert!(listed, "{tool}: no tool line for {package} in {}", family.name);
            }
        }
    }

    #[test]
    fn other_flags_go_to_another_folder() {
        let family = &FAMILIES[0];
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(family.name);
        assert_ne!(family.hash(&folder, "-s").unwrap(), family.hash(&folder, "-w").unwrap());
    }

    #[test]
    fn a_change_of_an_own_source_goes_to_another_folder() {
        let copy = tempfile::tempdir().unwrap();
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/kstatus");
        fs::create_dir(copy.path().join("kstatus")).unwrap();
        for name in ["go.mod", "go.sum", "kstatus/main.go"] {
            fs::copy(original.join(name), copy.path().join(name)).unwrap();
        }
        let family = FAMILIES.iter().find(|family| family.name == "kstatus").unwrap();
        let before = family.hash(copy.path(), "").unwrap();
        assert_eq!(before, family.hash(&original, "").unwrap());
        fs::write(copy.path().join("kstatus/main.go"), "package main\n").unwrap();
        assert_ne!(before, family.hash(copy.path(), "").unwrap());
    }

    #[test]
    fn go_versions_are_compared_as_numbers() {
        assert!(go_is_new_enough("go1.26.8"));
        assert!(go_is_new_enough("go1.100"));
        assert!(!go_is_new_enough("go1.9.2"));
        assert!(!go_is_new_enough("no go on PATH"));
    }

    #[test]
    fn a_module_that_is_not_required_is_refused_with_its_name() {
        let message = module("etcd", "example.org/nothing").unwrap_err().to_string();
        assert!(message.contains("example.org/nothing") && message.contains("etcd"), "{message}");
    }

    #[test]
    fn an_unknown_tool_is_refused_with_the_list() {
        let message = path("kubeadm").unwrap_err().to_string();
        assert!(message.contains("kubeadm") && message.contains("kube-apiserver"), "{message}");
    }
}
