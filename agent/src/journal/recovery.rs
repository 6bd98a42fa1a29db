//! Back to where the bot was: the latest snapshot, the bars it was made after, and the tail.

use engine::{BotId, Engine, Event, Snapshot};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::store::{Query, Store};
use super::{Extent, JournalError, Place, VERSION, snapshot_body};

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
    /// Events after the snapshot that another version has handled: what came of them was taken over, and
    /// nothing was decided again.
    pub applied: i64,
}

/// Brings the engine of a journal back to where it was.
pub(super) async fn recover(
    store: &mut Store,
    place: &Place,
    identity: &BotId,
) -> Result<(Recovered, Extent), JournalError> {
    let newest = sqlx::query_as("SELECT seq, body FROM snapshots ORDER BY seq DESC LIMIT 1");
    // `claim` has made one, so that a journal without any was tampered with.
    let (snapshot_seq, body): (i64, String) = store.one(newest).await?;
    let end = store.last_seq().await?;
    let writers = Writers::read(store).await?;
    let state = store.state(end).await?;
    let foreign = writers.between(snapshot_seq, end).any(|version| version != VERSION);
    let mut recovery = Recovery { store, place, last_seq: snapshot_seq };
    let (engine, applied) = match state {
        Some(state) if foreign => {
            let snapshot = parse(place, &state, || format!("the state after event {end}"))?;
            recovery.last_seq = end;
            let mut engine = recovery.restore(identity, snapshot, end).await?;
            recovery.restore_lease(&mut engine, end).await?;
            (engine, end - snapshot_seq)
        }
        _ => {
            let snapshot = parse(place, &body, || format!("snapshot {snapshot_seq}"))?;
            let mut engine = recovery.restore(identity, snapshot, snapshot_seq).await?;
            recovery.restore_lease(&mut engine, snapshot_seq).await?;
            recovery.replay_tail(&mut engine, &writers).await?;
            if let Some(state) = state
                && snapshot_body(place, &engine)? != state
            {
                return Err(writers.diverged(place, end));
            }
            (engine, 0)
        }
    };
    let last_seq = recovery.last_seq;
    let closed_trades = recovery.count("tradeClosed").await?;
    let fills = recovery.count("fill").await?;
    let newest =
        sqlx::query_as("SELECT at FROM events WHERE kind IN ('history', 'bar') ORDER BY seq DESC LIMIT 1");
    let resume: Option<(i64,)> = store.maybe_one(newest).await?;
    let recovered = Recovered {
        engine,
        generation: store.meta("generation").await?.and_then(|text| text.parse().ok()),
        resume: resume.and_then(|(at,)| Timestamp::from_millisecond(at).ok()),
        closed_trades,
        fills,
        replayed: last_seq - snapshot_seq - applied,
        applied,
    };
    Ok((recovered, Extent { last_seq, snapshot_seq }))
}

/// A bot right before an event.
pub(super) struct Before {
    pub engine: Engine,
    pub event: Event,
    /// Whether the journal still has every event that led here. Timers and quotes of long ago are removed.
    pub complete: bool,
}

/// The engine as it was right before an event. None where the journal has no snapshot from before it, or more
/// than one version has handled what came since: that is no one's decision to make again.
pub(super) async fn before(
    store: &mut Store,
    place: &Place,
    identity: &BotId,
    seq: i64,
) -> Result<Option<Before>, JournalError> {
    let newest = "SELECT seq, body FROM snapshots WHERE seq < $1 ORDER BY seq DESC LIMIT 1";
    let found: Option<(i64, String)> = store.maybe_one(sqlx::query_as(newest).bind(seq)).await?;
    let Some((first, body)) = found else { return Ok(None) };
    let writers = Writers::read(store).await?;
    let mut since = writers.between(first, seq);
    let version = since.next();
    if since.any(|other| Some(other) != version) {
        return Ok(None);
    }
    let pruned = store.meta("pruned").await?.and_then(|text| text.parse().ok()).unwrap_or(0);
    let complete = first >= pruned;
    let snapshot = parse(place, &body, || format!("snapshot {first}"))?;
    let mut recovery = Recovery { store, place, last_seq: first };
    let mut engine = recovery.restore(identity, snapshot, first).await?;
    recovery.restore_lease(&mut engine, first).await?;
    let mut outputs = Vec::new();
    loop {
        let tail = "SELECT seq, body FROM events WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3";
        let page = sqlx::query_as(tail).bind(recovery.last_seq).bind(seq).bind(PAGE);
        let page = recovery.page(page).await?;
        if page.is_empty() {
            return Ok(None);
        }
        for (at, event) in page {
            if at == seq {
                return Ok(Some(Before { engine, event, complete }));
            }
            outputs.clear();
            engine.handle(&event, &mut outputs);
            recovery.last_seq = at;
        }
    }
}

/// From which event on which version wrote, in the order of their coming.
struct Writers(Vec<(i64, String)>);

impl Writers {
    async fn read(store: &mut Store) -> Result<Self, JournalError> {
        let writers = sqlx::query_as("SELECT first, version FROM writers ORDER BY epoch");
        Ok(Self(store.all(writers).await?))
    }

    /// Who wrote an event.
    fn of(&self, seq: i64) -> &str {
        let writer = self.0.iter().rev().find(|(first, _)| *first <= seq);
        writer.map_or("unknown", |(_, version)| version)
    }

    /// The versions of the events after one and up to another.
    fn between(&self, after: i64, last: i64) -> impl Iterator<Item = &str> {
        let ends = self.0.iter().skip(1).map(|(first, _)| *first).chain([i64::MAX]);
        self.0.iter().zip(ends).filter_map(move |((first, version), end)| {
            let (from, to) = ((*first).max(after + 1), (end - 1).min(last));
            (from <= to).then_some(version.as_str())
        })
    }

    fn diverged(&self, place: &Place, seq: i64) -> JournalError {
        JournalError::Diverged { place: place.clone(), seq, written_by: self.of(seq).to_owned() }
    }
}

struct Recovery<'a> {
    store: &'a mut Store,
    place: &'a Place,
    last_seq: i64,
}

impl Recovery<'_> {
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
            // What was refused is left out: the reason may have been a timer or a quote.
            let bars = "SELECT seq, body FROM events WHERE seq > $1 AND seq <= $2 AND kind IN ('history', 'bar') \
                        AND NOT EXISTS (SELECT 1 FROM outputs WHERE outputs.seq = events.seq AND outputs.kind = 'refused') \
                        ORDER BY seq LIMIT $3";
            let page = self.page(sqlx::query_as(bars).bind(after).bind(until).bind(PAGE)).await?;
            let Some((last, _)) = page.last() else { break };
            after = *last;
            if sender.send(page.into_iter().map(|(_, event)| event).collect()).await.is_err() {
                break;
            }
        }
        drop(sender);
        engine
            .await
            .map_err(|_| JournalError::Interrupted { place: self.place.clone() })?
            .map_err(|source| JournalError::Engine { place: self.place.clone(), source: Box::new(source) })
    }

    /// A restored engine does not hold the lease; the one that the tail was recorded with may have.
    async fn restore_lease(&mut self, engine: &mut Engine, until: i64) -> Result<(), JournalError> {
        let newest =
            "SELECT seq, body FROM events WHERE kind = 'lease' AND seq <= $1 ORDER BY seq DESC LIMIT 1";
        for (_, event) in self.page(sqlx::query_as(newest).bind(until)).await? {
            engine.handle(&event, &mut Vec::new());
        }
        Ok(())
    }

    /// Handles what came after the snapshot and compares what comes out with what came out.
    async fn replay_tail(&mut self, engine: &mut Engine, writers: &Writers) -> Result<(), JournalError> {
        let mut outputs = Vec::new();
        loop {
            let tail = "SELECT seq, body FROM events WHERE seq > $1 ORDER BY seq LIMIT $2";
            let page = self.page(sqlx::query_as(tail).bind(self.last_seq).bind(PAGE)).await?;
            let Some((until, _)) = page.last() else { return Ok(()) };
            let recorded = "SELECT seq, body FROM outputs WHERE seq > $1 AND seq <= $2 ORDER BY seq, n";
            let recorded = sqlx::query_as(recorded).bind(self.last_seq).bind(*until);
            let recorded: Vec<(i64, String)> = self.store.all(recorded).await?;
            let mut recorded = recorded.into_iter().peekable();
            for (seq, event) in page {
                outputs.clear();
                engine.handle(&event, &mut outputs);
                let diverged = || writers.diverged(self.place, seq);
                for output in &outputs {
                    let body = serde_json::to_string(output).map_err(|source| JournalError::Record {
                        place: self.place.clone(),
                        what: "an output".to_owned(),
                        source,
                    })?;
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

    async fn count(&mut self, kind: &'static str) -> Result<u64, JournalError> {
        let count =
            "SELECT count(*) FROM outputs WHERE kind IN ('decision', 'fill', 'tradeClosed') AND kind = $1";
        let (count,): (i64,) = self.store.one(sqlx::query_as(count).bind(kind)).await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    async fn page(&mut self, query: Query<'_, (i64, String)>) -> Result<Vec<(i64, Event)>, JournalError> {
        let rows = self.store.all(query).await?;
        rows.iter()
            .map(|(seq, body)| Ok((*seq, parse(self.place, body, || format!("event {seq}"))?)))
            .collect()
    }
}

fn parse<T: DeserializeOwned>(
    place: &Place,
    body: &str,
    what: impl FnOnce() -> String,
) -> Result<T, JournalError> {
    serde_json::from_str(body).map_err(|source| JournalError::Record {
        place: place.clone(),
        what: what(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use engine::{Decision, EventKind, Output};

    use super::super::{Entry, Journal, Reader, event_kind, output_kind};
    use super::*;
    use crate::fixtures::{Site, config, handled, identity, steps, view};

    async fn open(site: &Site) -> Result<(Journal, Recovered), JournalError> {
        Journal::open(&site.place, &identity(), Some(&config())).await
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
        for site in Site::each() {
            let mut whole = Engine::new(identity(), config()).unwrap();
            let (mut journal, mut recovered) = open(&site).await.unwrap();
            for (round, batch) in events().chunks(1_999).enumerate() {
                let entries: Vec<Entry> =
                    batch.iter().map(|event| handled(&mut recovered.engine, event.clone())).collect();
                let expected: Vec<Entry> =
                    batch.iter().map(|event| handled(&mut whole, event.clone())).collect();
                for (entry, expected) in entries.iter().zip(&expected) {
                    assert_eq!(entry.outputs, expected.outputs);
                }
                journal.append(&entries, &recovered.engine, &view(&recovered.engine), None).await.unwrap();
                if round % 2 == 1 {
                    journal.snapshot(&recovered.engine).await.unwrap();
                }
                // What is not in the journal is lost.
                drop((journal, recovered));
                (journal, recovered) = open(&site).await.unwrap();
                assert_eq!(recovered.engine.snapshot(), whole.snapshot());
                assert_eq!(recovered.engine.lease_held(), whole.lease_held());
                let last_bar = batch.iter().rev().find(|event| event_kind(event) != "timer").unwrap();
                assert_eq!(recovered.resume, Some(last_bar.at).filter(|at| *at > Timestamp::UNIX_EPOCH));
            }
            assert!(recovered.closed_trades > 3, "{} trades", recovered.closed_trades);
            assert!(recovered.fills > recovered.closed_trades);
            let trades = Reader::open(&site.place).await.unwrap().trades(1_000).await.unwrap();
            assert_eq!(trades.len() as u64, recovered.closed_trades);
        }
    }

    #[tokio::test]
    async fn a_record_that_the_engine_would_not_make_again_is_refused() {
        for site in Site::each() {
            let (mut journal, mut recovered) = open(&site).await.unwrap();
            let entries: Vec<Entry> =
                events().into_iter().map(|event| handled(&mut recovered.engine, event)).collect();
            journal.append(&entries, &recovered.engine, &view(&recovered.engine), None).await.unwrap();
            journal.close().await.unwrap();
            let (journal, _) = open(&site).await.unwrap();
            journal.close().await.unwrap();
            site.tamper(
                "UPDATE outputs SET body = replace(body, '\"price\":\"', '\"price\":\"1') WHERE kind = 'fill'",
            )
            .await;
            let error = open(&site).await.unwrap_err();
            assert_eq!(error.reason(), "ReplayDiverged");
            assert!(error.to_string().contains("move the journal away"), "{error}");
            site.tamper("DELETE FROM outputs").await;
            assert_eq!(open(&site).await.unwrap_err().reason(), "ReplayDiverged");
            site.tamper("UPDATE events SET body = '{}'").await;
            assert_eq!(open(&site).await.unwrap_err().reason(), "JournalUnreadable");
        }
    }

    #[tokio::test]
    async fn what_another_version_did_is_taken_over_and_never_decided_again() {
        for site in Site::each() {
            let (mut journal, mut recovered) = open(&site).await.unwrap();
            let mut events = events().into_iter();
            let mut entries: Vec<Entry> =
                events.by_ref().take(4_000).map(|event| handled(&mut recovered.engine, event)).collect();
            // This version would not do what the other one did.
            entries.iter_mut().for_each(|entry| entry.outputs.retain(|o| output_kind(o) != "transition"));
            journal.append(&entries, &recovered.engine, &view(&recovered.engine), None).await.unwrap();
            journal.close().await.unwrap();
            assert_eq!(open(&site).await.unwrap_err().reason(), "ReplayDiverged", "within a version");
            site.tamper("UPDATE writers SET version = '0.0.9' WHERE epoch = 1").await;
            let (mut journal, mut again) = open(&site).await.unwrap();
            assert_eq!((again.applied, again.replayed), (4_000, 0));
            assert_eq!(again.engine.snapshot(), recovered.engine.snapshot());
            assert_eq!(again.engine.lease_held(), recovered.engine.lease_held());
            // From here on it is this version's, and is compared again.
            for event in events.by_ref().take(500) {
                let expected = handled(&mut recovered.engine, event.clone());
                let entry = handled(&mut again.engine, event);
                assert_eq!(entry.outputs, expected.outputs);
                journal.append(&[entry], &again.engine, &view(&again.engine), None).await.unwrap();
            }
            journal.close().await.unwrap();
            let (journal, again) = open(&site).await.unwrap();
            assert_eq!((again.applied, again.replayed), (0, 500));
            journal.close().await.unwrap();
            site.tamper(
                "UPDATE meta SET value = replace(value, '\"peak\":', '\"peak\":1') WHERE key = 'state'",
            )
            .await;
            assert_eq!(
                open(&site).await.unwrap_err().reason(),
                "ReplayDiverged",
                "the state is compared, too"
            );
        }
    }

    #[tokio::test]
    async fn a_decision_is_made_again_where_one_version_handled_all_that_led_to_it() {
        for site in Site::each() {
            let mut events = events().into_iter();
            let mut append = async |journal: &mut Journal, engine: &mut Engine, count: usize| -> Decision {
                let entries: Vec<Entry> =
                    events.by_ref().take(count).map(|event| handled(engine, event)).collect();
                journal.append(&entries, engine, &view(engine), None).await.unwrap();
                let mut outputs = entries.into_iter().flat_map(|entry| entry.outputs).rev();
                let last = outputs.find_map(|output| match output {
                    Output::Decision(decision) => Some(*decision),
                    _ => None,
                });
                last.expect("a decision")
            };
            let (mut journal, mut recovered) = open(&site).await.unwrap();
            let first = append(&mut journal, &mut recovered.engine, 4_000).await;
            journal.close().await.unwrap();
            let (mut journal, mut recovered) = open(&site).await.unwrap();
            let second = append(&mut journal, &mut recovered.engine, 300).await;
            // The snapshots from here on: of the beginning, and the last two.
            let mut third = None;
            for _ in 0..3 {
                journal.snapshot(&recovered.engine).await.unwrap();
                third = Some(append(&mut journal, &mut recovered.engine, 300).await);
            }
            journal.close().await.unwrap();
            let third = third.unwrap();
            let again = async |decision: &Decision| {
                let mut reader = Reader::open(&site.place).await.unwrap();
                let again = reader.decided_again(&identity(), &decision.id).await.unwrap();
                reader.close().await;
                again.map(|again| (again.decisions, again.complete))
            };
            assert_eq!(again(&first).await, Some((vec![first.clone()], false)), "timers were removed");
            assert_eq!(again(&second).await, Some((vec![second.clone()], false)));
            assert_eq!(again(&third).await, Some((vec![third.clone()], true)));
            site.tamper("UPDATE writers SET version = '0.0.9' WHERE epoch = 1").await;
            assert_eq!(again(&first).await, Some((vec![first.clone()], false)), "one version, another one");
            assert_eq!(again(&second).await, None, "two versions");
            assert_eq!(again(&third).await, Some((vec![third.clone()], true)));
        }
    }

    #[tokio::test]
    async fn what_is_old_and_asked_for_by_nobody_is_removed_and_everything_else_stays() {
        for site in Site::each() {
            let (mut journal, mut recovered) = open(&site).await.unwrap();
            let (mut trades, mut decisions, mut bars) = (Vec::new(), 0, 0);
            for batch in events().chunks(1_000) {
                let entries: Vec<Entry> =
                    batch.iter().map(|event| handled(&mut recovered.engine, event.clone())).collect();
                bars += batch.iter().filter(|event| ["bar", "history"].contains(&event_kind(event))).count()
                    as i64;
                for output in entries.iter().flat_map(|entry| &entry.outputs) {
                    match output {
                        engine::Output::TradeClosed(trade) => trades.push(trade.clone()),
                        engine::Output::Decision(_) => decisions += 1,
                        _ => {}
                    }
                }
                journal.append(&entries, &recovered.engine, &view(&recovered.engine), None).await.unwrap();
                journal.snapshot(&recovered.engine).await.unwrap();
            }
            let horizon = recovered.engine.market_time().unwrap().as_millisecond() - 31 * 86_400_000;
            let mut count = async |what: &'static str| -> i64 {
                journal.store().unwrap().one(sqlx::query_as(what)).await.map(|(count,)| count).unwrap()
            };
            let left = format!(
                "{} {}",
                count(
                    "SELECT count(*) FROM events e WHERE kind = 'timer' AND NOT EXISTS \
                       (SELECT 1 FROM outputs o WHERE o.seq = e.seq AND kind <> 'transition')"
                )
                .await,
                count("SELECT count(*) FROM outputs WHERE kind = 'transition'").await,
            );
            let oldest = count(
                "SELECT min(at) FROM events e WHERE kind = 'timer' AND NOT EXISTS \
                                (SELECT 1 FROM outputs o WHERE o.seq = e.seq AND kind <> 'transition')",
            )
            .await;
            assert!(oldest > horizon, "{oldest} {horizon}; left: {left}");
            assert_eq!(count("SELECT count(*) FROM events WHERE kind IN ('bar', 'history')").await, bars);
            assert_eq!(count("SELECT count(*) FROM outputs WHERE kind = 'decision'").await, decisions);
            journal.close().await.unwrap();
            assert_eq!(Reader::open(&site.place).await.unwrap().trades(1_000).await.unwrap(), trades);
            let (_, again) = open(&site).await.unwrap();
            assert_eq!(again.engine.snapshot(), recovered.engine.snapshot());
        }
    }

    #[test]
    fn who_wrote_what_follows_from_who_came_when() {
        let writers = Writers(vec![(1, "a".into()), (5, "b".into()), (5, "c".into()), (9, "d".into())]);
        let between = |after, last| writers.between(after, last).collect::<Vec<_>>().join("");
        assert_eq!(
            (between(0, 4), between(4, 8), between(3, 9), between(9, 9)),
            ("a".into(), "c".into(), "acd".into(), String::new())
        );
        assert_eq!((writers.of(4), writers.of(5), writers.of(99)), ("a", "c", "d"));
    }

    #[tokio::test]
    async fn another_bots_journal_and_a_missing_one_are_refused() {
        for site in Site::each() {
            let none = Journal::open(&site.place, &identity(), None).await.unwrap_err();
            assert_eq!(none.reason(), "JournalMissing");
            open(&site).await.unwrap();
            let other = BotId { namespace: "default".into(), name: "other".into() };
            let error = Journal::open(&site.place, &other, Some(&config())).await.unwrap_err();
            assert_eq!(error.reason(), "JournalOfOtherBot");
            assert!(error.to_string().contains("default/majors"), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let missing = Reader::open(folder.path()).await.unwrap_err().to_string();
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
