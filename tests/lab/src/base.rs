//! The base of the images: what a dynamically linked program needs, from Debian packages of the machine's own release, so
//! that the C library is the one the binaries were linked against. No shell, no package manager.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::command::{call, run};
use crate::{Error, image};

/// What goes in: the C library, the unwinder, the roots that TLS trusts.
const PACKAGES: &[&str] = &["libc6", "libgcc-s1", "ca-certificates"];

/// Parts of the packages no program here reads.
const UNUSED: &[&str] =
    &["usr/share/doc", "usr/share/lintian", "usr/share/man", "usr/lib/x86_64-linux-gnu/gconv", "usr/sbin"];

const DOCKERFILE: &str =
    "FROM scratch\nCOPY . /\nENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\nUSER 65532:65532\n";

/// The name of the base image in buildah's storage, made if these versions of the packages have not been used yet.
///
/// # Errors
/// When apt does not know the packages or buildah fails.
pub(crate) fn image() -> Result<String, Error> {
    let list = [&["download", "--print-uris"], PACKAGES].concat();
    let sources = match call("apt-get", &list) {
        Ok(sources) => sources,
        // A machine that has never fetched the lists of packages.
        Err(_) => call("apt-get", &["update"]).and_then(|_| call("apt-get", &list))?,
    };
    let mut hash = Sha256::new();
    hash.update(file_names(&sources).join(" "));
    hash.update(DOCKERFILE);
    let version: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("localhost/tradingbot-lab/base:{version}");
    if run(image::buildah()?.args(["inspect", "--type", "image", &tag])).is_ok() {
        return Ok(tag);
    }
    let folder = image::folder()?;
    let work = tempfile::tempdir_in(&folder).map_err(Error::file("create a folder in", &folder))?;
    let (packages, root) = (work.path().join("packages"), work.path().join("root"));
    for folder in [&packages, &root] {
        fs::create_dir(folder).map_err(Error::file("create", folder))?;
    }
    // Without its own user apt complains that it cannot enter the folder.
    let user = ["-o", "APT::Sandbox::User=root", "download"];
    run(Command::new("apt-get").args(user).args(PACKAGES).current_dir(&packages))?;
    for entry in fs::read_dir(&packages).map_err(Error::file("read", &packages))? {
        let package = entry.map_err(Error::file("read", &packages))?.path();
        run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(&root))?;
    }
    finish(&root)?;
    let dockerfile = work.path().join("Dockerfile");
    fs::write(&dockerfile, DOCKERFILE).map_err(Error::file("write", &dockerfile))?;
    image::buildah_build(&root, &dockerfile, &tag, &[], None)?;
    Ok(tag)
}

/// Does what the packages' scripts would: one file of certificates, the user, a folder for temporary files.
fn finish(root: &Path) -> Result<(), Error> {
    let certificates = root.join("usr/share/ca-certificates");
    let mut bundle = String::new();
    collect(&certificates, &mut bundle)?;
    for path in UNUSED.iter().map(|path| root.join(path)).chain([certificates]) {
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file("remove", &path)(error));
            }
            _ => {}
        }
    }
    write(root, "etc/ssl/certs/ca-certificates.crt", &bundle)?;
    write(root, "etc/passwd", "nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")?;
    write(root, "etc/group", "nonroot:x:65532:\n")?;
    write(root, "etc/nsswitch.conf", "hosts: files dns\n")?;
    let temporary = root.join("tmp");
    fs::create_dir_all(&temporary).map_err(Error::file("create", &temporary))?;
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o1777))
        .map_err(Error::file("open", &temporary))
}

fn write(root: &Path, relative: &str, text: &str) -> Result<(), Error> {
    let path = root.join(relative);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::file("create", parent))?;
    }
    fs::write(&path, text).map_err(Error::file("write", &path))
}

/// Joins all certificates below a folder.
fn collect(folder: &Path, bundle: &mut String) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::file("read", folder))? {
        let path = entry.map_err(Error::file("read", folder))?.path();
        if path.is_dir() {
            collect(&path, bundle)?;
        } else if path.extension().is_some_and(|extension| extension == "crt") {
            bundle.push_str(&fs::read_to_string(&path).map_err(Error::file("read", &path))?);
        }
    }
    Ok(())
}

/// The second word of each line is the file's name, with the version in it.
fn file_names(uris: &str) -> Vec<&str> {
    uris.lines().filter_map(|line| line.split_whitespace().nth(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_in_the_file_names() {
        let uris = "'http://host/pool/libc6_2.36_amd64.deb' libc6_2.36-9_amd64.deb 2757 SHA256:00\n";
        assert_eq!(file_names(uris), ["libc6_2.36-9_amd64.deb"]);
    }

    #[test]
    fn certificates_become_one_file_and_what_is_not_read_goes() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "usr/share/ca-certificates/mozilla/a.crt", "A\n").unwrap();
        write(root.path(), "usr/share/ca-certificates/mozilla/b.crt", "B\n").unwrap();
        write(root.path(), "usr/share/doc/libc6/copyright", "…").unwrap();
        finish(root.path()).unwrap();
        let bundle = fs::read_to_string(root.path().join("etc/ssl/certs/ca-certificates.crt")).unwrap();
        assert!(bundle == "A\nB\n" || bundle == "B\nA\n", "{bundle}");
        assert!(!root.path().join("usr/share/doc").exists());
    }
}
