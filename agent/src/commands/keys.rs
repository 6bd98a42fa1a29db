//! `keys`: new keys for a bot's API.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use crds::contract::{KEY_READ, KEY_TRADE};
use rand::Rng;

use super::answer::say;
use super::local::read_manifest;
use super::{Failure, InputError};
use crate::secret::Secret;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Give the API new keys, without a pause: the keys before stay valid until the next rotation
    Rotate(Rotate),
}

#[derive(Debug, Args)]
struct Rotate {
    #[command(flatten)]
    place: Place,
    /// Rotate this key alone
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// End the keys before at once, as after a leak
    #[arg(long)]
    revoke: bool,
}

/// Where the keys are.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// Folder that `run --keys` reads, for a bot that runs here; it is made when there is none
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Manifest of a bot in a cluster: prints the commands that rotate its Secret, to be read and run
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Looking
    Read,
    /// Looking and acting
    Trade,
}

impl Role {
    /// The file of its keys, and the key of the Secret.
    const fn name(self) -> &'static str {
        match self {
            Self::Read => KEY_READ,
            Self::Trade => KEY_TRADE,
        }
    }
}

impl Rotate {
    fn roles(&self) -> Vec<Role> {
        self.role.map_or_else(|| vec![Role::Read, Role::Trade], |role| vec![role])
    }
}

pub fn keys(Arguments { command: Command::Rotate(rotate) }: &Arguments) -> Result<(), Failure> {
    if let Some(folder) = &rotate.place.keys {
        std::fs::create_dir_all(folder).with_context(|| unwritable(folder)).input()?;
        for role in rotate.roles() {
            let kept = rotate_file(&folder.join(role.name()), rotate.revoke)
                .with_context(|| unwritable(folder))
                .input()?;
            let before =
                if kept { "the one before is valid until the next rotation" } else { "it is the only one" };
            say(&format!(
                "{}: a new key is in the first line; {before}",
                folder.join(role.name()).display()
            ))?;
        }
        return Ok(());
    }
    let manifest = read_manifest(rotate.place.file.as_deref().unwrap_or(Path::new("")))?;
    say(&commands(&manifest.namespace, &manifest.name, &rotate.roles(), rotate.revoke))
}

fn unwritable(folder: &Path) -> String {
    format!(
        "the keys in {} cannot be written; name a folder of your own with --keys, or the manifest of a bot in a \
         cluster with -f",
        folder.display()
    )
}

/// Puts a new key before the first one of the file and drops the others; says whether one is left. The file is
/// replaced as a whole, so that who reads it at the same time sees either the old keys or the new ones.
fn rotate_file(path: &Path, revoke: bool) -> io::Result<bool> {
    let before = match std::fs::read_to_string(path) {
        Ok(text) => text.lines().map(Secret::new).find(|key| !revoke && !key.expose().is_empty()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let next = path.with_extension("new");
    // One that was left behind may be open to others.
    match std::fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
    if let Ok(present) = std::fs::metadata(path) {
        file.set_permissions(present.permissions())?;
    }
    for key in [Some(generate()), before.clone()].iter().flatten() {
        writeln!(file, "{}", key.expose())?;
    }
    file.sync_all()?;
    std::fs::rename(&next, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(before.is_some())
}

/// 256 random bits, as the operator makes them.
fn generate() -> Secret {
    let key: String = rand::rng().random::<[u8; 32]>().iter().map(|byte| format!("{byte:02x}")).collect();
    Secret::new(&key)
}

/// What a person with the right to the Secret runs. Neither operator nor agent has it. No key is ever an
/// argument, which other users of the machine could see.
fn commands(namespace: &str, bot: &str, roles: &[Role], revoke: bool) -> String {
    let values = roles.iter().map(|role| {
        let name = role.name();
        let before = if revoke { String::new() } else { format!("\\n$(first {name})") };
        format!("\"{name}\": \"$(new){before}\"")
    });
    let values: Vec<_> = values.collect();
    let first = format!(
        "first() {{ kubectl get secret \"$secret\" --namespace {namespace} \
         --output go-template=\"{{{{index .data \\\"$1\\\" | base64decode}}}}\" | head -n 1; }}\n"
    );
    format!(
        "# New keys for the API of {namespace}/{bot}. Its agent takes them within a minute or two, without a restart.\n\
         secret=$(kubectl get tradingbot {bot} --namespace {namespace} --output jsonpath='{{.status.apiKeySecret}}')\n\
         new() {{ od -An -N32 -tx1 /dev/urandom | tr -d ' \\n'; }}\n\
         {}kubectl patch secret \"$secret\" --namespace {namespace} --type merge --patch-file /dev/stdin <<END\n\
         {{\"stringData\": {{{}}}}}\n\
         END",
        if revoke { "" } else { first.as_str() },
        values.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::keys::{self, Keys};

    fn lines(path: &Path) -> Vec<String> {
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_key_before_stays_valid_for_one_rotation_unless_it_is_revoked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_READ);
        assert!(!rotate_file(&path, false).unwrap());
        let [first] = &lines(&path)[..] else { panic!("one key") };
        assert_eq!(first.len(), 64);
        assert!(rotate_file(&path, false).unwrap());
        let [second, kept] = &lines(&path)[..] else { panic!("two keys") };
        assert!(kept == first && second != first);
        let keys = Keys::open(folder.path());
        assert_eq!([first, second].map(|key| keys.role_of(key)), [Some(keys::Role::Read); 2]);
        assert!(rotate_file(&path, false).unwrap());
        assert_eq!(Keys::open(folder.path()).role_of(first), None);
        assert_eq!(&lines(&path)[1], second);
        assert!(!rotate_file(&path, true).unwrap());
        assert_eq!(lines(&path).len(), 1);
        assert_eq!(Keys::open(folder.path()).role_of(second), None);
    }

    #[test]
    fn a_new_file_is_for_its_owner_alone_and_another_keeps_its_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_TRADE);
        let mode = || std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        rotate_file(&path, false).unwrap();
        assert_eq!(mode(), 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        rotate_file(&path, false).unwrap();
        assert_eq!(mode(), 0o640);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
