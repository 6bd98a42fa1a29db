//! One process per journal.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::JournalError;

/// How often a lock that is taken is tried again, and after how long.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(10);

/// The lock beside a journal. The kernel lets it go when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock.
    ///
    /// # Errors
    /// When another process holds it, or the folder cannot be written.
    pub fn take(folder: &Path) -> Result<Self, JournalError> {
        let error = |source| JournalError::Folder { folder: folder.to_owned(), source };
        let path = folder.join("journal.lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(error)?;
        // A child that the holder has just made has its files, too, until its own program begins.
        let mut taken = flock(&file, FlockOperation::NonBlockingLockExclusive);
        for _ in 0..ATTEMPTS {
            if taken != Err(rustix::io::Errno::WOULDBLOCK) {
                break;
            }
            std::thread::sleep(PAUSE);
            taken = flock(&file, FlockOperation::NonBlockingLockExclusive);
        }
        match taken {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                // Who it is only helps the reader of the message.
                let _ = file.read_to_string(&mut holder);
                let holder = holder.trim().to_owned();
                return Err(JournalError::Locked { place: folder.into(), holder });
            }
            Err(errno) => return Err(error(errno.into())),
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        write(&mut file).map_err(error)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_holds_it_until_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let lock = Lock::take(folder.path()).unwrap();
        let message = Lock::take(folder.path()).unwrap_err().to_string();
        assert!(
            message.contains(&std::process::id().to_string()) && message.contains("--journal"),
            "{message}"
        );
        drop(lock);
        Lock::take(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_that_is_none_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = Lock::take(&folder.path().join("missing")).unwrap_err().to_string();
        assert!(message.contains("missing") && message.contains("can be written"), "{message}");
    }
}
