//! Why a journal cannot be used.

use std::path::PathBuf;

use super::{Place, VERSION};

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The folder cannot be used.
    #[error("the journal's folder {} cannot be used: {source}; check that it exists, can be written and has room", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A backup cannot be read or made.
    #[error("the backup {} cannot be used: {source}; name a file that can be read, or one to make that is not there yet", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// There is a journal where one is to be restored.
    #[error("there is a journal in {place} already; move it away, or name another place with --journal")]
    Taken {
        /// Where it is.
        place: Place,
    },
    /// A bot that was recovered is not what it was.
    #[error(
        "the backup is not whole: {what} of the bot recovered from it are {recovered}, and were {recorded}; use another backup"
    )]
    Differs {
        /// What differs.
        what: &'static str,
        /// As recovered.
        recovered: String,
        /// As recorded with the last event.
        recorded: String,
    },
    /// Another process has it.
    #[error(
        "the journal in {place} is in use by process {holder}; end that process, or name another place with --journal"
    )]
    Locked {
        /// Where it is.
        place: Place,
        /// The other process.
        holder: String,
    },
    /// Another process took it over.
    #[error(
        "JournalFenced: another process writes the journal in {place} now (epoch {current}, this one has {epoch}); \
         this process stops, so that one agent trades"
    )]
    Fenced {
        /// Where it is.
        place: Place,
        /// The epoch of this process.
        epoch: i64,
        /// The epoch that the journal has.
        current: String,
    },
    /// What was durable is gone.
    #[error(
        "JournalBehind: the journal in {place} ends with event {found}, and event {expected} was durable; \
         it was put back to an older state. The agent starts again from there; compare it with a backup"
    )]
    Behind {
        /// Where it is.
        place: Place,
        /// The last event that it has.
        found: i64,
        /// The last event that it had.
        expected: i64,
    },
    /// Another bot's.
    #[error(
        "the journal in {place} belongs to the bot {found}, not to {expected}; name another place with --journal"
    )]
    OtherBot {
        /// Where it is.
        place: Place,
        /// Whose it is.
        found: String,
        /// Who asks.
        expected: String,
    },
    /// There is none to read.
    #[error("there is no journal in {place}; run the bot first, or name its place with --journal")]
    Missing {
        /// Where it should be.
        place: Place,
    },
    /// The database says no.
    #[error("the journal in {place} {}: {source}; {}", trouble.what(), trouble.remedy())]
    Database {
        /// Where it is.
        place: Place,
        /// What kind of *no*.
        trouble: Trouble,
        /// What the database says.
        source: sqlx::Error,
    },
    /// The schema is of another version.
    #[error(
        "the journal in {place} has a schema that this agent ({VERSION}) cannot use: {source}; run the newer agent, \
         or let the newer one bring it back with `migrate --back`"
    )]
    Schema {
        /// Where it is.
        place: Place,
        /// What is wrong.
        source: sqlx::migrate::MigrateError,
    },
    /// There is no older schema.
    #[error("the journal in {place} has schema {version}, which has none before it to go back to")]
    FirstSchema {
        /// Where it is.
        place: Place,
        /// Its schema.
        version: i64,
    },
    /// A record that cannot be read.
    #[error(
        "the journal in {place} has a record that cannot be read ({what}): {source}; restore it from a backup, or move it away to start anew"
    )]
    Record {
        /// Where it is.
        place: Place,
        /// Which record.
        what: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// The engine cannot be made from what the journal holds.
    #[error("the journal in {place} cannot be restored: {source}")]
    Engine {
        /// Where it is.
        place: Place,
        /// Why not.
        source: Box<engine::EngineError>,
    },
    /// The engine does something else than what it did.
    #[error(
        "ReplayDiverged: event {seq} of the journal in {place} gives other outputs than were recorded by version \
         {written_by}; nothing is traded on it. Run that version, or move the journal away to start anew"
    )]
    Diverged {
        /// Where it is.
        place: Place,
        /// The event.
        seq: i64,
        /// The version that recorded it.
        written_by: String,
    },
    /// The thread that restores the engine is gone.
    #[error("the journal in {place} could not be read to its end; start the agent again")]
    Interrupted {
        /// Where it is.
        place: Place,
    },
}

/// The kinds of *no* that a database says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No room.
    DiskFull,
    /// It can be read only.
    ReadOnly,
    /// Its pages are damaged.
    Corrupt,
    /// It does not answer.
    Unreachable,
    /// Others keep it from being written.
    Busy,
    /// A write was given up that took too long for a live market.
    Slow,
    /// Anything else.
    Failed,
}

impl Trouble {
    /// Of SQLite the primary result code counts, of PostgreSQL the SQLSTATE.
    fn of(error: &sqlx::Error) -> Self {
        use sqlx::Error::{Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
        match error {
            Database(error) => match error.code().as_deref() {
                // SQLite's have no five digits, SQLSTATEs have.
                Some(code) if code.len() == 5 => Self::of_state(code),
                Some(code) => match code.parse::<i32>().map(|code| code & 0xff) {
                    Ok(5 | 6) => Self::Busy,
                    Ok(8) => Self::ReadOnly,
                    Ok(11 | 26) => Self::Corrupt,
                    Ok(13) => Self::DiskFull,
                    _ => Self::Failed,
                },
                None => Self::Failed,
            },
            Io(error) if error.kind() == std::io::ErrorKind::StorageFull => Self::DiskFull,
            Io(_) | Tls(_) | Protocol(_) | PoolClosed | PoolTimedOut | WorkerCrashed => Self::Unreachable,
            _ => Self::Failed,
        }
    }

    fn of_state(code: &str) -> Self {
        match code {
            "53100" => Self::DiskFull,
            "25006" => Self::ReadOnly,
            "55P03" => Self::Busy,
            "XX001" | "XX002" => Self::Corrupt,
            // Too many connections; shut down, crashed, starting.
            "53300" | "57P01" | "57P02" | "57P03" | "57P05" => Self::Unreachable,
            code if code.starts_with("08") => Self::Unreachable,
            _ => Self::Failed,
        }
    }

    /// The stable word.
    const fn reason(self) -> &'static str {
        match self {
            Self::DiskFull => "JournalDiskFull",
            Self::ReadOnly => "JournalReadOnly",
            Self::Corrupt => "JournalCorrupt",
            Self::Unreachable => "JournalUnreachable",
            Self::Busy => "JournalBusy",
            Self::Slow => "JournalSlow",
            Self::Failed => "JournalFailed",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::DiskFull => "has no room left",
            Self::ReadOnly => "cannot be written",
            Self::Corrupt => "is damaged",
            Self::Unreachable => "cannot be reached",
            Self::Busy => "is read or locked by others",
            Self::Slow => "takes too long to write",
            Self::Failed => "failed",
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::DiskFull => "free some; a running agent then goes on by itself",
            Self::ReadOnly => {
                "make disk, files and database writable for the agent; when it runs it then goes on by itself"
            }
            Self::Corrupt => {
                "check the disk, and bring back a backup with `restore`; what is damaged is not repaired"
            }
            Self::Unreachable => {
                "check that the database runs, its address and the network; a running agent goes on by itself"
            }
            Self::Busy => {
                "wait for the backup or whatever else reads it, or end that; a running agent goes on by itself"
            }
            Self::Slow => "check the disk or the database; a running agent goes on by itself",
            Self::Failed => "check the disk's room, its health and the permissions",
        }
    }
}

impl JournalError {
    pub(super) fn database(place: &Place, source: sqlx::Error) -> Self {
        Self::Database { place: place.clone(), trouble: Trouble::of(&source), source }
    }

    /// The stable word for conditions and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "JournalFolder",
            Self::File { .. } => "JournalFile",
            Self::Taken { .. } => "JournalTaken",
            Self::Differs { .. } => "BackupDiffers",
            Self::Locked { .. } => "JournalLocked",
            Self::Fenced { .. } => "JournalFenced",
            Self::Behind { .. } => "JournalBehind",
            Self::OtherBot { .. } => "JournalOfOtherBot",
            Self::Missing { .. } => "JournalMissing",
            Self::Database { trouble, .. } => trouble.reason(),
            Self::Schema { .. } | Self::FirstSchema { .. } => "JournalSchema",
            Self::Record { .. } | Self::Engine { .. } | Self::Interrupted { .. } => "JournalUnreadable",
            Self::Diverged { .. } => "ReplayDiverged",
        }
    }

    /// Whether the same may succeed later, while this process lives: room is made, the database comes back.
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Folder { .. } | Self::Locked { .. } | Self::Database { .. })
    }
}
