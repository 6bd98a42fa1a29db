//! The truth about a bot: what happened to it and what it did, in a database, before anyone else hears.

mod backup;
mod error;
mod lock;
mod place;
mod reader;
mod recovery;
mod store;

use crds::config::BotConfig;
use engine::{BotId, Engine, Event, EventKind, Output};
use jiff::SignedDuration;

use crate::view::View;
pub use backup::{Proven, backup, restore};
pub use error::{JournalError, Trouble};
pub use lock::Lock;
use place::Access;
pub use place::{Address, Place, PlaceError};
pub use reader::{Again, Reader};
pub use recovery::Recovered;
use store::{Batch, Row, Store};

/// The journal's file in its folder.
pub const FILE: &str = "journal.db";
/// The version of whoever writes: engine and agent are released together.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Events between two snapshots: a tail of so many is replayed in well under a second.
pub(crate) const SNAPSHOT_EVERY: i64 = 5_000;

/// Moves of the loop, and timers and quotes that led to nothing else, are kept for so long (market time).
const KEEP_MOVES: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Events that are looked at for it at once: it takes milliseconds, and comes after each snapshot.
const PRUNED_AT_ONCE: i64 = 4 * SNAPSHOT_EVERY;

/// An event and what the engine did about it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// What the engine did.
    pub outputs: Vec<Output>,
}

/// An open journal; the only writer there is.
#[derive(Debug)]
pub struct Journal {
    place: Place,
    /// None after a failure: then it is not known what became of the last write.
    store: Option<Store>,
    /// The server's process behind the last connection; after a failure it may live on for a while.
    backend: Option<i32>,
    /// Of a folder. A database is locked by the connection.
    _lock: Option<Lock>,
    epoch: i64,
    last_seq: i64,
    snapshot_seq: i64,
    /// Up to here what nobody asks for is removed.
    pruned: i64,
    /// The first entries of the append under way that are durable: their commit was not answered.
    durable: usize,
}

impl Journal {
    /// Locks and opens the journal of a bot, making it when there is none, and brings its engine back
    /// to where it was. A new journal begins with a snapshot of an engine with `config`; without one, there
    /// must be a journal.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub async fn open(
        place: impl Into<Place>,
        identity: &BotId,
        config: Option<&BotConfig>,
    ) -> Result<(Self, Recovered), JournalError> {
        let place = place.into();
        let (lock, mut store) = take(&place).await?;
        // Another bot's journal is left as it is.
        if store.schema_version().await? > 0 {
            refuse_another(&mut store, &place, identity).await?;
        }
        store.migrate().await?;
        claim(&mut store, &place, identity, config).await?;
        // From here on nobody else appends: what is read now is all there is.
        let epoch = store.raise_epoch().await?;
        let (recovered, extent) = recovery::recover(&mut store, &place, identity).await?;
        let pruned = store.meta("pruned").await?.and_then(|text| text.parse().ok()).unwrap_or(0);
        let (backend, store) = (store.backend(), Some(store));
        let Extent { last_seq, snapshot_seq } = extent;
        let mut journal =
            Self { place, store, backend, _lock: lock, epoch, last_seq, snapshot_seq, pruned, durable: 0 };
        if recovered.applied > 0 {
            // From here on everything is of this version, and can be compared again.
            journal.snapshot(&recovered.engine).await?;
        }
        Ok((journal, recovered))
    }

    /// The number of the last durable event.
    pub const fn last_seq(&self) -> i64 {
        self.last_seq
    }

    /// Where it is.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Makes entries durable, all or none, with the engine as it is after them and the projection that follows
    /// from it. `generation` is that of the configuration in force.
    ///
    /// After an error that [may pass](JournalError::may_pass) it is not known whether they are durable.
    /// Called again, with the same entries first, it finds out and writes what is missing.
    ///
    /// # Errors
    /// When the database says no: nothing that led here may be acted on.
    pub async fn append(
        &mut self,
        entries: &[Entry],
        engine: &Engine,
        view: &View,
        generation: Option<i64>,
    ) -> Result<(), JournalError> {
        self.settle(entries.len()).await?;
        let (events, outputs) = self.rows(entries.get(self.durable..).unwrap_or_default())?;
        let view = serde_json::to_string(view).map_err(|e| self.record("the projection", e))?;
        let last = events.last().map_or(self.last_seq, |(seq, ..)| *seq);
        let state = format!("{last} {}", snapshot_body(&self.place, engine)?);
        let batch = Batch { events: &events, outputs: &outputs, state: &state, view: &view, generation };
        let epoch = self.epoch;
        let done = self.store()?.append(epoch, &batch).await;
        self.checked(done).await?;
        self.last_seq = last;
        self.durable = 0;
        Ok(())
    }

    /// The number that the last of so many entries has when they are appended.
    pub fn seq_after(&self, entries: usize) -> i64 {
        let missing = entries.saturating_sub(self.durable);
        self.last_seq.saturating_add(i64::try_from(missing).unwrap_or(i64::MAX))
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
    /// When the database says no.
    pub async fn snapshot(&mut self, engine: &Engine) -> Result<(), JournalError> {
        if self.last_seq == self.snapshot_seq {
            return Ok(());
        }
        self.settle(0).await?;
        let body = snapshot_body(&self.place, engine)?;
        let (epoch, last, before) = (self.epoch, self.last_seq, self.snapshot_seq);
        let done = self.store()?.snapshot(epoch, last, &body, before).await;
        self.checked(done).await?;
        self.snapshot_seq = self.last_seq;
        self.prune(engine, before).await
    }

    /// Removes what is old and nobody asks for, up to a snapshot that is not the newest: from there on
    /// everything can be compared.
    async fn prune(&mut self, engine: &Engine, snapshot: i64) -> Result<(), JournalError> {
        let until = snapshot.min(self.pruned + PRUNED_AT_ONCE);
        let Some(now) = engine.market_time().filter(|_| until > self.pruned) else { return Ok(()) };
        let (epoch, pruned) = (self.epoch, self.pruned);
        let older_than = now.as_millisecond() - i64::try_from(KEEP_MOVES.as_millis()).unwrap_or(i64::MAX);
        let done = self.store()?.prune(epoch, pruned, until, older_than).await;
        let last = done.as_ref().ok().copied().flatten();
        self.checked(done.map(|last| last.is_some())).await?;
        self.pruned = last.unwrap_or(pruned);
        Ok(())
    }

    /// Sees to it that the database can be trusted. After a failure it is connected to anew, and it is found
    /// out which of so many entries are durable although their append was not answered.
    async fn settle(&mut self, entries: usize) -> Result<(), JournalError> {
        if self.store.is_some() {
            return Ok(());
        }
        let mut store = match Store::again(&self.place, self.backend).await {
            Err(locked @ JournalError::Locked { .. }) => {
                // Who has the lock may only be about to take over, or may have done it.
                let mut reader = Store::open(&self.place, Access::Read, None).await?;
                let current = reader.meta("epoch").await?;
                let ours = current.as_deref() == Some(self.epoch.to_string().as_str());
                return Err(if ours { locked } else { self.fenced(current) });
            }
            opened => opened?,
        };
        self.backend = store.backend();
        let current = store.meta("epoch").await?;
        if current.as_deref() != Some(self.epoch.to_string().as_str()) {
            return Err(self.fenced(current));
        }
        let found = store.last_seq().await?;
        // An append is all or none, and nobody else could.
        match usize::try_from(found - self.last_seq) {
            Ok(more) if self.durable + more <= entries => self.durable += more,
            _ => {
                let expected = self.last_seq;
                return Err(JournalError::Behind { place: self.place.clone(), found, expected });
            }
        }
        self.last_seq = found;
        self.store = Some(store);
        Ok(())
    }

    /// Leaves no room on the disk until the next connection.
    #[cfg(test)]
    pub async fn fill_disk(&mut self) {
        self.store().unwrap().limit_pages().await;
    }

    fn store(&mut self) -> Result<&mut Store, JournalError> {
        // `settle` has connected; who gets here without a connection has to try again.
        let none = || sqlx::Error::Io(std::io::ErrorKind::NotConnected.into());
        self.store.as_mut().ok_or_else(|| JournalError::database(&self.place, none()))
    }

    /// After a failure the connection is given up. `held` is false when the epoch is another's.
    async fn checked(&mut self, held: Result<bool, JournalError>) -> Result<(), JournalError> {
        match held {
            Ok(true) => Ok(()),
            Ok(false) => {
                let current = self.store()?.meta("epoch").await.unwrap_or_default();
                Err(self.fenced(current))
            }
            Err(error) => {
                if let Some(store) = self.store.take() {
                    store.give_up().await;
                }
                Err(error)
            }
        }
    }

    /// Gives up a write that was under way for too long and is waited for no more. What became of it is found out
    /// before the next.
    pub async fn give_up(&mut self) -> JournalError {
        if let Some(store) = self.store.take() {
            store.give_up().await;
        }
        let source = sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
        JournalError::Database { place: self.place.clone(), trouble: Trouble::Slow, source }
    }

    fn fenced(&self, current: Option<String>) -> JournalError {
        let current = current.unwrap_or_else(|| "unknown".to_owned());
        JournalError::Fenced { place: self.place.clone(), epoch: self.epoch, current }
    }

    /// Closes the journal and lets its lock go.
    ///
    /// # Errors
    /// When the database cannot finish what it wrote; nothing durable is lost by it.
    pub async fn close(self) -> Result<(), JournalError> {
        match self.store {
            Some(store) => store.close().await,
            None => Ok(()),
        }
    }

    fn record(&self, what: &str, source: serde_json::Error) -> JournalError {
        JournalError::Record { place: self.place.clone(), what: what.to_owned(), source }
    }
}

/// How far a journal goes.
#[derive(Clone, Copy, Debug)]
struct Extent {
    last_seq: i64,
    snapshot_seq: i64,
}

/// Locks a journal and connects to it for writing. Its schema may be any.
async fn take(place: &Place) -> Result<(Option<Lock>, Store), JournalError> {
    let lock = match place {
        Place::Folder(folder) => {
            std::fs::create_dir_all(folder)
                .map_err(|source| JournalError::Folder { folder: folder.clone(), source })?;
            Some(Lock::take(folder)?)
        }
        Place::Postgres(_) => None,
    };
    Ok((lock, Store::open(place, Access::Write, None).await?))
}

/// Refuses another bot's journal, whatever its schema. Says whether it has an owner.
async fn refuse_another(store: &mut Store, place: &Place, identity: &BotId) -> Result<bool, JournalError> {
    let expected = identity.to_string();
    match store.meta("bot").await? {
        Some(found) if found != expected => {
            Err(JournalError::OtherBot { place: place.clone(), found, expected })
        }
        owner => Ok(owner.is_some()),
    }
}

/// Refuses another bot's journal; gives a new one its owner and its first snapshot.
async fn claim(
    store: &mut Store,
    place: &Place,
    identity: &BotId,
    config: Option<&BotConfig>,
) -> Result<(), JournalError> {
    if refuse_another(store, place, identity).await? {
        return Ok(());
    }
    let config = config.ok_or_else(|| JournalError::Missing { place: place.clone() })?;
    let engine = Engine::new(identity.clone(), config.clone());
    let engine =
        engine.map_err(|source| JournalError::Engine { place: place.clone(), source: Box::new(source) })?;
    store.begin(&identity.to_string(), &snapshot_body(place, &engine)?).await
}

fn snapshot_body(place: &Place, engine: &Engine) -> Result<String, JournalError> {
    serde_json::to_string(&engine.snapshot()).map_err(|source| JournalError::Record {
        place: place.clone(),
        what: "a new snapshot".to_owned(),
        source,
    })
}

/// A journal's schema before and after [`migrate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The version it had; 0 if it had none.
    pub from: i64,
    /// The version it has.
    pub to: i64,
}

/// Brings the schema of a journal that nobody writes to the newest version, or one `back`.
///
/// # Errors
/// See [`JournalError`].
pub async fn migrate(place: &Place, back: bool) -> Result<Migrated, JournalError> {
    if let Place::Folder(folder) = place
        && !folder.join(FILE).is_file()
    {
        return Err(JournalError::Missing { place: place.clone() });
    }
    let (_lock, mut store) = take(place).await?;
    let from = store.schema_version().await?;
    if back {
        store.migrate_back().await?
    } else {
        store.migrate().await?
    }
    let to = store.schema_version().await?;
    store.close().await?;
    Ok(Migrated { from, to })
}

/// The word for an event's kind, as its JSON has it.
pub const fn event_kind(event: &Event) -> &'static str {
    match event.kind {
        EventKind::History { .. } => "history",
        EventKind::Bar { .. } => "bar",
        EventKind::Quote { .. } => "quote",
        EventKind::Configuration(_) => "configuration",
        EventKind::Lease { .. } => "lease",
        EventKind::Takeover => "takeover",
        EventKind::Venue(_) => "venue",
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
        Output::Command(_) => "command",
        Output::Discrepancy(_) => "discrepancy",
        Output::Order(_) => "order",
        Output::Fill(_) => "fill",
        Output::StopMoved(_) => "stopMoved",
        Output::TradeClosed(_) => "tradeClosed",
        Output::Configured { .. } => "configured",
    }
}

#[cfg(test)]
mod tests;
