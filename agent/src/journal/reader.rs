//! Reading a journal beside the process that writes it.

use std::path::{Path, PathBuf};

use engine::{Decision, Output, Trade};
use serde::de::DeserializeOwned;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::{CACHE_KIB, FILE, JournalError, meta};
use crate::view::View;

/// A journal opened for reading only. It needs no lock: what it sees is the last commit.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    connection: SqliteConnection,
}

impl Reader {
    /// Opens the journal in a folder.
    ///
    /// # Errors
    /// When there is none or it cannot be read.
    pub async fn open(folder: &Path) -> Result<Self, JournalError> {
        let file = folder.join(FILE);
        if !file.is_file() {
            return Err(JournalError::Missing { folder: folder.to_owned() });
        }
        let options = SqliteConnectOptions::new()
            .filename(file)
            .read_only(true)
            .pragma("cache_size", CACHE_KIB)
            .disable_statement_logging();
        let connection = options
            .connect()
            .await
            .map_err(|source| JournalError::Database { folder: folder.to_owned(), source })?;
        Ok(Self { folder: folder.to_owned(), connection })
    }

    /// The last projection; none in a journal in which nothing happened yet.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn view(&mut self) -> Result<Option<View>, JournalError> {
        let text = meta(&mut self.connection, "view").await.map_err(|e| self.database(e))?;
        text.map(|text| serde_json::from_str(&text).map_err(|e| self.record("the projection", e))).transpose()
    }

    /// The last closed trades, the oldest of them first.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn trades(&mut self, most: u32) -> Result<Vec<Trade>, JournalError> {
        let trades = self.last("tradeClosed", most).await?;
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
        let decisions = self.last("decision", most).await?;
        Ok(decisions
            .into_iter()
            .filter_map(|output| match output {
                Output::Decision(decision) => Some(*decision),
                _ => None,
            })
            .collect())
    }

    async fn last<T: DeserializeOwned>(&mut self, kind: &str, most: u32) -> Result<Vec<T>, JournalError> {
        // The words are written out so that the partial index is used.
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT seq, body FROM outputs WHERE kind IN ('decision', 'fill', 'tradeClosed') AND kind = ? \
             ORDER BY seq DESC, n DESC LIMIT ?",
        )
        .bind(kind)
        .bind(most)
        .fetch_all(&mut self.connection)
        .await
        .map_err(|e| self.database(e))?;
        let parse = |(seq, body): &(i64, String)| {
            serde_json::from_str(body).map_err(|e| self.record(&format!("an output of event {seq}"), e))
        };
        rows.iter().rev().map(parse).collect()
    }

    /// Closes the journal.
    pub async fn close(self) {
        // Nothing was written, so that nothing can be lost.
        let _ = self.connection.close().await;
    }

    fn database(&self, source: sqlx::Error) -> JournalError {
        JournalError::Database { folder: self.folder.clone(), source }
    }

    fn record(&self, what: &str, source: serde_json::Error) -> JournalError {
        JournalError::Record { folder: self.folder.clone(), what: what.to_owned(), source }
    }
}
