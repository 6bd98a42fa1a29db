//! Reading a journal beside the process that writes it.

use engine::{BotId, Decision, Id, Output, Trade};
use serde::de::DeserializeOwned;

use super::place::Access;
use super::recovery::{self, Before};
use super::store::Store;
use super::{FILE, JournalError, Place};
use crate::view::View;

/// What the events of a journal make at the point where a decision was recorded.
#[derive(Debug)]
pub struct Again {
    /// The decisions.
    pub decisions: Vec<Decision>,
    /// Whether the journal still has every event that led to them: if not, what differs may differ for that.
    pub complete: bool,
}

/// A journal opened for reading only. It needs no lock: what it sees is the last commit.
#[derive(Debug)]
pub struct Reader {
    place: Place,
    store: Store,
}

impl Reader {
    /// Opens a journal.
    ///
    /// # Errors
    /// When there is none or it cannot be read.
    pub async fn open(place: impl Into<Place>) -> Result<Self, JournalError> {
        let place = place.into();
        if let Place::Folder(folder) = &place
            && !folder.join(FILE).is_file()
        {
            return Err(JournalError::Missing { place });
        }
        let mut store = Store::open(&place, Access::Read, None).await?;
        if store.schema_version().await? == 0 {
            return Err(JournalError::Missing { place });
        }
        Ok(Self { place, store })
    }

    /// The last projection; none in a journal in which nothing happened yet.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn view(&mut self) -> Result<Option<View>, JournalError> {
        let text = self.store.meta("view").await?;
        text.map(|text| serde_json::from_str(&text).map_err(|e| self.record("the projection", e))).transpose()
    }

    /// The last closed trades, the oldest of them first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn trades(&mut self, most: u32) -> Result<Vec<Trade>, JournalError> {
        let trades = self.last("tradeClosed", "%", most).await?;
        Ok(trades
            .into_iter()
            .filter_map(|output| match output {
                Output::TradeClosed(trade) => Some(trade),
                _ => None,
            })
            .collect())
    }

    /// The last decisions, the oldest of them first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn decisions(&mut self, most: u32) -> Result<Vec<Decision>, JournalError> {
        Ok(decisions(self.last("decision", "%", most).await?))
    }

    /// The last decisions whose id begins so, the oldest of them first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn decisions_of(&mut self, id: &str, most: u32) -> Result<Vec<Decision>, JournalError> {
        // Anything else is no id, and might mean something in a pattern.
        if !id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
            return Ok(Vec::new());
        }
        Ok(decisions(self.last("decision", &record_of(id), most).await?))
    }

    /// The decisions that the events make at the point where one was recorded, from the newest snapshot before it
    /// on. None where the journal has no such decision, or no such snapshot that a single version went on from.
    ///
    /// # Errors
    /// When the journal cannot be read or the engine of that time cannot be restored.
    pub async fn decided_again(&mut self, bot: &BotId, id: &Id) -> Result<Option<Again>, JournalError> {
        let place = "SELECT seq FROM outputs WHERE kind IN ('decision', 'fill', 'tradeClosed') AND kind = 'decision' \
                     AND body LIKE $1 LIMIT 1";
        let place = sqlx::query_as(place).bind(record_of(id.as_str()));
        let found: Option<(i64,)> = self.store.maybe_one(place).await?;
        let Some((seq,)) = found else { return Ok(None) };
        let before = recovery::before(&mut self.store, &self.place, bot, seq).await?;
        Ok(before.map(|Before { mut engine, event, complete }| {
            let mut outputs = Vec::new();
            engine.handle(&event, &mut outputs);
            Again { decisions: decisions(outputs), complete }
        }))
    }

    /// The last outputs of a kind whose record is like the pattern, the oldest of them first.
    async fn last<T: DeserializeOwned>(
        &mut self,
        kind: &str,
        pattern: &str,
        most: u32,
    ) -> Result<Vec<T>, JournalError> {
        // The words are written out so that the partial index is used.
        let query = sqlx::query_as(
            "SELECT seq, body FROM outputs WHERE kind IN ('decision', 'fill', 'tradeClosed') AND kind = $1 \
             AND body LIKE $2 ORDER BY seq DESC, n DESC LIMIT $3",
        );
        let query = query.bind(kind).bind(pattern).bind(i64::from(most));
        let rows: Vec<(i64, String)> = self.store.all(query).await?;
        let parse = |(seq, body): &(i64, String)| self.parse(body, || format!("an output of event {seq}"));
        rows.iter().rev().map(parse).collect()
    }

    fn parse<T: DeserializeOwned>(
        &self,
        body: &str,
        what: impl FnOnce() -> String,
    ) -> Result<T, JournalError> {
        serde_json::from_str(body).map_err(|e| self.record(&what(), e))
    }

    /// Closes the journal.
    pub async fn close(self) {
        // Nothing was written, so that nothing can be lost.
        let _ = self.store.close().await;
    }

    fn record(&self, what: &str, source: serde_json::Error) -> JournalError {
        JournalError::Record { place: self.place.clone(), what: what.to_owned(), source }
    }
}

/// What the record of a decision is like whose id begins so: it begins with its kind and its id.
fn record_of(id: &str) -> String {
    format!("{{\"decision\":{{\"id\":\"{id}%")
}

fn decisions(outputs: Vec<Output>) -> Vec<Decision> {
    let decisions = outputs.into_iter().filter_map(|output| match output {
        Output::Decision(decision) => Some(*decision),
        _ => None,
    });
    decisions.collect()
}
