//! A disk that keeps what was synced and forgets the rest when the process dies.

use engine::{Event, Output, Snapshot};

/// The journal as a disk has it.
#[derive(Debug, Default)]
pub struct Disk {
    rows: Vec<String>,
    written: Vec<String>,
    /// After so many rows.
    snapshot: Option<(usize, String)>,
}

impl Disk {
    pub fn write(&mut self, event: &Event, outputs: &[Output]) {
        self.written.push(serde_json::to_string(&(event, outputs)).unwrap());
    }

    /// What was written survives from here on, all of it or, before, none.
    pub fn sync(&mut self) {
        self.rows.append(&mut self.written);
    }

    pub fn lose_what_was_not_synced(&mut self) {
        self.written.clear();
    }

    pub fn keep_snapshot(&mut self, snapshot: &Snapshot) {
        self.snapshot = Some((self.rows.len(), serde_json::to_string(snapshot).unwrap()));
    }

    pub fn snapshot(&self) -> Option<(usize, Snapshot)> {
        let (rows, text) = self.snapshot.as_ref()?;
        Some((*rows, serde_json::from_str(text).unwrap()))
    }

    pub fn rows(&self) -> impl Iterator<Item = (Event, Vec<Output>)> {
        self.rows.iter().map(|row| serde_json::from_str(row).unwrap())
    }
}
