//! The truth about a bot: what happened to it and what it did, in SQLite, before anyone else hears.

mod lock;
mod reader;
mod recovery;

use std::path::{Path, PathBuf};

use crds::config::BotConfig;
use engine::{BotId, Engine, Event, EventKind, Output};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, QueryBuilder, Sqlite, SqliteConnection};

use crate::view::View;
pub use lock::Lock;
pub use reader::Reader;
pub use recovery::Recovered;

/// The journal's file in its folder.
pub const FILE: &str = "journal.db";
/// The version of whoever writes: engine and agent are released together.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Events between two snapshots: a tail of so many is replayed in well under a second.
const SNAPSHOT_EVERY: i64 = 5_000;
/// Rows of one statement; SQLite takes 32,766 values.
const ROWS_AT_ONCE: usize = 2_000;
/// Pages kept in memory, in KiB.
const CACHE_KIB: &str = "-512";

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
    /// Another process has it.
    #[error("the journal in {} is in use by process {holder}; end that process, or name another folder with --journal", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// The other process.
        holder: String,
    },
    /// Another bot's.
    #[error("the journal in {} belongs to the bot {found}, not to {expected}; name another folder with --journal", folder.display())]
    OtherBot {
        /// The folder.
        folder: PathBuf,
        /// Whose it is.
        found: String,
        /// Who asks.
        expected: String,
    },
    /// There is none to read.
    #[error("there is no journal in {}; run the bot first, or name its folder with --journal", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
    },
    /// SQLite says no.
    #[error("the journal in {} failed: {source}; check the disk's room, its health and the folder's permissions", folder.display())]
    Database {
        /// The folder.
        folder: PathBuf,
        /// What SQLite says.
        source: sqlx::Error,
    },
    /// The schema is of another version.
    #[error("the journal in {} has a schema that this agent ({VERSION}) cannot use: {source}; run the newer agent", folder.display())]
    Schema {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        source: sqlx::migrate::MigrateError,
    },
    /// A record that cannot be read.
    #[error("the journal in {} has a record that cannot be read ({what}): {source}; restore it from a backup, or move it away to start anew", folder.display())]
    Record {
        /// The folder.
        folder: PathBuf,
        /// Which record.
        what: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// The engine cannot be made from what the journal holds.
    #[error("the journal in {} cannot be restored: {source}", folder.display())]
    Engine {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        source: Box<engine::EngineError>,
    },
    /// The engine does something else than what it did.
    #[error(
        "ReplayDiverged: event {seq} of the journal in {} gives other outputs than were recorded by version {written_by}; \
         nothing is traded on it. Run that version, or move the journal away to start anew",
        folder.display()
    )]
    Diverged {
        /// The folder.
        folder: PathBuf,
        /// The event.
        seq: i64,
        /// The version that recorded it.
        written_by: String,
    },
    /// The thread that restores the engine is gone.
    #[error("the journal in {} could not be read to its end; start the agent again", folder.display())]
    Interrupted {
        /// The folder.
        folder: PathBuf,
    },
}

impl JournalError {
    /// The stable word for conditions and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Folder { .. } => "JournalFolder",
            Self::Locked { .. } => "JournalLocked",
            Self::OtherBot { .. } => "JournalOfOtherBot",
            Self::Missing { .. } => "JournalMissing",
            Self::Database { .. } => "JournalFailed",
            Self::Schema { .. } => "JournalSchema",
            Self::Record { .. } | Self::Engine { .. } | Self::Interrupted { .. } => "JournalUnreadable",
            Self::Diverged { .. } => "ReplayDiverged",
        }
    }
}

/// An event and what the engine did about it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// What the engine did.
    pub outputs: Vec<Output>,
}

/// A row of either table: of an event its number and time, of an output its event's number and its own.
type Row = (i64, i64, &'static str, String);

/// An open journal; the only writer there is.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    connection: SqliteConnection,
    _lock: Lock,
    last_seq: i64,
    snapshot_seq: i64,
}

impl Journal {
    /// Locks and opens the journal of a bot, making it when there is none, and brings its engine back
    /// to where it was. A new journal begins with a snapshot of an engine with `config`; without one, there
    /// must be a journal.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn open(
        folder: &Path,
        identity: &BotId,
        config: Option<&BotConfig>,
    ) -> Result<(Self, Recovered), JournalError> {
        std::fs::create_dir_all(folder)
            .map_err(|source| JournalError::Folder { folder: folder.to_owned(), source })?;
        let lock = Lock::take(folder)?;
        let database = |source| JournalError::Database { folder: folder.to_owned(), source };
        let options = SqliteConnectOptions::new()
            .filename(folder.join(FILE))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit has reached the disk when it returns: what is acted on is durable.
            .synchronous(SqliteSynchronous::Full)
            .pragma("cache_size", CACHE_KIB)
            .disable_statement_logging();
        let mut connection = options.connect().await.map_err(database)?;
        sqlx::migrate!()
            .run(&mut connection)
            .await
            .map_err(|source| JournalError::Schema { folder: folder.to_owned(), source })?;
        let mut journal =
            Self { folder: folder.to_owned(), connection, _lock: lock, last_seq: 0, snapshot_seq: 0 };
        journal.claim(identity, config).await?;
        let recovered = journal.recover(identity).await?;
        Ok((journal, recovered))
    }

    /// Refuses another bot's journal; gives a new one its owner and its first snapshot.
    async fn claim(&mut self, identity: &BotId, config: Option<&BotConfig>) -> Result<(), JournalError> {
        let expected = identity.to_string();
        let found = meta(&mut self.connection, "bot").await.map_err(|e| self.database(e))?;
        match found {
            Some(found) if found == expected => Ok(()),
            Some(found) => Err(JournalError::OtherBot { folder: self.folder.clone(), found, expected }),
            None => {
                let config = config.ok_or_else(|| JournalError::Missing { folder: self.folder.clone() })?;
                let engine = Engine::new(identity.clone(), config.clone()).map_err(|e| self.engine(e))?;
                let body = self.snapshot_body(&engine)?;
                let folder = self.folder.clone();
                let database = |source| JournalError::Database { folder: folder.clone(), source };
                let mut transaction = self.connection.begin().await.map_err(database)?;
                sqlx::query("INSERT INTO snapshots (seq, version, body) VALUES (0, ?, ?)")
                    .bind(VERSION)
                    .bind(body)
                    .execute(&mut *transaction)
                    .await
                    .map_err(database)?;
                set_meta(&mut transaction, "bot", &expected).await.map_err(database)?;
                transaction.commit().await.map_err(database)
            }
        }
    }

    /// The number of the last durable event.
    pub const fn last_seq(&self) -> i64 {
        self.last_seq
    }

    /// Makes entries durable, all or none, with the projection that follows from them. `generation` is
    /// that of the configuration in force.
    ///
    /// # Errors
    /// When the disk says no: nothing that led here may be acted on.
    pub async fn append(
        &mut self,
        entries: &[Entry],
        view: &View,
        generation: Option<i64>,
    ) -> Result<(), JournalError> {
        let (events, outputs) = self.rows(entries)?;
        let view = serde_json::to_string(view).map_err(|e| self.record("the projection", e))?;
        let folder = self.folder.clone();
        let database = |source| JournalError::Database { folder: folder.clone(), source };
        let mut transaction = self.connection.begin().await.map_err(database)?;
        for rows in events.chunks(ROWS_AT_ONCE) {
            let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO events (seq, at, kind, body) ");
            insert.push_values(rows, |mut row, (seq, at, kind, body)| {
                row.push_bind(seq).push_bind(at).push_bind(kind).push_bind(body);
            });
            insert.build().persistent(false).execute(&mut *transaction).await.map_err(database)?;
        }
        for rows in outputs.chunks(ROWS_AT_ONCE) {
            let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO outputs (seq, n, kind, body) ");
            insert.push_values(rows, |mut row, (seq, n, kind, body)| {
                row.push_bind(seq).push_bind(n).push_bind(kind).push_bind(body);
            });
            insert.build().persistent(false).execute(&mut *transaction).await.map_err(database)?;
        }
        set_meta(&mut transaction, "view", &view).await.map_err(database)?;
        set_meta(&mut transaction, "version", VERSION).await.map_err(database)?;
        if let Some(generation) = generation {
            set_meta(&mut transaction, "generation", &generation.to_string()).await.map_err(database)?;
        }
        transaction.commit().await.map_err(database)?;
        if let Some((seq, ..)) = events.last() {
            self.last_seq = *seq;
        }
        Ok(())
    }

    fn rows(&self, entries: &[Entry]) -> Result<(Vec<Row>, Vec<Row>), JournalError> {
        let mut events = Vec::with_capacity(entries.len());
        let mut outputs = Vec::new();
        for (seq, entry) in (self.last_seq + 1..).zip(entries) {
            let body = serde_json::to_string(&entry.event).map_err(|e| self.record("a new event", e))?;
            events.push((seq, entry.event.at.as_millisecond(), event_kind(&entry.event), body));
            for (n, output) in (0..).zip(&entry.outputs) {
                let body = serde_json::to_string(output).map_err(|e| self.record("a new output", e))?;
                outputs.push((seq, n, output_kind(output), body));
            }
        }
        Ok((events, outputs))
    }

    /// Whether enough happened since the last snapshot.
    pub const fn is_snapshot_due(&self) -> bool {
        self.last_seq - self.snapshot_seq >= SNAPSHOT_EVERY
    }

    /// Keeps the engine as it is after the last durable event, and the snapshot before it, in case.
    ///
    /// # Errors
    /// When the disk says no.
    pub async fn snapshot(&mut self, engine: &Engine) -> Result<(), JournalError> {
        if self.last_seq == self.snapshot_seq {
            return Ok(());
        }
        let body = self.snapshot_body(engine)?;
        let folder = self.folder.clone();
        let database = |source| JournalError::Database { folder: folder.clone(), source };
        let mut transaction = self.connection.begin().await.map_err(database)?;
        sqlx::query("INSERT INTO snapshots (seq, version, body) VALUES (?, ?, ?)")
            .bind(self.last_seq)
            .bind(VERSION)
            .bind(body)
            .execute(&mut *transaction)
            .await
            .map_err(database)?;
        sqlx::query("DELETE FROM snapshots WHERE seq < ?")
            .bind(self.snapshot_seq)
            .execute(&mut *transaction)
            .await
            .map_err(database)?;
        transaction.commit().await.map_err(database)?;
        self.snapshot_seq = self.last_seq;
        Ok(())
    }

    fn snapshot_body(&self, engine: &Engine) -> Result<String, JournalError> {
        serde_json::to_string(&engine.snapshot()).map_err(|e| self.record("a new snapshot", e))
    }

    /// Closes the journal and lets its lock go.
    ///
    /// # Errors
    /// When SQLite cannot finish what it wrote; nothing durable is lost by it.
    pub async fn close(self) -> Result<(), JournalError> {
        let Self { folder, connection, .. } = self;
        connection.close().await.map_err(|source| JournalError::Database { folder, source })
    }

    fn database(&self, source: sqlx::Error) -> JournalError {
        JournalError::Database { folder: self.folder.clone(), source }
    }

    fn engine(&self, source: engine::EngineError) -> JournalError {
        JournalError::Engine { folder: self.folder.clone(), source: Box::new(source) }
    }

    fn record(&self, what: impl Into<String>, source: serde_json::Error) -> JournalError {
        JournalError::Record { folder: self.folder.clone(), what: what.into(), source }
    }
}

async fn meta(connection: &mut SqliteConnection, key: &str) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT value FROM meta WHERE key = ?").bind(key).fetch_optional(connection).await
}

async fn set_meta(connection: &mut SqliteConnection, key: &str, value: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(key)
    .bind(value)
    .execute(connection)
    .await?;
    Ok(())
}

/// The word for an event's kind, as its JSON has it.
pub const fn event_kind(event: &Event) -> &'static str {
    match event.kind {
        EventKind::History { .. } => "history",
        EventKind::Bar { .. } => "bar",
        EventKind::Quote { .. } => "quote",
        EventKind::Configuration(_) => "configuration",
        EventKind::Lease { .. } => "lease",
        EventKind::Timer => "timer",
    }
}

/// The word for an output's kind, as its JSON has it.
pub const fn output_kind(output: &Output) -> &'static str {
    match output {
        Output::Refused(_) => "refused",
        Output::Transition(_) => "transition",
        Output::IllegalTransition(_) => "illegalTransition",
        Output::Gap(_) => "gap",
        Output::Decision(_) => "decision",
        Output::Order(_) => "order",
        Output::Fill(_) => "fill",
        Output::StopMoved(_) => "stopMoved",
        Output::TradeClosed(_) => "tradeClosed",
        Output::Configured { .. } => "configured",
    }
}
