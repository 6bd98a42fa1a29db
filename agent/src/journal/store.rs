//! The database under a journal. SQLite and PostgreSQL have the same tables and understand the same
//! statements; what differs between the two is in this file.

use std::future::Future;
use std::sync::LazyLock;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyRow, install_default_drivers};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions, Connection, FromRow};
use tokio::time::Instant;

use super::place::Access;
use super::{JournalError, Place, Trouble};

static SQLITE: LazyLock<Migrator> = LazyLock::new(|| unlocked(sqlx::migrate!("migrations/sqlite")));
static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| unlocked(sqlx::migrate!("migrations/postgres")));

/// Rows of one statement; SQLite takes 32,766 values.
const ROWS_AT_ONCE: usize = 2_000;
/// Events copied at once.
const COPIED_AT_ONCE: i64 = 1_000;
/// Pages of SQLite kept in memory, in KiB, if negative.
const CACHE: &str = "PRAGMA cache_size = -512";
/// A server that does not answer for so long is gone. SQLite's answers are as slow as the disk.
const PATIENCE: Duration = Duration::from_secs(10);
/// A migration may rewrite a table; whoever has not answered after this is gone, too.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(600);
/// How long a migration waits for a table that somebody else has locked.
const MIGRATION_LOCK_PATIENCE: &str = "5s";
/// The newest schema whose journals do not say who wrote them.
const WITHOUT_WRITERS: i64 = 1;
/// How long a connection may take to close, here and in the eyes of the server.
const FAREWELL: Duration = Duration::from_secs(2);
/// First half of the advisory lock's key, "trad"; the second is the schema.
const LOCK: i32 = 0x7472_6164;

const EVENTS: &str = "INSERT INTO events (seq, at, kind, body) VALUES ";
const OUTPUTS: &str = "INSERT INTO outputs (seq, n, kind, body) VALUES ";

/// A row of `events` or `outputs`: the number, then the time of an event or the place of an output, kind
/// and body.
pub(super) type Row = (i64, i64, &'static str, String);

/// What an append writes.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub events: &'a [Row],
    pub outputs: &'a [Row],
    /// The engine after the last event, behind its number and a blank.
    pub state: &'a str,
    pub view: &'a str,
    pub generation: Option<i64>,
}

/// An open database.
#[derive(Debug)]
pub(super) struct Store {
    place: Place,
    connection: AnyConnection,
    /// The server's process behind the connection.
    backend: Option<i32>,
}

impl Store {
    /// Connects. For writing, a PostgreSQL journal is locked; `former` is the backend of a connection that
    /// this process gave up, whose lock is ended with it. Of a folder the caller holds the lock.
    pub async fn open(place: &Place, access: Access, former: Option<i32>) -> Result<Self, JournalError> {
        install_default_drivers();
        let url = place.url(access).map_err(|source| match place {
            Place::Folder(folder) => JournalError::Folder { folder: folder.clone(), source },
            Place::Postgres(_) => JournalError::database(place, source.into()),
        })?;
        let options = url.parse::<AnyConnectOptions>().map(ConnectOptions::disable_statement_logging);
        let options = options.map_err(|e| JournalError::database(place, e))?;
        let connection = bounded(place, async { options.connect().await }).await?;
        let mut store = Self { place: place.clone(), connection, backend: None };
        match (place, access) {
            (Place::Folder(_), Access::Read) => store.execute(CACHE).await?,
            (Place::Folder(_), Access::Write) => {
                // A commit has reached the disk when it returns: what is acted on is durable.
                for pragma in ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", CACHE] {
                    store.execute(pragma).await?;
                }
            }
            (Place::Postgres(_), Access::Read) => {
                store.set("default_transaction_read_only", "on").await?;
                store.name_itself().await?;
            }
            (Place::Postgres(_), Access::Write) => {
                store.name_itself().await?;
                // The server finds out within half a minute that a machine is gone, and lets its lock go.
                for (setting, value) in [
                    ("tcp_keepalives_idle", "15"),
                    ("tcp_keepalives_interval", "5"),
                    ("tcp_keepalives_count", "3"),
                ] {
                    store.set(setting, value).await?;
                }
                let off = "SELECT set_config('synchronous_commit', 'on', false) \
                           WHERE current_setting('synchronous_commit') = 'off'";
                store.execute(off).await?;
                store.lock(former).await?;
            }
        }
        Ok(store)
    }

    /// Connects for writing after a failure; see [`Store::open`] for `former`.
    pub async fn again(place: &Place, former: Option<i32>) -> Result<Self, JournalError> {
        let mut store = Self::open(place, Access::Write, former).await?;
        if let Place::Folder(_) = place {
            // After a sync that failed nobody knows what of the log has reached the disk: what it holds
            // is brought into the file, which is synced, and the log begins anew.
            let checkpoint = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)");
            let (busy, _, _): (i64, i64, i64) = store.one(checkpoint).await?;
            if busy != 0 {
                let source = sqlx::Error::Configuration("a reader keeps the log from being emptied".into());
                return Err(JournalError::Database { place: place.clone(), trouble: Trouble::Busy, source });
            }
        }
        Ok(store)
    }

    /// The server's process behind the connection.
    pub const fn backend(&self) -> Option<i32> {
        self.backend
    }

    /// Leaves no room beyond what is used.
    #[cfg(test)]
    pub async fn limit_pages(&mut self) {
        self.execute("PRAGMA max_page_count = 1").await.unwrap();
    }

    /// Lets go of a connection that failed.
    pub async fn give_up(self) {
        // What is gone anyway is not waited for.
        let _ = tokio::time::timeout(FAREWELL, self.connection.close_hard()).await;
    }

    async fn name_itself(&mut self) -> Result<(), JournalError> {
        let name = format!("tradingbot-agent {} (process {})", super::VERSION, std::process::id());
        self.set("application_name", &name).await
    }

    async fn set(&mut self, setting: &str, value: &str) -> Result<(), JournalError> {
        let query = sqlx::query("SELECT set_config($1, $2, false)").bind(setting).bind(value);
        bounded(&self.place, query.execute(&mut self.connection)).await.map(drop)
    }

    async fn execute(&mut self, statement: &'static str) -> Result<(), JournalError> {
        bounded(&self.place, sqlx::query(statement).execute(&mut self.connection)).await.map(drop)
    }

    async fn lock(&mut self, former: Option<i32>) -> Result<(), JournalError> {
        let backend: i32 = self.one(sqlx::query_as("SELECT pg_backend_pid()")).await.map(|(pid,)| pid)?;
        self.backend = Some(backend);
        let deadline = Instant::now() + FAREWELL;
        loop {
            let attempt = sqlx::query_as(
                "SELECT pg_try_advisory_lock($1, quote_ident(current_schema())::regnamespace::oid::int4)",
            );
            let (locked,): (Option<bool>,) = self.one(attempt.bind(LOCK)).await?;
            match locked {
                Some(true) => return Ok(()),
                Some(false) => {}
                None => {
                    let told = "its search_path names no schema that exists; make it with CREATE SCHEMA";
                    return Err(JournalError::database(&self.place, sqlx::Error::Configuration(told.into())));
                }
            }
            let holder = sqlx::query_as(
                "SELECT lock.pid, coalesce(activity.application_name, '') || coalesce(' at ' || host(client_addr), '') \
                 FROM pg_locks lock LEFT JOIN pg_stat_activity activity ON activity.pid = lock.pid \
                 WHERE locktype = 'advisory' AND granted AND classid::int8 = $1 AND objsubid = 2 \
                 AND objid = quote_ident(current_schema())::regnamespace::oid \
                 AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            );
            let holder: Option<(i32, String)> = self.maybe_one(holder.bind(i64::from(LOCK))).await?;
            let (pid, name) = holder.unwrap_or_default();
            if former == Some(pid) {
                // The server has not noticed that this process gave the connection up.
                let (_,): (bool,) =
                    self.one(sqlx::query_as("SELECT pg_terminate_backend($1)").bind(pid)).await?;
            }
            // One that ended a moment ago may still have it.
            if Instant::now() > deadline {
                let holder = format!("{pid} of the server, {name}");
                return Err(JournalError::Locked { place: self.place.clone(), holder });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn migrator(&self) -> &'static Migrator {
        match self.place {
            Place::Folder(_) => &SQLITE,
            Place::Postgres(_) => &POSTGRES,
        }
    }

    /// Brings the schema to the newest version.
    pub async fn migrate(&mut self) -> Result<(), JournalError> {
        self.begin_migration().await?;
        let done = migrated(&self.place, self.migrator().run(&mut self.connection)).await;
        self.end_migration(done).await
    }

    /// Brings the schema of a new database to a version.
    pub async fn migrate_to(&mut self, version: i64) -> Result<(), JournalError> {
        self.begin_migration().await?;
        let done = migrated(&self.place, self.migrator().run_to(version, &mut self.connection)).await;
        self.end_migration(done).await
    }

    /// Takes the newest version of the schema back.
    pub async fn migrate_back(&mut self) -> Result<(), JournalError> {
        let version = self.schema_version().await?;
        let migrator = self.migrator();
        let reversible =
            migrator.iter().any(|m| m.version == version && m.migration_type.is_down_migration());
        if !reversible && migrator.version_exists(version) {
            return Err(JournalError::FirstSchema { place: self.place.clone(), version });
        }
        self.begin_migration().await?;
        let done = migrated(&self.place, migrator.undo(&mut self.connection, version - 1)).await;
        self.end_migration(done).await
    }

    /// Nobody waits for ever for a table that somebody else reads.
    async fn begin_migration(&mut self) -> Result<(), JournalError> {
        match self.place {
            Place::Folder(_) => Ok(()),
            Place::Postgres(_) => self.set("lock_timeout", MIGRATION_LOCK_PATIENCE).await,
        }
    }

    async fn end_migration(&mut self, done: Result<(), MigrateError>) -> Result<(), JournalError> {
        done.map_err(|source| self.schema(source))?;
        match self.place {
            Place::Folder(_) => Ok(()),
            Place::Postgres(_) => self.set("lock_timeout", "0").await,
        }
    }

    /// The version of the schema; 0 before there is one.
    pub async fn schema_version(&mut self) -> Result<i64, JournalError> {
        let present = match self.place {
            Place::Folder(_) => "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'",
            Place::Postgres(_) => {
                "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema() AND tablename = '_sqlx_migrations'"
            }
        };
        let (present,): (i64,) = self.one(sqlx::query_as(present)).await?;
        if present == 0 {
            return Ok(0);
        }
        let newest = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
        self.one(sqlx::query_as(newest)).await.map(|(version,)| version)
    }

    fn schema(&self, source: MigrateError) -> JournalError {
        match source {
            MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _) => {
                JournalError::database(&self.place, source)
            }
            source => JournalError::Schema { place: self.place.clone(), source },
        }
    }

    /// A fact about the journal.
    pub async fn meta(&mut self, key: &str) -> Result<Option<String>, JournalError> {
        let query = sqlx::query_as("SELECT value FROM meta WHERE key = $1").bind(key);
        let row: Option<(String,)> = self.maybe_one(query).await?;
        Ok(row.map(|(value,)| value))
    }

    /// Gives a new journal its owner and its first snapshot.
    pub async fn begin(&mut self, bot: &str, snapshot: &str) -> Result<(), JournalError> {
        let work = async {
            let mut transaction = self.connection.begin().await?;
            insert_snapshot(&mut transaction, 0, snapshot).await?;
            set_meta(&mut transaction, "bot", bot).await?;
            transaction.commit().await
        };
        bounded(&self.place, work).await
    }

    /// Raises the epoch, so that nobody who held the journal before can append. Returns the new one.
    pub async fn raise_epoch(&mut self) -> Result<i64, JournalError> {
        let work = async {
            let mut transaction = self.connection.begin().await?;
            // An append that is under way holds this row; it is waited for, and seen afterwards.
            let raise = "UPDATE meta SET value = CAST(CAST(value AS BIGINT) + 1 AS TEXT) WHERE key = 'epoch' \
                         RETURNING CAST(value AS BIGINT)";
            let (epoch,): (i64,) = sqlx::query_as(raise).fetch_one(&mut *transaction).await?;
            let write = "INSERT INTO writers (epoch, first, version) \
                         SELECT $1, coalesce(max(seq), 0) + 1, $2 FROM events";
            sqlx::query(write).bind(epoch).bind(super::VERSION).execute(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(epoch)
        };
        bounded(&self.place, work).await
    }

    /// Makes a batch durable, all or none, if the journal still has the epoch. Says whether it had.
    pub async fn append(&mut self, epoch: i64, batch: &Batch<'_>) -> Result<bool, JournalError> {
        let anonymous = matches!(self.place, Place::Folder(_));
        let work = async {
            let mut transaction = self.connection.begin().await?;
            if !holds(&mut transaction, epoch).await? {
                return Ok(false);
            }
            for (table, rows) in [(EVENTS, batch.events), (OUTPUTS, batch.outputs)] {
                insert(&mut transaction, table, rows, anonymous).await?;
            }
            set_meta(&mut transaction, "state", batch.state).await?;
            set_meta(&mut transaction, "view", batch.view).await?;
            if let Some(generation) = batch.generation {
                set_meta(&mut transaction, "generation", &generation.to_string()).await?;
            }
            transaction.commit().await?;
            Ok(true)
        };
        bounded(&self.place, work).await
    }

    /// Keeps a snapshot, and removes those before `oldest` but the first, if the journal still has the epoch.
    /// From the first one a decision can be made again, whenever it was made.
    pub async fn snapshot(
        &mut self,
        epoch: i64,
        seq: i64,
        body: &str,
        oldest: i64,
    ) -> Result<bool, JournalError> {
        let work = async {
            let mut transaction = self.connection.begin().await?;
            if !holds(&mut transaction, epoch).await? {
                return Ok(false);
            }
            insert_snapshot(&mut transaction, seq, body).await?;
            let remove = sqlx::query("DELETE FROM snapshots WHERE seq > 0 AND seq < $1").bind(oldest);
            remove.execute(&mut *transaction).await?;
            transaction.commit().await?;
            Ok(true)
        };
        bounded(&self.place, work).await
    }

    /// Removes what nobody asks for any more of the events after one and up to another that are older than a
    /// time in milliseconds: moves of the loop, and timers and quotes that led to nothing else. Bars stay,
    /// since the indicators are made from them. Says how far it came, none if the epoch is another's.
    pub async fn prune(
        &mut self,
        epoch: i64,
        after: i64,
        until: i64,
        older_than: i64,
    ) -> Result<Option<i64>, JournalError> {
        let work = async {
            let mut transaction = self.connection.begin().await?;
            if !holds(&mut transaction, epoch).await? {
                return Ok(None);
            }
            // Times rise with the numbers, but for those of the wall.
            let last = "SELECT coalesce(max(seq), $1) FROM events WHERE seq > $1 AND seq <= $2 AND at < $3 \
                        AND kind NOT IN ('lease', 'configuration')";
            let last = sqlx::query_as(last).bind(after).bind(until).bind(older_than);
            let (last,): (i64,) = last.fetch_one(&mut *transaction).await?;
            for remove in [
                "DELETE FROM outputs WHERE seq > $1 AND seq <= $2 AND kind = 'transition'",
                "DELETE FROM events WHERE seq > $1 AND seq <= $2 AND kind IN ('timer', 'quote') \
                 AND NOT EXISTS (SELECT 1 FROM outputs WHERE outputs.seq = events.seq)",
            ] {
                sqlx::query(remove).bind(after).bind(last).execute(&mut *transaction).await?;
            }
            set_meta(&mut transaction, "pruned", &last.to_string()).await?;
            transaction.commit().await?;
            Ok(Some(last))
        };
        bounded(&self.place, work).await
    }

    /// The number of the last event.
    pub async fn last_seq(&mut self) -> Result<i64, JournalError> {
        self.one(sqlx::query_as("SELECT coalesce(max(seq), 0) FROM events")).await.map(|(seq,)| seq)
    }

    /// Begins a transaction that sees one state from its first look on.
    pub async fn hold_still(&mut self) -> Result<(), JournalError> {
        self.execute(match self.place {
            Place::Folder(_) => "BEGIN",
            Place::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
        })
        .await
    }

    /// The engine's state after an event, if it is the one that was kept. An agent from before states were
    /// kept, which came back in between, leaves an old one behind.
    pub async fn state(&mut self, seq: i64) -> Result<Option<String>, JournalError> {
        let state = self.meta("state").await?;
        let state = state.as_deref().and_then(|text| text.split_once(' '));
        Ok(state.filter(|(of, _)| *of == seq.to_string()).map(|(_, state)| state.to_owned()))
    }

    /// Copies everything, as it is after one commit, into a database with the same or a newer schema that has
    /// nothing yet. All or none. Returns the number of the last event.
    pub async fn copy(&mut self, to: &mut Self) -> Result<i64, JournalError> {
        self.hold_still().await?;
        to.execute("BEGIN").await?;
        let anonymous = matches!(to.place, Place::Folder(_));
        let place = to.place.clone();
        let facts: Vec<(String, String)> = self.all(sqlx::query_as("SELECT key, value FROM meta")).await?;
        for (key, value) in &facts {
            bounded(&place, set_meta(&mut to.connection, key, value)).await?;
        }
        let mut last = 0;
        loop {
            let events = "SELECT seq, at, kind, body FROM events WHERE seq > $1 ORDER BY seq LIMIT $2";
            let events: Vec<(i64, i64, String, String)> =
                self.all(sqlx::query_as(events).bind(last).bind(COPIED_AT_ONCE)).await?;
            let Some((until, ..)) = events.last() else { break };
            let until = *until;
            let outputs =
                "SELECT seq, n, kind, body FROM outputs WHERE seq > $1 AND seq <= $2 ORDER BY seq, n";
            let outputs: Vec<(i64, i64, String, String)> =
                self.all(sqlx::query_as(outputs).bind(last).bind(until)).await?;
            bounded(&place, insert(&mut to.connection, EVENTS, &events, anonymous)).await?;
            bounded(&place, insert(&mut to.connection, OUTPUTS, &outputs, anonymous)).await?;
            last = until;
        }
        let snapshots = sqlx::query_as("SELECT seq, version, body FROM snapshots");
        let snapshots: Vec<(i64, String, String)> = self.all(snapshots).await?;
        for (seq, version, body) in snapshots {
            let write = sqlx::query("INSERT INTO snapshots (seq, version, body) VALUES ($1, $2, $3)");
            let write = write.bind(seq).bind(version).bind(body).execute(&mut to.connection);
            bounded(&place, write).await?;
        }
        let writers: Vec<(i64, i64, String)> = match self.schema_version().await? {
            ..=WITHOUT_WRITERS => Vec::new(),
            _ => self.all(sqlx::query_as("SELECT epoch, first, version FROM writers")).await?,
        };
        for (epoch, first, version) in writers {
            let write = sqlx::query("INSERT INTO writers (epoch, first, version) VALUES ($1, $2, $3)");
            let write = write.bind(epoch).bind(first).bind(version).execute(&mut to.connection);
            bounded(&place, write).await?;
        }
        to.execute("COMMIT").await?;
        self.execute("COMMIT").await?;
        Ok(last)
    }

    /// Whether the journal has an owner.
    pub async fn is_begun(&mut self) -> Result<bool, JournalError> {
        self.meta("bot").await.map(|bot| bot.is_some())
    }

    /// Leaves everything in one file.
    pub async fn settle_down(&mut self) -> Result<(), JournalError> {
        self.execute("PRAGMA journal_mode = DELETE").await
    }

    /// Looks at every page.
    pub async fn check(&mut self) -> Result<(), JournalError> {
        let (found,): (String,) = self.one(sqlx::query_as("PRAGMA integrity_check(1)")).await?;
        if found == "ok" {
            return Ok(());
        }
        let source = sqlx::Error::Protocol(found);
        Err(JournalError::Database { place: self.place.clone(), trouble: Trouble::Corrupt, source })
    }

    /// Every row that a query gives.
    pub async fn all<T>(&mut self, query: Query<'_, T>) -> Result<Vec<T>, JournalError>
    where
        T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
    {
        bounded(&self.place, query.fetch_all(&mut self.connection)).await
    }

    /// The row that a query gives.
    pub async fn one<T>(&mut self, query: Query<'_, T>) -> Result<T, JournalError>
    where
        T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
    {
        bounded(&self.place, query.fetch_one(&mut self.connection)).await
    }

    /// The row that a query gives, if it does.
    pub async fn maybe_one<T>(&mut self, query: Query<'_, T>) -> Result<Option<T>, JournalError>
    where
        T: for<'r> FromRow<'r, AnyRow> + Send + Unpin,
    {
        bounded(&self.place, query.fetch_optional(&mut self.connection)).await
    }

    /// Closes the connection, and with it lets a PostgreSQL journal's lock go.
    pub async fn close(self) -> Result<(), JournalError> {
        bounded(&self.place, self.connection.close()).await
    }
}

/// A query for rows of type `T`.
pub(super) type Query<'q, T> = sqlx::query::QueryAs<'q, sqlx::Any, T, sqlx::any::AnyArguments>;

/// Waits for a server as long as is reasonable, and for a disk as long as it takes.
async fn bounded<T>(
    place: &Place,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, JournalError> {
    within(place, PATIENCE, work).await.map_err(|source| JournalError::database(place, source))
}

/// Waits for a migration: [`bounded`] with a patience of its own.
async fn migrated(
    place: &Place,
    work: impl Future<Output = Result<(), MigrateError>>,
) -> Result<(), MigrateError> {
    within(place, MIGRATION_PATIENCE, work).await
}

async fn within<T, E: From<sqlx::Error>>(
    place: &Place,
    patience: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match place {
        Place::Folder(_) => work.await,
        Place::Postgres(_) => tokio::time::timeout(patience, work).await.unwrap_or_else(|_| {
            let told = format!("no answer for {} s", patience.as_secs());
            Err(sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, told)).into())
        }),
    }
}

/// Whoever migrates has the journal's own lock. That of the migrator is one for the whole database, which
/// several bots may share, and is waited for without an end.
fn unlocked(mut migrator: Migrator) -> Migrator {
    migrator.set_locking(false);
    migrator
}

/// Whether the journal has the epoch. Until the transaction ends nobody can raise it.
async fn holds(connection: &mut AnyConnection, epoch: i64) -> Result<bool, sqlx::Error> {
    let same = "UPDATE meta SET value = $1 WHERE key = 'epoch' AND value = $1";
    let done = sqlx::query(same).bind(epoch.to_string()).execute(connection).await?;
    Ok(done.rows_affected() == 1)
}

async fn set_meta(connection: &mut AnyConnection, key: &str, value: &str) -> Result<(), sqlx::Error> {
    let set = "INSERT INTO meta (key, value) VALUES ($1, $2) \
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    sqlx::query(set).bind(key).bind(value).execute(connection).await?;
    Ok(())
}

async fn insert_snapshot(connection: &mut AnyConnection, seq: i64, body: &str) -> Result<(), sqlx::Error> {
    // It may have been written before by a commit that was not answered.
    let insert = "INSERT INTO snapshots (seq, version, body) VALUES ($1, $2, $3) \
                  ON CONFLICT (seq) DO UPDATE SET version = excluded.version, body = excluded.body";
    sqlx::query(insert).bind(seq).bind(super::VERSION).bind(body).execute(connection).await?;
    Ok(())
}

/// Inserts rows of four.
async fn insert<K: AsRef<str>>(
    connection: &mut AnyConnection,
    table: &'static str,
    rows: &[(i64, i64, K, String)],
    anonymous: bool,
) -> Result<(), sqlx::Error> {
    for rows in rows.chunks(ROWS_AT_ONCE) {
        let statement = format!("{table}{}", placeholders(rows.len(), anonymous));
        let mut insert = sqlx::query(AssertSqlSafe(statement)).persistent(false);
        for (seq, second, kind, body) in rows {
            insert = insert.bind(*seq).bind(*second).bind(kind.as_ref()).bind(body.as_str());
        }
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Room for the values of rows of four. SQLite looks up each name of a value among all of them, which
/// takes long with thousands: it gets none.
fn placeholders(rows: usize, anonymous: bool) -> String {
    let mut text = String::with_capacity(rows * 28);
    for row in 0..rows {
        let comma = if row == 0 { "" } else { ", " };
        if anonymous {
            text.push_str(comma);
            text.push_str("(?, ?, ?, ?)");
        } else {
            let first = row * 4 + 1;
            text.push_str(&format!("{comma}(${first}, ${}, ${}, ${})", first + 1, first + 2, first + 3));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_place() {
        assert_eq!(placeholders(2, false), "($1, $2, $3, $4), ($5, $6, $7, $8)");
        assert_eq!(placeholders(1, true), "(?, ?, ?, ?)");
    }

    #[test]
    fn both_databases_have_the_same_schema() {
        let versions = |migrator: &Migrator| -> Vec<_> {
            migrator.iter().map(|m| (m.version, m.description.clone(), m.migration_type)).collect()
        };
        assert_eq!(versions(&SQLITE), versions(&POSTGRES));
        // What agents have applied never changes.
        let first = SQLITE.iter().next().unwrap();
        let checksum: String = first.checksum.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(checksum, "3a8ae3b57c487517");
    }
}
