//! A journal in one file, and back. A backup is a SQLite journal, whichever store it comes from.

use std::path::{Path, PathBuf};

use engine::{Account, BotId};
use jiff::Timestamp;

use super::place::Access;
use super::store::Store;
use super::{FILE, Journal, JournalError, Place, Reader, take};

/// A backup that was proven: a bot was recovered from it and is what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Proven {
    /// Whose it is.
    pub bot: BotId,
    /// How many events it has.
    pub events: i64,
    /// How many closed trades.
    pub trades: u64,
    /// Market time of the last event.
    pub market_time: Option<Timestamp>,
    /// The account at the last event.
    pub account: Account,
}

/// Copies a journal into a new file, as it is after one commit, whoever writes it. Returns the number of its last event.
///
/// # Errors
/// See [`JournalError`]; then there is no file.
pub async fn backup(place: &Place, file: &Path) -> Result<i64, JournalError> {
    let folder = |source| JournalError::File { file: file.to_owned(), source };
    if file.exists() {
        return Err(folder(std::io::Error::from(std::io::ErrorKind::AlreadyExists)));
    }
    Reader::open(place).await?.close().await;
    let mut from = Store::open(place, Access::Read, None).await?;
    // Beside its place, so that it comes there whole or not at all.
    let beside = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let scratch = Scratch::new(beside).map_err(folder)?;
    let copy = Place::from(scratch.0.as_path());
    let mut to = Store::open(&copy, Access::Write, None).await?;
    let version = from.schema_version().await?;
    to.migrate_to(version).await?;
    let last = from.copy(&mut to).await?;
    from.close().await?;
    to.settle_down().await?;
    to.close().await?;
    let made = scratch.0.join(FILE);
    std::fs::File::open(&made).and_then(|made| made.sync_all()).map_err(folder)?;
    std::fs::rename(&made, file).map_err(folder)?;
    std::fs::File::open(beside).and_then(|beside| beside.sync_all()).map_err(folder)?;
    Ok(last)
}

/// Recovers a bot from a copy of a backup, compares it with what it was, and brings the backup to a place
/// that has no journal, if one is given.
///
/// # Errors
/// See [`JournalError`].
pub async fn restore(file: &Path, place: Option<&Place>) -> Result<Proven, JournalError> {
    let failed = |source| JournalError::File { file: file.to_owned(), source };
    let scratch = Scratch::new(&std::env::temp_dir()).map_err(failed)?;
    std::fs::copy(file, scratch.0.join(FILE)).map_err(failed)?;
    let copy = Place::from(scratch.0.as_path());
    let proven = prove(&copy).await?;
    let Some(place) = place else { return Ok(proven) };
    let (_lock, mut to) = take(place).await?;
    if to.schema_version().await? != 0 && to.is_begun().await? {
        return Err(JournalError::Taken { place: place.clone() });
    }
    to.migrate().await?;
    let mut from = Store::open(&copy, Access::Read, None).await?;
    from.copy(&mut to).await?;
    from.close().await?;
    to.close().await?;
    Ok(proven)
}

/// Recovers a bot and compares it with the projection that was written with its last event.
async fn prove(copy: &Place) -> Result<Proven, JournalError> {
    let (_lock, mut store) = take(copy).await?;
    if store.schema_version().await? == 0 {
        return Err(JournalError::Missing { place: copy.clone() });
    }
    store.check().await?;
    let bot = store.meta("bot").await?.ok_or_else(|| JournalError::Missing { place: copy.clone() })?;
    store.close().await?;
    drop(_lock);
    let (namespace, name) = bot.split_once('/').unwrap_or(("", bot.as_str()));
    let bot = BotId { namespace: namespace.to_owned(), name: name.to_owned() };
    let mut reader = Reader::open(copy).await?;
    let shown = reader.view().await?;
    reader.close().await;
    let (journal, recovered) = Journal::open(copy, &bot, None).await?;
    let events = journal.last_seq();
    journal.close().await?;
    let engine = recovered.engine;
    if let Some(shown) = shown {
        let differs = |what: &'static str, recovered: String, recorded: String| {
            if recovered == recorded {
                return Ok(());
            }
            Err(JournalError::Differs { what, recovered, recorded })
        };
        differs("events", events.to_string(), shown.events.to_string())?;
        differs("account", format!("{:?}", engine.account()), format!("{:?}", shown.account))?;
        differs("positions", format!("{:?}", engine.positions()), format!("{:?}", shown.positions))?;
        differs("closed trades", recovered.closed_trades.to_string(), shown.closed_trades.to_string())?;
        differs("fills", recovered.fills.to_string(), shown.fills.to_string())?;
    }
    Ok(Proven {
        bot,
        events,
        trades: recovered.closed_trades,
        market_time: engine.market_time(),
        account: engine.account(),
    })
}

/// A folder that is gone when it is not needed any more.
struct Scratch(PathBuf);

impl Scratch {
    fn new(beside: &Path) -> std::io::Result<Self> {
        let folder = beside.join(format!(".journal-{}-{:08x}", std::process::id(), rand::random::<u32>()));
        std::fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Site, config, handled, identity, steps, surroundings};
    use crate::journal::{Entry, Reader};
    use crate::view::View;
    use engine::{Engine, Event, EventKind, Output};

    /// A journal with trades, and its last bars not yet in it.
    async fn traded(site: &Site) -> (Journal, Vec<Entry>, Engine, View) {
        let (mut journal, mut recovered) =
            Journal::open(&site.place, &identity(), Some(&config())).await.unwrap();
        let lease = Event { at: Timestamp::UNIX_EPOCH, kind: EventKind::Lease { held: true } };
        let mut entries = vec![handled(&mut recovered.engine, lease)];
        let mut around = surroundings();
        let mut steps = steps();
        while around.closed_trades < 3 {
            for event in steps.next_step().unwrap().unwrap().events {
                let entry = handled(&mut recovered.engine, event);
                for output in &entry.outputs {
                    around.closed_trades += u64::from(matches!(output, Output::TradeClosed(_)));
                    around.fills += u64::from(matches!(output, Output::Fill(_)));
                }
                entries.push(entry);
            }
        }
        let view = View::of(&recovered.engine, &around, entries.len() as i64);
        journal.append(&entries, &recovered.engine, &view, Some(4)).await.unwrap();
        journal.snapshot(&recovered.engine).await.unwrap();
        let after = steps.next_step().unwrap().unwrap().events;
        let after: Vec<Entry> =
            after.into_iter().map(|event| handled(&mut recovered.engine, event)).collect();
        let view = View::of(&recovered.engine, &around, (entries.len() + after.len()) as i64);
        (journal, after, recovered.engine, view)
    }

    #[tokio::test]
    async fn a_backup_of_a_journal_that_is_written_is_whole_and_restores_to_either_store() {
        for site in Site::each() {
            let (mut journal, after, engine, view) = traded(&site).await;
            let file = site.folder.path().join("backup.db");
            let events = backup(&site.place, &file).await.unwrap();
            assert_eq!(events, journal.last_seq());
            // The writer goes on, and what it writes is not in the backup.
            journal.append(&after, &engine, &view, Some(5)).await.unwrap();
            let proven = restore(&file, None).await.unwrap();
            assert_eq!((proven.events, proven.trades, &proven.bot), (events, 3, &identity()));
            assert_eq!(backup(&site.place, &file).await.unwrap_err().reason(), "JournalFile");
            for target in Site::each() {
                assert_eq!(restore(&file, Some(&target.place)).await.unwrap(), proven);
                let trades = Reader::open(&target.place).await.unwrap().trades(10).await.unwrap();
                assert_eq!(trades, Reader::open(&site.place).await.unwrap().trades(10).await.unwrap());
                let (mut copy, recovered) = Journal::open(&target.place, &identity(), None).await.unwrap();
                assert_eq!((copy.last_seq(), recovered.generation), (events, Some(4)));
                // It is a journal like any other.
                copy.append(&after, &engine, &view, Some(5)).await.unwrap();
                assert_eq!(copy.last_seq(), journal.last_seq());
                copy.close().await.unwrap();
                let error = restore(&file, Some(&target.place)).await.unwrap_err();
                assert_eq!(error.reason(), "JournalTaken");
            }
            let left = std::fs::read_dir(site.folder.path()).unwrap();
            let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
            assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".journal")), "{left:?}");
        }
    }

    #[tokio::test]
    async fn a_journal_that_was_brought_back_for_the_agent_before_can_be_backed_up() {
        for site in Site::each() {
            let (journal, ..) = traded(&site).await;
            let events = journal.last_seq();
            journal.close().await.unwrap();
            crate::journal::migrate(&site.place, true).await.unwrap();
            let file = site.folder.path().join("backup.db");
            assert_eq!(backup(&site.place, &file).await.unwrap(), events);
            let target = Site::sqlite();
            let proven = restore(&file, Some(&target.place)).await.unwrap();
            assert_eq!((proven.events, proven.trades), (events, 3));
            let (copy, _) = Journal::open(&target.place, &identity(), None).await.unwrap();
            assert_eq!(copy.last_seq(), events);
        }
    }

    #[tokio::test]
    async fn a_backup_that_was_tampered_with_is_not_proven() {
        let site = Site::sqlite();
        let (journal, ..) = traded(&site).await;
        journal.close().await.unwrap();
        let good = site.folder.path().join("good.db");
        backup(&site.place, &good).await.unwrap();
        for (statement, reason) in [
            (
                "UPDATE meta SET value = replace(value, '\"cash\":\"', '\"cash\":\"1') WHERE key = 'view'",
                "BackupDiffers",
            ),
            ("DELETE FROM outputs WHERE kind = 'tradeClosed'", "BackupDiffers"),
            ("DELETE FROM snapshots", "JournalFailed"),
            ("DELETE FROM meta WHERE key = 'bot'", "JournalMissing"),
        ] {
            let scratch = Site::sqlite();
            std::fs::copy(&good, scratch.folder.path().join(FILE)).unwrap();
            scratch.tamper(statement).await;
            let bad = scratch.folder.path().join(FILE);
            let error = restore(&bad, None).await.unwrap_err();
            assert_eq!(error.reason(), reason, "{statement}: {error}");
        }
        let mut bytes = std::fs::read(&good).unwrap();
        let middle = bytes.len() / 2;
        for byte in bytes.iter_mut().skip(middle).take(8_192) {
            *byte = !*byte;
        }
        std::fs::write(&good, &bytes).unwrap();
        assert_eq!(restore(&good, None).await.unwrap_err().reason(), "JournalCorrupt");
        let missing = restore(&site.folder.path().join("none"), None).await.unwrap_err();
        assert_eq!(missing.reason(), "JournalFile");
    }
}
