//! Back to where the bot was: the latest snapshot, the bars it was made after, and the tail.

use engine::{BotId, Engine, Event, Snapshot};
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::{Journal, JournalError, VERSION, meta};

/// Events read at once: what recovery holds in memory of a journal of any length.
const PAGE: i64 = 1_000;

/// A bot as its journal has it.
#[derive(Debug)]
pub struct Recovered {
    /// The engine after the last durable event.
    pub engine: Engine,
    /// The generation of its configuration, where an operator gave it one.
    pub generation: Option<i64>,
    /// Market time of the last step: the feed goes on after it.
    pub resume: Option<Timestamp>,
    /// Trades that were closed so far.
    pub closed_trades: u64,
    /// Fills so far.
    pub fills: u64,
    /// Events that were handled again because they came after the snapshot.
    pub replayed: i64,
}

impl Journal {
    pub(super) async fn recover(&mut self, identity: &BotId) -> Result<Recovered, JournalError> {
        let row: Option<(i64, String)> =
            sqlx::query_as("SELECT seq, body FROM snapshots ORDER BY seq DESC LIMIT 1")
                .fetch_optional(&mut self.connection)
                .await
                .map_err(|e| self.database(e))?;
        // `claim` has made one, so that a journal without any was tampered with.
        let (seq, body) = row.ok_or_else(|| self.database(sqlx::Error::RowNotFound))?;
        let snapshot: Snapshot =
            serde_json::from_str(&body).map_err(|e| self.record(format!("snapshot {seq}"), e))?;
        drop(body);
        self.snapshot_seq = seq;
        self.last_seq = seq;

        let mut engine = self.restore(identity, snapshot, seq).await?;
        self.restore_lease(&mut engine, seq).await?;
        let replayed = self.replay_tail(&mut engine).await?;
        let count = |kind: &'static str| {
            sqlx::query_scalar::<_, i64>(
                "SELECT count(*) FROM outputs WHERE kind IN ('decision', 'fill', 'tradeClosed') AND kind = ?",
            )
            .bind(kind)
        };
        let closed_trades = count("tradeClosed").fetch_one(&mut self.connection).await;
        let fills = count("fill").fetch_one(&mut self.connection).await;
        let resume = sqlx::query_scalar::<_, Option<i64>>(
            "SELECT at FROM events WHERE kind IN ('history', 'bar') ORDER BY seq DESC LIMIT 1",
        )
        .fetch_optional(&mut self.connection)
        .await
        .map_err(|e| self.database(e))?
        .flatten();
        let generation = meta(&mut self.connection, "generation").await.map_err(|e| self.database(e))?;
        Ok(Recovered {
            engine,
            generation: generation.and_then(|text| text.parse().ok()),
            resume: resume.and_then(|at| Timestamp::from_millisecond(at).ok()),
            closed_trades: u64::try_from(closed_trades.map_err(|e| self.database(e))?).unwrap_or(0),
            fills: u64::try_from(fills.map_err(|e| self.database(e))?).unwrap_or(0),
            replayed,
        })
    }

    /// Feeds the engine its bars again, a page at a time: it reads in a thread of its own, since it is
    /// a plain function and the journal is not.
    async fn restore(
        &mut self,
        identity: &BotId,
        snapshot: Snapshot,
        until: i64,
    ) -> Result<Engine, JournalError> {
        let (sender, mut receiver) = mpsc::channel::<Vec<Event>>(2);
        let identity = identity.clone();
        let engine = tokio::task::spawn_blocking(move || {
            let pages = std::iter::from_fn(move || receiver.blocking_recv());
            Engine::restore(identity, snapshot, pages.flatten())
        });
        let mut after = 0;
        while after < until {
            let page = self.page(after, until, true).await?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            if sender.send(page.into_iter().map(|(_, event)| event).collect()).await.is_err() {
                break;
            }
        }
        drop(sender);
        engine
            .await
            .map_err(|_| JournalError::Interrupted { folder: self.folder.clone() })?
            .map_err(|e| self.engine(e))
    }

    /// A restored engine does not hold the lease; the one that the tail was recorded with may have.
    async fn restore_lease(&mut self, engine: &mut Engine, until: i64) -> Result<(), JournalError> {
        let row: Option<(i64, String)> = sqlx::query_as(
            "SELECT seq, body FROM events WHERE kind = 'lease' AND seq <= ? ORDER BY seq DESC LIMIT 1",
        )
        .bind(until)
        .fetch_optional(&mut self.connection)
        .await
        .map_err(|e| self.database(e))?;
        if let Some((seq, body)) = row {
            engine.handle(&self.event(seq, &body)?, &mut Vec::new());
        }
        Ok(())
    }

    /// Handles what came after the snapshot and compares what comes out with what came out.
    async fn replay_tail(&mut self, engine: &mut Engine) -> Result<i64, JournalError> {
        let first = self.last_seq;
        let written_by = meta(&mut self.connection, "version")
            .await
            .map_err(|e| self.database(e))?
            .unwrap_or(VERSION.into());
        let mut outputs = Vec::new();
        loop {
            let page = self.page(self.last_seq, i64::MAX, false).await?;
            let Some((until, _)) = page.last() else { return Ok(self.last_seq - first) };
            let recorded: Vec<(i64, String)> =
                sqlx::query_as("SELECT seq, body FROM outputs WHERE seq > ? AND seq <= ? ORDER BY seq, n")
                    .bind(self.last_seq)
                    .bind(until)
                    .fetch_all(&mut self.connection)
                    .await
                    .map_err(|e| self.database(e))?;
            let mut recorded = recorded.into_iter().peekable();
            for (seq, event) in page {
                outputs.clear();
                engine.handle(&event, &mut outputs);
                let diverged = || JournalError::Diverged {
                    folder: self.folder.clone(),
                    seq,
                    written_by: written_by.clone(),
                };
                for output in &outputs {
                    let body = serde_json::to_string(output).map_err(|e| self.record("an output", e))?;
                    if recorded.next_if(|(of, text)| *of == seq && *text == body).is_none() {
                        return Err(diverged());
                    }
                }
                if recorded.peek().is_some_and(|(of, _)| *of == seq) {
                    return Err(diverged());
                }
                self.last_seq = seq;
            }
        }
    }

    /// Events after one and until another, in order, a page of them at most.
    async fn page(
        &mut self,
        after: i64,
        until: i64,
        bars_only: bool,
    ) -> Result<Vec<(i64, Event)>, JournalError> {
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT seq, body FROM events WHERE seq > ? AND seq <= ? AND (NOT ? OR kind IN ('history', 'bar')) \
             ORDER BY seq LIMIT ?",
        )
        .bind(after)
        .bind(until)
        .bind(bars_only)
        .bind(PAGE)
        .fetch_all(&mut self.connection)
        .await
        .map_err(|e| self.database(e))?;
        rows.iter().map(|(seq, body)| Ok((*seq, self.event(*seq, body)?))).collect()
    }

    fn event(&self, seq: i64, body: &str) -> Result<Event, JournalError> {
        serde_json::from_str(body).map_err(|e| self.record(format!("event {seq}"), e))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use engine::EventKind;
    use sqlx::sqlite::SqliteConnectOptions;
    use sqlx::{ConnectOptions, Connection};

    use super::super::{Entry, FILE, Reader, event_kind, output_kind};
    use super::*;
    use crate::fixtures::{config, handled, identity, steps, view};

    async fn open(folder: &Path) -> Result<(Journal, Recovered), JournalError> {
        Journal::open(folder, &identity(), Some(&config())).await
    }

    /// Every event of the data, the lease first.
    fn events() -> Vec<Event> {
        let mut steps = steps();
        let lease = Event { at: Timestamp::UNIX_EPOCH, kind: EventKind::Lease { held: true } };
        let mut events = vec![lease];
        while let Some(step) = steps.next_step().unwrap() {
            events.extend(step.events);
        }
        events
    }

    #[tokio::test]
    async fn after_a_crash_anywhere_the_bot_is_what_it_would_have_been() {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = Engine::new(identity(), config()).unwrap();
        let (mut journal, mut recovered) = open(folder.path()).await.unwrap();
        for (round, batch) in events().chunks(1_999).enumerate() {
            let entries: Vec<Entry> =
                batch.iter().map(|event| handled(&mut recovered.engine, event.clone())).collect();
            let expected: Vec<Entry> = batch.iter().map(|event| handled(&mut whole, event.clone())).collect();
            for (entry, expected) in entries.iter().zip(&expected) {
                assert_eq!(entry.outputs, expected.outputs);
            }
            journal.append(&entries, &view(&recovered.engine), None).await.unwrap();
            if round % 2 == 1 {
                journal.snapshot(&recovered.engine).await.unwrap();
            }
            // What is not in the journal is lost.
            drop((journal, recovered));
            (journal, recovered) = open(folder.path()).await.unwrap();
            assert_eq!(recovered.engine.snapshot(), whole.snapshot());
            assert_eq!(recovered.engine.lease_held(), whole.lease_held());
            let last_bar = batch.iter().rev().find(|event| event_kind(event) != "timer").unwrap();
            assert_eq!(recovered.resume, Some(last_bar.at).filter(|at| *at > Timestamp::UNIX_EPOCH));
        }
        assert!(recovered.closed_trades > 3, "{} trades", recovered.closed_trades);
        assert!(recovered.fills > recovered.closed_trades);
        let trades = Reader::open(folder.path()).await.unwrap().trades(1_000).await.unwrap();
        assert_eq!(trades.len() as u64, recovered.closed_trades);
    }

    #[tokio::test]
    async fn a_record_that_the_engine_would_not_make_again_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (mut journal, mut recovered) = open(folder.path()).await.unwrap();
        let entries: Vec<Entry> =
            events().into_iter().map(|event| handled(&mut recovered.engine, event)).collect();
        journal.append(&entries, &view(&recovered.engine), None).await.unwrap();
        journal.close().await.unwrap();
        let alter = async |statement: &'static str| {
            let options = SqliteConnectOptions::new().filename(folder.path().join(FILE));
            let mut connection = options.connect().await.unwrap();
            sqlx::query(statement).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        };
        open(folder.path()).await.unwrap();
        alter("UPDATE outputs SET body = replace(body, '\"price\":\"', '\"price\":\"1') WHERE kind = 'fill'")
            .await;
        let error = open(folder.path()).await.unwrap_err();
        assert_eq!(error.reason(), "ReplayDiverged");
        assert!(error.to_string().contains("move the journal away"), "{error}");
        alter("DELETE FROM outputs").await;
        assert_eq!(open(folder.path()).await.unwrap_err().reason(), "ReplayDiverged");
        alter("UPDATE events SET body = '{}'").await;
        assert_eq!(open(folder.path()).await.unwrap_err().reason(), "JournalUnreadable");
    }

    #[tokio::test]
    async fn another_bots_journal_and_a_missing_one_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let none = Journal::open(folder.path(), &identity(), None).await.unwrap_err();
        assert_eq!(none.reason(), "JournalMissing");
        open(folder.path()).await.unwrap();
        let other = BotId { namespace: "default".into(), name: "other".into() };
        let error = Journal::open(folder.path(), &other, Some(&config())).await.unwrap_err();
        assert_eq!(error.reason(), "JournalOfOtherBot");
        assert!(error.to_string().contains("default/majors"), "{error}");
        let missing = Reader::open(&folder.path().join("no")).await.unwrap_err().to_string();
        assert!(missing.contains("run the bot first"), "{missing}");
    }

    #[test]
    fn kinds_are_the_words_of_the_json() {
        let word = |value: serde_json::Value| match value {
            serde_json::Value::String(word) => word,
            other => other.as_object().unwrap().keys().next().unwrap().clone(),
        };
        let mut engine = Engine::new(identity(), config()).unwrap();
        for event in events() {
            assert_eq!(word(serde_json::to_value(&event.kind).unwrap()), event_kind(&event));
            for output in handled(&mut engine, event).outputs {
                assert_eq!(word(serde_json::to_value(&output).unwrap()), output_kind(&output));
            }
        }
    }
}
