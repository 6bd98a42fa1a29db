//! Images: built by buildah without a daemon, kept as docker archives, loaded into the node's containerd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::command::run;
use crate::{BUSYBOX_IMAGE, Error, base, tools};

const BUSYBOX: &str = "/bin/busybox";
const BUSYBOX_DOCKERFILE: &str = include_str!("../images/busybox/Dockerfile");

/// An image of the repository's `Dockerfile`, around a binary that is compiled already.
#[derive(Debug)]
pub struct Build {
    /// What the image shall be called, such as `localhost/tradingbot-agent:dev`.
    pub tag: String,
    /// The stage of the Dockerfile.
    pub target: String,
    /// The Dockerfile.
    pub dockerfile: PathBuf,
    /// The compiled program; the stage copies it by its file name.
    pub binary: PathBuf,
}

/// Builds an image on the lab's own base and writes it as a docker archive.
///
/// # Errors
/// When buildah or a Debian package is missing, or the build fails.
pub fn build(image: &Build, archive: &Path) -> Result<(), Error> {
    crate::packages::check()?;
    let _lock = lock()?;
    let context = temporary()?;
    let name = image.binary.file_name().unwrap_or(image.binary.as_os_str());
    place(&image.binary, &context.path().join(name))?;
    let base = base::image()?;
    let arguments = [("BASE", base.as_str()), ("BINARIES", "prebuilt")];
    buildah_build(context.path(), &image.dockerfile, &image.tag, &arguments, Some(&image.target))?;
    export(&image.tag, archive)?;
    // The archive is the result: without this each build would leave copies of the binary in the storage. (With
    // `--force-rm` the build itself fails now and then, when two stages end at once.)
    run(buildah()?.args(["rm", "--all"]))?;
    run(buildah()?.args(["rmi", &image.tag]))?;
    run(buildah()?.args(["rmi", "--prune"])).map(drop)
}

/// Held while the storage is written, for pruning removes what another build is about to use.
fn lock() -> Result<fs::File, Error> {
    let path = folder()?.join(".lock");
    let lock = fs::File::create(&path).map_err(Error::file("create", &path))?;
    lock.lock().map_err(Error::file("lock", &path))?;
    Ok(lock)
}

/// The archive of [`BUSYBOX_IMAGE`], built once per version of Debian's busybox.
///
/// # Errors
/// As [`build`].
pub(crate) fn busybox_archive() -> Result<PathBuf, Error> {
    let busybox = Path::new(BUSYBOX);
    let mut hash = Sha256::new();
    hash.update(fs::read(busybox).map_err(Error::file("read", busybox))?);
    hash.update(BUSYBOX_DOCKERFILE);
    let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let archive = folder()?.join(format!("busybox-{hash}.tar"));
    if archive.exists() {
        return Ok(archive);
    }
    let _lock = lock()?;
    if archive.exists() {
        return Ok(archive);
    }
    let context = temporary()?;
    place(busybox, &context.path().join("busybox"))?;
    let dockerfile = context.path().join("Dockerfile");
    fs::write(&dockerfile, BUSYBOX_DOCKERFILE).map_err(Error::file("write", &dockerfile))?;
    buildah_build(context.path(), &dockerfile, BUSYBOX_IMAGE, &[], None)?;
    export(BUSYBOX_IMAGE, &archive)?;
    Ok(archive)
}

/// The command that loads an archive into a containerd, for the namespace the kubelet uses.
pub(crate) fn import_command(ctr: &Path, socket: &Path, archive: &Path) -> Command {
    let mut command = Command::new(ctr);
    command.arg("--address").arg(socket).args(["--namespace", "k8s.io", "images", "import"]).arg(archive);
    command
}

/// Where archives and buildah's storage are kept.
pub(crate) fn folder() -> Result<PathBuf, Error> {
    let folder = tools::cache()?.join("images");
    fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
    Ok(folder)
}

/// buildah with storage and settings of the lab's own; `vfs` works everywhere and leaves no mounts.
pub(crate) fn buildah() -> Result<Command, Error> {
    let folder = folder()?;
    // Without it buildah makes /etc/cni on the host.
    let config = folder.join("containers.conf");
    if !config.exists() {
        let text = format!("[network]\nnetwork_config_dir = {:?}\n", folder.join("networks"));
        fs::write(&config, text).map_err(Error::file("write", &config))?;
    }
    let mut command = Command::new("buildah");
    command.env("CONTAINERS_CONF", &config);
    command.arg("--root").arg(folder.join("storage")).arg("--runroot").arg(folder.join("run"));
    command.args(["--storage-driver", "vfs"]);
    Ok(command)
}

pub(crate) fn buildah_build(
    context: &Path,
    dockerfile: &Path,
    tag: &str,
    arguments: &[(&str, &str)],
    target: Option<&str>,
) -> Result<(), Error> {
    let mut command = buildah()?;
    command.args(["build", "--isolation", "chroot", "--pull-never", "--layers=false", "--format", "docker"]);
    command.args(["--tag", tag]).arg("--file").arg(dockerfile);
    for (name, value) in arguments {
        command.arg("--build-arg").arg(format!("{name}={value}"));
    }
    if let Some(target) = target {
        command.args(["--target", target]);
    }
    run(command.arg(context)).map(drop)
}

/// Writes an image of buildah's storage as an archive, at once.
fn export(tag: &str, archive: &Path) -> Result<(), Error> {
    let partial = archive.with_extension("partial");
    // An archive that exists is not overwritten but refused.
    if partial.exists() {
        fs::remove_file(&partial).map_err(Error::file("remove", &partial))?;
    }
    run(buildah()?
        .args(["push", "--quiet", tag])
        .arg(format!("docker-archive:{}:{tag}", partial.display())))?;
    fs::rename(&partial, archive).map_err(Error::file("rename", &partial))
}

/// A link where possible, for binaries are large.
fn place(from: &Path, to: &Path) -> Result<(), Error> {
    let from = fs::canonicalize(from).map_err(Error::file("read", from))?;
    if fs::hard_link(&from, to).is_ok() {
        return Ok(());
    }
    fs::copy(&from, to).map(drop).map_err(Error::file("copy", &from))
}

fn temporary() -> Result<tempfile::TempDir, Error> {
    let parent = folder()?;
    tempfile::tempdir_in(&parent).map_err(Error::file("create a folder in", &parent))
}
