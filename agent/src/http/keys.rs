//! Who may ask what: keys from files, kept as hashes, read anew when they change.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crds::contract::{KEY_READ, KEY_TRADE};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tracing::{info, warn};

use crate::secret::Secret;

/// How long a changed file may go unnoticed.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What a key allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Looking.
    Read,
    /// Looking and acting.
    Trade,
}

/// SHA-256 of a key.
#[derive(Clone, PartialEq, Eq)]
struct KeyHash([u8; 32]);

impl KeyHash {
    fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Loaded(Vec<(Role, KeyHash)>);

impl Loaded {
    /// One key a line, so that during a rotation two are valid. A file that cannot be read has none.
    fn from_folder(folder: &Path) -> Self {
        let mut keys = Vec::new();
        for (role, name) in [(Role::Read, KEY_READ), (Role::Trade, KEY_TRADE)] {
            let Ok(text) = std::fs::read_to_string(folder.join(name)) else { continue };
            let lines = text.lines().map(Secret::new).filter(|key| !key.expose().is_empty());
            keys.extend(lines.map(|key| (role, KeyHash::of(key.expose()))));
        }
        Self(keys)
    }
}

/// The keys of the API.
#[derive(Debug)]
pub struct Keys {
    folder: PathBuf,
    state: Mutex<(Loaded, Instant)>,
}

impl Keys {
    /// Reads the keys in a folder: one file per role, `read` and `trade`.
    pub fn open(folder: &Path) -> Self {
        let loaded = Loaded::from_folder(folder);
        Self { folder: folder.to_owned(), state: Mutex::new((loaded, Instant::now())) }
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether nobody can be let in.
    pub fn is_empty(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).0.0.is_empty()
    }

    /// The most that a key allows, or `None` for a key that is none. Every key is compared, in constant
    /// time, so that the answer's delay says nothing.
    pub fn role_of(&self, key: &str) -> Option<Role> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (loaded, looked) = &mut *state;
        if looked.elapsed() >= LOOK_EVERY {
            *looked = Instant::now();
            let now = Loaded::from_folder(&self.folder);
            if now != *loaded {
                info!(keys = now.0.len(), "the API's keys were read anew");
                if now.0.is_empty() {
                    warn!(folder = %self.folder.display(), "there are no API keys any more: every request is refused");
                }
                *loaded = now;
            }
        }
        let asked = KeyHash::of(key);
        let mut allowed = None;
        for (role, hash) in &loaded.0 {
            if bool::from(hash.0.ct_eq(&asked.0)) {
                allowed = allowed.max(Some(*role));
            }
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_what_its_file_says_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Keys::open(folder.path()).is_empty());
        std::fs::write(folder.path().join(KEY_READ), "reader\nnew-reader\n\n").unwrap();
        std::fs::write(folder.path().join(KEY_TRADE), "trader").unwrap();
        let keys = Keys::open(folder.path());
        assert_eq!(keys.role_of("reader"), Some(Role::Read));
        assert_eq!(keys.role_of("new-reader"), Some(Role::Read));
        assert_eq!(keys.role_of("trader"), Some(Role::Trade));
        for key in ["", "read", "Reader", "reader "] {
            assert_eq!(keys.role_of(key), None, "{key:?}");
        }
    }

    #[test]
    fn a_rotation_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(KEY_READ), "old").unwrap();
        let keys = Keys::open(folder.path());
        std::fs::write(folder.path().join(KEY_READ), "new").unwrap();
        keys.state.lock().unwrap().1 = Instant::now().checked_sub(LOOK_EVERY).unwrap();
        assert_eq!((keys.role_of("old"), keys.role_of("new")), (None, Some(Role::Read)));
    }

    #[test]
    fn hashes_do_not_show_themselves() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(KEY_READ), "hunter2").unwrap();
        let shown = format!("{:?}", Keys::open(folder.path()));
        assert!(shown.contains("[redacted]") && !shown.contains("hunter2"), "{shown}");
    }
}
