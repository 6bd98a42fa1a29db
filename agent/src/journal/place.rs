//! Where a journal is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use sqlx::any::AnyConnectOptions;

use super::FILE;
use crate::secret::Secret;

/// Where a journal is: a folder with a SQLite file, or a schema of a PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder.
    Folder(PathBuf),
    /// A database.
    Postgres(Arc<Address>),
}

/// The address of a PostgreSQL database. It shows neither user nor password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    url: Secret,
    shown: String,
    has_password: bool,
}

/// Why a text names no place.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// The text begins like an address and is none. It may hold a password, and is not repeated.
    #[error("the address of the journal is none ({0}); write postgres://USER@HOST:PORT/DATABASE")]
    Address(String),
    /// Everybody on the machine sees the command line.
    #[error(
        "the address of the journal ({0}) has a password, which everybody sees in the list of processes; \
         give the address with --journal-url FILE, or the password in PGPASSWORD or ~/.pgpass"
    )]
    Password(String),
}

impl Place {
    /// Reads the address of a database from a text that nobody else sees.
    ///
    /// # Errors
    /// When it is no address of a PostgreSQL database.
    pub fn from_secret(text: &Secret) -> Result<Self, PlaceError> {
        Address::new(text.clone()).map(|address| Self::Postgres(Arc::new(address)))
    }

    /// What opens it.
    pub(super) fn url(&self, access: Access) -> Result<String, std::io::Error> {
        match self {
            Self::Postgres(address) => Ok(address.url.expose().to_owned()),
            Self::Folder(folder) => {
                // Without dots and links, which an address would resolve in its own way.
                let file = folder.canonicalize()?.join(FILE);
                let mut url = "sqlite:".to_owned();
                for byte in file.into_os_string().into_encoded_bytes() {
                    match byte {
                        b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                            url.push(char::from(byte));
                        }
                        other => url.push_str(&format!("%{other:02X}")),
                    }
                }
                url.push_str(match access {
                    Access::Read => "?mode=ro",
                    Access::Write => "?mode=rwc",
                });
                Ok(url)
            }
        }
    }
}

/// What a journal is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

impl Address {
    fn new(url: Secret) -> Result<Self, PlaceError> {
        let none = |why: String| PlaceError::Address(why);
        let options: AnyConnectOptions =
            url.expose().parse().map_err(|e: sqlx::Error| none(e.to_string()))?;
        let parsed = &options.database_url;
        if !matches!(parsed.scheme(), "postgres" | "postgresql") {
            return Err(none("it does not begin with postgres://".to_owned()));
        }
        let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = parsed.host_str().unwrap_or_default();
        let shown = format!("postgres://{host}{port}{}", parsed.path());
        let has_password =
            parsed.password().is_some() || parsed.query_pairs().any(|(key, _)| key == "password");
        Ok(Self { url, shown, has_password })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Postgres(address) => f.write_str(&address.shown),
        }
    }
}

impl From<&Path> for Place {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.to_owned())
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Self {
        place.clone()
    }
}

/// What the command line says: a folder, or the address of a database without a password.
impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !text.starts_with("postgres:") && !text.starts_with("postgresql:") {
            return Ok(Self::Folder(text.into()));
        }
        let address = Address::new(Secret::new(text))?;
        if address.has_password {
            return Err(PlaceError::Password(address.shown));
        }
        Ok(Self::Postgres(Arc::new(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_shows_neither_its_user_nor_its_password() {
        let url = "postgres://trader:hunter2@db.example.com:5433/majors?options[search_path]=btc";
        let place = Place::from_secret(&Secret::new(url)).unwrap();
        let shown = format!("{place} {place:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("trader"), "{shown}");
        assert_eq!(place.to_string(), "postgres://db.example.com:5433/majors");
        assert_eq!(place.url(Access::Write).unwrap(), url);
    }

    #[test]
    fn a_password_on_the_command_line_is_refused_without_being_repeated() {
        for text in ["postgres://trader:hunter2@db/majors", "postgresql://db/majors?password=hunter2"] {
            let message = text.parse::<Place>().unwrap_err().to_string();
            assert!(message.contains("--journal-url") && !message.contains("hunter2"), "{message}");
        }
        assert!(matches!("postgres://trader@db/majors".parse().unwrap(), Place::Postgres(_)));
        assert_eq!("./majors.journal".parse::<Place>().unwrap(), Place::from(Path::new("./majors.journal")));
        let message = "postgres://[hunter2".parse::<Place>().unwrap_err().to_string();
        assert!(message.contains("HOST:PORT") && !message.contains("hunter2"), "{message}");
        let other = Place::from_secret(&Secret::new("mysql://db/majors")).unwrap_err().to_string();
        assert!(other.contains("postgres://"), "{other}");
    }

    #[test]
    fn any_folder_has_an_address() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("a b?c#d%e=ü");
        std::fs::create_dir(&odd).unwrap();
        let url = Place::from(odd.as_path()).url(Access::Write).unwrap();
        assert!(url.ends_with("/a%20b%3Fc%23d%25e%3D%C3%BC/journal.db?mode=rwc"), "{url}");
    }
}
